"What the chapters `probes`, `watch` and `faults` have no room for: the edges, and the script that makes the table"
import sys
import pandas as pd
import pytest
import torch
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.faults import broken_learner, faults, fit_broken, small_learners, small_style
from captcha_fastai.learner import captcha_learner
from captcha_fastai.probes import Probe, causes, found_causes
from captcha_fastai.synth import save_captchas
from captcha_fastai.transformer import captcha_transformer
from captcha_fastai.watch import CollapseWatch, overfit_check, some_pictures, symptoms
from conftest import ROOT

@pytest.fixture(scope='module')
def world(tmp_path_factory): return tmp_path_factory.mktemp('clinic')/'small'

def quiet(learn, *args):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args)
    return learn

def small(world, **kwargs): return broken_learner(world, n=24, **kwargs)

def test_watch_without_validation_pictures(tmp_path):
    save_captchas(24, tmp_path/'x', chars='24', length=(2,4), style=small_style, seed=0)
    watch = CollapseWatch()
    dls = CaptchaDataLoaders.from_folder(tmp_path/'x', valid_pct=0, bs=8, batch_tfms=[])
    quiet(captcha_learner(dls, captcha_transformer, arch_args=small_learners['transformer'][1], cbs=watch), 2)
    assert [o['valid'] for o in watch.history] == [None, None] and watch.reports == []

def test_watch_stops_at_the_first_infinite_loss(world):
    said = []
    learn = quiet(broken_learner(world, 'too_few_columns', n=100, cbs=CollapseWatch(stop=True, log=said.append)), 1)
    assert len(said) == 1 and 'inf' in said[0] and 'columns' in said[0].splitlines()[1]
    finite = all(o.isfinite().all() for o in learn.model.parameters())
    assert finite, 'the step with the infinite loss was still made'

def test_learner_with_a_watch_can_be_exported(world, tmp_path):
    learn = quiet(broken_learner(world, kind='ctc', n=16, cbs=CollapseWatch()), 1)
    assert learn.collapse_watch.xs == [], 'pictures would go into the file'
    learn.export(tmp_path/'learn.pkl')
    assert (tmp_path/'learn.pkl').stat().st_size > 1000

def test_overfit_check_leaves_the_training_as_it_would_have_been(world):
    def weights(check):
        torch.manual_seed(0)
        learn = broken_learner(world, kind='ctc', n=40)
        learn.dls.train.rng.seed(0)
        if check: overfit_check(learn, steps=5)
        torch.manual_seed(0)
        return torch.cat([o.detach().flatten() for o in quiet(learn, 1).model.parameters()])
    assert torch.equal(weights(False), weights(True))

@pytest.fixture
def clinic(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT/'benchmarks'))
    import clinic
    return clinic

def test_table_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys, clinic):
    out,made = tmp_path/'t.csv',[]
    def run(path, name, seed, cured):
        made.append((name, seed, cured))
        told = dict(symptom='leak', causes='not_shifted') if name == 'no_shift' else dict(symptom='', causes='')
        row = dict(run=name, seed=seed, cured=int(cured), seconds=0)
        return dict.fromkeys(clinic.COLS, '') | row | told
    monkeypatch.setattr(clinic, 'run', run)
    args = ['clinic.py', '--faults', 'no_shift,cut_by_batch3', '--seeds', '2', '--out', str(out)]
    monkeypatch.setattr(sys, 'argv', args)
    clinic.main()
    assert len(made) == len(set(made)) == 2*(2+2+1)   # two healthy ones, two faults, a cure of its own; on two seeds
    text = out.read_text().splitlines()
    out.write_text('\n'.join(text[:-3])+'\n')
    made.clear()
    clinic.main()
    assert len(made) == 3 and sorted(out.read_text().splitlines()) == sorted(text)
    said = capsys.readouterr().out
    assert 'symptom 2, cause 2' in said and 'symptom 0, cause 0' in said and 'healthy: 4 of 4 silent' in said

@pytest.mark.parametrize('name', ['clinic', 'watch'])
def test_stored_tables_are_read_in_the_words_of_today(clinic, name):
    df = clinic.read_table(ROOT/'benchmarks'/'results'/f'{name}.csv')
    told = [o for f in faults.values() for o in f.symptoms]
    assert set(df.symptom)-{''} <= set(symptoms) and 'overfit' in set(df.symptom) and 'overfit' in told
    assert {k for o in df.all_symptoms for k in o.split()} <= set(symptoms)
    assert {k for o in df.causes for k in o.split()} <= set(causes) and set(df.run) >= set(faults)

def test_a_run_makes_a_row_of_the_stored_table(world, clinic, monkeypatch):
    monkeypatch.setitem(small_learners, 'ctc', small_learners['ctc'][:2]+(dict(n_epoch=1, lr_max=1e-3),))
    row = clinic.run(world, 'too_few_columns_hidden', 0, False)
    assert set(row) <= set(clinic.COLS) and row['symptom'] == 'short' and row['taught'] == row['written'] != ''
    stored = pd.read_csv(ROOT/'benchmarks'/'results'/'clinic.csv', nrows=0)
    assert list(stored.columns) == clinic.COLS

def test_every_fault_names_a_cause_and_a_symptom_that_exist():
    for f in faults.values(): assert f.cause in causes and set(f.symptoms) <= set(symptoms), f.name
    for s in symptoms.values(): assert set(s.causes) <= set(causes), s.name

def test_a_validation_wipes_nothing(world):
    watch = CollapseWatch(log=lambda s: None)
    learn = small(world, name='no_shift', cbs=watch)
    fit_broken(learn, n_epoch=2)
    watch.reports.append('kept')
    was = list(watch.history)
    with learn.no_bar(), learn.no_logging():
        learn.validate()
        learn.get_preds()
    assert watch.reports[-1]=='kept' and watch.history==was and len(was)==2

def test_nan_names_no_wrong_cause(world):
    learn = small(world)
    with torch.no_grad(): learn.model.scores[-1].weight.fill_(float('nan'))
    assert not found_causes(Probe(learn, *some_pictures(learn)))

def test_a_masked_class_is_no_floor(world):
    learn = small(world)
    with torch.no_grad():
        learn.model.scores[-1].bias[-1] = -1e4
        learn.model.scores[-1].weight[-1] = 0.
    probe = Probe(learn, *some_pictures(learn))
    assert not found_causes(probe) and probe.metrics()['entropy']>0

def test_a_step_that_is_put_off_is_no_dead_gradient(world):
    from fastai.callback.training import GradientAccumulation
    watch = CollapseWatch(log=lambda s: None)
    learn = small(world, cbs=[GradientAccumulation(10**6), watch])
    fit_broken(learn, n_epoch=2)
    assert not [o for o in watch.reports if o['symptom']=='dead']

def test_time_is_up(world):
    res = overfit_check(small(world), seconds=0.)
    assert res.passed is None and 'time is up' in res.says

def test_all_labels_are_asked_for_their_columns(world):
    learn = small(world, name='too_few_columns_hidden')
    x,y = some_pictures(learn, 8)
    y = y[:1].expand(8, -1)[:,:1]                  # a batch of texts of one character
    assert 'too_few_columns' in [o.name for o in overfit_check(learn, steps=20, batch=(x,y)).causes]

def test_a_narrow_batch_of_a_teacher_forced_model_lacks_no_steps(world):
    learn = small(world)
    x,y = some_pictures(learn, 8)
    found = overfit_check(learn, steps=5, batch=(x,y[:,:2])).causes
    assert 'too_few_columns' not in [o.name for o in found]
