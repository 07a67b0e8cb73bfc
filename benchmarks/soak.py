#!/usr/bin/env python3
"""Reads a hundred thousand pictures with one reader, once by one thread and once by sixteen at a time, and looks at memory and answers.

usage: soak.py [--n 100000] [--threads 16] [--reader pretrained]

The pictures are 500 drawn captchas, over and over, in calls of 500. Memory is this process's resident set, after the first call and after every
tenth of the way. Each answer must be that of the first call. Ends with one JSON object; exit code 1 if an answer differs, or if memory grew by
more than a twentieth in the second half.
"""
import argparse, gc, json, os, sys, tempfile, time, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

warnings.filterwarnings('ignore')
from captcha_fastai.all import Reader, save_captchas

def resident():
    "Megabytes of this process"
    gc.collect()
    return round(int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')/2**20)

def soak(reader, files, n, threads):
    "Read `n` pictures, so many calls at a time"
    answers = lambda: [(o.text, round(o.confidence, 3)) for o in reader.read(files)]
    first,calls = answers(),n//len(files)
    mb,wrong,begun = [resident()],0,time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for part in range(10):
            todo = calls*(part+1)//10-calls*part//10
            wrong += sum(o!=first for o in pool.map(lambda _: answers(), range(todo)))
            mb.append(resident())
            print(f'{threads} at a time: {calls*(part+1)//10*len(files)} pictures, {mb[-1]} MB', file=sys.stderr, flush=True)
    return dict(pictures=calls*len(files), pictures_per_second=round(calls*len(files)/(time.perf_counter()-begun)), mb=mb, calls_that_differ=wrong, different_texts=len({t for t,_ in first}))

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
