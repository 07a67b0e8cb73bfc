#!/usr/bin/env python3
"""How well are many kinds of captcha read: without a label, told what the texts are like, and after some labels?

usage: kinds_table.py --data DIR [--data DIR ...] [--readers pretrained,NAME=FOLDER] [--labels 0,25,100] [--seeds 3]
                      [--others ddddocr,rapidocr] [--only beads,dark] [--once] [--alike] [--out FILE]

DIR holds a folder for each kind, with pictures and a `labels.csv` (columns file and text), or is one kind: pictures
named after their text. Scores don't count case. `told`: the search is given the characters of the kind's labels, in
both cases, and their shortest and longest length. With N labels, the reader is trained on N pictures drawn by a seed,
the characters being known, and read are all others, told nothing. With --once no reader looks again at other sizes;
give it another name then, as `--readers once=pretrained`. With --alike readers expect what they find in the pictures
of a kind, as `captcha_read --alike` does; that wants another name as well. ddddocr and rapidocr are read with where
they are installed. Readers say how sure they are: of what they read with a confidence of 0.9 or more, the share that
is right is given as well, and how much that is of all. A line for each row goes to OUT.csv (default:
benchmarks/results/kinds_table), and rows that are there are not made again; OUT.json holds the shares, and a Markdown
table with Wilson's intervals is printed.
"""
import json
import time
from pathlib import Path

from common import RESULTS, Table, log, md_head, md_row, numbers, parser, percent, refused
import numpy as np
import captcha_fastai.alike  # noqa: F401 (`reader.alike` comes with it)
from captcha_fastai.core import CaptchaError
from captcha_fastai.labels import load_labels
from captcha_fastai.pictures import open_picture
from captcha_fastai.reader import Reader
from captcha_fastai.weights import reader_folder

SURE = .9   # confidence from which a reading counts as sure
COLS = 'kind,by,labels,seed,told,n,right,seconds,sure,sure_right'.split(',')

# --- what is read

def one_kind(folder):
    "Pictures and texts of a folder"
    table = folder/'labels.csv'
    root,files,texts = load_labels(table if table.exists() else folder)
    return [Path(root)/f for f in files],texts

def kinds_in(folder):
    "Name to pictures and texts: of each subfolder that has a table, or else of the folder itself"
    tables = sorted(Path(folder).glob('*/labels.csv'))
    return {o.parent.name:one_kind(o.parent) for o in tables} or {Path(folder).resolve().name:one_kind(Path(folder))}

def both_cases(texts): return {c for t in texts for o in t for c in (o, o.lower(), o.upper())}

def rule(reader, texts):
    "What somebody may tell who has seen the labels"
    n = list(map(len, texts))
    chars = ''.join(c for c in reader.vocab.chars if c in both_cases(texts))
    return reader.constraint((min(n), max(n)), chars) if chars else None

def n_right(read, texts): return sum(a.lower()==b.lower() for a,b in zip(read, texts))

# --- who reads

def of_ddddocr():
    import ddddocr
    ocr = ddddocr.DdddOcr(show_ad=False)
    return lambda f: ocr.classification(f.read_bytes())

def of_rapidocr():
    from rapidocr import RapidOCR
    ocr = RapidOCR()
    def read(f):
        found = ocr(np.asarray(open_picture(f, channels=3))[...,::-1], use_det=False, use_cls=False)
        return ''.join(found.txts or ())
    return read

OTHERS = dict(ddddocr=of_ddddocr, rapidocr=of_rapidocr)

def installed(name):
    "A function that reads a picture, or `None`"
    try: return OTHERS[name]()
    except ImportError: return log(f'{name} is not installed: left out')

class Kinds:
    "The kinds, and the rows made of them"
    def __init__(self, kinds, table, once=False, alike=False):
        self.kinds,self.table,self.once,self.alike = kinds,table,once,alike

    def looking(self, reader, files, constraint=None):
        if self.once: reader.other_sizes = 0
        return reader.alike(files, constraint=constraint) if self.alike else reader

    def note(self, kind, by, read, texts, seconds, labels=0, seed=0, told=False, confidences=()):
        right,sure = n_right(read, texts),{}
        if len(confidences):
            pairs = [(a,b) for a,b,c in zip(read, texts, confidences) if c>=SURE]
            sure = dict(sure=len(pairs), sure_right=n_right(*zip(*pairs)) if pairs else 0)
        self.table.add(kind=kind, by=by, labels=labels, seed=seed, told=int(told), n=len(texts), right=right,
                       seconds=round(seconds, 1), **sure)
        how = f'{labels} labels' if labels else 'told' if told else 'told nothing'
        log(f'{kind}, {by}, {how}: {right} of {len(texts)}, {seconds:.0f} s')

    def other(self, name):
        "Rows of another system"
        there = lambda kind: self.table.has(kind=kind, by=name)
        if all(map(there, self.kinds)) or not (read := installed(name)): return
        for kind,(files,texts) in self.kinds.items():
            begun = time.perf_counter()
            if not there(kind): self.note(kind, name, [read(o) for o in files], texts, time.perf_counter()-begun)

    def unlabelled(self, name, folder):
        "Rows of a reader as it is"
        reader = Reader.load(folder)
        for kind,(files,texts) in self.kinds.items():
            for told in (0,1):
                if self.table.has(kind=kind, by=name, labels=0, told=told): continue
                known,begun = rule(reader, texts) if told else None,time.perf_counter()
                looking = self.looking(reader, files, known)
                read,sure = zip(*((o.text,o.confidence) for o in looking.read(files, constraint=known)))
                self.note(kind, name, read, texts, time.perf_counter()-begun, told=told, confidences=sure)

    def labelled(self, name, folder, n, seed):
        "Rows of trainings that start from a reader"
        from few_labels import train
        for kind,(files,texts) in self.kinds.items():
            if len(files)<n+50 or self.table.has(kind=kind, by=name, labels=n, seed=seed): continue
            order,begun = np.random.default_rng((seed,n)).permutation(len(files)),time.perf_counter()
            pick = lambda where, of: [of[i] for i in where]
            chars = ''.join(sorted(set(''.join(texts))))
            reader = train(pick(order[:n], files), pick(order[:n], texts), chars, folder, seed)
            others = pick(order[n:], files)
            seconds = time.perf_counter()-begun
            read,sure = zip(*((o.text,o.confidence) for o in self.looking(reader, others).read(others)))
            self.note(kind, name, read, pick(order[n:], texts), seconds, n, seed, confidences=sure)

# --- the table

def columns(rows):
    "Who reads, after how many labels, told or not: a column each, in the order in which they were made"
    keys = ['by','labels','told']
    return [tuple(o) for o in rows[keys].drop_duplicates().sort_values(keys, kind='stable').itertuples(index=False)]

def title(by, labels, told): return f"{by}, {f'{labels} labels' if labels else 'told' if told else 'told nothing'}"

def shares(rows):
    "Kind to column's title to the pictures read right and read, all seeds together"
    res = {}
    for (kind,*key),g in rows.groupby(['kind','by','labels','told'], sort=False):
        res.setdefault(kind, {})[title(*key)] = int(g.right.sum()),int(g.n.sum())
    return res

def sure_lines(rows):
    "Of what was read with a confidence of `SURE` or more: how much of all that is, and how much of it is right"
    res = []
    for key,g in rows[rows.sure.astype(str)!=''].groupby(['by','labels','told'], sort=False):
        n,k,right = (int(g[o].astype(int).sum()) for o in ('n','sure','sure_right'))   # a column with gaps is text
        res.append(f'\n{title(*key)}: sure of {k} of {n}, {percent(k, n)}; of these {percent(right, k)} right')
    return res

def markdown(rows):
    names,found = [title(*o) for o in columns(rows)],shares(rows)
    lines = [md_head('kind', *names, right=True)]
    for kind,cells in found.items():
        lines.append(md_row(kind, *(percent(*cells[o], 1) if o in cells else '' for o in names)))
    def mean(name):
        there = [k/n for k,n in (o[name] for o in found.values() if name in o)]
        return f'{100*np.mean(there):.1f} % of {len(there)}'
    return '\n'.join([*lines, md_row('mean of kinds', *map(mean, names)), *sure_lines(rows)])

def named(readers):
    "Name to folder of a list such as `pretrained,mine=some/folder`"
    pairs = [o.partition('=') for o in readers.split(',')]
    return {name:str(reader_folder(folder or name)) for name,_,folder in pairs}

def main():
    p = parser(__doc__)
    p.add_argument('--data', action='append', required=True)
    p.add_argument('--readers', default='pretrained')
    p.add_argument('--labels', type=numbers, default=[0])
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--others', default='')
    p.add_argument('--only', default='')
    p.add_argument('--once', action='store_true')
    p.add_argument('--alike', action='store_true')
    p.add_argument('--out', type=Path, default=RESULTS/'kinds_table')
    args = p.parse_args()
    with refused(p):
        kinds = {k:v for o in args.data for k,v in kinds_in(o).items()}
        if missing := set(filter(None, args.only.split(',')))-set(kinds):
            raise CaptchaError(f"there is no kind {min(missing)}; choose from {', '.join(kinds)}")
        if args.only: kinds = {k:kinds[k] for k in args.only.split(',')}
        table = Table(args.out.with_suffix('.csv'), COLS)
        made,readers = Kinds(kinds, table, args.once, args.alike),named(args.readers)
        for name in filter(None, args.others.split(',')): made.other(name)
        for name,folder in readers.items():
            if 0 in args.labels: made.unlabelled(name, folder)
            for n in filter(None, args.labels):
                for seed in range(args.seeds): made.labelled(name, folder, n, seed)
    rows = table.rows()
    rows = rows[rows.kind.isin(kinds) & rows.by.isin([*readers, *args.others.split(',')])]
    args.out.with_suffix('.json').write_text(json.dumps(shares(rows), indent=1, ensure_ascii=False), encoding='utf-8')
    print(markdown(rows))

if __name__=='__main__': main()
