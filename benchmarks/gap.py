#!/usr/bin/env python3
"""The tutorial's closing question: model 3's training loss ends far below its validation loss; what closes the gap?

usage: gap.py [--arms tutorial,drop5] [--epochs 60] [--fold 0] [--data DIR] [--out DIR]

DATA: a folder of pictures named after their text (default: $CAPTCHA_DATA). One change at a time to `crnn` with the
tutorial's augmentation: more augmentation, more dropout, weight decay, float32 where the processor would take
bfloat16, a smaller model, drawn captchas beside the real ones. Prints a Markdown table: training and validation loss
at the end (CTC, nats a character), their ratio, and whole captchas right. Finished arms are kept in OUT (default:
benchmarks/results/gap) and not trained again. Training loss is fastai's running mean under augmentation and dropout,
validation loss is without either, so that a ratio below one is possible.
"""
import tempfile
from pathlib import Path

from common import (RESULTS, chosen, folder_of, graphs, history, labelled, log, md_head, md_row, parser, quiet,
                    tutorial_augment)
import pandas as pd
from fastai.basics import set_seed
from fastai.data.all import IndexSplitter
from captcha_fastai.core import Vocab
from captcha_fastai.crnn import crnn, crnn_small
from captcha_fastai.loaders import CaptchaDataLoaders
from captcha_fastai.augment import captcha_augment
from captcha_fastai.files import atomic_write
from captcha_fastai.folds import fold_of
from captcha_fastai.labels import captcha_label
from captcha_fastai.learner import captcha_learner
from captcha_fastai.synth import save_captchas

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

def train(files, valid, epochs, arch=crnn, augment=tutorial_augment, drawn=0, **kwargs):
    "History of one training"
    with tempfile.TemporaryDirectory() as tmp:
        more = save_captchas(drawn, Path(tmp)/'drawn', seed=3) if drawn else []
        use = [*[f for f in files if f not in valid], *more, *valid]
        set_seed(0)
        split = IndexSplitter(range(len(use)-len(valid), len(use)))
        vocab = Vocab.from_labels(map(captcha_label, files))
        dls = CaptchaDataLoaders.from_lists('.', use, [captcha_label(f) for f in use], splitter=split, vocab=vocab,
                                            bs=arch.recipe.bs, batch_tfms=augment())
        learn = captcha_learner(dls, arch, pretrained=False, cbs=[o() for o in graphs()], **kwargs)
        with quiet(learn): learn.fit_recipe(epochs)
    return history(learn)

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--arms', default=','.join(arms))
    p.add_argument('--epochs', type=int, default=60)
    p.add_argument('--fold', type=int, default=0)
    p.add_argument('--out', type=Path, default=RESULTS/'gap')
    args = p.parse_args()
    names = chosen(p, args.arms, arms)
    files,_ = labelled(folder_of(p, args.data))
    folds = fold_of([str(i) for i in range(len(files))], 5, 7)
    valid = [f for f,i in zip(files, folds) if i==args.fold]
    args.out.mkdir(parents=True, exist_ok=True)
    log(md_head('change', 'training loss', 'validation loss', 'ratio', 'right, last five epochs'))
    for name in names:
        file = args.out/f'{name}-{args.epochs}epochs-fold{args.fold}.csv'
        if not file.exists():
            df = train(files, valid, args.epochs, **arms[name]).round(5)
            atomic_write(file, lambda f, df=df: df.to_csv(f, index_label='epoch'))
        last = pd.read_csv(file).tail(5).mean()
        train_loss,valid_loss = last.train_loss,last.valid_loss
        log(md_row(name, f'{train_loss:.4f}', f'{valid_loss:.4f}', f'{valid_loss/train_loss:.1f}',
                   f'{last.captcha_accuracy:.2%}'))

if __name__=='__main__': main()
