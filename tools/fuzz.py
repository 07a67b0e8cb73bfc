#!/usr/bin/env python3
"""Feeds damaged and made-up input to what opens files of strangers, and stops at the first that is not answered as it should be.

usage: fuzz.py TARGET [-max_total_time=SECONDS] [other options of libFuzzer]
       fuzz.py all SECONDS

TARGET: picture, description (a reader's JSON), weights, table (a CSV of labels), known (--length, --chars, --pattern and --lexicon), readings
(of a stopped captcha_read), checkpoint. Each input must be taken, or refused by a `CaptchaError` of one line; anything else, ten seconds
or three gigabytes are a fault, and libFuzzer writes the input to a file. `all` gives each target SECONDS, one after the other, and prints a line
for each. Needs `pip install atheris`; tests/test_fuzz.py runs the same checks for a moment, by hypothesis.
"""
import io, json, re, shutil, subprocess, sys, tempfile, warnings
from functools import cache, partial
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
    from captcha_fastai.core import open_picture
    im = refused(lambda: open_picture(data, size=(50,200), channels=1))
    assert im is None or (im.size==(200,50) and im.mode=='L')

def pictures():
    "A small picture in each kind of file"
    import numpy as np
    from PIL import Image
    a = np.random.default_rng(0).integers(0, 256, (12,30,4), dtype=np.uint8)
    for kind,modes in dict(PNG=['L','RGB','RGBA','P','1','LA','I;16'], JPEG=['L','RGB','CMYK'], GIF=['P'], BMP=['L','RGB','1'], TIFF=['L','RGB','F','I;16'], WEBP=['RGB','RGBA'], PPM=['L','RGB','1'],
                           TGA=['L','RGBA'], ICO=['RGBA'], PCX=['L','RGB'], SGI=['L'], JPEG2000=['L'], AVIF=['RGB'], QOI=['RGB']).items():
        for mode in modes:
            b = io.BytesIO()
            im = Image.fromarray(a[...,0].astype(np.uint16)) if mode=='I;16' else Image.fromarray(a).convert('RGB' if mode=='P' else 'L' if mode in '1F' else mode).convert(mode) if mode!='CMYK' else Image.fromarray(a).convert('RGB').convert('CMYK')
            try: im.save(b, kind)
            except (OSError, KeyError, ValueError): continue   # this Pillow can't write it
            yield b.getvalue()

@cache
def reader_folder():
    "A very small reader, and one picture"
    import torch
    from captcha_fastai.all import CaptchaDataLoaders, Reader, captcha_learner, crnn_small, save_captchas
    save_captchas(4, scratch()/'drawn', chars='2bmx', length=3, seed=1)
    torch.manual_seed(0)
    learn = captcha_learner(CaptchaDataLoaders.from_folder(scratch()/'drawn', valid_pct=0, size=(16,48)), crnn_small, arch_args=dict(widths=[4,4], blocks=[1,0], n_hidden=4))
    return Reader.from_learner(learn, check=0).save(scratch()/'reader')

@cache
def one_picture(): reader_folder(); return next((scratch()/'drawn').iterdir())

def _load(**files):
    from captcha_fastai.all import Reader
    folder = scratch()/'changed'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(reader_folder(), folder)
    for name,data in files.items(): (folder/name.replace('__', '.')).write_bytes(data)
    reader = refused(lambda: Reader.load(folder))
    if reader is not None: refused(lambda: read(reader))

def read(reader): assert all(isinstance(o.text, str) and 0<=o.confidence<=1 for o in reader.read(one_picture()))

def description(data): _load(reader__json=data)
def descriptions(): yield (reader_folder()/'reader.json').read_bytes()

def weights(data):
    "With a description that vouches for them"
    import hashlib
    d = json.loads((reader_folder()/'reader.json').read_text()) | dict(sha256=hashlib.sha256(data).hexdigest())
    _load(reader__json=json.dumps(d).encode(), model__safetensors=data)
def all_weights(): yield (reader_folder()/'model.safetensors').read_bytes()

def table(data):
    from captcha_fastai.all import CaptchaDataLoaders, norm_text, read_labels
    file = one_picture().parent/'t.csv'
    file.write_bytes(data)
    df = refused(lambda: read_labels(file, ['file','text']))
    if df is not None:
        assert len(df) and all(isinstance(norm_text(o), str) for o in df['file'].tolist()+df['text'].tolist())
        df.to_csv(io.StringIO())
        dls = refused(lambda: CaptchaDataLoaders.from_csv(file.parent, file.name, fn_col='file', label_col='text', valid_pct=0, size=(16,48)))
        if dls is not None: assert len(dls.train_ds)<=len(df)
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
    from captcha_fastai.all import Reader
    return Reader.load(reader_folder(), device='cpu')

def known(data):
    "The first byte says which option it is; what a pattern allows is what Python's own expressions match"
    if not data: return
    from captcha_fastai import cli
    kind,value = KINDS[data[0]%4],data[1:].decode('utf-8', 'ignore')
    if kind=='lexicon':
        (scratch()/'texts').write_bytes(data[1:])
        value = str(scratch()/'texts')
    reader = small_reader()
    def read():
        c = cli._constraint(reader, **{k:value if k==kind else None for k in KINDS})
        return c,reader.read(one_picture(), constraint=c)
    if (got := refused(read)) is None: return
    c,(o,) = got
    if c is None: return
    assert c.allows(o.text), (kind, value, o.text)
    if kind=='pattern' and not re.search(r'\\', value):
        for t in ('', '2', 'b', '22', '2b', 'bm', '2bm', 'mmm', 'x2b2'): assert c.allows(t)==bool(re.fullmatch(value, t)), (value, t)
def knowns():
    for i,values in enumerate((('3','2-4','seen'), ('2b','xm'), ('2[bm]{1,2}','(2|b)?x*','[^2]+','.{3}','2{2}','[2-b]m'), ('22b\nbmx\n','m'))):
        for o in values: yield bytes([i])+o.encode()

def readings(data):
    from captcha_fastai import cli
    file = scratch()/'readings.jsonl'
    file.write_bytes(data)
    got = refused(lambda: list(cli.read_on(small_reader(), [one_picture()], file)))
    if got is not None:
        o, = got
        assert o.file==one_picture() and isinstance(o.text, str) and 0<=o.confidence<=1 and all(e is None or isinstance(e, str) for e in (o.error,o.declined))
def all_readings():
    from captcha_fastai import cli
    file = scratch()/'readings.jsonl'
    file.unlink(missing_ok=True)
    list(cli.read_on(small_reader(), [one_picture()], file))
    kept = file.read_bytes()
    list(cli.read_on(small_reader(), [one_picture()], file))
    assert file.read_bytes()==kept   # the seed is one that is believed
    yield kept
    yield b'{"text": "", "confidence": 0.0, "file": "b.png", "error": "no", "declined": null, "seen": [1, 2]}\n'+kept

@cache
def learner():
    from captcha_fastai.all import CaptchaDataLoaders, captcha_learner, crnn_small
    one_picture()
    return captcha_learner(CaptchaDataLoaders.from_folder(scratch()/'drawn', valid_pct=0, size=(16,48)), crnn_small, arch_args=dict(widths=[4,4], blocks=[1,0], n_hidden=4), half=False)

@cache
def kept():
    "What a checkpoint's archive holds"
    from captcha_fastai.all import Checkpoint
    learn = learner()
    with learn.no_bar(), learn.no_logging(): learn.fit(1, cbs=Checkpoint(scratch()/'kept.pth'))
    with ZipFile(scratch()/'kept.pth') as f: return {o:f.read(o) for o in f.namelist()}

def checkpoint(data):
    "The pickle in an archive whose checksums are right"
    from captcha_fastai.all import Checkpoint
    file = scratch()/'state.pth'
    with ZipFile(file, 'w') as f:
        for k,v in kept().items(): f.writestr(k, data if k.endswith('/data.pkl') else v)
    got = refused(lambda: Checkpoint(file, resume=True))
    if got is not None: assert type(got.start_epoch) is int and type(got.seconds) is float
def checkpoints(): yield next(v for k,v in kept().items() if k.endswith('/data.pkl'))

TARGETS = dict(picture=(picture, pictures), description=(description, descriptions), weights=(weights, all_weights), table=(table, tables), known=(known, knowns),
               readings=(readings, all_readings), checkpoint=(checkpoint, checkpoints))

def fuzz(name, options):
    "Never returns: libFuzzer ends the process"
    import atheris
    with atheris.instrument_imports(include=['captcha_fastai','PIL'], enable_loader_override=False):
        import captcha_fastai.all, captcha_fastai.cli, PIL.Image
    import torch
    torch.set_num_threads(1)
    check,seeds = TARGETS[name]
    corpus = scratch()/'corpus'
    corpus.mkdir()
    for i,o in enumerate(seeds()): check(o); (corpus/f'seed{i}').write_bytes(o)
    atheris.Setup([sys.argv[0], f'-artifact_prefix={name}-', '-timeout=10', '-rss_limit_mb=3072', '-max_len=65536', *options, str(corpus)], check)
    atheris.Fuzz()

def main():
    if len(sys.argv)<2 or sys.argv[1] not in (*TARGETS,'all') or sys.argv[1]=='all' and not (len(sys.argv)==3 and sys.argv[2].isdecimal()): sys.exit(__doc__)
    if sys.argv[1]!='all': fuzz(sys.argv[1], sys.argv[2:])
    print('| target | seconds | inputs | faults |\n|---|---|---|---|')
    for name in TARGETS:
        res = subprocess.run([sys.executable, __file__, name, f'-max_total_time={sys.argv[2]}', '-print_final_stats=1'], capture_output=True, text=True, errors='replace')
        n = re.search(r'number_of_executed_units: (\d+)', res.stderr)
        fault = re.search(rf'Test unit written to (\S+)', res.stderr)
        print(f"| {name} | {sys.argv[2]} | {n[1] if n else '?'} | {fault[1] if fault else 'none' if not res.returncode else f'ended with {res.returncode}: {res.stderr[-300:]}'} |", flush=True)

if __name__=='__main__': main()
