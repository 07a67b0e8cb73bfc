#!/usr/bin/env python3
"""Runs the tests on several versions of Python and fastai, each in a fresh environment, and prints a Markdown table.

usage: versions.py [--pythons 3.10,3.11,3.12,3.13] [--fastai oldest,newest] [--keep DIR] [--tests tests]

A Python is found as `python3.X` on the PATH or among pyenv's; one that isn't there is left out, and named. `oldest` is
the lowest fastai that settings.ini allows (with the lowest fastcore), `newest` what pip takes. Output of each run is
kept in a folder, whose name is printed.
"""
import argparse
import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHAT = 'import torch,fastai,fastcore; print(torch.__version__.split("+")[0], fastai.__version__, fastcore.__version__)'

def works(exe, v):
    "Is this a Python of that version? (pyenv leaves commands on the PATH that only say which version they are not)"
    code = 'import sys; print("%d.%d" % sys.version_info[:2])'
    return subprocess.run([exe, '-c', code], capture_output=True, text=True).stdout.strip()==v

def find_python(v):
    "The interpreter of version `v`, or `None`"
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home()/'.pyenv'))
    found = sorted(pyenv.glob(f'versions/{v}.*/bin/python{v}'), reverse=True)
    return next((str(o) for o in [shutil.which(f'python{v}'), *found] if o and works(o, v)), None)

def floors():
    "`fastai==...` and `fastcore==...`, the lowest that settings.ini allows"
    cfg = configparser.ConfigParser(delimiters=['='])
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    reqs = cfg['DEFAULT']['requirements'].split()
    return [o.replace('>=', '==') for o in reqs if re.match(r'(fastai|fastcore)>=', o)]

def run(cmd, log, **kw):
    "Run a command with its output at the end of the file `log`; its exit code"
    with open(log, 'a') as f:
        return subprocess.run(list(map(str, cmd)), stdout=f, stderr=subprocess.STDOUT, **kw).returncode

def one(python, pins, folder, tests):
    "Versions and pytest's last line"
    folder.mkdir(parents=True)
    log,exe = folder/'log.txt',folder/'venv'/'bin'/'python'
    if run([python, '-m', 'venv', folder/'venv'], log): return '', 'no virtual environment'
    if run(['git', 'clone', '--quiet', ROOT, folder/'clone'], log): return '', 'no clone'
    if run([exe, '-m', 'pip', 'install', '-q', '-e', '.[dev]', *pins], log, cwd=folder/'clone'):
        return '', f'pip failed, see {log}'
    versions = subprocess.run([exe, '-c', WHAT], capture_output=True, text=True).stdout.split()
    path = f"{exe.parent}{os.pathsep}{os.environ['PATH']}"
    run([exe, '-m', 'pytest', tests], log, cwd=folder/'clone', env={**os.environ, 'CI':'true', 'PATH':path})
    last = [o for o in log.read_text(errors='replace').splitlines() if re.search(r'\d (passed|failed|errors?)', o)]
    shutil.rmtree(folder/'venv')   # some gigabytes
    return versions,last[-1].strip('= ') if last else f'pytest came to no end, see {log}'

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--pythons', default='3.10,3.11,3.12,3.13')
    p.add_argument('--fastai', default='oldest,newest')
    p.add_argument('--keep', type=Path, help='folder for the output of each run')
    p.add_argument('--tests', default='tests')
    args = p.parse_args()
    keep = args.keep or Path(tempfile.mkdtemp(prefix='versions-'))
    print(f'output: {keep}', file=sys.stderr)
    print('| Python | torch | fastai | fastcore | tests |\n|---|---|---|---|---|', flush=True)
    for v in args.pythons.split(','):
        python = find_python(v)
        if not python:
            print(f'| {v} | | | | not installed here |', flush=True)
            continue
        for which in args.fastai.split(','):
            versions,last = one(python, floors() if which=='oldest' else [], keep/f'{v}-{which}', args.tests)
            print(f"| {v} | {' | '.join(versions) if versions else '| |'} | {last} |", flush=True)

if __name__=='__main__': main()
