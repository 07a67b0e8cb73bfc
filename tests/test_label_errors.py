"Planted wrong labels are found, corrections are taken, pages hold what they promise; pictures and labels stay"
import csv
import json
import shutil

import pytest
from PIL import Image

from conftest import inside
from captcha_fastai.core import CaptchaError
from captcha_fastai.labels import odd_labels
from captcha_fastai.label_errors import (contact_sheet, find_label_errors, load_corrected, near_copies,
                                         read_corrections)
from captcha_fastai.pages import page, picture_uri
from captcha_fastai.reader import Reader
from captcha_fastai.report import score_reader
from captcha_fastai.synth import save_captchas

def quiet(*_): pass

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    "Forty captchas, two of them with the labels of each other, one with a wrong letter; and their right labels"
    folder = tmp_path_factory.mktemp('label_errors')/'drawn'
    files = [f.name for f in save_captchas(40, folder, seed=7)]
    truth = {f: f.split('_')[0] for f in files}
    labels = truth | {files[3]: truth[files[20]], files[20]: truth[files[3]]}
    labels[files[30]] = truth[files[30]][:-1]+('x' if truth[files[30]][-1] != 'x' else 'y')
    write(folder/'labels.csv', labels)
    return folder, truth, [files[i] for i in (3, 20, 30)]

def write(file, labels):
    with open(file, 'w', newline='') as f: csv.writer(f).writerows([('file', 'text'), *labels.items()])
    return file

@pytest.fixture(scope='module')
def reader(): return Reader.load('pretrained', device='cpu')

def test_a_reader_finds_them(drawn, reader):
    folder, truth, wrong = drawn
    found = find_label_errors(folder/'labels.csv', reader, log=quiet)
    assert list(found.columns) == ['file', 'text', 'proposed', 'confidence', 'why']
    assert set(found.file[:3]) == set(wrong), found.to_string()
    for o in found[:3].itertuples(): assert o.proposed == truth[o.file] != o.text and o.confidence > .97
    assert 'exchanged?' in ' '.join(found.why[:3])
    assert find_label_errors(folder, reader, log=quiet).file.isin(wrong).sum() == 0   # by their names all are right

def test_models_out_of_fold_find_them(drawn):
    folder, _, wrong = drawn
    found = find_label_errors(folder/'labels.csv', folds=2, epochs=2, log=quiet)
    assert set(found.file[:3]) == set(wrong), found.to_string()

def test_what_needs_no_model(drawn, reader, tmp_path):
    folder, truth, _ = drawn
    name = next(iter(truth))
    shutil.copy(folder/name, tmp_path/name)
    Image.open(folder/name).save(tmp_path/'zzzzz_copy.jpg', quality=92)
    Image.new('L', (200, 50), 200).save(tmp_path/'2b4m7_blank.png')
    (tmp_path/'2b4m8_bad.png').write_bytes(b'none')
    found = find_label_errors(tmp_path, reader, log=quiet).set_index('file')
    assert found.why['2b4m7_blank.png'].endswith('shows nothing') and found.proposed['2b4m7_blank.png'] == ''
    assert 'not a picture' in found.why['2b4m8_bad.png']
    assert found.proposed['zzzzz_copy.jpg'] == truth[name] and f'as {name}' in found.why['zzzzz_copy.jpg']
    assert name not in found.index   # the reader agrees with its label

def test_odd_labels():
    texts = ['2b4m', 'x3n7']*10+['2b4m2b4m', 'x3n€']
    assert odd_labels(texts) == {20: 'has 8 characters, where others have 4 at most', 21: "alone holds '€'"}

def test_different_pictures_are_no_copies(drawn):
    folder, truth, _ = drawn
    assert near_copies([folder/f for f in truth]) == []

def test_corrections(drawn, reader, tmp_path):
    folder, truth, wrong = drawn
    before = {f: f.read_bytes() for f in folder.iterdir()}
    fixed = write(tmp_path/'fixed.csv', {f: truth[f] for f in wrong[:2]} | {wrong[2]: ''})
    _, files, texts = load_corrected(folder/'labels.csv', fixed)
    assert dict(zip(map(str, files), texts)) == {k: v for k, v in truth.items() if k != wrong[2]}
    plain, better = (score_reader(reader, folder/'labels.csv', corrections=o)[0] for o in (None, fixed))
    assert plain['n'] == 40 and better['n'] == 39 and better['captcha_accuracy'] > plain['captcha_accuracy']
    assert find_label_errors(folder/'labels.csv', reader, corrections=fixed, log=quiet).file.isin(wrong).sum() == 0
    assert {f: f.read_bytes() for f in folder.iterdir()} == before

@pytest.mark.parametrize('rows,says', [
    ({'gone.png': '2b'}, 'gone.png, which is not among the pictures'), ('file\na.png\n', "no column 'text'"),
    ('file,text\na.png,x\na.png,y\n', 'corrects a.png twice'),
])
def test_corrections_that_make_no_sense(drawn, rows, says, tmp_path):
    file = tmp_path/'fixed.csv'
    if isinstance(rows, str): file.write_text(rows)
    else: write(file, rows)
    with pytest.raises(CaptchaError, match=says): load_corrected(drawn[0], file)

def test_command_writes_table_and_page(drawn, tmp_path):
    folder, truth, wrong = drawn
    table, sheet = tmp_path/'found.csv', tmp_path/'check.html'
    res = inside('captcha_check', folder/'labels.csv', '--reader', 'pretrained', '--csv', table, '--report', sheet)
    assert res.returncode == 0 and 'worth a look' in res.stderr, res.stderr
    rows = list(csv.DictReader(open(table)))
    assert [o['file'] for o in rows] == [o.split('\t')[0] for o in res.stdout.splitlines()]
    assert list(rows[0]) == ['file', 'text', 'proposed', 'confidence', 'why']
    assert set(wrong) <= {o['file'] for o in rows}
    text = sheet.read_text()
    assert text.count('class="card"') == len(rows) and text.count('<img') == len(rows) and 'http' not in text
    fixed = write(tmp_path/'fixed.csv', {o['file']: o['proposed'] for o in rows})
    before, after = (inside('captcha_eval', 'pretrained', folder/'labels.csv', *more)
                     for more in ((), ('--corrections', fixed)))
    assert after.returncode == 0, after.stderr
    was, now = (json.loads(o.stdout.splitlines()[-1])['captcha_accuracy'] for o in (before, after))
    assert now >= was+2/40-1e-6   # where a w isn't taken for a W

def test_training_takes_corrections(drawn, tmp_path):
    folder, truth, wrong = drawn
    fixed = write(tmp_path/'fixed.csv', {wrong[2]: ''})
    res = inside('captcha_train', folder/'labels.csv', '--out', tmp_path/'r', '--epochs', 1, '--corrections', fixed)
    assert res.returncode == 0, res.stderr
    figures = json.loads(res.stdout.splitlines()[-1])
    assert figures['n_train']+figures['n_valid'] == 39

def test_too_few_to_train_on(drawn, tmp_path):
    for f in list(drawn[1])[:4]: shutil.copy(drawn[0]/f, tmp_path/f)
    with pytest.raises(CaptchaError, match='too few for 3 folds'): find_label_errors(tmp_path, log=quiet)

def test_names_are_escaped(drawn, reader, tmp_path):
    name = '<b>2b4m7&_1.png'
    shutil.copy(drawn[0]/next(iter(drawn[1])), tmp_path/name)
    found = find_label_errors(tmp_path, reader, log=quiet)
    assert len(found) and '<b>2b4m7&_1' not in contact_sheet(found, tmp_path, tmp_path/'a.html').read_text()
    assert '<script>' not in page('<script>', '')
    assert len(picture_uri(Image.new('L', (5000, 900)))) < 20000

def test_a_table_of_corrections_may_be_empty(tmp_path):
    (tmp_path/'none.csv').write_text('file,text\n')
    assert read_corrections(tmp_path/'none.csv') == {}

@pytest.mark.parametrize('small', [True, False])
def test_labels_in_one_case_are_found_out(small, tmp_path, monkeypatch):
    "Where labels fold case and pictures don't, captcha_check and captcha_plan train as captcha_train does, and say so"
    from captcha_fastai import label_errors, plan
    files,asked,lines = save_captchas(40, tmp_path/'drawn', 'adeghnqrABDEGHNQR', 4, seed=6),[],[]
    texts = [f.stem.split('_')[0] for f in files]
    data = write(tmp_path/'drawn'/'labels.csv', {f.name: t.lower() if small else t for f,t in zip(files, texts)})
    class Stop(Exception): pass
    def out_of_fold(*args, **kwargs):
        asked.append(args[6])
        raise Stop
    for module,f in ((label_errors, find_label_errors), (plan, plan.learning_curve)):
        monkeypatch.setattr(module, 'out_of_fold', out_of_fold)
        with pytest.raises(Stop): f(data, log=lines.append)
    assert asked==[small]*2
    assert sum('are taken for the same' in str(o) for o in lines)==2*small

@pytest.mark.parametrize('case', [str.lower, str.upper])
def test_a_reader_minds_labels_in_one_case(case, tmp_path, reader):
    "Right labels in one case are not taken for wrong ones, and what is proposed is in that case"
    files = save_captchas(30, tmp_path/'drawn', 'abdeghnqrtABDEGHNQRT', 4, seed=3)
    labels = {f.name: case(f.stem.split('_')[0]) for f in files}
    wrong = files[4].name
    labels[wrong] = case('qq')+labels[wrong][2:]
    lines = []
    found = find_label_errors(write(tmp_path/'drawn'/'labels.csv', labels), reader, log=lines.append)
    assert any('are taken for the same' in str(o) for o in lines)
    assert wrong in set(found.file) and len(found)<=4
    assert all(o==case(o) for o in found.proposed)
