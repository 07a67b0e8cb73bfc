#!/usr/bin/env python3
"""How small can `captcha_transformer` be and still read 98 %? Its parts shrunk step by step, out-of-fold results on a labelled folder.

usage: smallest_transformer.py [--sizes base,tiny] [--folds 0,1,2,3,4] [--data DIR] [--out DIR]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). All sizes train by the arch's own recipe. `patches` has the layout of the
forum thread's net of 2023, one block on each side, three heads and no convolutions but the one that cuts patches, here of 10x5 pixels. Finished folds are
kept in OUT (default: benchmarks/results/smallest) and not trained again. Prints a Markdown table of all sizes that have results.
"""
import argparse, os, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import pandas as pd
from captcha_fastai.all import Vocab, captcha_label, captcha_transformer, k_fold, load_folds, open_picture, picture_files, wilson

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

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--sizes', default=','.join(sizes))
    p.add_argument('--folds', default='0,1,2,3,4')
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'smallest')
    args = p.parse_args()
    if not args.data: p.error('give --data, or set CAPTCHA_DATA')
    files = picture_files(args.data)
    texts = list(map(captcha_label, files))
    for name in args.sizes.split(','):
        k_fold(files, texts, captcha_transformer, args.out/name, seed=7, only=[int(o) for o in args.folds.split(',')],
               arch_args=sizes[name], say=lambda s: print(f'{name}: {s}', flush=True))
    spec = dict(size=open_picture(files[0]).size[::-1], width=max(map(len, texts)))
    print('\n| size | parameters | of them in the stem | pictures | right | interval | minutes a fold |\n|---|---|---|---|---|---|---|')
    for name,kw in sizes.items():
        if not list((args.out/name).glob('fold*.csv')): continue
        df,model = load_folds(args.out/name),captcha_transformer(Vocab.from_labels(texts), **spec, **kw)
        right = int((df.text==df.prediction).sum())
        low,high = wilson(right, len(df))
        minutes = [pd.read_csv(f).seconds.iloc[-1]/60 for f in (args.out/name).glob('history*.csv')]
        count = lambda m: f'{sum(o.numel() for o in m.parameters()):,}'
        print(f'| {name} | {count(model)} | {count(model.stem)} | {len(df)} | {right/len(df):.2%} | {low:.2%} to {high:.2%} | {sum(minutes)/len(minutes):.1f} |')

if __name__=='__main__': main()
