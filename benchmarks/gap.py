#!/usr/bin/env python3
"""The tutorial's closing question: model 3's training loss ends far below its validation loss; what closes the gap?

usage: gap.py [--arms tutorial,drop5] [--epochs 60] [--fold 0] [--data DIR] [--out DIR]

One change at a time to `crnn` with the tutorial's augmentation: more augmentation, more dropout, weight decay, float32 where the processor would take bfloat16, a
smaller model, drawn captchas beside the real ones. Prints a Markdown table: training and validation loss at the end (CTC, nats a character), their ratio, and
whole captchas right. Finished arms are kept in OUT (default: benchmarks/results/gap) and not trained again. Training loss is fastai's running mean
under augmentation and dropout, validation loss is without either, so that a ratio below one is possible.
"""
import argparse, os, tempfile, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import pandas as pd
import torch
from fastai.basics import set_seed
from fastai.data.all import IndexSplitter
from captcha_fastai.all import (CUDAGraphs, CaptchaDataLoaders, Vocab, captcha_augment, captcha_label, captcha_learner, crnn, crnn_small, fold_of, picture_files,
                                save_captchas, write_aside)
from accuracy import tutorial_augment

arms = dict(
    tutorial=dict(),
    light=dict(augment=captcha_augment),
    both=dict(augment=lambda: tutorial_augment()+captcha_augment(max_lighting=0)),
    none=dict(augment=list),
    drop3=dict(arch_args=dict(drop=.3)),
    drop5=dict(arch_args=dict(drop=.5)),
    decay=dict(wd=.1),
    decay3=dict(wd=.3),
    decay10=dict(wd=1.),
    float32=dict(half=False),
    small=dict(arch=crnn_small),
    drawn=dict(drawn=750),
)

def train(files, valid, epochs, arch=crnn, augment=tutorial_augment, arch_args=None, wd=None, drawn=0, half=None):
    "History of one training"
    with tempfile.TemporaryDirectory() as tmp:
        more = save_captchas(drawn, Path(tmp)/'drawn', seed=3) if drawn else []
        use = [f for f in files if f not in valid] + list(more) + list(valid)
        set_seed(0)
        dls = CaptchaDataLoaders.from_lists('.', use, [captcha_label(f) for f in use], splitter=IndexSplitter(range(len(use)-len(valid), len(use))),
                                            bs=arch.recipe.bs, batch_tfms=augment(), vocab=Vocab.from_labels(map(captcha_label, files)))
        learn = captcha_learner(dls, arch, pretrained=False, arch_args=arch_args, half=half, cbs=CUDAGraphs() if torch.cuda.is_available() else None, **(dict(wd=wd) if wd else {}))
        with learn.no_bar(), learn.no_logging(): learn.fit_recipe(epochs)
    return pd.DataFrame(list(learn.recorder.values), columns=learn.recorder.metric_names[1:-1])

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--arms', default=','.join(arms))
    p.add_argument('--epochs', type=int, default=60)
    p.add_argument('--fold', type=int, default=0)
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'gap')
    args = p.parse_args()
    if not args.data: p.error('give --data, or set CAPTCHA_DATA')
    files = picture_files(args.data)
    valid = [f for f,i in zip(files, fold_of(list(map(str, range(len(files)))), 5, 7)) if i==args.fold]
    args.out.mkdir(parents=True, exist_ok=True)
    print('| change | training loss | validation loss | ratio | right, last five epochs |\n|---|---|---|---|---|')
    for name in args.arms.split(','):
        file = args.out/f'{name}-{args.epochs}epochs-fold{args.fold}.csv'
        if not file.exists():
            history = train(files, valid, args.epochs, **arms[name]).round(5)
            write_aside(file, lambda f: history.to_csv(f, index_label='epoch'))
        last = pd.read_csv(file).tail(5).mean()
        print(f'| {name} | {last.train_loss:.4f} | {last.valid_loss:.4f} | {last.valid_loss/last.train_loss:.1f} | {last.captcha_accuracy:.2%} |', flush=True)

if __name__=='__main__': main()
