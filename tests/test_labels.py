"Labels: what is refused about them, and that a split never parts equal pictures; drawing: one error is not the other"
import shutil

import numpy as np
import pytest
from fastai.data.all import IndexSplitter, RandomSplitter
from hypothesis import given, settings, strategies as st
from PIL import Image

from captcha_fastai.annotate import Labels
from captcha_fastai.core import CaptchaError
from captcha_fastai.pictures import picture_files
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.labels import captcha_label, check_data, load_labels, read_labels
from captcha_fastai.styles import fit_style
from captcha_fastai.synth import DoesNotFit, CaptchaStyle, draw_captcha, draw_captchas, save_captchas

# Drawing: what a shorter text would cure, and what it would not

WHITE = [Image.new('L', (200,50), 255)]*8
WIDE = {'a text': lambda tmp: draw_captcha('m'*99),
        'a random text': lambda tmp: draw_captchas(1, length=99),
        'more characters than pixels': lambda tmp: draw_captchas(1, length=201),
        'a text for a file': lambda tmp: save_captchas(3, tmp/'drawn', length=99),
        'every random style': lambda tmp: fit_style(WHITE, length=90, start=4)}
OTHER = {'a missing glyph': (lambda tmp: draw_captcha('漢字'), 'no glyph'),
         'a missing glyph in a random text': (lambda tmp: draw_captchas(1, '漢', 99), 'no glyph'),
         'a missing glyph in every style tried':
             (lambda tmp: fit_style(WHITE, '2漢', 3, start=4, fonts=('DejaVuSans',)), 'no glyph'),
         'no font for all characters': (lambda tmp: fit_style(WHITE, '2\ue123', 3), 'no installed font'),
         'no text': (lambda tmp: draw_captcha(''), 'no text'),
         'no such font': (lambda tmp: draw_captcha('2b', CaptchaStyle(fonts=('Nowhere',))), "no font 'Nowhere'"),
         'no such style': (lambda tmp: draw_captcha('2b', 'fancy'), 'choose from classic'),
         'channels of a style': (lambda tmp: CaptchaStyle(channels=2), 'channels=2'),
         'a style without fonts': (lambda tmp: CaptchaStyle(fonts=()), 'at least one font'),
         'an empty list of styles': (lambda tmp: draw_captchas(1, style=[]), 'empty list'),
         'no characters': (lambda tmp: draw_captchas(1, ''), 'chars is empty'),
         'a length of 0': (lambda tmp: draw_captchas(1, length=0), 'length=0'),
         'a length that goes down': (lambda tmp: draw_captchas(1, length=(5,3)), 'length=(5, 3)'),
         'a slash in a name': (lambda tmp: save_captchas(1, tmp/'drawn', chars='2/'), 'cannot be part of a label'),
         'a folder that holds something': (lambda tmp: save_captchas(1, tmp.parent), 'not an empty folder')}

@pytest.mark.parametrize('what', WIDE)
def test_too_wide(what, tmp_path):
    with pytest.raises(DoesNotFit, match='does not fit in|no random style holds'): WIDE[what](tmp_path)
    assert not (tmp_path/'drawn').exists()

@pytest.mark.parametrize('what', OTHER)
def test_not_too_wide(what, tmp_path):
    "A shorter text would be the wrong cure"
    do,says = OTHER[what]
    with pytest.raises(CaptchaError) as e: do(tmp_path)
    assert not isinstance(e.value, DoesNotFit) and says in str(e.value) and '\n' not in str(e.value)
    assert not (tmp_path/'drawn').exists()

# Tables

HEAD = 'file,text\n'
TABLES = {'no content': ('', 'is empty'), 'blank lines': ('\n \n', 'is empty'), 'no rows': (HEAD, 'has no rows'),
          'semicolons': ('file;text\na.png;22b', 'parted by semicolons, save it with commas'),
          'tabs': ('file\ttext\na.png\t22b', 'parted by tabs'), 'bars': ('file|text\na.png|22b', 'parted by bars'),
          'other columns': ('name,label\na.png,22b', 'call its columns file and text'),
          'a quote that is not closed': (HEAD+'"a.png,22b\nb.png,22b', 'close the quote'),
          'a quote that is closed later': (HEAD+'a.png,"22b\nb.png,22b"', 'see that each quote is closed'),
          'a comma in a label': (HEAD+'a.png,2,2', 'a text that holds a comma in quotes'),
          'a comma in a later label': (HEAD+'a.png,2\nb.png,2,2', 'a text that holds a comma in quotes'),
          'two texts for a file': (HEAD+'a.png,2b\n./a.png,2m', "twice, as '2b' and as '2m'"),
          'a mark of width zero': (HEAD+'a.png,2\u200bb', "a sign that can't be seen"),
          'UTF-16': (HEAD+'a.png,22b', 'a byte of zero', 'utf-16'), 'Latin-1': (HEAD+'a.png,é', 'byte 0xe9', 'latin-1')}

@pytest.mark.parametrize('what', TABLES)
def test_table(what, tmp_path):
    text,says,*encoding = TABLES[what]
    (tmp_path/'t.csv').write_bytes(text.encode(*encoding))
    with pytest.raises(CaptchaError) as e: load_labels(tmp_path/'t.csv')
    assert says in str(e.value) and 't.csv' in str(e.value) and '\n' not in str(e.value)

def test_table_that_will_do(tmp_path):
    "A byte order mark, blanks behind commas, a label with a comma, 007, nan, a file that stands twice with one text"
    text = '\ufefffile, text\na.png, 007\nb.png, nan\nc.png, "2,2"\n./a.png, 007\nd.png, e\u0301\n'
    (tmp_path/'t.csv').write_text(text, encoding='utf-8')
    root,files,texts = load_labels(tmp_path/'t.csv')
    assert (root,files) == (tmp_path, ['a.png','b.png','c.png','./a.png','d.png'])
    assert texts == ['007','nan','2,2','007','é']

def test_table_whose_last_label_is_taken_back(tmp_path):
    labels = Labels(tmp_path/'t.csv')
    labels.add(tmp_path/'a.png', '2b')
    labels.remove(tmp_path/'a.png')
    labels.add(tmp_path/'b.png', '2m')
    assert Labels(tmp_path/'t.csv').rows == {'b.png':'2m'}

def test_no_table(tmp_path):
    Image.new('L', (20,10)).save(tmp_path/'22b.png')
    with pytest.raises(CaptchaError, match='is a picture, no table'): load_labels(tmp_path/'22b.png')
    with pytest.raises(CaptchaError, match='no such file or folder'): load_labels(tmp_path/'nowhere')
    with pytest.raises(CaptchaError, match='cannot read'): read_labels(tmp_path/'nowhere.csv')
    (tmp_path/'empty').mkdir()
    with pytest.raises(CaptchaError, match='no pictures in'): load_labels(tmp_path/'empty')

# Labels and splits

@pytest.fixture(scope='module')
def eight(tmp_path_factory):
    "Eight different pictures"
    tmp,rng = tmp_path_factory.mktemp('eight'),np.random.default_rng(0)
    for i in range(8): Image.fromarray(rng.integers(0, 256, (8,16), dtype=np.uint8)).save(tmp/f'{i}.png')
    return tmp

LABELS = {'an empty one': ('', 'its label is empty'), 'a blank': ('  ', 'its label is empty'),
          'half a character': ('2\udcff', 'bytes that are no UTF-8'), 'a tab': ('2\tb', "a sign that can't be seen"),
          'an unknown character': ('2x', "character 'x' of its label '2x' is not in the vocabulary '2b'")}

@pytest.mark.parametrize('what', LABELS)
def test_label(what, eight):
    text,says = LABELS[what]
    args = eight, ['0.png','1.png'], ['2b',text]
    with pytest.raises(CaptchaError) as e: CaptchaDataLoaders.from_lists(*args, vocab='2b', valid_pct=0)
    assert says in str(e.value) and str(eight/'1.png') in str(e.value) and 'skip_bad=True' in str(e.value)
    dls = CaptchaDataLoaders.from_lists(*args, vocab='2b', valid_pct=0, skip_bad=True, device='cpu')
    assert (len(dls.report), [o[:2] for o in dls.report.left_out]) == (1, [(1,eight/'1.png')])

ARGS = {'labels that are too few': (dict(labels=['2']), '8 pictures but 1 labels'),
        'no pictures': (dict(fnames=[], labels=[]), 'no pictures were given'),
        'a share of 1': (dict(valid_pct=1), 'valid_pct must be'),
        'a share below 0': (dict(valid_pct=-.1), 'valid_pct must be'),
        'batches of 0': (dict(bs=0), 'bs must be'),
        'no picture that will do': (dict(labels=['']*8, skip_bad=True), 'none of 8 pictures can be used'),
        'many bad ones': (dict(labels=['']*8), '5 more; mend or remove'),
        'nothing to train on': (dict(splitter=IndexSplitter(range(8))), 'leave none to train on'),
        'nothing to validate on': (dict(splitter=IndexSplitter([])), 'no picture to validate on')}

@pytest.mark.parametrize('what', ARGS)
def test_arguments(what, eight):
    change,says = ARGS[what]
    kwargs = dict(fnames=[f'{i}.png' for i in range(8)], labels=['2b']*8, device='cpu') | change
    with pytest.raises(CaptchaError) as e: CaptchaDataLoaders.from_lists(eight, **kwargs)
    assert says in str(e.value)

@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=14), st.floats(0, .99), st.integers(0, 99))
def test_a_split_never_shares_a_picture(eight, which, valid_pct, seed):
    "However often a picture occurs, all its copies are on one side, and none is lost"
    files = [f'{i}.png' for i in which]
    kwargs = dict(valid_pct=valid_pct, seed=seed, batch_tfms=[], device='cpu')
    try: dls = CaptchaDataLoaders.from_lists(eight, files, ['ab']*len(files), **kwargs)
    except CaptchaError as e:
        assert 'none to train on' in str(e) or 'no picture to validate on' in str(e)
        return
    train,valid = ([f.name for f,_ in ds.items] if len(ds) else [] for ds in (dls.train_ds, dls.valid_ds))
    assert not set(train)&set(valid) and sorted(train+valid)==sorted(files) and train
    assert bool(valid)==bool(valid_pct) and not dls.report.leaked

def test_a_split_of_ones_own_is_reported(eight):
    files = ['0.png','1.png','0.png','2.png']
    dls = CaptchaDataLoaders.from_lists(eight, files, ['a','b','a','c'], splitter=IndexSplitter([0,3]), device='cpu')
    assert dls.report.duplicates==[[0,2]] and dls.report.leaked==[[eight/'0.png']*2] and not dls.report.contradictions
    assert 'both sides: ' in repr(dls.report)

def test_a_split_stays_once_bad_files_are_mended(eight, tmp_path):
    shutil.copytree(eight, tmp_path/'d')
    good = (tmp_path/'d'/'3.png').read_bytes()
    files = picture_files(tmp_path/'d')
    def valid():
        dls = CaptchaDataLoaders.from_folder(tmp_path/'d', valid_pct=.4, skip_bad=True, device='cpu')
        assert set(RandomSplitter(.4, seed=42)(files)[1]) >= {files.index(f) for f,_ in dls.valid_ds.items}
        return {f.name for f,_ in dls.valid_ds.items}
    (tmp_path/'d'/'3.png').write_bytes(good[:40])
    with_bad = valid()
    (tmp_path/'d'/'3.png').write_bytes(good)
    assert valid()-{'3.png'} == with_bad

def test_report_of_a_damaged_folder(eight, tmp_path):
    shutil.copytree(eight, tmp_path/'d')
    (tmp_path/'d'/'9.png').write_bytes(b'')
    shutil.copy(eight/'1.png', tmp_path/'d'/'7_copy.png')
    files = picture_files(tmp_path/'d')
    report,opened = check_data(files, files.map(captcha_label))
    assert [[f.name for f in g] for g in report.contradictions] == [['1.png','7_copy.png']]
    assert [f.name for _,f,_ in report.left_out] == ['9.png'] and set(opened) == set(files)-{tmp_path/'d'/'9.png'}
    assert check_data(files, files.map(captcha_label), hold_mb=0)[1] == {}
