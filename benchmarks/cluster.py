#!/usr/bin/env python3
"""Reads many files on a Ray cluster of this machine while its workers are killed: what is lost or double, and the cost.

usage: cluster.py [--files 40000] [--kills 20] [--reader tiny] [--seed 0] [--seconds 4]

The files are links to 400 drawn captchas. `captcha_read READER FOLDER --out FILE --ray` reads them with a worker for
each core; after random times of up to --seconds one of its workers, taken at random, is killed (SIGKILL), until --kills
were; were there too few before the end, the table is made again with the kills that are left. The tables must be that
of one process, but for the order of their lines. Beside it, undisturbed: the seconds and the seconds of CPU, all
processes together, of one process and of the cluster. The reader called tiny is made here and does little, so what is
measured is the cost of the cluster. Ends with one JSON object; exit code 1 if a table differs.
"""
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from bulk import ENV, linked, tiny_reader
from common import command, log, parser

def of_family(p):
    "The processes below one, itself first"
    try: return [p, *p.children(recursive=True)]
    except psutil.NoSuchProcess: return []

def workers(family):
    "Those in which Ray reads"
    found = []
    for o in family:
        try: title = ' '.join(o.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess): continue
        if title.startswith('ray::') and 'Worker' in title: found.append(o)
    return found

def cpu_seconds(family, seen):
    "The seconds of CPU that they have had; of those that ended, what they had when last seen"
    for o in family:
        try: seen[o.pid] = sum(o.cpu_times()[:2])
        except psutil.NoSuchProcess: pass

def read(args, rng=None, kills=0, longest=4):
    "Run the command; with `kills`, workers die on the way: how many did, seconds, seconds of CPU"
    begun, killed, due, seen = time.perf_counter(), 0, None, {}
    with tempfile.TemporaryFile('w+') as err:
        p = subprocess.Popen(command('captcha_read', *args), env=ENV, stdout=subprocess.DEVNULL, stderr=err)
        while p.poll() is None:
            family = of_family(psutil.Process(p.pid))
            cpu_seconds(family, seen)
            if killed<kills and (there := workers(family)):
                due = due or time.perf_counter()+rng.uniform(0, longest)
                if time.perf_counter()>=due:
                    os.kill(rng.choice(there).pid, signal.SIGKILL)
                    killed, due = killed+1, None
                    log(f'a worker killed, {killed} of {kills}')
            time.sleep(.05)
        if p.returncode:
            err.seek(0)
            raise SystemExit(f'exit code {p.returncode}\n{err.read()}')
    return killed, round(time.perf_counter()-begun, 1), round(sum(seen.values()), 1)

def lines(table): return sorted(table.read_text().splitlines())

def main():
    p = parser(__doc__)
    p.add_argument('--files', type=int, default=40_000)
    p.add_argument('--kills', type=int, default=20)
    p.add_argument('--reader', default='tiny')
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--seconds', type=float, default=4, help='longest time until the next kill')
    args = p.parse_args()
    from captcha_fastai.synth import save_captchas
    rng, res, fine = random.Random(args.seed), dict(files=args.files), True
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        drawn = save_captchas(400, tmp/'drawn', chars='2bmx', length=3, seed=3)
        reader = tiny_reader(tmp/'tiny', tmp/'drawn') if args.reader=='tiny' else args.reader
        many = linked(tmp/'many', drawn, args.files)
        _, *res['one_process'] = read((reader, many, '--out', tmp/'one.csv'))
        log(f"one process: {res['one_process']}")
        _, *res['cluster'] = read((reader, many, '--out', tmp/'two.csv', '--ray'))
        log(f"cluster: {res['cluster']}")
        fine &= lines(tmp/'one.csv')==lines(tmp/'two.csv')
        met, tables = 0, 0
        while met<args.kills:
            table = tmp/f'killed{tables}.csv'
            n, *took = read((reader, many, '--out', table, '--ray'), rng, args.kills-met, args.seconds)
            met, tables = met+n, tables+1
            if not n: raise SystemExit('no worker was met; give more files')
            same = lines(table)==lines(tmp/'one.csv')
            fine &= same
            log(f'table {tables}: {n} workers killed, {took}, that of one process: {same}')
    print(json.dumps(res | dict(kills=met, tables=tables, same=fine)))
    sys.exit(not fine)

if __name__=='__main__': main()
