#!/usr/bin/env python3
"""Reads a hundred thousand pictures by one thread and by sixteen at a time, and looks at memory and answers.

usage: soak.py [--n 100000] [--threads 16] [--reader pretrained]

The pictures are 500 drawn captchas, over and over, in calls of 500. Memory is this process's resident set, after the
first call and after every tenth of the way. Each answer must be that of the first call. Ends with one JSON object;
exit code 1 if an answer differs, or if memory grew by more than a twentieth in the second half.
"""
import gc
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import parser
from captcha_fastai.reader import Reader
from captcha_fastai.synth import save_captchas

def resident():
    "Megabytes of this process"
    gc.collect()
    return round(int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')/2**20)

def soak(reader, files, n, threads):
    "Read `n` pictures, so many calls at a time"
    def answers(_=None): return [(o.text, round(o.confidence, 3)) for o in reader.read(files)]
    first,calls = answers(),n//len(files)
    mb,wrong,begun = [resident()],0,time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for part in range(10):
            before,after = calls*part//10,calls*(part+1)//10
            wrong += sum(o!=first for o in pool.map(answers, range(after-before)))
            mb.append(resident())
            print(f'{threads} at a time: {after*len(files)} pictures, {mb[-1]} MB', file=sys.stderr, flush=True)
    seconds,pictures = time.perf_counter()-begun,calls*len(files)
    return dict(pictures=pictures, pictures_per_second=round(pictures/seconds), mb=mb, calls_that_differ=wrong,
                different_texts=len({t for t,_ in first}))

def main():
    p = parser(__doc__)
    p.add_argument('--n', type=int, default=100_000)
    p.add_argument('--threads', type=int, default=16)
    p.add_argument('--reader', default='pretrained')
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        files = save_captchas(500, Path(tmp)/'drawn', seed=5)
        reader = Reader.load(args.reader)
        res = {f'{k} at a time':soak(reader, files, args.n, k) for k in (1, args.threads)}
    print(json.dumps(res))
    sys.exit(any(o['calls_that_differ'] or o['mb'][-1]>1.05*o['mb'][5] for o in res.values()))

if __name__=='__main__': main()
