#!/usr/bin/env python3
"""Train on 90 % of a labelled folder and score on the other 10 %, by the commands, on three seeded splits.

usage: three_splits.py [DATA] [--splits 3] [--from-scratch]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). For each split the pictures are copied
into two folders, train and test; `captcha_train` gets the one, `captcha_eval` the other, as anybody would run them.
`seconds` is the time of the fit, validation included, the start of the process excluded.
"""
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from common import command, folder_of, log, parser

def split(data, out, seed, share=.1):
    "Copy the pictures of `data` into `out/train` and `out/test`, a `share` of them into the latter"
    files = sorted(o for o in Path(data).iterdir() if o.suffix=='.png')
    random.Random(seed).shuffle(files)
    n = int(share*len(files))
    for name,part in (('test', files[:n]), ('train', files[n:])):
        (out/name).mkdir(parents=True)
        for f in part: shutil.copy(f, out/name)

def run(*args):
    "Run a command of the package; the JSON object on its last line, and all it printed"
    out = subprocess.run(command(*args), check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1]),out

def one_split(data, seed, from_scratch):
    "Seconds of training, accuracy, pictures read a second"
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        split(data, tmp, seed)
        start = ['--from-scratch'] if from_scratch else []
        trained,_ = run('captcha_train', tmp/'train', '--out', tmp/'reader', *start)
        scored,text = run('captcha_eval', tmp/'reader', tmp/'test')
    seconds,right,speed = trained['seconds'],scored['captcha_accuracy'],scored['images_per_second']
    log(f"split {seed}: {scored['n']} test pictures, {right:.2%} right, trained {seconds:.0f} s, "
        f"read {speed:.0f} pictures/s")
    for o in text.splitlines():
        if 'labelled' in o: log(f"  {o.split('/')[-1]}")
    return seconds,right,speed

def main():
    p = parser(__doc__)
    p.add_argument('data', nargs='?', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--splits', type=int, default=3)
    p.add_argument('--from-scratch', action='store_true', help="don't start from the weights in the package")
    args = p.parse_args()
    data = folder_of(p, args.data)
    rows = [one_split(data, seed, args.from_scratch) for seed in range(args.splits)]
    mean,longest = statistics.mean(right for _,right,_ in rows),max(seconds for seconds,*_ in rows)
    print(f"mean: {mean:.2%} right, longest training {longest:.0f} s")

if __name__=='__main__': main()
