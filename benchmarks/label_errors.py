"""Planted wrong labels: how many are found, and how many of those found are wrong

python benchmarks/label_errors.py --data FOLDER --share .02 --draws 3 --out FILE.csv

Each draw plants wrong labels in a share of the pictures: a third get another letter at random, a third the letter
that is most likely confused with theirs, a third the label of another picture. Found are those that
`find_label_errors` takes for worth a look; names that were wrong or doubtful before (`results/wrong_labels.csv`, and
`wrong_labels_kinds.csv` for kinds) count as neither. Beside it the ranking by loss alone: as many pictures as were
found, those whose label is least probable; and, where `cleanlab` is installed, what its `find_label_issues` for
tokens takes for worth a look, and as many as were found by its score of texts. It is told each letter's classes,
given the label's other letters, by the same models."""
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd

from common import RESULTS, Table, folder_of, labelled, log, parser, percent

LIKE = dict(zip('mnec83vuwO0Il1gq5S2Z7', 'nmce38uvvmO0lI1lqgS5Z2'))   # what is easily taken for what

def other(c, chars, rng): return rng.choice([o for o in chars if o != c])

def exchanged(text, i, c): return text[:i]+c+text[i+1:]

def planted(texts, share, rng):
    "Wrong labels by position, and how each was made"
    n, chars = round(share*len(texts)), sorted(set(''.join(texts)))
    rows = rng.sample(range(len(texts)), n+n%3)
    res = {}
    for i in rows[:n//3]:
        k = rng.randrange(len(texts[i]))
        res[i] = exchanged(texts[i], k, other(texts[i][k], chars, rng)), 'letter'
    for i in rows[n//3:2*(n//3)]:
        like = [k for k, c in enumerate(texts[i]) if LIKE.get(c) in chars] or [0]
        k = rng.choice(like)
        res[i] = exchanged(texts[i], k, LIKE.get(texts[i][k], other(texts[i][k], chars, rng))), 'confusion'
    pairs = rows[2*(n//3):n]
    pairs = pairs[:len(pairs)//2*2]
    for a, b in zip(pairs[::2], pairs[1::2]):
        if texts[a] != texts[b]: res[a], res[b] = (texts[b], 'swapped'), (texts[a], 'swapped')
    return res

def known_doubtful(data):
    "Names of pictures whose label is known to be wrong or doubtful, of the real set or of a kind"
    kinds = pd.read_csv(RESULTS/'wrong_labels_kinds.csv', dtype=str)
    return set(kinds[kinds.kind==data].file) or set(pd.read_csv(RESULTS/'wrong_labels.csv').file)

def by_cleanlab(oof, label_ids):
    "Positions of pictures in which cleanlab finds a wrong letter, and all positions, those of the lowest score first"
    import torch
    from cleanlab.token_classification.filter import find_label_issues
    from cleanlab.token_classification.rank import get_label_quality_scores
    from captcha_fastai.ctc import ctc_align
    from captcha_fastai.letters import letter_probs
    p = letter_probs(ctc_align(oof.log_probs, label_ids).chars.log(), label_ids)[...,1:]
    p = torch.nan_to_num(p)+1e-12   # a label that no column has room for tells nothing of its letters
    p = (p/p.sum(-1, keepdim=True)).numpy().astype(float)
    labels = [[o-1 for o in row if o] for row in label_ids.tolist()]
    probs = [a[:len(row)] for a, row in zip(p, labels)]
    scores, _ = get_label_quality_scores(labels, probs)
    return {i for i, _ in find_label_issues(labels, probs)}, np.argsort(scores, kind='stable').tolist()

def compared(oof, label_ids, bad, neither, n):
    "What others find: as many by loss, what cleanlab finds, and as many by its score"
    def most(order): return set([i for i in order if i not in neither][:n])
    hits = len(most(np.argsort(oof.confidence(label_ids)).tolist()) & set(bad))
    row = dict(loss_hits=hits, cleanlab_found='', cleanlab_hits='', cleanlab_rank_hits='')
    try: found, order = by_cleanlab(oof, label_ids)
    except ImportError: return row
    found -= neither
    return row | dict(cleanlab_found=len(found), cleanlab_hits=len(found & set(bad)),
                      cleanlab_rank_hits=len(most(order) & set(bad)))

def one_draw(files, texts, share, seed, folds, epochs, doubtful):
    "Counts of one draw: planted, found, hits, by loss"
    import torch
    from captcha_fastai.label_errors import _trust, out_of_fold, start_for, suspicion
    from captcha_fastai.crnn import crnn_small
    from captcha_fastai.labels import scan_pictures
    bad = planted(texts, share, random.Random(seed))
    labels = [bad[i][0] if i in bad else t for i, t in enumerate(texts)]
    neither = {i for i, f in enumerate(files) if Path(f).name in doubtful and i not in bad}
    start = time.perf_counter()
    oof = out_of_fold(files, labels, [o.digest for o in scan_pictures(files, 0)[0]], folds=folds, seed=seed,
                      epochs=epochs, log=log, start=start_for(crnn_small, labels))
    doubt = suspicion(oof, labels)
    found = set(np.flatnonzero(doubt >= _trust).tolist())-neither
    width = max(map(len, labels))
    label_ids = torch.stack([oof.vocab.encode(t, width) for t in labels])
    row = dict(seed=seed, share=share, planted=len(bad), found=len(found), hits=len(found & set(bad)))
    row |= compared(oof, label_ids, bad, neither, len(found)) | dict(seconds=round(time.perf_counter()-start))
    for kind in ('letter', 'confusion', 'swapped'):
        mine = {i for i, (_, k) in bad.items() if k == kind}
        row |= {kind: len(mine), f'{kind}_hits': len(mine & found)}
    read = oof.texts()
    for i in found ^ set(bad):
        log(f"{'missed' if i in bad else 'extra'}: {Path(files[i]).name} {labels[i]} read {read[i]} {doubt[i]:.4f}")
    return row

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--share', type=float, default=.02)
    p.add_argument('--draws', type=int, default=10)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--folds', type=int, default=3)
    p.add_argument('--epochs', type=int)
    p.add_argument('--out', default=RESULTS/'label_errors.csv')
    a = p.parse_args()
    data = folder_of(p, a.data)
    if (data/'labels.csv').exists():
        from captcha_fastai.labels import load_labels
        root, files, texts = load_labels(data/'labels.csv')
        files = [root/f for f in files]
    else: files, texts = labelled(data)
    kinds = [o for k in ('letter', 'confusion', 'swapped') for o in (k, f'{k}_hits')]
    others = ['loss_hits', 'cleanlab_found', 'cleanlab_hits', 'cleanlab_rank_hits']
    columns = ['data', 'seed', 'share', 'planted', 'found', 'hits', *others, *kinds, 'epochs', 'seconds']
    table = Table(a.out, columns)
    for seed in range(a.seed, a.seed+a.draws):
        if table.has(data=data.name, seed=seed, share=a.share): continue
        row = one_draw(files, texts, a.share, seed, a.folds, a.epochs, known_doubtful(data.name))
        table.add(data=data.name, epochs=a.epochs or '', **row)
        log(f"{data.name}, draw {seed}: {row}")
    df = table.rows()
    df = df[(df.data == data.name) & (df.share == a.share)]
    s = df[['planted', 'found', 'hits', 'loss_hits']].astype(int).sum()
    lab = df[df.cleanlab_found!=''][['planted', *others[1:]]].astype(int).sum()
    log(f'{len(df)} draws: recall {percent(s.hits, s.planted)}, precision {percent(s.hits, s.found)}; '
        f'by loss, as many: {percent(s.loss_hits, s.planted)}')
    if lab.planted:
        log(f'cleanlab: recall {percent(lab.cleanlab_hits, lab.planted)}, precision '
            f'{percent(lab.cleanlab_hits, lab.cleanlab_found)}; by its score, as many as we found: '
            f'{percent(lab.cleanlab_rank_hits, lab.planted)}')

if __name__ == '__main__': main()
