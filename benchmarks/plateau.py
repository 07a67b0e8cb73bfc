#!/usr/bin/env python3
"""How soon does `crnn_small` leave CTC's plateau of blanks, by where it starts? On drawn captchas of several styles.

usage: plateau.py [--n 3000] [--epochs 4] [--seeds 3]

Prints the character accuracy on held-out pictures after each epoch, a line for each arm and seed: all classes alike
at the start, or blank with its share of the columns (`start_blank`).
"""
import tempfile
from pathlib import Path

from common import history, log, parser, quiet
from fastai.basics import set_seed
from torch import nn
from captcha_fastai.crnn import crnn_small
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.learner import captcha_learner
from captcha_fastai.synth import save_captchas

def curve(path, alike, epochs, seed):
    "Character accuracy after each epoch"
    set_seed(seed)
    learn = captcha_learner(CaptchaDataLoaders.from_folder(path, bs=32), crnn_small, pretrained=False)
    if alike: nn.init.zeros_(learn.model.head[-1].bias)
    with quiet(learn): learn.fit_recipe(epochs)
    return history(learn).char_accuracy

def main():
    p = parser(__doc__)
    p.add_argument('--n', type=int, default=3000)
    p.add_argument('--epochs', type=int, default=4)
    p.add_argument('--seeds', type=int, default=3)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        drawn = Path(tmp)/'drawn'
        save_captchas(args.n, drawn, style=['classic','wavy','crossed'], seed=0)
        for seed in range(args.seeds):
            for alike,name in ((True,'all alike'), (False,'start_blank')):
                shares = ' '.join(f'{o:.3f}' for o in curve(drawn, alike, args.epochs, seed))
                log(f'seed {seed}, {name:12} {shares}')

if __name__=='__main__': main()
