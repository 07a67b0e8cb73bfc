"Every view of an interpretation, for every model; a figure for each, and the table behind it"
import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch
from fastcore.test import test_fail as fails

from captcha_fastai.all import CaptchaDataLoaders, CaptchaInterpretation, Interpretation, Reader, captcha_learner
from captcha_fastai.archs import own_archs
from captcha_fastai.interpret import confusion_counts, draw_reading, percent, picture_facts
from captcha_fastai.synth import save_captchas

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('interpret')/'drawn'
    save_captchas(12, folder, seed=1, length=(3, 4))
    return folder

@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close('all')

@pytest.mark.parametrize('arch', list(own_archs))
def test_every_view_for_every_arch(arch, drawn):
    dls = CaptchaDataLoaders.from_folder(drawn, valid_pct=.5, bs=3, size=(50, 200), num_workers=0)
    torch.manual_seed(0)
    learn = captcha_learner(dls, arch, pretrained=False)
    interp = CaptchaInterpretation.from_learner(learn)
    assert isinstance(interp, Interpretation) and len(interp.table) == len(dls.valid_ds) == 6
    assert list(interp.table.columns) == ['file', 'text', 'prediction', 'confidence', 'loss']
    losses, idx = interp.top_losses(3)
    assert losses.tolist() == pytest.approx(interp.table.loss[idx.tolist()].tolist(), rel=1e-4)
    interp.plot_top_losses(3)
    interp.show_results([0, 2])
    assert len(interp.plot_readings(2).flat) == 2
    n = sum(n for *_, n in interp.most_confused())
    table = interp.confusion_table(all=True)
    off = table.to_numpy().sum()-sum(table.loc[c, c] for c in table.index if c in table.columns)
    assert n == off > 0
    assert interp.plot_confusion_matrix().get_xlabel() == 'was read'
    report = interp.classification_report()
    assert report.support.sum() == interp.table.text.str.len().sum()
    for by in ('length', 'position', 'char', 'doubled', 'darkness', 'width'):
        assert {'n', 'right', 'accuracy', 'low', 'high'} <= set(interp.slice_by(by).columns)
    assert len(interp.plot_slices(['length', 'contrast']).flat) == 2
    file, text = dls.valid_ds.items[0]
    ax = learn.show_reading(file, truth=text)
    want = Reader.from_learner(learn, check=0).read(file)[0].text
    assert (want or 'nothing') in ax.get_title() and text in ax.get_title()

def test_report_is_printed(drawn, capsys):
    dls = CaptchaDataLoaders.from_folder(drawn, valid_pct=.5, bs=3, num_workers=0)
    CaptchaInterpretation.from_learner(captcha_learner(dls, 'crnn_small')).print_classification_report()
    out = capsys.readouterr().out
    assert 'precision' in out and 'texts right' in out and '|' not in out   # no bar

def test_no_errors_no_confusions():
    df = pd.DataFrame(dict(file=['a', 'b'], text=['2b', 'xx'], prediction=['2b', 'xx']))
    assert confusion_counts(df).empty and confusion_counts(df, all=True).loc['x', 'x'] == 2
    assert CaptchaInterpretation(None, None, None, table=df).most_confused() == []
    CaptchaInterpretation(None, None, None, table=df).plot_confusion_matrix()

def test_nothing_to_look_at(drawn):
    dls = CaptchaDataLoaders.from_folder(drawn, valid_pct=0, bs=3, num_workers=0)
    learn = captcha_learner(dls, 'crnn_small')
    fails(lambda: CaptchaInterpretation.from_learner(learn), contains='ds_idx=0')
    assert len(CaptchaInterpretation.from_learner(learn, ds_idx=0).table) == 12

def test_a_plain_reading_cannot_be_drawn(drawn):
    file = next(drawn.iterdir())
    fails(lambda: draw_reading(file, Reader.load('pretrained').read(file)[0]), contains='details=True')

def test_facts_and_shares():
    import numpy as np
    dark, light = np.zeros((10, 30), dtype=np.uint8), np.full((10, 30), 255, dtype=np.uint8)
    t = picture_facts([dark, light])
    assert t.darkness.tolist() == [1, 0] and t.width.tolist() == [30, 30] and t.contrast.tolist() == [0, 0]
    assert [percent(o) for o in (1, .9994, .991, .5, .004)] == ['100%', '99.9%', '99.1%', '50%', '0%']
