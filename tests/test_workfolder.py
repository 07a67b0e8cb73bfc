"Folders of unfinished work: claimed by one process, refused where they are somebody else's, gone on with or cleared"
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from captcha_fastai.core import CaptchaError
from captcha_fastai.files import ChangedSetting, WorkFolder, atomic_write, files_digest, named_oserror
from conftest import ROOT

SETTINGS = dict(epochs=6, valid_pct=.1, chars=None, skip_bad=False, length=(4,6))
CHILD = "import sys, time\nfrom captcha_fastai.files import WorkFolder\nwork = WorkFolder(sys.argv[1], ['state.pth'])\n"
posix = pytest.mark.skipif(os.name!='posix', reason='other systems have no such thing')

def training(path, **changed): return WorkFolder(path, ['state.pth','steps'], 'training', SETTINGS | changed)

def names(path): return sorted(o.name for o in path.iterdir() if o.name!='lock')

def child(path, code, before=()):
    "A process that does `code` with `work`, and what it printed"
    args = [*before, sys.executable, '-c', CHILD+code, str(path)]
    return subprocess.Popen(args, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

@pytest.fixture
def part(tmp_path): return tmp_path/'reader.partial'

@pytest.fixture
def stopped(part):
    "A training that was stopped"
    with pytest.raises(KeyboardInterrupt), training(part).claim() as work:
        assert not work.begin()
        (work/'state.pth').write_text('3 epochs')
        raise KeyboardInterrupt
    return part

# Kept and cleared

def test_cleared_when_done(part):
    with training(part).claim() as work:
        work.begin()
        (work/'state.pth').write_text('all')
        (work/'steps'/'drawn').mkdir(parents=True)
        work.clear()
    assert not part.exists()

def test_cleared_when_nothing_is_worth_keeping(part):
    with pytest.raises(ZeroDivisionError), training(part).claim() as work:
        work.begin()
        (work/'.tmp-state.pth').write_text('half')
        1/0   # noqa: B018
    assert not part.exists()

def test_kept_and_gone_on_with(stopped):
    assert names(stopped)==['settings.json','state.pth']
    with training(stopped).claim() as work:
        assert work.resumable() and work.begin(resume=True) and (work/'state.pth').read_text()=='3 epochs'
    assert names(stopped)==['settings.json','state.pth']
    training(stopped).clear()   # not claimed: it claims by itself
    assert not stopped.exists()

def test_nothing_to_resume(part):
    with pytest.raises(CaptchaError, match=r'nothing to resume: there is no .*reader\.partial.state\.pth'):
        with training(part).claim() as work: work.begin(resume=True)
    assert not part.exists()

def test_a_stopped_one_is_not_lost(stopped):
    with pytest.raises(CaptchaError, match='holds a training that was stopped; go on with resume=True'):
        with training(stopped).claim() as work: work.begin(resume=False)
    assert (stopped/'state.pth').read_text()=='3 epochs'
    with training(stopped, epochs=9).claim() as work:
        assert not work.begin(resume=False, anew=True) and not (work/'state.pth').exists()
        assert work.settings_there()['epochs']==9
    assert not stopped.exists()

def test_what_appeared_meanwhile_stays(part):
    with training(part).claim() as work:
        work.begin()
        (work/'letter.txt').write_text('dear')
        (work/'state.pth').write_text('all')
        work.clear()
    assert names(part)==['letter.txt']

def test_a_stop_while_clearing(stopped, monkeypatch):
    "A folder that is half removed does not look like one to go on from"
    (stopped/'steps'/'drawn').mkdir(parents=True)
    (stopped/'state.pth').unlink()
    def interrupted(path): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(shutil, 'rmtree', interrupted)
        with pytest.raises(KeyboardInterrupt): training(stopped).clear()
    assert names(stopped)==['.tmp-steps','settings.json'] and not training(stopped).resumable()
    with training(stopped).claim(): pass
    assert not stopped.exists()

def test_patterns(tmp_path):
    "The steps of a training on drawn captchas: folders of readers, and the state of the one at work"
    work = WorkFolder(tmp_path/'steps', ['captchas','drawn','labels','round *','*.pth'], 'adaptation')
    for name in ('.tmp-round 1.pth','.drawn.x7f','.steps.b2k'): assert work._is_half(name) and not work._is_kept(name)
    for name in ('round 1','round 12.pth','drawn'): assert work._is_kept(name)
    for name in ('.git','drawn2','notes','.round'): assert not work._is_own(name)

def test_names_that_look_like_patterns(tmp_path):
    part = tmp_path/'a[1].partial'
    (part/'.a[1].x7f').mkdir(parents=True)
    with WorkFolder(part, 'state.pth').claim(): pass
    assert not part.exists()
    (part/'.a1.x7f').mkdir(parents=True)
    with pytest.raises(CaptchaError, match='which is not from'), WorkFolder(part, 'state.pth').claim(): pass

# One at a time

def test_two_processes(part):
    with child(part, "with work.claim(): print('claimed', flush=True); time.sleep(60)") as p:
        assert p.stdout.readline()=='claimed\n'
        with pytest.raises(CaptchaError, match='another training is at work in .*; wait for it'):
            with training(part).claim(): pass
        p.kill()
    assert names(part)==[]
    with training(part).claim(): pass   # a lock does not outlive its process
    assert not part.exists()

def test_killed_and_gone_on_with(part):
    begun = """with work.claim():
    work.begin()
    (work/'state.pth').write_text('2')
    print('2', flush=True)
    time.sleep(60)"""
    with child(part, begun) as p:
        assert p.stdout.readline()=='2\n'
        p.send_signal(signal.SIGKILL if os.name=='posix' else signal.SIGTERM)
    assert names(part)==['settings.json','state.pth']
    with child(part, "with work.claim(): print(work.begin(resume=True)); work.clear()") as p:
        assert p.communicate()[0]=='True\n' and not part.exists()

def test_two_in_one_process(part):
    work = training(part)
    with work.claim():
        for other in (training(part), work):
            with pytest.raises(CaptchaError, match='another training is at work'), other.claim(): pass
        work.begin()
    assert not part.exists()

def test_many_in_turn(part):
    "Each waits until it can claim; none finds its folder gone, and none works beside another"
    turns = """
from captcha_fastai.core import CaptchaError
done = 0
while done<15:
    try:
        with work.claim():
            (work/'.tmp-mine').touch(exist_ok=False)
            work.begin(resume=False); (work/'state.pth').write_text('x'); work.clear()
        done += 1
    except CaptchaError as e: assert 'is at work' in str(e), e
print('done')"""
    running = [child(part, turns) for _ in range(2)]
    assert [p.communicate() for p in running]==[('done\n','')]*2
    assert not part.exists()

# Somebody else's

def refused(part, says, **changed):
    before = {o:o.lstat().st_mtime_ns for o in part.rglob('*')} if part.is_dir() else part.lstat().st_mtime_ns
    with pytest.raises(CaptchaError, match=says), training(part, **changed).claim(): pytest.fail('claimed')
    assert before==({o:o.lstat().st_mtime_ns for o in part.rglob('*')} if part.is_dir() else part.lstat().st_mtime_ns)

def test_a_file_in_the_way(part):
    part.write_text('a file')
    refused(part, 'reader.partial is in the way of the unfinished training; move it away')

def test_other_files(stopped):
    (stopped/'2bm.png').write_text('a picture')
    refused(stopped, r'holds 2bm\.png, which is not from an unfinished training; move it away')

def test_other_work(part):
    with WorkFolder(part, 'readings.jsonl', 'reading').claim() as work:
        work.begin()
        (work/'readings.jsonl').write_text('{}')
    refused(part, 'holds an unfinished reading, and no training')
    (part/'settings.json').rename(part/'asked.json')   # as an older version left it: it doesn't say what it is
    (part/'asked.json').write_text('{}')
    refused(part, 'holds readings.jsonl, which is not from an unfinished training')

@posix
def test_links(stopped, tmp_path):
    mine = tmp_path/'mine'
    mine.mkdir()
    (mine/'state.pth').write_text('somebody’s')
    linked = tmp_path/'linked.partial'
    for target in (mine, tmp_path/'nowhere'):
        linked.symlink_to(target)
        refused(linked, 'linked.partial is in the way')
        linked.unlink()
    (stopped/'steps').symlink_to(mine)
    refused(stopped, 'holds steps, which is a link')
    assert (mine/'state.pth').read_text()=='somebody’s'

@posix
def test_a_link_that_appeared_meanwhile(part, tmp_path):
    "It is removed, not what it leads to"
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'letter.txt').write_text('dear')
    with training(part).claim() as work:
        (work/'steps').symlink_to(tmp_path/'mine')
        work.clear()
    assert not part.exists() and names(tmp_path/'mine')==['letter.txt']

def test_below_a_file(tmp_path):
    (tmp_path/'f').write_text('')
    with pytest.raises(OSError) as e, training(tmp_path/'f'/'r.partial').claim(): pass
    assert str(tmp_path/'f') in str(e.value)

# Closed folders: the system's own error, which names the folder

@pytest.fixture
def powerless():
    "What makes a process obey the rights of folders, where this one need not, as root"
    if os.name!='posix': pytest.skip('other systems have other rights')
    if os.geteuid(): return ()
    if not shutil.which('setpriv'): pytest.skip('root may write everywhere, and there is no setpriv to change that')
    return 'setpriv','--bounding-set=-dac_override,-dac_read_search','--inh-caps=-all'

@pytest.mark.parametrize('rights', [0o500, 0o000])
@pytest.mark.parametrize('where', ['parent', 'folder'])
def test_closed_folders(tmp_path, powerless, where, rights):
    closed = tmp_path/'closed'
    part = closed/'reader.partial' if where=='parent' else closed
    closed.mkdir()
    if where=='folder': (part/'state.pth').write_text('3 epochs')
    closed.chmod(rights)
    try:
        with child(part, 'with work.claim(): print("claimed")', powerless) as p: out,err = p.communicate()
    finally: closed.chmod(0o700)
    line = err.splitlines()[-1]
    assert not out and p.returncode==1 and 'PermissionError' in line and str(closed) in line, err
    assert names(closed)==(['state.pth'] if where=='folder' else [])

# Settings

@pytest.mark.parametrize('name,value', [('epochs',7), ('valid_pct',0), ('chars','2bm'), ('skip_bad',True),
                                        ('length',(4,7)), ('draw',10)])
def test_a_changed_setting_is_named(stopped, name, value):
    with pytest.raises(ChangedSetting) as e, training(stopped, **{name:value}).claim() as work: work.begin()
    was = json.loads(json.dumps(SETTINGS.get(name)))
    assert (e.value.name, e.value.was, e.value.now)==(name, was, json.loads(json.dumps(value)))
    assert f'cannot resume {stopped}: it was started with {name}={was!r}, not with {name}=' in str(e.value)
    assert 'remove that folder to begin anew' in str(e.value) and (stopped/'state.pth').exists()

def test_the_first_that_differs_is_named(stopped):
    with pytest.raises(ChangedSetting, match='epochs=6, not with epochs=1') as e:
        training(stopped, skip_bad=True, epochs=1).check()
    assert e.value.name=='epochs'

def test_a_setting_that_is_no_more(stopped):
    work = WorkFolder(stopped, 'state.pth', settings={k:v for k,v in SETTINGS.items() if k!='epochs'})
    with pytest.raises(ChangedSetting, match='started with epochs=6, not with epochs=None'): work.check()

@pytest.mark.parametrize('name,says', [('pictures','the pictures or their texts have changed'),
                                       ('reader','the reader has changed')])
def test_a_checksum_is_not_shown(part, name, says):
    work = WorkFolder(part, 'state.pth', settings={name:files_digest([])})
    part.mkdir()
    work.write_settings()
    other = WorkFolder(part, 'state.pth', settings={name:files_digest([('a.png','2bm')])})
    with pytest.raises(CaptchaError, match=says) as e: other.check()
    assert work.settings[name] not in str(e.value)

def test_settings_of_older_versions(stopped):
    "They are in asked.json, and don't say what kind of work it is"
    (stopped/'settings.json').unlink()
    (stopped/'asked.json').write_text(json.dumps(SETTINGS))
    with training(stopped).claim() as work: assert work.begin(resume=True) and work.settings_there()==work.settings
    assert names(stopped)==['asked.json','state.pth']
    with pytest.raises(ChangedSetting, match='epochs=6'): training(stopped, epochs=1).check()
    training(stopped).clear()
    assert not stopped.exists()

@pytest.mark.parametrize('text', [b'{"epochs": 6', b'', b'[1]', b'\xff\xfe'])
@pytest.mark.parametrize('file', ['settings.json', 'asked.json'])
def test_damaged_settings(stopped, file, text):
    (stopped/'settings.json').unlink()
    (stopped/file).write_bytes(text)
    for missing_ok in (False, True):
        with pytest.raises(CaptchaError, match=f'is damaged: its {file} can.t be read; remove'):
            training(stopped).check(missing_ok)
    with pytest.raises(CaptchaError, match='is damaged'), training(stopped).claim() as work: work.begin()
    assert (stopped/'state.pth').exists() and (stopped/file).read_bytes()==text

def test_missing_settings(stopped):
    (stopped/'settings.json').unlink()
    assert training(stopped).settings_there() is None
    with pytest.raises(CaptchaError, match='its settings.json is missing'):
        with training(stopped).claim() as work: work.begin()
    training(stopped).check(missing_ok=True)

def test_folders_of_results(tmp_path):
    "What an older folder doesn't tell is passed over; what it tells must be so; nothing is cleared"
    def folds(**settings): return WorkFolder(tmp_path, 'fold*.csv', 'k_fold', settings)
    folds(seed=0, epochs=5).write_settings()
    (tmp_path/'fold0.csv').write_text('file,text\n')
    (tmp_path/'notes.md').write_text('mine')
    folds(seed=0, epochs=5, wd=.1).check(missing_ok=True)
    with pytest.raises(ChangedSetting, match='wd=None, not with wd=0.1'): folds(seed=0, epochs=5, wd=.1).check()
    with pytest.raises(ChangedSetting, match='seed=0, not with seed=1; .*give another folder'):
        folds(seed=1, epochs=5).check(missing_ok=True, cure='give another folder')
    with pytest.raises(ChangedSetting, match='epochs=5'): folds(seed=0).check(missing_ok=True)
    assert folds().resumable() and names(tmp_path)==['fold0.csv','notes.md','settings.json']

stored = sorted((ROOT/'benchmarks'/'results').glob('*/asked.json'))

@pytest.mark.parametrize('file', stored, ids=lambda o: o.parent.name)
def test_stored_results(file):
    work = WorkFolder(file.parent, 'fold*.csv', 'k_fold', json.loads(file.read_text()))
    assert work.resumable() and work.settings_there()==work.settings
    work.check()

# Files

def test_a_digest_tells_what_changed(tmp_path):
    (tmp_path/'d').mkdir()
    for name in 'ab': (tmp_path/f'{name}.png').write_text(name)
    pairs = [('a.png','2bm'),('b.png',None),('no.png','x'),('d','y')]   # one isn't there, one is a folder
    was = files_digest(pairs, tmp_path)
    assert was==files_digest([(Path(f),t) for f,t in pairs], str(tmp_path))
    for other in (pairs[1:], pairs[::-1], [('a.png','2bn'),*pairs[1:]]): assert files_digest(other, tmp_path)!=was
    (tmp_path/'b.png').write_text('c')
    assert files_digest(pairs, tmp_path)!=was

@posix
def test_a_digest_does_not_wait(tmp_path):
    os.mkfifo(tmp_path/'pipe')
    assert files_digest([('pipe','x')], tmp_path)==files_digest([('pipe','x')], tmp_path/'nowhere')

def test_a_failing_write_leaves_what_was(tmp_path):
    file = tmp_path/'a.csv'
    atomic_write(file, lambda f: f.write_text('first'))
    for error in (KeyboardInterrupt, ValueError, OSError(28, 'No space left on device')):
        def fails(f, error=error):
            f.write_text('half')
            raise error
        with pytest.raises(error if isinstance(error, type) else OSError): atomic_write(file, fails)
        assert file.read_text()=='first' and names(tmp_path)==['a.csv']

def test_an_error_that_names_no_file():
    with pytest.raises(OSError, match='a.csv'), named_oserror('a.csv'): raise OSError(28, 'No space left on device')
    with pytest.raises(OSError, match='b.csv'), named_oserror('a.csv'): raise OSError(28, 'No space', 'b.csv')
