#!/usr/bin/env python3
"""The search behind `crnn_small`: its sizes and its recipe, one change at a time, by out-of-fold results.

usage: search_small.py [--arms base,wide] [--folds 0,1] [--data DIR] [--out DIR]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Finished folds are kept in OUT (default:
benchmarks/results/search) and not trained again. A line for each arm: pictures misread, mean loss of the labels (nats
a picture, less noisy than errors), pictures whose label gets less than 90 %, seconds of training a fold, parameters.
Folds are dealt with seed 7, not with the seed of the published results.
"""
from pathlib import Path

from common import RESULTS, chosen, fold_arms, folder_of, labelled, log, n_parameters, numbers, parser
import numpy as np
import pandas as pd
import torch
from captcha_fastai.core import Vocab
from captcha_fastai.crnn import crnn_small
from captcha_fastai.ctc import ctc_log_prob
from captcha_fastai.augment import captcha_augment
from captcha_fastai.folds import load_folds

strong = dict(max_rotate=4, max_lighting=.2, max_scale=.1, max_shear=.1)
arms = dict(
    base=dict(),
    stem_bare=dict(arch_args=dict(blocks=(0,1,1,1))),
    late=dict(arch_args=dict(blocks=(0,1,1,2))),
    wide=dict(arch_args=dict(widths=(32,48,96,96))),
    narrow=dict(arch_args=dict(widths=(16,32,64,96))),
    lstm64=dict(arch_args=dict(n_hidden=64)),
    lstm160=dict(arch_args=dict(n_hidden=160)),
    drop3=dict(arch_args=dict(drop=.3)),
    epochs8=dict(epochs=8),
    epochs12=dict(epochs=12),
    epochs24=dict(epochs=24),
    lr2=dict(lr=2e-3),
    lr4=dict(lr=4e-3),
    bs16=dict(bs=16),
    bs64=dict(bs=64, lr=4e-3),
    augment=dict(augment=strong),
    augment24=dict(augment=strong, epochs=24),
)

def k_fold_args(arm):
    "The arm as `k_fold` takes it"
    arm = dict(arm)
    augment = arm.pop('augment', None)
    return arm | dict(batch_tfms=captcha_augment(**augment) if augment else None)

def scored(out, folds):
    "Errors, labels' losses and seconds of the folds that are there"
    wrong,nll,secs = 0,[],[]
    vocab = Vocab.from_labels(load_folds(out).text)
    for i in folds:
        df = pd.read_csv(out/f'fold{i}.csv', dtype=str, keep_default_na=False)
        lp = torch.tensor(np.load(out/f'log_probs{i}.npy')).float().log_softmax(-1)
        width = df.text.str.len().max()
        wrong += (df.text!=df.prediction).sum()
        nll.append(-ctc_log_prob(lp, torch.stack([vocab.encode(t, width) for t in df.text])))
        secs.append(pd.read_csv(out/f'history{i}.csv').seconds.iloc[-1])
    return wrong,torch.cat(nll),sum(secs)/len(secs)

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--arms', default=','.join(arms))
    p.add_argument('--folds', default='0,1')
    p.add_argument('--out', type=Path, default=RESULTS/'search')
    args = p.parse_args()
    todo = {o:k_fold_args(arms[o]) for o in chosen(p, args.arms, arms)}
    files,texts = labelled(folder_of(p, args.data))
    folds = numbers(args.folds)
    for name,out in fold_arms(crnn_small, todo, folds, files, texts, args.out, lambda s: None):
        wrong,nll,secs = scored(out, folds)
        model = crnn_small(Vocab('2345678bcdefgmnpwxy'), (50,200), width=5, **arms[name].get('arch_args', {}))
        log(f'{name:10} {wrong:3} of {len(nll)} misread, loss {nll.mean():.3f} (median {nll.median():.4f}), '
            f'{(nll>.105).sum():3} below 90 %, {secs:4.0f} s, {n_parameters(model):,} parameters')

if __name__=='__main__': main()
