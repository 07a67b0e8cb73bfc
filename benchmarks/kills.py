#!/usr/bin/env python3
"""Kills a training and a bulk reading at random moments, twenty times each, goes on after each, and looks what is lost or double.

usage: kills.py [--kills 20] [--seed 0] [--pictures 400] [--epochs 40] [--what train,read]

Training: `captcha_train` is killed (SIGKILL) after a random time and started again with --resume, until it has been killed KILLS times; then it
may end. Its weights must be those of a training of the same seed that nobody disturbed, byte by byte. Reading: `captcha_read --csv` likewise,
with the same command each time; its table must be that of an undisturbed reading, each picture once. Ends with one JSON object; exit code 1 if
anything differs.
"""
import argparse, json, os, random, shutil, signal, subprocess, sys, tempfile, time
from pathlib import Path

ENV = {**os.environ, 'OMP_NUM_THREADS':'1'}

def start(name, *args): return subprocess.Popen([sys.executable, '-c', f'from captcha_fastai.cli import {name}; {name}()', *map(str, args)], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

def whole(name, *args):
    "Run to the end; seconds"
    begun = time.perf_counter()
    p = start(name, *args)
    _,err = p.communicate()
    if p.returncode: raise SystemExit(f'{name} {args}: exit code {p.returncode}\n{err}')
    return time.perf_counter()-begun

def disturbed(kills, rng, longest, command, resumed, done):
    "Run `command`, kill it after a random time and go on with `resumed`, `kills` times; then let it end. Kills that met it alive, and when; `done` is called where it ended before"
    met,args = [],command
    while len(met)<kills:
        p,wait = start(*args),rng.uniform(.2, longest)
        try: p.wait(wait)
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGKILL); p.wait()
            met.append(round(wait, 2))
            args = resumed()
            if args is None: done(); args = command    # killed when all was written already
            continue
        err = p.stderr.read()
        if p.returncode: raise SystemExit(f'{args}: exit code {p.returncode} after {len(met)} kills\n{err}')
        done()        # it came to its end in time: begin anew
        args = command
    p = start(*args)
    _,err = p.communicate()
    if p.returncode: raise SystemExit(f'{args}: exit code {p.returncode} after {len(met)} kills\n{err}')
    return met

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
        def train(out): return 'captcha_train',tmp/'drawn','--out',tmp/out,'--epochs',args.epochs
        calm = whole(*train('calm'))
        if 'train' in args.what:
            ends = []
            def resumed():
                if (tmp/'wild').exists() and not (tmp/'wild.partial').exists(): return None
                return (*train('wild'), *(['--resume'] if (tmp/'wild.partial'/'state.pth').exists() else []))
            def ended():
                ends.append((tmp/'calm'/'model.safetensors').read_bytes()==(tmp/'wild'/'model.safetensors').read_bytes())
                shutil.rmtree(tmp/'wild')
            met = disturbed(args.kills, rng, calm/2, train('wild'), resumed, ended)
            ended()
            same = all(ends)
            left = [o.name for o in tmp.iterdir() if o.name not in ('drawn','calm','wild')]
            res['train'] = dict(kills=len(met), undisturbed_seconds=round(calm, 1), killed_after=met, trainings_ended=len(ends), weights_identical=same, left_behind=left)
            fine &= same and not left
        if 'read' in args.what:
            big = tmp/'many'
            big.mkdir()
            for f in sorted((tmp/'drawn').iterdir()):
                for i in range(50): os.link(f, big/f'{f.stem}-{i}{f.suffix}')
            def read(out): return 'captcha_read',tmp/'calm',big,'--csv',tmp/out
            calm = whole(*read('calm.csv'))
            lines = lambda o: [o.rsplit(',', 1)[0] for o in (tmp/f'{o}.csv').read_text().splitlines()]   # another batch moves the last digits of a confidence
            ends = []
            def ended():
                a,b = lines('calm'),lines('wild')
                ends.append(dict(same_texts=a==b, twice=len(b)-len(set(b)), lost=len(a)-len(b), left_behind=[o.name for o in tmp.glob('wild.csv?*')]))
                (tmp/'wild.csv').unlink()
            def resumed(): return read('wild.csv') if not (tmp/'wild.csv').exists() or list(tmp.glob('wild.csv?*')) else None
            met = disturbed(args.kills, rng, calm, read('wild.csv'), resumed, ended)
            ended()
            res['read'] = dict(kills=len(met), pictures=len(lines('calm'))-1, undisturbed_seconds=round(calm, 1), killed_after=met, readings_ended=ends)
            fine &= all(o==dict(same_texts=True, twice=0, lost=0, left_behind=[]) for o in ends)
    print(json.dumps(res))
    sys.exit(not fine)

if __name__=='__main__': main()
