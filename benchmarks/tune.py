#!/usr/bin/env python3
"""Search for a better recipe of an arch by Ray Tune, on this machine or on a cluster.

usage: tune.py --arch captcha_transformer [--trials 12] [--epochs 20] [--grace 6] [--address ADDRESS] [--data DIR] [--out FILE]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Without --address Ray starts in this process and uses --cpus cores;
with it ('auto', or 'ray://host:10001') the trials run on that cluster, whose machines must see the pictures under the same paths.
Writes a CSV with a row for each epoch of each trial (default: benchmarks/results/tune-ARCH.csv) and prints how the trials ended.
Needs the extra: pip install ".[tune]"
"""
import argparse, os, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
from captcha_fastai.all import archs, best_trials, captcha_label, picture_files, tune_arch, write_aside

spaces = dict(
    captcha_transformer=dict(lr=(3e-4,4e-3), bs=[16,32,64], d=[48,96,144], drop=[0.,.1,.2], layers=[[1,1],[2,2],[1,2]]),
    crnn_small=dict(lr=(1e-3,1e-2), bs=[16,32,64], drop=[0.,.1,.3], n_hidden=[64,128]),
)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--arch', default='captcha_transformer', choices=list(spaces))
    p.add_argument('--trials', type=int, default=12)
    p.add_argument('--epochs', type=int, default=20)
    p.add_argument('--grace', type=int, default=6)
    p.add_argument('--address')
    p.add_argument('--cpus', type=int)
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--out', type=Path)
    args = p.parse_args()
    if not args.data: p.error('give --data, or set CAPTCHA_DATA')
    files = picture_files(args.data)
    out = args.out or Path(__file__).parent/'results'/f'tune-{args.arch}.csv'
    found = tune_arch(files, [captcha_label(f) for f in files], archs[args.arch], spaces[args.arch], args.trials, args.epochs, args.grace,
                      address=args.address, cpus=args.cpus)
    write_aside(out, lambda f: found.to_csv(f, index=False))
    print(best_trials(found).round(4).to_string())

if __name__=='__main__': main()
