#!/usr/bin/env python3
"""Kills a training and a bulk reading twenty times each, goes on after each, and looks what is lost or double.

usage: kills.py [--kills 20] [--seed 0] [--pictures 400] [--epochs 40] [--what train,read]

Training: `captcha_train` is killed (SIGKILL) after a random time and started again with --resume, until it has been
killed KILLS times; then it may end. Its weights must be those of a training of the same seed that nobody disturbed,
byte by byte. Reading: `captcha_read --csv` likewise, with the same command each time; its table must be that of an
undisturbed reading, each picture once. Ends with one JSON object; exit code 1 if anything differs.
"""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import command, parser

ENV = {**os.environ, 'OMP_NUM_THREADS':'1'}

def start(*args):
    "Start a command of the package"
    return subprocess.Popen(command(*args), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

def whole(*args):
    "Run to the end; seconds"
    begun = time.perf_counter()
    p = start(*args)
    _,err = p.communicate()
    if p.returncode: raise SystemExit(f'{args}: exit code {p.returncode}\n{err}')
    return time.perf_counter()-begun

def disturbed(kills, rng, longest, args, resumed, done):
    """Run a command, kill it after a random time and go on with what `resumed` says, `kills` times; then let it end.
    When the kills met it alive; `done` is called where it ended before"""
    met,now = [],args
    while len(met)<kills:
        p,wait = start(*now),rng.uniform(.2, longest)
        try: p.wait(wait)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL)
            p.wait()
            met.append(round(wait, 2))
            now = resumed()
            if now is None:     # killed when all was written already
                done()
                now = args
            continue
        err = p.stderr.read()
        if p.returncode: raise SystemExit(f'{now}: exit code {p.returncode} after {len(met)} kills\n{err}')
        done()        # it came to its end in time: begin anew
        now = args
    p = start(*now)
    _,err = p.communicate()
    if p.returncode: raise SystemExit(f'{now}: exit code {p.returncode} after {len(met)} kills\n{err}')
    return met

def train_command(tmp, name, epochs): return 'captcha_train',tmp/'drawn','--out',tmp/name,'--epochs',epochs

def kill_training(tmp, calm, args, rng):
    "What is left of trainings that were killed again and again, and whether all is as it should be"
    wild,half = tmp/'wild',tmp/'wild.partial'
    train,ends = train_command(tmp, 'wild', args.epochs),[]
    def resumed():
        if wild.exists() and not half.exists(): return None
        return (*train, '--resume') if (half/'state.pth').exists() else train
    def ended():
        ends.append((tmp/'calm'/'model.safetensors').read_bytes()==(wild/'model.safetensors').read_bytes())
        shutil.rmtree(wild)
    met = disturbed(args.kills, rng, calm/2, train, resumed, ended)
    ended()
    left = [o.name for o in tmp.iterdir() if o.name not in ('drawn','calm','wild')]
    res = dict(kills=len(met), undisturbed_seconds=round(calm, 1), killed_after=met, trainings_ended=len(ends),
               weights_identical=all(ends), left_behind=left)
    return res,all(ends) and not left

def texts_read(file):
    "Lines of a table without the confidence: another batch moves its last digits"
    return [o.rsplit(',', 1)[0] for o in file.read_text().splitlines()]

def kill_reading(tmp, args, rng):
    "The same for a reading of many pictures"
    big,wild = tmp/'many',tmp/'wild.csv'
    big.mkdir()
    for f in sorted((tmp/'drawn').iterdir()):
        for i in range(50): os.link(f, big/f'{f.stem}-{i}{f.suffix}')
    def read(out): return 'captcha_read',tmp/'calm',big,'--csv',out
    calm,ends = whole(*read(tmp/'calm.csv')),[]
    want = texts_read(tmp/'calm.csv')
    def ended():
        got = texts_read(wild)
        ends.append(dict(same_texts=want==got, twice=len(got)-len(set(got)), lost=len(want)-len(got),
                         left_behind=[o.name for o in tmp.glob('wild.csv?*')]))
        wild.unlink()
    def resumed(): return read(wild) if not wild.exists() or list(tmp.glob('wild.csv?*')) else None
    met = disturbed(args.kills, rng, calm, read(wild), resumed, ended)
    ended()
    res = dict(kills=len(met), pictures=len(want)-1, undisturbed_seconds=round(calm, 1), killed_after=met,
               readings_ended=ends)
    return res,all(o==dict(same_texts=True, twice=0, lost=0, left_behind=[]) for o in ends)

def main():
    p = parser(__doc__)
    p.add_argument('--kills', type=int, default=20)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--pictures', type=int, default=400)
    p.add_argument('--epochs', type=int, default=40)
    p.add_argument('--what', default='train,read')
    args = p.parse_args()
    rng,res,fine = random.Random(args.seed),{},True
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        whole('captcha_draw', args.pictures, '--out', tmp/'drawn', '--chars', '2bmx', '--length', 3, '--seed', 3)
        calm = whole(*train_command(tmp, 'calm', args.epochs))
        if 'train' in args.what:
            res['train'],ok = kill_training(tmp, calm, args, rng)
            fine &= ok
        if 'read' in args.what:
            res['read'],ok = kill_reading(tmp, args, rng)
            fine &= ok
    print(json.dumps(res))
    sys.exit(not fine)

if __name__=='__main__': main()
