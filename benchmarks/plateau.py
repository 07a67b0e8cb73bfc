#!/usr/bin/env python3
"""How soon does `crnn_small` leave CTC's plateau of blanks, by where it starts? On drawn captchas of several styles.

usage: plateau.py [--n 3000] [--epochs 4] [--seeds 3]

Prints the character accuracy on held-out pictures after each epoch, a line for each arm and seed: all classes alike at the start, or blank
with its share of the columns (`start_blank`).
"""
import argparse, tempfile, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
from fastai.basics import set_seed
from torch import nn
from captcha_fastai.all import CaptchaDataLoaders, captcha_learner, crnn_small, save_captchas

def curve(path, alike, epochs, seed):
    "Character accuracy after each epoch"
    set_seed(seed)
    learn = captcha_learner(CaptchaDataLoaders.from_folder(path, bs=32), crnn_small, pretrained=False)
    if alike: nn.init.zeros_(learn.model.head[-1].bias)
    with learn.no_bar(), learn.no_logging(): learn.fit_recipe(epochs)
    at = list(learn.recorder.metric_names).index('char_accuracy')-1
    return [o[at] for o in learn.recorder.values]

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--n', type=int, default=3000)
    p.add_argument('--epochs', type=int, default=4)
    p.add_argument('--seeds', type=int, default=3)
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        save_captchas(args.n, Path(tmp)/'drawn', style=['classic','wavy','crossed'], seed=0)
        for seed in range(args.seeds):
            for alike in (True, False):
                name = 'all alike' if alike else 'start_blank'
                print(f'seed {seed}, {name:12}', *(f'{o:.3f}' for o in curve(Path(tmp)/'drawn', alike, args.epochs, seed)), flush=True)

if __name__=='__main__': main()
