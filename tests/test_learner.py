"captcha_learner, fit_recipe and Reader.from_learner: shared data, stops, losses and arguments of one's own"
import os

import pytest
import torch
from fastai.basics import Callback, CancelFitException, set_seed
from torch import nn

from captcha_fastai.archs import Recipe, captcha_arch
from captcha_fastai.core import CaptchaError
from captcha_fastai.crnn import crnn_small
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.labels import captcha_label
from captcha_fastai.learner import TeacherForcing, captcha_learner
from captcha_fastai.normalize import normalized_by
from captcha_fastai.losses import CTCLoss, TokenLoss
from captcha_fastai.progress import Checkpoint
from captcha_fastai.reader import Reader
from captcha_fastai.speed import BFloat16, is_half
from captcha_fastai.synth import save_captchas
from captcha_fastai.transformer import captcha_transformer

SMALL = dict(widths=[8,16], blocks=[1,1], n_hidden=16)       # a crnn_small that trains in seconds
WRITER = dict(widths=[8,16], d=24, layers=[1,1])             # a captcha_transformer likewise

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    path = tmp_path_factory.mktemp('drawn')/'captchas'
    save_captchas(48, path, chars='2bmx', length=3, seed=0)
    return path

def load(path, **kwargs): return CaptchaDataLoaders.from_folder(path, **dict(bs=16, valid_pct=.25)|kwargs)

def quiet(learn, fit):
    with learn.no_bar(), learn.no_logging(): return fit(learn)

# What can't be saved is refused before it is trained

@pytest.mark.parametrize('arch_args, why', [(dict(d_ff=5000), 'numbers go up to 4096'),
                                            (dict(act=nn.GELU), "can't be saved with a model"),
                                            (dict(d=torch.tensor(24)), "can't be saved with a model")])
def test_arguments_that_no_file_can_hold(drawn, arch_args, why):
    with pytest.raises(CaptchaError, match=why): captcha_learner(load(drawn), captcha_transformer, arch_args=arch_args)

def test_the_spec_comes_before_the_model(drawn):
    made = []
    @captcha_arch(Recipe(1, 1e-3))
    def never(vocab, size, channels, width, n=1): made.append(n)
    with pytest.raises(CaptchaError): captcha_learner(load(drawn), never, arch_args=dict(n=10**6))
    assert not made

def test_no_arch_and_no_text_loss(drawn):
    with pytest.raises(CaptchaError, match='is no arch'): captcha_learner(None, len)
    with pytest.raises(CaptchaError, match='CrossEntropyLoss.*give a TextLoss'):
        captcha_learner(load(drawn), crnn_small, loss_func=nn.CrossEntropyLoss())

# Two learners on the same data

def test_each_learner_has_its_own_normalisation(drawn):
    dls = load(drawn)
    writer = captcha_learner(dls, captcha_transformer, arch_args=WRITER)
    before = normalized_by(dls)
    small = captcha_learner(dls, crnn_small)       # from the shipped weights, normalised as they were
    fresh = captcha_learner(load(drawn), crnn_small)
    assert small.started and small.spec.mean==fresh.spec.mean!=writer.spec.mean
    assert writer.dls is dls and small.dls is not dls and normalized_by(dls)==before
    assert small.dls.train.held is dls.train.held, 'pictures held in memory are shared'
    x = torch.zeros(2,1,50,200, dtype=torch.uint8)
    for learn in (writer, small):
        reader = Reader.from_learner(learn)
        assert torch.allclose(reader._normal(x)[0,0,0,0], (0-torch.tensor(learn.spec.mean[0]))/learn.spec.std[0])

def test_no_normalisation_on_data_that_another_learner_normalises(drawn):
    dls = load(drawn, batch_tfms=[])
    captcha_learner(dls, captcha_transformer, arch_args=WRITER)
    plain = captcha_learner(dls, crnn_small, arch_args=SMALL, normalize=False)
    assert (plain.spec.mean, plain.spec.std)==([0.],[1.]) and normalized_by(plain.dls)==(None,None)
    assert plain.dls.one_batch()[0].min()>=0>dls.one_batch()[0].min()

def test_a_normalisation_of_your_own_stays(drawn):
    from fastai.basics import Normalize
    mine = Normalize.from_stats([.25], [.5], cuda=False)
    dls = load(drawn, batch_tfms=[mine])
    for arch,args in ((captcha_transformer, WRITER), (crnn_small, None)):
        learn = captcha_learner(dls, arch, arch_args=args)
        assert learn.dls is dls and (learn.spec.mean, learn.spec.std)==([.25],[.5])

def test_statistics_seen_before():
    "The figures that two learners on the same data saw when the first one's normalisation stayed for the second"
    if not os.environ.get('CAPTCHA_DATA'): pytest.skip('needs real captchas: set CAPTCHA_DATA to their folder')
    from captcha_fastai.pictures import picture_files
    files = picture_files(os.environ['CAPTCHA_DATA'])[:120]
    dls = CaptchaDataLoaders.from_lists('.', files, [captcha_label(f) for f in files], bs=32, valid_pct=.5,
                                        vocab='2345678bcdefgmnpwxy')
    writer = captcha_learner(dls, captcha_transformer, arch_args=WRITER)
    small = captcha_learner(dls, crnn_small)
    assert small.started
    assert (small.spec.mean[0], small.spec.std[0])==pytest.approx((.645,.249), abs=1e-3)
    assert (writer.spec.mean[0], writer.spec.std[0])==pytest.approx((.716,.313), abs=1e-3)

# A training that is stopped and goes on

class StopAfter(Callback):
    order = 90
    def __init__(self, n): self.n = n
    def after_epoch(self):
        if self.epoch+1==self.n: raise CancelFitException

ARCHS = [(crnn_small, SMALL), (captcha_transformer, WRITER), (crnn_small, None)]   # the last from the shipped weights

@pytest.mark.parametrize('arch, args', ARCHS)
@pytest.mark.parametrize('half', [False, True])
def test_resumed_training_ends_the_same(drawn, tmp_path, arch, args, half):
    file,small = tmp_path/'state.pth',dict(size=(32,96)) if args else {}
    def trained(half, **kwargs):
        set_seed(0)
        learn = captcha_learner(load(drawn, **small), arch, arch_args=args, half=half)
        quiet(learn, lambda o: o.fit_recipe(3, **kwargs))
        return learn
    whole = trained(half)
    trained(half, checkpoint=file, cbs=StopAfter(2))
    assert Checkpoint(file, resume=True).start_epoch==2
    resumed = trained(not half, checkpoint=file, resume=True)   # the state says in which precision to go on
    assert is_half(resumed)==half
    for k,v in whole.model.state_dict().items(): assert torch.equal(v, resumed.model.state_dict()[k]), k
    done = trained(half, checkpoint=file, resume=True)          # nothing is left to train
    for k,v in whole.model.state_dict().items(): assert torch.equal(v, done.model.state_dict()[k]), k

def test_a_state_that_tells_no_precision(drawn, tmp_path):
    "As the first versions wrote it: without `half` and `seconds`"
    file = tmp_path/'state.pth'
    def learner(half): return captcha_learner(load(drawn), crnn_small, arch_args=SMALL, half=half)
    quiet(learner(False), lambda o: o.fit_recipe(2, checkpoint=file, cbs=StopAfter(1)))
    state = torch.load(file, weights_only=True)
    del state['half'], state['seconds']
    torch.save(state, file)
    learn = learner(True)
    quiet(learn, lambda o: o.fit_recipe(2, checkpoint=Checkpoint(file, resume=True)))
    assert sum(isinstance(o, BFloat16) for o in learn.cbs)==1
    assert [len(o) for o in learn.recorder.values]==[0,4], 'the first epoch is skipped'

# Models and losses of one's own

def test_a_model_that_reads_the_label_is_taught(drawn):
    learn = captcha_learner(load(drawn), captcha_transformer, arch_args=WRITER)
    assert sum(isinstance(o, TeacherForcing) for o in learn.cbs)==1
    assert not any(isinstance(o, TeacherForcing) for o in captcha_learner(load(drawn), crnn_small).cbs)
    class Mine(TeacherForcing):
        def inputs(self, x, y): return x,y.clone()
    for cb in (Mine(), Mine):
        learn = captcha_learner(load(drawn), captcha_transformer, arch_args=WRITER, cbs=cb)
        assert [type(o) for o in learn.cbs if isinstance(o, TeacherForcing)]==[Mine]

def test_texts_too_long_for_a_writer(drawn):
    names = [f.name for f in sorted(drawn.iterdir())][:16]
    longer = CaptchaDataLoaders.from_lists(drawn, names, ['2bmx2']*16)
    learn = captcha_learner(load(drawn), captcha_transformer, arch_args=WRITER)
    learn.dls = longer
    said = r"16 text\(s\) can't be written by a model of 4 steps.*needs 6"
    with learn.no_bar(), pytest.raises(CaptchaError, match=said): learn.fit(1)

def reader_with(drawn, loss_func):
    learn = captcha_learner(load(drawn), crnn_small, loss_func=loss_func)
    return Reader.from_learner(learn, device='cpu')

def test_losses_of_ones_own(drawn, tmp_path):
    class Alpha(CTCLoss):
        def __init__(self, alpha): super().__init__(); self.alpha = alpha
    reader = reader_with(drawn, Alpha(.5))           # made with an argument, and it reads the same
    reader.save(tmp_path/'r')
    files = sorted(drawn.iterdir())[:4]
    assert [o.text for o in Reader.load(tmp_path/'r').read(files)]==[o.text for o in reader.read(files)]
    class Backwards(CTCLoss):
        def decodes(self, out): return super().decodes(out).flip(1)
    class Warm(CTCLoss):
        def activation(self, out): return super().activation(out/2)
    for loss in (Backwards(), Warm(), TokenLoss()):
        said = f"{type(loss).__name__} reads the model's output otherwise than CTCLoss"
        with pytest.raises(CaptchaError, match=said): reader_with(drawn, loss)

def test_a_reader_takes_what_captcha_learner_made(drawn):
    from fastai.basics import Learner
    plain = Learner(load(drawn), nn.Flatten(), loss_func=CTCLoss())
    with pytest.raises(CaptchaError, match='make it by captcha_learner'): Reader.from_learner(plain)
    with pytest.raises(CaptchaError, match='no arch, and so no recipe'): plain.fit_recipe()
    learn = captcha_learner(load(drawn), crnn_small)
    reader = Reader.from_learner(learn, info=dict(note='kept'))
    assert reader.spec.info=={'note':'kept'} and reader.spec.lengths=={3:36} and reader.spec.mean==learn.spec.mean
    w = next(learn.model.parameters())
    with torch.no_grad(): w += 1
    assert not torch.equal(w, next(reader.model.parameters())), 'training on changes the reader'
