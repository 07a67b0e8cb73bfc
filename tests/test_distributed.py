"Two processes on a CPU train one model: equal weights, equal metrics, one checkpoint, which a training goes on from"
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from captcha_fastai.core import CaptchaError
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.processes import AcrossProcesses
from captcha_fastai.synth import save_captchas

pytest.importorskip('accelerate', reason="needs accelerate: pip install -e '.[dev]'")

SCRIPT = '''
import sys, os, json, hashlib, warnings
from pathlib import Path
warnings.simplefilter('ignore')
import torch
torch.set_num_threads(1)
from fastai.distributed import *
from fastai.basics import Callback, CancelFitException, set_seed
from fastai.torch_core import rank_distrib
from captcha_fastai.all import *
from captcha_fastai.data import CaptchaDL
folder,archs = Path(sys.argv[1]),sys.argv[2].split(',')
args = {'crnn_small':dict(widths=[8,16], blocks=[1,1], n_hidden=16),
        'captcha_transformer':dict(widths=[8,16], d=24, layers=[1,1])}

class Stop(Callback):
    order = 90
    def after_epoch(self):
        if self.epoch==1: raise CancelFitException

def learner(arch):
    set_seed(rank_distrib())
    dls = CaptchaDataLoaders.from_folder(folder/'captchas', bs=8, valid_pct=.3, size=(32,96), vocab='2bmx', seed=0)
    ids = TextMetric(lambda pred,targ: (targ.sum(1), torch.ones(len(targ))), 'ids')   # its value is known
    metrics = [captcha_accuracy.new(), char_accuracy.new(), cer.new(), ids]
    return captcha_learner(dls, arch, arch_args=args[arch], metrics=metrics, half=False)

def digest(o): return hashlib.sha256(b''.join(v.cpu().numpy().tobytes() for v in o.state_dict().values())).hexdigest()

def trained(arch, file, **kwargs):
    learn = learner(arch)
    with learn.no_bar(), learn.no_logging(), learn.distrib_ctx():
        learn.fit_recipe(3, lr=1e-2, checkpoint=folder/file, **kwargs)
        values = [list(map(float, o)) for o in learn.recorder.values]
        valid = list(map(float, learn.validate()))
    with learn.no_bar():
        alone = list(map(float, learn.validate()))
        texts = learn.vocab.decode_batch(learn.get_preds(with_decoded=True)[2])
    assert type(learn.dls.train) is CaptchaDL and not hasattr(learn, 'across_processes')
    return dict(weights=digest(learn.model), values=values, valid=valid, alone=alone, texts=texts)

res = {}
for arch in archs:
    trained(arch, f'{arch}.pth', cbs=Stop())
    res[arch] = dict(whole=trained(arch, f'{arch}-whole.pth'), resumed=trained(arch, f'{arch}.pth', resume=True))
(folder/f'rank{rank_distrib()}.json').write_text(json.dumps(res))
teardown_distrib()
'''

def port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]

LAUNCHERS = dict(
    torch='torch.distributed.run --nproc_per_node 2 --master_addr 127.0.0.1 --master_port {port}',
    # "multi_gpu" starts processes as for GPUs; there are none, and the learner says that it trains on the CPU
    accelerate='accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no '
               '--dynamo_backend no --main_process_port {port}')

def launch(folder, script, *args, how='torch'):
    "Run `script` in two processes"
    launcher = LAUNCHERS[how].format(port=port()).split()
    cmd = [sys.executable, '-W', 'ignore', '-m', *launcher, str(script), *map(str, args)]
    root = str(Path(__file__).resolve().parent.parent)
    env = {**os.environ, 'OMP_NUM_THREADS':'1', 'CUDA_VISIBLE_DEVICES':'', 'MASTER_ADDR':'127.0.0.1',
           'PYTHONPATH':os.pathsep.join([root, os.environ.get('PYTHONPATH', '')])}
    for o in folder.glob('rank*.json'): o.unlink()
    res = subprocess.run(cmd, cwd=folder, env=env, text=True, capture_output=True, timeout=400)
    assert res.returncode==0, res.stderr[-4000:]
    return [json.loads((folder/f'rank{i}.json').read_text()) for i in range(2)]

@pytest.fixture(scope='module')
def world(tmp_path_factory):
    from captcha_fastai.synth import save_captchas
    path = tmp_path_factory.mktemp('two')
    # 11 to validate on: an odd number, so that one is read twice
    save_captchas(37, path/'captchas', chars='2bmx', length=3, seed=0)
    (path/'script.py').write_text(SCRIPT)
    return path

def alike(a, b):
    "What two processes say of the same trainings"
    assert set(a)==set(b)
    for arch in a:
        for run,mine in a[arch].items():
            other = b[arch][run]
            assert mine['weights']==other['weights'], f'{arch}, {run}: the processes end with different weights'
            for k in ('valid','alone','texts'): assert mine[k]==other[k], k
            assert [o[1:] for o in mine['values']]==[o[1:] for o in other['values']], 'metrics are not gathered'
            assert mine['valid'][1:]==pytest.approx(mine['alone'][1:]), 'a picture that is read twice counts twice'
        assert a[arch]['resumed']['weights']==a[arch]['whole']['weights'], 'the training that went on ends elsewhere'

def test_two_processes_and_then_one(world):
    from captcha_fastai.all import CaptchaDataLoaders, captcha_learner
    alike(*launch(world, world/'script.py', world, 'crnn_small,captcha_transformer'))
    left = {o.name for o in world.iterdir() if o.name.startswith('.') or o.suffix=='.pth'}
    assert left=={f'{a}{b}.pth' for a in ('crnn_small','captcha_transformer') for b in ('','-whole')}
    dls = CaptchaDataLoaders.from_folder(world/'captchas', bs=8, size=(32,96), vocab='2bmx')
    learn = captcha_learner(dls, 'crnn_small', arch_args=dict(widths=[8,16], blocks=[1,1], n_hidden=16), half=False)
    with learn.no_bar(), learn.no_logging(): learn.fit_recipe(4, checkpoint=world/'crnn_small.pth', resume=True)
    assert [len(o) for o in learn.recorder.values]==[0,0,0,4]

def test_accelerate_launch(world):
    alike(*launch(world, world/'script.py', world, 'crnn_small', how='accelerate'))

def test_too_few_pictures_for_so_many_processes(tmp_path):
    "fastai would train on nothing, and end with figures that look like success"
    from fastai.distributed import DistributedDL
    save_captchas(45, tmp_path, chars='2bmx', length=3, seed=1)
    def shared(bs):
        dls = CaptchaDataLoaders.from_folder(tmp_path, bs=bs, valid_pct=0, size=(32,96))
        return DistributedDL(dls.train, 0, 2)
    cb = AcrossProcesses()
    for bs,batches in ((32, 0), (23, 1)):
        dl = shared(bs)
        cb.learn = SimpleNamespace(dl=dl)
        if batches: cb.before_train()
        else:
            with pytest.raises(CaptchaError, match='23 pictures for each process .* batch of 32.* bs=23'):
                cb.before_train()
        dl._broadcast = lambda ids, rank: ids   # there is but one process here
        assert len(list(dl))==batches, 'fastai shares out otherwise'
