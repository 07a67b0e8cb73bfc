#!/usr/bin/env python3
"""Beside busy processes: pictures read, predicted one by one and trained on in a second, with and without `calm`.

usage: busy.py [--data DIR] [--busy 0,1,2,4] [--seconds 3] [--rounds 2] [--half]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). A busy process is a Python that counts.
Nobody else should be at work: what others take is printed, in cores. `read` is `Reader.read` of 128 pictures by
crnn_small, `predict` is `learn.predict` of one, `train` is a training of crnn_small, in batches of 32. A fair share
explains a time of the quiet one x (busy + cores)/cores; the bound is twice that. Best of the rounds, in which both
ways take turns; the quiet rate is the better of the two. Exit code 1 if a rate with `calm` is below its bound.
"""
import os
import subprocess
import sys
import time
from contextlib import contextmanager

from common import folder_of, labelled, log, md_head, md_row, numbers, parser, quiet
import torch
from fastai.basics import Callback, CancelFitException
from captcha_fastai.device import calm
from captcha_fastai.crnn import crnn_small
from captcha_fastai.learner import captcha_learner
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.reader import Reader

@contextmanager
def busy(n):
    "Within, so many processes are at work beside this one"
    made = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(n)]
    try: yield time.sleep(.3)
    finally:
        for p in made: p.kill()
        for p in made: p.wait()

@contextmanager
def way(on):
    "With `calm`, or without"
    calm.every = .25 if on else float('inf')
    yield
    calm.until = 0.
    if calm.thread: calm.thread.join()

class Timed(Callback):
    "Ends a fit after so many seconds, the first of them to settle; `rate` is pictures a second"
    order = 100
    def __init__(self, seconds): self.seconds = seconds
    def before_fit(self): self.begun,self.start = time.perf_counter(),None
    def after_batch(self):
        if not self.training: return
        now = time.perf_counter()
        if self.start is not None: self.n += len(self.y)
        elif now-self.begun>1: self.start,self.n = now,0
        if self.start is not None and self.n and now-self.start>self.seconds:
            self.rate = self.n/(now-self.start)
            raise CancelFitException

def rate(work, seconds):
    "Pictures a second of `work()`, which returns how many it did; the first second is to settle"
    begun = time.perf_counter()
    while time.perf_counter()-begun<1: work()
    n,begun = 0,time.perf_counter()
    while not n or time.perf_counter()-begun<seconds: n += work()
    return n/(time.perf_counter()-begun)

def works(files, texts, half):
    "Names, and functions from seconds to pictures a second"
    dls = CaptchaDataLoaders.from_lists('.', files, texts, seed=0, bs=32)
    learn,reader = captcha_learner(dls, crnn_small, half=half),Reader.load('pretrained', device='cpu')
    reader.half = half
    def train(seconds):
        timed = Timed(seconds)
        with quiet(learn): learn.fit(1000, 1e-5, cbs=timed)
        return timed.rate
    def predict():
        with learn.no_bar(): learn.predict(files[0])
        return 1
    return dict(read=lambda s: rate(lambda: len(reader.read(files[:128])), s), predict=lambda s: rate(predict, s),
                train=train)

def all_cpu():
    "Seconds that all processes together have been at work"
    own = [int(o) for o in open('/proc/stat').readline().split()[1:8]]
    return (sum(own)-own[3]-own[4])/os.sysconf('SC_CLK_TCK')

def table(jobs, loads, seconds, rounds):
    "A row for each kind of work and load; are all within the bound?"
    cores,fine,best = os.cpu_count(),True,{}
    log(md_head('work', 'busy processes', 'without calm', 'with', 'bound', 'cores taken by others', right=True))
    for name,job in jobs.items():
        for n in loads:
            seen,begun,cpu = {True:[], False:[]},time.perf_counter(),all_cpu()-time.process_time()
            with busy(n):
                for _ in range(rounds):
                    for on,rates in seen.items():
                        with way(on): rates.append(job(seconds))
            others = (all_cpu()-time.process_time()-cpu)/(time.perf_counter()-begun)
            now,before = max(seen[True]),max(seen[False])
            if n==0: best[name] = max(now, before)
            bound = best[name]/(2*(n+cores)/cores) if name in best else float('nan')
            fine = fine and not now<bound
            log(md_row(name, n, *(f'{o:.1f}' for o in (before, now, bound, others))))
    return fine

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--busy', default='0,1,2,4')
    p.add_argument('--seconds', type=float, default=3)
    p.add_argument('--rounds', type=int, default=2)
    p.add_argument('--half', action='store_true', help='in bfloat16')
    p.add_argument('--work', default='read,predict,train')
    args = p.parse_args()
    files,texts = labelled(folder_of(p, args.data))
    log(f'{torch.get_num_threads()} threads on {os.cpu_count()} cores')
    jobs = {k:v for k,v in works(files, texts, args.half).items() if k in args.work.split(',')}
    sys.exit(not table(jobs, numbers(args.busy), args.seconds, args.rounds))

if __name__=='__main__': main()
