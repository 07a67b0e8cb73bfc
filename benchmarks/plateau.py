#!/usr/bin/env python3
"""How soon does `crnn_small` leave the plateau of blanks, with and without `CoarseCTC`? On drawn captchas of several styles.

usage: plateau.py [--n 3000] [--epochs 4] [--seeds 3]

Prints the character accuracy on held-out pictures after each epoch, a line for each arm and seed.
"""
import argparse, tempfile, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
from fastai.basics import set_seed
from captcha_fastai.all import CaptchaDataLoaders, captcha_arch, captcha_learner, crnn_small, save_captchas

@captcha_arch(epochs=4, lr=2e-3, bs=32)
def without_coarse(*args, **kwargs): return crnn_small(*args, **kwargs)

def curve(path, arch, epochs, seed):
    "Character accuracy after each epoch"
    set_seed(seed)
    learn = captcha_learner(CaptchaDataLoaders.from_folder(path, bs=32), arch)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, 2e-3)
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
            for arch in (without_coarse, crnn_small):
                name = 'with CoarseCTC' if arch is crnn_small else 'without'
                print(f'seed {seed}, {name:14}', *(f'{o:.3f}' for o in curve(Path(tmp)/'drawn', arch, args.epochs, seed)), flush=True)

if __name__=='__main__': main()
