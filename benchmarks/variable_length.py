#!/usr/bin/env python3
"""Texts of 4 to 7 characters: which models read them? Trains on drawn captchas and scores on others of another seed.

usage: variable_length.py [--arch crnn_small,crnn,spatial_classifier] [--n 6000] [--epochs 8] [--style classic]
                          [--test 1000] [--seed 0]
"""
import tempfile
import time
from pathlib import Path

from common import chosen, graphs, labelled, log, parser, quiet
from fastai.basics import set_seed
from captcha_fastai.archs import get_arch, own_archs
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.learner import captcha_learner
from captcha_fastai.metrics import score_texts
from captcha_fastai.synth import save_captchas

def trained_and_read(arch, train, test, epochs, seed):
    "Seconds of training, and how the pictures in `test` were read"
    set_seed(seed)
    dls = CaptchaDataLoaders.from_folder(train, bs=arch.recipe.bs, valid_pct=.02)
    learn = captcha_learner(dls, arch, pretrained=False, cbs=[o() for o in graphs()])
    start = time.perf_counter()
    with quiet(learn):
        learn.fit_recipe(epochs)
        seconds = time.perf_counter()-start
        _,_,ids = learn.get_preds(dl=learn.dls.test_dl(test), with_decoded=True)
    return seconds,learn.vocab.decode_batch(ids)

def main():
    p = parser(__doc__)
    p.add_argument('--arch', default='crnn_small,crnn,spatial_classifier')
    p.add_argument('--n', type=int, default=6000)
    p.add_argument('--test', type=int, default=1000)
    p.add_argument('--epochs', type=int, default=8)
    p.add_argument('--style', default='classic')
    p.add_argument('--seed', type=int, default=0)
    args = p.parse_args()
    archs = [get_arch(o) for o in chosen(p, args.arch, own_archs)]
    with tempfile.TemporaryDirectory() as tmp:
        train,test = Path(tmp)/'train',Path(tmp)/'test'
        save_captchas(args.n, train, style=args.style.split(','), length=(4,7), seed=args.seed)
        save_captchas(args.test, test, style=args.style.split(','), length=(4,7), seed=args.seed+1)
        files,texts = labelled(test)
        for arch in archs:
            seconds,read = trained_and_read(arch, train, files, args.epochs, args.seed)
            scores = score_texts(read, texts)
            log(f"{arch.__name__}: {scores['captcha_accuracy']:.2%} of {len(texts)} right, CER {scores['cer']:.2%}, "
                f"{seconds:.0f} seconds of training")
            for n in range(4, 8):
                right = [r==t for r,t in zip(read, texts) if len(t)==n]
                log(f'   {n} characters: {sum(right)/len(right):.2%} of {len(right)}')

if __name__=='__main__': main()
