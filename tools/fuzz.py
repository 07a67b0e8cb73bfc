#!/usr/bin/env python3
"""Feeds damaged and made-up input to what opens files of strangers; stops at the first not answered as it should be.

usage: fuzz.py TARGET [-max_total_time=SECONDS] [other options of libFuzzer]
       fuzz.py all SECONDS

TARGET: picture, description (a reader's JSON), weights, table (a CSV of labels), known (--length, --chars, --pattern
and --lexicon), readings (of a stopped captcha_read), checkpoint. Each input must be taken, or refused by a
`CaptchaError` of one line; anything else, ten seconds or three gigabytes are a fault, and libFuzzer writes the input to
a file. `all` gives each target SECONDS, one after the other, and prints a line for each. Needs `pip install atheris`;
tests/test_fuzz.py runs the same checks for a moment, by hypothesis.
"""
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from zipfile import ZipFile

warnings.filterwarnings('ignore')

@cache
def scratch(): return Path(tempfile.mkdtemp(prefix='fuzz-'))

def refused(check):
    "Run `check`; what it raises must be one line for the user, and what it returns is given back"
    from captcha_fastai.core import CaptchaError
    try: return check()
    except CaptchaError as e:
        said = str(e).replace(str(scratch()), '')
        assert said and '\n' not in said, f'not one line: {said!r}'

# What is tried: a function of some bytes for each target, and where they begin

def picture(data):
    from captcha_fastai.pictures import open_picture
    im = refused(lambda: open_picture(data, size=(50,200), channels=1))
    assert im is None or (im.size==(200,50) and im.mode=='L')

MODES = dict(PNG=['L','RGB','RGBA','P','1','LA','I;16'], JPEG=['L','RGB','CMYK'], GIF=['P'], BMP=['L','RGB','1'],
             TIFF=['L','RGB','F','I;16'], WEBP=['RGB','RGBA'], PPM=['L','RGB','1'], TGA=['L','RGBA'], ICO=['RGBA'],
             PCX=['L','RGB'], SGI=['L'], JPEG2000=['L'], AVIF=['RGB'], QOI=['RGB'])

def _converted(a, mode):
    "The `(h,w,4)` array as a picture of this mode, by way of one that Pillow converts to it"
    import numpy as np
    from PIL import Image
    if mode=='I;16': return Image.fromarray(a[...,0].astype(np.uint16))
    by_way_of = {'P':'RGB', 'CMYK':'RGB', '1':'L', 'F':'L'}
    return Image.fromarray(a).convert(by_way_of.get(mode, mode)).convert(mode)

def pictures():
    "A small picture in each kind of file"
    import numpy as np
    a = np.random.default_rng(0).integers(0, 256, (12,30,4), dtype=np.uint8)
    for kind,modes in MODES.items():
        for mode in modes:
            b = io.BytesIO()
            try: _converted(a, mode).save(b, kind)
            except (OSError, KeyError, ValueError): continue   # this Pillow can't write it
            yield b.getvalue()

TINY = dict(widths=[4,4], blocks=[1,0], n_hidden=4)

@cache
def drawn_folder():
    from captcha_fastai.synth import save_captchas
    save_captchas(4, scratch()/'drawn', chars='2bmx', length=3, seed=1)
    return scratch()/'drawn'

def new_learner(**kwargs):
    "One that trains a very small model on the drawn pictures"
    from captcha_fastai.crnn import crnn_small
    from captcha_fastai.loaders import CaptchaDataLoaders
    from captcha_fastai.learner import captcha_learner
    dls = CaptchaDataLoaders.from_folder(drawn_folder(), valid_pct=0, size=(16,48))
    return captcha_learner(dls, crnn_small, arch_args=TINY, **kwargs)

@cache
def reader_folder():
    "A very small reader"
    import torch
    from captcha_fastai.reader import Reader
    drawn_folder()
    torch.manual_seed(0)
    learn = new_learner()   # its module adds `from_learner` to `Reader`
    return Reader.from_learner(learn, check=0).save(scratch()/'reader')

@cache
def one_picture(): return next(drawn_folder().iterdir())

def _load(**files):
    from captcha_fastai.reader import Reader
    folder = scratch()/'changed'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(reader_folder(), folder)
    for name,data in files.items(): (folder/name.replace('__', '.')).write_bytes(data)
    reader = refused(lambda: Reader.load(folder))
    if reader is not None: refused(lambda: read(reader))

def read(reader):
    for o in reader.read(one_picture()): assert isinstance(o.text, str) and 0<=o.confidence<=1

def description(data): _load(reader__json=data)
def descriptions(): yield (reader_folder()/'reader.json').read_bytes()

def weights(data):
    "With a description that vouches for them"
    import hashlib
    d = json.loads((reader_folder()/'reader.json').read_text()) | dict(sha256=hashlib.sha256(data).hexdigest())
    _load(reader__json=json.dumps(d).encode(), model__safetensors=data)
def all_weights(): yield (reader_folder()/'model.safetensors').read_bytes()

def table(data):
    from captcha_fastai.core import norm_text
    from captcha_fastai.loaders import CaptchaDataLoaders
    from captcha_fastai.labels import read_labels
    file = one_picture().parent/'t.csv'
    file.write_bytes(data)
    df = refused(lambda: read_labels(file, ['file','text']))
    if df is None: return
    assert len(df) and all(isinstance(norm_text(o), str) for o in df['file'].tolist()+df['text'].tolist())
    df.to_csv(io.StringIO())
    columns = dict(fn_col='file', label_col='text')
    dls = refused(lambda: CaptchaDataLoaders.from_csv(file.parent, file.name, valid_pct=0, size=(16,48), **columns))
    assert dls is None or len(dls.train_ds)<=len(df)

def tables():
    names = sorted(o.name for o in one_picture().parent.glob('*.png'))
    yield ('file,text\n'+''.join(f'{o},{o[:3]}\n' for o in names)).encode()
    yield f'text,file\n"2b",{names[0]}\n"m,x",{names[1]}\n'.encode()
    yield b'file,text\na.png,2w4y7\nb/c.png,007\n'
    yield 'file,text,confidence\n"a,b.png","2\n7",.9\n é.png , ü"x ,1\n'.encode()
    yield b'\xef\xbb\xbftext,file\r\n"a""b",c.png\r\n'

KINDS = 'length','chars','pattern','lexicon'

@cache
def small_reader():
    from captcha_fastai.reader import Reader
    return Reader.load(reader_folder(), device='cpu')

def known(data):
    "The first byte says which option it is; what a pattern allows is what Python's own expressions match"
    if not data: return
    from captcha_fastai.cli import options_constraint
    kind,value = KINDS[data[0]%4],data[1:].decode('utf-8', 'ignore')
    if kind=='lexicon':
        (scratch()/'texts').write_bytes(data[1:])
        value = str(scratch()/'texts')
    reader = small_reader()
    def read():
        c = options_constraint(reader, **{kind:value})
        return c,reader.read(one_picture(), constraint=c)
    if (got := refused(read)) is None: return
    c,(o,) = got
    if c is None: return
    assert c.allows(o.text), (kind, value, o.text)
    if kind!='pattern' or '\\' in value: return
    for t in ('', '2', 'b', '22', '2b', 'bm', '2bm', 'mmm', 'x2b2'):
        assert c.allows(t)==bool(re.fullmatch(value, t)), (value, t)

def knowns():
    lengths,chars = ('3','2-4','seen'),('2b','xm')
    patterns,lexicons = ('2[bm]{1,2}','(2|b)?x*','[^2]+','.{3}','2{2}','[2-b]m'),('22b\nbmx\n','m')
    for i,values in enumerate((lengths, chars, patterns, lexicons)):
        for o in values: yield bytes([i])+o.encode()

def read_kept(file):
    "Read the picture, or take what is kept of it in the file"
    from captcha_fastai.bulk import read_resumable
    return list(read_resumable(small_reader(), [one_picture()], file))

def readings(data):
    file = scratch()/'readings.jsonl'
    file.write_bytes(data)
    got = refused(lambda: read_kept(file))
    if got is None: return
    o, = got
    assert o.file==one_picture() and isinstance(o.text, str) and 0<=o.confidence<=1
    assert all(e is None or isinstance(e, str) for e in (o.error,o.declined))

def all_readings():
    file = scratch()/'readings.jsonl'
    file.unlink(missing_ok=True)
    read_kept(file)
    kept = file.read_bytes()
    read_kept(file)
    assert file.read_bytes()==kept   # the seed is one that is believed
    yield kept
    other = b'{"text": "", "confidence": 0.0, "file": "b.png", "error": "no", "declined": null, "seen": [1, 2]}\n'
    yield other+kept

@cache
def kept():
    "What a checkpoint's archive holds"
    learn = new_learner(half=False)
    with learn.no_bar(), learn.no_logging(): learn.fit_recipe(1, checkpoint=scratch()/'kept.pth')
    with ZipFile(scratch()/'kept.pth') as f: return {o:f.read(o) for o in f.namelist()}

def checkpoint(data):
    "The pickle in an archive whose checksums are right"
    from captcha_fastai.progress import Checkpoint
    file = scratch()/'state.pth'
    with ZipFile(file, 'w') as f:
        for k,v in kept().items(): f.writestr(k, data if k.endswith('/data.pkl') else v)
    got = refused(lambda: Checkpoint(file, resume=True))
    if got is not None: assert type(got.start_epoch) is int and type(got.seconds) is float

def checkpoints(): yield next(v for k,v in kept().items() if k.endswith('/data.pkl'))

TARGETS = dict(picture=(picture, pictures), description=(description, descriptions), weights=(weights, all_weights),
               table=(table, tables), known=(known, knowns), readings=(readings, all_readings),
               checkpoint=(checkpoint, checkpoints))

def fuzz(name, options):
    "Never returns: libFuzzer ends the process"
    import atheris
    with atheris.instrument_imports(include=['captcha_fastai','PIL'], enable_loader_override=False):
        import captcha_fastai.all    # noqa: F401
        import captcha_fastai.bulk   # noqa: F401
        import captcha_fastai.cli    # noqa: F401
        import PIL.Image             # noqa: F401
    import torch
    torch.set_num_threads(1)
    check,seeds = TARGETS[name]
    corpus = scratch()/'corpus'
    corpus.mkdir()
    for i,o in enumerate(seeds()):
        check(o)
        (corpus/f'seed{i}').write_bytes(o)
    limits = ['-timeout=10', '-rss_limit_mb=3072', '-max_len=65536']
    atheris.Setup([sys.argv[0], f'-artifact_prefix={name}-', *limits, *options, str(corpus)], check)
    atheris.Fuzz()

def found(stderr, pattern):
    "What the pattern's group matched, or `None`"
    m = re.search(pattern, stderr)
    return m and m[1]

def fuzz_all(seconds):
    "Each target in a process of its own; a line of the table for each"
    print('| target | seconds | inputs | faults |\n|---|---|---|---|')
    for name in TARGETS:
        run = [sys.executable, __file__, name, f'-max_total_time={seconds}', '-print_final_stats=1']
        res = subprocess.run(run, capture_output=True, text=True, errors='replace')
        n = found(res.stderr, r'number_of_executed_units: (\d+)') or '?'
        fault = found(res.stderr, r'Test unit written to (\S+)')
        if not fault: fault = f'ended with {res.returncode}: {res.stderr[-300:]}' if res.returncode else 'none'
        print(f'| {name} | {seconds} | {n} | {fault} |', flush=True)

def main():
    args = sys.argv[1:]
    if not args or args[0] not in (*TARGETS,'all'): sys.exit(__doc__)
    if args[0]!='all': fuzz(args[0], args[1:])
    if len(args)!=2 or not args[1].isdecimal(): sys.exit(__doc__)
    fuzz_all(args[1])

if __name__=='__main__': main()
