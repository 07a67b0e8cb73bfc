#!/usr/bin/env python3
"""How much is read without one label? The weights in the package; told characters and length; after drawing in the style of the pictures; after teaching itself; and ddddocr.

usage: no_labels.py [--kind real,package,hidden] [--seed 0] [--work DIR] [--out FILE]

A seeded third of the pictures is there to look at: a style is fitted to it, captchas are drawn and learnt, the reader teaches itself from it. All is scored on the other
two thirds, whose labels are used for nothing else; the last rows teach themselves from all pictures, as a user would. `told`: the characters that occur and the shortest
and longest length are given to the search. ddddocr (`pip install ddddocr`) is scored on texts in one case, since it returns small letters. A line for each row goes to
OUT (default: benchmarks/results/no_labels.csv), and rows that are there are not made again; the readers made stay in WORK. Prints a Markdown table.
"""
import argparse, csv, time, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import numpy as np
import pandas as pd
from captcha_fastai.all import Reader, adapt, score_texts, wilson
from kinds import KINDS, known, pictures

COLS = 'kind,method,told,n,right,cer,seconds'.split(',')

def ddddocr_texts(files):
    import ddddocr
    ocr = ddddocr.DdddOcr(show_ad=False)
    return [ocr.classification(Path(f).read_bytes()).lower() for f in files]

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--kind', default=','.join(KINDS))
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--drawn', type=int, default=4000)
    p.add_argument('--work', type=Path, default=Path('no_labels'))
    p.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'no_labels.csv')
    args = p.parse_args()
    if not args.out.exists(): args.out.write_text(','.join(COLS)+'\n')
    for kind in args.kind.split(','):
        files,texts = pictures(kind, args.work)
        order = np.random.default_rng(args.seed).permutation(len(files))
        third,rest = ([files[i] for i in o] for o in (order[:len(files)//3], order[len(files)//3:]))
        truth,tell = dict(zip(files, texts)),known(texts)
        rows = pd.read_csv(args.out)
        def missing(method): return not ((rows.kind==kind)&(rows.method==method)).any()
        def note(method, told, read, on, seconds):
            t = [truth[f].lower() if method=='ddddocr' else truth[f] for f in on]
            s = score_texts(read, t)
            with open(args.out, 'a', newline='') as f: csv.writer(f).writerow([kind, method, told, len(on), round(s['captcha_accuracy']*len(on)), round(s['cer'], 5), round(seconds, 1)])
            print(f"{kind}, {method}{', told' if told else ''}: {s['captcha_accuracy']:.2%} of {len(on)}, {seconds:.0f} s", flush=True)
        def score(method, reader, on, seconds):
            note(method, False, [o.text for o in reader.read(on)], on, seconds)
            chars = ''.join(c for c in tell['chars'] if c in reader.vocab)
            note(method, True, [o.text for o in reader.read(on, constraint=reader.constraint(tell['length'], chars))], on, seconds)
        def adapted(method, pics, on, **kwargs):
            start = time.perf_counter()
            res = adapt(pics, tell['chars'], tell['length'], seed=args.seed, work=args.work/f'{kind}-{args.seed}-{method.replace(" ", "_")}',
                        say=lambda s: print('   ', s, flush=True), **kwargs)
            score(method, res.reader, on, time.perf_counter()-start)
        if missing('ddddocr'):
            try: note('ddddocr', False, ddddocr_texts(rest), rest, 0)
            except ImportError: print('ddddocr is not installed: left out')
        if missing('weights'): score('weights', Reader.load('pretrained'), rest, 0)
        if missing('taught itself'): adapted('taught itself', third, rest, drawn=0)
        if missing('style drawn'): adapted('style drawn', third, rest, drawn=args.drawn, rounds=0)
        if missing('style drawn, then taught itself'): adapted('style drawn, then taught itself', third, rest, drawn=args.drawn)
        if missing('taught itself on all'): adapted('taught itself on all', files, rest, drawn=0)
    rows = pd.read_csv(args.out)
    for kind in args.kind.split(','):
        print(f'\n{KINDS[kind]}\n\n| read by | told nothing | told characters and length | seconds |\n|---|---|---|---|')
        for method,g in rows[rows.kind==kind].groupby('method', sort=False):
            cells = ['{:.2f} % ({:.2f} to {:.2f})'.format(*(100*o for o in (r.right/r.n, *wilson(r.right, r.n)))) if (r := next(g[g.told==t].itertuples(), None)) else '' for t in (False,True)]
            print(f"| {method} | {' | '.join(cells)} | {g.seconds.max():.0f} |")

if __name__=='__main__': main()
