"What the lesson's page has no room for: the watch at the edges, and the script that makes the table"
import sys
import pytest
import torch
from captcha_fastai.all import CaptchaDataLoaders, Case, CollapseWatch, captcha_learner, captcha_transformer, faults, fit_patient, found_causes, overfit_check, patient, patients, save_captchas, small_style, some_pictures
from conftest import ROOT

@pytest.fixture(scope='module')
def world(tmp_path_factory): return tmp_path_factory.mktemp('clinic')/'small'

def quiet(learn, *args):
    with learn.no_bar(), learn.no_logging(): learn.fit(*args)
    return learn

def test_watch_without_validation_pictures(tmp_path):
    save_captchas(24, tmp_path/'x', chars='24', length=(2,4), style=small_style, seed=0)
    watch = CollapseWatch()
    dls = CaptchaDataLoaders.from_folder(tmp_path/'x', valid_pct=0, bs=8, batch_tfms=[])
    quiet(captcha_learner(dls, captcha_transformer, arch_args=patients['transformer'][1], cbs=watch), 2)
    assert [o['valid'] for o in watch.log] == [None, None] and watch.reports == []

def test_watch_stops_at_the_first_infinite_loss(world):
    said = []
    learn = quiet(patient(world, 'too_few_columns', n=100, cbs=CollapseWatch(stop=True, say=said.append)), 1)
    assert len(said) == 1 and 'inf' in said[0] and 'columns' in said[0].splitlines()[1]
    assert all(o.isfinite().all() for o in learn.model.parameters()), 'the step with the infinite loss was still made'

def test_learner_with_a_watch_can_be_exported(world, tmp_path):
    learn = quiet(patient(world, kind='ctc', n=16, cbs=CollapseWatch()), 1)
    assert learn.collapse_watch.xs == [], 'pictures would go into the file'
    learn.export(tmp_path/'learn.pkl')
    assert (tmp_path/'learn.pkl').stat().st_size > 1000

def test_overfit_check_leaves_the_training_as_it_would_have_been(world):
    def weights(check):
        torch.manual_seed(0)
        learn = patient(world, kind='ctc', n=40)
        learn.dls.train.rng.seed(0)
        if check: overfit_check(learn, steps=5)
        torch.manual_seed(0)
        return torch.cat([o.detach().flatten() for o in quiet(learn, 1).model.parameters()])
    assert torch.equal(weights(False), weights(True))

def test_table_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT/'benchmarks'))
    import clinic
    out,made = tmp_path/'t.csv',[]
    def run(path, name, seed, cured):
        made.append((name, seed, cured))
        return dict.fromkeys(clinic.COLS, '') | dict(run=name, seed=seed, cured=int(cured), symptom='leak' if name == 'no_shift' else '', causes='not_shifted' if name == 'no_shift' else '', seconds=0)
    monkeypatch.setattr(clinic, 'run', run)
    args = ['clinic.py', '--faults', 'no_shift,cut_by_batch3', '--seeds', '2', '--out', str(out)]
    monkeypatch.setattr(sys, 'argv', args)
    clinic.main()
    assert len(made) == len(set(made)) == 2*(2+2+1)   # two healthy ones, two faults, and one cure of its own, on two seeds
    text = out.read_text().splitlines()
    out.write_text('\n'.join(text[:-3])+'\n')
    made.clear(), clinic.main()
    assert len(made) == 3 and sorted(out.read_text().splitlines()) == sorted(text)
    said = capsys.readouterr().out
    assert 'symptom 2, cause 2' in said and 'symptom 0, cause 0' in said and 'healthy: 4 of 4 silent' in said

def test_every_fault_names_a_cause_and_a_symptom_that_exist():
    from captcha_fastai.clinic import _by_symptom, causes
    for f in faults.values(): assert f.cause in causes and set(f.symptoms) <= set(_by_symptom), f.name

def small(world, **kwargs): return patient(world, n=24, **kwargs)

def test_a_validation_wipes_nothing(world):
    watch = CollapseWatch(say=lambda s: None)
    learn = small(world, name='no_shift', cbs=watch)
    fit_patient(learn, n_epoch=2)
    watch.reports.append('kept')
    was = list(watch.log)
    with learn.no_bar(), learn.no_logging(): learn.validate(); learn.get_preds()
    assert watch.reports[-1]=='kept' and watch.log==was and len(was)==2

def test_nan_names_no_wrong_cause(world):
    learn = small(world)
    with torch.no_grad(): learn.model.scores[-1].weight.fill_(float('nan'))
    assert not found_causes(Case(learn, *some_pictures(learn)))

def test_a_masked_class_is_no_floor(world):
    learn = small(world)
    with torch.no_grad(): learn.model.scores[-1].bias[-1] = -1e4; learn.model.scores[-1].weight[-1] = 0.
    case = Case(learn, *some_pictures(learn))
    assert not found_causes(case) and case.vitals()['entropy']>0

def test_a_step_that_is_put_off_is_no_dead_gradient(world):
    from fastai.callback.training import GradientAccumulation
    watch = CollapseWatch(say=lambda s: None)
    learn = small(world, cbs=[GradientAccumulation(10**6), watch])
    fit_patient(learn, n_epoch=2)
    assert not [o for o in watch.reports if o['symptom']=='dead']

def test_time_is_up(world):
    res = overfit_check(small(world), seconds=0.)
    assert res.passed is None and 'time is up' in res.says

def test_all_labels_are_asked_for_their_columns(world):
    learn = small(world, name='too_few_columns_hidden')
    x,y = some_pictures(learn, 8)
    y = y[:1].expand(8, -1)[:,:1]                  # a batch of texts of one character
    assert 'too_few_columns' in [o.name for o in overfit_check(learn, steps=20, batch=(x,y)).causes]
