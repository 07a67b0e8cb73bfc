#!/usr/bin/env python3
"""How much do a few labels give? Trains on N labelled pictures, from weights or from nothing, and scores on all others.

usage: few_labels.py [--arms shipped,whole,asked,fitted=DIR,taught,scratch] [--labels 5,10,25,50,100] [--seeds 5]
                     [--kind real] [--work DIR] [--out FILE]

`shipped` starts from the weights in the package, NAME=DIR from another saved reader (one that no_labels.py left
behind, say: captchas drawn in the style of the pictures), `scratch` from nothing, all by the recipe of `crnn_small`;
`whole` is `shipped`, but doesn't end halfway between the old weights and the new. `taught` starts as `shipped` does
and then learns from what it is sure of among the other pictures, whose labels it isn't given. `asked` is `shipped`,
but the N pictures are not drawn at random: of a seeded third they are those that the reader in the package is least
sure of, as captcha_annotate asks. Otherwise the pictures to train on are drawn by the seed and the same for every
arm; the characters that occur are known to all. `right` counts texts read freely, `told` those with the length given
to the search. A line for each training is added to OUT (default: benchmarks/results/few_labels.csv), and those that
are there are not made again. Prints a Markdown table: mean over the seeds of the share read right, the worst and the
best seed, seconds of training.
"""
import time
from itertools import product
from pathlib import Path

from common import RESULTS, Table, log, md_head, md_row, numbers, parser, quiet
import numpy as np
from fastai.basics import set_seed
from captcha_fastai.adapt import adapt
from captcha_fastai.crnn import crnn_small
from captcha_fastai.evidence import cases_apart
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.learner import captcha_learner, recipe_bs
from captcha_fastai.metrics import score_texts
from captcha_fastai.reader import Reader
from captcha_fastai.weights import data_like, reader_folder
from kinds import KINDS, known, pictures

COLS = 'kind,arm,labels,seed,n,right,told,cer,seconds'.split(',')
OWN_ARMS = 'shipped','whole','asked','taught','scratch'

def train(files, texts, chars, weights, seed, whole=False):
    "A reader trained on these pictures, the characters being known"
    set_seed(seed)
    like = data_like(reader_folder(weights)) if weights else {}
    dls = CaptchaDataLoaders.from_lists('.', files, texts, valid_pct=0, bs=recipe_bs(crnn_small, len(files)),
                                        vocab=chars, **like)
    apart = cases_apart(Reader.load(weights), files, texts)[0] if weights else 0   # as captcha_train finds out
    learn = captcha_learner(dls, crnn_small, pretrained=weights or False, ignore_case=bool(apart))
    with quiet(learn): learn.fit_recipe(average=False if whole else None)
    return Reader.from_learner(learn, check=0)

def least_sure_first(order, n, files, chars):
    "A third of the pictures, or `n`, those first that the reader in the package is least sure of; the rest behind them"
    pool,reader = order[:max(n, len(order)//3)],Reader.load('pretrained')
    readings = reader.read([files[i] for i in pool], constraint=reader.constraint(chars=chars))
    sure = {i:o.confidence for i,o in zip(pool, readings)}
    return [*sorted(pool, key=sure.get), *order[len(pool):]]

def measured(arm, weights, n, seed, files, texts):
    "One training and its scores: the rest of a row"
    tell = known(texts)
    order = np.random.default_rng((seed,n)).permutation(len(files))
    if arm=='asked': order = least_sure_first(order, n, files, tell['chars'])
    mine,mine_texts = [files[i] for i in order[:n]],[texts[i] for i in order[:n]]
    others,truth = [files[i] for i in order[n:]],[texts[i] for i in order[n:]]
    start = time.perf_counter()
    if arm=='taught':
        reader = adapt(others, tell['chars'], tell['length'], (mine,mine_texts), drawn=0, seed=seed,
                       log=lambda s: None).reader
    else:
        if not weights and arm!='scratch': weights = 'pretrained'
        reader = train(mine, mine_texts, tell['chars'], weights, seed, arm=='whole')
    seconds = time.perf_counter()-start
    scores = score_texts([o.text for o in reader.read(others)], truth)
    told = reader.read(others, constraint=reader.constraint(tell['length']))
    return dict(n=len(others), right=round(scores['captcha_accuracy']*len(others)),
                told=sum(o.text==t for o,t in zip(told, truth)), cer=round(scores['cer'], 5), seconds=round(seconds, 1))

def cell(df):
    "Mean, worst and best seed of an arm"
    if not len(df): return ''
    return (f'{df.free.mean():.1%} ({df.free.min():.1%} to {df.free.max():.1%}), told {df.told.mean():.1%}, '
            f'{df.seconds.mean():.0f} s')

def main():
    p = parser(__doc__)
    p.add_argument('--arms', default='shipped,taught,scratch')
    p.add_argument('--labels', default='5,10,25,50,100')
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--kind', default='real', choices=list(KINDS))
    p.add_argument('--work', type=Path, default=Path('no_labels'), help='where pictures that have to be drawn are kept')
    p.add_argument('--out', type=Path, default=RESULTS/'few_labels.csv')
    args = p.parse_args()
    arms = dict((o+'=').split('=')[:2] for o in args.arms.split(','))
    for name,weights in arms.items():
        if not weights and name not in OWN_ARMS: p.error(f'arm {name!r}: give {name}=DIR, a saved reader')
    files,texts = pictures(args.kind, args.work)
    table = Table(args.out, COLS)
    for (arm,weights),n,seed in product(arms.items(), numbers(args.labels), range(args.seeds)):
        key = dict(kind=args.kind, arm=arm, labels=n, seed=seed)
        if table.has(**key): continue
        got = measured(arm, weights, n, seed, files, texts)
        table.add(**key, **got)
        log(f"{args.kind}, {arm}, {n} labels, seed {seed}: {got['right']/got['n']:.2%} of {got['n']}, "
            f"told the length {got['told']/got['n']:.2%}, {got['seconds']:.0f} s")
    df = table.rows()
    df = df[df.kind==args.kind]
    df = df.assign(free=df.right/df.n, told=df.told/df.n)
    print(f"\n{KINDS[args.kind]}\n\n{md_head('labels', *arms)}")
    for n,g in df.groupby('labels'): print(md_row(n, *[cell(g[g.arm==arm]) for arm in arms]))

if __name__=='__main__': main()
