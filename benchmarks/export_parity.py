#!/usr/bin/env python3
"""Does an exported folder read what its reader reads? Text by text, free and told, on real pictures

usage: export_parity.py [--readers pretrained,pretrained/crnn_small] [--archs crnn,...] [--data DIR] [--kinds DIR]
                        [--int8] [--only FOLDER,...] [--epochs 4] [--out FILE]

Each reader is exported to a temporary folder, whose own read.py reads the pictures; the reader itself reads them in
float32 on the CPU. `told`: both are given the characters of the labels, in both cases, and their shortest and longest
length. Archs are trained on 300 drawn captchas for some epochs first: what they read is wrong, and hard to read alike.
A near-tie is a text that the reader prefers by less than 1e-4 nats. `sure` counts readings of at least .5 confidence.
With --int8 the folders are exported so, and near-ties are not told apart. A line for each row goes to OUT.csv
(default: benchmarks/results/export_parity), and a Markdown table is printed.
"""
import os
import tempfile
from pathlib import Path

from common import RESULTS, Table, log, md_head, md_row, parser, refused
import numpy as np
import torch
from captcha_fastai import portable
from captcha_fastai.core import CaptchaError
from captcha_fastai.pictures import open_picture
from captcha_fastai.reader import Reader
from kinds_table import kinds_in, rule

COLS = 'reader,kind,set,told,n,same,near,sure,sure_same,apart'.split(',')

def short_trained(arch, folder, epochs):
    "A reader of an arch that has seen little: its folder"
    from captcha_fastai.archs import get_arch
    from captcha_fastai.synth import save_captchas
    from captcha_fastai.train import train_reader
    if not (folder/'drawn').exists(): save_captchas(300, folder/'drawn', seed=1)
    train_reader(folder/'drawn', folder/arch, get_arch(arch), epochs=epochs, from_scratch=True, log=log)
    return folder/arch

def answers(reader, read, pictures, constraint, known):
    "For each picture: texts and confidences of both, and by how much the reader prefers its own text"
    xs = {k:reader.tensor(o) for k,o in pictures.items()}
    told = read.rule(**known) if known else None
    for at in portable.one_shape(xs):
        for names in (at[i:i+32] for i in range(0, len(at), 32)):
            batch = torch.stack([xs[o] for o in names])
            ids,score,_ = read.answers(batch.numpy(), told)
            for x,(a,p),b,s in zip(batch, reader._sure_answers(batch, False, constraint), ids, score):
                b,lead = list(b),0.
                if a!=read.text(b):
                    lead = portable._lead(reader, read, x, reader.vocab.encode(a).tolist(), b, constraint)
                yield a,p,read.text(b),np.exp(s),lead

def row(reader, read, files, texts, told):
    "One row of the table"
    constraint,known = None,None
    if told:
        constraint = rule(reader, texts)
        known = dict(length=constraint.length, chars=constraint.chars) if constraint else None
    pictures = {str(f):open_picture(f) for f in files}
    got = list(answers(reader, read, pictures, constraint, known))
    same = [a==b for a,_,b,_,_ in got]
    sure = [p>=.5 for _,p,_,_,_ in got]
    apart = [abs(p-q) for a,p,b,q,_ in got if a==b]
    both = sum(a and b for a,b in zip(same, sure))
    return dict(told=int(told), n=len(got), same=sum(same), sure=sum(sure), sure_same=both,
                near=sum(lead<portable.NEAR for *_,lead in got)-sum(same), apart=f'{max(apart, default=0):.0e}')

def options(doc):
    "A parser with the options that say what is compared, and on what"
    p = parser(doc)
    p.add_argument('--readers', default='pretrained,pretrained/crnn_small', help='saved readers, commas between')
    p.add_argument('--archs', default='', help='archs to train shortly and compare as well')
    p.add_argument('--epochs', type=int, default=4, help='of such a training')
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'), help='$CAPTCHA_DATA if not given')
    p.add_argument('--kinds', default=os.environ.get('CAPTCHA_KINDS'), help='$CAPTCHA_KINDS if not given')
    p.add_argument('--only', default='', help='names of folders to read, commas between; all if not given')
    return p

def main():
    p = options(__doc__)
    p.add_argument('--int8', action='store_true', help='export in 8 bits')
    p.add_argument('--out', type=Path, default=RESULTS/'export_parity')
    args = p.parse_args()
    sets = {k:v for o in (args.data, args.kinds) if o for k,v in kinds_in(o).items()}
    sets = {k:v for k,v in sets.items() if not args.only or k in args.only.split(',')}
    if not sets: p.error('give --data or --kinds, or set CAPTCHA_DATA or CAPTCHA_KINDS')
    table,kind = Table(f'{args.out}.csv', COLS),'int8' if args.int8 else 'float'
    with tempfile.TemporaryDirectory() as tmp, refused(p):
        tmp = Path(tmp)
        readers = {o:o for o in args.readers.split(',') if o}
        readers |= {o:short_trained(o, tmp, args.epochs) for o in args.archs.split(',') if o}
        for name,folder in readers.items():
            reader,out = Reader.load(folder, device='cpu', half=False),tmp/f'{len(list(tmp.iterdir()))}.exported'
            portable.export_reader(reader, out, log=log, **(dict(int8=True) if args.int8 else {}))
            read = portable._module(out/'read.py').Reader(out)
            for k,(files,texts) in sets.items():
                for told in (False, True):
                    if table.has(reader=name, kind=kind, set=k, told=int(told)): continue
                    try: table.add(reader=name, kind=kind, set=k, **row(reader, read, files, texts, told))
                    except (CaptchaError, ValueError) as e: log(f'{name}, {k}: {e}')   # read.py raises the latter
    df = table.rows()
    print(md_head('reader', 'set', 'told', 'pictures', 'same text', 'near-ties', 'same of the sure', right=True))
    for o in df[df.kind==kind].itertuples():
        sure = f'{o.sure_same} of {o.sure}'
        print(md_row(o.reader, o.set, 'yes' if o.told else 'no', o.n, f'{o.same} ({o.same/o.n:.2%})', o.near, sure))
    for (name,told),part in df[df.kind==kind].groupby(['reader','told']):
        how = 'told' if told else 'free'
        log(f'{name}, {how}: {part.same.sum()} of {part.n.sum()} alike, {part.near.sum()} near-ties')

if __name__=='__main__': main()
