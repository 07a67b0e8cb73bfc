#!/usr/bin/env python3
"""Texts of 4 to 7 characters: which models read them? Trains on drawn captchas and scores on others that were drawn with another seed.

usage: variable_length.py [--arch crnn_small,crnn,spatial_classifier] [--n 6000] [--epochs 8] [--style classic] [--test 1000]
"""
import argparse, tempfile, time, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import torch
from fastai.basics import set_seed
from captcha_fastai.all import CUDAGraphs, CaptchaDataLoaders, archs, captcha_label, captcha_learner, picture_files, save_captchas, score_texts

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--arch', default='crnn_small,crnn,spatial_classifier')
    p.add_argument('--n', type=int, default=6000)
    p.add_argument('--test', type=int, default=1000)
    p.add_argument('--epochs', type=int, default=8)
    p.add_argument('--style', default='classic')
    p.add_argument('--seed', type=int, default=0)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        train,test = Path(tmp)/'train',Path(tmp)/'test'
        save_captchas(args.n, train, style=args.style.split(','), length=(4,7), seed=args.seed)
        save_captchas(args.test, test, style=args.style.split(','), length=(4,7), seed=args.seed+1)
        unseen = picture_files(test)
        for arch in map(archs.get, args.arch.split(',')):
            set_seed(args.seed)
            learn = captcha_learner(CaptchaDataLoaders.from_folder(train, bs=arch.recipe.bs, valid_pct=.02), arch, pretrained=False, cbs=CUDAGraphs() if torch.cuda.is_available() else None)
            start = time.perf_counter()
            with learn.no_bar(), learn.no_logging():
                learn.fit_recipe(args.epochs)
                took = time.perf_counter()-start
                _,_,ids = learn.get_preds(dl=learn.dls.test_dl(unseen), with_decoded=True)
            read,texts = learn.vocab.decode_batch(ids),[captcha_label(f) for f in unseen]
            scores = score_texts(read, texts)
            print(f"{arch.__name__}: {scores['captcha_accuracy']:.2%} of {len(texts)} right, CER {scores['cer']:.2%}, {took:.0f} seconds of training", flush=True)
            for n in range(4, 8):
                right = [r==t for r,t in zip(read, texts) if len(t)==n]
                print(f'   {n} characters: {sum(right)/len(right):.2%} of {len(right)}', flush=True)

if __name__=='__main__': main()
