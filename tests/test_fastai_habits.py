"What somebody does who writes fastai daily: it works, or one line says why not and what to do, before the work begins"
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fastai.vision.all import (Callback, CancelFitException, CategoryBlock, ColReader, ColSplitter, CutMix, DataBlock,
                               EarlyStoppingCallback, F1Score, Learner, MixUp, Normalize, ReduceLROnPlateau,
                               SaveModelCallback, accuracy, error_rate, load_learner, params, resnet18, set_seed,
                               skm_to_fastai)
from torch import nn

from captcha_fastai.archs import Recipe, captcha_arch
from captcha_fastai.classifier import pooled_classifier, spatial_classifier
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.pictures import picture_files
from captcha_fastai.crnn import CRNN, crnn, crnn_small
from captcha_fastai.data import CaptchaBlock, PictureBlock
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.labels import captcha_label
from captcha_fastai.fits import FitsCheck
from captcha_fastai.learner import captcha_learner
from captcha_fastai.normalize import normalized_by
from captcha_fastai.losses import CharLoss, CTCLoss, TokenLoss
from captcha_fastai.metrics import TextMetric, captcha_accuracy, cer, char_accuracy, score_texts
from captcha_fastai.progress import Checkpoint
from captcha_fastai.reader import Reader
from captcha_fastai.speed import BFloat16
from captcha_fastai.synth import save_captchas
from captcha_fastai.transformer import captcha_transformer

SMALL = dict(widths=[8,16], blocks=[1,1], n_hidden=16)       # a crnn_small that trains in seconds
WRITER = dict(widths=[8,16], d=24, layers=[1,1])             # a captcha_transformer likewise
ARCHS = {'crnn_small':(crnn_small, SMALL), 'captcha_transformer':(captcha_transformer, WRITER), 'crnn':(crnn, {}),
         'pooled_classifier':(pooled_classifier, {}), 'spatial_classifier':(spatial_classifier, {'n_hidden':16})}

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    path = tmp_path_factory.mktemp('drawn')/'captchas'
    save_captchas(48, path, chars='2bmx', length=3, seed=0)
    return path

@pytest.fixture(scope='module')
def others(tmp_path_factory):
    "As many captchas, of as many characters, but other ones"
    path = tmp_path_factory.mktemp('others')/'captchas'
    save_captchas(48, path, chars='37cy', length=3, seed=1)
    return path

@pytest.fixture(scope='module')
def few(tmp_path_factory):
    path = tmp_path_factory.mktemp('few')/'captchas'
    save_captchas(12, path, chars='2bmx', length=3, seed=0)
    return path

def load(path, **kwargs): return CaptchaDataLoaders.from_folder(path, **dict(bs=16, valid_pct=.25, size=(32,96))|kwargs)

def small(path, arch=crnn_small, arch_args=SMALL, cbs=None, metrics=None, half=False, **kwargs):
    return captcha_learner(load(path, **kwargs), arch, arch_args=arch_args, cbs=cbs, metrics=metrics, half=half)

def quiet(learn, f):
    with learn.no_bar(), learn.no_logging(): return f(learn)

def refused(learn, f, said):
    with learn.no_bar(), learn.no_logging(), pytest.raises(CaptchaError, match=said) as e: f(learn)
    assert '\n' not in str(e.value)

# A1: the device as a string

@pytest.mark.parametrize('how', [lambda p: load(p, device='cpu'), lambda p: load(p).to('cpu')])
def test_the_device_as_a_string(drawn, tmp_path, how):
    learn = captcha_learner(how(drawn), crnn_small, arch_args=SMALL, half=False)
    quiet(learn, lambda o: o.fit_recipe(1, checkpoint=tmp_path/'state.pth'))
    again = captcha_learner(how(drawn), crnn_small, arch_args=SMALL, half=True)
    quiet(again, lambda o: o.fit_recipe(2, checkpoint=tmp_path/'state.pth', resume=True))
    assert Reader.from_learner(again, device='cpu')

def test_a_checkpoint_of_a_plain_learner_whose_device_is_a_string(drawn, tmp_path):
    dls = load(drawn, device='cpu')
    learn = Learner(dls, crnn_small(dls.vocab, (32,96), **SMALL), loss_func=CTCLoss(), cbs=Checkpoint(tmp_path/'s.pth'))
    quiet(learn, lambda o: o.fit(1))
    assert Checkpoint(tmp_path/'s.pth', resume=True).start_epoch==1

# A2: metrics whose smaller values are the better ones

def test_fastai_knows_that_fewer_errors_are_better():
    assert cer.name=='char_error_rate'
    for cb in (SaveModelCallback, EarlyStoppingCallback, ReduceLROnPlateau): assert cb(monitor=cer.name).comp is np.less
    for m in (captcha_accuracy, char_accuracy): assert SaveModelCallback(monitor=m.name).comp is np.greater
    assert set(score_texts(['a'], ['b']))=={'n','captcha_accuracy','char_accuracy','cer'}

class Scripted(TextMetric):
    "Has these values in three epochs"
    values = iter((.5, .25, .75))
    value = property(lambda self: next(self.values))

def test_the_best_epoch_is_kept(drawn, tmp_path):
    learn = small(drawn, metrics=Scripted(cer.func, cer.name))
    learn.path,best = tmp_path,SaveModelCallback(monitor='char_error_rate')
    seen = []
    class See(Callback):
        def after_epoch(self): seen.append(next(self.model.parameters()).clone())
    quiet(learn, lambda o: o.fit(3, 1e-2, cbs=[best, See()]))
    assert best.best==.25 and torch.equal(next(learn.model.parameters()), seen[1])

def test_the_old_name_of_the_metric_is_answered(drawn):
    learn = small(drawn, metrics=[cer.new()])
    for cb in (SaveModelCallback, EarlyStoppingCallback, ReduceLROnPlateau):
        refused(learn, lambda o, cb=cb: o.fit(1, cbs=cb(monitor='cer')), "monitor='char_error_rate'")

# A3: another vocabulary than the model's

@pytest.mark.parametrize('loss, steps', [(CTCLoss(), 16), (CharLoss(), 5), (TokenLoss(), 6)])
@pytest.mark.parametrize('bad', [20, 40, -1])
def test_ids_that_the_output_has_no_class_for(loss, steps, bad):
    targ = torch.full((3,5), 2)
    loss(torch.randn(3, steps, 20), targ)
    targ[1,3] = bad
    with pytest.raises(CaptchaError, match=f'from 0 to 19 here.*{bad}'): loss(torch.randn(3, steps, 20), targ)

WAYS = {'fit': lambda o: o.fit(1), 'validate': lambda o: o.validate(), 'get_preds': lambda o: o.get_preds(),
        'predict': lambda o: o.predict(o.dls.valid_ds.items[0][0]), 'show_results': lambda o: o.show_results(),
        'lr_find': lambda o: o.lr_find(), 'fit_recipe': lambda o: o.fit_recipe(1)}

@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('arch', ['crnn_small','captcha_transformer'])
def test_data_of_other_characters(drawn, others, arch, way):
    learn = small(drawn, *ARCHS[arch])
    learn.dls = load(others)
    refused(learn, WAYS[way], "reads '2bmx'.*'37cy'.*make a learner")
    learn.dls = load(drawn, vocab='bmx2')      # the same characters in another order
    refused(learn, WAYS[way], "load the data with vocab='2bmx'")
    learn.dls = load(drawn, vocab='2bmx')
    quiet(learn, WAYS['validate'])

def test_a_loader_of_other_characters(drawn, others):
    learn,dl = small(drawn),load(others).valid
    refused(learn, lambda o: o.validate(dl=dl), "reads '2bmx'")
    refused(learn, lambda o: o.get_preds(dl=dl), "reads '2bmx'")

def test_a_plain_learner_is_told_which_text_it_has_no_class_for(drawn):
    dls = load(drawn)
    model = crnn_small(Vocab('2'), (32,96), **SMALL)
    learn = Learner(dls, model, loss_func=CTCLoss(), cbs=FitsCheck())
    refused(learn, lambda o: o.fit(1), r"no class for.*\.png")
    learn = Learner(dls, model, loss_func=CTCLoss())
    refused(learn, lambda o: o.fit(1), r"from 0 to 1 here")

# B1: test time augmentation

def test_tta_is_as_good_as_no_augmentation(tmp_path):
    save_captchas(60, tmp_path/'hard', seed=11)
    dls = CaptchaDataLoaders.from_folder(tmp_path/'hard', bs=64, valid_pct=.8)
    learn = captcha_learner(dls, crnn_small, half=False)
    plain = quiet(learn, lambda o: o.validate())[1]
    set_seed(0)
    for kwargs in ({}, dict(n=2, use_max=True)):
        log_probs,targ = quiet(learn, lambda o, kwargs=kwargs: o.tta(**kwargs))
        assert torch.allclose(log_probs.exp().sum(-1), torch.ones(1), atol=1e-4), 'a distribution for each column'
        assert captcha_accuracy(learn.loss_func.decodes(log_probs), targ)>=plain-.021, kwargs
    aug,clean = quiet(learn, lambda o: o.tta(n=2, beta=None))[0]
    assert aug.shape==clean.shape and not torch.equal(aug, clean)
    assert torch.equal(clean, quiet(learn, lambda o: o.get_preds())[0])

@pytest.mark.parametrize('arch', ['captcha_transformer','pooled_classifier'])
def test_tta_of_other_archs(few, arch):
    learn = small(few, *ARCHS[arch])
    preds,targ = quiet(learn, lambda o: o.tta(n=2))
    assert preds.shape==quiet(learn, lambda o: o.get_preds())[0].shape and len(targ)==len(preds)
    assert torch.allclose(preds.exp().sum(-1), torch.ones(1), atol=1e-4)

# B2: foreign targets

def table(drawn):
    import pandas as pd
    files = picture_files(drawn)
    texts = [captcha_label(f) for f in files]
    valid = [i%4==0 for i in range(len(files))]
    return pd.DataFrame(dict(name=[f.name for f in files], text=texts, kind='a', is_valid=valid))

def block(drawn, *blocks, columns=('text',)):
    get_y = [ColReader(o) for o in columns]
    b = DataBlock(blocks=(PictureBlock(size=(32,96)), *blocks), get_x=ColReader('name', pref=drawn), get_y=get_y,
                  splitter=ColSplitter(), n_inp=1)
    return b.dataloaders(table(drawn), bs=8)

def test_targets_that_are_no_texts(drawn):
    for blocks,columns in (((CategoryBlock,), ['text']), ((CaptchaBlock, CategoryBlock), ['text','kind']), ((), ())):
        dls = block(drawn, *blocks, columns=columns)
        with pytest.raises(CaptchaError, match='targets? .*CaptchaBlock') as e: captcha_learner(dls, crnn_small)
        assert '\n' not in str(e.value)
    from fastai.data.all import TransformBlock
    own = TransformBlock(type_tfms=lambda o: torch.tensor(len(o)))
    with pytest.raises(CaptchaError, match='targets .*CaptchaBlock'): captcha_learner(block(drawn, own), crnn_small)
    assert captcha_learner(block(drawn, CaptchaBlock), crnn_small, arch_args=SMALL)

def test_inputs_that_are_no_pictures(drawn):
    b = DataBlock(blocks=(CaptchaBlock, CaptchaBlock), get_x=ColReader('text'), get_y=ColReader('text'),
                  splitter=ColSplitter())
    dls = b.dataloaders(table(drawn), bs=8)
    with pytest.raises(CaptchaError, match='inputs .*PictureBlock'): captcha_learner(dls, crnn_small)

# B6: groups of parameters

@pytest.mark.parametrize('name', ARCHS)
def test_freezing_freezes_without_weights_to_start_from(few, name):
    learn = small(few, *ARCHS[name])
    assert not learn.started and len(learn.splitter(learn.model))==2
    learn.freeze()
    layers = [m for m in learn.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = {id(p) for m in layers for p in m.parameters()}
    free = [p for p in learn.model.parameters() if p.requires_grad and id(p) not in norms]
    held = [p for p in learn.model.parameters() if not p.requires_grad]
    assert len(held)>4 and free
    before = [p.detach().clone() for p in held]
    quiet(learn, lambda o: o.fit(1, 1e-3))
    assert all(torch.equal(a, b) for a,b in zip(before, held))
    learn.unfreeze()
    quiet(learn, lambda o: o.fit(1, slice(1e-4, 1e-3)))
    assert [o['lr'] for o in learn.opt.hypers]==pytest.approx([1e-4,1e-3])

@captcha_arch(Recipe(1, 1e-3))
def one_group(vocab, size, channels=1, width=None):
    return CRNN(nn.Sequential(nn.Conv2d(channels, 8, 3, stride=4), nn.AdaptiveAvgPool2d((1,12))), nn.Identity(),
                nn.Linear(8, len(vocab)))
by_rows = captcha_arch(Recipe(1, 1e-3), rows=('head',))(lambda *args, **kwargs: one_group(*args, **kwargs))

def test_archs_without_a_splitter(drawn):
    learn = small(drawn, by_rows, {})
    learn.freeze()
    assert [k for k,p in learn.model.named_parameters() if p.requires_grad]==['head.weight','head.bias']
    with pytest.warns(UserWarning, match='nothing is frozen'): small(drawn, one_group, {}).freeze()

def test_groups_change_nothing_in_a_training_of_all(drawn):
    def weights(**kwargs):
        set_seed(0)
        dls = load(drawn)
        learn = captcha_learner(dls, captcha_transformer, arch_args=WRITER, half=False, **kwargs)
        quiet(learn, lambda o: o.fit_one_cycle(2, 1e-3))
        return torch.cat([p.flatten() for p in learn.model.parameters()])
    assert torch.equal(weights(), weights(splitter=params))

def test_a_state_of_one_group_is_gone_on_with(drawn, tmp_path):
    "As the first versions wrote it for a training from nothing"
    def weights(n, splitter=None, **kwargs):
        set_seed(0)
        more = dict(splitter=splitter) if splitter else {}
        learn = captcha_learner(load(drawn), captcha_transformer, arch_args=WRITER, half=False, **more)
        quiet(learn, lambda o: o.fit_recipe(2, cbs=stop_after(n), **kwargs))
        return torch.cat([p.flatten() for p in learn.model.parameters()])
    whole = weights(9)
    weights(1, params, checkpoint=tmp_path/'s.pth')
    assert torch.equal(weights(9, checkpoint=tmp_path/'s.pth', resume=True), whole)

def stop_after(n):
    class Stop(Callback):
        order = 90
        def after_epoch(self):
            if self.epoch+1==n: raise CancelFitException
    return Stop()

# B9: TensorBoard

def test_predictions_for_tensorboard(drawn):
    from captcha_fastai.show import tensorboard_log
    learn,figures = small(drawn),[]
    b = learn.dls.valid.one_batch()
    out = learn.loss_func.decodes(learn.model(b[0]))
    x,y,its,outs = learn.dls.valid.show_results(b, out, show=False, max_n=4)
    writer = SimpleNamespace(add_figure=lambda name, fig, step: figures.append((name, fig, step)))
    tensorboard_log(x, y, its, outs, writer, 7)
    (name, fig, step), = figures
    assert name=='Sample results' and step==7 and sum(ax.get_title()!='' for ax in fig.axes)==4

def test_tensorboard(drawn, tmp_path):
    pytest.importorskip('tensorboard', reason='needs tensorboard')
    from fastai.callback.tensorboard import TensorBoardCallback
    for arch in ('crnn_small','captcha_transformer'):
        learn = small(drawn, *ARCHS[arch])
        board = TensorBoardCallback(tmp_path/arch, trace_model=arch=='crnn_small')
        quiet(learn, lambda o, board=board: o.fit(1, cbs=board))
        assert list((tmp_path/arch).iterdir())

# B10: mixed pictures

@pytest.mark.parametrize('mix', [MixUp, CutMix])
@pytest.mark.parametrize('arch', ['crnn_small','pooled_classifier'])
def test_mixed_pictures_train(few, mix, arch):
    learn = small(few, *ARCHS[arch])
    quiet(learn, lambda o: o.fit(3, 3e-3, cbs=mix()))
    assert isinstance(learn.loss_func, (CTCLoss,CharLoss)) and learn.loss_func.reduction=='mean'
    losses = [float(o) for o in learn.recorder.losses]
    assert losses[-1]<losses[0]

@pytest.mark.parametrize('mix', [MixUp, CutMix])
def test_a_model_that_is_taught_one_text_is_given_no_mixture(drawn, mix):
    refused(small(drawn, *ARCHS['captcha_transformer']), lambda o: o.fit(1, cbs=mix()), f'{mix.__name__}.*leave it out')

def test_the_loss_of_mixed_pictures_is_on_the_scale_of_others():
    from fastai.losses import NoneReduce
    logits,targ = torch.randn(4,13,20),torch.tensor([[1,2,3,0],[4,5,0,0],[6,0,0,0],[7,8,9,1]])
    for loss,T in ((CTCLoss(), 13), (CharLoss(), 4)):
        whole = loss(logits[:,:T], targ)
        with NoneReduce(loss) as each: assert torch.allclose(each(logits[:,:T], targ).mean(), whole)
        assert loss.reduction=='mean'

# B11: a backbone of one's own, an arch by its name

def test_a_body_by_its_name(drawn, tmp_path):
    learn = small(drawn, crnn, dict(body='resnet18'))
    assert learn.spec.arch_args==dict(body='resnet18')
    quiet(learn, lambda o: o.fit(1, 1e-3))
    reader = Reader.from_learner(learn, device='cpu')
    reader.save(tmp_path/'r')
    files = picture_files(drawn)[:4]
    assert [o.text for o in Reader.load(tmp_path/'r', device='cpu').read(files)]==[o.text for o in reader.read(files)]
    learn.freeze()
    given = small(drawn, crnn, dict(body=resnet18))    # the function stands for its name
    assert given.spec.arch_args==dict(body='resnet18')
    assert [p.shape for p in given.model.parameters()]==[p.shape for p in learn.model.parameters()]

BODIES = 'resnet50 mobilenet_v3_small efficientnet_b0 densenet121 convnext_tiny regnet_y_400mf shufflenet_v2_x0_5'
@pytest.mark.parametrize('name', BODIES.split())
def test_bodies_keep_columns_for_the_text(name):
    for size,width,channels in (((50,200), 5, 1), ((32,96), 3, 3)):
        model = crnn(Vocab('2bmx'), size, channels, width, body=name).eval()
        with torch.no_grad(): out = model(torch.rand(2, channels, *size))
        assert out.shape[0]==2 and out.shape[2]==5 and 2*width+1<=out.shape[1]<=size[1]//4

def test_bodies_that_there_are_not():
    wrong = {'resnet19':'resnet18', 'vit_b_16':'vit_b_16.*columns', 'alexnet':'mostly its classifier', 7:'body'}
    for body,said in wrong.items():
        with pytest.raises(CaptchaError, match=said): crnn(Vocab('2bmx'), (50,200), width=5, body=body)
    with pytest.raises(CaptchaError, match='wider pictures'): crnn(Vocab('2bmx'), (50,24), width=12, body='resnet18')

def test_a_body_of_timm(drawn, tmp_path):
    pytest.importorskip('timm', reason='needs timm')
    learn = small(drawn, crnn, dict(body='timm:resnet10t'))
    quiet(learn, lambda o: o.fit(1, 1e-3))
    Reader.from_learner(learn, device='cpu').save(tmp_path/'r')
    assert Reader.load(tmp_path/'r', device='cpu')

def test_no_network_for_the_weights_of_a_body(drawn, monkeypatch):
    from urllib.error import URLError
    def nothing(*args, **kwargs): raise URLError('no network')
    monkeypatch.setattr('torch.hub.load_state_dict_from_url', nothing)
    monkeypatch.setattr('torchvision.models._api.load_state_dict_from_url', nothing)
    with pytest.raises(CaptchaError, match="weights of resnet34.*no network.*leave pretrained out"):
        captcha_learner(load(drawn), crnn, pretrained=True)

def test_an_arch_by_its_name(drawn):
    learn = small(drawn, 'crnn_small')
    assert learn.arch is crnn_small and learn.spec.arch=='crnn_small'
    with pytest.raises(CaptchaError, match="no arch 'crnn_smal'; there are crnn_small"): small(drawn, 'crnn_smal')

def test_what_is_no_arch(drawn):
    dls = load(drawn)
    with pytest.raises(CaptchaError, match='CRNN is a model.*captcha_arch') as e:
        captcha_learner(dls, crnn_small(dls.vocab, (32,96), **SMALL))
    assert len(str(e.value))<300
    said = r"resnet18.*arch_args=dict\(body='resnet18'\)"
    with pytest.raises(CaptchaError, match=said): captcha_learner(dls, resnet18)
    with pytest.raises(CaptchaError, match='is no arch'): captcha_learner(dls, len)

# B12: progressive resizing

def test_normalisation_travels_to_other_data(drawn):
    learn = small(drawn)
    before,was = quiet(learn, lambda o: o.validate()),normalized_by(learn.dls)
    learn.dls = load(drawn)
    assert normalized_by(learn.dls)==was and list(quiet(learn, lambda o: o.validate()))==pytest.approx(list(before))
    mine = Normalize.from_stats([.25], [.5], cuda=False)
    learn.dls = load(drawn, batch_tfms=[mine])
    assert normalized_by(learn.dls)==([.25],[.5]), 'one of your own stays'
    bare = captcha_learner(load(drawn), crnn_small, arch_args=SMALL, normalize=False)
    bare.dls = load(drawn)
    assert normalized_by(bare.dls)==(None,None)

def test_larger_pictures(few, tmp_path):
    learn = small(few, pooled_classifier, {})
    quiet(learn, lambda o: o.fit(1, 1e-3))
    learn.dls = load(few, size=(48,144))
    quiet(learn, lambda o: o.fit(1, 1e-3))
    assert learn.spec.size==(48,144)
    Reader.from_learner(learn, device='cpu').save(tmp_path/'r')

@pytest.mark.parametrize('way', ['fit','validate','get_preds'])
@pytest.mark.parametrize('name', ['crnn_small','captcha_transformer','spatial_classifier','crnn'])
def test_pictures_too_large_for_the_model(drawn, name, way):
    learn = small(drawn, *ARCHS[name])
    learn.dls = load(drawn, size=(64,192))
    refused(learn, WAYS[way], r"made for pictures of 96x32.*192x64.*size=\(32, 96\)")
    learn.dls = load(drawn, channels=3)
    refused(learn, WAYS[way], "made for pictures of 96x32 with 1 channel.*with 3")

# B16: one scale for losses, and a confidence

@pytest.mark.parametrize('name', ['crnn_small','captcha_transformer','pooled_classifier'])
def test_losses_are_on_one_scale(few, name):
    learn = small(few, *ARCHS[name])
    *_,each = quiet(learn, lambda o: o.get_preds(with_loss=True))
    assert each.mean().item()==pytest.approx(quiet(learn, lambda o: o.validate())[0], rel=1e-4)

@pytest.mark.parametrize('name', ['crnn_small','captcha_transformer','pooled_classifier'])
def test_a_confidence(few, name):
    learn = small(few, *ARCHS[name])
    quiet(learn, lambda o: o.fit(1, 1e-3))
    files = picture_files(few)[:4]
    reader = Reader.from_learner(learn, device='cpu')
    for r in reader.read(files):
        text,ids,log_probs = quiet(learn, lambda o, r=r: o.predict(r.file))
        assert text==r.text and learn.confidence(ids, log_probs)==pytest.approx(r.confidence, abs=.02)
    log_probs,_,ids = quiet(learn, lambda o: o.get_preds(with_decoded=True))
    sure = learn.confidence(ids, log_probs)
    assert sure.shape==(3,) and ((0<=sure) & (sure<=1)).all()

# B17: metrics that compare class by class

@pytest.mark.parametrize('name', ['crnn_small','captcha_transformer'])
def test_foreign_metrics(drawn, name):
    from sklearn.metrics import balanced_accuracy_score
    for m in (accuracy, error_rate, skm_to_fastai(balanced_accuracy_score), F1Score()):
        with pytest.raises(CaptchaError, match='captcha_accuracy, char_accuracy or cer'):
            small(drawn, *ARCHS[name], metrics=[m])
    learn = small(drawn, *ARCHS[name])
    learn.metrics = accuracy
    refused(learn, lambda o: o.fit(1), 'accuracy compares')
    refused(learn, lambda o: o.validate(), 'accuracy compares')

def test_metrics_that_fit(few):
    def mine(pred, targ): return pred.mean()
    learn = small(few, metrics=[mine, captcha_accuracy.new()])
    assert len(quiet(learn, lambda o: o.validate()))==3
    places = small(few, pooled_classifier, {}, metrics=accuracy)    # a class for each place: there it can be meant
    assert len(quiet(places, lambda o: o.validate()))==2

# C: smaller things

def test_precision_by_fastais_words(drawn):
    learn = small(drawn, half=True)
    assert any(isinstance(o, BFloat16) for o in learn.cbs)
    assert learn.to_channelslast() is learn and learn.to_channelslast(use_amp=False) is learn
    learn = small(drawn, half=True)
    assert learn.to_fp32() is learn and not any(isinstance(o, BFloat16) for o in learn.cbs)
    learn = small(drawn, half=True)
    assert learn.to_bf16() is learn and not any(isinstance(o, BFloat16) for o in learn.cbs)
    assert hasattr(learn, 'mixed_precision')
    assert learn.to_fp32() is learn and not hasattr(learn, 'mixed_precision')

def test_names_of_metrics_and_losses(drawn):
    learn = small(drawn)
    assert repr(list(learn.metrics))=="[TextMetric('captcha_accuracy'), TextMetric('char_accuracy')]"
    assert repr(learn.loss_func)=="CTCLoss(reduction='mean')"
    assert repr(CharLoss(reduction='none'))=="CharLoss(reduction='none')"

def test_body_and_head_of_a_crnn(drawn):
    learn = small(drawn)
    x = torch.rand(2,1,32,96)
    with torch.no_grad():
        learn.model.eval()
        assert torch.equal(learn.model[1](learn.model[0](x)), learn.model(x))
    assert learn.model[0] is learn.model.body and len(list(learn.model[1].children()))==3
    with pytest.raises(IndexError): learn.model[2]

def test_a_writer_that_nobody_teaches_says_so(drawn):
    dls = load(drawn)
    learn = Learner(dls, captcha_transformer(dls.vocab, (32,96), width=3, **WRITER), loss_func=TokenLoss())
    with pytest.warns(UserWarning, match='TeacherForcing'): quiet(learn, lambda o: o.fit(1))
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*TeacherForcing')
        taught = small(drawn, *ARCHS['captcha_transformer'])
        quiet(taught, lambda o: o.fit(1))

def test_interpretation_comes_with_it(drawn):
    from captcha_fastai.learner import __all__ as names
    import captcha_fastai.learner as module
    from fastai.interpret import Interpretation
    assert 'Interpretation' in names and module.Interpretation is Interpretation

def test_a_learner_that_was_exported(drawn, tmp_path):
    learn = small(drawn)
    learn.export(tmp_path/'l.pkl')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        again = load_learner(tmp_path/'l.pkl')
    file = picture_files(drawn)[0]
    assert quiet(again, lambda o: o.predict(file))[0]==quiet(learn, lambda o: o.predict(file))[0]
    assert again.spec==learn.spec and normalized_by(again.dls)==normalized_by(learn.dls)
