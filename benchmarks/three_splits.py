#!/usr/bin/env python3
"""Train on 90 % of a labelled folder and score on the other 10 %, by the commands, on three seeded splits.

usage: three_splits.py [DATA] [--splits 3]      DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA)

For each split the pictures are copied into two folders, train and test; `captcha_train` gets the one, `captcha_eval` the other, as anybody
would run them. `seconds` is the time of the fit, validation included, the start of the process excluded.
"""
import argparse, json, os, random, shutil, statistics, subprocess, sys, tempfile
from pathlib import Path

def split(data, out, seed, share=.1):
    "Copy the pictures of `data` into `out/train` and `out/test`, a `share` of them into the latter"
    files = sorted(o for o in Path(data).iterdir() if o.suffix=='.png')
    random.Random(seed).shuffle(files)
    n = int(share*len(files))
    for name,part in (('test', files[:n]), ('train', files[n:])):
        (out/name).mkdir(parents=True)
        for f in part: shutil.copy(f, out/name)

def command(name, *args):
    "Run a command; the JSON object on its last line"
    code = f'from captcha_fastai.cli import {name}; {name}()'
    out = subprocess.run([sys.executable, '-c', code, *map(str, args)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1]),out

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('data', nargs='?', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--splits', type=int, default=3)
    p.add_argument('--from-scratch', action='store_true', help="don't start from the weights in the package")
    args = p.parse_args()
    if not args.data: p.error('give a folder, or set CAPTCHA_DATA')
    rows = []
    for seed in range(args.splits):
        with tempfile.TemporaryDirectory() as tmp:
            tmp = Path(tmp)
            split(args.data, tmp, seed)
            trained,_ = command('captcha_train', tmp/'train', '--out', tmp/'reader', *(['--from-scratch'] if args.from_scratch else []))
            scored,text = command('captcha_eval', tmp/'reader', tmp/'test')
        rows.append((trained['seconds'], scored['captcha_accuracy'], scored['images_per_second']))
        print(f"split {seed}: {scored['n']} test pictures, {scored['captcha_accuracy']:.2%} right, trained {trained['seconds']:.0f} s, "
              f"read {scored['images_per_second']:.0f} pictures/s", flush=True)
        print(''.join(f'  {o.split("/")[-1]}\n' for o in text.splitlines() if 'labelled' in o), end='', flush=True)
    print(f"mean: {statistics.mean(o[1] for o in rows):.2%} right, longest training {max(o[0] for o in rows):.0f} s")

if __name__=='__main__': main()
