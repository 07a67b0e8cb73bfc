"One reader in many threads, in processes that were forked or spawned, and its memory over many readings"
import gc
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from captcha_fastai.all import CaptchaDataLoaders, Reader, captcha_learner, crnn_small, picture_files, save_captchas

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A saved reader, weights of chance but as decided as trained ones, and 48 pictures"
    tmp = tmp_path_factory.mktemp('together')
    save_captchas(48, tmp/'drawn', chars='2bmx', length=3, seed=3)
    torch.manual_seed(0)
    dls = CaptchaDataLoaders.from_folder(tmp/'drawn', bs=8)
    learn = captcha_learner(dls, crnn_small, arch_args=dict(widths=[8,16], blocks=[1,1], n_hidden=16))
    with torch.no_grad():
        scores = learn.model.head[-1]
        scores.weight.mul_(20)
        scores.bias.zero_()
    folder = Reader.from_learner(learn, check=0).save(tmp/'reader')
    return folder,picture_files(tmp/'drawn')

def answers(readings): return [(o.text, round(o.confidence, 3)) for o in readings]

def in_process(folder, files):
    torch.set_num_threads(1)
    return answers(Reader.load(folder).read(files))

def test_sixteen_threads(made):
    folder,files = made
    reader = Reader.load(folder)
    want = answers(reader.read(files))
    assert len({t for t,_ in want}) > 8, 'a reader that says the same of everything would pass any test'
    def one(i): return i,answers(reader.read(files[i%48:]+files[:i%48], bs=1+i%7))
    with ThreadPoolExecutor(16) as pool: got = list(pool.map(one, range(48)))
    for i,o in got: assert o == want[i%48:]+want[:i%48], i

@pytest.mark.parametrize('how', ['spawn', 'fork'])
def test_processes(made, how):
    if how not in multiprocessing.get_all_start_methods(): pytest.skip(f'no {how} on this system')
    folder,files = made
    want = answers(Reader.load(folder).read(files))   # torch's threads are at work before the fork
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(how)) as pool:
        for o in pool.map(in_process, [folder]*2, [files]*2, timeout=120): assert o == want

@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='memory is read from /proc')
def test_memory_is_flat(made):
    folder,files = made
    reader,page = Reader.load(folder),os.sysconf('SC_PAGE_SIZE')
    def rss():
        gc.collect()
        return int(Path('/proc/self/statm').read_text().split()[1])*page/2**20
    for _ in range(8): reader.read(files)
    before = rss()
    for _ in range(60): reader.read(files)
    assert rss()-before < 40, f'{rss()-before:.0f} MB more after {60*len(files)} pictures'
