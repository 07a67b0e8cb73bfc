"The way of somebody new: labels of some pictures, the command that is printed, a reader that is no worse than before"
import csv
import json
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from captcha_fastai.annotate import annotate
from captcha_fastai.archs import Recipe
from captcha_fastai.core import CaptchaError
from captcha_fastai.pictures import picture_files
from captcha_fastai.crnn import crnn_small
from captcha_fastai.labels import captcha_label
from captcha_fastai.reader import Reader
from captcha_fastai.synth import save_captchas
from captcha_fastai.train import train_reader
from conftest import ENV, inside, run

def quiet(*args): pass

@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    "A training in this process is done after an epoch"
    monkeypatch.setattr(crnn_small, 'tune', Recipe(1, 1e-3))

def write_labels(file, pairs):
    with open(file, 'w', newline='') as f: csv.writer(f).writerows([('file','text'), *pairs])

def counted(tmp, n=60, length=4, chars='2345bcdx', seed=5, folder='pics'):
    "A folder of captchas called img_0001.png and so on, and their texts by name"
    (tmp/folder).mkdir()
    texts = {}
    for i,f in enumerate(save_captchas(n, tmp/f'{folder}-drawn', chars=chars, length=length, seed=seed), 1):
        texts[f'img_{i:04d}.png'] = captcha_label(f)
        shutil.move(f, tmp/folder/f'img_{i:04d}.png')
    return tmp/folder,texts

@pytest.fixture(scope='module')
def some(tmp_path_factory):
    "Sixty pictures; labels of those in which there is no x"
    pics,texts = counted(tmp_path_factory.mktemp('newcomer'))
    labelled = {k:v for k,v in texts.items() if 'x' not in v}
    write_labels(pics/'labels.csv', list(labelled.items())[:20])
    return pics,texts

@pytest.fixture(scope='module')
def reader(tmp_path_factory):
    "A saved reader of few characters"
    tmp = tmp_path_factory.mktemp('reader')
    save_captchas(40, tmp/'drawn', chars='2345', length=4, seed=1)
    train_reader(tmp/'drawn', tmp/'mine', epochs=1, log=quiet)
    return tmp/'mine'

# What captcha_annotate prints

@pytest.mark.parametrize('given,carried,not_carried', [
    ([], ['--unlabelled', '--chars auto'], ['--length', '--pattern', '--reader']),
    (['--length', 4, '--chars', '2345bcdx$'], ['--length 4', "--chars '2345bcdx$'"], ['auto']),
    (['--pattern', '[2-5b-dx]{4}'], ["--pattern '[2-5b-dx]{4}'", '--chars auto'], []),
])
def test_next_line(some, tmp_path, monkeypatch, given, carried, not_carried):
    pics,texts = some
    shutil.copytree(pics, tmp_path/'my pics')
    monkeypatch.chdir(tmp_path)
    if '2345bcdx$' in given: given[-1] = '2345bcdx'
    carried = [o.replace("'2345bcdx$'", '2345bcdx') for o in carried]
    (tmp_path/'my_reader').mkdir()
    res = run('captcha_annotate', 'my pics', '--n', 1, *given, input='\n', cwd=tmp_path)
    line = next(o for o in res.stderr.splitlines() if o.startswith('next: '))
    assert all(o in line for o in carried) and not any(o in line for o in not_carried), line
    words = shlex.split(line)
    assert words[:3]==['next:', 'captcha_train', 'my pics/labels.csv'] and words[-2:]==['--out', 'my_reader-2']
    assert words[words.index('--unlabelled')+1]=='my pics'

# Characters and lengths that labels don't show

def test_characters_that_no_label_has(some, tmp_path):
    pics,texts = some
    n = sum('x' in t for t in texts.values())
    res = inside('captcha_train', pics/'labels.csv', '--unlabelled', pics, '--out', tmp_path/'r')
    assert res.returncode==2 and not list(tmp_path.iterdir())
    m = re.search(r'some hold characters that no label has: x in (\d+); give --chars auto .*, as --chars 2345bcdx',
                  res.stderr)
    assert m and n/4<int(m[1])<=n, res.stderr
    said = []
    res = train_reader(pics/'labels.csv', None, unlabelled=pics, chars='auto', log=said.append)
    assert set(res.reader.vocab.chars)==set('2345bcdx')
    assert any(o.startswith('characters that no label has, taken from') for o in said)
    assert any(o.startswith('round 1 of at most 3: ') for o in said)

def test_lengths_that_no_label_has(tmp_path):
    pics,texts = counted(tmp_path, length=(4,5))
    write_labels(pics/'labels.csv', [o for o in texts.items() if len(o[1])==4][:20])
    def train(**how): return train_reader(pics/'labels.csv', None, unlabelled=pics, log=quiet, **how)
    with pytest.raises(CaptchaError, match="a length that no label has: 5 in .*give length='4-5', or chars='auto'"):
        train(chars=None)
    train(length='4-5')

def test_worse_than_start_is_said(some, tmp_path):
    "Told characters that lack one of them, as the labels do"
    pics,texts = some
    said = []
    res = train_reader(pics/'labels.csv', None, unlabelled=pics, chars='auto', log=said.append)
    figures = res.figures
    assert figures['worse_than_start'] in (True,False)
    assert said[-1].startswith('WORSE')==figures['worse_than_start']
    assert {'labelled','start_labelled_right','labelled_right','start_sure','sure_same'}<=set(figures)
    assert res.reader.spec.info['training']==figures
    # a training that spoils the weights
    def spoil(learn, **how):
        for p in learn.model.parameters(): p.data.mul_(0)
    drawn = tmp_path/'drawn'
    save_captchas(30, drawn, chars='2345', length=4, seed=1)
    res = train_reader(drawn, tmp_path/'r', log=said.append, fit=spoil)
    assert res.figures['worse_than_start'] is True and res.figures['labelled_right']==0, res.figures
    assert said[-1].startswith('WORSE than the reader that it started from: 0 of 30 labelled pictures read right')
    assert Reader.load(tmp_path/'r').spec.info['training']['worse_than_start'] is True
    assert train_reader(drawn, None, epochs=1, from_scratch=True, log=quiet).figures['worse_than_start'] is None

def test_few_pictures_have_an_interval(tmp_path):
    save_captchas(30, tmp_path/'drawn', chars='2345', length=4, seed=1)
    res = run('captcha_train', tmp_path/'drawn', '--out', tmp_path/'r', '--epochs', 1)
    figures = json.loads(res.stdout)
    low,high = (figures[f'valid_captcha_accuracy_{o}'] for o in ('low','high'))
    assert 0<=low<=figures['valid_captcha_accuracy']<=high<=1 and high-low>.3
    assert re.search(r'\d of the 3 pictures held back read right: between \d+% and \d+%', res.stderr), res.stderr
    assert 'Warning' not in res.stderr and 'None' not in res.stderr+res.stdout

# Labels that are none

def test_doubtful_labels_are_refused(some, tmp_path):
    pics,_ = some
    res = inside('captcha_train', pics, '--out', tmp_path/'r')
    assert res.returncode==2 and not list(tmp_path.iterdir()) and res.stderr.count('\n')==1
    assert f"all 60 labels are 'img': no texts of pictures, it seems; {pics/'labels.csv'} has labels, give that" in res.stderr
    assert res.stderr.endswith('give --yes\n')
    shutil.copytree(pics, tmp_path/'p')
    (tmp_path/'p'/'labels.csv').unlink()
    with pytest.raises(CaptchaError, match='name each picture after'): train_reader(tmp_path/'p', None, log=quiet)
    train_reader(tmp_path/'p', None, yes=True, log=quiet)

@pytest.mark.parametrize('name', ['pretrained', 'pretrained/crnn_small'])
def test_names_of_readers_in_the_package_are_taken(name, some, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptchaError, match=f"out can't be {name}: "): train_reader(some[0], name, log=quiet)
    assert not list(tmp_path.iterdir())

# What is started from

def test_long_texts_start_from_the_weights(tmp_path):
    save_captchas(30, tmp_path/'drawn', chars='2345', length=12, seed=1)
    said = []
    train_reader(tmp_path/'drawn', None, epochs=1, log=said.append)
    assert any(o.startswith('from the weights in the package') for o in said), said

@pytest.mark.parametrize('text', ['2345 (1)x', '2'*60])
def test_one_odd_label_loses_no_weights(tmp_path, text):
    save_captchas(30, tmp_path/'drawn', chars='2345', length=4, seed=1)
    f = picture_files(tmp_path/'drawn')[0]
    f.rename(f.with_name(f'{text}.png'))
    said = []
    train_reader(tmp_path/'drawn', None, epochs=1, skip_bad=True, log=said.append)
    assert any(o.startswith('from the weights') for o in said), said
    assert any('odd label: ' in o and repr(text) in o for o in said), said

def test_no_sure_reading_names_drawing(tmp_path):
    pics,texts = counted(tmp_path, 30)
    write_labels(pics/'labels.csv', list(texts.items())[:24])
    said = []
    train_reader(pics/'labels.csv', None, unlabelled=pics, length=4, chars='2345bcdx', log=said.append)
    assert any('give draw=4000 and fit_style=True' in o for o in said), said

def test_start_from_own_reader(reader, tmp_path):
    save_captchas(30, tmp_path/'drawn', chars='2345bc', length=6, seed=2)
    res = run('captcha_train', tmp_path/'drawn', '--reader', reader, '--out', tmp_path/'next', '--epochs', 1)
    assert res.returncode==0 and f'from the reader {reader}; characters new to them: bc' in res.stderr, res.stderr
    for how,why in ((['--from-scratch'], 'leave --from-scratch out'), (['--arch', 'crnn'], 'crnn')):
        res = inside('captcha_train', tmp_path/'drawn', '--reader', reader, '--out', tmp_path/'no', *how)
        assert res.returncode==2 and why in res.stderr and not (tmp_path/'no').exists(), res.stderr
    res = inside('captcha_train', tmp_path/'drawn', '--reader', tmp_path/'nowhere', '--out', tmp_path/'no')
    assert res.returncode==2 and 'nowhere' in res.stderr

def test_copies_of_labelled_pictures_are_left_out(tmp_path):
    pics,texts = counted(tmp_path, 40)
    (tmp_path/'mine').mkdir()
    for i,(k,v) in enumerate(texts.items()):
        if i<20: shutil.copy(pics/k, tmp_path/'mine'/f'{v}_{i}.png')
    said = []
    res = train_reader(tmp_path/'mine', None, unlabelled=pics, length=4, chars='2345bcdx', log=said.append)
    assert any(o.startswith('20 pictures in ') and o.endswith('copies of labelled ones') for o in said)
    assert res.figures['start_sure']<=20

# Reading and scoring

def test_eval_fold_case(tmp_path):
    files = save_captchas(20, tmp_path/'case', chars='ABDEFGHLMN2346', length=4, seed=2)
    write_labels(tmp_path/'case'/'labels.csv', [(f.name, captcha_label(f).lower()) for f in files])
    def score(*args):
        res = inside('captcha_eval', 'pretrained', tmp_path/'case'/'labels.csv', '--show', 0, *args)
        assert res.returncode==0, res.stderr
        return json.loads(res.stdout.splitlines()[-1])['captcha_accuracy']
    plain,folded,told = score(), score('--fold-case'), score('--fold-case', '--chars', 'abdefghlmn2346')
    assert plain<.3 and folded>.5 and told>=folded

def test_read_as_json(reader, tmp_path):
    good = save_captchas(2, tmp_path/'drawn', seed=1)
    (tmp_path/'drawn'/'broken.png').write_bytes(b'no picture')
    res = inside('captcha_read', reader, tmp_path/'drawn', '--json')
    lines = list(map(json.loads, res.stdout.splitlines()))
    assert res.returncode==1 and len(lines)==3 and all(set(o)=={'file','text','confidence','error'} for o in lines)
    assert sum(o['error'] is None for o in lines)==len(good) and any('broken.png' in (o['error'] or '') for o in lines)

def test_reader_forgotten(tmp_path):
    save_captchas(2, tmp_path/'drawn', seed=1)
    assert 'READER comes first' in inside('captcha_read', tmp_path/'drawn').stderr
    assert 'no pictures were given' in inside('captcha_read', 'pretrained').stderr

@pytest.mark.parametrize('name', ['draw','train','eval','read','annotate','demo'])
def test_version(name):
    res = inside(f'captcha_{name}', '--version')
    assert res.returncode==0 and re.fullmatch(rf'captcha_{name} \d+\.\d+\S*\n', res.stdout)

def test_package_as_command(reader, tmp_path):
    files = save_captchas(1, tmp_path/'drawn', seed=1)
    def module(*args):
        how = dict(capture_output=True, text=True, env=ENV, timeout=120)
        return subprocess.run([sys.executable, '-m', 'captcha_fastai', *map(str, args)], **how)
    listed = module()
    assert listed.returncode==0 and all(f'\n  {o} ' in listed.stdout for o in ('draw','train','read','annotate'))
    assert module('nope').returncode==2 and "no command 'nope'" in module('nope').stderr
    res = module('read', reader, files[0])
    assert res.returncode==0 and res.stdout.startswith(str(files[0])+'\t'), res.stderr

# Labelling

def label(folder, answers, **kwargs):
    "What `annotate` says, and the labels, where these are the answers"
    said,given = [],iter(answers)
    def ask(prompt): return next(given, ':q')
    res = annotate(folder, folder/'labels.csv', ask=ask, show=quiet, log=said.append, **kwargs)
    return res.rows,'\n'.join(said)

def test_annotate_helps_and_mends(tmp_path):
    pics,_ = counted(tmp_path, 4)
    rows,said = label(pics, [':h', '?', '2345', 'bcdx'])
    assert said.count('Enter takes what is proposed')==2 and list(rows.values())==['2345','bcdx']
    first,second = rows
    rows,said = label(pics, [':u', f':e {first}', '5432', ':e nope.png'])
    assert f':e {second} mends the last label' in said and rows=={first:'5432', second:'bcdx'}
    assert 'no label of nope.png' in said and '0 labels added' in said
    rows,_ = label(pics, [f':e {first}', '2222', ':u'])
    assert rows[first]=='5432'
    rows,_ = label(pics, [f':e {first}', ''])
    assert rows[first]=='5432'
    rows,_ = label(pics, ['?', '?'])
    assert '?' in rows.values()

@pytest.mark.parametrize('text,why', [
    ('23452', 'it has 5 characters, not 4'), ('23z5', "'z' is not among the characters")])
def test_annotate_says_what_is_odd(reader, tmp_path, text, why):
    pics,_ = counted(tmp_path, 2)
    made = Reader.load(reader)
    _,said = label(pics, [text], reader=made, constraint=made.constraint(4, '2345'))
    assert f"'{text}' is not what you said of the texts: {why}" in said
    _,said = label(pics, ['2\u200b34'])
    assert 'U+200B (zero width space)' in said

# Labels in small letters, pictures in both cases

@pytest.mark.parametrize('chars,lost', [('ABDEGHNRQabdeghnrq', True), ('abdeghnrq', False)])
def test_labels_that_lost_the_case(tmp_path, chars, lost):
    "Pictures show capitals and labels don't: it is said, letters keep both their shapes, and proposals become labels"
    pics,texts = counted(tmp_path, 60, 4, chars, 7)
    write_labels(pics/'labels.csv', [(k,v.lower()) for k,v in texts.items()][:20])
    said = []
    made = train_reader(pics/'labels.csv', None, valid_pct=0, log=said.append, yes=True)
    line = 'show letters in the case that no label has: small letters and capitals are taken for the same'
    assert any(line in o for o in said)==lost and made.reader.spec.arch_args.get('either_case', False)==lost
    assert set(made.reader.vocab.chars)<=set(chars.lower())
    more = train_reader(pics/'labels.csv', None, valid_pct=0, log=said.append, yes=True, unlabelled=pics, chars='auto')
    assert set(more.reader.vocab.chars)<=set(chars.lower())
    assert any(o['step'].startswith('round') for o in more.figures['steps'])

def test_labels_that_tell_the_case_are_left_alone(tmp_path):
    pics,texts = counted(tmp_path, 20, 4, 'ABDEGHNRQabdeghnrq', 7)
    write_labels(pics/'labels.csv', texts.items())
    said = []
    made = train_reader(pics/'labels.csv', None, valid_pct=0, log=said.append, yes=True)
    assert not any('case' in o for o in said) and 'either_case' not in made.reader.spec.arch_args
