#!/usr/bin/env python3
"""How much do a few labels give? Trains on N labelled pictures of a folder, from weights or from nothing, and scores on all others.

usage: few_labels.py [--arms shipped=DIR,scratch] [--labels 5,10,25,50,100] [--seeds 5] [--data DIR] [--out FILE]

An arm is a name and the saved reader that its trainings start from; without one it starts from nothing, by the recipe of `crnn_small`. The pictures to
train on are drawn by the seed and the same for every arm; the characters that occur in the folder are known to all, the length to none. A line for each
training is added to OUT (default: benchmarks/results/few_labels.csv), and those that are there are not made again. Prints a Markdown table: mean over
the seeds of captchas right, the worst and the best seed, seconds of training.
"""
import argparse, csv, os, time, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import numpy as np
import pandas as pd
from fastai.basics import set_seed
from captcha_fastai.all import CaptchaDataLoaders, Reader, captcha_label, captcha_learner, crnn_small, picture_files, recipe_bs, score_texts, untar_captchas

COLS = 'arm,labels,seed,n,right,cer,seconds'.split(',')

def train(files, texts, use, weights, chars, seed):
    "A learner trained on the pictures `use`, and the seconds of its fit"
    set_seed(seed)
    dls = CaptchaDataLoaders.from_lists('.', [files[i] for i in use], [texts[i] for i in use], valid_pct=0, bs=recipe_bs(crnn_small, len(use)), vocab=chars)
    learn = captcha_learner(dls, crnn_small, pretrained=weights or False)
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging(): learn.fit_recipe()
    return learn,time.perf_counter()-start

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--arms', required=True)
    p.add_argument('--labels', default='5,10,25,50,100')
    p.add_argument('--seeds', type=int, default=5)
    p.add_argument('--data', default=os.environ.get('CAPTCHA_DATA'))
    p.add_argument('--out', type=Path, default=Path(__file__).parent/'results'/'few_labels.csv')
    args = p.parse_args()
    files = picture_files(args.data or untar_captchas())
    texts = [captcha_label(f) for f in files]
    chars = ''.join(sorted(set(''.join(texts))))
    if not args.out.exists():
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(','.join(COLS)+'\n')
    arms = [(o+'=').split('=')[:2] for o in args.arms.split(',')]
    for name,weights in arms:
        for n in map(int, args.labels.split(',')):
            for seed in range(args.seeds):
                df = pd.read_csv(args.out)
                if ((df.arm==name)&(df.labels==n)&(df.seed==seed)).any(): continue
                order = np.random.default_rng((seed,n)).permutation(len(files))
                use,rest = order[:n],order[n:]
                learn,seconds = train(files, texts, use, weights, chars, seed)
                scores = score_texts([o.text for o in Reader.from_learner(learn, check=0).read([files[i] for i in rest])], [texts[i] for i in rest])
                with open(args.out, 'a', newline='') as f:
                    csv.writer(f).writerow([name, n, seed, len(rest), round(scores['captcha_accuracy']*len(rest)), round(scores['cer'], 5), round(seconds, 1)])
                print(f"{name}, {n} labels, seed {seed}: {scores['captcha_accuracy']:.2%} of {len(rest)}, {seconds:.0f} s", flush=True)
    df = pd.read_csv(args.out)
    df['share'] = df.right/df.n
    print('| labels | '+' | '.join(n for n,_ in arms)+' |\n|---|'+'---|'*len(arms))
    for n,g in df.groupby('labels'):
        cells = [(c.share.mean(), c.share.min(), c.share.max(), c.seconds.mean()) if len(c := g[g.arm==name]) else None for name,_ in arms]
        print(f'| {n} | '+' | '.join('{:.1%} ({:.1%} to {:.1%}), {:.0f} s'.format(*o) if o else '' for o in cells)+' |')

if __name__=='__main__': main()
