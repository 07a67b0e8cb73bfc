"What the transformer must do and a notebook cannot show: any size, search against enumeration, threads"
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from captcha_fastai.all import (
    CaptchaDataLoaders, Constraint, Reader, TokenLoss, Vocab, captcha_learner, captcha_transformer, save_captchas)
from captcha_fastai.losses import shift_targets
from captcha_fastai.transformer import CaptchaTransformer
from captcha_fastai.losses import token_decode
from captcha_fastai.transformer import picture_stem
from hypothesis import given, settings, strategies as st

SMALL = dict(widths=[8,16], d=24, layers=[1,1])

def test_training_reads_labels_and_validation_does_not(tmp_path):
    save_captchas(10, tmp_path/'c', length=(2,4), seed=0)
    dls = CaptchaDataLoaders.from_folder(tmp_path/'c', bs=4, valid_pct=.4)
    learn = captcha_learner(dls, captcha_transformer, arch_args=SMALL)
    seen = []
    hook = learn.model.register_forward_pre_hook(lambda m, args: seen.append((m.training, len(args))))
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 0.)
    hook.remove()
    assert set(seen)=={(True,2),(False,1)}

@pytest.mark.parametrize('kwargs', [dict(patch=[5,8], widths=[16]), dict(sine=True, widths=[8]),
                                    dict(layers=[1,3], n_heads=1, d=16, widths=[8])])
def test_colour_and_any_size(kwargs):
    model = captcha_transformer(Vocab('ab'), (33,70), channels=3, width=2, **kwargs).eval()
    assert model(torch.zeros(2,3,33,70)).shape==(2,3,3)
    assert model(torch.zeros(2,3,33,70), torch.tensor([[1,2],[1,0]])).shape==(2,3,3)

def test_sources_smallest_net_has_three_heads_of_one_layer():
    model = captcha_transformer(Vocab('0123456789'), (30,90), width=4, d=27, n_heads=3, layers=(1,1), d_ff=72,
                                patch=(3,3), widths=(27,))
    assert model.grid==(10,30) and len(model.decoder)==1

@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1,3), st.integers(2,4))
def test_search_finds_the_best_text(seed, width, V):
    "A beam as wide as there are texts: nothing is better, probabilities are the loss's own and add up to 1"
    torch.manual_seed(seed)
    model = CaptchaTransformer(*picture_stem((8,16), 1, (4,), 3), V, width, d=12, layers=(1,1)).eval()
    with torch.no_grad():
        for p in model.parameters(): p.mul_(3)   # decided opinions, not near-even ones
        x = torch.randn(2,1,8,16)
        n = sum((V-1)**i for i in range(width+2))
        found = model.search(x, beam=n, n_best=n)
        assert torch.allclose(found.log_probs.exp().sum(1), torch.ones(2), atol=1e-4)
        assert (found.log_probs.diff(dim=1)<=0).all()
        ends = found.ids[:,:,-1]==0
        for k in range(min(n, 5)):
            ids = found.ids[:,k,:width]
            said = TokenLoss().log_prob(model(x, ids), ids)
            assert torch.allclose(said[ends[:,k]], found.log_probs[:,k][ends[:,k]], atol=1e-3)
        assert torch.equal(model.search(x, beam=1).ids[:,0], token_decode(model(x)))
        told = model.search(x, Constraint(length=width), beam=n).ids[:,0]
        assert ((told!=0).sum(1)==width).all()

def test_shift_targets_round_trip():
    targ = torch.tensor([[3,1,0],[2,2,2],[0,0,0]])
    reads,writes = shift_targets(targ)
    assert (reads[:,0]==0).all() and torch.equal(reads[:,1:], targ)
    assert torch.equal(writes[:,:-1], targ) and (writes[:,-1]==0).all()

@pytest.fixture
def one_thread_each():
    "Torch with a thread for each call, so that calls run beside each other"
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)

def wrong(lengths_of):
    "Sixty calls by six threads, told lengths of 1 to 3 in turn: those whose texts have other lengths than told"
    def call(i): return 1+i%3,lengths_of(1+i%3)
    with ThreadPoolExecutor(6) as pool: return [o for o in pool.map(call, range(60)) if o[1]!={o[0]}]

def test_threads_search_one_model_under_different_constraints(one_thread_each):
    "While the model itself held the constraint of a search, 43 of these 60 calls returned another call's length"
    torch.manual_seed(0)
    model = captcha_transformer(Vocab('0123456789'), (25,96), width=4, **SMALL).eval()
    x,rules = torch.randn(24,1,25,96),{n:Constraint(length=n) for n in (1,2,3)}
    free = model.search(x)
    def lengths(n): return set((model.search(x, rules[n]).ids[:,0]!=0).sum(1).tolist())
    assert wrong(lengths)==[]
    again = model.search(x)
    assert torch.equal(again.ids, free.ids) and torch.equal(again.log_probs, free.log_probs)

def test_threads_read_with_one_reader_under_different_constraints(one_thread_each, tmp_path):
    "Likewise 37 of 60 calls of a reader"
    save_captchas(24, tmp_path/'c', length=(2,4), seed=0)
    files = sorted((tmp_path/'c').glob('*.png'))
    torch.manual_seed(0)
    dls = CaptchaDataLoaders.from_folder(tmp_path/'c', bs=32, size=(25,96))
    reader = Reader.from_learner(captcha_learner(dls, captcha_transformer, arch_args=SMALL), check=0)
    rules,free = {n:reader.constraint(length=n) for n in (1,2,3)},reader.read(files)
    assert wrong(lambda n: {len(o.text) for o in reader.read(files, constraint=rules[n])})==[]
    assert reader.read(files)==free
