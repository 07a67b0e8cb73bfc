"What a reader was measured by out of fold is kept with it, and decides what it answers"
import json
from dataclasses import replace

import numpy as np
import pytest

from conftest import inside
from captcha_fastai.calibrate import accept_table, chance_error
from captcha_fastai.core import CaptchaError
from captcha_fastai.reader import Reader
from captcha_fastai.synth import save_captchas

@pytest.fixture(scope='module')
def made(tmp_path_factory):
    "A reader trained with folds, its data, and what the training said"
    tmp = tmp_path_factory.mktemp('calibrate')
    save_captchas(30, tmp/'drawn', seed=3)
    res = inside('captcha_train', tmp/'drawn', '--out', tmp/'reader', '--epochs', 1, '--folds', 2)
    assert res.returncode == 0, res.stderr
    return tmp/'reader', tmp/'drawn', res

def test_training_keeps_what_it_measured(made):
    folder, _, res = made
    kept = json.loads((folder/'reader.json').read_text())['facts']['acceptance']
    assert kept['n'] == 30 and kept['folds'] == 2 and kept['temperature'] > 0 and 'out of fold' in res.stderr
    answered, wrong = zip(*[(n, w) for _, n, w in kept['curve']])
    assert sorted(answered) == list(answered) and sorted(set(wrong)) == list(wrong) and answered[-1] == 30
    assert 30-wrong[-1] == kept['right']
    assert set(json.loads((folder/'reader.json').read_text())) >= {'format_version', 'arch', 'vocab'}

def test_accept_answers_what_was_sure(made):
    folder, drawn, _ = made
    plain = inside('captcha_read', folder, drawn).stdout.splitlines()
    res = inside('captcha_read', folder, drawn, '--accept', .9)
    assert res.returncode == 0 and 'answered' in res.stderr, res.stderr
    n = 0
    for a, b in zip(plain, res.stdout.splitlines()):
        a, b = a.split('\t'), b.split('\t')
        assert a[0] == b[0] and b[1] in ('', a[1])
        n += b[1] != ''
    assert f'{n} of 30 answered' in res.stderr

def test_without_folds_it_is_refused(made):
    res = inside('captcha_read', 'pretrained', made[1], '--accept', .999)
    assert res.returncode == 2 and '--folds' in res.stderr and not res.stdout

@pytest.mark.parametrize('command', ['train', 'check'])
def test_a_model_that_writes_is_refused(made, command, tmp_path):
    "What it says of a label depends on what it wrote before, so that nothing of this kind can be measured"
    from captcha_fastai.label_errors import find_label_errors
    from captcha_fastai.train import train_reader
    from captcha_fastai.transformer import captcha_transformer
    with pytest.raises(CaptchaError, match='captcha_transformer writes one character after the other'):
        if command == 'check': find_label_errors(made[1], arch=captcha_transformer, log=lambda _: None)
        else: train_reader(made[1], tmp_path/'out', captcha_transformer, folds=3, log=lambda _: None)
    assert not (tmp_path/'out').exists()

def test_folds_see_pictures_as_the_reader_will(made):
    "What is measured out of fold is measured on pictures in their shape, where the reader keeps it"
    from captcha_fastai.weights import data_like, reader_folder, shipped_weights
    assert data_like(None) == {}
    assert data_like(shipped_weights) == dict(size=(50,None), keep_shape=True)
    assert data_like(reader_folder('pretrained/crnn_small')) == dict(size=(50,200), keep_shape=False)

def test_a_share_that_was_never_reached(made):
    reader = Reader.load(made[0], device='cpu')
    never = dict(n=10, temperature=1., curve=[[.5, 4, 1], [.1, 10, 5]])
    reader.spec = replace(reader.spec, info=dict(acceptance=never))
    with pytest.raises(CaptchaError, match='ask for less'): reader.accepting(.99)
    assert reader.accepting(.75)[1:] == (.5, .4)
    assert accept_table(never, (.5, .99)).index.tolist() == [.5]

def test_chance_alone_makes_an_error():
    assert chance_error(np.ones(50)) == 0
    assert chance_error(np.full(50, .5)) > 3*chance_error(np.full(5000, .5)) > 0
