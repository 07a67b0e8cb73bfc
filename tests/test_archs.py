"A learner of any arch does all that one expects of a learner, and its reader reads the same"
import pytest
import torch
from captcha_fastai.all import (CaptchaDataLoaders, CTCLoss, Reader, Vocab, captcha_learner, captcha_transformer,
                                save_captchas)
from captcha_fastai.archs import arch_name, get_arch, own_archs
from fastai.learner import load_learner

SMALL = dict(pooled_classifier={}, spatial_classifier=dict(n_hidden=16), crnn=dict(n_features=8, n_hidden=[8,8]),
             crnn_small=dict(widths=[8,16], blocks=[1,1], n_hidden=8),
             captcha_transformer=dict(widths=[8,16], d=24, layers=[1,1]))

def test_every_arch_is_here(): assert set(SMALL)==set(own_archs)

@pytest.fixture(scope='module')
def dls(tmp_path_factory):
    path = tmp_path_factory.mktemp('drawn')/'c'
    save_captchas(10, path, length=(2,4), seed=0)
    return CaptchaDataLoaders.from_folder(path, size=(25,96), bs=4, valid_pct=.4)

@pytest.fixture(scope='module', params=SMALL)
def learn(dls, request):
    torch.manual_seed(0)
    learn = captcha_learner(dls, get_arch(request.param), arch_args=SMALL[request.param])
    with learn.no_bar(), learn.no_logging(): learn.fit(1, 1e-3)
    return learn

def test_learner(learn, dls):
    with learn.no_bar():
        lp,targ,dec = learn.get_preds(with_decoded=True)
        text,_,one = learn.predict(dls.valid_ds.items[0][0])
        learn.show_results()
    n,width = len(dls.valid_ds),learn.spec.width
    steps = width+1 if learn.arch is captcha_transformer else width
    if isinstance(learn.loss_func, CTCLoss): steps = lp.shape[1]
    assert lp.shape==(n, steps, len(dls.vocab)) and targ.shape==(n, width) and len(dec)==n
    assert (learn.loss_func.places(targ)<=steps).all()
    assert torch.allclose(lp.exp().sum(-1), torch.ones(n, steps), atol=1e-4)
    assert str(text)==dls.vocab.decode(dec[0]) and torch.allclose(one, lp[0], atol=.02)

def test_export(learn, dls, tmp_path):
    learn.export(tmp_path/'l.pkl')
    again = load_learner(tmp_path/'l.pkl')
    file = dls.valid_ds.items[0][0]
    with learn.no_bar(), again.no_bar(): assert str(again.predict(file)[0])==str(learn.predict(file)[0])

def test_reader(learn, dls, tmp_path):
    files = [o[0] for o in dls.valid_ds.items]
    reader = Reader.from_learner(learn)
    was = reader.read(files)
    reader.save(tmp_path/'r')
    again = Reader.load(tmp_path/'r')
    assert again.spec.arch==arch_name(learn.arch) and again.spec.arch_args==SMALL[again.spec.arch]
    assert again.read(files)==was and all(0<o.confidence<1 for o in was)
    told = again.read(files, constraint=again.constraint(length=3))
    assert {len(o.text) for o in told}=={3} and all(0<o.confidence<1 for o in told)

@pytest.mark.parametrize('name', SMALL)
def test_colour_and_any_size(name):
    arch = get_arch(name)
    model = arch(Vocab('ab'), (33,70), channels=3, width=2, **SMALL[name]).eval()
    out = model(torch.zeros(2,3,33,70))
    assert out.shape[0]==2 and out.shape[1]>=2 and out.shape[2]==3
    assert arch.splitter is None or len(arch.splitter(model))==2

@pytest.mark.parametrize('name', SMALL)
def test_rows_are_the_layers_that_grow_with_the_vocabulary(name):
    arch = get_arch(name)
    few,more = ({k:v.shape for k,v in arch(Vocab(o), (33,70), width=2, **SMALL[name]).state_dict().items()}
                for o in ('ab','abc'))
    assert {k.rpartition('.')[0] for k in few if few[k]!=more[k]}==set(arch.rows)
