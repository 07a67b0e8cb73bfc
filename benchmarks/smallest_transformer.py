#!/usr/bin/env python3
"""How small can `captcha_transformer` be and still read 98 %? Its parts shrunk step by step, out-of-fold results.

usage: smallest_transformer.py [--sizes base,tiny] [--folds 0,1,2,3,4] [--data DIR] [--out DIR]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). All sizes train by the arch's own recipe.
`patches` has the layout of the forum thread's net of 2023, one block on each side, three heads and no convolutions
but the one that cuts patches, here of 10x5 pixels. Finished folds are kept in OUT (default:
benchmarks/results/smallest) and not trained again. Prints a Markdown table of all sizes that have results.
"""
from pathlib import Path

from common import (RESULTS, chosen, fold_arms, folder_of, labelled, md_head, md_row, n_parameters, numbers, parser)
import pandas as pd
from captcha_fastai.core import Vocab
from captcha_fastai.pictures import open_picture
from captcha_fastai.intervals import wilson
from captcha_fastai.folds import load_folds
from captcha_fastai.transformer import captcha_transformer

sizes = dict(
    base=dict(),
    one_block=dict(layers=(1,1)),
    one_small=dict(widths=(16,32,64,64), d=64, n_heads=4, layers=(1,1)),
    half=dict(widths=(12,24,48,48), d=48, layers=(1,1)),
    third=dict(widths=(12,24,32,32), d=48, layers=(1,1)),
    quarter=dict(widths=(8,16,32,32), d=36, layers=(1,1), d_ff=72),
    tiny=dict(widths=(8,16,24,24), d=24, layers=(1,1), d_ff=48),
    patches=dict(patch=(10,5), widths=(72,), d=72, layers=(1,1), d_ff=72),
)

def row(name, out, model):
    "The size's line of the table"
    df = load_folds(out)
    right = int((df.text==df.prediction).sum())
    low,high = wilson(right, len(df))
    minutes = [pd.read_csv(f).seconds.iloc[-1]/60 for f in out.glob('history*.csv')]
    return md_row(name, f'{n_parameters(model):,}', f'{n_parameters(model.stem):,}', len(df), f'{right/len(df):.2%}',
                  f'{low:.2%} to {high:.2%}', f'{sum(minutes)/len(minutes):.1f}')

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--sizes', default=','.join(sizes))
    p.add_argument('--folds', default='0,1,2,3,4')
    p.add_argument('--out', type=Path, default=RESULTS/'smallest')
    args = p.parse_args()
    arms = {o:dict(arch_args=sizes[o]) for o in chosen(p, args.sizes, sizes)}
    files,texts = labelled(folder_of(p, args.data))
    for _ in fold_arms(captcha_transformer, arms, numbers(args.folds), files, texts, args.out): pass
    vocab,size,width = Vocab.from_labels(texts),open_picture(files[0]).size[::-1],max(map(len, texts))
    print('\n'+md_head('size', 'parameters', 'of them in the stem', 'pictures', 'right', 'interval', 'minutes a fold'))
    for name,kw in sizes.items():
        out = args.out/name
        if list(out.glob('fold*.csv')): print(row(name, out, captcha_transformer(vocab, size, width=width, **kw)))

if __name__=='__main__': main()
