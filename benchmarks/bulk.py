#!/usr/bin/env python3
"""Reads very many files into tables, killed again and again and gone on with: what is lost or double, and the memory.

usage: bulk.py [--files 100000] [--kills 20] [--formats csv,jsonl,parquet] [--reader tiny] [--seed 0] [--seconds 20]

The files are links to 400 drawn captchas, in subfolders of 1,000. `captcha_read READER FOLDER --out FILE` is killed
(SIGKILL) after a random time, as often as asked, each time with the same command; then it may end. Each file must
stand in the table once, with the text that its captcha is read as. The memory is the largest that any of these
processes held, and beside it that of a reading of 1,000 files. The reader called tiny is made here and does little,
for it isn't the model that is tried. Ends with one JSON object; exit code 1 if anything differs.
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
from common import chosen, command, log, parser

ENV = {**os.environ, 'OMP_NUM_THREADS':'1'}
LOADS = {'csv':lambda f: pd.read_csv(f, dtype=str, keep_default_na=False), 'parquet':pd.read_parquet,
         'jsonl':lambda f: pd.read_json(f, lines=True, dtype=False, convert_dates=False)}

def run(args, wait=None):
    "Run the command, killed after `wait` seconds; was it killed, seconds that it took, megabytes that it held"
    begun = time.perf_counter()
    with tempfile.TemporaryFile('w+') as err:
        how = dict(env=ENV, stdout=subprocess.DEVNULL, stderr=err)
        p = subprocess.Popen(command('captcha_read', '--no-alike', *args), **how)
        if wait is not None:
            try: p.wait(wait)
            except subprocess.TimeoutExpired: p.kill()
        if p.returncode is None:
            _,status,used = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
        else: return False,wait,0
        if p.returncode not in (0, -9):
            err.seek(0)
            raise SystemExit(f'exit code {p.returncode}\n{err.read()}')
    return p.returncode==-9,time.perf_counter()-begun,used.ru_maxrss//1024

def tiny_reader(folder, drawn):
    "A reader of few weights that has seen the captchas"
    from captcha_fastai.all import CaptchaDataLoaders, Reader, captcha_learner
    dls = CaptchaDataLoaders.from_folder(drawn, bs=32, size=(32,96), seed=0)
    learn = captcha_learner(dls, 'crnn_small', arch_args=dict(widths=[8,16], blocks=[1,1], n_hidden=16))
    with learn.no_bar(), learn.no_logging(): learn.fit(4, 1e-2)
    return Reader.from_learner(learn).save(folder)

def linked(folder, drawn, n):
    "So many links, 1,000 in a subfolder"
    for i in range(n):
        if i%1000==0: (folder/f'{i//1000:05d}').mkdir(parents=True)
        os.link(drawn[i%len(drawn)], folder/f'{i//1000:05d}'/f'{i:08d}.png')
    return folder

def disturbed(args, table, kills, rng, seconds):
    "Kill it so often, then let it end: times when it was killed, megabytes, the time of the last run"
    met,most = [],0
    while True:
        wait = rng.uniform(.5, seconds) if len(met)<kills else None
        killed,took,mb = run(args, wait)
        most = max(most, mb)
        if killed:
            met.append(round(took, 1))
            log(f'{table.name}: killed {len(met)} times')
        elif wait is None: return met,most,round(took, 1)
        else: raise SystemExit(f'{table.name} was done after {len(met)} kills: give more files')

def main():
    p = parser(__doc__)
    p.add_argument('--files', type=int, default=100_000)
    p.add_argument('--kills', type=int, default=20)
    p.add_argument('--formats', default='csv,jsonl,parquet')
    p.add_argument('--reader', default='tiny')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--seconds', type=float, default=20, help='longest time until a kill')
    args = p.parse_args()
    from captcha_fastai.reader import Reader
    from captcha_fastai.synth import save_captchas
    rng,res,fine = random.Random(args.seed),{},True
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        drawn = save_captchas(400, tmp/'drawn', chars='2bmx', length=3, seed=3)
        reader = tiny_reader(tmp/'tiny', tmp/'drawn') if args.reader=='tiny' else args.reader
        text_of = [o.text for o in Reader.load(reader).read(drawn)]
        few,many = linked(tmp/'few', drawn, 1000),linked(tmp/'many', drawn, args.files)
        _,_,mb = run((reader, few, '--out', tmp/'few.csv'))
        res['mb_for_1000'] = mb
        for o in chosen(p, args.formats, LOADS):
            table = tmp/f'read.{o}'
            met,most,last = disturbed((reader, many, '--out', table), table, args.kills, rng, args.seconds)
            df = LOADS[o](table)
            n = Counter(df.file)
            right = sum(t==text_of[int(Path(f).stem)%400] for f,t in zip(df.file, df.text))
            left = [e.name for e in tmp.iterdir() if e.name.startswith(table.name) and e!=table]
            res[o] = dict(files=args.files, kills=len(met), killed_after=met, seconds_of_the_last_run=last, mb=most,
                          lost=args.files-len(n), double=sum(v-1 for v in n.values()), same_text=right,
                          left_behind=left)
            fine &= len(n)==len(df)==args.files and right==args.files and not left
            log(json.dumps({o:res[o]}))
    print(json.dumps(res))
    sys.exit(not fine)

if __name__=='__main__': main()
