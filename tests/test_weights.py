"A model that starts from another's weights gets all of them, row by row"
import pytest
import torch

from captcha_fastai.archs import ModelSpec, get_arch, own_archs
from captcha_fastai.core import Vocab
from captcha_fastai.weights import load_pretrained, write_model

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
