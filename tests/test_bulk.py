"Many files: walked as they are read, in constant memory, killed and gone on with, in each format; a line on a terminal"
import csv
import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from itertools import count, islice
from pathlib import Path

import pytest

from captcha_fastai.bulk import expand_pictures, read_resumable, read_to_table
from captcha_fastai.core import CaptchaError
from captcha_fastai.exported import ExportedReader
from captcha_fastai.formats import formats
from captcha_fastai.pictures import picture_files, walk_pictures
from captcha_fastai.reader import Reader, Reading
from captcha_fastai.synth import save_captchas
from conftest import ENV, ROOT, args_for, inside, run

posix = pytest.mark.skipif(os.name!='posix', reason='other systems have no such thing')

@pytest.fixture(scope='module')
def drawn(tmp_path_factory): return save_captchas(12, tmp_path_factory.mktemp('bulk')/'drawn', chars='2bmx', length=3)

@pytest.fixture(scope='module')
def reader(): return Reader.load('pretrained', device='cpu')

def many(folder, files, n, subfolders=7):
    "A folder of `n` links to pictures, some of them not to be opened, in subfolders"
    (folder/'broken').parent.mkdir(parents=True, exist_ok=True)
    for i in range(subfolders): (folder/f'{i}').mkdir()
    (folder/'x.txt').write_bytes(b'no picture')
    for i in range(n):
        file = folder/'x.txt' if i%500==3 else files[i%len(files)]
        os.link(file, folder/f'{i%subfolders}'/f'{i:06d}.png')
    return folder

# Any iterator

def test_an_endless_source(reader, drawn):
    "Results come while the source goes on; two batches ahead at most; with bs=1 none"
    for bs,ahead in ((1,0),(4,8)):
        taken = []
        def camera(taken=taken):
            for i in count():
                taken.append(i)
                yield drawn[i%12]
        for n,_ in enumerate(islice(reader.read_iter(camera(), bs=bs), 30), 1): assert n<=len(taken)<=n+bs-1+ahead

def test_what_came_before_an_error_is_read(reader, drawn):
    def source():
        yield from drawn[:5]
        raise OSError('unplugged')
    got = []
    with pytest.raises(OSError, match='unplugged'):
        for o in reader.read_iter(source(), bs=2): got.append(o.file)
    assert got==drawn[:5]

def test_bad_arguments_are_refused_at_once(reader):
    for kwargs in (dict(bs=0), dict(min_confidence=2), dict(letter_confidence=-1)):
        with pytest.raises(CaptchaError): reader.read_iter(iter([]), **kwargs)

def test_exported_reads_any_iterator(drawn, tmp_path, reader):
    from captcha_fastai.portable import export_reader
    pytest.importorskip('onnxruntime')
    exported = ExportedReader(export_reader(reader, tmp_path/'out', log=lambda o: None) or tmp_path/'out', threads=1)
    bad = tmp_path/'bad.png'
    bad.write_bytes(b'')
    files = [*drawn, bad]
    got = list(exported.read_iter(iter(files), bs=5, skip_bad=True, min_confidence=.5))
    want = list(reader.read_iter(iter(files), bs=5, skip_bad=True, min_confidence=.5))
    assert [(o.text, o.error, o.declined) for o in got]==[(o.text, o.error, o.declined) for o in want]
    with pytest.raises(CaptchaError, match='bs must be'): exported.read_iter(iter([]), bs=0)

# Which files

@posix
def test_the_order_is_that_of_the_paths(tmp_path):
    rng = random.Random(0)
    names = {''.join(rng.choice('ab-./é ') for _ in range(rng.randint(1, 9))).strip('/.')+'.png' for _ in range(400)}
    for o in names:
        if any(p.startswith('.') or p=='' for p in o.split('/')): continue
        f = tmp_path/o
        if any(p.is_file() for p in f.parents) or f.exists(): continue
        f.parent.mkdir(parents=True, exist_ok=True)
        f.touch()
    got = [o.relative_to(tmp_path).as_posix() for o in walk_pictures(tmp_path)]
    there = [o for o in tmp_path.rglob('*.png') if o.is_file()]
    there = [o for o in there if not any(p.startswith('.') for p in o.relative_to(tmp_path).parts)]
    assert got==sorted(o.relative_to(tmp_path).as_posix() for o in there) and len(got)>100
    for window in (1,7): assert list(walk_pictures(tmp_path, window=window))==list(walk_pictures(tmp_path))
    assert picture_files(tmp_path)==list(walk_pictures(tmp_path))

@posix
def test_each_file_once(tmp_path, drawn):
    for o in ('a/1.png','a/b/2.png','c/3.png'):
        (tmp_path/o).parent.mkdir(parents=True, exist_ok=True)
        os.link(drawn[0], tmp_path/o)
    (tmp_path/'a'/'up').symlink_to(tmp_path, target_is_directory=True)
    (tmp_path/'0').symlink_to(tmp_path/'c', target_is_directory=True)
    def names(*args): return [os.path.relpath(o, tmp_path) for o in expand_pictures([tmp_path/o for o in args])]
    assert names('.')==['0/3.png','a/1.png','a/b/2.png']
    assert names('c/3.png','.')==['c/3.png','a/1.png','a/b/2.png']
    (tmp_path/'a'/'up').unlink()
    assert names('a/b','a','a/1.png','0/3.png','c/../c/3.png')==['a/b/2.png','a/1.png','0/3.png']
    with pytest.raises(CaptchaError, match='no pictures in'): expand_pictures([tmp_path/'a', ROOT/'tools'])

def test_files_are_found_as_they_are_read(tmp_path, drawn):
    "The first reading is there before the last folder was looked into"
    many(tmp_path/'m', drawn, 14)
    files = expand_pictures([tmp_path/'m'])
    first = next(files)
    os.link(drawn[0], tmp_path/'m'/'6'/'new.png')
    assert first.parent.name=='0' and len(list(files))==14

# Constant memory

class Quick:
    "Reads names; what is called 3 of 500 can't be opened"
    def __init__(self, seconds=0): self.seconds = seconds
    def read(self, files, skip_bad, **kwargs):
        time.sleep(self.seconds)
        return [Reading('', 0., f, error=f'{f}: broken') if int(Path(f).stem)%500==3 else
                Reading(Path(f).stem[-3:], .5+int(Path(f).stem)%7/20, f) for f in files]

@pytest.mark.parametrize('ending', formats)
def test_memory_does_not_grow(ending, tmp_path, drawn):
    "Ten thousand files; what the tables of a thousand and of ten thousand take more is less than one byte a file"
    if ending=='.parquet': pytest.importorskip('pyarrow')
    def peak(n):
        many(tmp_path/f'{n}', drawn, n)
        gc.freeze()   # what others left makes collections rare
        tracemalloc.start()
        try:
            read_to_table(Quick(), expand_pictures([tmp_path/f'{n}']), tmp_path/f'{n}{ending}')
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.unfreeze()
    group = 1000
    with pytest.MonkeyPatch.context() as m:
        m.setattr(formats['.parquet'], 'group', group)   # rows that are held until they are written
        peak(100)
        few,all_of_it = peak(2000),peak(10_000)
    # names of one folder are held: a seventh of the files
    assert all_of_it-few<8000/7*200, (few, all_of_it)

# Killed

def forked(work):
    "A process that does the work, as a fork of this one, which saves it the imports; its number"
    if pid := os.fork(): return pid
    try: os._exit(work() or 0)
    finally: os._exit(9)   # not what pytest would do at the end

def read_killed(folder, table, wait):
    "Read into a table; killed `wait` seconds after the first reading, if that is not too late"
    theirs,ours = os.pipe()
    def work(): read_to_table(Quick(.02), expand_pictures([folder]), table, each=lambda o: os.write(ours, b'.'),
                              log=lambda o: None)
    pid = forked(work)
    os.close(ours)
    os.read(theirs, 1)
    time.sleep(wait)
    os.kill(pid, signal.SIGKILL)
    os.close(theirs)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def rows(table):
    "What a table holds: file, text, is there an error?"
    if table.suffix=='.csv':
        with open(table, newline='') as f: return [(o['file'], o['text'], False) for o in csv.DictReader(f)]
    if table.suffix=='.jsonl': found = [json.loads(o) for o in table.read_text().splitlines()]
    else:
        import pyarrow.parquet as pq
        found = pq.read_table(table).to_pylist()
    return [(o['file'], o['text'], o['error'] is not None) for o in found]

@posix
@pytest.mark.parametrize('ending', formats)
def test_killed_five_times(ending, tmp_path, drawn):
    "Nothing is lost and nothing double, whatever the format; a torn line is taken away; nothing is left behind"
    if ending=='.parquet': pytest.importorskip('pyarrow')
    n = 10_000
    many(tmp_path/'m', drawn, n)
    table,rng = tmp_path/f'read{ending}',random.Random(3)
    kept,sizes = Path(f'{table}.partial')/'readings.jsonl',[0]
    for _ in range(5):
        assert read_killed(tmp_path/'m', table, rng.uniform(0, .2))==-signal.SIGKILL and not table.exists()
        sizes.append(kept.read_bytes().rindex(b'\n'))
        with open(kept, 'ab') as f: f.write(b'{"text": "half a li'[:rng.randint(0, 19)])
    assert sizes==sorted(sizes) and sizes[-1]>sizes[1]   # it went on each time
    assert read_to_table(Quick(), expand_pictures([tmp_path/'m']), table, log=lambda o: None)==n-n//500
    names = sorted(f'm/{i%7}/{i:06d}.png' for i in range(n))
    broken = {o for o in names if int(o[-10:-4])%500==3}
    want = [(o, '' if o in broken else o[-7:-4], o in broken) for o in names]
    assert rows(table)==[o for o in want if ending!='.csv' or not o[2]]
    assert [o.name for o in tmp_path.iterdir()] in (['m',table.name],[table.name,'m'])

def test_files_that_came_and_went_meanwhile(tmp_path, reader, drawn):
    "A reading that goes on finds what is kept, wherever it stands; only what is new is read"
    kept = tmp_path/'kept.jsonl'
    list(read_resumable(Quick(), [Path(f'{i}.png') for i in range(2000)], kept))
    class Counts(Quick):
        asked = []
        def read(self, files, **kwargs):
            self.asked += files
            return super().read(files, **kwargs)
    now = [Path(f'{i}.png') for i in (*range(5000, 5600), *reversed(range(700, 2000)))]
    got = list(read_resumable(Counts(), now, kept))
    again = [Path(f'{i}.png') for i in (1503, 1003)]   # those that couldn't be opened
    assert [o.file for o in got]==now and Counts.asked==[*now[:600], *again]

# The command

def test_formats_of_the_command(drawn, tmp_path):
    pytest.importorskip('pyarrow')
    (tmp_path/'broken.png').write_bytes(b'')
    tables = [tmp_path/f'read{o}' for o in formats]
    for o in tables:
        res = inside('captcha_read', 'pretrained', drawn[0].parent, tmp_path/'broken.png', '--out', o)
        assert res.returncode==1 and len(res.stdout.splitlines())==12 and 'broken.png' in res.stderr, res.stderr
    first,*others = (rows(o) for o in tables)
    assert len(first)==12
    for o in others: assert o[:12]==first and o[12]==('broken.png','',True)
    res = inside('captcha_read', 'pretrained', drawn[0], '--out', tmp_path/'d.parquet', '--details')
    import pyarrow.parquet as pq
    o, = pq.read_table(tmp_path/'d.parquet').to_pylist()
    printed = json.loads(res.stdout)
    assert [c['char'] for c in o['chars']]==[c['char'] for c in printed['chars']]
    others = [(c['char'], c['confidence']) for c in o['chars'][0]['others']]
    assert others==[tuple(c) for c in printed['chars'][0]['others']]

def test_no_pyarrow(drawn, tmp_path):
    "One line that names the extra, before anything is read"
    code = "import sys; sys.modules['pyarrow'] = None\n"+args_for('captcha_read')[2]
    args = [sys.executable, '-c', code, 'pretrained', drawn[0], '--out', tmp_path/'a.parquet']
    res = subprocess.run(args, capture_output=True, text=True, env=ENV)
    says = "captcha_read: Parquet needs pyarrow: pip install 'captcha_fastai[parquet]'\n"
    assert res.returncode==2 and res.stderr==says
    assert not list(tmp_path.iterdir())

@posix
def test_the_line_on_a_terminal(drawn, tmp_path):
    "Pictures a second and time left where standard error is a terminal; nothing of it elsewhere"
    import pty
    many(tmp_path/'m', drawn, 3000)
    ours,theirs = pty.openpty()
    args = args_for('captcha_read', 'pretrained', tmp_path/'m', '--out', tmp_path/'a.jsonl')
    with subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=theirs, env=ENV) as p:
        os.close(theirs)
        said = b''
        try:
            while data := os.read(ours, 4096):
                said += data
                if b'left' in said: p.terminate()
        except OSError: pass   # its end
    os.close(ours)
    assert b' of 3000 pictures, ' in said and b' a second, ' in said, said
    res = run('captcha_read', 'pretrained', drawn[0])
    assert res.returncode==0 and not res.stderr

@posix
def test_memory_of_the_process(drawn, tmp_path):
    "The command itself, on ten times as many pictures"
    def peak(n):
        many(tmp_path/f'{n}', drawn, n)
        with open(os.devnull, 'w') as nowhere:
            p = subprocess.Popen(args_for('captcha_read', 'pretrained', tmp_path/f'{n}', '--out', tmp_path/f'{n}.csv'),
                                 stdout=nowhere, stderr=nowhere, env=ENV)
            _,status,used = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        assert p.returncode==1   # some can't be opened
        return used.ru_maxrss*(1 if sys.platform=='darwin' else 1024)/2**20
    few,more = peak(200),peak(2000)
    assert more<few+60, (few, more)
