#!/usr/bin/env python3
"""Search for a better recipe of an arch by Ray Tune, on this machine or on a cluster.

usage: tune.py --arch captcha_transformer [--trials 12] [--epochs 20] [--grace 6] [--address ADDRESS] [--cpus N]
               [--data DIR] [--out FILE]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Without --address Ray starts in this
process and uses --cpus cores; with it ('auto', or 'ray://host:10001') the trials run on that cluster, whose machines
must see the pictures under the same paths. Writes a CSV with a row for each epoch of each trial (default:
benchmarks/results/tune-ARCH.csv) and prints how the trials ended. Needs the extra: pip install ".[tune]"
"""
from pathlib import Path

from common import RESULTS, folder_of, labelled, parser
from captcha_fastai.archs import get_arch
from captcha_fastai.files import atomic_write
from captcha_fastai.tune import best_trials, tune_arch

spaces = dict(
    captcha_transformer=dict(lr=(3e-4,4e-3), bs=[16,32,64], d=[48,96,144], drop=[0.,.1,.2], layers=[[1,1],[2,2],[1,2]]),
    crnn_small=dict(lr=(1e-3,1e-2), bs=[16,32,64], drop=[0.,.1,.3], n_hidden=[64,128]),
)

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--arch', default='captcha_transformer', choices=list(spaces))
    p.add_argument('--trials', type=int, default=12)
    p.add_argument('--epochs', type=int, default=20)
    p.add_argument('--grace', type=int, default=6)
    p.add_argument('--address')
    p.add_argument('--cpus', type=int)
    p.add_argument('--out', type=Path)
    args = p.parse_args()
    files,texts = labelled(folder_of(p, args.data))
    found = tune_arch(files, texts, get_arch(args.arch), spaces[args.arch], args.trials, args.epochs, args.grace,
                      address=args.address, cpus=args.cpus)
    atomic_write(args.out or RESULTS/f'tune-{args.arch}.csv', lambda f: found.to_csv(f, index=False))
    print(best_trials(found).round(4).to_string())

if __name__=='__main__': main()
