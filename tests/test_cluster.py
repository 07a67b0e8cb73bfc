"Reading on a Ray cluster of two workers: the table of one process, workers killed on the way, errors in one line"
import json
import os
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from captcha_fastai.bulk import Kept, read_to_table
from captcha_fastai.cluster import check_ray, read_by_ray
from captcha_fastai.core import CaptchaError
from captcha_fastai.reader import Reading
from conftest import ROOT, run

ray = pytest.importorskip('ray', reason="needs Ray: pip install -e '.[dev]'")
psutil = pytest.importorskip('psutil')

logs_with = print

class Slow:
    "Reads names, a tenth of a second a chunk; what is called 3 of 500 can't be opened"
    def __init__(self, seconds=.1): self.seconds = seconds
    def read(self, files, skip_bad, **kwargs):
        time.sleep(self.seconds)
        def one(f):
            n = int(Path(f).stem)
            return Reading('', 0., f, error=f'{f}: broken') if n%500==3 else Reading(f'{n%1000:03d}', .5+n%7/20, f)
        return [one(f) for f in files]

class Refuses:
    def read(self, files, **kwargs): raise CaptchaError('this model has no room')

@pytest.fixture(scope='module')
def cluster():
    "Two workers at most, in a cluster that all tests here use"
    from captcha_fastai.cluster import ray_running
    before = os.environ.get('PYTHONPATH', '')
    os.environ['PYTHONPATH'] = os.pathsep.join([str(ROOT), str(ROOT/'tests'), before])   # where workers look
    with ray_running(None, 2, object_store_memory=2**27): yield
    os.environ['PYTHONPATH'] = before

@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path/'m').mkdir()
    res = [Path(f'm/{i:05d}.png') for i in range(4000)]   # relative: workers go to the folder
    for o in res: o.touch()
    return res

def workers(): return [o for o in psutil.process_iter(['cmdline']) if 'Worker' in ' '.join(o.info['cmdline'] or [])
                       and 'ray::' in ' '.join(o.info['cmdline'])]

def by_ray(files, **kwargs): return partial(read_by_ray, files=files, make=Slow, workers=2, chunk=100, **kwargs)

def test_a_worker_killed_twice(cluster, files, tmp_path):
    "Nothing is lost and nothing double: the table is that of one process"
    read_to_table(Slow(0), files, tmp_path/'one.jsonl')
    killed,read = [],[]
    def kill():
        while len(killed)<2:
            time.sleep(.3)
            if not read: continue
            for o in workers()[:1]:
                os.kill(o.pid, signal.SIGKILL)
                killed.append(o.pid)
    threading.Thread(target=kill, daemon=True).start()
    class Counts(Slow):
        def read(self, todo, **kwargs):
            here.extend(todo)
            return super().read(todo, **kwargs)
    here = []
    read_to_table(Counts(0), files, tmp_path/'two.jsonl', before=by_ray(files, step=read.append))
    assert len(killed)==2 and sum(read)==4000
    assert (tmp_path/'one.jsonl').read_bytes()==(tmp_path/'two.jsonl').read_bytes()
    assert [int(o.stem)%500 for o in here]==[3]*8   # read here again: only what can't be opened

def test_going_on_after_another_stop(cluster, files, tmp_path):
    "What one process has kept is not read by the cluster, and the other way round"
    kept = tmp_path/'kept.jsonl'
    by_ray(files[:1500])(kept)
    assert len(Kept(kept))==1500
    with open(kept, 'ab') as f: f.write(b'{"text": "ha')
    read = []
    assert by_ray(files, step=read.append, window=1000)(kept)==sum(read)==2500+3   # those not opened are tried again
    assert len(Kept(kept))==4003

def test_errors_in_one_line(cluster, files, tmp_path, monkeypatch):
    def refused(says, **kwargs):
        with pytest.raises(CaptchaError, match=says) as e:
            read_by_ray(tmp_path/'k.jsonl', **dict(files=files[:50], make=Slow, workers=1) | kwargs)
        assert '\n' not in str(e.value), e.value
    refused('^this model has no room$', make=Refuses)
    refused('sees no file .*; pictures must lie where all machines', files=[Path('m/none.png')])

def test_an_address_where_nobody_listens():
    "Told in a line, and soon; Ray itself tries for minutes"
    with socket.create_server(('127.0.0.1',0)) as there: port = there.getsockname()[1]
    for address in (f'127.0.0.1:{port}', f'ray://127.0.0.1:{port}', '127.0.0.1:99999'):
        with pytest.raises(CaptchaError, match=f'no Ray cluster answers at {address}: .*ray start --head'):
            check_ray(address, 'a.csv')
    check_ray('local', 'a.csv')

def test_a_learner_can_be_exported_afterwards(cluster, files, tmp_path):
    "Ray can put a function of its own in the place of `print`, which is what a fastai `Learner` logs with"
    import pickle
    by_ray(files[:200])(tmp_path/'kept.jsonl')
    assert pickle.loads(pickle.dumps(logs_with)) is print is logs_with

def test_the_option(tmp_path):
    with pytest.raises(CaptchaError, match='ray= reads into a table; give csv= or out='): check_ray('local', None)
    for o in ('pretrained', 'hub:me/mine', str(tmp_path)):
        with pytest.raises(CaptchaError, match='was taken for the address'): check_ray(o, 'a.csv')
    with pytest.MonkeyPatch.context() as m:
        m.setitem(__import__('sys').modules, 'ray.data', None)
        with pytest.raises(CaptchaError, match=r"pip install 'captcha_fastai\[ray\]'"): check_ray('local', 'a.csv')

def test_the_command(tmp_path):
    "Two workers with a reader each; then the same without"
    from captcha_fastai.synth import save_captchas
    save_captchas(40, tmp_path/'drawn', chars='2bmx', length=3)
    (tmp_path/'drawn'/'broken.png').write_bytes(b'')
    args = 'captcha_read','pretrained','drawn','--alike','--json','--out'
    got = run(*args, 'two.jsonl', '--ray', cwd=tmp_path, timeout=600)
    want = run(*args, 'one.jsonl', cwd=tmp_path)
    said = [o for o in got.stderr.splitlines() if 'RAY_BACKEND_LOG_LEVEL' not in o]   # Ray says how it was set
    assert got.returncode==want.returncode==1 and said==want.stderr.splitlines(), got.stderr
    def told(text): return [(o['file'], o['text'], o['error']) for o in map(json.loads, text.splitlines())]
    assert told(got.stdout)==told(want.stdout)
    assert told((tmp_path/'two.jsonl').read_text())==told((tmp_path/'one.jsonl').read_text())
