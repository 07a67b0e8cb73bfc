#!/usr/bin/env python3
"""Meters, plates and serial numbers: what a reader in the package makes of them, told nothing, told, after 25 labels

usage: not_captcha.py [--kind meters,plates,serials] [--reader pretrained] [--seed 0] [--out FILE]

Draws clean pictures of three kinds that are no captchas: meters (7 digits in frames, the last one red, 480x130),
plates (three letters and four digits, turned a little, 240x80), serial numbers (12 signs, grey, 420x50). Each is read
told nothing, told its characters and length, and by a reader that `train_reader` made as README's command does: 25
labelled pictures, the others unlabelled, told the same, scored on the others. Rows go to OUT (default:
benchmarks/results/not_captcha.csv); prints a Markdown table.
"""
import random
import tempfile
import time
from pathlib import Path

from common import RESULTS, Table, chosen, log, md_head, md_row, parser, percent
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from captcha_fastai.metrics import score_texts
from captcha_fastai.reader import Reader
from captcha_fastai.train import train_reader

COLS = 'reader,kind,way,n,right,cer,seconds'.split(',')
DIGITS,CAPITALS = '0123456789','ABCDEFGHJKLMNPRSTUVWXYZ'

def font(name, px): return ImageFont.truetype(f'{get_data_path()}/fonts/ttf/{name}.ttf', px)

def meter(rng):
    "Seven digits in frames on black; the last one is on red"
    text = ''.join(rng.choices(DIGITS, k=7))
    im = Image.new('RGB', (480,130), (40,40,45))
    draw = ImageDraw.Draw(im)
    for i,c in enumerate(text):
        x = 14+65*i
        draw.rectangle((x,14,x+56,116), fill=(150,30,30) if i==6 else (15,15,15), outline=(150,150,150), width=2)
        draw.text((x+28,65+rng.randint(-6,6)), c, font=font('DejaVuSans', 72), fill=(235,235,225), anchor='mm')
    return text,im

def plate(rng):
    "Three letters and four digits, black on white in a frame, turned a little"
    text = ''.join(rng.choices(CAPITALS, k=3)+rng.choices(DIGITS, k=4))
    im = Image.new('RGB', (240,80), (245,245,240))
    draw = ImageDraw.Draw(im)
    draw.rounded_rectangle((4,8,236,72), 6, outline=(20,20,20), width=3)
    draw.text((120,40), text, font=font('DejaVuSansMono-Bold', 44), fill=(20,20,25), anchor='mm')
    return text,im.rotate(rng.uniform(-4,4), Image.BICUBIC, fillcolor=(120,120,120))

def serial(rng):
    "Twelve signs, grey, as on a label"
    text = 'SN'+''.join(rng.choices(DIGITS+'ABCDEF', k=10))
    im = Image.new('L', (420,50), 225)
    at = (210+rng.randint(-8,8),25+rng.randint(-3,3))
    ImageDraw.Draw(im).text(at, text, font=font('DejaVuSansMono', 34), fill=rng.randint(20,70), anchor='mm')
    return text,im

KINDS = dict(meters=(meter, 60, 7, DIGITS), plates=(plate, 60, 7, CAPITALS+DIGITS),
             serials=(serial, 120, 12, 'SN'+DIGITS+'ABCDEF'))

def pictures(kind, seed, folder):
    "Draw the pictures of a kind into a folder, named by their place: their paths and texts"
    make,n,*_ = KINDS[kind]
    rng = random.Random(f'{kind} {seed}')
    folder.mkdir()
    files,texts = [],[]
    for i in range(n):
        text,im = make(rng)
        files.append(folder/f'img_{i:04d}.png')
        texts.append(text)
        im.save(files[-1])
    return files,texts

def label(folder, files, texts):
    "A table of labels in the folder of the pictures, as captcha_annotate makes it"
    lines = ['file,text', *(f'{f.name},{t}' for f,t in zip(files, texts))]
    (folder/'labels.csv').write_text('\n'.join(lines)+'\n')
    return folder/'labels.csv'

def rows(kind, name, table, seed):
    "Read the pictures of a kind in three ways"
    _,_,length,chars = KINDS[kind]
    def note(way, readings, texts, seconds):
        scores = score_texts([o.text for o in readings], texts)
        right = round(scores['captcha_accuracy']*len(texts))
        cer = round(scores['cer'], 4)
        table.add(reader=name, kind=kind, way=way, n=len(texts), right=right, cer=cer, seconds=round(seconds))
        log(f'{name}, {kind}, {way}: {right} of {len(texts)}')
    with tempfile.TemporaryDirectory() as tmp:
        files,texts = pictures(kind, seed, Path(tmp)/'pictures')
        package = Reader.load(name)
        note('told nothing', package.read(files), texts, 0)
        if length<=package.spec.width:
            note('told', package.read(files, constraint=package.constraint(length, chars)), texts, 0)
        csv,start = label(Path(tmp)/'pictures', files[:25], texts[:25]),time.perf_counter()
        made = train_reader(csv, Path(tmp)/'reader', unlabelled=Path(tmp)/'pictures', length=length, chars=chars,
                            reader=name if name!='pretrained' else None)
        took = time.perf_counter()-start
        note('after 25 labels', made.reader.read(files[25:]), texts[25:], took)

def main():
    p = parser(__doc__)
    p.add_argument('--kind', default=','.join(KINDS), help='kinds, with commas')
    p.add_argument('--reader', default='pretrained', help='pretrained, or pretrained/crnn_small')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', type=Path, default=RESULTS/'not_captcha.csv')
    args = p.parse_args()
    table = Table(args.out, COLS)
    for kind in chosen(p, args.kind, KINDS):
        if table.has(reader=args.reader, kind=kind, way='after 25 labels'): continue
        rows(kind, args.reader, table, args.seed)
    print(md_head('reader', 'pictures', 'way', 'read without a mistake', 'seconds of training'))
    for r in table.rows().itertuples():
        print(md_row(r.reader, r.kind, r.way, f'{r.right} of {r.n}, {percent(r.right, r.n)}', r.seconds))

if __name__=='__main__': main()
