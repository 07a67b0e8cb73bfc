"Beside busy processes: torch's threads wait asleep, and neither settings nor answers are touched"
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from captcha_fastai import device
from captcha_fastai.all import CaptchaDataLoaders, Reader, captcha_learner, crnn_small, picture_files, save_captchas
from captcha_fastai.device import calm
from fastai.basics import set_seed
from test_archs import SMALL

counted = pytest.mark.skipif(not Path('/proc/self/schedstat').exists(), reason='Linux counts how long threads wait')

def settings(): return torch.get_num_threads(), torch.get_num_interop_threads()

@pytest.fixture(scope='module')
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp('busy')/'drawn'
    save_captchas(24, path, chars='2bmx', length=3, seed=0)
    return picture_files(path)

def make(files):
    "A small learner, made alike each time"
    set_seed(0)
    dls = CaptchaDataLoaders.from_folder(files[0].parent, size=(25,96), bs=8, seed=0)
    return captcha_learner(dls, crnn_small, pretrained=False, half=False, arch_args=SMALL['crnn_small'])

def let_go():
    calm.until = 0.
    if thread := calm.thread: thread.join(60)

@pytest.fixture(params=[False,True], ids=['quiet','busy'])
def found(request, monkeypatch):
    "What `calm` finds: nobody else at work, or others who take half of the time"
    counts = iter(range(10**6))
    def ran_and_waited():
        n = next(counts)
        return {'1':(n*10**8, n*10**8*request.param)}
    monkeypatch.setattr(device, '_ran_and_waited', ran_and_waited)
    monkeypatch.setattr(calm, 'every', 0.)
    monkeypatch.setattr(calm, 'seen', None)
    let_go()
    yield request.param
    let_go()

@pytest.fixture
def threads():
    "Sets torch's threads; afterwards they are as they were"
    was = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(was)

def everything(files):
    "Weights after a training, texts and confidences after reading, and predictions"
    learn = make(files)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(2, 1e-3)
        predicted = [learn.predict(f)[0] for f in files[:3]]
    readings = Reader.from_learner(learn).read(files, bs=5)
    weights = [o.clone() for o in learn.model.state_dict().values()]
    return weights,[str(o) for o in predicted],[(o.text, o.confidence) for o in readings]

@pytest.fixture(scope='module')
def want(files):
    was = torch.get_num_threads()
    torch.set_num_threads(2)
    try: return everything(files)
    finally: torch.set_num_threads(was)

@pytest.mark.parametrize('n', [1,2])
def test_settings_stay(files, found, threads, n):
    threads(n)
    before = settings()
    everything(files)
    assert settings()==before
    held = any('captcha_fastai calm'==o.name for o in threading.enumerate())
    assert held==(found and n>1)   # who has one thread needs no help

def test_answers_and_weights_are_the_same(files, want, found, threads):
    threads(2)
    weights,predicted,readings = everything(files)
    for a,b in zip(weights, want[0]): assert torch.equal(a, b)
    assert (predicted, readings)==want[1:]

def test_settings_stay_after_an_error(files, found, threads):
    threads(2)
    before,learn = settings(),make(files)
    learn.loss_func = lambda *_: 1/0
    with learn.no_bar(), learn.no_logging(), pytest.raises(ZeroDivisionError): learn.fit(1)
    assert settings()==before

def in_child(folder):
    learn = make(picture_files(folder))
    with learn.no_bar(): return calm.thread is None and str(learn.predict(picture_files(folder)[0])[0])

@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='no fork on this system')
def test_fork_while_calm(files, threads, monkeypatch):
    "A child has neither the thread nor its locks"
    threads(1)   # libgomp's own threads don't live through a fork
    monkeypatch.setattr(calm, 'thread', threading.current_thread())
    with calm.lock, multiprocessing.get_context('fork').Pool(1) as pool:
        assert isinstance(pool.apply_async(in_child, [files[0].parent]).get(timeout=120), str)

@counted
@pytest.mark.skipif((os.cpu_count() or 1)<2, reason='needs two cores')
def test_busy_processes_are_found(threads):
    "True counts: beside more busy processes than cores this process waits, and `calm` sees it"
    threads(2)
    loads = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(2*os.cpu_count())]
    try:
        fresh,begun = device._Calm(),time.monotonic()
        while fresh.thread is None and time.monotonic()-begun<30:
            torch.rand(300,300)@torch.rand(300,300)
            fresh()
        assert fresh.thread is not None
    finally:
        for p in loads: p.kill()
        for p in loads: p.wait()
    fresh.until = 0.
