#!/usr/bin/env python3
"""Out-of-fold accuracy of an arch on a labelled folder: every picture is read by a model that has never seen it.

usage: accuracy.py --arch crnn_small [--folds 5] [--seed 0] [--data DIR] [--out DIR] [--only 0,1] [--wd .01] [--drop .5]
                   [--bs 8] [--epochs 5] [--n-train 50] [--pretrained]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA, or else the set of fastai's course). Each
arch trains by its own recipe, from scratch, or with --pretrained from its weights in the package; the three models of
the fastai captcha tutorial (pooled_classifier, spatial_classifier, crnn) with the tutorial's augmentation. An arch of
your own is given as package.module:function. Finished folds are kept in OUT (default: benchmarks/results/ARCH-seedS,
with -pretrained, -bsB, -dropD or -wdW behind it) and not trained again, so that a run can be stopped and gone on
with.
"""
from common import RESULTS, graphs, labelled, log, numbers, parser, refused, tutorial, tutorial_augment
from captcha_fastai.archs import get_arch
from captcha_fastai.loaders import untar_captchas
from captcha_fastai.tables import accuracy_table
from captcha_fastai.folds import k_fold

def folder_name(args, arch):
    "Where results go: the arch, the seed, and what is not as the recipe has it"
    name = f'{arch.__name__}-seed{args.seed}'
    if args.pretrained: name += '-pretrained'
    for k,v in (('bs',args.bs), ('drop',args.drop), ('wd',args.wd)):
        if v is not None: name += f'-{k}{v:g}'
    return name

def out_of_fold(args):
    "The table of predictions of all folds done"
    arch = get_arch(args.arch)
    more = {} if args.wd is None else dict(wd=args.wd)
    return k_fold(*labelled(args.data or untar_captchas()), arch, args.out or RESULTS/folder_name(args, arch),
                  folds=args.folds, seed=args.seed, epochs=args.epochs, bs=args.bs, n_train=args.n_train,
                  pretrained=args.pretrained, arch_args=None if args.drop is None else dict(drop=args.drop),
                  only=numbers(args.only) if args.only else None, cbs=graphs() or None, log=log,
                  batch_tfms=tutorial_augment() if args.arch in tutorial else None, **more)

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--arch', default='crnn_small')
    p.add_argument('--folds', type=int, default=5)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--epochs', type=int)
    p.add_argument('--bs', type=int)
    p.add_argument('--wd', type=float, help="weight decay, if not the recipe's")
    p.add_argument('--drop', type=float, help="dropout, if not the arch's")
    p.add_argument('--n-train', type=int, help='pictures to train on in each fold')
    p.add_argument('--out')
    p.add_argument('--pretrained', action='store_true', help='start from the weights in the package')
    p.add_argument('--only', help='folds to do in this run, as 0,1')
    args = p.parse_args()
    with refused(p): df = out_of_fold(args)
    print(accuracy_table({args.arch:df}).round(4).to_string())

if __name__=='__main__': main()
