#!/usr/bin/env python3
"""The mean of the weights of two readers of one shape, one of which was trained on from the other.

usage: mean_weights.py READER READER --out DIR

A training that goes on with other captchas learns them, and forgets a little of the earlier ones. Halfway between the
weights before and after, a reader keeps both (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). DIR is a
saved reader in half precision; what the second one says of its training is kept, and of which two this is the mean."""
import argparse
from dataclasses import replace
from pathlib import Path

from common import refused
from captcha_fastai.core import CaptchaError
from captcha_fastai.reader import Reader, save_reader

def mean_of(a, b):
    "A reader with the mean of both weights"
    if (a.spec.arch_args, a.spec.vocab, a.spec.size)!=(b.spec.arch_args, b.spec.vocab, b.spec.size):
        raise CaptchaError('the two readers have not the same shape')
    first,second = (o.model.float().state_dict() for o in (a, b))
    both = {k:first[k].lerp(v, .5) if v.is_floating_point() else v for k,v in second.items()}
    b.model.load_state_dict(both)
    fonts = sorted({*a.spec.info.get('fonts', ()), *b.spec.info.get('fonts', ())})
    info = b.spec.info | dict(mean_of=[a.spec.info.get('drawn'), b.spec.info.get('drawn')], fonts=fonts)
    return Reader(b.model, replace(b.spec, info=info), device='cpu', half=False)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('readers', nargs=2, metavar='READER')
    p.add_argument('--out', type=Path, required=True, help='folder to make')
    a = p.parse_args()
    with refused(p):
        readers = [Reader.load(o, device='cpu', half=False) for o in a.readers]
        save_reader(mean_of(*readers), a.out, half=True)

if __name__=='__main__': main()
