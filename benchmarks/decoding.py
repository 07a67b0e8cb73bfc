#!/usr/bin/env python3
"""What is a decoder worth? Greedy, path beam, prefix beam and prefix beam of five characters on stored out-of-fold log-probabilities.

usage: decoding.py FOLDER...       folders that benchmarks/accuracy.py made, of CTC models; a Markdown table for each

After few epochs or on few pictures, where decoding has something to do:
       accuracy.py --arch crnn_small --epochs 5 --out benchmarks/results/crnn_small-5epochs
       accuracy.py --arch crnn_small --n-train 50 --epochs 150 --out benchmarks/results/crnn_small-50pictures
The paired test (exact McNemar) is against greedy, on the same pictures.
"""
import sys, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import torch
from captcha_fastai.all import (Constraint, Vocab, accuracy_table, greedy_decode, load_folds, load_log_probs, mcnemar, path_beam_decode,
                                prefix_beam_decode)

def decoded(folder):
    "Table of predictions by each decoder"
    df,lp = load_folds(folder),load_log_probs(folder).log_softmax(-1)
    vocab = Vocab.from_labels(df.text)
    five = lambda lp: prefix_beam_decode(lp, constraint=Constraint(length=5)).ids[:,0]
    decoders = {'greedy':greedy_decode, 'path beam 10':path_beam_decode, 'prefix beam 10':lambda lp: prefix_beam_decode(lp).ids[:,0], 'prefix beam 10, five characters':five}
    return {name:df.assign(prediction=vocab.decode_batch(torch.cat([torch.nn.functional.pad(o, (0, lp.shape[1]-o.shape[1])) for o in map(f, lp.split(256))])))
            for name,f in decoders.items()}

def main():
    if len(sys.argv)<2: sys.exit(__doc__)
    for folder in map(Path, sys.argv[1:]):
        tables = decoded(folder)
        print(f'\n{folder.name}\n\n| decoder | right | accuracy | interval | only it right | only greedy right | p |\n|---|---|---|---|---|---|---|')
        for name,row in accuracy_table(tables).iterrows():
            p = mcnemar(tables[name], tables['greedy'])
            print(f'| {name} | {row.right:.0f} of {row.n:.0f} | {row.accuracy:.2%} | {row.low:.2%} to {row.high:.2%} | {p.only_a} | {p.only_b} | {p.p:.3g} |', flush=True)

if __name__=='__main__': main()
