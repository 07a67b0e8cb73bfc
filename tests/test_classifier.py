"A learner of the unpooled classifier does all that one expects of a learner, and its reader reads the same"
import pytest, torch
from captcha_fastai.all import CaptchaDataLoaders, Reader, captcha_learner, pooled_classifier, save_captchas, spatial_classifier

@pytest.fixture(scope='module')
def dls(tmp_path_factory):
    path = tmp_path_factory.mktemp('drawn')/'c'
    save_captchas(10, path, length=(2,4), seed=0)
    return CaptchaDataLoaders.from_folder(path, size=(25,64), bs=4, valid_pct=.4)

@pytest.fixture(scope='module')
def learn(dls):
    torch.manual_seed(0)
    return captcha_learner(dls, spatial_classifier, arch_args=dict(n_hidden=16))

def test_learner(learn, dls):
    with learn.no_bar():
        lp,targ,dec = learn.get_preds(with_decoded=True)
        text,ids,one = learn.predict(dls.valid_ds.items[0][0])
        learn.show_results()
    n,width = len(dls.valid_ds),learn.spec['width']
    assert lp.shape==(n, width, len(dls.vocab)) and targ.shape==dec.shape==(n, width)
    assert torch.allclose(lp.exp().sum(-1), torch.ones(n, width), atol=1e-4)
    assert str(text)==dls.vocab.decode(dec[0]) and torch.allclose(one, lp[0], atol=.02)

def test_reader(learn, dls, tmp_path):
    files = [o[0] for o in dls.valid_ds.items]
    reader = Reader.from_learner(learn)
    was = reader.read(files)
    reader.save(tmp_path/'r')
    again = Reader.load(tmp_path/'r')
    assert again.arch=='spatial_classifier' and again.arch_args==dict(n_hidden=16)
    assert again.read(files)==was and all(0<o.confidence<1 for o in was)

@pytest.mark.parametrize('arch', [pooled_classifier, spatial_classifier])
def test_colour_and_any_size(arch):
    from captcha_fastai.all import Vocab
    model = arch(Vocab('ab'), (33,70), channels=3, width=2).eval()
    assert model(torch.zeros(2,3,33,70)).shape==(2,2,3)
    assert len(arch.splitter(model))==2
