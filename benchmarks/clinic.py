#!/usr/bin/env python3
"""The table of lesson 09b: each fault on several seeds, what it does, what the instruments and `CollapseWatch` say, and the cure.

usage: clinic.py [--faults no_shift,relu_scores] [--seeds 3] [--watch] [--out FILE]

A line for each run is added to OUT (default: benchmarks/results/clinic.csv); runs that are there are not made again, so it can be stopped and
gone on with. A fault whose cure is to leave it out is compared with the healthy run of the same seed. With --watch (OUT: benchmarks/results/watch.csv):
ten seeds of every fault and thirty healthy runs of all models, none of them a run that the watch's rules were made with, then how often it named
the right symptom first, and the true cause among its first three.
"""
import argparse, csv, json, os, tempfile, time, warnings
from pathlib import Path

warnings.filterwarnings('ignore')
import pandas as pd
import torch
from fastai.basics import set_seed
from torch import Tensor
from captcha_fastai.all import (Case, CollapseWatch, captcha_learner, captcha_transformer, crnn, crnn_small, faults, fit_patient, overfit_check, patient, patients,
                                pooled_classifier, small_world, spatial_classifier)

COLS = ('run,seed,cured,epochs,train,valid,right,loss,constant,log_V,entropy,zeros,empty,same,effect,taught,written,grads,texts,symptom,epoch,causes,'
        'all_symptoms,overfit,overfit_says,seconds').split(',')

# the real archs on the small world, for runs that must be silent: arch_args, epochs, learning rate; nine columns of crnn need larger pictures
others = dict(spatial_classifier=(spatial_classifier, {}, 16, 3e-3), pooled_classifier=(pooled_classifier, {}, 16, 3e-3), crnn=(crnn, {}, 16, 1e-3),
              crnn_small=(crnn_small, {}, 5, 3e-3), captcha_transformer=(captcha_transformer, {}, 8, 1e-3))

def learner(path, name, cured, watch):
    if name in others:
        arch,args,n_epoch,lr = others[name]
        learn = captcha_learner(small_world(path, bs=32, size=(48,144) if arch is crnn else None), arch, pretrained=False, arch_args=args, half=False, cbs=watch)
        learn.fit_args = dict(n_epoch=n_epoch, lr_max=lr, pct_start=.15)
        return learn
    return patient(path, name if name in faults else None, kind=name if name in patients else 'transformer', cured=cured, cbs=watch)

def numbers(vs): return ' '.join('' if o is None else f'{o:.4g}' for o in vs)

def run(path, name, seed, cured):
    "One training: a row of the table"
    start,said = time.perf_counter(),[]
    set_seed(seed)
    watch = CollapseWatch(say=said.append)
    learn = learner(path, name, cured, watch)
    check = overfit_check(learn, steps=100) if name in faults and not cured else None
    set_seed(seed)
    row = dict(run=name, seed=seed, cured=int(cured), epochs=learn.fit_args['n_epoch'])
    try: fit_patient(learn)
    except Exception as e: row['texts'] = f'{type(e).__name__}: {e}'.splitlines()[0]   # some faults can't be trained at all: what is said of them
    names = list(learn.recorder.metric_names)[1:-1]
    values = [dict(zip(names, o)) for o in learn.recorder.values]
    row |= {k:numbers([o.get(v) for o in values]) for k,v in (('train','train_loss'),('valid','valid_loss'),('right','captcha_accuracy'))}
    if watch.log: row |= {k:round(v, 4) for k,v in watch.log[-1].items() if k in COLS and isinstance(v, float) and k not in ('train','valid','right')}
    row['grads'] = json.dumps({k:float(f'{v:.3g}') for k,v in (watch.grads or {}).items()})
    if 'texts' not in row:
        xb,yb = learn.dls.valid.one_batch()
        ids = Case(learn, xb.as_subclass(Tensor)[:4], yb.as_subclass(Tensor)[:4]).ids
        row['texts'] = ' '.join(f'{a}:{b}' for a,b in zip(learn.vocab.decode_batch(yb[:4]), learn.vocab.decode_batch(ids)))
    first = watch.reports[0] if watch.reports else dict(symptom='', epoch='', causes=[])
    row |= dict(symptom=first['symptom'], epoch=first['epoch'], causes=' '.join(first['causes']), all_symptoms=' '.join(o['symptom'] for o in watch.reports))
    if check is not None: row |= dict(overfit=int(check.passed), overfit_says=' '.join([check.says, *(f'[{o.name}]' for o in check.causes)]))
    return row | dict(seconds=round(time.perf_counter()-start, 1))

def different(f): return f.mend or f.cured or f.fit or f.world   # is the cured run another than the healthy one?

def todo(names, seeds):
    "Runs of the table, seed by seed: healthy ones, faults, and cures that are not a healthy run"
    for seed in range(seeds):
        for kind in patients: yield kind,seed,False
        for name in names: yield name,seed,False
        for name in names:
            if different(faults[name]): yield name,seed,True

fresh = dict(clipped_loss=13, keras_loss=13)   # the watch's rule for these was made after runs with the seeds 3 to 12

def watched(names, seeds):
    "Runs to put the watch to the test: healthy ones of all models, and faults, with seeds that its rules were not made with"
    return ([(k,s,False) for k in patients for s in range(3, 13)] + [(k,s,False) for k in others for s in range(2)] +
            [(n,s+fresh.get(n, 3),False) for s in range(seeds) for n in names])

def tally(df):
    "What the watch said: a line for each fault, and for healthy runs"
    sick = df[df.run.isin(faults) & (df.cured==0)]
    for name,g in sick.groupby('run', sort=False):
        f = faults[name]
        right = [o.symptom in f.symptoms for o in g.itertuples()]
        cause = [s and f.cause in o.causes.split()[:3] for s,o in zip(right, g.itertuples())]
        said = ' '.join(f'{k or "silent"} {v}' for k,v in g.symptom.value_counts().items())
        print(f'{name:24} {len(g):2} runs: {said:32}' + (f' symptom {sum(right)}, cause {sum(cause)}' if f.symptoms else ' (none expected)'))
    well = df[~df.run.isin(faults)]
    if lame := [f'{o.run} seed {o.seed}' for o in well.itertuples() if float(o.right.split(' ')[-1] or 0)<.6]: print('healthy runs that read less than 60 %:', ', '.join(lame))
    print(f'healthy: {(well.symptom=="").sum()} of {len(well)} silent; ' + ', '.join(f'{k} {v}' for k,v in well.run.value_counts().items()))
    for o in well[well.symptom!=''].itertuples(): print(f'  {o.run} seed {o.seed}: {o.symptom} in epoch {o.epoch}')

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--faults', default=','.join(faults))
    p.add_argument('--seeds', type=int)
    p.add_argument('--watch', action='store_true')
    p.add_argument('--out', type=Path)
    args = p.parse_args()
    names = args.faults.split(',')
    if bad := [o for o in names if o not in faults]: p.error(f'no fault {bad[0]!r}; there are {", ".join(faults)}')
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))
    args.out = args.out or Path(__file__).parent/'results'/('watch.csv' if args.watch else 'clinic.csv')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if not args.out.exists():
        with open(args.out, 'w', newline='') as f: csv.writer(f).writerow(COLS)
    runs = watched(names, args.seeds or 10) if args.watch else list(todo(names, args.seeds or 3))
    with tempfile.TemporaryDirectory() as tmp:
        for i,(name,seed,cured) in enumerate(runs):
            df = pd.read_csv(args.out, keep_default_na=False)
            if ((df.run==name)&(df.seed==seed)&(df.cured==int(cured))).any(): continue
            row = run(Path(tmp)/'small', name, seed, cured)
            with open(args.out, 'a', newline='') as f: csv.DictWriter(f, COLS).writerow(row)
            print(f"{i+1}/{len(runs)} {name} seed {seed}{' cured' if cured else ''}: right {row['right'].split(' ')[-1]}, {row['symptom'] or 'silent'}, {row['seconds']} s", flush=True)
    tally(pd.read_csv(args.out, keep_default_na=False))

if __name__=='__main__': main()
