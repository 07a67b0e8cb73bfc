#!/usr/bin/env python3
"""At which other sizes should a reader look again? The share of captchas read right for several sets of sizes

usage: sizes.py --data DIR [--data DIR ...] [--reader pretrained] [--n 200] [--out FILE]

DIR holds a folder for each kind, or is one kind, as `kinds_table.py` takes it. Each picture is read once at every size,
told nothing; what a set of sizes answers is put together from that. `plain` is the picture as the reader sees it; the
others are it made narrower by a sixth, wider by a fifth, smaller on paper, larger and cropped, or turned to its
negative. Of the texts that the sizes of a set propose, the answer is the one with the largest mean probability (`mean`)
or the largest product (`product`). Case isn't counted. At most N pictures of a kind are read. A line for each set and
kind goes to OUT.csv (default: benchmarks/results/sizes), and a Markdown table of means is printed.
"""
from pathlib import Path

from common import RESULTS, Table, log, md_head, md_row, parser, refused
import numpy as np
import torch
from captcha_fastai.reader import Reader
from captcha_fastai.resample import other_sizes, resample
from captcha_fastai.weights import reader_folder
from kinds_table import kinds_in

SETS = [o.split('+') for o in ('plain', 'plain+wider', 'plain+narrower', 'plain+smaller', 'plain+larger',
                               'plain+negative', 'plain+narrower+smaller', 'plain+wider+smaller',
                               'plain+narrower+wider+smaller', 'plain+narrower+wider+smaller+larger',
                               'plain+narrower+wider+smaller+negative')]
WAYS = dict(mean=lambda p: p.sum(0), product=lambda p: np.log(p.clip(1e-9)).sum(0))

def larger(x):
    "`(c,h,w)` bytes enlarged by a seventh, cropped to their height"
    c,h,w = x.shape
    tall,broad = round(h*8/7),16*round(w/14)
    top = (tall-h)//2
    return (resample(x, (tall,broad))+.5).clip(0, 255).astype(np.uint8)[:,top:top+h]

def at_sizes(x):
    "Name to picture"
    narrower,wider,smaller = other_sizes(x)
    return dict(plain=x, narrower=narrower, wider=wider, smaller=smaller, larger=larger(x), negative=255-x)

def proposals(reader, file):
    "Name of a size to its text, and `(sizes, texts)` how probable each text is at each size"
    xs = at_sizes(reader.tensor(file).numpy())
    outs = [reader.loss_func.activation(reader.logits(torch.from_numpy(o.copy())[None])) for o in xs.values()]
    texts = [reader.vocab.decode_batch(reader.loss_func.decodes(o))[0] for o in outs]
    longest = max(1, *map(len, texts))
    ids = torch.stack([reader.vocab.encode(o, longest) for o in texts])
    p = [reader.loss_func.log_prob(o.expand(len(ids), -1, -1), ids).exp().clamp(max=1).numpy() for o in outs]
    return dict(zip(xs, texts)),np.stack(p)

def answer(texts, p, sizes, way):
    at = [list(texts).index(o) for o in sizes]
    return texts[sizes[int(WAYS[way](p[np.ix_(at, at)]).argmax())]]

def main():
    p = parser(__doc__)
    p.add_argument('--data', action='append', required=True)
    p.add_argument('--reader', default='pretrained')
    p.add_argument('--n', type=int, default=200)
    p.add_argument('--out', type=Path, default=RESULTS/'sizes')
    args = p.parse_args()
    with refused(p): kinds = {k:v for o in args.data for k,v in kinds_in(o).items()}
    reader = Reader.load(reader_folder(args.reader), device='cpu', half=False)
    table = Table(args.out.with_suffix('.csv'), 'kind,sizes,way,n,right'.split(','))
    for kind,(files,texts) in kinds.items():
        if table.has(kind=kind): continue
        found = [(proposals(reader, f),t.lower()) for f,t in zip(files[:args.n], texts)]
        for sizes in SETS:
            for way in WAYS:
                right = sum(answer(*o, sizes, way).lower()==t for o,t in found)
                table.add(kind=kind, sizes='+'.join(sizes), way=way, n=len(found), right=right)
        log(f'{kind}: {len(found)} pictures')
    rows = table.rows()
    rows['share'] = 100*rows.right.astype(int)/rows.n.astype(int)
    print(md_head('sizes', *WAYS))
    for sizes in map('+'.join, SETS):
        of = rows[rows.sizes==sizes]
        print(md_row(sizes, *(f"{of[of.way==o].share.mean():.1f}" for o in WAYS)))

if __name__=='__main__': main()
