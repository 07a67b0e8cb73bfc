"An arch in a package outside the repository: checked, trained, saved, read, scored and started from in fresh processes"
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from captcha_fastai.archs import find_arch
from captcha_fastai.core import CaptchaError
from captcha_fastai.reader import Reader
from captcha_fastai.synth import save_captchas
from conftest import ROOT

ARCH = '''
"Patches, mixing by convolution and by attention, pooled to a row of columns, CTC (after SVTR, Du et al. 2022)"
import torch
from torch import nn
from captcha_fastai.archs import Recipe, captcha_arch

class Mix(nn.Module):
    def __init__(self, d, heads, local=False):
        super().__init__()
        self.local = nn.Conv2d(d, d, (3,7), padding=(1,3), groups=d) if local else None
        self.attn = None if local else nn.MultiheadAttention(d, heads, batch_first=True)
        self.n1,self.n2 = nn.LayerNorm(d),nn.LayerNorm(d)
        self.ff = nn.Sequential(nn.Linear(d, 2*d), nn.GELU(), nn.Linear(2*d, d))

    def forward(self, x):   # (bs,h,w,d)
        y = self.n1(x)
        if self.local is not None: y = self.local(y.permute(0,3,1,2)).permute(0,2,3,1)
        else:
            f = y.flatten(1,2)
            y = self.attn(f, f, f, need_weights=False)[0].view_as(x)
        x = x+y
        return x+self.ff(self.n2(x))

class SVTR(nn.Module):
    def __init__(self, channels, size, n_out, d, heads):
        super().__init__()
        conv = lambda a,b: [nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.GELU()]
        self.stem = nn.Sequential(*conv(channels, d//2), *conv(d//2, d))
        h,w = ((o+3)//4 for o in size)
        self.pos = nn.Parameter(torch.randn(1, h, w, d)*.02)
        self.blocks = nn.Sequential(Mix(d, heads, True), Mix(d, heads))
        self.norm,self.head = nn.LayerNorm(d),nn.Linear(d, n_out)

    def forward(self, x):
        x = self.stem(x).permute(0,2,3,1)+self.pos
        return self.head(self.norm(self.blocks(x).mean(1)))   # (bs,T,V)

@captcha_arch(Recipe(20, 2e-3, bs=32), rows=('head',))
def svtr(vocab, size, channels=1, width=None, d=32, heads=4):
    return SVTR(channels, size, len(vocab), d, heads)
'''
NAME = 'mymodels.svtr:svtr'

@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "A folder with a package `mymodels`, 60 easy captchas, and a reader that captcha_train made with the package's arch"
    tmp = tmp_path_factory.mktemp('elsewhere')
    (tmp/'lib/mymodels').mkdir(parents=True)
    (tmp/'lib/mymodels/__init__.py').write_text('')
    (tmp/'lib/mymodels/svtr.py').write_text(ARCH)
    save_captchas(60, tmp/'drawn', chars='2bmx', length=3, seed=3)
    return tmp

def run(world, command, *args, lib=True):
    "A command in a fresh process; `lib`: is the package on its path?"
    exe = shutil.which(command, path=str(Path(sys.executable).parent)) or command
    path = os.pathsep.join([str(ROOT), *([str(world/'lib')] if lib else [])])
    env = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    cmd = [exe, *map(str, args)]
    return subprocess.run(cmd, cwd=world, env=env, capture_output=True, text=True, timeout=300)

@pytest.fixture(scope='module')
def reader(world):
    res = run(world, 'captcha_train', 'drawn', '--out', 'reader', '--arch', NAME, '--epochs', 2)
    assert res.returncode == 0, res.stderr
    assert json.loads(res.stdout.splitlines()[-1])['epochs'] == 2
    return world/'reader'

def python(world, code): return run(world, sys.executable, '-W', 'ignore', '-c', code)

def test_check_arch_passes(world):
    code = '''
from captcha_fastai.all import check_arch
from mymodels.svtr import svtr
res = check_arch(svtr)
assert res.passed, res
'''
    res = python(world, code)
    assert res.returncode == 0, res.stderr

def test_the_saved_reader_names_module_and_function(reader):
    assert json.loads((reader/'reader.json').read_text())['arch'] == NAME

def test_captcha_read_and_eval_with_the_arch_named(world, reader):
    res = run(world, 'captcha_read', reader, 'drawn', '--arch', NAME)
    assert res.returncode == 0, res.stderr
    assert len(res.stdout.splitlines()) == 60
    res = run(world, 'captcha_eval', reader, 'drawn', '--arch', NAME, '--length', 3)
    assert res.returncode == 0, res.stderr
    assert json.loads(res.stdout.splitlines()[-1])['n'] == 60

def test_without_the_name_one_line_says_what_to_give(world, reader):
    res = run(world, 'captcha_read', reader, 'drawn')
    assert res.returncode == 2
    assert len(res.stderr.strip().splitlines()) == 1 and f'--arch {NAME}' in res.stderr, res.stderr

def test_a_name_that_leads_nowhere(world, reader):
    bad = ('mymodels.svtr:lost', 'lost'), ('mymodels.lost:svtr', 'mymodels.lost'), ('mymodels.svtr:Mix', 'is no arch')
    for name,says in bad:
        res = run(world, 'captcha_read', reader, 'drawn', '--arch', name)
        assert res.returncode == 2 and says in res.stderr and 'Traceback' not in res.stderr, res.stderr

def test_warm_start_and_saving_again(world, reader):
    code = '''
from captcha_fastai.all import *
from mymodels.svtr import svtr
dls = CaptchaDataLoaders.from_folder('drawn', bs=16, vocab='x2mbw')
learn = captcha_learner(dls, svtr, pretrained='reader')
assert (learn.started.known, learn.started.new) == ('x2mb', 'w'), learn.started
Reader.from_learner(learn).save('again', overwrite=True)
old,new = (Reader.load(o, half=False) for o in ('reader', 'again'))
rows = [0, *(old.vocab.o2i[c] for c in 'x2mb')]
import torch
assert torch.equal(old.model.head.weight[rows], new.model.head.weight[:5])
'''
    res = python(world, code)
    assert res.returncode == 0, res.stderr

def test_an_installed_package_that_announces_its_archs_needs_no_naming(world, reader):
    info = world/'lib/mymodels-1.0.dist-info'
    info.mkdir(exist_ok=True)
    (info/'METADATA').write_text('Metadata-Version: 2.1\nName: mymodels\nVersion: 1.0\n')
    (info/'entry_points.txt').write_text(f'[captcha_fastai.archs]\nmysvtr = {NAME}\n')
    try:
        res = run(world, 'captcha_read', reader, 'drawn')
        assert res.returncode == 0, res.stderr
        res = run(world, 'captcha_train', 'drawn', '--out', 'announced', '--arch', 'mysvtr', '--epochs', 1)
        assert res.returncode == 0, res.stderr
    finally: shutil.rmtree(info)

def test_a_folder_never_has_anything_imported(world, reader, tmp_path):
    "What a reader.json names is looked up, not imported: neither a function of the system nor a module that lies about"
    (world/'stranger.py').write_text("open('imported', 'w')")
    for name in ('os:system', 'stranger:arch', 'stranger'):
        folder = tmp_path/name.replace(':', '_')
        shutil.copytree(reader, folder)
        d = json.loads((folder/'reader.json').read_text())
        (folder/'reader.json').write_text(json.dumps({**d, 'arch': name}))
        res = run(world, 'captcha_read', folder, 'drawn')
        assert res.returncode == 2 and name in res.stderr and len(res.stderr.strip().splitlines()) == 1, res.stderr
        with pytest.raises(CaptchaError, match='is not known here'): find_arch(name)
        with pytest.raises(CaptchaError, match='is not known here'): Reader.load(folder)
    assert not (world/'imported').exists()
