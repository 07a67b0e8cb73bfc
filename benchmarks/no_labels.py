#!/usr/bin/env python3
"""How much is read without one label: by the weights in the package, after drawing, after teaching itself; by ddddocr.

usage: no_labels.py [--kind real,package,hidden] [--seed 0] [--work DIR] [--out FILE]

A seeded third of the pictures is there to look at: a style is fitted to it, captchas are drawn and learnt, the reader
teaches itself from it. All is scored on the other two thirds, whose labels are used for nothing else; the last rows
teach themselves from all pictures, as a user would. `told`: the characters that occur and the shortest and longest
length are given to the search. ddddocr (`pip install ddddocr`) is scored on texts in one case, since it returns small
letters. A line for each row goes to OUT (default: benchmarks/results/no_labels.csv), and rows that are there are not
made again; the readers made stay in WORK. Prints a Markdown table.
"""
import time
from pathlib import Path

from common import RESULTS, Table, chosen, log, md_head, md_row, parser, percent
import numpy as np
from captcha_fastai.adapt import adapt
from captcha_fastai.metrics import score_texts
from captcha_fastai.reader import Reader
from kinds import KINDS, known, pictures

COLS = 'kind,method,told,n,right,cer,seconds'.split(',')

def ddddocr_texts(files):
    import ddddocr
    ocr = ddddocr.DdddOcr(show_ad=False)
    return [ocr.classification(Path(f).read_bytes()).lower() for f in files]

class Kind:
    "Pictures of one kind, and the rows made on them"
    def __init__(self, name, args, table):
        self.name,self.args,self.table = name,args,table
        self.files,texts = pictures(name, args.work)
        order = np.random.default_rng(args.seed).permutation(len(self.files))
        n = len(self.files)//3
        self.third,self.rest = [self.files[i] for i in order[:n]],[self.files[i] for i in order[n:]]
        truth = dict(zip(self.files, texts))
        self.rest_texts,self.tell = [truth[f] for f in self.rest],known(texts)

    def missing(self, method): return not self.table.has(kind=self.name, method=method)

    def note(self, method, told, read, texts, seconds):
        "Add a row: how the rest of the pictures was read"
        s,n = score_texts(read, texts),len(texts)
        self.table.add(kind=self.name, method=method, told=told, n=n, right=round(s['captcha_accuracy']*n),
                       cer=round(s['cer'], 5), seconds=round(seconds, 1))
        log(f"{self.name}, {method}{', told' if told else ''}: {s['captcha_accuracy']:.2%} of {n}, {seconds:.0f} s")

    def score(self, method, reader, seconds):
        "Two rows: the rest read freely, and told its characters and lengths"
        known_chars = ''.join(c for c in self.tell['chars'] if c in reader.vocab)
        told = reader.constraint(self.tell['length'], known_chars)
        for constraint in (None, told):
            read = reader.read(self.rest, constraint=constraint)
            self.note(method, constraint is not None, [o.text for o in read], self.rest_texts, seconds)

    def ddddocr(self):
        if not self.missing('ddddocr'): return
        try: read = ddddocr_texts(self.rest)
        except ImportError: return print('ddddocr is not installed: left out')
        self.note('ddddocr', False, read, [t.lower() for t in self.rest_texts], 0)

    def weights(self):
        if self.missing('weights'): self.score('weights', Reader.load('pretrained'), 0)

    def adapted(self, method, files, **kwargs):
        if not self.missing(method): return
        start = time.perf_counter()
        work = self.args.work/f'{self.name}-{self.args.seed}-{method.replace(" ", "_")}'
        res = adapt(files, self.tell['chars'], self.tell['length'], seed=self.args.seed, work=work,
                    log=lambda s: log(f'    {s}'), **kwargs)
        self.score(method, res.reader, time.perf_counter()-start)

    def run(self):
        "All rows that are not there"
        drawn = self.args.drawn
        self.ddddocr()
        self.weights()
        self.adapted('taught itself', self.third, drawn=0)
        self.adapted('style drawn', self.third, drawn=drawn, rounds=0)
        self.adapted('style drawn, then taught itself', self.third, drawn=drawn)
        self.adapted('taught itself on all', self.files, drawn=0)

def main():
    p = parser(__doc__)
    p.add_argument('--kind', default=','.join(KINDS))
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--drawn', type=int, default=4000)
    p.add_argument('--work', type=Path, default=Path('no_labels'))
    p.add_argument('--out', type=Path, default=RESULTS/'no_labels.csv')
    args = p.parse_args()
    kinds = chosen(p, args.kind, KINDS)
    table = Table(args.out, COLS)
    for kind in kinds: Kind(kind, args, table).run()
    rows = table.rows()
    for kind in kinds:
        print(f"\n{KINDS[kind]}\n\n{md_head('read by', 'told nothing', 'told characters and length', 'seconds')}")
        for method,g in rows[rows.kind==kind].groupby('method', sort=False):
            cells = {r.told:percent(r.right, r.n) for r in g.itertuples()}
            print(md_row(method, cells.get(False, ''), cells.get(True, ''), f'{g.seconds.max():.0f}'))

if __name__=='__main__': main()
