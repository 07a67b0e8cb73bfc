#!/usr/bin/env python3
"""Training speed: the fastai captcha tutorial's pipeline as written, the same with the best batch size, and this library's, in one process.

usage: train_speed.py [--data DIR] [--images 640] [--rounds 3]     pictures trained on in a second, for `crnn` and `crnn_small`
       train_speed.py --accuracy [--seeds 3]                       seconds of training until 97.1 % and 99 % are first read without a mistake, from scratch
                                                                   and from the weights in the package

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). The tutorial's pipeline: every picture opened in every epoch, in
colour, float32, batches of 8. An arm's speed is its median over the rounds, in which the arms take turns, so that a machine that slows down
slows all of them. Accuracy is that on the tenth held out, by the arch's own recipe; time is the fit's, validation included.
"""
import argparse, os, statistics, time, warnings
from itertools import product
from pathlib import Path

warnings.filterwarnings('ignore')
import numpy as np
import torch
from fastai.basics import Callback, CancelFitException, CancelValidException, DataLoaders, Learner, TfmdLists, Transform, set_seed
from fastai.data.all import RandomSplitter
from fastai.vision.all import Brightness, Contrast, PILImage, Rotate, TensorImage, image2tensor
from captcha_fastai.all import CaptchaDataLoaders, CaptchaImage, CTCLoss, FoldProgress, Vocab, captcha_label, captcha_learner, crnn, crnn_small, picture_files

class Tutorial(Transform):
    "Index to picture and ids, the file opened each time, as the tutorial's transform does it"
    def __init__(self, files, vocab): self.files,self.vocab = files,vocab
    def encodes(self, i:int|np.integer):
        im = TensorImage(image2tensor(PILImage.create(self.files[i]))).float()/255
        return CaptchaImage(im, self.vocab.encode(captcha_label(self.files[i]), 5))

def tutorial_learner(files, vocab, arch, bs):
    tfm = Tutorial(files, vocab)
    splits = RandomSplitter(.1, seed=0)(files)
    dls = DataLoaders.from_dsets(*[TfmdLists(list(s), tfm) for s in splits], bs=bs, num_workers=0,
                                 after_batch=[Rotate(10, p=.5), Brightness(.5, p=.8), Contrast(.5, p=.8)])
    if torch.cuda.is_available(): dls = dls.cuda()
    return Learner(dls, arch(vocab, (50,200), 3, 5), loss_func=CTCLoss())

def our_learner(files, vocab, arch, bs):
    dls = CaptchaDataLoaders.from_lists('.', files, [captcha_label(f) for f in files], seed=0, bs=bs, vocab=vocab)
    return captcha_learner(dls, arch, pretrained=False)

class Speed(Callback):
    "Pictures a second over `images` pictures, after three batches to warm up"
    order = 100
    def __init__(self, images): self.images = images
    def before_fit(self): self.n = 0
    def after_batch(self):
        if not self.training: return
        if self.train_iter==3:
            if torch.cuda.is_available(): torch.cuda.synchronize()
            self.begun,self.n = time.perf_counter(),0
        elif self.train_iter>3:
            self.n += len(self.y)
            if self.n>=self.images or self.iter==self.n_iter-1 and self.epoch==self.n_epoch-1:
                if torch.cuda.is_available(): torch.cuda.synchronize()
                self.rate = self.n/(time.perf_counter()-self.begun)
                raise CancelFitException

class NoValidation(Callback):
    def before_validate(self):
        raise CancelValidException

def speed(learn, images):
    measure = Speed(images)
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(20, 3e-3, cbs=[measure, NoValidation()])
    return measure.rate

def speeds(files, images, rounds):
    vocab = Vocab.from_labels(map(captcha_label, files))
    for arch in (crnn, crnn_small):
        arms = {f'tutorial, batch of {bs}': tutorial_learner(files, vocab, arch, bs) for bs in (8,16,32,64,128)}
        arms['ours'] = our_learner(files, vocab, arch, arch.recipe.bs)
        seen = {name:[] for name in arms}
        for _ in range(rounds):
            for name,learn in arms.items(): seen[name].append(speed(learn, images))
        med = {k:statistics.median(v) for k,v in seen.items()}
        tuned = max((o for o in med if o!='ours' and o!='tutorial, batch of 8'), key=med.get)
        for name in arms:
            print(f"{arch.__name__:11} {name:24} {med[name]:7.1f} pictures/s   x{med[name]/med['tutorial, batch of 8']:.2f} of the tutorial as written", flush=True)
        print(f"{arch.__name__:11} ours is x{med['ours']/med['tutorial, batch of 8']:.2f} of the tutorial as written, x{med['ours']/med[tuned]:.2f} of it with the best batch size ({tuned})", flush=True)

def accuracy(files, seeds, epochs):
    vocab = Vocab.from_labels(map(captcha_label, files))
    rows = {'from scratch':[], 'from the weights in the package':[]}
    for seed,arm in product(range(seeds), rows):   # the arms take turns
        set_seed(1000+seed)
        dls = CaptchaDataLoaders.from_lists('.', files, [captcha_label(f) for f in files], seed=1000+seed, bs=crnn_small.recipe.bs, vocab=vocab)
        learn,timed = captcha_learner(dls, crnn_small, pretrained=arm!='from scratch'),FoldProgress(every=float('inf'))
        with learn.no_bar(), learn.no_logging(): learn.fit_recipe(epochs, cbs=timed)
        at = list(learn.recorder.metric_names).index('captcha_accuracy')-1
        accs = [o[at] for o in learn.recorder.values]
        row = [next((t for t,a in zip(timed.seconds, accs) if a>=goal), float('inf')) for goal in (.971,.99)]
        rows[arm].append(row)
        print(f'{arm}, seed {1000+seed}: 97.1 % after {row[0]:.1f} s, 99 % after {row[1]:.1f} s, {accs[-1]:.2%} at the end, after {timed.seconds[-1]:.1f} s', flush=True)
    for arm,o in rows.items(): print(f'{arm}, median:', ', '.join(f'{goal} after {statistics.median(r[i] for r in o):.1f} s' for i,goal in enumerate(('97.1 %','99 %'))))

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--images', type=int, default=640)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--accuracy', action='store_true')
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--epochs', type=int, help="of --accuracy; the recipe's if not given")
    args = p.parse_args()
    if not args.data: p.error('give --data, or set CAPTCHA_DATA')
    files = picture_files(args.data)
    accuracy(files, args.seeds, args.epochs) if args.accuracy else speeds(files, args.images, args.rounds)

if __name__=='__main__': main()
