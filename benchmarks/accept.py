"""Does `--accept .999` keep its word? Readers of drawn kinds, taught with `--folds`, read captchas that none has seen.

python benchmarks/accept.py --kinds 10 --labels 500 --pictures 1000 --share .999 --out FILE.csv

Each kind is a style at random (`random_style`), which the weights in the package have not seen: they learnt from
another renderer. A reader is trained on `--labels` captchas of it, by `train_reader(folds=5)`, and reads `--pictures`
others, answering only where that share was right out of fold. A row a kind: how many it answers, and how many of these
are wrong. In the end, over all kinds, the share that is right, with Wilson's interval; the word is kept if the promised
share lies in it or below. With --data FOLDER instead of kinds: half of its pictures are taught, the other half read."""
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from common import RESULTS, Table, folder_of, labelled, log, parser, percent

COLUMNS = ['kind', 'labels', 'share', 'seed', 'n', 'right', 'answered', 'wrong', 'seconds']

def drawn(i, n, folder):
    "`n` captchas of the style number `i`"
    from captcha_fastai.styles import random_style
    from captcha_fastai.synth import DoesNotFit, captcha_fonts, save_captchas
    for size in (200, 260, 340):
        try: return save_captchas(n, folder, '23456789abcdefhkmnprstuvwxyz', (4, 6),
                                  random_style((999, i), (60, size), fonts=captcha_fonts()), i)
        except DoesNotFit: continue
    raise SystemExit(f'style {i} holds no text of six characters')

def counts(files, texts, labels, share, seed):
    "Pictures read right by a reader that answers all; answered and wrong by one that accepts"
    from captcha_fastai.core import CaptchaError
    from captcha_fastai.train import train_reader
    order = np.random.default_rng(seed).permutation(len(files))
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)/'labelled'
        folder.mkdir()
        for k,i in enumerate(order[:labels]): shutil.copy(files[i], folder/f'{texts[i]}_{k:05d}{Path(files[i]).suffix}')
        reader = train_reader(folder, None, valid_pct=0, seed=seed, folds=5, log=lambda *_: None, yes=True).reader
    rest = order[labels:]
    try: reader,bar,_ = reader.accepting(share)
    except CaptchaError: bar = 2.   # it never was so often right, and answers nothing
    said = [(o.text==texts[i], o.confidence>=bar) for o,i in zip(reader.read([files[i] for i in rest]), rest)]
    right,answered = (np.array(o) for o in zip(*said))
    return dict(n=len(rest), right=right.sum(), answered=answered.sum(), wrong=(answered&~right).sum())

def main():
    p = parser(__doc__)
    p.add_argument('--data', help='a folder of real captchas, named after their text')
    p.add_argument('--kinds', type=int, default=10)
    p.add_argument('--labels', type=int, default=500)
    p.add_argument('--pictures', type=int, default=1000)
    p.add_argument('--share', type=float, default=.999)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', default=RESULTS/'accept.csv')
    a = p.parse_args()
    table = Table(a.out, COLUMNS)
    def row(kind, files, texts, labels):
        start = time.perf_counter()
        res = counts(files, texts, labels, a.share, a.seed)
        table.add(kind=kind, labels=labels, share=a.share, seed=a.seed, seconds=round(time.perf_counter()-start), **res)
        log(f'{kind}: {res}')
    if a.data:
        files,texts = labelled(folder_of(p, a.data))
        key = dict(kind=Path(a.data).name, labels=len(files)//2)
        if not table.has(**key, share=a.share, seed=a.seed): row(key['kind'], files, texts, key['labels'])
    else:
        for i in range(a.kinds):
            if table.has(kind=f'style {i}', labels=a.labels, share=a.share, seed=a.seed): continue
            with tempfile.TemporaryDirectory() as tmp:
                files = drawn(i, a.labels+a.pictures, Path(tmp)/'kind')
                row(f'style {i}', files, [o.name.split('_')[0] for o in files], a.labels)
    df = table.rows()
    df = df[(df.share==a.share)&(df.kind.str.startswith('style ')!=bool(a.data))]
    s = df[['n', 'right', 'answered', 'wrong']].astype(int).sum()
    log(f'{len(df)} kinds, {s.n} pictures: {percent(s.right, s.n)} read right; answered {s.answered/s.n:.1%}, of these '
        f'right {percent(s.answered-s.wrong, s.answered)}')

if __name__ == '__main__': main()
