"""A training holds no more with each epoch: the tensors that are alive, for each arch and each way to train

A tensor kept from each batch breaks the free memory to pieces, which is what made trainings grow (`PlainLosses` in
`speed`). Tensors can be counted in small trainings; megabytes show only in large ones: `benchmarks/memory.py`."""
import gc

import pytest
import torch
from captcha_fastai.all import (CaptchaDataLoaders, adapt, captcha_learner, crnn_small, k_fold, picture_files,
                                save_captchas, train_reader)
from captcha_fastai.archs import get_arch, own_archs
from captcha_fastai.labels import captcha_label
from captcha_fastai.tune import run_trial
from conftest import inside
from fastai.basics import Callback, Learner, defaults
from test_archs import SMALL

EPOCHS = 4
small = dict(arch_args=SMALL['crnn_small'])

class Alive(Callback):
    "Counts the tensors that are alive, after each epoch of training"
    order,fits = 99,[]
    def before_train(self):
        if self.epoch==0: self.fits.append([])
    def after_train(self):
        gc.collect()
        self.fits[-1].append(sum(issubclass(type(o), torch.Tensor) for o in gc.get_objects()))

@pytest.fixture
def alive(monkeypatch):
    "The counts of each fit; every fit lasts four epochs"
    whole = Learner.fit_one_cycle
    def short(self, n_epoch, *args, **kwargs): return whole(self, EPOCHS, *args, **kwargs)
    monkeypatch.setattr(Learner, 'fit_one_cycle', short)
    monkeypatch.setattr(defaults, 'callbacks', [*defaults.callbacks, Alive])
    monkeypatch.setattr(Alive, 'fits', [])
    return Alive.fits

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    path = tmp_path_factory.mktemp('memory')/'drawn'
    save_captchas(24, path, chars='2bmx', length=3, seed=0)
    return path

def flat(fits):
    "Nothing is added after the first epoch, in which items are kept and the optimiser begins"
    assert fits
    for o in fits: assert len(o)==EPOCHS and o[-1]-o[1]<2, o

@pytest.mark.parametrize('arch', own_archs)
def test_each_arch(drawn, alive, arch):
    dls = CaptchaDataLoaders.from_folder(drawn, size=(25,96), bs=4, valid_pct=.4)
    learn = captcha_learner(dls, get_arch(arch), pretrained=False, arch_args=SMALL[arch])
    with learn.no_bar(), learn.no_logging(): learn.fit_recipe()
    flat(alive)
    assert all(isinstance(o, torch.Tensor) for o in learn.recorder.losses)   # as fastai leaves them

def command(drawn, tmp, *args):
    res = inside('captcha_train', drawn, '--out', tmp/'reader', *args)
    assert res.returncode in (0,None), res.stderr

def test_captcha_train(drawn, alive, tmp_path):
    command(drawn, tmp_path)
    flat(alive)

def test_captcha_train_with_drawn_and_unlabelled(drawn, alive, tmp_path):
    for i,f in enumerate(picture_files(save_captchas(6, tmp_path/'more', chars='2bmx', length=3, seed=1)[0].parent)):
        f.rename(f.with_name(f'{i}.png'))
    command(drawn, tmp_path, '--draw', 24, '--unlabelled', tmp_path/'more', '--length', 3)
    flat(alive)
    assert len(alive)>1   # several steps

def texts(files): return [captcha_label(f) for f in files]

def quiet(*_): pass

ways = dict(
    train_reader=lambda files, tmp: train_reader(files[0].parent, None, log=quiet),
    adapt=lambda files, tmp: adapt([], labelled=(files, texts(files)), drawn=12, like=False, rounds=0,
                                   log=quiet),
    k_fold=lambda files, tmp: k_fold(files, texts(files), crnn_small, tmp, folds=2, only=[0], bs=4, log=quiet, **small),
    run_trial=lambda files, tmp: run_trial(dict(bs=4, **small['arch_args']), files, texts(files), crnn_small, quiet),
)

@pytest.mark.parametrize('way', ways)
def test_each_way_to_train_from_python(drawn, alive, tmp_path, way):
    ways[way](picture_files(drawn), tmp_path)
    flat(alive)
