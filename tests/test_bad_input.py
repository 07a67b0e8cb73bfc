"""Bad input, damaged files, full disks and folders from strangers: each gets one clear line

The table of what was tried is printed at the end of the run."""
import csv
import io
import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
import unicodedata
import zlib

import pandas as pd
import pytest
import torch
from fastcore.script import anno_parser
from PIL import Image
from safetensors.torch import load_file, save_file

from captcha_fastai import cli, train as training
from captcha_fastai.adapt import adapt
from captcha_fastai.annotate import Labels, rename_labelled
from captcha_fastai.bulk import read_resumable
from captcha_fastai.core import CaptchaError
from captcha_fastai.pictures import open_picture, picture_files
from captcha_fastai.crnn import crnn_small
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.files import file_sha256
from captcha_fastai.labels import captcha_label
from captcha_fastai.learner import captcha_learner
from captcha_fastai.reader import Reader
from captcha_fastai.synth import save_captchas
from conftest import ENV, WALLS, args_for, fresh, inside, run

def add(what, said): WALLS.append((what, said))

@pytest.fixture(scope='module')
def good(tmp_path_factory):
    "Twelve drawn captchas; beside them, in good-more, four others"
    path = tmp_path_factory.mktemp('walls')/'good'
    save_captchas(12, path, chars='2bmx', length=3, seed=1)
    save_captchas(4, f'{path}-more', chars='2bmx', length=3, seed=2)
    return path

# Pictures

def png(w, h):
    "A PNG that claims to be `w` x `h`"
    def chunk(t, d): return struct.pack('>I', len(d))+t+d+struct.pack('>I', zlib.crc32(t+d))
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, 8, 0, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n'+head+chunk(b'IDAT', zlib.compress(b'\0'*1000))+chunk(b'IEND', b'')

def frames(kind):
    b,im = io.BytesIO(),Image.new('L', (20,10))
    im.save(b, kind, save_all=True, append_images=[Image.new('L', (20,10), 255)])
    return b.getvalue()

def whole():
    b = io.BytesIO(); Image.effect_noise((200,50), 50).save(b, 'PNG')
    return b.getvalue()

def postscript():
    "Pillow would have Ghostscript run it"
    b = io.BytesIO(); Image.new('L', (200,50), 200).save(b, 'EPS')
    return b.getvalue()

PICTURES = {
    'zero bytes':(b'', 'not a picture, or empty'),
    'cut in the middle':(lambda: whole()[:4000], 'truncated'),
    '0x0 pixels':(png(0,0), 'not a picture'),
    '20000x20000 pixels in a kilobyte':(png(20000,20000), '400000000 pixels'),
    '9000x9000 pixels':(png(9000,9000), '9000x9000 pixels'),
    'fewer rows than it says':(png(200,50), 'truncated'),
    'HTML named .png':(b'<html></html>', 'not a picture'),
    'text named .png':(b'2w4y7', 'not a picture'),
    'a TIFF of two pages':(lambda: frames('TIFF'), '2 pages'),
    'random bytes':(bytes(range(256))*4, 'not a picture'),
    'a PostScript program named .png':(lambda: postscript(), 'not a picture'),
}

@pytest.mark.parametrize('what', PICTURES)
def test_picture(what, tmp_path):
    data,says = PICTURES[what]
    file = tmp_path/'22b.png'
    file.write_bytes(data() if callable(data) else data)
    with pytest.raises(CaptchaError) as e: open_picture(file)
    assert says in str(e.value) and '22b.png' in str(e.value) and '\n' not in str(e.value)
    add(f'a picture: {what}', str(e.value).replace(str(tmp_path), 'DIR'))

# Folders and tables, through the command

def captcha_train_line(data, out, *args):
    "Exit code of captcha_train, and the line that says what was saved or the last of standard error"
    res = inside('captcha_train', data, '--out', out, *args)
    lines = [o for o in res.stderr.splitlines() if o.strip()]
    return res.returncode,next((o for o in lines if o.startswith('saved')), lines[-1])

def train(data, out, *args): return captcha_train_line(data, out, '--epochs', 1, *args)

def link_nowhere(d): (d/'2bm.png').symlink_to(d/'nowhere.png')
def pipe(d): os.mkfifo(d/'2bm.png')
def zero(d): (d/'2bm.png').write_bytes(b'')
def html(d): (d/'2bm.png').write_bytes(b'<html>')
def no_label(d): (d/'22b_0.png').rename(d/'_0.png')
def unreadable(d): (d/'22b_0.png').chmod(0)
def bytes_name(d): os.rename(d/'22b_0.png', os.fsencode(d)+b'/\xff2b.png')
def one(d): [o.unlink() for o in list(d.glob('*.png'))[1:]]
def none(d): [o.unlink() for o in d.glob('*.png')]
BAD_FOLDERS = {
    'a broken link':(link_nowhere, '2bm.png: no such file'),
    'a pipe named .png':(pipe, 'no file'),
    'an empty file':(zero, 'or leave them out with --skip-bad'),
    'HTML named .png':(html, '2bm.png: not a picture'),
    'a name that begins with _':(no_label, 'its label is empty'),
    'one picture':(one, '1 picture leaves none to train on; add other pictures, or set --valid-pct 0'),
    'no picture':(none, 'no pictures in'),
}
if sys.platform=='linux':   # others don't have such names
    BAD_FOLDERS['a name that is no UTF-8'] = bytes_name,'holds bytes that are no UTF-8'

def loop(d): (d/'loop').symlink_to(d, target_is_directory=True)
def folder_named_png(d): (d/'sub.png').mkdir()
def spellings(d):
    for form in ('NFC','NFD'):
        name = unicodedata.normalize(form, 'é2b')
        shutil.copy(d/'22b_0.png', d/f'{name}_{form}.png')
def emoji(d): (d/'22b_0.png').rename(d/'😀2b.png')
def deep(d): (d/'deep'/'deeper').mkdir(parents=True); (d/'22b_0.png').rename(d/'deep'/'deeper'/'22b_0.png')
GOOD_FOLDERS = {
    'a link to the folder itself':(loop, "'2b'"),
    'a folder named .png':(folder_named_png, "'2b'"),
    'two spellings of é':(spellings, "3 characters '2bé'"),
    'an emoji':(emoji, '😀'),
    'folders inside folders':(deep, "'2b'"),
}

def folder(good, tmp_path, change):
    d = tmp_path/'d'
    d.mkdir()
    for i,f in enumerate(sorted(good.iterdir())[:8]): shutil.copy(f, d/f"{'22b' if i%2==0 else '2b2'}_{i}.png")
    change(d)
    return d

@pytest.mark.parametrize('what', BAD_FOLDERS)
def test_bad_folder(what, good, tmp_path):
    change,says = BAD_FOLDERS[what]
    code,line = train(folder(good, tmp_path, change), tmp_path/'r')
    assert code==2 and says in line and not (tmp_path/'r').exists() and not (tmp_path/'r.partial').exists(), line
    add(f'a folder: {what}', line.replace(str(tmp_path), 'DIR'))

@pytest.mark.parametrize('what', GOOD_FOLDERS)
def test_odd_folder_that_will_do(what, good, tmp_path):
    change,says = GOOD_FOLDERS[what]
    code,line = train(folder(good, tmp_path, change), tmp_path/'r')
    assert code==0 and line.startswith('saved') and says in line, line
    add(f'a folder: {what}', line.replace(str(tmp_path), 'DIR'))

TABLES = {
    'a missing file':('file,text\n{rows}\ngood/none.png,22b', 'none.png: no such file'),
    'five missing files':('file,text\n{rows}\n1.png,2\n2.png,2\n3.png,2\n4.png,2\n5.png,2',
                          '3.png: no such file; 2 more; mend'),
    'an empty label':('file,text\n{rest}\n{first},', 'its label is empty'),
    'no rows':('file,text\n', 'has no rows'),
    'no content':('', 'is empty'),
    'semicolons':('file;text\na.png;22b', 'parted by semicolons, save it with commas'),
    'tabs':('file\ttext\na.png\t22b', 'parted by tabs'),
    'a quote that is not closed':('file,text\n"a.png,22b\n{rows}', 'close the quote'),
    'other columns':('name,label\n{rows}', 'call its columns file and text'),
    'UTF-16':('file,text\n{rows}', 'in UTF-8', 'utf-16'),
    'Latin-1':('file,text\n{rows}\nx.png,é', 'in UTF-8', 'latin-1'),
    'two texts for a file':('file,text\n{rows}\n{first},bbb', 'twice, as'),
    'a comma in a label':('file,text\n{rows}\nx.png,2,2', 'holds a comma'),
    'a NUL in a name':('file,text\n{rows}\ngood/\0.png,22b', 'a byte of zero'),
    'a file that is no picture':('file,text\n{rows}\n/etc/passwd,22b', '/etc/passwd: not a picture'),
}

@pytest.mark.parametrize('what', TABLES)
def test_table(what, good, tmp_path):
    text,says,*enc = TABLES[what]
    names = [f'good/{o.name}' for o in sorted(good.iterdir())]
    (tmp_path/'good').symlink_to(good, target_is_directory=True)
    rows = '\n'.join(f"{o},{o.split('/')[1][:3]}" for o in names)
    (tmp_path/'t.csv').write_bytes(text.format(rows=rows, rest=rows.partition('\n')[2], first=names[0]).encode(*enc))
    code,line = train(tmp_path/'t.csv', tmp_path/'r')
    assert code==2 and says in line, line
    add(f'a table: {what}', line.replace(str(tmp_path), 'DIR'))

def test_table_of_many_rows(good, tmp_path):
    "A table of 10^5 rows, all of them missing files but one: said, and quickly"
    (tmp_path/'t.csv').write_text('file,text\n'+'\n'.join(f'none{i}.png,22b' for i in range(10**5)))
    code,line = train(tmp_path/'t.csv', tmp_path/'r')
    assert code==2 and '100000 of 100000 pictures' in line, line
    add('a table: 10^5 rows of missing files', line.replace(str(tmp_path), 'DIR'))

# Options: for each command, each option that takes a value, wrong ones and what is said of them

length = {
    '0':'at least 1',
    '-2':'a number or a range',
    'x':'a number or a range',
    '6-4':'goes upwards',
    '1-1000000000':'at most',
    '4-':'a number or a range',
    '1-2-3':'a number or a range',
    '':'length is empty',
}
known = {
    '--length':length | {'99':'no room for a text', 'seen2':'a number or a range'},
    '--chars':{'!':'not in the vocabulary', '':'chars is empty'},
    '--pattern':{
        '[':"without its ']'",
        '(a':"')' is missing",
        'a{9':"'}' is missing",
        '(2{500}){500}':'more than 100 repeats',
        '((2?){30}){30}':'more than 600',
        '':'pattern is empty',
    },
    '--lexicon':{
        'nowhere':'cannot read the lexicon',
        '/dev/null':'the lexicon is empty',
        '.':'cannot read the lexicon',
    },
    '--check':{
        'crc':"no check 'crc'; there are luhn",
        'nowhere:f':'cannot load the check nowhere:f',
        'math:pi':'math:pi is no function',
        '':'check is empty',
    },
}
own = {
    '--arch':{
        'yolo':"no arch 'yolo'",
        'os:system':'os:system is no arch',
        'nowhere:f':'cannot load the arch nowhere:f',
        '':'arch is empty',
    },
}
fixed = {'--corrections':{'nowhere':'cannot read nowhere', '{good}':'cannot read', '':'corrections is empty'}}
sure = {'--min-confidence':{'x':'invalid float', '2':'from 0 to 1', '-1':'from 0 to 1', 'nan':'from 0 to 1'}}
table = {'--csv':{'nowhere/a.csv':'there is no folder', '{good}':'exists already', '':'csv is empty'}}
report = {'--report':{'nowhere/a.html':'there is no folder', '{good}':'exists already', '':'report is empty'}}
seed = {'--seed':{'-1':'--seed goes from', str(2**70):'--seed goes from', 'x':'invalid int', '1e9':'invalid int'}}
OPTIONS = {
    ('captcha_draw', '2', '--out', 'NEW'):seed | {
        '--length':{k:v for k,v in length.items()} | {'999':'does not fit'},
        '--chars':{'':'chars is empty', '/':'cannot be part of a label', '😀':'no glyph'},
        '--style':{'baroque':"unknown style 'baroque'", 'classic,,':"unknown style ''", '':'style is empty'},
        '--out':{'':'out is empty', '{good}':'not an empty folder'},
    },
    ('captcha_draw', '2', '--out', 'NEW', '--style', 'any'):{
        '--length':{'999':'cannot be read in 200 pixels'},
        '--chars':{'':'chars is empty', '/':'cannot be part of a label', '漢':'no installed font'},
        '--out':{'{good}':'not an empty folder'},
    },
    ('captcha_train', '{good}', '--out', 'NEW', '--draw', '2'):{
        '--length':length,
        '--draw':{'0':'--draw must be', 'x':'invalid int'},
    },
    ('captcha_train', '{good}', '--out', 'NEW'):seed | {
        '--valid-pct':{
            'nan':'--valid-pct must',
            '-0.1':'--valid-pct must',
            '1':'--valid-pct must',
            'x':'invalid float',
        },
        '--arch':{'':'arch is empty', 'yolo':"no arch 'yolo'"},
        '--epochs':{'0':'--epochs must be', '-3':'--epochs must be', '1e9':'invalid int'},
        '--out':{'':'out is empty', '{good}':'exists already'},
        '--chars':{'22':'occurs twice', '2':'not in the vocabulary', '':'chars is empty'},
        '--unlabelled':{'nowhere':'no such folder', '{good}':'has a label already', '':'unlabelled is empty'},
        '--reader':{'nowhere':'no saved reader', '':'reader is empty'},
        '--bogus':{'1':'--bogus'},
        '--folds':{'1':'--folds must be', '21':'--folds must be', 'x':'invalid int'},
    } | fixed,
    ('captcha_train', '{good}', '--out', 'NEW', '--unlabelled', '{good}-more'):{'--pattern':known['--pattern']},
    ('captcha_eval', 'pretrained', '{good}'):known | own | sure | table | report | fixed | {
        '--show':{'-1':'--show must be', 'x':'invalid int'},
    },
    ('captcha_read', 'pretrained', '{good}'):known | own | sure | table | {
        '--letter-confidence':{'x':'invalid float', '2':'from 0 to 1', 'nan':'from 0 to 1'},
        '--accept':{'x':'invalid float', '.999':'--folds', '1':'between 0 and 1', 'nan':'between 0 and 1'},
        '--out':{'a.xlsx':'.csv, .jsonl or .parquet', 'nowhere/a.jsonl':'there is no folder', '':'out is empty'},
        '--ray':{'local':'--ray reads into a table; give --csv or --out', '':'ray is empty'},
    },
    ('captcha_plan', '{good}'):seed | table | fixed | {
        '--target':{'0':'--target must be', '95':'--target must be', 'x':'invalid float'},
        '--next':{'-1':'--next must be', 'x':'invalid int'},
        '--unlabelled':{'nowhere':'no such folder', '':'unlabelled is empty'},
    },
    ('captcha_check', '{good}'):seed | table | report | fixed | {
        '--reader':{'nowhere':'no saved reader', '':'reader is empty'},
        '--folds':{'1':'--folds must be', '21':'--folds must be', 'x':'invalid int'},
    },
    ('captcha_annotate', '{good}'):known | own | {
        '--csv':{'{good}':'Is a directory', '':'csv is empty'},
        '--n':{'0':'--n must be', '-1':'--n must be', 'x':'invalid int'},
        '--reader':{'nowhere':'no saved reader', '':'reader is empty'},
    },
    ('captcha_demo', '--out', 'NEW'):{
        '--data':{'nowhere':'no such file or folder', '':'data is empty'},
        '--out':{'{good}':'exists already', '':'out is empty'},
    },
}
CASES = [(cmd,option,value,says) for cmd,options in OPTIONS.items() for option,values in options.items()
         for value,says in values.items()]

def test_every_option_is_tried():
    for name in {cmd[0] for cmd in OPTIONS}:
        actions = anno_parser(getattr(cli, name).__wrapped__, prog=name)._actions
        there = {o for a in actions if a.nargs!=0 for o in a.option_strings} - {'--xtra'}
        assert there<={o for cmd,options in OPTIONS.items() if cmd[0]==name for o in options}, name

@pytest.mark.parametrize('case', CASES, ids=lambda c: ' '.join([c[0][0], *c[1:3]])[:60])
def test_option(case, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cmd,option,value,says = case
    fill = lambda o: o.replace('NEW', 'new').replace('{good}', str(good))
    before = sorted(good.iterdir())
    res = inside(*map(fill, cmd), option, fill(value))
    lines = [o for o in res.stderr.splitlines() if o.strip()]
    assert res.returncode==2 and says in lines[-1] and not res.stdout, (lines, res.stdout)
    assert len(lines)==1, lines
    assert sorted(good.iterdir())==before and not [o.name for o in tmp_path.iterdir()]
    add(f'an option: {cmd[0][8:]} {option} {value[:20]!r}', lines[-1].replace(str(good), 'GOOD'))

# What is read and written without the right to

def humble(*args):
    "Run a command without the right of root to read and write everything"
    rights = ['setpriv', '--bounding-set=-dac_override,-dac_read_search', '--inh-caps=-all'] if os.geteuid()==0 else []
    if rights and not shutil.which('setpriv'):
        pytest.skip('root may read and write everything, and there is no setpriv to take that from it')
    return subprocess.run([*rights, *args_for(*args)], capture_output=True, text=True, env=ENV, timeout=300)

def test_unreadable(good, tmp_path):
    d = folder(good, tmp_path, unreadable)
    res = humble('captcha_train', d, '--out', tmp_path/'r', '--epochs', 1)
    line = res.stderr.splitlines()[-1]
    assert res.returncode==2 and 'Permission denied' in line and '22b_0.png' in line, res.stderr
    assert not list(tmp_path.glob('r*'))
    add('a folder: a file one may not read', line.replace(str(tmp_path), 'DIR'))

def test_unwritable(good, tmp_path):
    (tmp_path/'closed').mkdir(mode=0o500)
    res = humble('captcha_train', good, '--out', tmp_path/'closed'/'r', '--epochs', 1)
    line = res.stderr.splitlines()[-1]
    assert res.returncode==2 and 'Permission denied' in line and len(res.stderr.splitlines())==1, res.stderr
    add('an option: --out in a folder one may not write to', line.replace(str(tmp_path), 'DIR'))

# Full disks

@pytest.fixture
def disk(tmp_path):
    "A function that makes a disk of so many kilobytes, or changes its size"
    at = tmp_path/'disk'
    at.mkdir()
    def make(kb):
        size = f"{'remount,' if os.path.ismount(at) else ''}size={kb}k"
        cmd = ['mount', '-t', 'tmpfs', '-o', size, 'tmpfs', at]
        res = subprocess.run(cmd, capture_output=True, text=True) if shutil.which('mount') else None
        if not res or res.returncode: pytest.skip('needs the right to mount a small disk')
        return at
    yield make
    if os.path.ismount(at): subprocess.run(['umount', at], check=True)

def full(what, res, *names):
    line = [o for o in res.stderr.splitlines() if o.strip()][-1]
    assert res.returncode==2 and 'No space left on device' in line and 'Traceback' not in res.stderr, res.stderr
    assert all(o in line for o in names), line
    add(f'a full disk: {what}', line)

def test_no_room_for_the_checkpoint(good, disk):
    at = disk(1000)
    full('no room for the checkpoint', inside('captcha_train', good, '--out', at/'r', '--epochs', 1), 'state.pth')
    assert not list(at.iterdir())

def test_no_room_for_the_reader(good, disk):
    "The training is done, its reader can't be saved: it is kept, and saved once there is room; an old reader stays"
    at = disk(40000)
    args = 'captcha_train',good,'--out',at/'r','--epochs',1
    assert inside(*args).returncode==0
    old = (at/'r'/'model.safetensors').read_bytes()
    disk((len(old)+12_800_000)//1024 + 500)   # old reader and checkpoint fit, no second reader
    res = inside(*args, '--seed', 7, '--overwrite')
    full('no room for the reader', res, 'r')
    assert '--resume' in res.stderr and (at/'r.partial'/'state.pth').exists()
    assert sorted(o.name for o in at.iterdir())==['r','r.partial']
    assert (at/'r'/'model.safetensors').read_bytes()==old and Reader.load(at/'r')
    disk(60000)
    assert inside(*args, '--seed', 7, '--overwrite', '--resume').returncode==0
    assert (at/'r'/'model.safetensors').read_bytes()!=old and [o.name for o in at.iterdir()]==['r']

def test_no_room_for_readings(good, disk, tmp_path):
    many = tmp_path/'many'
    many.mkdir()
    for i in range(60): os.link(sorted(good.iterdir())[i%12], many/f'{i:02d}.png')
    at = disk(8)
    args = 'captcha_read','pretrained',many,'--csv',at/'read.csv'
    full('no room for readings', inside(*args), 'readings.jsonl')
    disk(100)
    assert inside(*args).returncode==0
    with open(at/'read.csv', newline='') as f: names = [o['file'][-6:] for o in csv.DictReader(f)]
    assert names==[f'{i:02d}.png' for i in range(60)]
    assert [o.name for o in at.iterdir()]==['read.csv']

def test_no_room_for_drawings(disk):
    full('no room for drawings', inside('captcha_draw', 40, '--out', disk(100)/'d'), '.png')
    assert not list(disk(100).iterdir())

@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full here')
def test_output_to_a_full_disk(good):
    with open('/dev/full', 'w') as f: res = run('captcha_read', 'pretrained', good, stdout=f)
    full('standard output', res)

def test_nobody_reads_the_output(good):
    r,w = os.pipe()
    os.close(r)
    res = run('captcha_read', 'pretrained', good, stdout=w)
    os.close(w)
    assert res.returncode==141 and not res.stderr, res.stderr

@pytest.mark.skipif(sys.platform!='linux', reason='other systems have no such names')
def test_names_that_are_bytes(good, tmp_path):
    "A name that is no UTF-8 is printed as the bytes it was, and can't stand in a CSV"
    name = os.fsencode(tmp_path)+b'/\xff2b.png'
    shutil.copy(next(good.iterdir()), name)
    res = run('captcha_read', 'pretrained', os.fsdecode(name), text=False, env=ENV|{'PYTHONUTF8':'1'})
    assert res.returncode==0 and res.stdout.startswith(name+b'\t'), res.stderr
    res = inside('captcha_read', 'pretrained', tmp_path, '--csv', tmp_path/'a.csv')
    assert res.returncode==2 and 'is not UTF-8' in res.stderr and len(res.stderr.splitlines())==1, res.stderr
    assert not list(tmp_path.glob('a.csv*'))
    add('a picture: --csv, and a name that is no UTF-8', res.stderr.strip().replace(str(tmp_path), 'DIR'))

@pytest.mark.skipif(sys.platform=='win32', reason='Windows has no such names')
def test_names_that_break_a_line(good, tmp_path):
    "One line a picture, and three columns, whatever its name"
    shutil.copy(next(good.iterdir()), tmp_path/'2\tb\nm.png')
    res = inside('captcha_read', 'pretrained', tmp_path)
    assert res.returncode==0, res.stderr
    assert [o.split('\t')[0] for o in res.stdout.splitlines()]==[str(tmp_path/r'2\tb\nm.png')]

def test_a_picture_as_data(good, tmp_path):
    code,line = train(next(good.iterdir()), tmp_path/'r')
    assert code==2 and 'is a picture, no table' in line, line
    add('an option: a picture as DATA', line.replace(str(good), 'GOOD'))

def test_words_of_the_terminal(good, tmp_path):
    "Messages for Python name its arguments, those of a command its options; a file called like one keeps its name"
    d = folder(good, tmp_path, zero)
    d.rename(tmp_path/'skip_bad')
    code,line = train(tmp_path/'skip_bad', tmp_path/'r')
    picture = tmp_path/'skip_bad'/'2bm.png'
    assert code==2 and f"{picture}: " in line and line.endswith('leave them out with --skip-bad'), line

# What a stop, or a hand, has left

def test_damaged_leftovers(good, tmp_path):
    shutil.copytree(good, tmp_path/'good')
    part,args = tmp_path/'r.partial',('captcha_train', tmp_path/'good', '--out', tmp_path/'r', '--epochs', 3)
    def stop(*_, **__): raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as m:
        m.setattr(training, 'save_reader', stop)
        assert inside(*args).returncode==130
    kept = {o:(part/o).read_bytes() for o in ('state.pth','settings.json')}
    def resumed(what, says, file=None, data=b''):
        if file: (part/file).write_bytes(data)
        res = inside(*args, '--resume')
        line = [o for o in res.stderr.splitlines() if o.strip()][-1]
        assert res.returncode==2 and says in line and 'Traceback' not in res.stderr, res.stderr
        if file: assert (part/file).read_bytes()==data; (part/file).write_bytes(kept[file])
        add(f'--resume: {what}', line.replace(str(tmp_path), 'DIR'))
    resumed('options cut short', 'settings.json', 'settings.json', kept['settings.json'][:20])
    resumed('options of no bytes', 'settings.json', 'settings.json')
    resumed('options that are a list', 'settings.json', 'settings.json', b'[1]')
    resumed('a checkpoint cut short', "state.pth is damaged", 'state.pth', kept['state.pth'][:5000])
    resumed('a checkpoint of another kind', "state.pth is damaged", 'state.pth', b'half a file')
    first = next((tmp_path/'good').iterdir())
    os.rename(first, tmp_path/'away.png')
    resumed('a picture is gone', 'the pictures or their texts have changed')
    os.rename(tmp_path/'away.png', first)
    others = {('--skip-bad',):'started without --skip-bad, not with --skip-bad',
              ('--valid-pct',0):'started with --valid-pct 0.1, not with --valid-pct 0.0',
              ('--chars','2bm'):'started without --chars, not with --chars 2bm'}
    for more,says in others.items():
        res = inside(*args, '--resume', *more)
        assert res.returncode==2 and says in res.stderr, res.stderr
        add(f'--resume: with {more[0]}', res.stderr.strip().replace(str(tmp_path), 'DIR'))
    res = inside(*args, '--resume')
    assert res.returncode==0 and not part.exists(), res.stderr
    rows = tmp_path/'a.csv.partial'
    rows.mkdir()
    for what,lines,says in (('readings without their options', b'', 'settings.json'),
                            ('readings that are none', b'{"file":1}\nx\n', 'readings.jsonl')):
        (rows/'readings.jsonl').write_bytes(lines)
        if says=='readings.jsonl':
            with pytest.raises(CaptchaError, match=says): list(read_resumable(None, [], rows/'readings.jsonl'))
        else:
            res = inside('captcha_read', 'pretrained', good, '--csv', tmp_path/'a.csv')
            assert res.returncode==2 and says in res.stderr and len(res.stderr.splitlines())==1, res.stderr
            add(f'--csv: {what}', res.stderr.strip().replace(str(tmp_path), 'DIR'))

def test_names_that_differ_in_case_only(good, tmp_path):
    "To some disks ab and AB are one name: none of the renamed pictures takes the place of another"
    for i,f in enumerate(sorted(good.iterdir())[:4]): shutil.copy(f, tmp_path/f'{i}.png')
    (tmp_path/'labels.csv').write_text('file,text\n0.png,ab\n1.png,AB\n2.png,Ab\n3.png,aB\n')
    assert len({o.name.casefold() for o in rename_labelled(tmp_path/'labels.csv')})==4

def test_out_below_a_file(good, tmp_path):
    (tmp_path/'f').write_text('')
    code,line = train(good, tmp_path/'f'/'r')
    assert code==2 and 'Not a directory' in line, line
    add('an option: --out below a file', line.replace(str(tmp_path), 'DIR'))

# Reader folders

@pytest.fixture(scope='module')
def saved(good, tmp_path_factory):
    torch.manual_seed(0)
    small = dict(widths=[8,16], blocks=[1,1], n_hidden=8)
    learn = captcha_learner(CaptchaDataLoaders.from_folder(good, bs=4), crnn_small, arch_args=small)
    return Reader.from_learner(learn).save(tmp_path_factory.mktemp('readers')/'r')

def described(d): return json.loads((d/'reader.json').read_text())
def text(s): return lambda d: (d/'reader.json').write_text(s)
def fields(**kw): return lambda d: text(json.dumps(described(d) | kw))(d)
def without(k): return lambda d: text(json.dumps({a:b for a,b in described(d).items() if a!=k}))(d)
def cut(d):
    file = d/'model.safetensors'
    file.write_bytes(file.read_bytes()[:-50])
def flip(at):
    def f(d):
        b = bytearray((d/'model.safetensors').read_bytes())
        b[at] ^= 255
        (d/'model.safetensors').write_bytes(b)
    return f
def tensors(change):
    "Other weights, and a description that vouches for them"
    def f(d):
        save_file(change(load_file(d/'model.safetensors')), d/'model.safetensors')
        fields(sha256=file_sha256(d/'model.safetensors'))(d)
    return f
def nan(s): return {k:v*float('nan') if v.is_floating_point() else v for k,v in s.items()}

def narrow(s): return {k:v[:1].clone() if v.ndim==4 else v for k,v in s.items()}

FOLDERS = {
    'a byte of a weight changed':(flip(-100), 'is not the file that was saved'),
    'a byte of the header changed':(flip(20), 'damaged'),
    'a header of exabytes':(flip(6), 'damaged'),
    'weights cut short':(cut, 'damaged'),
    'no weights':(lambda d: (d/'model.safetensors').unlink(), 'model.safetensors is missing'),
    'empty weights':(lambda d: (d/'model.safetensors').write_bytes(b''), 'damaged'),
    'a pickle named model.safetensors':(lambda d: torch.save({'a':torch.zeros(1)}, d/'model.safetensors'), 'damaged'),
    'weights of NaN':(tensors(nan), 'NaN or infinity'),
    'a tensor of another shape':(tensors(narrow), "doesn't fit"),
    'a tensor missing':(tensors(lambda s: dict(list(s.items())[1:])), "doesn't fit"),
    'a tensor too many':(tensors(lambda s: {**s, 'extra':torch.zeros(3)}), "doesn't fit"),
    'no reader.json':(lambda d: (d/'reader.json').unlink(), 'reader.json is missing'),
    'a list for JSON':(text('[]'), 'no JSON object'),
    'JSON a million deep':(text('['*10**6), 'damaged'),
    'JSON of 100 MB':(text('{"a":"'+'x'*10**8+'"}'), 'bytes'),
    'no JSON':(text('\0\1'), 'damaged'),
    'a newer format':(fields(format_version=99), 'format 99'),
    'an arch that is a function':(fields(arch='os.system'), "'os.system'"),
    'an arch that is a list':(fields(arch=[1]), 'arch'),
    'an arch_arg of a million':(fields(arch_args=dict(widths=[10**6])), 'damaged'),
    'an arch_arg that nobody knows':(fields(arch_args=dict(foo=1)), "'foo'"),
    'an arch_arg that doesn\'t fit':(fields(arch_args=dict(widths=[4096]*4)), 'asks for a model of more than'),
    'a picture size of 10^9':(fields(spec=dict(size=[10**9,10**9], channels=1, width=3)), 'damaged'),
    'a size of text':(fields(spec=dict(size='ab', channels=1, width=3)), 'damaged'),
    'a vocabulary without characters':(fields(vocab={}), 'damaged'),
    'a vocabulary with a character twice':(fields(vocab=dict(chars='aa', specials=False)), "occurs twice"),
    'a deviation of 0':(fields(std=[0.]), 'damaged'),
    'a mean that is text':(fields(mean=['x']), 'damaged'),
    'a length that is text':(fields(lengths={'x':3}), 'damaged'),
    'reader.json a pipe':(lambda d: ((d/'reader.json').unlink(), os.mkfifo(d/'reader.json')), 'reader.json is missing'),
}
FIELDS = 'sha256','arch','arch_args','vocab','spec','mean','std','lengths','facts'
FOLDERS |= {f'no {k}':(without(k), k) for k in FIELDS}

@pytest.mark.parametrize('what', FOLDERS)
def test_reader_folder(what, saved, tmp_path):
    d = shutil.copytree(saved, tmp_path/'r')
    change,says = FOLDERS[what]
    change(d)
    with pytest.raises(CaptchaError) as e: Reader.load(d)
    assert says in str(e.value) and str(d) in str(e.value) and '\n' not in str(e.value)
    add(f'a reader: {what}', str(e.value).replace(str(tmp_path), 'DIR'))

def test_the_reader_itself_loads(saved): assert Reader.load(saved).spec.arch=='crnn_small'

# What lies beside, and who else is there

def trained(good, out):
    res = inside('captcha_train', good, '--out', out, '--epochs', 1)
    assert res.returncode==0, res.stderr

def refused(what, says, tmp_path, *args):
    "One line that says it, exit code 2, and every file as it was"
    before = {o:o.read_bytes() for o in tmp_path.rglob('*') if o.is_file()}
    res = inside(*args)
    assert res.returncode==2 and says in res.stderr and len(res.stderr.splitlines())==1, res.stderr
    assert {o:o.read_bytes() for o in tmp_path.rglob('*') if o.is_file()}==before
    add(what, res.stderr.strip().replace(str(tmp_path), 'DIR'))

def test_what_lies_beside_a_reader(good, tmp_path):
    "Nothing else in a folder goes with the reader, least of all the pictures; nor the folder one is in, nor a link"
    def no(what, says, data, out, *args):
        refused(f'an option: {what}', says, tmp_path, 'captcha_train', data, '--out', out, '--epochs', 1, *args)
    out = tmp_path/'r'
    trained(good, out)
    (tmp_path/'link').symlink_to(out, target_is_directory=True)
    (tmp_path/'nowhere').symlink_to(tmp_path/'none', target_is_directory=True)
    no('--out a link', 'is a link', good, tmp_path/'link', '--overwrite')
    no('--out a broken link', 'is a link', good, tmp_path/'nowhere', '--overwrite')
    shutil.copytree(good, out/'data')
    no('--overwrite, and DATA in the reader', 'holds data beside a reader', out/'data', out, '--overwrite')
    no('--overwrite, and a folder in the reader', 'holds data beside a reader', good, out, '--overwrite')
    shutil.rmtree(out/'data')
    with pytest.MonkeyPatch.context() as m:
        m.chdir(out)
        no('--overwrite the folder one is in', 'is the folder you are in', good, '../r', '--overwrite')
    no('--out pretrained', "can't be pretrained", good, 'pretrained')

def test_a_partial_of_somebody_else(good, tmp_path):
    def no_training(what, says, out):
        refused(f'an option: --out, beside {what}', says, tmp_path, 'captcha_train', good, '--out', out)
    def no_reading(what, says, pictures, csv):
        args = 'captcha_read','pretrained',pictures,'--csv',csv
        refused(f'an option: --csv, beside {what}', says, tmp_path, *args)
    shutil.copytree(good, tmp_path/'r.partial')
    no_training('a folder OUT.partial of other files', 'not from an unfinished training', tmp_path/'r')
    part = tmp_path/'r.partial'
    no_reading('a folder FILE.partial of other files', 'not from an unfinished reading', part, tmp_path/'r')
    (tmp_path/'s.partial').mkdir()
    (tmp_path/'s.partial'/'state.pth').write_bytes(b'a training')
    (tmp_path/'s.partial'/'settings.json').write_text('{"work": "training"}')
    no_reading('a training that was stopped', 'holds an unfinished training, and no reading', good, tmp_path/'s')
    (tmp_path/'t.partial').write_text('a file')
    no_training('a file OUT.partial', 'is in the way', tmp_path/'t')

def test_pictures_changed_while_stopped(good, tmp_path):
    "A reading that goes on reads what has changed since, and what could not be read; a training does not go on"
    d = tmp_path/'d'
    shutil.copytree(good, d)
    files = sorted(d.iterdir())
    files[1].write_bytes(b'')
    reader = Reader.load('pretrained')
    first = list(read_resumable(reader, files, tmp_path/'kept.jsonl'))
    assert first[1].error
    shutil.copy(files[5], files[0])
    shutil.copy(files[5], files[1])
    again = list(read_resumable(reader, files, tmp_path/'kept.jsonl'))
    assert [o.text for o in again[:2]]==[first[5].text]*2 and again[2:]==first[2:]
    args = 'captcha_train',d,'--out',tmp_path/'r','--epochs',2
    def stop(*_, **__): raise KeyboardInterrupt
    with pytest.MonkeyPatch.context() as m:
        m.setattr(training, 'save_reader', stop)
        assert inside(*args).returncode==130
    shutil.copy(files[6], files[0])
    res = inside(*args, '--resume')
    assert res.returncode==2 and 'the pictures or their texts have changed' in res.stderr, res.stderr

def test_labels_that_somebody_else_writes(good, tmp_path):
    "Two who label the same folder don't lose each other's labels, and a link stays one"
    (tmp_path/'link.csv').symlink_to(tmp_path/'labels.csv')
    a,b = Labels(tmp_path/'link.csv'),Labels(tmp_path/'labels.csv')
    for i in range(3):
        a.add(tmp_path/f'a{i}.png', 'a')
        b.add(tmp_path/f'b{i}.png', 'b')
    a.remove(tmp_path/'a1.png')
    assert sorted(Labels(tmp_path/'labels.csv').rows)==['a0.png','a2.png','b0.png','b1.png','b2.png']
    assert (tmp_path/'link.csv').is_symlink()

def test_odd_answers(good, tmp_path):
    "What can't be seen, and bytes that are no UTF-8, are no label; what was answered before and after is kept"
    args = good,'--csv',tmp_path/'l.csv','--reader','none'
    res = run('captcha_annotate', *args, input=b'aaa\na\0c\nb\xe9b\nbbb\n', text=False)
    assert res.returncode==0, res.stderr
    with open(tmp_path/'l.csv', newline='') as f: assert [o['text'] for o in csv.DictReader(f)]==['aaa','bbb']

def test_annotate_what_cannot_be_opened(good, tmp_path):
    d = folder(good, tmp_path, zero)
    res = run('captcha_annotate', d, '--reader', 'none', input='aaa\n'*20)
    assert res.returncode==1 and '2bm.png: not a picture' in res.stdout
    for o in d.glob('2*'): o.write_bytes(b'')
    (d/'labels.csv').unlink()
    res = run('captcha_annotate', d, '--reader', 'none', input='aaa\n'*20)
    assert res.returncode==2 and "9 can't be opened" in res.stderr, res.stderr

@pytest.mark.parametrize('cmd', ['captcha_train','captcha_eval'])
def test_quote_that_swallows_rows(cmd, good, tmp_path):
    rows = [f'{o},22b' for o in sorted(good.iterdir())]
    rows[3],rows[7] = rows[3].replace(',22b', ',"22b'),rows[7]+'"'
    (tmp_path/'t.csv').write_text('\n'.join(['file,text', *rows]))
    args = (tmp_path/'t.csv','--out',tmp_path/'r') if cmd=='captcha_train' else ('pretrained',tmp_path/'t.csv')
    what = f'a table: a quote closed five rows further on, to {cmd}'
    refused(what, 'see that each quote is closed', tmp_path, cmd, *args)

def test_folder_within_that_is_closed(good, tmp_path):
    d = folder(good, tmp_path, lambda d: (d/'sub').mkdir(mode=0))
    for args in (('captcha_read', 'pretrained', d), ('captcha_train', d, '--out', tmp_path/'r', '--skip-bad')):
        res = humble(*args)
        says = f"cannot look into the folder {d/'sub'}: Permission denied"
        assert res.returncode==2 and says in res.stderr, res.stderr
    add('a folder: another in it that one may not look into', res.stderr.strip().replace(str(tmp_path), 'DIR'))
    (d/'sub').chmod(0o700)

def test_links_that_lead_back(good, tmp_path):
    d = folder(good, tmp_path, lambda d: [(d/o).symlink_to(d, target_is_directory=True) for o in 'abcd'])
    assert len(picture_files(d))==8

def test_options_before_pictures(good, tmp_path):
    res = inside('captcha_read', 'pretrained', '--length', 3, '--csv', tmp_path/'a.csv', good)
    assert res.returncode==0 and len(res.stdout.splitlines())==12, res.stderr

@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full here')
def test_progress_to_a_full_disk(good, tmp_path):
    "What can't be said is not said; the work is done"
    with open('/dev/full', 'w') as f: res = fresh('captcha_train', good, '--out', tmp_path/'r', '--epochs', 1, stderr=f)
    assert res.returncode==0 and Reader.load(tmp_path/'r') and json.loads(res.stdout)

@pytest.mark.skipif(sys.platform=='win32', reason='needs a POSIX shell')
def test_closed_output(good, tmp_path):
    for close in ('>&-','2>&-'):
        cmd = f"{shlex.join(args_for('captcha_read', 'pretrained', good))} {close}"
        res = subprocess.run(cmd, shell=True, capture_output=True, text=True, env=ENV, timeout=300)
        assert res.returncode==0 and not res.stderr, res.stderr

def test_python_values(good):
    reader = Reader.load('pretrained')
    for bs in (0,-1):
        with pytest.raises(CaptchaError, match='bs must be at least 1'): reader.read([], bs=bs)
    f = str(next(good.iterdir()))
    for file,text,says in (([f], [b'2'], 'holds bytes'), ([f,f], ['2','b'], 'lists .* twice')):
        df = pd.DataFrame(dict(file=file, text=text))
        with pytest.raises(CaptchaError, match=says): CaptchaDataLoaders.from_df(df)
    with pytest.raises(CaptchaError, match='is no arch'): captcha_learner(None, 'os:system')

# Archs that a stranger's folder names, and work that was begun with something else

@pytest.mark.parametrize('arch', ['os:system', 'antigravity:geohash', 'here:run', '__main__:exit'])
def test_an_arch_is_not_believed(arch, saved, tmp_path, monkeypatch):
    "A reader.json that names a function makes nothing be imported or run; the line says what to give"
    d = shutil.copytree(saved, tmp_path/'r')
    (tmp_path/'here.py').write_text(f"open({str(tmp_path/'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    fields(arch=arch)(d)
    with pytest.raises(CaptchaError, match='is not known here'): Reader.load(d)
    res = inside('captcha_read', d, saved)
    assert res.returncode==2 and f'give --arch {arch}' in res.stderr and len(res.stderr.splitlines())==1, res.stderr
    assert not (tmp_path/'ran').exists() and not {'antigravity','here'} & set(sys.modules)
    add(f'a reader: the arch {arch}', res.stderr.strip().replace(str(tmp_path), 'DIR'))

def test_adapt_with_other_work(good, tmp_path):
    "A folder of steps belongs to its pictures, characters and seed: with others nothing is taken from it"
    files = sorted(good.iterdir())
    def make(files, chars='2bmx', **kwargs):
        labelled = files,[captcha_label(f) for f in files]
        how = dict(start=False, drawn=0, rounds=0, work=tmp_path/'w', log=said.append)
        return adapt([], chars, 3, labelled, **how, **kwargs)
    said = []
    first = make(files[:6])
    again = make(files[:6])
    assert said==['labels: 6 pictures'] and again.steps==first.steps
    for more,says in ((dict(files=files[6:]), 'the pictures or their texts have changed'),
                      (dict(files=files[:6], seed=5), 'seed=0, not with seed=5'),
                      (dict(files=files[:6], chars='2bmxyz'), "not with chars='2bmxyz'")):
        with pytest.raises(CaptchaError, match=says): make(**more)
    assert [o.name for o in (tmp_path/'w').iterdir() if o.is_dir()]==['labels']

def test_characters_without_a_glyph(good, tmp_path):
    "What no font has is named, and not taken for a text that is too wide"
    for more in ((), ('--fit-style',)):
        code,line = captcha_train_line(good, tmp_path/'r', '--draw', 10, '--chars', '漢字2bmx', *more)
        assert code==2 and "no installed font has a glyph for '漢', '字'; leave it out of --chars" in line, line
    add('an option: --chars that no font has', line)
    with pytest.raises(CaptchaError, match="has a glyph for '漢'"): adapt(picture_files(good), '漢2bmx', 3, drawn=9)
