"""How far a confidence can be trusted: calibration out of fold, on the real set and on kinds of captcha.

python benchmarks/calibration.py --data FOLDER [--data FOLDER_OF_KINDS] --folds 3 --out FILE.csv

Every folder with labels is read out of fold, as `captcha_train --folds` does it: a model for each fold, trained without
it, and one temperature for all. The table has a row a picture. In the end, for each folder and for the kinds together:
the calibration error, what a perfectly calibrated reader seems to have by chance on as many pictures, and what is left
of the one without the other, in points; before the temperature and after."""
import numpy as np
import pandas as pd

from common import RESULTS, Table, chosen, folder_of, log, md_head, md_row, parser
from kinds_table import kinds_in

COLUMNS = ['data', 'folds', 'seed', 'file', 'text', 'read', 'raw', 'temperature', 'confidence']

def read_out_of_fold(files, texts, folds, seed):
    "For each picture: what was read, how sure, raw and calibrated; and the temperature"
    from captcha_fastai.calibration import fit_temperature
    from captcha_fastai.crnn import crnn_small
    from captcha_fastai.label_errors import out_of_fold, start_for
    from captcha_fastai.labels import scan_pictures
    digests = [o.digest for o in scan_pictures(files, 0)[0]]
    oof = out_of_fold(files, texts, digests, folds=folds, seed=seed, log=log, start=start_for(crnn_small, texts))
    read = oof.texts()
    right = np.array([a==b for a,b in zip(read, texts)])
    t = fit_temperature(oof.log_probs, oof.ids, right, oof.loss_func)
    return read, oof.confidence(oof.ids), oof.confidence(oof.ids, t), round(t, 4)

def figures(df, column):
    "Calibration error, by chance, and what is left, in points"
    from captcha_fastai.calibrate import chance_error
    from captcha_fastai.calibration import calibration_error
    c = df[column].to_numpy(float)
    error, chance = calibration_error(c, (df.text==df.read).to_numpy()), chance_error(c)
    return [f'{100*o:.2f}' for o in (error, chance, error-chance)]

def main():
    p = parser(__doc__)
    p.add_argument('--data', action='append', required=True, help='a folder with labels, or one of such; several')
    p.add_argument('--kinds', help='only these, as beads,dark')
    p.add_argument('--folds', type=int, default=3)
    p.add_argument('--seed', type=int, default=0)
    p.add_argument('--out', default=RESULTS/'calibration.csv')
    a = p.parse_args()
    sets, kinds = {}, []
    for o in a.data:
        found = kinds_in(folder_of(p, o))
        if len(found)>1: kinds += found
        sets |= found
    names, table = chosen(p, a.kinds, sets) if a.kinds else list(sets), Table(a.out, COLUMNS)
    for name in names:
        if table.has(data=name, folds=a.folds, seed=a.seed): continue
        files, texts = sets[name]
        read, raw, sure, t = read_out_of_fold(files, texts, a.folds, a.seed)
        for f,text,one,r,c in zip(files, texts, read, raw, sure):
            table.add(data=name, folds=a.folds, seed=a.seed, file=f.name, text=text, read=one, raw=round(float(r), 6),
                      temperature=t, confidence=round(float(c), 6))
        log(f'{name}: {sum(x==y for x,y in zip(read, texts))} of {len(texts)} right, temperature {t}')
    df = pd.read_csv(a.out, dtype=dict(text=str, read=str), keep_default_na=False)
    df = df[(df.folds==a.folds)&(df.seed==a.seed)]
    print(md_head('', 'pictures', 'right', 'error', 'by chance', 'left', 'calibrated: error', 'by chance', 'left',
                  right=True))
    for name,part in [*df.groupby('data'), ('all kinds', df[df.data.isin(kinds)])]:
        if len(part): print(md_row(name, len(part), f'{100*(part.text==part.read).mean():.1f} %',
                                   *figures(part, 'raw'), *figures(part, 'confidence')))

if __name__=='__main__': main()
