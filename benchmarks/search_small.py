#!/usr/bin/env python3
"""The search behind `crnn_small`: its sizes and its recipe, one change at a time, by out-of-fold results on a labelled folder.

usage: search_small.py [--arms base,wide] [--folds 0,1] [--data DIR] [--out DIR]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Finished folds are kept in OUT (default:
benchmarks/results/search) and not trained again. A line for each arm: pictures misread, mean loss of the labels (nats a picture, less noisy
than errors), pictures whose label gets less than 90 %, seconds of training a fold, parameters. Folds are dealt with seed 7, not with the
seed of the published results.
"""
import argparse, os, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import numpy as np
import pandas as pd
import torch
from captcha_fastai.all import Vocab, captcha_augment, captcha_label, crnn_small, ctc_log_prob, k_fold, picture_files

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

def scored(out, folds):
    "Errors, labels' losses and seconds of the folds that are there"
    wrong,nll,secs = 0,[],[]
    for i in folds:
        df = pd.read_csv(out/f'fold{i}.csv', dtype=str, keep_default_na=False)
        vocab = Vocab.from_labels(pd.concat([pd.read_csv(f, dtype=str, keep_default_na=False) for f in out.glob('fold*.csv')]).text)
        lp = torch.tensor(np.load(out/f'log_probs{i}.npy')).float().log_softmax(-1)
        wrong += (df.text!=df.prediction).sum()
        nll.append(-ctc_log_prob(lp, torch.stack([vocab.encode(t, df.text.str.len().max()) for t in df.text])))
        secs.append(pd.read_csv(out/f'history{i}.csv').seconds.iloc[-1])
    return wrong,torch.cat(nll),sum(secs)/len(secs)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--arms', default=','.join(arms))
    p.add_argument('--folds', default='0,1')
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'search')
    args = p.parse_args()
    if not args.data: p.error('give --data, or set CAPTCHA_DATA')
    files = picture_files(args.data)
    folds = [int(o) for o in args.folds.split(',')]
    for name in args.arms.split(','):
        arm = dict(arms[name])
        augment = arm.pop('augment', None)
        k_fold(files, [captcha_label(f) for f in files], crnn_small, args.out/name, seed=7, only=folds, say=lambda s: None,
               batch_tfms=captcha_augment(**augment) if augment else None, **arm)
        wrong,nll,secs = scored(args.out/name, folds)
        n = sum(o.numel() for o in crnn_small(Vocab('2345678bcdefgmnpwxy'), (50,200), width=5, **arm.get('arch_args', {})).parameters())
        print(f'{name:10} {wrong:3} of {len(nll)} misread, loss {nll.mean():.3f} (median {nll.median():.4f}), {(nll>.105).sum():3} below 90 %, {secs:4.0f} s, {n:,} parameters', flush=True)

if __name__=='__main__': main()
