#!/usr/bin/env python3
"""Trains the weights that travel with the package: `crnn_small` on captchas of random styles, digits and all letters.

usage: pretrain.py [--epochs 60] [--n 16000] [--seed 0] [--workers 1] --out DIR [--resume]

No picture is seen twice: each of the EPOCHS draws N new ones, every one in a style of its own (`styles`), three to
eight characters, squished to 50x200. The state is kept in DIR.partial after each epoch; the same command goes on from
there after a stop, with the same pictures that an unbroken run would have drawn, and --resume insists that there is
something to go on from. In the end DIR/reader is a saved reader. Fonts: matplotlib's, and those of the packages in the
extra `fonts`; its `facts` name them. With $CAPTCHA_DATA set, every tenth epoch also reads that folder; nothing is
chosen by it.
"""
import os
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

from common import labelled, log, parser, quiet, refused
import numpy as np
import torch
from fastai.basics import Callback, set_seed
from fastai.data.all import DataLoaders, IntToFloatTensor, TfmdDL
from fastai.vision.core import TensorImageBW
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.crnn import crnn_small
from captcha_fastai.files import WorkFolder
from captcha_fastai.fits import FitsCheck
from captcha_fastai.learner import captcha_learner
from captcha_fastai.metrics import score_texts
from captcha_fastai.reader import Reader, check_place
from captcha_fastai.styles import ALNUM, random_style, text_fonts
from captcha_fastai.synth import DoesNotFit, draw_captchas
from kinds import known

CHARS,SIZE,WIDTH = ALNUM,(50,200),8

class Drawn:
    "Picture `i` of an epoch depends on the seed, the epoch and `i` alone"
    def __init__(self, n, seed):
        self.n,self.seed,self.epoch = n,seed,0
        self.vocab = Vocab(CHARS)

    def __len__(self): return self.n

    def __getitem__(self, i):
        for t in range(20):
            key = (self.seed, self.epoch, int(i), t)
            try: text,im = draw_captchas(1, CHARS, (3,WIDTH), random_style(key), key)[0]
            except DoesNotFit: continue   # too long a text for this style: take the next
            x = np.asarray(im.convert('L').resize(SIZE[::-1]))
            return TensorImageBW(torch.from_numpy(x.copy())[None]),self.vocab.encode(text, WIDTH)
        raise CaptchaError(f'no style fits at {key}')

class NewPictures(Callback):
    "Every epoch draws pictures of its own"
    def before_train(self): self.dls.train.dataset.epoch = self.epoch+1

class Report(Callback):
    "A line for each epoch, and now and then the accuracy on a real folder"
    order = 90
    def __init__(self, folder):
        self.start = time.perf_counter()
        self.files,self.texts = labelled(folder) if folder else ([],[])

    def before_fit(self): self.live = False   # epochs skipped on the way to where one goes on are not told of
    def before_train(self): self.live = True

    def after_epoch(self):
        if not self.live: return
        train,valid,right,chars = self.recorder.values[-1][:4]
        seconds = time.perf_counter()-self.start
        log(f'epoch {self.epoch+1}: training loss {train:.3f}, validation {valid:.3f}, {right:.1%} of captchas and '
            f'{chars:.1%} of characters right, {seconds:.0f} s')
        due = self.epoch%10==9 or self.epoch==self.n_epoch-1
        if self.files and due: log(f'    {real_scores(self.learn, self.files, self.texts)}')

def as_reader(learn, **info):
    "`Reader.from_learner` would count the lengths of the labels, and draw every picture for it"
    return Reader(deepcopy(learn.model), replace(learn.spec, info=info))

def real_scores(learn, files, texts):
    "How a labelled folder is read: freely, and told its characters and length"
    reader,res = as_reader(learn),{}
    for name,constraint in dict(free=None, told=reader.constraint(**known(texts))).items():
        scores = score_texts([o.text for o in reader.read(files, constraint=constraint)], texts)
        res[name] = f"{scores['captcha_accuracy']:.2%}, CER {scores['cer']:.2%}"
    return res

def learner(n, seed, workers=0, bs=64, cbs=None):
    train = TfmdDL(Drawn(n, seed), bs=bs, shuffle=True, drop_last=True, after_batch=[IntToFloatTensor()],
                   num_workers=workers)
    dls = DataLoaders(train, TfmdDL(Drawn(1000, seed+1), bs=2*bs, after_batch=[IntToFloatTensor()]))
    dls.vocab = train.dataset.vocab
    learn = captcha_learner(dls, crnn_small, pretrained=False, cbs=cbs)
    learn.remove_cb(FitsCheck)   # any eight characters fit, and asking would draw every picture twice
    return learn

def pretrain(args, work):
    "Train, and save the reader; what is in `work` is gone on with"
    fonts = list(text_fonts(CHARS))
    going_on = work.begin(args.resume or None)
    set_seed(args.seed)
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', torch.get_num_threads())))
    learn = learner(args.n, args.seed, args.workers, cbs=[NewPictures(), Report(os.environ.get('CAPTCHA_DATA'))])
    with quiet(learn):
        learn.fit_recipe(args.epochs, args.lr, checkpoint=work/'state.pth', resume=going_on, pct_start=.25)
    log(f"{len(fonts)} fonts: {', '.join(fonts)}")
    args.out.mkdir(parents=True, exist_ok=True)
    as_reader(learn, drawn=args.epochs*args.n, seed=args.seed, fonts=fonts).save(args.out/'reader')
    work.clear()

def main():
    p = parser(__doc__)
    p.add_argument('--epochs', type=int, default=60)
    p.add_argument('--n', type=int, default=16000, help='pictures an epoch')
    p.add_argument('--lr', type=float, default=3e-3)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--workers', type=int, default=1, help='processes that draw')
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--resume', action='store_true')
    args = p.parse_args()
    settings = dict(epochs=args.epochs, n=args.n, lr=args.lr, seed=args.seed, fonts=list(text_fonts(CHARS)))
    work = WorkFolder(args.out.with_name(args.out.name+'.partial'), ('state.pth',), 'training', settings)
    with refused(p):
        check_place(args.out/'reader')
        with work.claim(): pretrain(args, work)

if __name__=='__main__': main()
