#!/usr/bin/env python3
"""Training speed: the fastai captcha tutorial's pipeline, as written and with the best batch size, and this library's.

usage: train_speed.py [--data DIR] [--images 640] [--rounds 3]
       pictures trained on in a second, for `crnn` and `crnn_small`
       train_speed.py --accuracy [--seeds 3]
       seconds of training until 97.1 % and 99 % are first read without a mistake, from scratch and from the weights

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). The tutorial's pipeline: every picture
opened in every epoch, in colour, float32, batches of 8. An arm's speed is its median over the rounds, in which the
arms take turns, so that a machine that slows down slows all of them. Accuracy is that on the tenth held out, by the
arch's own recipe; time is the fit's, validation included.
"""
import statistics
import time
from itertools import product

from common import folder_of, history, labelled, log, parser, quiet, tutorial_augment
import numpy as np
import torch
from fastai.basics import (Callback, CancelFitException, CancelValidException, DataLoaders, Learner, TfmdLists,
                           Transform, set_seed)
from fastai.data.all import RandomSplitter
from fastai.vision.core import PILImage, TensorImage, image2tensor
from captcha_fastai.core import Vocab
from captcha_fastai.crnn import crnn, crnn_small
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.labels import captcha_label
from captcha_fastai.learner import captcha_learner
from captcha_fastai.losses import CTCLoss
from captcha_fastai.progress import EpochLines
from captcha_fastai.vision import CaptchaImage

class Tutorial(Transform):
    "Index to picture and ids, the file opened each time, as the tutorial's transform does it"
    def __init__(self, files, vocab): self.files,self.vocab = files,vocab
    def encodes(self, i:int|np.integer):
        im = TensorImage(image2tensor(PILImage.create(self.files[i]))).float()/255
        return CaptchaImage(im, self.vocab.encode(captcha_label(self.files[i]), 5))

def tutorial_learner(files, vocab, arch, bs):
    "The tutorial's pipeline"
    tfm = Tutorial(files, vocab)
    lists = [TfmdLists(list(s), tfm) for s in RandomSplitter(.1, seed=0)(files)]
    dls = DataLoaders.from_dsets(*lists, bs=bs, num_workers=0, after_batch=tutorial_augment())
    if torch.cuda.is_available(): dls = dls.cuda()
    return Learner(dls, arch(vocab, (50,200), 3, 5), loss_func=CTCLoss())

def our_learner(files, texts, vocab, arch, bs):
    dls = CaptchaDataLoaders.from_lists('.', files, texts, seed=0, bs=bs, vocab=vocab)
    return captcha_learner(dls, arch, pretrained=False)

def wait_for_gpu():
    if torch.cuda.is_available(): torch.cuda.synchronize()

class Speed(Callback):
    "Pictures a second over `images` pictures, after three batches to warm up"
    order = 100
    def __init__(self, images): self.images = images

    def before_fit(self): self.n = 0

    def after_batch(self):
        if not self.training: return
        if self.train_iter==3:
            wait_for_gpu()
            self.begun,self.n = time.perf_counter(),0
        elif self.train_iter>3:
            self.n += len(self.y)
            at_the_end = self.iter==self.n_iter-1 and self.epoch==self.n_epoch-1
            if self.n<self.images and not at_the_end: return
            wait_for_gpu()
            self.rate = self.n/(time.perf_counter()-self.begun)
            raise CancelFitException

class NoValidation(Callback):
    def before_validate(self):
        raise CancelValidException

def speed(learn, images):
    measure = Speed(images)
    with quiet(learn): learn.fit_one_cycle(20, 3e-3, cbs=[measure, NoValidation()])
    return measure.rate

def speeds(files, texts, images, rounds):
    "The first table: pictures a second of each arm, and what they are of the tutorial as written"
    vocab,written = Vocab.from_labels(texts),'tutorial, batch of 8'
    for arch in (crnn, crnn_small):
        arms = {f'tutorial, batch of {bs}': tutorial_learner(files, vocab, arch, bs) for bs in (8,16,32,64,128)}
        arms['ours'] = our_learner(files, texts, vocab, arch, arch.recipe.bs)
        seen = {name:[] for name in arms}
        for _ in range(rounds):
            for name,learn in arms.items(): seen[name].append(speed(learn, images))
        med = {k:statistics.median(v) for k,v in seen.items()}
        tuned = max((o for o in med if o not in ('ours', written)), key=med.get)
        for name,rate in med.items():
            log(f"{arch.__name__:11} {name:24} {rate:7.1f} pictures/s   "
                f"x{rate/med[written]:.2f} of the tutorial as written")
        log(f"{arch.__name__:11} ours is x{med['ours']/med[written]:.2f} of the tutorial as written, "
            f"x{med['ours']/med[tuned]:.2f} of it with the best batch size ({tuned})")

GOALS = .971,.99

def reached(files, texts, vocab, arm, seed, epochs):
    "Seconds until each of the goals was read on the tenth held out"
    set_seed(seed)
    dls = CaptchaDataLoaders.from_lists('.', files, texts, seed=seed, bs=crnn_small.recipe.bs, vocab=vocab)
    learn = captcha_learner(dls, crnn_small, pretrained=arm!='from scratch')
    timed = EpochLines(lambda s: None)
    with quiet(learn): learn.fit_recipe(epochs, cbs=timed)
    accs = history(learn).captcha_accuracy.tolist()
    row = [next((t for t,a in zip(timed.seconds, accs) if a>=goal), float('inf')) for goal in GOALS]
    log(f'{arm}, seed {seed}: 97.1 % after {row[0]:.1f} s, 99 % after {row[1]:.1f} s, '
        f'{accs[-1]:.2%} at the end, after {timed.seconds[-1]:.1f} s')
    return row

def accuracy(files, texts, seeds, epochs):
    "The second table: seconds to each goal, medians over the seeds"
    vocab = Vocab.from_labels(texts)
    rows = {'from scratch':[], 'from the weights in the package':[]}
    for seed,arm in product(range(seeds), rows):   # the arms take turns
        rows[arm].append(reached(files, texts, vocab, arm, 1000+seed, epochs))
    for arm,o in rows.items():
        first,second = (statistics.median(r[i] for r in o) for i in range(2))
        log(f'{arm}, median: 97.1 % after {first:.1f} s, 99 % after {second:.1f} s')

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--images', type=int, default=640)
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--accuracy', action='store_true')
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--epochs', type=int, help="of --accuracy; the recipe's if not given")
    args = p.parse_args()
    files,texts = labelled(folder_of(p, args.data))
    if args.accuracy: accuracy(files, texts, args.seeds, args.epochs)
    else: speeds(files, texts, args.images, args.rounds)

if __name__=='__main__': main()
