"Folds, intervals, paired tests, slices, calibration: what must hold for any predictions"
import json
import shutil
from functools import wraps

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import beta
from conftest import ROOT
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.crnn import crnn_small
from captcha_fastai.decode import greedy_decode
from captcha_fastai.evaluate import (accuracy_table, align_texts, calibrate, calibration_error, cer_interval,
                                     char_table, confusions, coverage_at, fit_temperature, mcnemar, reliability,
                                     risk_coverage, slice_by, text_confidence, wilson)
from captcha_fastai.files import WorkFolder
from captcha_fastai.folds import fold_of, k_fold, load_folds, load_log_probs
from captcha_fastai.labels import captcha_label
from captcha_fastai.losses import CharLoss, CTCLoss
from captcha_fastai.metrics import score_texts
from captcha_fastai.synth import save_captchas

few = settings(max_examples=60, deadline=None, derandomize=True)
texts = st.text('abcé0', max_size=6)

@st.composite
def tables(draw, min_size=1):
    rows = draw(st.lists(st.tuples(texts, texts, st.booleans(), st.integers(1, 99)), min_size=min_size, max_size=25))
    rows = [(f'{i}.png', t, t if same else p, c/100) for i, (t, p, same, c) in enumerate(rows)]
    return pd.DataFrame(rows, columns=['file', 'text', 'prediction', 'confidence'])

answers = st.lists(st.tuples(st.sampled_from([0., .1, .5, .9, .99, 1.]), st.booleans()), min_size=1, max_size=60)

# --- intervals

@few
@given(st.integers(0, 2000), st.integers(0, 2000), st.sampled_from([.5, .9, .95, .99]))
def test_wilson_holds_the_share(k, n, level):
    k, n = min(k, n), max(k, n)
    lo, hi = wilson(k, n, level)
    assert 0 <= lo <= hi <= 1
    if n: assert lo <= k/n <= hi
    flo, fhi = wilson(n-k, n, level)
    assert np.allclose([lo, hi], [1-fhi, 1-flo])

def test_wilson_formula():
    z, k, n = 1.959963984540054, 928, 936
    p = k/n
    mid, half = (p+z*z/2/n)/(1+z*z/n), z/(1+z*z/n)*np.sqrt(p*(1-p)/n+z*z/4/n/n)
    assert np.allclose(wilson(k, n), (mid-half, mid+half))
    with pytest.raises(CaptchaError, match='not possible'): wilson(-1, 3)

def test_wilson_covers():
    rng = np.random.default_rng(0)
    p = .99
    ends = [wilson(k, 936) for k in range(937)]
    assert np.mean([ends[k][0] <= p <= ends[k][1] for k in rng.binomial(936, p, 4000)]) > .93

@few
@given(tables())
def test_accuracy_table(df):
    row = accuracy_table(df).loc['all']
    assert row.n == len(df) and row.right == (df.text == df.prediction).sum()
    assert row.low <= row.accuracy <= row.high
    if df.text.str.len().sum(): assert np.isclose(row.cer, score_texts(list(df.prediction), list(df.text))['cer'])
    assert row.cer_low <= row.cer_high
    pd.testing.assert_frame_equal(accuracy_table(df), accuracy_table({'all': df.sample(frac=1, random_state=0)}))

def test_cer_interval_is_a_bootstrap_over_pictures():
    rng = np.random.default_rng(0)
    edits, lens = rng.choice([0, 0, 0, 1, 5], 300), rng.choice([4, 5, 6], 300)
    pick = rng.integers(0, 300, (4000, 300))
    slow = np.quantile(edits[pick].sum(1)/lens[pick].sum(1), [.025, .975])
    assert np.allclose(slow, cer_interval(edits, lens), atol=.01)
    assert cer_interval(edits, lens) == cer_interval(edits, lens)

def test_tables_that_are_refused():
    df = pd.DataFrame(dict(file=['a.png', 'a.png'], text='x', prediction='x'))
    for f in (accuracy_table, slice_by, confusions, lambda o: mcnemar(o, o)):
        with pytest.raises(CaptchaError, match='a.png occurs twice'): f(df)
        with pytest.raises(CaptchaError, match='empty'): f(df[:0])
        with pytest.raises(CaptchaError, match='lacks prediction'): f(df.drop(columns='prediction'))

# --- paired

@few
@given(tables(), st.randoms(use_true_random=False))
def test_mcnemar(df, rnd):
    other = df.assign(prediction=[t if rnd.random() < .5 else p for t, p in zip(df.text, df.prediction)])
    x, y = mcnemar(df, other), mcnemar(other.sample(frac=1, random_state=1), df)
    assert (x.both, x.only_a, x.only_b, x.neither) == (y.both, y.only_b, y.only_a, y.neither) and np.isclose(x.p, y.p)
    assert sum(x[:4]) == len(df) and 0 < x.p <= 1
    assert x.both+x.only_a == (df.text == df.prediction).sum()
    assert x.both+x.only_b == (other.text == other.prediction).sum()
    assert mcnemar(df, df).p == 1

def test_mcnemar_is_a_coin():
    df = pd.DataFrame(dict(file=list('abcdefgh'), text='x', prediction='x'))
    assert np.isclose(mcnemar(df, df.assign(prediction=['x']*2+['y']*6)).p, 2*.5**6)
    with pytest.raises(CaptchaError, match='different pictures'): mcnemar(df, df[1:])
    with pytest.raises(CaptchaError, match='in one table'): mcnemar(df, df.assign(text='y'))

# --- slices

@few
@given(texts, texts)
def test_alignment_has_as_few_edits_as_the_edit_distance(pred, truth):
    pairs = align_texts(pred, truth)
    assert ''.join(t for _, t, _ in pairs) == truth and ''.join(r for *_, r in pairs) == pred
    assert all(t or r for _, t, r in pairs) and [i for i, t, _ in pairs if t] == list(range(len(truth)))
    edits = sum(t != r for _, t, r in pairs)
    assert edits == round(score_texts([pred], [truth])['cer']*len(truth)) if truth else edits == len(pred)

@few
@given(tables())
def test_slices_add_up(df):
    right, chars = (df.text == df.prediction).sum(), df.text.str.len().sum()
    for by in ('length', 'doubled', 'confidence', lambda t: t[:1]):
        res = slice_by(df, by)
        assert res.n.sum() == len(df) and res.right.sum() == right
        assert ((res.low <= res.accuracy) & (res.accuracy <= res.high)).all()
    pos, char, t = slice_by(df, 'position'), slice_by(df, 'char'), char_table(df)
    assert pos.n.sum() == char.n.sum() == chars and pos.right.sum() == char.right.sum() == t.right.sum()
    conf = confusions(df)
    assert conf.n.sum() == (~t.right).sum() and (conf.true != conf.read).all()
    assert not conf[['true', 'read']].duplicated().any() and conf.n.is_monotonic_decreasing
    assert ((conf.n <= conf.of) & (conf.low <= conf.share) & (conf.share <= conf.high)).all()
    assert conf[conf.true != ''].n.sum() == (char.n-char.right).sum()

def test_confusions_of_perfect_readings():
    assert len(confusions(pd.DataFrame(dict(file=['a'], text=['x'], prediction=['x'])))) == 0

# --- confidence

@few
@given(answers, st.integers(1, 12))
def test_reliability_holds_every_answer_once(pairs, bins):
    c, r = map(np.array, zip(*pairs))
    rel = reliability(c, r, bins)
    assert rel.n.sum() == len(c) and rel.n.max()-rel.n.min() <= 1 and rel.confidence.is_monotonic_increasing
    assert np.isclose((rel.n*rel.accuracy).sum(), r.sum())
    assert 0 <= calibration_error(c, r, bins) <= 1
    assert np.isclose(calibration_error(c, r, 1), abs(c.mean()-r.mean()))

@few
@given(answers, st.sampled_from([.5, .9, .999]))
def test_coverage(pairs, precision):
    c, r = map(np.array, zip(*pairs))
    rc = risk_coverage(c, r)
    assert rc.threshold.is_monotonic_decreasing and rc.threshold.is_unique
    assert rc.answered.iloc[-1] == len(c) and rc.wrong.iloc[-1] == (~r).sum()
    for o in rc.itertuples():
        sure = c >= o.threshold
        assert o.answered == sure.sum() and o.wrong == (~r[sure]).sum() and o.low <= o.precision
    got = coverage_at(c, r, precision)
    best = max([o.answered for o in rc.itertuples() if o.answered-o.wrong >= precision*o.answered-1e-9], default=0)
    assert got.answered == best and got.wrong <= (1-precision)*best+1e-9 and got.low <= 1-got.wrong/max(1, got.answered)

def test_coverage_is_honest():
    n = coverage_at([.9], [True]).needed
    assert .05**(1/n) >= .999 > .05**(1/(n-1))
    sure = coverage_at(np.linspace(.5, 1, 936), np.ones(936, bool))
    assert sure.coverage == 1 and np.isclose(sure.low, beta.ppf(.05, 936, 1)) and sure.low < .999
    # a mistake above all else in its own fold is not seen by a threshold made on the other
    c, r, g = np.array([.99, .5, .9, .8]), np.array([False, True, True, True]), np.array([0, 0, 1, 1])
    assert coverage_at(c, r).answered == 0
    out = coverage_at(c, r, groups=g)
    assert (out.answered, out.wrong) == (1, 1)
    for p in (0, 1, 1.5):
        with pytest.raises(CaptchaError, match='between 0 and 1'): coverage_at(c, r, p)

def drawn_world(n=3000, V=5, T=6, char=False):
    torch.manual_seed(1)
    lp = (torch.randn(n, T, V)*6).log_softmax(-1)
    cols = torch.distributions.Categorical(logits=lp).sample()
    return lp, cols

@pytest.mark.parametrize('loss', [CTCLoss(), CharLoss()])
@pytest.mark.parametrize('hidden', [.5, 1, 3])
def test_temperature_is_found(loss, hidden):
    lp, _ = drawn_world()
    ids = loss.decodes(lp)
    right = np.random.default_rng(0).random(len(lp)) < loss.log_prob(lp, ids).exp().numpy()
    assert abs(np.log(fit_temperature(hidden*lp, ids, right, loss)/hidden)) < .12

def test_calibrate_uses_the_other_folds():
    lp, _ = drawn_world(600)
    vocab, ids = Vocab('abcd'), greedy_decode(lp)
    pred, fold = vocab.decode_batch(ids), np.arange(600) % 3
    right = np.random.default_rng(0).random(600) < text_confidence(lp, ids)
    text = [p if r else p+'a' for p, r in zip(pred, right)]
    df = pd.DataFrame(dict(file=[f'{i}.png' for i in range(600)], text=text, prediction=pred, fold=fold))
    res = calibrate(df, 2*lp, vocab=vocab)
    for f in range(3):
        others = fold != f
        want = fit_temperature(2*lp[others], ids[others], right[others])
        assert np.allclose(res.temperature[fold == f], want)
    # what fold 0 holds does not matter to fold 0's temperature
    changed = calibrate(df.assign(text=np.where(fold == 0, 'aaaa', df.text)), 2*lp, vocab=vocab)
    assert np.allclose(changed.temperature[fold == 0], res.temperature[fold == 0])
    with pytest.raises(CaptchaError, match="don't go with"): calibrate(df, lp[1:], vocab=vocab)
    with pytest.raises(CaptchaError, match='two folds'): calibrate(df.assign(fold=0), lp, vocab=vocab)

# --- folds

@few
@given(st.lists(st.integers(0, 20), min_size=1, max_size=60), st.integers(2, 6), st.integers(0, 5))
def test_folds_of_groups(groups, folds, seed):
    if len(set(groups)) < folds:
        with pytest.raises(CaptchaError, match='folds must be'): fold_of(groups, folds, seed)
        return
    f = fold_of(groups, folds, seed)
    of = {}
    for g, i in zip(groups, f): assert of.setdefault(g, i) == i
    n = np.bincount(list(of.values()), minlength=folds)
    assert n.max()-n.min() <= 1 and (f == fold_of(groups, folds, seed)).all()

tiny = dict(folds=3, epochs=1, bs=8, arch_args=dict(widths=(8, 8, 16, 16), n_hidden=16))

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    "Pictures with a duplicate in another folder, under an equal name, and their texts"
    path = tmp_path_factory.mktemp('drawn')
    files = save_captchas(20, path/'a', seed=3)
    (path/'b').mkdir()
    files = [*files, shutil.copy(files[3], path/'b'/files[3].name)]
    return files, [captcha_label(f) for f in files]

@pytest.fixture(scope='module')
def done(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp('done')/'res'
    return out, k_fold(*drawn, crnn_small, out, log=lambda s: None, **tiny)

def test_each_picture_once_and_duplicates_together(drawn, done):
    files, labels = drawn
    df = done[1]
    assert list(df.columns) == ['file', 'text', 'prediction', 'confidence', 'fold', 'seed']
    assert sorted(df.text) == sorted(labels)
    assert df.file.is_unique and df[df.file.str.endswith(files[3].name)].fold.nunique() == 1
    assert {f'{o}/{files[3].name}' for o in 'ab'} <= set(df.file)

def test_what_is_kept(done):
    out, df = done
    pd.testing.assert_frame_equal(load_folds(out), df)
    vocab, lp = Vocab.from_labels(df.text), load_log_probs(out)
    again = vocab.decode_batch(greedy_decode(lp))
    assert np.mean([a == b for a, b in zip(again, df.prediction)]) > .6   # near ties fall otherwise in half precision
    ids = torch.stack([vocab.encode(t, lp.shape[1]) for t in df.prediction])
    assert np.allclose(text_confidence(lp, ids), df.confidence, atol=.01)
    assert list(pd.read_csv(out/'history1.csv').columns[:2]) == ['epoch', 'seconds']

def test_resumes_and_does_not_train_again(drawn, done, tmp_path, monkeypatch):
    made = []
    @wraps(crnn_small)
    def counted(*args, **kwargs):
        made.append(1)
        return crnn_small(*args, **kwargs)
    out, said = tmp_path/'res', []
    k_fold(*drawn, counted, out, only=[1], log=said.append, **tiny)
    before = {f.name: (f.stat().st_mtime_ns, f.read_bytes()) for f in out.iterdir()}
    df = k_fold(*drawn, counted, out, log=said.append, **tiny)
    assert len(made) == 3 and [s.split(':')[0] for s in said] == [f'crnn_small, fold {i}' for i in (1, 0, 2)]
    assert all((out/n).stat().st_mtime_ns == t and (out/n).read_bytes() == b for n, (t, b) in before.items())
    pd.testing.assert_frame_equal(df, done[1])
    assert torch.equal(load_log_probs(out), load_log_probs(done[0]))

def test_stopped_in_the_middle_of_a_fold(drawn, done, tmp_path):
    "A fold counts as done when its table, the last file, is there"
    out = tmp_path/'res'
    shutil.copytree(done[0], out)
    (out/'fold2.csv').unlink()
    (out/'.tmp-fold2.csv').write_text('half a')
    assert set(load_folds(out).fold) == {0, 1} and len(load_log_probs(out)) == len(load_folds(out))
    pd.testing.assert_frame_equal(k_fold(*drawn, crnn_small, out, log=lambda s: None, **tiny), done[1])

@pytest.mark.parametrize('change,name', [
    (dict(epochs=2), 'epochs'), (dict(seed=1), 'seed'), (dict(folds=4), 'folds'), (dict(bs=4), 'bs'),
    (dict(arch_args=dict(widths=(8, 8, 8, 8), n_hidden=16)), 'arch_args'), (dict(half=False), 'more')])
def test_other_settings_are_refused(drawn, done, change, name):
    was = (done[0]/'settings.json').read_bytes()
    with pytest.raises(CaptchaError, match=f'started with {name}=.*give another folder'):
        k_fold(*drawn, crnn_small, done[0], **tiny|change)
    assert (done[0]/'settings.json').read_bytes() == was

def test_other_pictures_are_refused(drawn, done, tmp_path):
    files, labels = drawn
    others = [labels[1], *labels[1:]]
    with pytest.raises(CaptchaError, match='pictures or their texts have changed'):
        k_fold(files, others, crnn_small, done[0], **tiny)
    out = tmp_path/'old'   # a folder from before the settings told so much: the tables still tell
    shutil.copytree(done[0], out)
    was = json.loads((out/'settings.json').read_text())
    (out/'settings.json').unlink()
    few = {k: was[k] for k in ('arch', 'arch_args', 'folds', 'seed', 'epochs', 'lr', 'bs', 'n')}
    (out/'asked.json').write_text(json.dumps(few))
    pd.testing.assert_frame_equal(k_fold(files, labels, crnn_small, out, **tiny), done[1])
    with pytest.raises(CaptchaError, match='holds other pictures or texts'):
        k_fold(files, others, crnn_small, out, **tiny)
    with pytest.raises(CaptchaError, match='no fold 7'): k_fold(files, labels, crnn_small, out, only=[7], **tiny)

def test_progress_within_a_fold(drawn, tmp_path):
    said = []
    k_fold(*drawn, crnn_small, tmp_path/'res', only=[0], log=said.append, every=0, **tiny|dict(epochs=3))
    assert all(s.startswith('crnn_small, fold 0: ') for s in said) and 'right' in said[-1]
    epochs = dict.fromkeys(s.split(': ')[1].split('  ')[0] for s in said[:-1])
    assert list(epochs) == ['epoch 1/3', 'epoch 2/3', 'epoch 3/3']
    quiet = []
    k_fold(*drawn, crnn_small, tmp_path/'quiet', only=[0], log=quiet.append, **tiny)
    assert len(quiet) == 1

def test_stored_results_count_as_done(tmp_path):
    "The folders in benchmarks/results, made by earlier versions: their settings are understood, and nothing is trained"
    for out in sorted((ROOT/'benchmarks'/'results').glob('*/asked.json')):
        was = json.loads(out.read_text())
        work = WorkFolder(out.parent, ('fold*.csv',), 'set of folds', was | dict(added_later=1))
        assert work.resumable() and work.settings_there() == was
        work.check(missing_ok=True)
        other = WorkFolder(out.parent, (), 'set of folds', was | dict(lr=.5))
        with pytest.raises(CaptchaError, match='lr=.*not with lr=0.5; .*give another folder'):
            other.check(missing_ok=True, cure='give another folder')
        assert set(load_folds(out.parent).seed) == {was['seed']}

def test_log_probabilities_that_are_not_kept(done, tmp_path):
    out = tmp_path/'res'
    shutil.copytree(done[0], out)
    (out/'log_probs1.npy').unlink()
    pd.testing.assert_frame_equal(load_folds(out), done[1])
    with pytest.raises(CaptchaError, match='log_probs1.npy is not there'): load_log_probs(out)
