"""What the scripts of this folder share: the labelled pictures, tables that go on, Markdown, arms over folds"""
import argparse
import csv
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path

warnings.filterwarnings('ignore')
import pandas as pd

RESULTS = Path(__file__).resolve().parent/'results'
tutorial = ('pooled_classifier', 'spatial_classifier', 'crnn')   # the models of the fastai captcha tutorial

# --- the command line

def parser(doc, data=False):
    "A parser that describes itself by the first line of a script's docstring; with `data` it has the option --data"
    p = argparse.ArgumentParser(description=doc.splitlines()[0])
    if data: p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'), help='$CAPTCHA_DATA if not given')
    return p

def folder_of(p, given):
    "The folder of labelled pictures; an error of the command line if there is none"
    if not given: p.error('give a folder of pictures named after their text, or set CAPTCHA_DATA')
    return Path(given)

def labelled(folder):
    "Pictures of a folder, and their texts"
    from captcha_fastai.pictures import picture_files
    from captcha_fastai.labels import captcha_label
    files = picture_files(folder)
    return files,[captcha_label(f) for f in files]

def chosen(p, names, there):
    "The names in a list with commas; an error of the command line if one of them is not there"
    names = names.split(',')
    for o in names:
        if o not in there: p.error(f'there is no {o!r}; choose from {", ".join(there)}')
    return names

def numbers(text): return [int(o) for o in text.split(',')]

def command(name, *args):
    "The command line that runs a command of the package in this Python"
    return [sys.executable, '-c', f'from captcha_fastai.cli import {name}; {name}()', *map(str, args)]

@contextmanager
def refused(p):
    "Within, what the package refuses is an error of the command line, and no traceback"
    from captcha_fastai.core import CaptchaError
    try: yield
    except CaptchaError as e: p.error(str(e))

def log(text): print(text, flush=True)

# --- tables

class Table:
    "A CSV that rows are added to one by one, so that a run can be stopped and gone on with"
    def __init__(self, file, columns):
        self.file,self.columns = Path(file),list(columns)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        if not self.file.exists(): self._write(self.columns)

    def _write(self, row):
        with open(self.file, 'a', newline='', encoding='utf-8') as f: csv.writer(f).writerow(row)

    def rows(self):
        "All rows so far, as a data frame"
        return pd.read_csv(self.file, keep_default_na=False)

    def has(self, **key):
        "Is there a row with these values?"
        df = self.rows()
        for k,v in key.items(): df = df[df[k]==v]
        return len(df)>0

    def add(self, **row):
        "Write a row down; what it doesn't tell stays empty"
        self._write([row.get(k, '') for k in self.columns])

def md_row(*cells): return f"| {' | '.join(map(str, cells))} |"

def md_head(*names, right=False):
    "Head of a Markdown table; with `right` the numbers behind the first column are aligned to the right"
    rule = '---:|' if right else '---|'
    return f"{md_row(*names)}\n|---|{rule*(len(names)-1)}"

def percent(k, n, digits=2):
    "`k` of `n` in percent, with Wilson's interval"
    from captcha_fastai.intervals import wilson
    share,low,high = (f'{100*o:.{digits}f}' for o in (k/n, *wilson(k, n)))
    return f'{share} % ({low} to {high})'

# --- trainings

def tutorial_augment():
    "What the tutorial does to the pictures of a batch"
    from fastai.vision.augment import Brightness, Contrast, Rotate
    return [Rotate(max_deg=10, p=.5), Brightness(max_lighting=.5, p=.8), Contrast(max_lighting=.5, p=.8)]

def graphs():
    "Makers of the callbacks that a GPU is worth: none without one"
    import torch
    from captcha_fastai.speed import CUDAGraphs
    return [CUDAGraphs] if torch.cuda.is_available() else []

@contextmanager
def quiet(learn):
    "Without bars and tables of epochs"
    with learn.no_bar(), learn.no_logging(): yield learn

def history(learn):
    "Losses and metrics of each epoch of the last fit"
    return pd.DataFrame(list(learn.recorder.values), columns=learn.recorder.metric_names[1:-1])

def n_parameters(model): return sum(o.numel() for o in model.parameters())

def fold_arms(arch, arms, folds, files, texts, out, log=log):
    "`k_fold` of each arm in a folder of its own, by folds of seed 7, not those of the published results; name, folder"
    from captcha_fastai.folds import k_fold
    for name,arm in arms.items():
        k_fold(files, texts, arch, out/name, seed=7, only=folds, log=lambda s, name=name: log(f'{name}: {s}'), **arm)
        yield name,out/name
