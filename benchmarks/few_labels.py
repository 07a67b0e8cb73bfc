#!/usr/bin/env python3
"""How much do a few labels give? Trains on N labelled pictures, from weights or from nothing, and scores on all others.

usage: few_labels.py [--arms shipped,whole,asked,fitted=DIR,taught,scratch] [--labels 5,10,25,50,100] [--seeds 5] [--kind real] [--work DIR] [--out FILE]

`shipped` starts from the weights in the package, NAME=DIR from another saved reader (one that no_labels.py left behind, say: captchas drawn in the style of the pictures),
`scratch` from nothing, all by the recipe of `crnn_small`; `whole` is `shipped`, but doesn't end halfway between the old weights and the new. `taught` starts as `shipped` does and then learns from what it is sure of among the other pictures, whose labels
it isn't given. `asked` is `shipped`, but the N pictures are not drawn at random: of a seeded third they are those that the reader in the package is least sure of, as
captcha_annotate asks. Otherwise the pictures to train on are drawn by the seed and the same for every arm; the characters that occur are known to all. `right` counts texts read freely,
`told` those with the length given to the search. A line for each training is added to OUT (default: benchmarks/results/few_labels.csv), and those that are there are not
made again. Prints a Markdown table: mean over the seeds of the share read right, the worst and the best seed, seconds of training.
"""
import argparse, csv, time, warnings
from dataclasses import replace
from pathlib import Path

warnings.filterwarnings('ignore')
import numpy as np
import pandas as pd
from fastai.basics import set_seed
from captcha_fastai.all import CaptchaDataLoaders, Reader, adapt, captcha_learner, crnn_small, reader_folder, recipe_bs, saved_description, score_texts
from kinds import KINDS, known, pictures

COLS = 'kind,arm,labels,seed,n,right,told,cer,seconds'.split(',')

def train(files, texts, chars, weights, seed, whole=False):
    "A reader trained on these pictures, the characters being known"
    set_seed(seed)
    dls = CaptchaDataLoaders.from_lists('.', files, texts, valid_pct=0, bs=recipe_bs(crnn_small, len(files)), vocab=chars,
                                        size=saved_description(reader_folder(weights))['spec']['size'] if weights else None)
    learn = captcha_learner(dls, crnn_small, pretrained=weights or False)
    recipe = crnn_small.recipe
    if whole: crnn_small.recipe = replace(recipe, tune=recipe.tune|dict(halfway=0))
    with learn.no_bar(), learn.no_logging(): learn.fit_recipe()
    crnn_small.recipe = recipe
    return Reader.from_learner(learn, check=0)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--arms', default='shipped,taught,scratch')
    p.add_argument('--labels', default='5,10,25,50,100')
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--kind', default='real', choices=list(KINDS))
    p.add_argument('--work', type=Path, default=Path('no_labels'), help='where pictures that have to be drawn are kept')
    p.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'few_labels.csv')
    args = p.parse_args()
    files,texts = pictures(args.kind, args.work)
    tell = known(texts)
    if not args.out.exists(): args.out.write_text(','.join(COLS)+'\n')
    arms = [(o+'=').split('=')[:2] for o in args.arms.split(',')]
    for name,weights in arms:
        for n in map(int, args.labels.split(',')):
            for seed in range(args.seeds):
                df = pd.read_csv(args.out)
                if ((df.kind==args.kind)&(df.arm==name)&(df.labels==n)&(df.seed==seed)).any(): continue
                order = np.random.default_rng((seed,n)).permutation(len(files))
                if name=='asked':
                    pool,reader = order[:max(n, len(order)//3)],Reader.load('pretrained')
                    sure = {i:o.confidence for i,o in zip(pool, reader.read([files[i] for i in pool], constraint=reader.constraint(chars=tell['chars'])))}
                    order = [*sorted(pool, key=sure.get), *order[len(pool):]]
                mine,others = order[:n],order[n:]
                (mf,mt),(of,ot) = (([files[i] for i in o], [texts[i] for i in o]) for o in (mine, others))
                start = time.perf_counter()
                if name=='taught': reader = adapt(of, tell['chars'], tell['length'], (mf,mt), drawn=0, seed=seed, say=lambda s: None).reader
                else: reader = train(mf, mt, tell['chars'], weights or ('pretrained' if name in ('shipped','whole','asked') else None), seed, name=='whole')
                seconds = time.perf_counter()-start
                scores = score_texts([o.text for o in reader.read(of)], ot)
                told = sum(o.text==t for o,t in zip(reader.read(of, constraint=reader.constraint(tell['length'])), ot))
                with open(args.out, 'a', newline='') as f:
                    csv.writer(f).writerow([args.kind, name, n, seed, len(of), round(scores['captcha_accuracy']*len(of)), told, round(scores['cer'], 5), round(seconds, 1)])
                print(f"{args.kind}, {name}, {n} labels, seed {seed}: {scores['captcha_accuracy']:.2%} of {len(of)}, told the length {told/len(of):.2%}, {seconds:.0f} s", flush=True)
    df = pd.read_csv(args.out)
    df = df[df.kind==args.kind].assign(free=lambda o: o.right/o.n, told=lambda o: o.told/o.n)
    print(f"\n{KINDS[args.kind]}\n\n| labels | {' | '.join(n for n,_ in arms)} |\n|---|{'---|'*len(arms)}")
    for n,g in df.groupby('labels'):
        cells = [f'{c.free.mean():.1%} ({c.free.min():.1%} to {c.free.max():.1%}), told {c.told.mean():.1%}, {c.seconds.mean():.0f} s' if len(c := g[g.arm==name]) else '' for name,_ in arms]
        print(f"| {n} | {' | '.join(cells)} |")

if __name__=='__main__': main()
