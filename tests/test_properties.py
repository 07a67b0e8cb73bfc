"What must hold for any text, path or picture, tried on many"
import unicodedata
from itertools import groupby

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from PIL import Image

from captcha_fastai.archs import ModelSpec
from captcha_fastai.core import Vocab
from captcha_fastai.pictures import open_picture
from captcha_fastai.ctc import columns_needed, ctc_log_prob
from captcha_fastai.decode import greedy_decode
from captcha_fastai.folds import fold_of
from captcha_fastai.losses import CTCLoss
from captcha_fastai.metrics import edit_distance, score_texts
from captcha_fastai.reader import Reader

chars = 'abcdé3'
texts = st.text(alphabet=chars, max_size=6)
vocab = Vocab(chars)
common = settings(max_examples=150, deadline=None)

def ids(ts, width=6): return torch.stack([vocab.encode(t, width) for t in ts])

@common
@given(st.text(min_size=1, max_size=12), st.integers(0, 4))
def test_encode_decode_are_inverse(text, pad):
    assume(all(len(unicodedata.normalize('NFC', c))==1 for c in text))
    text = unicodedata.normalize('NFC', text)
    v = Vocab.from_labels([text])
    assert v.decode(v.encode(text, len(text)+pad))==text
    assert Vocab.from_dict(v.to_dict())==v

@common
@given(st.lists(texts, min_size=1, max_size=5), *[st.lists(texts, min_size=5, max_size=5)]*2)
def test_edit_distance_is_a_metric(a, b, c):
    n = len(a)
    a,b,c = ids(a),ids(b[:n]),ids(c[:n])
    ab,bc,ac = edit_distance(a,b),edit_distance(b,c),edit_distance(a,c)
    assert torch.equal(ab, edit_distance(b,a))
    assert torch.equal(ab==0, (a==b).all(1))
    assert (ac<=ab+bc).all()

@common
@given(st.lists(st.tuples(texts, texts.filter(bool)), min_size=1, max_size=6))
def test_scores_agree_with_counting(pairs):
    preds,truths = map(list, zip(*pairs))
    score = score_texts(preds, truths)
    assert score['captcha_accuracy']==sum(p==t for p,t in pairs)/len(pairs)
    assert 0<=score['char_accuracy']<=1 and (score['cer']==0)==(preds==truths)

@common
@given(st.integers(1,6), st.integers(1,9), st.integers(1,5), st.integers(0,2**31))
def test_greedy_is_collapse_of_the_best_path(bs, T, V, seed):
    lp = torch.randn(bs, T, V, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    want = [[k for k,_ in groupby(row) if k] for row in lp.argmax(-1).tolist()]
    got = greedy_decode(lp)
    assert [[i for i in row if i] for row in got.tolist()]==want
    assert got.shape==(bs, max(map(len, want)))

@common
@given(st.lists(texts, min_size=1, max_size=4), st.integers(1,14), st.integers(0,2**31))
def test_a_text_is_possible_exactly_where_its_columns_suffice(ts, T, seed):
    targ = ids(ts)
    logits = torch.randn(len(ts), T, len(vocab), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    possible = columns_needed(targ)<=T
    assert torch.equal(ctc_log_prob(logits.log_softmax(-1), targ).isfinite(), possible)
    assert torch.equal(CTCLoss(reduction='none')(logits, targ).isfinite(), possible)

@common
@given(st.integers(1,40), st.integers(1,40), st.sampled_from('L RGB RGBA LA P 1 I;16 F CMYK'.split()),
       st.integers(0,2**31))
def test_any_picture_opens(w, h, mode, seed):
    a = np.random.default_rng(seed).integers(0, 256, (h,w), dtype=np.uint8)
    im = Image.fromarray(a.astype(np.uint16)*257) if mode=='I;16' else Image.fromarray(a).convert(mode)
    res = open_picture(im, size=(8,12), channels=1)
    assert res.size==(12,8) and res.mode=='L'
    if mode in ('L','RGB','RGBA','LA','I;16'): assert np.array_equal(np.asarray(open_picture(im).convert('L')), a)

@pytest.mark.parametrize('cut', [1, 40, 100, 200])
def test_a_cut_file_is_an_error(tmp_path, cut):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20,60), dtype=np.uint8)).save(tmp_path/'a.png')
    (tmp_path/'a.png').write_bytes((tmp_path/'a.png').read_bytes()[:cut])
    with pytest.raises(ValueError, match='a.png'): open_picture(tmp_path/'a.png')

@common
@given(st.lists(st.integers(0, 9), min_size=2, max_size=30), st.integers(2, 5), st.integers(0, 99))
def test_folds_keep_equals_together_and_are_even(groups, folds, seed):
    if len(set(groups))<folds: return
    place = fold_of(groups, folds, seed)
    by = {g:{p for p,o in zip(place, groups) if o==g} for g in groups}
    assert all(len(o)==1 for o in by.values())
    n = np.bincount([next(iter(o)) for o in by.values()], minlength=folds)
    assert n.max()-n.min()<=1

@st.composite
def specs(draw):
    "Small models of many kinds"
    chars = draw(st.text(alphabet='aé3Ж漢😀"\\ ', min_size=1, max_size=6).filter(lambda t: len(set(t))==len(t)))
    size,channels = draw(st.sampled_from([(16,48),(17,50),(24,33)])),draw(st.sampled_from([1,3]))
    width,widths = draw(st.integers(1, 4)),draw(st.sampled_from([(8,),(4,8)]))
    args = dict(widths=list(widths), blocks=[1]*len(widths), n_hidden=4)
    return ModelSpec('crnn_small', Vocab(chars), size, channels, width, args, [.5]*channels, [.25]*channels, {width:3})

@settings(max_examples=12, deadline=None)
@given(specs(), st.integers(0, 2**31))
def test_a_saved_reader_reads_the_same(tmp_path_factory, spec, seed):
    torch.manual_seed(seed)
    reader = Reader(spec.model(), spec, device='cpu')
    again = Reader.load(reader.save(tmp_path_factory.mktemp('saved')/'r'), device='cpu')
    pictures = list(np.random.default_rng(seed).integers(0, 256, (3,20,60,3), dtype=np.uint8))
    said,want = ([(o.text, round(o.confidence, 4)) for o in r.read(pictures)] for r in (again, reader))
    assert said==want
    for name in ('arch','vocab','size','channels','width','arch_args','mean','std','lengths'):
        assert getattr(again.spec, name)==getattr(spec, name)
