#!/usr/bin/env python3
"""Out-of-fold accuracy of an arch on a labelled folder: every picture is read by a model that has never seen it.

usage: accuracy.py --arch crnn_small [--folds 5] [--seed 0] [--data DIR] [--out DIR] [--only 0,1] [--wd .01] [--drop .5] [--pretrained]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Each arch trains by its own recipe, from scratch, or with --pretrained from
its weights in the package; the three models of the fastai captcha tutorial (pooled_classifier, spatial_classifier, crnn) with the tutorial's augmentation.
Finished folds are kept in OUT (default: benchmarks/results/ARCH-seedS, with -pretrained, -bsB, -dropD or -wdW behind it) and not trained again, so that a run can be
stopped and gone on with.
"""
import argparse, os, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import torch
from fastai.vision.augment import Brightness, Contrast, Rotate
from captcha_fastai.all import CUDAGraphs, accuracy_table, archs, captcha_label, k_fold, picture_files, untar_captchas

tutorial = ('pooled_classifier', 'spatial_classifier', 'crnn')
def tutorial_augment(): return [Rotate(max_deg=10, p=.5), Brightness(max_lighting=.5, p=.8), Contrast(max_lighting=.5, p=.8)]

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--arch', default='crnn_small', choices=list(archs))
    p.add_argument('--folds', type=int, default=5)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--epochs', type=int)
    p.add_argument('--bs', type=int)
    p.add_argument('--wd', type=float, help="weight decay, if not the recipe's")
    p.add_argument('--drop', type=float, help="dropout, if not the arch's")
    p.add_argument('--n-train', type=int, help='pictures to train on in each fold')
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--out')
    p.add_argument('--pretrained', action='store_true', help='start from the weights in the package')
    p.add_argument('--only', help='folds to do in this run, as 0,1')
    args = p.parse_args()
    data = Path(args.data) if args.data else untar_captchas()
    changed = ''.join(f'-{k}{v:g}' for k in ('bs','drop','wd') if (v := getattr(args, k)) is not None)
    out = Path(args.out or Path(__file__).parent/'results'/f"{args.arch}-seed{args.seed}{'-pretrained' if args.pretrained else ''}{changed}")
    files = picture_files(data)
    df = k_fold(files, [captcha_label(f) for f in files], archs[args.arch], out, folds=args.folds, seed=args.seed, epochs=args.epochs, bs=args.bs, pretrained=args.pretrained, n_train=args.n_train,
                arch_args=None if args.drop is None else dict(drop=args.drop), **({} if args.wd is None else dict(wd=args.wd)), only=[int(o) for o in args.only.split(',')] if args.only else None,
                batch_tfms=tutorial_augment() if args.arch in tutorial else None, cbs=[CUDAGraphs] if torch.cuda.is_available() else None, say=lambda s: print(s, flush=True))
    print(accuracy_table({args.arch:df}).round(4).to_string())

if __name__=='__main__': main()
