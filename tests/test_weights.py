"A model that starts from another's weights gets all of them, row by row"
from dataclasses import replace

import pytest
import torch

from captcha_fastai.archs import ModelSpec, get_arch, own_archs
from captcha_fastai.core import Vocab
from captcha_fastai.crnn import crnn_small
from captcha_fastai.labels import captcha_label
from captcha_fastai.learner import captcha_learner
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.reader import Reader
from captcha_fastai.synth import save_captchas
from captcha_fastai.weights import data_like, load_pretrained, reader_folder, write_model

SMALL = {   # arguments that keep each arch small
    'crnn_small': dict(widths=[8,16], blocks=[1,1], n_hidden=16),
    'captcha_transformer': dict(widths=[8,16], d=24, layers=[1,1]),
    'crnn': dict(n_features=8, n_hidden=[8,8]),
    'pooled_classifier': {},
    'spatial_classifier': dict(n_hidden=16),
}

def spec_of(name, chars): return ModelSpec(name, Vocab(chars), (32,96), width=3, arch_args=SMALL[name])

@pytest.fixture(scope='module', params=list(own_archs))
def saved(request, tmp_path_factory):
    "An arch's name, a folder of weights for the texts of 24cmx, and the model that they are of"
    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    spec = spec_of(request.param, '24cmx')
    model = spec.model()
    write_model(folder, spec, model)
    return request.param,folder,model

def test_the_same_alphabet_brings_every_tensor(saved):
    """Seen before: of a pooled classifier's last layer, 10 of 15 rows were left as chance had drawn them, because only
    the rows of the first position were carried"""
    name,folder,old = saved
    spec = spec_of(name, '24cmx')
    new = spec.model()
    started = load_pretrained(new, spec, folder)
    assert (started.known, started.new) == ('24cmx', '')
    lost = [k for k,v in new.state_dict().items() if not torch.equal(v, old.state_dict()[k])]
    assert lost == []

def test_another_alphabet_brings_the_known_rows_of_each_position(saved):
    name,folder,old = saved
    spec = spec_of(name, 'xw2')
    new = spec.model()
    before = {k:v.clone() for k,v in new.state_dict().items()}
    started = load_pretrained(new, spec, folder)
    assert (started.known, started.new) == ('x2', 'w')
    rows = [k for k in before if any(k.startswith(f'{o}.') for o in get_arch(name).rows)]
    assert rows
    for k in rows:
        a,b,was = (o.unflatten(0, (-1,n)) for o,n in ((old.state_dict()[k],6), (new.state_dict()[k],4), (before[k],4)))
        assert len(a) == len(b)
        for mine,theirs in ((0,0), (1,5), (3,1)): assert torch.equal(b[:,mine], a[:,theirs]), (k, mine)
        assert torch.equal(b[:,2], was[:,2])

def test_either_case_keeps_what_the_weights_know(tmp_path):
    "A letter of the new alphabet is as probable as its small letter and its capital together; no bit of it is lost"
    old = Reader.load('pretrained')
    vocab = Vocab('07abgx')
    spec = replace(old.spec, vocab=vocab, arch_args=old.spec.arch_args | dict(either_case=True), lengths={})
    model = spec.model()
    load_pretrained(model, spec, reader_folder('pretrained'), ignore_case=True)
    x = torch.randint(0, 256, (2,3,50,160), dtype=torch.uint8)
    new = Reader(model, spec)
    a,b = (r.logits(x).double() for r in (old, new))
    for c in vocab.chars:
        both = sorted({old.vocab.o2i[o] for o in (c, c.lower(), c.upper())})
        want = a[...,both].logsumexp(-1)-a[...,0]
        got = b[...,vocab.o2i[c]]-b[...,0]
        assert torch.allclose(want, got, atol=1e-3), c
    new.save(tmp_path/'r')
    assert torch.allclose(Reader.load(tmp_path/'r').logits(x), new.logits(x), atol=1e-4)

def test_labels_of_either_case_are_taken_by_captcha_learner(tmp_path):
    files = save_captchas(8, tmp_path/'p', chars='abeg', length=3, seed=1)
    texts = [captcha_label(f) for f in files]
    dls = CaptchaDataLoaders.from_lists('.', files, texts, valid_pct=0, bs=4, **data_like(reader_folder('pretrained')))
    for ignore_case in (False, True):
        learn = captcha_learner(dls, crnn_small, ignore_case=ignore_case)
        assert learn.spec.arch_args.get('either_case', False)==ignore_case
        assert learn.model.head[1].out_features==len(learn.vocab)*(1+ignore_case)
    Reader.from_learner(learn, check=0).save(tmp_path/'either')
    again = captcha_learner(dls, crnn_small, pretrained=tmp_path/'either')   # a training goes on from there
    assert again.spec.arch_args['either_case'] and again.started.known=='abeg'
    for a,b in zip(learn.model.head.parameters(), again.model.head.parameters()): assert torch.equal(a, b)
