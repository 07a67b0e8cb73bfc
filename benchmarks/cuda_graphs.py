#!/usr/bin/env python3
"""What CUDA graphs and half precision are worth in training on a GPU: milliseconds a step, by each arch's own recipe.

usage: cuda_graphs.py [--data DIR] [--epochs 2]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Times are of the last epoch, without its
validation.
"""
import time

from common import folder_of, labelled, log, parser, quiet, tutorial, tutorial_augment
import torch
from fastai.basics import Callback, set_seed
from captcha_fastai.archs import get_arch
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.learner import captcha_learner
from captcha_fastai.speed import CUDAGraphs

class Steps(Callback):
    "Milliseconds a training step, of the last epoch"
    def before_train(self):
        torch.cuda.synchronize()
        self.begun = time.perf_counter()

    def after_train(self):
        torch.cuda.synchronize()
        self.ms = (time.perf_counter()-self.begun)/len(self.dls.train)*1000

def timed(files, texts, name, half, graphs, epochs):
    "Milliseconds a step of one arch"
    set_seed(0)
    arch = get_arch(name)
    augment = tutorial_augment() if name in tutorial else None
    dls = CaptchaDataLoaders.from_lists('.', files, texts, seed=0, bs=arch.recipe.bs, batch_tfms=augment)
    learn = captcha_learner(dls, arch, pretrained=False, half=half, cbs=[CUDAGraphs()] if graphs else [])
    steps = Steps()
    with quiet(learn): learn.fit(epochs, 1e-4, cbs=steps)
    return steps.ms

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--epochs', type=int, default=2)
    args = p.parse_args()
    folder = folder_of(p, args.data)
    if not torch.cuda.is_available(): p.error('no GPU here')
    files,texts = labelled(folder)
    log(torch.cuda.get_device_name())
    for name in (*tutorial, 'crnn_small'):
        for half in (False, True):
            for graphs in (False, True):
                ms = timed(files, texts, name, half, graphs, args.epochs)
                kind = 'bfloat16' if half else 'float32'
                log(f"{name:20} {kind:9} {'graphs' if graphs else '':7} {ms:6.1f} ms a step")

if __name__=='__main__': main()
