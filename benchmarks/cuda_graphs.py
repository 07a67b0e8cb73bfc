#!/usr/bin/env python3
"""What CUDA graphs and half precision are worth in training on a GPU: milliseconds a step, by each arch's own recipe.

usage: cuda_graphs.py [--data DIR] [--epochs 2]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). Times are of the last epoch, without its validation.
"""
import argparse, os, time, warnings

warnings.filterwarnings('ignore')
import torch
from fastai.basics import Callback, set_seed
from captcha_fastai.all import CUDAGraphs, CaptchaDataLoaders, archs, captcha_label, captcha_learner, picture_files
from accuracy import tutorial, tutorial_augment

class Steps(Callback):
    def before_train(self):
        torch.cuda.synchronize()
        self.begun = time.perf_counter()
    def after_train(self):
        torch.cuda.synchronize()
        self.ms = (time.perf_counter()-self.begun)/len(self.dls.train)*1000

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--epochs', type=int, default=2)
    args = p.parse_args()
    if not args.data: p.error('give --data, or set CAPTCHA_DATA')
    if not torch.cuda.is_available(): p.error('no GPU here')
    files = picture_files(args.data)
    labels = [captcha_label(f) for f in files]
    print(torch.cuda.get_device_name())
    for name in (*tutorial, 'crnn_small'):
        for half,cbs in ((False,[]), (False,[CUDAGraphs()]), (True,[]), (True,[CUDAGraphs()])):
            set_seed(0)
            dls = CaptchaDataLoaders.from_lists('.', files, labels, seed=0, bs=archs[name].recipe.bs, batch_tfms=tutorial_augment() if name in tutorial else None)
            learn,steps = captcha_learner(dls, archs[name], pretrained=False, half=half, cbs=cbs),Steps()
            with learn.no_bar(), learn.no_logging(): learn.fit(args.epochs, 1e-4, cbs=steps)
            print(f"{name:20} {'bfloat16' if half else 'float32':9} {'graphs' if cbs else '':7} {steps.ms:6.1f} ms a step", flush=True)

if __name__=='__main__': main()
