"Living beside fastai: its show functions and ours don't get in each other's way, whatever is imported first"
import os
import subprocess
import sys

import pytest

ORDERS = ['from captcha_fastai.learner import *; from fastai.vision.all import *',
          'from fastai.vision.all import *; from captcha_fastai.all import *',
          'from captcha_fastai.data import *; import fastai.vision.all; from captcha_fastai.all import *']

CHECK = '''
import torch
from fastai.vision import data, learner
from fastai.vision.core import TensorImage
from captcha_fastai.vision import TensorLabel
x, y = TensorImage(torch.zeros(1)), TensorLabel(torch.zeros(1))
calls = [(data.show_batch, (x, y, [])), (learner.show_results, (x, y, [], [])),
         (learner.plot_top_losses, (x, y, [], [], [], []))]
for f, args in calls: print(f.resolve_method(args)[0].__module__)
'''

@pytest.mark.parametrize('order', ORDERS)
def test_show_functions_whatever_is_imported_first(order):
    res = subprocess.run([sys.executable, '-W', 'ignore', '-c', order + CHECK], capture_output=True, text=True)
    assert res.stdout.split()==['captcha_fastai.data', 'captcha_fastai.show', 'captcha_fastai.show'], res.stderr

def test_half_precision_on_a_gpu(tmp_path):
    import torch
    if not torch.cuda.is_available(): pytest.skip('needs a GPU')
    from captcha_fastai.all import CaptchaDataLoaders, captcha_learner, crnn_small, save_captchas
    save_captchas(40, tmp_path/'c', seed=0)
    learn = captcha_learner(CaptchaDataLoaders.from_folder(tmp_path/'c', bs=8), crnn_small, half=False).to_fp16()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3)
    assert torch.isfinite(torch.tensor(learn.recorder.values[0][0]))

def test_cuda_graphs(tmp_path):
    import torch
    if not torch.cuda.is_available(): pytest.skip('needs a GPU')
    from fastai.basics import Callback, set_seed
    from captcha_fastai.all import CaptchaDataLoaders, captcha_learner, crnn_small, save_captchas
    from captcha_fastai.speed import CUDAGraphs
    save_captchas(40, tmp_path/'c', seed=0)
    def losses(cbs):
        set_seed(0)
        dls = CaptchaDataLoaders.from_folder(tmp_path/'c', bs=8, batch_tfms=[])
        learn = captcha_learner(dls, crnn_small, pretrained=False, half=False, arch_args=dict(drop=0.), cbs=cbs)
        learn.dls.train.shuffle = False
        with learn.no_bar(), learn.no_logging(): learn.fit(3, 1e-3)
        assert 'forward' not in vars(learn.model)
        class Breaks(Callback):
            def after_step(self): raise ValueError
        seen = [o[0] for o in learn.recorder.values]
        with learn.no_bar(), learn.no_logging():
            with pytest.raises(ValueError): learn.fit(1, 1e-3, cbs=Breaks())
            learn.fit(1, 1e-3)
        assert 'forward' not in vars(learn.model), 'graphs of a fit that broke off stay'
        return seen
    assert losses([CUDAGraphs()])==pytest.approx(losses([]), rel=.01)

def test_real_captchas():
    if not os.environ.get('CAPTCHA_DATA'): pytest.skip('needs real captchas: set CAPTCHA_DATA to their folder')
    from captcha_fastai.all import CaptchaDataLoaders, captcha_learner, crnn_small, untar_captchas
    dls = CaptchaDataLoaders.from_folder(untar_captchas(), bs=32)
    assert dls.vocab.chars=='2345678bcdefgmnpwxy'
    assert not dls.report.left_out and not dls.report.leaked
    assert set(dls.report.sizes)=={(50,200)} and set(dls.report.lengths)=={5}
    spec = captcha_learner(dls, crnn_small).spec
    assert (spec.arch, spec.size, spec.channels, spec.width)==('crnn_small', (50,200), 1, 5)
