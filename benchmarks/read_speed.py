#!/usr/bin/env python3
"""How fast are pictures read: by torch, by an exported folder, in 8 bits, by a command, and by others

usage: read_speed.py [--data DIR] [--reader pretrained] [--n 400] [--few 40] [--rounds 3] [--others PYTHON] [--out FILE]

Files to texts, opening included. The model has one thread: OMP_NUM_THREADS=1 is set, and onnxruntime is given one;
pictures are opened by threads of their own. "On two cores": two batches at once. Shown is the best of some rounds, in
which all take turns, so that what else the machine does meets them alike. `learn.predict` is fastai's, in a loop,
without its bars; ddddocr and rapidocr are read with by another Python that has them (--others), with the threads that
they take. Start-up is a process from nothing to the text of one picture; the import of torch alone stands beside it. A
Markdown table is printed, and written to OUT.md (default: benchmarks/results/read_speed).
"""
import os
os.environ['OMP_NUM_THREADS'] = '1'
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import RESULTS, command, folder_of, labelled, log, md_head, md_row, parser

def pictures_a_second(read, files):
    "Of one round"
    begun = time.perf_counter()
    read(files)
    return len(files)/(time.perf_counter()-begun)

def export_unchecked(reader, folder, int8):
    "An exported folder whose texts nobody has compared: `export_parity.py` does"
    from captcha_fastai import portable
    from captcha_fastai.files import file_sha256
    from captcha_fastai.graphs import quantise
    folder.mkdir()
    info = portable.write_export(reader, folder)
    if not int8: return
    twice = quantise(folder/'model.onnx', portable._calibration(reader))
    more = dict(sha256={o:file_sha256(folder/o) for o in info['sha256']}, level=portable.LEVEL if twice else None)
    portable._write_info(folder, info | more)

def predictor(reader, files):
    "fastai's `learn.predict` of a reader's model, one picture after the other"
    from captcha_fastai.crnn import crnn_small
    from captcha_fastai.learner import captcha_learner
    from captcha_fastai.loaders import CaptchaDataLoaders
    from captcha_fastai.labels import captcha_label
    size = reader.spec.some_size
    dls = CaptchaDataLoaders.from_path_func(files[0].parent, files[:64], captcha_label, size=size, bs=8)
    learn = captcha_learner(dls, crnn_small)
    def read(files):
        with learn.no_bar(), learn.no_logging():
            for f in files: learn.predict(f)
    return read

OTHERS = '''
import sys, time
from pathlib import Path
name,files = sys.argv[1],sys.argv[2:]
if name=='ddddocr':
    import ddddocr
    ocr = ddddocr.DdddOcr(show_ad=False)
    read = lambda f: ocr.classification(Path(f).read_bytes())
else:
    from rapidocr import RapidOCR
    ocr = RapidOCR()
    read = lambda f: ocr(f, use_det=False, use_cls=False)
read(files[0])
begun = time.perf_counter()
for f in files: read(f)
print(len(files)/(time.perf_counter()-begun))
'''

def other(python, name, files):
    "Pictures a second of another reader, in a Python that has it"
    res = subprocess.run([python, '-c', OTHERS, name, *map(str, files)], capture_output=True, text=True)
    if res.returncode: raise SystemExit(f'{name}: {res.stderr[-300:]}')
    return float(res.stdout.split()[-1])

def seconds(cmd):
    "Seconds of a process, and of its own work"
    begun,before = time.perf_counter(),os.times()
    subprocess.run(list(map(str, cmd)), check=True, capture_output=True)
    after = os.times()
    own = after.children_user+after.children_system-before.children_user-before.children_system
    return time.perf_counter()-begun,own

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--reader', default='pretrained')
    p.add_argument('--n', type=int, default=400, help='pictures to read in a round')
    p.add_argument('--few', type=int, default=40, help='pictures for what reads one after the other')
    p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--others', help='a Python that has ddddocr and rapidocr')
    p.add_argument('--out', type=Path, default=RESULTS/'read_speed')
    args = p.parse_args()
    files = labelled(folder_of(p, args.data))[0][:args.n]
    from captcha_fastai.exported import ExportedReader
    from captcha_fastai.reader import Reader
    rows,lines = {},[]
    def say(line):
        lines.append(line)
        log(line)
    with tempfile.TemporaryDirectory() as tmp:
        tmp,reader = Path(tmp),Reader.load(args.reader, device='cpu', half=False)
        for o in ('float','int8'): export_unchecked(reader, tmp/o, o=='int8')
        plain,small = ExportedReader(tmp/'float', threads=1),ExportedReader(tmp/'int8', threads=1)
        plain2,small2 = ExportedReader(tmp/'float', threads=2),ExportedReader(tmp/'int8', threads=2)
        told = dict(length=5)
        ours = {'`Reader.read`, torch': (reader.read, files),
                '`ExportedReader.read`': (plain.read, files),
                '`ExportedReader.read`, int8': (small.read, files),
                '`ExportedReader.read`, on two cores': (plain2.read, files),
                '`ExportedReader.read`, int8, on two cores': (small2.read, files),
                '`Reader.read`, told the length':
                    (lambda o: reader.read(o, constraint=reader.constraint(**told)), files),
                '`ExportedReader.read`, told the length':
                    (lambda o: plain.read(o, constraint=plain.constraint(**told)), files),
                'read.py, one after the other': (lambda o: [plain.net.read(f) for f in o], files[:args.few]),
                '`learn.predict` in a loop': (predictor(reader, files), files[:args.few])}
        for read,some in ours.values(): read(some[:8])
        for _ in range(args.rounds):
            for name,(read,some) in ours.items():
                rows[name] = max(rows.get(name, 0), pictures_a_second(read, some))
            for name in ('ddddocr','rapidocr') if args.others else ():
                rows[name] = max(rows.get(name, 0), other(args.others, name, files[:args.few]))
        starts = {'`import torch` alone': [sys.executable, '-c', 'import torch'],
                  '`captcha_read`, saved reader': command('captcha_read', args.reader, files[0]),
                  '`captcha_read`, exported': command('captcha_read', tmp/'float', files[0]),
                  '`captcha_read`, exported, int8': command('captcha_read', tmp/'int8', files[0]),
                  '`python read.py`': [sys.executable, tmp/'float/read.py', files[0]]}
        best = {}
        for _ in range(args.rounds):
            for name,cmd in starts.items(): best[name] = min(seconds(cmd), best.get(name, (9e9,9e9)))
        bytes_of = {o:sum(f.stat().st_size for f in (tmp/o).glob('*.onnx'))/1e6 for o in ('float','int8')}
    base = rows['`Reader.read`, torch']
    say(md_head('read by', 'pictures a second', 'times torch', right=True))
    for k,v in rows.items(): say(md_row(k, f'{v:.0f}', f'{v/base:.2f}'))
    say('')
    say(md_head('from nothing to the text of one picture', 'seconds', 'of them work', right=True))
    for k,(wall,own) in best.items(): say(md_row(k, f'{wall:.2f}', f'{own:.2f}'))
    say(f"\n{args.reader}: {bytes_of['float']:.2f} MB as float, {bytes_of['int8']:.2f} MB as int8")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    Path(f'{args.out}.md').write_text('\n'.join(lines)+'\n', encoding='utf-8')

if __name__=='__main__': main()
