#!/usr/bin/env python3
"""How long CTC decoders take for a text, and how much memory, side by side in one run.

usage: decode_speed.py [--quick] [--out TABLE.md] [--threads N] [--seconds 1.5]

Random emissions (standard normal logits, log-softmax), float32, beam 10 for all. A row for each shape and batch; a
cell is microseconds a text, the best of several runs, and behind it the ratio to `prefix_beam_decode` with
`Constraint(length=5)`. Decoders without batches are given the pictures of a batch one by one, 32 of them at most:
their time a text doesn't depend on the batch. `peak` is the memory that the constrained search added at its height,
in MB, measured in a process of its own. `--quick` takes the two smaller shapes and batches up to 256. A second table
shows how ours grows with T, V, beam and batch.
"""
import argparse
import logging
import math
import os
import subprocess
import sys
import time
from itertools import groupby

from common import log, md_head, md_row, parser
logging.disable(logging.WARNING)
import torch
from captcha_fastai.decode import greedy_decode, path_beam_decode
from captcha_fastai.rules import Constraint
from captcha_fastai.search import prefix_beam_decode

SHAPES, BATCHES = [(13,20),(25,20),(32,63),(100,100)], [1,32,256,2048]
CHARS = ''.join(map(chr, range(0x21, 0x7f))) + ''.join(map(chr, range(0xc0, 0x100)))
GROWTH = dict(T=(13,25,50,100), V=(10,20,40,80), beam=(1,5,10,20,50), batch=(1,8,64,512))
LEAST_LOG_PROB = math.log(.01)   # classes less probable than that don't extend a path

def python_path_beam(lp, beam=10, threshold=LEAST_LOG_PROB):
    """The fastai captcha tutorial's idea in its Python form, one picture: extend every path by every probable class,
    keep the best, add up at the end"""
    paths = [((), 0.)]
    for column in lp.tolist():
        grown = [(path+(c,), score+p) for path,score in paths for c,p in enumerate(column) if p>threshold]
        if not grown: grown = [(path+(0,), score) for path,score in paths]
        paths = sorted(grown, key=lambda o: -o[1])[:beam]
    texts = {}
    for path,score in paths:
        k = tuple(c for c,_ in groupby(path) if c)
        texts[k] = texts.get(k, 0)+math.exp(score)
    return max(texts, key=texts.get)

def one_by_one(f, prepare):
    "A decoder of single pictures, as one of batches; preparing its input isn't timed"
    def make(lp):
        todo = [prepare(o) for o in lp[:32]]
        return (lambda: [f(o) for o in todo]), len(todo)
    return make

def batched(f): return lambda lp: ((lambda: f(lp)), len(lp))

def decoders(V):
    "Name and maker of each decoder that can be had"
    res = {'path beam, Python': one_by_one(python_path_beam, lambda o: o)}
    try:
        import fast_ctc_decode
        def rust(o): return fast_ctc_decode.beam_search(o, CHARS[:V], beam_size=10, beam_cut_threshold=0.)
        res['fast-ctc-decode (Rust)'] = one_by_one(rust, lambda o: o.exp().numpy())
    except ImportError: pass
    try:
        from pyctcdecode import build_ctcdecoder
        other = build_ctcdecoder(['', *CHARS[1:V]])
        res['pyctcdecode'] = one_by_one(lambda o: other.decode(o, beam_width=10), lambda o: o.numpy())
    except ImportError: pass
    five = Constraint(length=5)
    own = dict(greedy_decode=greedy_decode, path_beam_decode=path_beam_decode, prefix_beam_decode=prefix_beam_decode)
    own['the same, length=5'] = lambda lp: prefix_beam_decode(lp, constraint=five)
    return res | {k:batched(f) for k,f in own.items()}

def emissions(bs, T, V): return torch.randn(bs, T, V, generator=torch.Generator().manual_seed(bs+T+V)).log_softmax(-1)

def microseconds(make, lp, seconds):
    "Best time a text"
    f,n = make(lp)
    f()
    best,stop = math.inf,time.perf_counter()+seconds
    while best==math.inf or time.perf_counter()<stop:
        start = time.perf_counter()
        f()
        best = min(best, time.perf_counter()-start)
    return best/n*1e6

def peak(bs, T, V):
    "Megabytes that a constrained search adds, in a fresh process"
    run = [sys.executable, __file__, '--peak', str(bs), str(T), str(V)]
    return float(subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout)

def high_water():
    "Megabytes of memory this process has held at most, since the mark was last put back (Linux)"
    return next(int(o.split()[1]) for o in open('/proc/self/status') if o.startswith('VmHWM'))/1024

def print_peak(bs, T, V):
    lp = emissions(bs, T, V)
    prefix_beam_decode(lp[:1], constraint=Constraint(length=5))
    try:
        with open('/proc/self/clear_refs', 'w') as f: f.write('5')   # puts the mark back to what is held now
        before = high_water()
    except OSError: return print('nan')
    prefix_beam_decode(lp, constraint=Constraint(length=5))
    print(high_water()-before)

def table(shapes, batches, seconds, write):
    "The first table: a row for each shape and batch"
    names = list(decoders(20))
    write(md_head('T x V', 'batch', *names, 'peak', right=True))
    for T,V in shapes:
        makers = decoders(V)
        for bs in batches:
            lp = emissions(bs, T, V)
            us = {k:microseconds(m, lp, seconds) for k,m in makers.items()}
            base = us[names[-1]]
            cells = [f'{v:.1f} ({v/base:.2f})' for v in us.values()]
            write(md_row(f'{T}x{V}', bs, *cells, f'{peak(bs, T, V):.0f}'))

def search_time(T, V, beam, batch, constraint, seconds):
    def search(lp): return prefix_beam_decode(lp, beam=beam, constraint=constraint)
    return microseconds(batched(search), emissions(batch, T, V), seconds)

def growth(seconds, write):
    "The second table: one of T, V, beam and batch changed at a time"
    write('\n'+md_head('prefix_beam_decode, from 25x20, beam 10, batch 256', 'free', 'length=5', right=True))
    five = Constraint(length=5)
    for name,values in GROWTH.items():
        for v in values:
            sizes = dict(T=25, V=20, beam=10, batch=256) | {name:v}
            us = [search_time(**sizes, constraint=c, seconds=seconds) for c in (None, five)]
            write(md_row(f'{name} = {v}', *[f'{o:.1f}' for o in us]))

def main():
    p = parser(__doc__)
    p.add_argument('--quick', action='store_true')
    p.add_argument('--out')
    p.add_argument('--threads', type=int, default=torch.get_num_threads())
    p.add_argument('--seconds', type=float, default=1.5)
    p.add_argument('--peak', nargs=3, type=int, help=argparse.SUPPRESS)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak: return print_peak(*args.peak)
    lines = []
    def write(o):
        log(o)
        lines.append(o)
    write('Microseconds a text (ratio to the last decoder), beam 10, random emissions; '
          f'torch {torch.__version__}, {args.threads} threads, {os.cpu_count()} cores.\n')
    shapes,batches,seconds = (SHAPES[:2],BATCHES[:3],.3) if args.quick else (SHAPES,BATCHES,args.seconds)
    table(shapes, batches, seconds, write)
    growth(seconds, write)
    if not args.out: return
    with open(args.out, 'w', encoding='utf-8') as f: f.write('\n'.join(lines)+'\n')

if __name__=='__main__': main()
