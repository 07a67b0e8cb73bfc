#!/usr/bin/env python3
"""Memory of a training on a CPU, epoch by epoch, for each arch, with and without `PlainLosses`.

usage: memory.py [--data DIR] [--arch crnn_small,crnn] [--epochs 10] [--batches 26] [--threads 1] [--half]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Each training is a process of its own, from
scratch, in batches of the arch's recipe, from the same seed. `held` is the memory of the process at the end of the
epoch, without files (RssAnon); `peak` the most that it had so far (VmHWM), files and all. Linux only.
"""
import argparse
import os
import subprocess
import sys

from common import chosen, folder_of, labelled, log, md_head, md_row, parser, quiet

def megabytes():
    "What this process holds now, and the most so far"
    with open('/proc/self/status', encoding='utf-8') as f: d = dict(o.split(':', 1) for o in f)
    return [int(d[k].split()[0])>>10 for k in ('RssAnon','VmHWM')]

def child(data, arch, cure, epochs, batches, half):
    "Train, and print the megabytes of each epoch"
    from fastai.basics import Callback, set_seed
    from captcha_fastai.archs import get_arch
    from captcha_fastai.learner import captcha_learner
    from captcha_fastai.loaders import CaptchaDataLoaders
    from captcha_fastai.speed import PlainLosses
    class See(Callback):
        order = 99
        def after_epoch(self): print(*megabytes(), flush=True)
    set_seed(0)
    (files,texts),arch = labelled(data),get_arch(arch)
    n = min(len(files), batches*arch.recipe.bs+20)
    how = dict(valid_pct=20/n, seed=0, bs=arch.recipe.bs, device='cpu')
    dls = CaptchaDataLoaders.from_lists('.', files[:n], texts[:n], **how)
    learn = captcha_learner(dls, arch, pretrained=False, half=half, cbs=See())
    if not cure: learn.remove_cb(PlainLosses)
    with quiet(learn): learn.fit_one_cycle(epochs, 1e-3)

def seen(args, arch, cure):
    "Held and peak of each epoch, from a process of its own"
    more = ['--child', arch, *(['--cure'] if cure else []), *(['--half'] if args.half else [])]
    res = subprocess.run([sys.executable, '-W', 'ignore', __file__, '--data', args.data, '--epochs', str(args.epochs),
                          '--batches', str(args.batches), *more], capture_output=True, text=True,
                         env=os.environ|dict(OMP_NUM_THREADS=str(args.threads)))
    rows = [tuple(map(int, o.split())) for o in res.stdout.splitlines()]
    if len(rows)!=args.epochs: sys.exit(res.stderr)
    return rows

def table(args, archs):
    "A row for each arch and way: megabytes held after each epoch, growth an epoch from the second on, and the peak"
    log(md_head('arch', 'losses kept', *range(1, args.epochs+1), 'MB an epoch', 'peak, first and last', right=True))
    for arch in archs:
        for cure in (False,True):
            rows = seen(args, arch, cure)
            held,peak = zip(*rows)
            growth = (held[-1]-held[1])/max(1, len(held)-2)
            log(md_row(arch, 'as numbers' if cure else 'as tensors', *held, f'{growth:+.1f}', f'{peak[0]}, {peak[-1]}'))

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--arch', help='all if not given')
    p.add_argument('--epochs', type=int, default=10)
    p.add_argument('--batches', type=int, default=26)
    p.add_argument('--threads', type=int, default=1)
    p.add_argument('--half', action='store_true', help='in bfloat16')
    p.add_argument('--child', help=argparse.SUPPRESS)
    p.add_argument('--cure', action='store_true', help=argparse.SUPPRESS)
    args = p.parse_args()
    args.data = str(folder_of(p, args.data))
    if args.child: return child(args.data, args.child, args.cure, args.epochs, args.batches, args.half)
    from captcha_fastai.archs import own_archs
    table(args, chosen(p, args.arch or ','.join(own_archs), own_archs))

if __name__=='__main__': main()
