#!/usr/bin/env python3
"""Trains the weights that travel with the package: `crnn_small` on drawn captchas of random styles, digits and letters of both cases.

usage: pretrain.py [--epochs 60] [--n 16000] [--seed 0] [--workers 1] --out DIR [--resume]

No picture is seen twice: each of the EPOCHS draws N new ones, every one in a style of its own (lesson 01b), three to eight characters, squished to
50x200. The state is written to OUT after each epoch, and --resume goes on from there with the same pictures that an unbroken run would have
drawn. In the end OUT/reader is a saved reader. Fonts: matplotlib's, and those of the packages in the extra `fonts`; its `facts` name them.
With $CAPTCHA_DATA set, every tenth epoch also reads that folder; nothing is chosen by it.
"""
import argparse, os, time, warnings
from copy import deepcopy
from pathlib import Path

warnings.filterwarnings('ignore')
import numpy as np
import torch
from fastai.basics import Callback, Normalize, set_seed
from fastai.data.all import DataLoaders, IntToFloatTensor, TfmdDL
from fastai.vision.core import TensorImageBW
from fastcore.all import risinstance
from captcha_fastai.all import (ALNUM, CaptchaError, Checkpoint, CTCCheck, Reader, Vocab, captcha_label, captcha_learner, crnn_small, draw_captchas, picture_files,
                                random_style, score_texts, text_fonts)

CHARS,SIZE,WIDTH = ALNUM,(50,200),8

class Drawn:
    "Picture `i` of an epoch depends on the seed, the epoch and `i` alone"
    def __init__(self, n, seed): self.n,self.seed,self.epoch,self.vocab = n,seed,0,Vocab(CHARS)
    def __len__(self): return self.n
    def __getitem__(self, i):
        for t in range(20):
            key = (self.seed, self.epoch, int(i), t)
            try: text,im = draw_captchas(1, CHARS, (3,WIDTH), random_style(key), key)[0]
            except ValueError: continue   # too long a text for this style: take the next
            x = np.asarray(im.convert('L').resize(SIZE[::-1]))
            return TensorImageBW(torch.from_numpy(x.copy())[None]),self.vocab.encode(text, WIDTH)
        raise CaptchaError(f'no style fits at {key}')

class NewPictures(Callback):
    "Every epoch draws pictures of its own"
    def before_train(self): self.dls.train.dataset.epoch = self.epoch+1

class Report(Callback):
    "A line for each epoch, and now and then the accuracy on a real folder"
    order = 90
    def __init__(self, folder): self.files,self.start = picture_files(folder) if folder else [],time.perf_counter()
    def after_epoch(self):
        train,valid,right,chars = self.recorder.values[-1][:4]
        print(f'epoch {self.epoch+1}: training loss {train:.3f}, validation {valid:.3f}, {right:.1%} of captchas and {chars:.1%} of characters right, {time.perf_counter()-self.start:.0f} s', flush=True)
        if self.files and (self.epoch%10==9 or self.epoch==self.n_epoch-1): print('   ', real_scores(self.learn, self.files), flush=True)

def as_reader(learn, facts=None):
    "`Reader.from_learner` would count the lengths of the labels, and draw every picture for it"
    norm = learn.dls.after_batch.fs.filter(risinstance(Normalize))[0]
    return Reader(deepcopy(learn.model), 'crnn_small', {}, learn.vocab, learn.spec, norm.mean.flatten().tolist(), norm.std.flatten().tolist(), facts=facts)

def real_scores(learn, files):
    "How a labelled folder is read: freely, and told its characters and length"
    reader,texts = as_reader(learn),[captcha_label(f) for f in files]
    known = dict(chars=''.join(sorted(set(''.join(texts)))), length=(min(map(len, texts)),max(map(len, texts))))
    res = {}
    for name,kw in dict(free={}, told=dict(constraint=reader.constraint(**known))).items():
        scores = score_texts([o.text for o in reader.read(files, **kw)], texts)
        res[name] = f"{scores['captcha_accuracy']:.2%}, CER {scores['cer']:.2%}"
    return res

def learner(n, seed, workers=0, bs=64, cbs=None):
    dls = DataLoaders(TfmdDL(Drawn(n, seed), bs=bs, shuffle=True, drop_last=True, after_batch=[IntToFloatTensor()], num_workers=workers),
                      TfmdDL(Drawn(1000, seed+1), bs=2*bs, after_batch=[IntToFloatTensor()]))
    dls.vocab = dls.train.dataset.vocab
    learn = captcha_learner(dls, crnn_small, pretrained=False, cbs=cbs)
    learn.remove_cb(CTCCheck)   # any eight characters fit, and asking would draw every picture twice
    return learn

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--epochs', type=int, default=60)
    p.add_argument('--n', type=int, default=16000, help='pictures an epoch')
    p.add_argument('--lr', type=float, default=3e-3)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--workers', type=int, default=1, help='processes that draw')
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--resume', action='store_true')
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    set_seed(args.seed)
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', torch.get_num_threads())))
    keep = Checkpoint(args.out/'state.pth', resume=args.resume)
    learn = learner(args.n, args.seed, args.workers, cbs=[keep, NewPictures(), Report(os.environ.get('CAPTCHA_DATA'))])
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(args.epochs, args.lr, start_epoch=keep.start_epoch)
    print(f"{len(text_fonts(CHARS))} fonts: {', '.join(text_fonts(CHARS))}")
    as_reader(learn, facts=dict(drawn=args.epochs*args.n, seed=args.seed, fonts=list(text_fonts(CHARS)))).save(args.out/'reader')

if __name__=='__main__': main()
