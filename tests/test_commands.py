"The commands as users run them: subprocesses, exit codes, streams, and what is left on the disk"
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from captcha_fastai import cli
from captcha_fastai.archs import own_archs
from captcha_fastai.files import WorkFolder
from captcha_fastai.synth import STYLES
from conftest import ENV, args_for, fresh, inside, run

def heed():
    "Before a process begins: Ctrl-C is for it too, though a shell's background jobs and their children ignore it"
    signal.signal(signal.SIGINT, signal.SIG_DFL)

def stop(begins, sig, *args, cwd=None):
    "Run a command and send it `sig` at the first line of stderr that begins so; its exit code, and the rest of stderr"
    streams = dict(stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    with subprocess.Popen(args_for(*args), env=ENV, preexec_fn=heed, cwd=cwd, **streams) as p:
        for line in p.stderr:
            if line.startswith(begins): break
        p.send_signal(sig)
        rest = p.stderr.read()
    return p.returncode,rest

# An arch of one's own, which learns in one epoch all it is given time for
MINE = """
from captcha_fastai.archs import Recipe, captcha_arch
from captcha_fastai.crnn import crnn_small

@captcha_arch(Recipe(1, 1e-3))
def mine(vocab, **kwargs): return crnn_small(vocab, **kwargs)
"""

@pytest.fixture(scope='session')
def world(tmp_path_factory):
    "Forty easy captchas and a reader trained on them for one epoch"
    tmp = tmp_path_factory.mktemp('commands')
    drawn = fresh('captcha_draw', 40, '--out', tmp/'drawn', '--chars', '2bmx', '--length', '3', '--seed', '3')
    assert drawn.returncode==0, drawn.stderr
    trained = fresh('captcha_train', tmp/'drawn', '--out', tmp/'reader', '--epochs', 1, '--from-scratch')
    assert trained.returncode==0, trained.stderr
    return tmp, drawn, trained

def test_draw_any(tmp_path):
    "Each captcha in a look of its own; the first are the same, however many there are; letters that are not Latin too"
    for n in (3, 70):
        res = run('captcha_draw', n, '--out', tmp_path/str(n), '--style', 'any', '--chars', '2bx', '--length', '3-5')
        assert res.returncode==0 and f'{n} captchas' in res.stdout, res.stderr
    few,many = (sorted((tmp_path/str(n)).iterdir(), key=lambda o: o.stem[-4:]) for n in (3, 70))
    assert len(many)==70 and {len(o.stem)-5 for o in many}=={3, 4, 5}
    assert [o.name for o in few]==[o.name for o in many[:3]]
    assert all(a.read_bytes()==b.read_bytes() for a,b in zip(few, many))
    assert run('captcha_draw', 3, '--out', tmp_path/'other', '--style', 'any', '--seed', 42+256).returncode==0
    assert run('captcha_draw', 3, '--out', tmp_path/'same', '--style', 'any').returncode==0
    other,same = ({o.name for o in (tmp_path/d).iterdir()} for d in ('other', 'same'))
    assert not other & same
    assert run('captcha_draw', 3, '--out', tmp_path/'signs', '--style', 'any', '--chars', '2ж').returncode==0

@pytest.mark.parametrize('style', ['any', 'classic'])
def test_what_cannot_be_drawn_leaves_nothing(style, tmp_path):
    for more in (('--length', 99), ('--chars', '漢')):
        res = run('captcha_draw', 2, '--out', tmp_path/'a'/'b', '--style', style, *more)
        assert res.returncode==2 and len(res.stderr.splitlines())==1, res.stderr
        assert not (tmp_path/'a').exists()

def test_draw_and_train(world):
    tmp,drawn,trained = world
    assert len(list((tmp/'drawn').glob('*.png')))==40
    assert '40 captchas' in drawn.stdout
    figures = json.loads(trained.stdout.splitlines()[-1])
    assert figures['n_train']==36 and figures['n_valid']==4
    assert 'epoch 1/1' in trained.stderr and 'epoch 1' not in trained.stdout
    assert 'Warning' not in trained.stderr, trained.stderr
    assert len(re.findall('^epoch ', trained.stderr, re.M))==1, 'a short epoch gets one line'
    assert {o.name for o in (tmp/'reader').iterdir()}=={'model.safetensors','reader.json'}
    assert not (tmp/'reader.partial').exists()

def test_annotate(world, tmp_path):
    "As on a terminal, answers from standard input; stopped by its end, gone on with, and trained from"
    shutil.copytree(world[0]/'drawn', tmp_path/'mine')
    def ask(*args, answers): return run('captcha_annotate', tmp_path/'mine', *args, input=answers)
    first = ask('--reader', world[0]/'reader', '--length', 3, answers='2bm\n\n')
    assert first.returncode==0, first.stderr
    rows = list(csv.DictReader(open(tmp_path/'mine'/'labels.csv')))
    assert [len(o['text']) for o in rows]==[3,3] and rows[0]['text']=='2bm' and '2 labels added' in first.stdout
    second = ask('--n', 1, '--rename', '--reader', 'none', answers='\n:s\nxxx\n')
    assert second.returncode==0, second.stderr
    assert '2 labels in' in second.stdout and 'type the text, or' in second.stdout, second.stdout
    rows = list(csv.DictReader(open(tmp_path/'mine'/'labels.csv')))
    assert len(rows)==3 and all((tmp_path/'mine'/o['file']).exists() for o in rows)
    assert all(o['file'].startswith(o['text']+'_') for o in rows)
    # a slip can't be asked about: each line is a picture's
    odd = ask('--reader', world[0]/'reader', '--length', 3, answers='2bmm\n2bm\n')
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

COMMANDS = 'draw','train','eval','read','annotate','demo'

@pytest.mark.parametrize('name', COMMANDS)
def test_help(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [f'captcha_{name}', '--help'])
    monkeypatch.setenv('COLUMNS', '200')
    with pytest.raises(SystemExit) as e: getattr(cli, f'captcha_{name}')()
    said = capsys.readouterr().out
    assert e.value.code==0 and said.startswith(f'usage: captcha_{name}')
    assert 'default: False' not in said and 'default: None' not in said
    if name=='draw': assert ', '.join(STYLES) in said
    if name=='train': assert ', '.join(own_archs) in said
    if name in ('train','eval','read','annotate'): assert '--arch' in said and 'package.module:function' in said

def imported(*args):
    "Names of the modules that a command has imported when it ends, and its exit code"
    code = (f"import sys; sys.argv = {list(map(str, args))!r}; from captcha_fastai.cli import {args[0]}\n"
            f"try: {args[0]}()\nfinally: print('\\nIMPORTED', *sys.modules)")
    res = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=ENV, timeout=300)
    return set(res.stdout.split('\nIMPORTED ')[1].split()),res.returncode

@pytest.mark.parametrize('name', COMMANDS)
def test_help_imports_nothing_large(name):
    there,code = imported(f'captcha_{name}', '--help')
    assert code==0 and not there & {'torch','fastai','numpy','PIL','pandas','matplotlib','scipy'}

def test_reading_imports_no_training(world):
    there,code = imported('captcha_read', world[0]/'reader', next((world[0]/'drawn').iterdir()), '--length', 3)
    assert code==0 and 'torch' in there and not there & {'fastai','matplotlib','pandas','scipy','torchvision','IPython'}

def test_importing_changes_nothing():
    "Signal handlers and warnings are those of whoever imports the commands"
    code = ("import signal, warnings; before = signal.getsignal(signal.SIGINT), warnings.filters[:]\n"
            "import captcha_fastai.cli; assert before==(signal.getsignal(signal.SIGINT), warnings.filters[:])")
    res = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=ENV, timeout=300)
    assert res.returncode==0, res.stderr

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
    for d in ('empty','broken'): (tmp/d).mkdir()
    (tmp/'broken'/'22b.png').write_bytes(b'<html>')
    (tmp/'odd.csv').write_text('name,text\ndrawn/a.png,22b\n')
    (tmp/'comma.csv').write_text('file,text\ndrawn/a.png,2,2\n')
    drawn,reader,new = tmp/'drawn',tmp/'reader',tmp/'new'
    train = 'captcha_train',drawn,'--out',new
    cases = {
        'missing folder':('nowhere', 'captcha_train', tmp/'nowhere', '--out', new),
        'empty folder':('no pictures in', 'captcha_train', tmp/'empty', '--out', new),
        'no readable picture':('22b.png', 'captcha_train', tmp/'broken', '--out', new, '--skip-bad'),
        'broken picture':('22b.png: not a picture', 'captcha_train', tmp/'broken', '--out', new),
        'existing output':('exists already', 'captcha_train', drawn, '--out', reader),
        'output not a reader':('is not a saved reader', 'captcha_train', drawn, '--out', drawn, '--overwrite'),
        'unknown arch':("no arch 'yolo'", *train, '--arch', 'yolo'),
        'nothing to resume':('nothing to resume', *train, '--resume'),
        'wrong number':('--epochs', *train, '--epochs', 'many'),
        'no epochs':('--epochs must be at least 1', *train, '--epochs', '0'),
        'share of 1':('--valid-pct must', *train, '--valid-pct', '1'),
        'style without drawing':('give --draw N as well', *train, '--fit-style'),
        'draw none to learn':('--draw must be at least 1', *train, '--draw', '0'),
        'length for nothing':('give one of them as well', *train, '--length', '3'),
        'epochs of many steps':('leave --epochs out', *train, '--draw', '9', '--epochs', '2'),
        'odd length':('a length is a number', *train, '--draw', '9', '--length', 'few'),
        'no such pictures':('nowhere', *train, '--unlabelled', tmp/'nowhere'),
        'nothing unlabelled':('has a label already; leave --unlabelled out', *train, '--unlabelled', drawn),
        'characters left out':("vocabulary '2b'", *train, '--chars', '2b'),
        'no out':('--out', 'captcha_train', drawn),
        'reader missing':('nowhere', 'captcha_eval', tmp/'nowhere', drawn),
        'reader not a reader':('reader.json is missing', 'captcha_eval', drawn, drawn),
        'data missing':('nowhere', 'captcha_eval', reader, tmp/'nowhere'),
        'no column file':("odd.csv has no column 'file'", 'captcha_eval', reader, tmp/'odd.csv'),
        'comma in a text':('comma.csv: a row has more cells', 'captcha_train', tmp/'comma.csv', '--out', new),
        'CSV exists':('odd.csv exists already', 'captcha_eval', reader, drawn, '--csv', tmp/'odd.csv'),
        'CSV into nowhere':('there is no folder', 'captcha_read', reader, drawn, '--csv', tmp/'nowhere'/'a.csv'),
        'show fewer than none':('--show must be at least 0', 'captcha_eval', reader, drawn, '--show', '-1'),
        'picture missing':('nowhere.png', 'captcha_read', reader, tmp/'nowhere.png'),
        'nothing readable':('no readable picture', 'captcha_read', reader, tmp/'broken'),
        'draw into a full one':('drawn', 'captcha_draw', 3, '--out', drawn),
        'draw none':('at least 1', 'captcha_draw', 0, '--out', new),
        'unknown style':('baroque', 'captcha_draw', 3, '--out', new, '--style', 'baroque'),
        'demo out exists':('exists already', 'captcha_demo', '--out', drawn),
    }
    return [(what, tuple(tmp/f'new{i}' if o is new else o for o in cmd), says)
            for i,(what,(says,*cmd)) in enumerate(cases.items())]

def test_bad_input(world):
    tmp = world[0]
    before = {f:f.stat().st_mtime_ns for d in ('drawn','reader') for f in (tmp/d).iterdir()}
    wrong = []
    for i,(what,cmd,says) in enumerate(bad_inputs(tmp)):
        res = run(*cmd) if i%10==0 else inside(*cmd)   # some as users do, in a process of their own
        lines = [o for o in res.stderr.splitlines() if o.strip()]
        said = lines[-1] if lines else ''
        ok = res.returncode==2 and says in said and 'Traceback' not in res.stderr and not res.stdout
        if not ok or len(lines)!=1:
            wrong.append((what, res.returncode, res.stdout, res.stderr))
    assert not wrong, wrong
    assert not list(tmp.glob('new*'))
    assert before=={f:f.stat().st_mtime_ns for d in ('drawn','reader') for f in (tmp/d).iterdir()}

def test_two_at_once(world):
    tmp = world[0]
    (tmp/'busy.partial').mkdir()
    lock = FileLock(tmp/'busy.partial'/'lock')
    with lock: res = run('captcha_train', tmp/'drawn', '--out', tmp/'busy', '--epochs', 1)
    assert res.returncode==2 and 'another training is at work' in res.stderr and len(res.stderr.splitlines())==1
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
    "The reader was saved, its checkpoint not yet removed: --resume does that, and says what the training would say"
    args = ('captcha_train', world[0]/'drawn', '--out', tmp_path/'r', '--epochs', 1)
    def stopped(work): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(WorkFolder, 'clear', stopped)
        assert inside(*args).returncode==130
    assert (tmp_path/'r'/'reader.json').exists() and (tmp_path/'r.partial'/'state.pth').exists()
    assert inside(*args).returncode==2
    res = inside(*args, '--resume')
    assert res.returncode==0 and 'was finished' in res.stderr, res.stderr
    assert json.loads(res.stdout.splitlines()[-1])['n_train']==36 and not (tmp_path/'r.partial').exists()

def test_steps_killed_and_resumed(world, tmp_path):
    "A training that draws first is killed in its second step; the first is not done again"
    tmp = world[0]
    res = run('captcha_draw', 20, '--out', tmp_path/'more', '--chars', '2bmx', '--length', '3', '--seed', '8')
    assert res.returncode==0
    (tmp_path/'mymodels.py').write_text(MINE)
    args = ('captcha_train', tmp/'drawn', '--out', tmp_path/'taught', '--from-scratch', '--draw', 24,
            '--unlabelled', tmp_path/'more', '--length', 3, '--arch', 'mymodels:mine')
    stop('labels: 36 pictures', signal.SIGKILL, *args, cwd=tmp_path)
    part = tmp_path/'taught.partial'/'steps'
    assert (part/'drawn'/'reader.json').exists() and not (part/'labels').exists() and not (tmp_path/'taught').exists()
    assert run(*args, cwd=tmp_path).returncode==2
    res = run(*args, '--resume', cwd=tmp_path)
    assert res.returncode==0, res.stderr
    assert 'drawn: 24' not in res.stderr and 'labels: 36 pictures' in res.stderr
    figures = json.loads(res.stdout.splitlines()[-1])
    assert [o['step'] for o in figures['steps']][:2]==['drawn','labels'] and figures['n_valid']==4
    assert 'valid_captcha_accuracy' in figures
    assert (tmp_path/'taught'/'reader.json').exists() and not (tmp_path/'taught.partial').exists()

def test_reading_killed_and_resumed(world):
    "A long reading is killed after its first chunk; the same command reads the rest, each picture stands there once"
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
    # stopped after the table was written; a table of other readings
    for table,code in ((whole,0), (whole+b'x,y,1\n',2)):
        shutil.copytree(tmp/'left', tmp/'many.csv.partial')
        (tmp/'many.csv').write_bytes(table)
        res = run(*args)
        assert res.returncode==code and (tmp/'many.csv').read_bytes()==table, res.stderr
        assert (tmp/'many.csv.partial').exists()==bool(code)
    assert 'other readings than' in res.stderr

def test_interrupted(world):
    tmp = world[0]
    args = 'captcha_train',tmp/'drawn','--out',tmp/'stopped','--epochs',50
    code,rest = stop('epoch 1/50', signal.SIGINT, *args)
    assert code==130 and '--resume' in rest and 'Traceback' not in rest, rest
    assert (tmp/'stopped.partial'/'state.pth').exists()

def older(part, **names):
    "Make a folder of unfinished work that of a version which called its settings otherwise"
    was = json.loads((part/'settings.json').read_text())
    kept = {names.get(k, k):v for k,v in was.items() if k not in ('work','bs','arch of the reader','unlabelled folder')}
    (part/'asked.json').write_text(json.dumps(kept))
    (part/'settings.json').unlink()

def test_what_an_older_version_left(world, tmp_path):
    "A training and a reading that it was stopped in go on; other options are refused"
    tmp = world[0]
    args = 'captcha_train',tmp/'drawn','--out',tmp_path/'r','--epochs',4
    code,_ = stop('epoch 2/4', signal.SIGINT, *args)
    older(tmp_path/'r.partial', ignore_case='fold_case')
    other = inside(*args, '--fold-case', '--resume')
    assert code==130 and other.returncode==2 and 'started without --fold-case, not with --fold-case' in other.stderr
    res = inside(*args, '--resume')
    assert res.returncode==0 and 'epoch 4/4' in res.stderr and 'epoch 1/4' not in res.stderr, res.stderr
    assert [o.name for o in tmp_path.iterdir()]==['r']

    many = tmp_path/'many'
    many.mkdir()
    for i in range(700): os.link(sorted((tmp/'drawn').glob('*.png'))[i%40], many/f'{i:04d}.png')
    args = 'captcha_read',tmp/'reader',many,'--csv',tmp_path/'many.csv'
    with subprocess.Popen(args_for(*args), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENV) as p:
        p.stdout.readline()
        p.kill()
    older(tmp_path/'many.csv.partial')
    res = inside(*args)
    assert res.returncode==0 and 'going on from' in res.stderr, res.stderr
    assert len((tmp_path/'many.csv').read_text().splitlines())==701

def test_own_arch(world, tmp_path):
    "--arch names a module of the folder one is in; a saved reader alone makes nothing be imported"
    tmp = world[0]
    (tmp_path/'mymodels.py').write_text(MINE)
    named = '--arch','mymodels:mine'
    res = run('captcha_train', tmp/'drawn', '--out', 'r', '--epochs', 1, *named, cwd=tmp_path)
    assert res.returncode==0, res.stderr
    picture = next((tmp/'drawn').iterdir())
    res = run('captcha_read', 'r', picture, cwd=tmp_path)
    assert res.returncode==2 and res.stderr.count('\n')==1 and 'give --arch mymodels:mine' in res.stderr, res.stderr
    for cmd in (('captcha_read', 'r', picture), ('captcha_eval', 'r', tmp/'drawn')):
        res = run(*cmd, *named, cwd=tmp_path)
        assert res.returncode==0, res.stderr
    shutil.copytree(tmp/'drawn', tmp_path/'drawn')
    res = run('captcha_annotate', 'drawn', '--reader', 'r', *named, cwd=tmp_path, input='2bm\n')
    assert res.returncode==0 and '1 label added' in res.stdout, res.stdout+res.stderr
    for name,says in (('mymodels:none', 'none'), ('nowhere:mine', 'nowhere'), ('os:system', 'is no arch')):
        res = run('captcha_read', 'r', picture, '--arch', name, cwd=tmp_path)
        assert res.returncode==2 and res.stderr.count('\n')==1 and says in res.stderr, res.stderr

@pytest.mark.skipif(sys.platform=='win32', reason='no such signals there')
@pytest.mark.parametrize('wait', [.02, .3, 1, 2])
def test_interrupted_while_it_starts(world, wait):
    "Ctrl-C in the seconds that imports take, once the command runs: no traceback"
    code = ("from captcha_fastai.cli import captcha_read; import sys\n"
            "print('begins', file=sys.stderr, flush=True); captcha_read()")
    args = sys.executable,'-c',code,world[0]/'reader',next((world[0]/'drawn').iterdir())
    p = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENV, preexec_fn=heed)
    p.stderr.readline()
    time.sleep(wait)
    p.send_signal(signal.SIGINT)
    _,err = p.communicate(timeout=60)
    # torch calls Python where no exception may leave: then it ends the process, and names the KeyboardInterrupt
    by_torch = p.returncode==-signal.SIGABRT and 'terminate called' in err and 'KeyboardInterrupt' in err
    assert by_torch or p.returncode in (-signal.SIGINT,130,0) and 'Traceback' not in err, (p.returncode, err)
