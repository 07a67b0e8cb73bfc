"""How often the interval of `captcha_plan` holds what more labels then bring.

python benchmarks/plan.py --data FOLDER_OF_KINDS --labels 20 --then 100 --draws 2 --out FILE.csv

A draw takes so many labels of a kind at random, estimates from them alone what `--then` labels would bring, then trains
on so many, the first among them, and tests on all others; labels in one case are found out as `captcha_train` does it.
What is measured on so few has an interval of its own; it is told beside the estimate. Kinds whose characters the
weights in the package don't know are left out."""
import time
from pathlib import Path

import numpy as np
import pandas as pd

from common import RESULTS, Table, folder_of, log, parser

COLUMNS = ['kind', 'labels', 'then', 'seed', 'accuracy', 'low', 'high', 'right', 'n', 'held', 'held_within_noise',
           'seconds']

def trained_on(files, texts, rows, seed):
    "How many of the other pictures a model reads right that was trained on `rows`, and how many there are"
    import torch
    from captcha_fastai.core import Vocab
    from captcha_fastai.crnn import crnn_small
    from captcha_fastai.evidence import cases_together
    from captcha_fastai.folds import Dealt
    from captcha_fastai.label_errors import _read_fold, start_for
    fold = np.zeros(len(files), dtype=int)
    fold[rows] = 1
    dealt = Dealt(files, files, np.array(texts, dtype=object), fold, None)
    vocab, start = Vocab.from_labels(texts), start_for(crnn_small, texts)
    together = cases_together(start, crnn_small, [files[i] for i in rows], [texts[i] for i in rows], log)
    lp, loss = _read_fold(dealt, 0, crnn_small, vocab, start, together, None, seed)
    read = vocab.decode_batch(loss.decodes(torch.as_tensor(lp)))
    own = np.flatnonzero(fold == 0)
    return sum(read[k] == texts[i] for k, i in enumerate(own)), len(own)

def one_draw(kind, files, texts, labels, then, seed, folder):
    from captcha_fastai.intervals import wilson
    from captcha_fastai.plan import learning_curve
    order = np.random.default_rng(seed).permutation(len(files))
    table = folder/'labels.csv'
    pd.DataFrame(dict(file=[str(Path(files[i]).resolve()) for i in order[:labels]],
                      text=[texts[i] for i in order[:labels]])).to_csv(table, index=False)
    start = time.perf_counter()
    curve = learning_curve(table, seed=seed, log=lambda o: None)
    took = time.perf_counter()-start
    o = curve.at(then).iloc[0]
    right, n = trained_on(files, texts, order[:then], seed)
    low, high = wilson(right, n)
    row = dict(kind=kind, labels=labels, then=then, seed=seed, accuracy=round(o.accuracy, 4), low=round(o.low, 4),
               high=round(o.high, 4), right=right, n=n, held=bool(o.low <= right/n <= o.high),
               held_within_noise=bool(o.low <= high and low <= o.high), seconds=round(took))
    log(f"{kind} seed {seed}: {curve}; said {o.accuracy:.3f} ({o.low:.3f} to {o.high:.3f}), came {right/n:.3f}")
    return row

def main():
    import tempfile
    from captcha_fastai.labels import load_labels
    p = parser(__doc__, data=True)
    p.add_argument('--labels', type=int, default=20)
    p.add_argument('--then', type=int, default=100)
    p.add_argument('--draws', type=int, default=2)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--kinds', default='tinted,grid,dark,beads,small_digits,speckle,wide')
    p.add_argument('--out', default=RESULTS/'plan.csv')
    a = p.parse_args()
    data, table = folder_of(p, a.data), Table(a.out, COLUMNS)
    for seed in range(a.seed, a.seed+a.draws):
        for kind in a.kinds.split(','):
            if table.has(kind=kind, seed=seed, labels=a.labels, then=a.then): continue
            root, names, texts = load_labels(data/kind/'labels.csv')
            with tempfile.TemporaryDirectory() as folder:
                table.add(**one_draw(kind, [root/f for f in names], texts, a.labels, a.then, seed, Path(folder)))
    df = table.rows()
    held, noise = ((df[o].astype(str) == 'True').sum() for o in ('held', 'held_within_noise'))
    gap = (df.accuracy-df.right/df.n).abs().mean()
    log(f'{len(df)} draws: the interval held what came in {held}, within the noise of the test in {noise}; mean '
        f'error of the estimate {100*gap:.1f} points')

if __name__ == '__main__': main()
