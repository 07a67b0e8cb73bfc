#!/usr/bin/env python3
"""Trains the weights that travel: `crnn_small` in colour, of any width, on captchas drawn in all looks.

usage: train_weights.py --atlas FILE --out DIR [--from READER] [--seconds 6000] [--lr 2e-3] [--seed 0] [--workers 1]
                        [--device cuda] [--resume] [--arch-args JSON]

No picture is seen twice: every batch is drawn anew by `render`, and batch `i` depends on the seed and on `i` alone. A
draw has a size of its own, from 20 to 90 pixels high, and characters of its own; it is brought to the height of the
model, its width to the nearest of a grid, as a reader will do it (`resample`). The learning rate follows the clock: it
rises, and falls to nothing as the seconds of the budget run out; stops don't count. What is kept is a running average
of the weights. The state is written to DIR.partial every few minutes, and the same command goes on from there;
--resume insists that there is something to go on from. In the end DIR is a saved reader in half precision, from which
--from DIR goes on another time. With --arch-args of a larger model it starts from the smaller one at --from: `grow`.

Neither fastai nor a font is needed: torch, and an atlas of glyphs (`GlyphAtlas.build([...]).save(FILE)`). On a GPU,
--device cuda --workers 8 draws on the cores; --workers 0 draws on the GPU. Nothing is chosen by real pictures: with
$CAPTCHA_DATA and $CAPTCHA_KINDS set they are read now and then, for the log.
"""
import argparse
import json
import math
import os
import string
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from captcha_fastai.archs import ModelSpec
from captcha_fastai.atlas import GlyphAtlas
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.files import WorkFolder, atomic_write
from captcha_fastai.losses import CTCLoss
from captcha_fastai.reader import Reader, check_place, save_reader
from captcha_fastai.render import random_batch
from captcha_fastai.resample import grid_width, resample
from captcha_fastai.weights import load_pretrained, reader_folder
from grow import grow

HEIGHT,LONGEST,HELD_OUT = 50,16,2**31   # pixels; characters; the first seed that no training uses
DIGITS,LOWER,UPPER,SIGNS = string.digits,string.ascii_lowercase,string.ascii_uppercase,'+-=?#$%&@*'
CHARS = DIGITS+LOWER+UPPER+SIGNS
_luma = torch.tensor([.299,.587,.114]).view(3,1,1)

def log(text): print(time.strftime('%H:%M:%S'), text, flush=True)

# --- what is drawn

WHOLE = {DIGITS:.2, DIGITS+LOWER:.18, DIGITS+UPPER:.18, LOWER:.08, UPPER:.08, DIGITS+LOWER+UPPER:.12,
         DIGITS*3+SIGNS+'x':.03, DIGITS+LOWER+UPPER+SIGNS*2:.03}   # characters and their share; the rest are subsets
POOLS = DIGITS+LOWER, DIGITS+UPPER, DIGITS+LOWER+UPPER, DIGITS+'abcdef', DIGITS+'ABCDEF'

def random_chars(rng):
    "Characters of one draw: an alphabet that captchas have, or some of it"
    i = np.searchsorted(np.cumsum(list(WHOLE.values())), rng.random())
    if i<len(WHOLE): return list(WHOLE)[i]
    pool = list(POOLS[rng.integers(len(POOLS))])
    return ''.join(rng.permutation(pool)[:rng.integers(6, len(pool)+1)])

def random_size(rng):
    "Height and width of one draw, pixels: most like captchas, some very wide, small or large"
    aspect = rng.uniform(2.2, 4.6) if rng.random()<.6 else math.exp(rng.uniform(math.log(1.7), math.log(10)))
    h = rng.integers(36, 66) if rng.random()<.5 else math.exp(rng.uniform(math.log(20), math.log(90)))
    return round(float(h)),int(max(min(round(float(h))*aspect, 800), 40))

def random_lengths(rng, size):
    "Characters of the shortest and of the longest text of one draw, by what there is room for"
    h,w = size
    most = int(max(2, min(LONGEST, w*2.3/h, w//6)))
    usual = rng.random()<.8
    lo = int(rng.integers(min(3, most), min(6, most)+1) if usual else rng.integers(1, most+1))
    return lo,int(min(most, lo+rng.integers(0, 4)))

def set_in(x, size, rng):
    "Smaller pictures `(n,3,h,w)` somewhere on papers of `size`, in the mean colour of their borders"
    h,w = x.shape[-2:]
    border = torch.cat([x[...,0,:],x[...,-1,:]], -1).float().mean(-1)
    res = border.add(.5).to(torch.uint8)[...,None,None].repeat(1, 1, *size)
    top,left = (int(rng.integers(0, a-b+1)) for a,b in zip(size, (h,w)))
    res[...,top:top+h,left:left+w] = x
    return res

def recoloured(x, rng):
    "A draw in grey, or with its channels exchanged, or as a negative, or as it is"
    grey,swap,negative = rng.random(3)<(.4,.3,.12)
    if grey: x = (x.float()*_luma.to(x.device)).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    elif swap: x = x[:,torch.from_numpy(rng.permutation(3))]
    return 255-x if negative else x

def draw(n, seed, atlas, width=None, device='cpu'):
    "`(n,3,HEIGHT,w)` uint8 of one size and one alphabet, and their texts; `width`: what `w` has to be"
    rng = np.random.default_rng([seed%HELD_OUT, seed//HELD_OUT, 18])
    size = random_size(rng)
    if width: size = size[0],int(min(max(size[0]*width/HEIGHT*rng.uniform(.88, 1.14), 30), 900))
    text = size
    if rng.random()<.2: text = int(size[0]*rng.uniform(.5, 1)),int(max(size[1]*rng.uniform(.3, 1), 24))
    b = random_batch(n, text, random_chars(rng), random_lengths(rng, text), seed, atlas, 3, device=device, boxes=False)
    x = recoloured(b.pictures if text==size else set_in(b.pictures, size, rng), rng)
    x = resample(x, (HEIGHT,width or grid_width(*size, HEIGHT)))
    return x.add_(.5).clamp_(0, 255).to(torch.uint8),b.texts

class Batches(IterableDataset):
    "Batches of one width each, from batch `step` on; two are drawn at once, since larger draws are cheaper"
    def __init__(self, step, args, atlas): self.pair,self.args,self.atlas = step//2,args,atlas

    def two(self, pair):
        "`(n,3,HEIGHT,w)` and their texts: draws of several sizes and alphabets, mixed"
        a,first = self.args,self.args.seed*2**26+pair*self.args.parts
        width = grid_width(*random_size(np.random.default_rng([pair, 0, a.seed])), HEIGHT)
        n = max(8, round(2*a.bs*200/width/a.parts))   # as many pixels in each batch
        device = 'cpu' if a.workers else a.device
        xs,texts = zip(*(draw(n, first+i, self.atlas, width, device) for i in range(a.parts)))
        return torch.cat(xs),[o for t in texts for o in t]

    def __iter__(self):
        info = get_worker_info()
        if info: torch.set_num_threads(1)
        mine,workers = (info.id,info.num_workers) if info else (0,1)
        for pair in range(self.pair+mine, 2**24, workers):
            x,texts = self.two(pair)
            for half in (0,1): yield x[half::2],texts[half::2]

# --- how well it reads

def encoded(texts, vocab):
    width = max(map(len, texts))
    return torch.stack([vocab.encode(o, width) for o in texts])

class Drawn:
    "How captchas are read that are drawn from seeds which no training uses"
    def __init__(self, atlas, n=12): self.sets = [draw(64, HELD_OUT+i, atlas) for i in range(n)]

    def __call__(self, reader):
        loss,losses,pairs = CTCLoss(zero_infinity=True),[],[]
        for x,texts in self.sets:
            out = reader.logits(x).cpu()
            losses.append(loss(out, encoded(texts, reader.vocab)).item())
            pairs += zip(reader.vocab.decode_batch(loss.decodes(out)), texts)
        case,fold = np.mean([(a==b, a.lower()==b.lower()) for a,b in pairs], 0)
        return f'drawn: loss {np.mean(losses):.3f}, right {case:.1%}, without case {fold:.1%}'

class Real:
    "How real pictures are read, told nothing and told: for the log alone"
    latin = 'beads,dark,grid,sketch,small_digits,speckle,tinted,tiny_red,wide'.split(',')

    def __init__(self):
        self.sets = {}
        places = [os.environ[o] for o in ('CAPTCHA_DATA','CAPTCHA_KINDS') if o in os.environ]
        if not places: return
        from kinds_table import kinds_in
        for o in places: self.sets |= kinds_in(o)

    def __call__(self, reader):
        from kinds_table import n_right, rule
        res = {}
        for name,(files,texts) in self.sets.items():
            read = [[o.text for o in reader.read(files, constraint=c)] for c in (None, rule(reader, texts))]
            res[name] = [n_right(o, texts)/len(texts) for o in read]
        if nine := [res[o] for o in self.latin if o in res]: res[f'mean of {len(nine)}'] = np.mean(nine, 0)
        return 'real: '+', '.join(f'{k} {a:.1%}/{b:.1%}' for k,(a,b) in res.items())

# --- training

def rate(share, lr, rise=.04):
    "Learning rate when this share of the time is over"
    return lr*(share/rise if share<rise else .5+.5*math.cos(math.pi*min((share-rise)/(1-rise), 1)))+1e-6

def follow(average, model, steps, most=.9985):
    "Move the average towards the model: by more in the beginning"
    keep = min(most, (1+steps)/(10+steps))
    with torch.no_grad():
        for a,b in zip(average.state_dict().values(), model.state_dict().values()):
            if a.is_floating_point(): a.lerp_(b, 1-keep)
            else: a.copy_(b)

class Training:
    "Model, average, optimiser and clock; all of it is in the file `state`"
    def __init__(self, args, state):
        self.args,self.state = args,state
        self.spec = ModelSpec('crnn_small', Vocab(CHARS), (HEIGHT,None), 3, LONGEST, mean=[.645]*3, std=[.249]*3,
                              arch_args=args.arch_args)
        torch.manual_seed(args.seed)
        model = self.spec.model()
        if args.start: self.start(model)
        for o in model.modules():
            if isinstance(o, torch.nn.Dropout): o.p = 0.   # no picture comes twice: nothing is learnt by heart
        self.model = model.to(args.device, memory_format=torch.channels_last)
        self.average,self.step,self.seen,self.seconds = deepcopy(self.model),0,0,0.
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=args.lr, weight_decay=.01, fused=True)
        self.loss = CTCLoss(zero_infinity=True)

    def start(self, model):
        "Put the weights of the reader to start from into `model`, which may be larger"
        was = Reader.load(self.args.start)
        if was.spec.arch_args==self.spec.arch_args:
            return load_pretrained(model, self.spec, reader_folder(self.args.start))
        grow(model, was.model.float().state_dict())

    def load(self):
        was = torch.load(self.state, map_location=self.args.device, weights_only=True)
        for k in ('model','average','opt'): getattr(self, k).load_state_dict(was[k])
        for k in ('step','seen','seconds'): setattr(self, k, was[k])
        log(f'goes on with batch {self.step+1}, after {self.seconds:.0f} s')

    def save(self):
        now = {k:getattr(self, k).state_dict() for k in ('model','average','opt')}
        now |= {k:getattr(self, k) for k in ('step','seen','seconds')}
        atomic_write(self.state, lambda f: torch.save(now, f))

    def reader(self, fonts=()):
        "What the average reads with"
        info = dict(drawn=self.seen, seconds=round(self.seconds), seed=self.args.seed, start=self.args.start)
        info['fonts'] = sorted(fonts)
        return Reader(deepcopy(self.average), replace(self.spec, info=info), device=self.args.device, half=False)

    def learn(self, x, texts):
        "One batch; its loss"
        self.model.train()
        for g in self.opt.param_groups: g['lr'] = rate(self.seconds/self.args.seconds, self.args.lr)
        x = (x.to(self.args.device, non_blocking=True).float()/255-self.spec.mean[0])/self.spec.std[0]
        y = encoded(texts, self.spec.vocab).to(self.args.device)
        loss = self.loss(self.model(x.contiguous(memory_format=torch.channels_last)), y)
        self.opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.)
        self.opt.step()
        follow(self.average, self.model, self.step)
        self.step,self.seen = self.step+1,self.seen+len(texts)
        return loss.detach()

    def tell(self, losses):
        mean = torch.stack(losses).mean().item()
        log(f"batch {self.step}, {self.seen} pictures, {self.seconds:.0f} s, loss {mean:.4f}, "
            f"lr {self.opt.param_groups[0]['lr']:.2e}")

    def run(self, batches, looks):
        "Until the seconds are spent; `looks`: pairs of seconds and what to do after so many"
        last,losses,before = {k:0. for k in looks},[],time.time()
        for x,texts in batches:
            losses.append(self.learn(x, texts))
            self.seconds += time.time()-before
            if self.seconds-last.setdefault('line', self.seconds)>=60:
                self.tell(losses)
                last['line'],losses = self.seconds,[]
            for look,every in looks.items():
                if self.seconds-last[look]<every: continue
                last[look] = self.seconds
                look()
            before = time.time()   # what looking takes is not counted
            if self.seconds>=self.args.seconds: return

def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--atlas', required=True, help='file of `GlyphAtlas.save`')
    p.add_argument('--out', type=Path, required=True, help='folder to make: the reader')
    p.add_argument('--from', dest='start', default='', help='saved reader to start from, or pretrained')
    p.add_argument('--arch-args', type=json.loads, default={}, help='of `crnn_small`, as JSON')
    p.add_argument('--seconds', type=float, default=6000)
    p.add_argument('--lr', type=float, default=2e-3)
    p.add_argument('--bs', type=int, default=48, help='pictures of 200 pixels in a batch; more of narrower ones')
    p.add_argument('--parts', type=int, default=3, help='sizes and alphabets in a batch')
    p.add_argument('--seed', type=int, default=0, help='up to 31')
    p.add_argument('--workers', type=int, default=1, help='processes that draw')
    p.add_argument('--device', default='cpu')
    p.add_argument('--save-every', type=float, default=240, help='seconds')
    p.add_argument('--look-every', type=float, default=600, help='seconds')
    p.add_argument('--resume', action='store_true')
    return p,p.parse_args()

def train(args, work):
    "Train, and save the reader"
    atlas = GlyphAtlas.load(args.atlas)
    work.settings['fonts'] = sorted(atlas.fonts)
    t = Training(args, work/'state.pth')
    if work.begin(args.resume or None): t.load()
    drawn,real = Drawn(atlas),Real()
    def look():
        reader = t.reader()
        log(drawn(reader))
        if real.sets: log(real(reader))
    look()
    many = dict(num_workers=args.workers, prefetch_factor=8) if args.workers else {}
    batches = DataLoader(Batches(t.step, args, atlas), batch_size=None, **many)
    t.run(batches, {t.save:args.save_every, look:args.look_every})
    t.save()
    look()
    save_reader(t.reader(atlas.fonts), args.out, half=True)
    work.clear()

def main():
    p,args = arguments()
    if not args.device.startswith('cuda'): torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    settings = {k:getattr(args, k) for k in ('start','lr','bs','parts','seed','arch_args')}
    work = WorkFolder(args.out.with_name(args.out.name+'.partial'), ('state.pth',), 'training', settings)
    try:
        check_place(args.out)
        with work.claim(): train(args, work)
    except CaptchaError as e: p.error(str(e))

if __name__=='__main__': main()
