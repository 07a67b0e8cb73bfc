#!/usr/bin/env python3
"""One training in one process and in two, by `accelerate launch`: pictures a second, and how well each reads.

usage: processes.py [--pictures 640] [--epochs 12] [--seeds 0,1] [--processes 1,2] [--bs 32]

Both see the same pictures in batches of 32 altogether: two processes take 16 each. One thread a process. The speed is
that of all epochs but the first. Ends with one JSON object.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import log, numbers, parser

SCRIPT = '''
import json, sys, time, warnings
warnings.simplefilter('ignore')
from pathlib import Path
from fastai.basics import Callback
from fastai.distributed import *
from fastai.torch_core import num_distrib, rank_distrib, set_seed
from captcha_fastai.all import *
folder,epochs,seed,bs = Path(sys.argv[1]),*map(int, sys.argv[2:])
set_seed(seed)
n = max(1, num_distrib())
dls = CaptchaDataLoaders.from_folder(folder/'captchas', bs=bs//n, valid_pct=.2, size=(32,96), seed=0)
args = dict(widths=[16,32], blocks=[1,1], n_hidden=32)
learn = captcha_learner(dls, crnn_small, arch_args=args, metrics=[captcha_accuracy.new(), char_accuracy.new()],
                        half=False)
times = []
class Clock(Callback):
    def before_train(self): self.begun = time.perf_counter()
    def after_train(self): times.append(time.perf_counter()-self.begun)
with learn.no_bar(), learn.no_logging(), learn.distrib_ctx():
    learn.fit_one_cycle(epochs, 1e-2, cbs=Clock())
    _,whole,char = map(float, learn.validate())
if not rank_distrib():
    speed = len(dls.train_ds)*(epochs-1)/sum(times[1:])
    figures = dict(processes=n, seed=seed, pictures_a_second=round(speed, 1), captcha_accuracy=round(whole, 4),
                   char_accuracy=round(char, 4))
    (folder/'figures.json').write_text(json.dumps(figures))
'''

def trained(folder, n, epochs, seed, bs):
    "Figures of a training in `n` processes"
    # "multi_gpu" starts processes as for GPUs; there may be none, and the learner trains on the CPU then
    how = ['--multi_gpu', '--num_processes', n] if n>1 else ['--num_processes', 1]
    how += ['--num_machines', 1, '--mixed_precision', 'no', '--dynamo_backend', 'no', '--main_process_port', 29517]
    cmd = [sys.executable, '-m', 'accelerate.commands.launch', *how, folder/'train.py', folder, epochs, seed, bs]
    env = {**os.environ, 'OMP_NUM_THREADS':'1', 'CUDA_VISIBLE_DEVICES':'', 'MASTER_ADDR':'127.0.0.1'}
    res = subprocess.run(list(map(str, cmd)), env=env, capture_output=True, text=True)
    if res.returncode: raise SystemExit(res.stderr[-3000:])
    return json.loads((folder/'figures.json').read_text())

def main():
    p = parser(__doc__)
    p.add_argument('--pictures', type=int, default=640)
    p.add_argument('--epochs', type=int, default=12)
    p.add_argument('--seeds', default='0,1')
    p.add_argument('--processes', default='1,2')
    p.add_argument('--bs', type=int, default=32, help='pictures in a batch, of all processes together')
    args = p.parse_args()
    from captcha_fastai.synth import save_captchas
    with tempfile.TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        save_captchas(args.pictures, tmp/'captchas', chars='2bmx', length=3, seed=0)
        (tmp/'train.py').write_text(SCRIPT)
        found = []
        for seed in numbers(args.seeds):
            for n in numbers(args.processes):
                found.append(trained(tmp, n, args.epochs, seed, args.bs))
                log(json.dumps(found[-1]))
    print(json.dumps(found))

if __name__=='__main__': main()
