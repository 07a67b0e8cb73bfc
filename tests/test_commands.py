"The commands as users run them: subprocesses, exit codes, streams, and what is left on the disk"
import csv, io, json, os, re, shutil, signal, subprocess, sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from captcha_fastai import cli

def args_for(name, *args): return [sys.executable, '-c', f'from captcha_fastai.cli import {name}; {name}()', *map(str, args)]
ENV = {**os.environ, 'OMP_NUM_THREADS':'1'}

def run(name, *args, cwd=None):
    return subprocess.run(args_for(name, *args), capture_output=True, text=True, cwd=cwd, env=ENV, timeout=300)

def inside(name, *args):
    "The same in this process, which is sooner"
    out,err,was = io.StringIO(),io.StringIO(),sys.argv
    sys.argv = [name, *map(str, args)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as e: getattr(cli, name)()
    finally: sys.argv = was
    return subprocess.CompletedProcess(args, e.value.code, out.getvalue(), err.getvalue())

def stop(begins, sig, *args):
    "Run a command and send it `sig` at the first line of stderr that begins so; its exit code, and the rest of stderr"
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)   # a shell's background jobs, and so their children, ignore Ctrl-C
    with subprocess.Popen(args_for(*args), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=ENV, preexec_fn=heed) as p:
        for line in p.stderr:
            if line.startswith(begins): break
        p.send_signal(sig)
        rest = p.stderr.read()
    return p.returncode,rest

@pytest.fixture(scope='session')
def world(tmp_path_factory):
    "Forty easy captchas and a reader trained on them for one epoch"
    tmp = tmp_path_factory.mktemp('commands')
    drawn = run('captcha_draw', 40, '--out', tmp/'drawn', '--chars', '2bmx', '--length', '3', '--seed', '3')
    assert drawn.returncode==0, drawn.stderr
    trained = run('captcha_train', tmp/'drawn', '--out', tmp/'reader', '--epochs', 1, '--from-scratch')
    assert trained.returncode==0, trained.stderr
    return tmp, drawn, trained

def test_draw_and_train(world):
    tmp,drawn,trained = world
    assert len(list((tmp/'drawn').glob('*.png')))==40
    assert '40 captchas' in drawn.stdout
    figures = json.loads(trained.stdout.splitlines()[-1])
    assert figures['n_train']==36 and figures['n_valid']==4
    assert 'epoch 1/1' in trained.stderr and 'epoch' not in trained.stdout.splitlines()[0].split(',')[0].replace('epochs','')
    assert 'Warning' not in trained.stderr, trained.stderr
    assert len(re.findall('^epoch ', trained.stderr, re.M))==1, 'a short epoch gets one line'
    assert {o.name for o in (tmp/'reader').iterdir()}=={'model.safetensors','reader.json'}
    assert not (tmp/'reader.partial').exists()

def test_annotate(world, tmp_path):
    "As on a terminal, answers from standard input; stopped by its end, gone on with, and trained from"
    shutil.copytree(world[0]/'drawn', tmp_path/'mine')
    def ask(*args, answers): return subprocess.run(args_for('captcha_annotate', tmp_path/'mine', *args), input=answers, capture_output=True, text=True, env=ENV, timeout=300)
    first = ask('--reader', world[0]/'reader', '--length', 3, answers='2bm\n\n')
    assert first.returncode==0, first.stderr
    rows = list(csv.DictReader(open(tmp_path/'mine'/'labels.csv')))
    assert [len(o['text']) for o in rows]==[3,3] and rows[0]['text']=='2bm' and '2 labels added' in first.stdout
    second = ask('--n', 1, '--rename', '--reader', 'none', answers='\n:s\nxxx\n')
    assert second.returncode==0 and '2 labels in' in second.stdout and 'type the text, or' in second.stdout, second.stdout+second.stderr
    rows = list(csv.DictReader(open(tmp_path/'mine'/'labels.csv')))
    assert len(rows)==3 and all((tmp_path/'mine'/o['file']).exists() and o['file'].startswith(o['text']+'_') for o in rows)
    odd = ask('--reader', world[0]/'reader', '--length', 3, answers='2bmm\n2bm\n')   # a slip can't be asked about: each line is a picture's
    asked = re.findall(r'^\d+ of \d+, (\S+): \S+ > (\S*)$', odd.stdout, re.M)
    assert [o[1] for o in asked]==['2bmm','2bm',''] and ': skipped' in odd.stdout, odd.stdout
    was,rows = rows,list(csv.DictReader(open(tmp_path/'mine'/'labels.csv')))
    assert rows[:3]==was and rows[3:]==[dict(file=asked[1][0], text='2bm')]
    none = run('captcha_annotate', tmp_path/'nowhere')
    assert none.returncode==2 and 'no such folder' in none.stderr and none.stderr.count('\n')==1

def test_eval(world):
    tmp = world[0]
    res = run('captcha_eval', tmp/'reader', tmp/'drawn')
    assert res.returncode==0, res.stderr
    figures = json.loads(res.stdout.splitlines()[-1])
    assert figures['n']==40 and {'captcha_accuracy','char_accuracy','cer','images_per_second'} <= set(figures)
    wrong = 40-round(40*figures['captcha_accuracy'])
    assert wrong>20, 'one epoch should not be enough to learn this'
    *lines,more,_ = res.stdout.splitlines()
    assert len(lines)==20 and all('read ' in o and 'labelled' in o for o in lines)
    assert more==f'... and {wrong-20} more'

def test_eval_csv(world):
    "All readings beside their labels; the file, marked as UTF-8 as Excel does it, is taken as labels again"
    tmp = world[0]
    res = run('captcha_eval', tmp/'reader', tmp/'drawn', '--show', 0, '--csv', tmp/'all.csv')
    assert res.returncode==0 and len(res.stdout.splitlines())==2, res.stderr
    with open(tmp/'all.csv', newline='', encoding='utf-8') as f: rows = list(csv.DictReader(f))
    assert list(rows[0])==['file','text','confidence','label'] and len(rows)==40
    assert all(o['file'].startswith(f"drawn/{o['label']}_") for o in rows)
    right = sum(o['text']==o['label'] for o in rows)
    assert right==round(40*json.loads(res.stdout.splitlines()[-1])['captcha_accuracy'])
    (tmp/'marked.csv').write_text((tmp/'all.csv').read_text(encoding='utf-8'), encoding='utf-8-sig')
    again = run('captcha_eval', tmp/'reader', tmp/'marked.csv')
    assert again.returncode==0 and json.loads(again.stdout)['captcha_accuracy']==1, again.stderr
    assert ('labels are empty' in again.stderr)==any(not o['text'] for o in rows)

@pytest.mark.parametrize('name', ['draw', 'train', 'eval', 'read', 'demo'])
def test_help(name, monkeypatch, capsys):
    from captcha_fastai import cli
    monkeypatch.setattr(sys, 'argv', [f'captcha_{name}', '--help'])
    monkeypatch.setenv('COLUMNS', '200')
    with pytest.raises(SystemExit) as e: getattr(cli, f'captcha_{name}')()
    said = capsys.readouterr().out
    assert e.value.code==0 and said.startswith(f'usage: captcha_{name}')
    assert 'default: False' not in said and 'default: None' not in said
    if name=='draw': assert ', '.join(cli.STYLES) in said
    if name=='train': assert ', '.join(cli.archs) in said

def test_read_some_broken(world):
    tmp = world[0]
    good = sorted((tmp/'drawn').iterdir())[:2]
    (tmp/'broken.png').write_bytes(good[0].read_bytes()[:100])
    res = run('captcha_read', tmp/'reader', *good, tmp/'broken.png', '--csv', tmp/'read.csv')
    assert res.returncode==1
    assert [o.split('\t')[0] for o in res.stdout.splitlines()]==[str(o) for o in good]
    assert 'broken.png' in res.stderr
    assert len((tmp/'read.csv').read_text().splitlines())==3
    again = run('captcha_read', tmp/'reader', good[0], '--csv', tmp/'read.csv')
    assert again.returncode==2 and 'exists already' in again.stderr

def test_train_csv_and_skip_bad(world):
    tmp = world[0]
    files = sorted((tmp/'drawn').iterdir())[:12]
    rows = [f'drawn/{f.name},{f.name.split("_")[0]}' for f in files] + ['drawn/none.png,22b']
    (tmp/'labels.csv').write_text('file,text\n'+'\n'.join(rows))
    res = run('captcha_train', tmp/'labels.csv', '--out', tmp/'from_csv', '--epochs', 1)
    assert res.returncode==2 and 'none.png' in res.stderr and not (tmp/'from_csv').exists()
    res = run('captcha_train', tmp/'labels.csv', '--out', tmp/'from_csv', '--epochs', 1, '--skip-bad', '--valid-pct', 0)
    assert res.returncode==1 and 'left out' in res.stderr and 'none.png' in res.stderr
    assert json.loads(res.stdout.splitlines()[-1])['n_train']==12

def bad_inputs(tmp):
    "(what, command and arguments, what the line must say)"
    for d in ('empty','broken','narrow'): (tmp/d).mkdir()
    (tmp/'broken'/'22b.png').write_bytes(b'<html>')
    Image.fromarray(np.full((20,20), 200, np.uint8)).save(tmp/'narrow'/'aaaaaaaaaaaa.png')
    Image.fromarray(np.full((20,20), 100, np.uint8)).save(tmp/'narrow'/'ab.png')
    (tmp/'odd.csv').write_text('name,text\ndrawn/a.png,22b\n')
    (tmp/'comma.csv').write_text('file,text\ndrawn/a.png,2,2\n')
    drawn,new = tmp/'drawn',tmp/'new'
    cases = [
        ('missing folder',      ('captcha_train', tmp/'nowhere', '--out', new), 'nowhere'),
        ('empty folder',        ('captcha_train', tmp/'empty', '--out', new), 'no pictures in'),
        ('no readable picture', ('captcha_train', tmp/'broken', '--out', new, '--skip-bad'), '22b.png'),
        ('broken picture',      ('captcha_train', tmp/'broken', '--out', new), '22b.png: not a picture'),
        ('CTC cannot emit',     ('captcha_train', tmp/'narrow', '--out', new, '--valid-pct', '0'), 'aaaaaaaaaaaa.png'),
        ('existing output',     ('captcha_train', drawn, '--out', tmp/'reader'), 'exists already'),
        ('output not a reader', ('captcha_train', drawn, '--out', drawn, '--overwrite'), 'is not a saved reader'),
        ('unknown arch',        ('captcha_train', drawn, '--out', new, '--arch', 'yolo'), "no arch 'yolo'"),
        ('nothing to resume',   ('captcha_train', drawn, '--out', new, '--resume'), 'nothing to resume'),
        ('wrong number',        ('captcha_train', drawn, '--out', new, '--epochs', 'many'), '--epochs'),
        ('no epochs',           ('captcha_train', drawn, '--out', new, '--epochs', '0'), '--epochs must be at least 1'),
        ('share of 1',          ('captcha_train', drawn, '--out', new, '--valid-pct', '1'), '--valid-pct must'),
        ('style without drawing', ('captcha_train', drawn, '--out', new, '--fit-style'), 'give --draw N as well'),
        ('draw none to learn',  ('captcha_train', drawn, '--out', new, '--draw', '0'), '--draw must be at least 1'),
        ('length for nothing',  ('captcha_train', drawn, '--out', new, '--length', '3'), 'give one of them as well'),
        ('epochs of many steps',('captcha_train', drawn, '--out', new, '--draw', '9', '--epochs', '2'), 'leave --epochs out'),
        ('odd length',          ('captcha_train', drawn, '--out', new, '--draw', '9', '--length', 'few'), 'a length is a number'),
        ('no such pictures',    ('captcha_train', drawn, '--out', new, '--unlabelled', tmp/'nowhere'), 'nowhere'),
        ('nothing unlabelled',  ('captcha_train', drawn, '--out', new, '--unlabelled', drawn), 'has a label already'),
        ('characters left out', ('captcha_train', drawn, '--out', new, '--chars', '2b'), "vocabulary '2b'"),
        ('no out',              ('captcha_train', drawn), '--out'),
        ('reader missing',      ('captcha_eval', tmp/'nowhere', drawn), 'nowhere'),
        ('reader not a reader', ('captcha_eval', drawn, drawn), 'reader.json is missing'),
        ('data missing',        ('captcha_eval', tmp/'reader', tmp/'nowhere'), 'nowhere'),
        ('no column file',      ('captcha_eval', tmp/'reader', tmp/'odd.csv'), "odd.csv has no column 'file'"),
        ('comma in a text',     ('captcha_train', tmp/'comma.csv', '--out', new), 'comma.csv: a row has more cells'),
        ('CSV exists',          ('captcha_eval', tmp/'reader', drawn, '--csv', tmp/'odd.csv'), 'odd.csv exists already'),
        ('CSV into nowhere',    ('captcha_read', tmp/'reader', drawn, '--csv', tmp/'nowhere'/'a.csv'), 'there is no folder'),
        ('show fewer than none',('captcha_eval', tmp/'reader', drawn, '--show', '-1'), '--show must be at least 0'),
        ('picture missing',     ('captcha_read', tmp/'reader', tmp/'nowhere.png'), 'nowhere.png'),
        ('nothing readable',    ('captcha_read', tmp/'reader', tmp/'broken'), 'no readable picture'),
        ('draw into a full one',('captcha_draw', 3, '--out', drawn), 'drawn'),
        ('draw none',           ('captcha_draw', 0, '--out', new), 'at least 1'),
        ('unknown style',       ('captcha_draw', 3, '--out', new, '--style', 'baroque'), 'baroque'),
        ('demo out exists',     ('captcha_demo', '--out', drawn), 'exists already'),
    ]
    return [(what, tuple(tmp/f'new{i}' if o is new else o for o in cmd), says) for i,(what,cmd,says) in enumerate(cases)]

def test_bad_input(world):
    tmp = world[0]
    before = {f:f.stat().st_mtime_ns for d in ('drawn','reader') for f in (tmp/d).iterdir()}
    wrong = []
    for i,(what,cmd,says) in enumerate(bad_inputs(tmp)):
        res = run(*cmd) if i%10==0 else inside(*cmd)   # some as users do, in a process of their own
        lines = [o for o in res.stderr.splitlines() if o.strip()]
        said = lines[-1] if lines else ''
        ok = res.returncode==2 and says in said and 'Traceback' not in res.stderr and not res.stdout
        # a label that CTC can't emit is found once the data report is out; all else says its one line and nothing more
        if not ok or (len(lines)!=1 and what!='CTC cannot emit'): wrong.append((what, res.returncode, res.stdout, res.stderr))
    assert not wrong, wrong
    assert not list(tmp.glob('new*'))
    assert before=={f:f.stat().st_mtime_ns for d in ('drawn','reader') for f in (tmp/d).iterdir()}

def test_two_at_once(world):
    tmp = world[0]
    (tmp/'busy.partial').mkdir()
    with FileLock(tmp/'busy.partial'/'lock'): res = run('captcha_train', tmp/'drawn', '--out', tmp/'busy', '--epochs', 1)
    assert res.returncode==2 and 'another captcha_train is at work' in res.stderr and len(res.stderr.splitlines())==1
    assert not (tmp/'busy').exists() and [o.name for o in (tmp/'busy.partial').iterdir()]==['lock']

def test_killed_and_resumed(world):
    tmp = world[0]
    args = ('captcha_train', tmp/'drawn', '--out', tmp/'long', '--epochs', 6)
    stop('epoch 3/6', signal.SIGKILL, *args)
    assert (tmp/'long.partial'/'state.pth').exists() and not (tmp/'long').exists()
    assert run(*args).returncode==2
    other = run(*args[:-1], 7, '--resume')
    assert other.returncode==2 and 'started with --epochs 6, not with --epochs 7' in other.stderr
    res = run(*args, '--resume')
    assert res.returncode==0, res.stderr
    epochs = re.findall(r'^epoch (\d)/6', res.stderr, re.M)
    assert epochs in (['4','5','6'], ['3','4','5','6']), res.stderr
    assert (tmp/'long'/'reader.json').exists() and not (tmp/'long.partial').exists()

def test_stopped_before_tidying_up(world, tmp_path, monkeypatch):
    "The reader was saved, its checkpoint not yet removed: --resume does that, and says what the training would have said"
    args = ('captcha_train', world[0]/'drawn', '--out', tmp_path/'r', '--epochs', 1)
    def stopped(path): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(cli, '_remove', stopped)
        assert inside(*args).returncode==130
    assert (tmp_path/'r'/'reader.json').exists() and (tmp_path/'r.partial'/'state.pth').exists()
    assert inside(*args).returncode==2
    res = inside(*args, '--resume')
    assert res.returncode==0 and 'was finished' in res.stderr, res.stderr
    assert json.loads(res.stdout.splitlines()[-1])['n_train']==36 and not (tmp_path/'r.partial').exists()

def test_steps_killed_and_resumed(world, tmp_path):
    "A training that draws first is killed in its second step; the first is not done again"
    tmp = world[0]
    assert run('captcha_draw', 20, '--out', tmp_path/'more', '--chars', '2bmx', '--length', '3', '--seed', '8').returncode==0
    args = ('captcha_train', tmp/'drawn', '--out', tmp_path/'taught', '--from-scratch', '--draw', 24, '--unlabelled', tmp_path/'more', '--length', 3)
    stop('labels: 36 pictures', signal.SIGKILL, *args)
    part = tmp_path/'taught.partial'/'steps'
    assert (part/'drawn'/'reader.json').exists() and not (part/'labels').exists() and not (tmp_path/'taught').exists()
    assert run(*args).returncode==2
    res = run(*args, '--resume')
    assert res.returncode==0, res.stderr
    assert 'drawn: 24' not in res.stderr and 'labels: 36 pictures' in res.stderr
    figures = json.loads(res.stdout.splitlines()[-1])
    assert [o['step'] for o in figures['steps']][:2]==['drawn','labels'] and figures['n_valid']==4 and 'valid_captcha_accuracy' in figures
    assert (tmp_path/'taught'/'reader.json').exists() and not (tmp_path/'taught.partial').exists()

def test_reading_killed_and_resumed(world):
    "A long reading is killed after its first chunk; the same command reads the rest, and each picture stands in the table once"
    tmp = world[0]
    (tmp/'many').mkdir()
    for i in range(1300): os.link(sorted((tmp/'drawn').glob('*.png'))[i%40], tmp/'many'/f'{i:04d}.png')
    args = 'captcha_read',tmp/'reader',tmp/'many','--csv',tmp/'many.csv'
    with subprocess.Popen(args_for(*args), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV) as p:
        p.stdout.readline()
        p.kill()
    kept = (tmp/'many.csv.partial'/'readings.jsonl').read_bytes().count(b'\n')
    assert p.returncode==-signal.SIGKILL and 512<=kept<1300 and not (tmp/'many.csv').exists()
    res = run(*args, '--length', '3')
    assert res.returncode==2 and 'cannot resume' in res.stderr
    shutil.copytree(tmp/'many.csv.partial', tmp/'left')
    res = run(*args)
    assert res.returncode==0 and 'going on from' in res.stderr, res.stderr
    with open(tmp/'many.csv', newline='') as f: rows = list(csv.DictReader(f))
    assert [o['file'] for o in rows]==[f'many/{i:04d}.png' for i in range(1300)]
    assert len({o['text'] for o in rows[::40]})==1
    assert len(res.stdout.splitlines())==1300 and not (tmp/'many.csv.partial').exists()
    whole = (tmp/'many.csv').read_bytes()
    for table,code in ((whole,0), (whole+b'x,y,1\n',2)):   # stopped after the table was written; a table of other readings
        shutil.copytree(tmp/'left', tmp/'many.csv.partial')
        (tmp/'many.csv').write_bytes(table)
        res = run(*args)
        assert res.returncode==code and (tmp/'many.csv').read_bytes()==table and (tmp/'many.csv.partial').exists()==bool(code), res.stderr
    assert 'other readings than' in res.stderr

def test_interrupted(world):
    tmp = world[0]
    code,rest = stop('epoch 1/50', signal.SIGINT, 'captcha_train', tmp/'drawn', '--out', tmp/'stopped', '--epochs', 50)
    assert code==130 and '--resume' in rest and 'Traceback' not in rest, rest
    assert (tmp/'stopped.partial'/'state.pth').exists()
