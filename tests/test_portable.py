"Exported folders: written and checked by the command, read by their own read.py, by captcha_read and in Python"
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from captcha_fastai import portable
from captcha_fastai.archs import ModelSpec, own_archs
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.losses import CTCLoss
from captcha_fastai.pictures import PictureError
from captcha_fastai.exported import ExportedReader, is_exported
from captcha_fastai.portable import drawn_pictures, export_reader
from captcha_fastai.reader import Reader
from conftest import ENV, run

def export(*args, before='', **kwargs):
    "Run captcha_export in a process of its own, after the lines `before`"
    code = f'from captcha_fastai import portable\n{before}\nportable.captcha_export()'
    cmd = [sys.executable, '-c', code, *map(str, args)]
    return subprocess.run(cmd, capture_output=True, text=True, env=ENV, timeout=300, **kwargs)

FEW = 'drawn = portable.drawn_pictures; portable.drawn_pictures = lambda spec: drawn(spec, 24)'

@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "Twelve pictures, and the reader of the package, exported"
    tmp = tmp_path_factory.mktemp('portable')
    (tmp/'pictures').mkdir()
    for i,im in enumerate(drawn_pictures(Reader.load('pretrained', device='cpu').spec, 12, seed=7).values()):
        im.save(tmp/f'pictures/{i:02d}.png')
    return tmp, export('pretrained', '--out', tmp/'out', '--data', tmp/'pictures')

def test_export(world):
    tmp,res = world
    assert res.returncode==0 and res.stdout==f'{tmp}/out\n', res.stderr
    assert '252 pictures read alike' in res.stderr and 'Warning' not in res.stderr
    assert sorted(o.name for o in (tmp/'out').iterdir())==['model.onnx','read.py','reader.json']
    assert sorted(o.name for o in tmp.iterdir())==['out','pictures']
    info = json.loads((tmp/'out/reader.json').read_text('utf-8'))
    assert info['checked']=={'pictures':252, 'near_ties':0} and info['loss']=='CTCLoss'
    assert b'/captcha_fastai/' not in (tmp/'out/model.onnx').read_bytes(), 'where our files lie is nobody\'s business'
    assert len((tmp/'out/read.py').read_text('utf-8').splitlines())<=150

ONE_WEIGHT = FEW + '''
write = portable.write_export
def changed(reader, folder):
    import onnx
    from onnx import numpy_helper
    info,graph = write(reader, folder),onnx.load(folder/'model.onnx')
    o = next(o for o in graph.graph.initializer if o.dims==[len(reader.vocab)])
    a = numpy_helper.to_array(o).copy()
    a[3] += 1
    o.CopyFrom(numpy_helper.from_array(a, o.name))
    onnx.save(graph, folder/'model.onnx')
    return info
portable.write_export = changed'''

def test_one_changed_weight_refuses_the_export(tmp_path):
    res = export('pretrained', '--out', tmp_path/'out', before=ONE_WEIGHT)
    assert res.returncode==1 and not res.stdout
    assert 'captcha_export: drawn captcha ' in res.stderr and 'the export ' in res.stderr, res.stderr
    assert 'Traceback' not in res.stderr and not list(tmp_path.iterdir()), 'nothing is left behind'

def test_other_pixels_refuse_the_export(tmp_path):
    "A read.py that opens pictures in another way"
    before = FEW + ("\nsource = portable.read_source\n"
                    "portable.read_source = lambda info: source(info).replace('BILINEAR', 'BICUBIC')")
    res = export('pretrained/crnn_small', '--out', tmp_path/'out', before=before)
    assert res.returncode==1 and 'as it is opened' in res.stderr and not list(tmp_path.iterdir()), res.stderr

def test_a_stopped_export_leaves_nothing(tmp_path):
    before = 'def stop(*args): raise KeyboardInterrupt\nportable._checked = stop'
    assert export('pretrained', '--out', tmp_path/'out', before=before).returncode==130
    assert not list(tmp_path.iterdir())

@pytest.mark.parametrize('reader,out,says', [
    ('pretrained', 'out', 'out exists already'),
    ('nothing', 'new', 'no saved reader'),
    ('out', 'new', 'was exported; give the reader'),
])
def test_what_cannot_be_exported(world, reader, out, says):
    tmp,before = world[0],(world[0]/'out/model.onnx').read_bytes()
    res = export(reader, '--out', out, cwd=tmp)
    assert res.returncode==2 and says in res.stderr and 'Traceback' not in res.stderr, res.stderr
    assert (tmp/'out/model.onnx').read_bytes()==before and not (tmp/'new').exists()

def test_without_the_extra(tmp_path):
    res = export('pretrained', '--out', tmp_path/'out', before="import sys; sys.modules['onnx'] = None")
    assert res.returncode==2 and "pip install 'captcha_fastai[onnx]'" in res.stderr

BARE = '''
import runpy, sys
class Barred:
    def find_spec(self, name, path=None, target=None):
        barred = 'torch','captcha_fastai','fastai','fastcore','onnx'
        if name.split('.')[0] in barred: raise ImportError(f'{name} is barred')
sys.meta_path.insert(0, Barred())
sys.path = [o for o in sys.path if o]
runpy.run_path(sys.argv[0], run_name='__main__')
'''

def bare(folder, *args, **kwargs):
    "Run a folder's read.py where neither torch nor this package can be imported"
    code = f"import sys; sys.argv = {[str(folder/'read.py'), *map(str, args)]!r}\n{BARE}"
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, **kwargs)

@pytest.mark.parametrize('told', [[], ['--length','5'], ['--length','4-5','--chars','abcdefghijk0123456789']])
def test_read_py_prints_what_captcha_read_prints(world, told):
    files = sorted((world[0]/'pictures').iterdir())
    mine,reader,exported = bare(world[0]/'out', *files, *told),run('captcha_read', 'pretrained', *files, *told),run(
        'captcha_read', world[0]/'out', *files, *told)
    def rows(res):
        assert res.returncode==0, res.stderr
        return [o.split('\t') for o in res.stdout.splitlines()]
    assert len(rows(mine))==12 and rows(mine)==rows(exported)
    assert [o[:2] for o in rows(mine)]==[o[:2] for o in rows(reader)]
    assert all(abs(float(a[2])-float(b[2]))<2e-4 for a,b in zip(rows(mine), rows(reader)))

def test_read_py_names_what_it_cannot_open(world, tmp_path):
    (tmp_path/'bad.png').write_bytes(b'no picture')
    good = world[0]/'pictures/00.png'
    res = bare(world[0]/'out', tmp_path/'bad.png', good, tmp_path/'gone.png')
    assert res.returncode==1 and len(res.stdout.splitlines())==1 and res.stdout.startswith(str(good))
    assert 'bad.png' in res.stderr and 'gone.png' in res.stderr and 'Traceback' not in res.stderr
    assert bare(world[0]/'out', good, '--length', 'five').returncode==2
    odd = bare(world[0]/'out', good, '--chars', 'é')
    assert odd.returncode==1 and "'é' is not one of" in odd.stderr

BARRED = '''import sys
class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch','fastai','scipy','matplotlib','safetensors'):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Barred())
sys.argv = ['captcha_read', *sys.argv[1:]]
from captcha_fastai.cli import captcha_read
captcha_read()'''

def test_where_torch_is_not_installed(world, tmp_path):
    "An exported reader reads into tables too; another is refused in a line"
    def read(*args):
        cmd = [sys.executable, '-c', BARRED, *map(str, args)]
        return subprocess.run(cmd, capture_output=True, text=True, env=ENV)
    pictures = world[0]/'pictures'
    want = read(world[0]/'out', pictures)
    assert want.returncode==0 and len(want.stdout.splitlines())==12, want.stderr
    for name in ('a.csv', 'a.jsonl'):
        res = read(world[0]/'out', pictures, '--out', tmp_path/name)
        assert res.returncode==0 and res.stdout==want.stdout, res.stderr
    res = read('pretrained', pictures)
    assert res.returncode==2 and len(res.stderr.splitlines())==1, res.stderr
    assert 'not installed here' in res.stderr and 'captcha_export READER' in res.stderr

def test_captcha_read_imports_no_torch(world):
    code = ("import sys; sys.argv = ['captcha_read', *sys.argv[1:]]\nfrom captcha_fastai.cli import captcha_read\n"
            "try: captcha_read()\nfinally: print(*sys.modules)")
    args = world[0]/'out',world[0]/'pictures','--length','5','--chars','0123abc'
    res = subprocess.run([sys.executable, '-c', code, *map(str, args)], capture_output=True, text=True, env=ENV)
    lines = res.stdout.splitlines()
    assert len(lines)==13 and not {'torch','fastai','pandas','scipy','matplotlib'} & set(lines[-1].split()), res.stderr

def test_standard_input(world):
    file = world[0]/'pictures/00.png'
    want = run('captcha_read', world[0]/'out', file).stdout.split('\t')[1:]
    for reader in (world[0]/'out', 'pretrained'):
        res = run('captcha_read', reader, '-', input=file.read_bytes(), text=False)
        assert res.returncode==0 and res.stdout.decode().split('\t')[0]=='-', res.stderr
        assert res.stdout.decode().split('\t')[1]==want[0]
    bad = run('captcha_read', world[0]/'out', '-', input='no picture')
    assert bad.returncode==2 and 'standard input' in bad.stderr and 'not a picture' in bad.stderr
    assert run('captcha_read', world[0]/'out', '-', file, input='').returncode==2

@pytest.mark.parametrize('option', [['--details'], ['--accept', '.9'], ['--letter-confidence', '.5']])
def test_what_only_the_reader_itself_can_tell(world, option):
    res = run('captcha_read', world[0]/'out', *option, world[0]/'pictures/00.png')
    assert res.returncode==2 and 'is an exported reader' in res.stderr and not res.stdout

def test_csv_and_going_on(world, tmp_path):
    "A table by an exported reader is that of its reader"
    for o,reader in [('a.csv','pretrained'),('b.csv',world[0]/'out')]:
        res = run('captcha_read', reader, world[0]/'pictures', '--csv', tmp_path/o)
        assert res.returncode==0, res.stderr
    a,b = ([o.rsplit(',', 1)[0] for o in (tmp_path/f).read_text().splitlines()] for f in ('a.csv','b.csv'))
    assert a==b and len(a)==13

@pytest.fixture(scope='module')
def both(world): return Reader.load('pretrained', device='cpu', half=False),ExportedReader(world[0]/'out', threads=1)

def test_pictures_of_every_kind(both, world):
    reader,exported = both
    file = world[0]/'pictures/00.png'
    im = Image.open(file)
    a = np.asarray(im.convert('RGB'))
    for x in [file, file.read_bytes(), im, a, a[...,::-1].copy(), a.transpose(2,0,1)]:
        assert exported.read(x)[0].text==reader.read(x)[0].text
    assert exported.read(a[...,::-1].copy(), bgr=True)[0].text==reader.read(a)[0].text

def written(folder):
    "The class Reader of a folder's read.py"
    return portable._module(folder/'read.py').Reader(folder)

def test_read_py_opens_pictures_as_the_library_does(both, world, tmp_path):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (30,90,4), dtype=np.uint8)
    grey,colour = Image.fromarray(a[...,0]),Image.fromarray(a[...,:3])
    exif = Image.Exif()
    exif[0x112] = 8
    black = a*0
    black[5:20,10:50,3] = 255
    saves = {'grey.png':(grey,{}), 'la.png':(grey.convert('LA'),{}), 'rgba.png':(Image.fromarray(a),{}),
             'exif.jpg':(colour,dict(exif=exif)), 'one.png':(grey.convert('1'),{}), 'p.gif':(colour.convert('P'),{}),
             'wide.png':(Image.fromarray(a[...,0].astype(np.uint16)*257),{}), 'cmyk.jpg':(colour.convert('CMYK'),{}),
             'float.tif':(Image.fromarray(a[...,0]/np.float32(255)),{}), 'alpha.png':(Image.fromarray(black),{}),
             'key.png':(colour.convert('P'),dict(transparency=3)), 'x.webp':(colour,{}), 'x.bmp':(colour,{})}
    read = written(world[0]/'out')
    for name,(im,how) in saves.items():
        im.save(tmp_path/name, **how)
        with Image.open(tmp_path/name) as opened: mine = read.pixels(opened)
        assert np.array_equal(mine, both[0].tensor(tmp_path/name).numpy()), name
        assert read.read(tmp_path/name)[0]==both[0].read(tmp_path/name)[0].text, name

def test_what_read_py_refuses(world, tmp_path):
    frames = [Image.new('L', (90,30), o) for o in (0, 99, 200)]
    frames[0].save(tmp_path/'moves.gif', save_all=True, append_images=frames[1:])
    (tmp_path/'a.eps').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n')
    res = bare(world[0]/'out', tmp_path/'moves.gif', tmp_path/'a.eps')
    assert res.returncode==1 and 'it has frames' in res.stderr and 'EPS is not read here' in res.stderr, res.stderr

def test_errors_in_python(both, world, tmp_path):
    exported = both[1]
    (tmp_path/'bad.png').write_bytes(b'x')
    files = [world[0]/'pictures/00.png', tmp_path/'bad.png']
    with pytest.raises(PictureError, match='bad.png'): exported.read(files)
    good,bad = exported.read(files, skip_bad=True)
    assert good.text and not good.error and not bad.text and 'bad.png' in bad.error
    declined, = exported.read(files[:1], min_confidence=1.)
    assert declined.text=='' and declined.declined==good.text
    for how in (dict(length=30), dict(chars='é'), dict(length='seen'), dict(pattern='(')):
        with pytest.raises(CaptchaError): exported.read(files[:1], constraint=exported.constraint(**how))
    with pytest.raises(CaptchaError, match='probability'): exported.read(files[:1], min_confidence=2)
    assert exported.read([])==[] and exported.constraint() is None

@pytest.mark.parametrize('how', [
    dict(length=5), dict(length=(2,4)), dict(chars='abc12'), dict(pattern='[a-z]{2}[0-9]+'),
    dict(lexicon=['abc','12345','zzzz']), dict(length=(4,6), chars='abcdefgh', pattern='.*')])
def test_told(both, world, how):
    files = sorted((world[0]/'pictures').iterdir())
    a,b = (o.read(files, constraint=o.constraint(**how)) for o in both)
    assert [o.text for o in a]==[o.text for o in b]
    assert np.allclose([o.confidence for o in a], [o.confidence for o in b], atol=1e-4)

def test_a_changed_folder_is_not_believed(world, tmp_path):
    for name,change,says in [
        ('model.onnx', lambda o: o[:-1]+bytes([o[-1]^1]), 'not the file that was exported'),
        ('reader.json', lambda o: o.replace(b'"exported": 1', b'"exported": 9'), 'format 1'),
        ('reader.json', lambda o: o[:50], "can't be read")]:
        shutil.copytree(world[0]/'out', tmp_path/'out', dirs_exist_ok=True)
        (tmp_path/'out'/name).write_bytes(change((tmp_path/'out'/name).read_bytes()))
        with pytest.raises(CaptchaError, match=says): ExportedReader(tmp_path/'out')
        res = run('captcha_read', tmp_path/'out', world[0]/'pictures')
        assert res.returncode==2 and says in res.stderr and 'Traceback' not in res.stderr

def few(monkeypatch, n=24):
    "Compare on few pictures"
    drawn = portable.drawn_pictures
    monkeypatch.setattr(portable, 'drawn_pictures', lambda spec, n=n, seed=0: drawn(spec, min(n, 24), seed))

@pytest.mark.parametrize('arch', own_archs)
def test_every_arch(arch, monkeypatch, tmp_path):
    few(monkeypatch)
    spec = ModelSpec(arch, Vocab('0123456789abc'), (32,96), 3 if arch=='crnn' else 1, 5)
    reader = Reader(spec.model(), spec, device='cpu')
    export_reader(reader, tmp_path/'out', log=lambda s: None)
    exported,pictures = ExportedReader(tmp_path/'out', 1),list(drawn_pictures(spec, 12, seed=3).values())
    for how in ({}, dict(length=(2,4)), dict(pattern='[0-9]+[abc]')):
        a,b = (o.read(pictures, constraint=o.constraint(**how)) for o in (reader, exported))
        assert [o.text for o in a]==[o.text for o in b], how
        assert np.allclose([o.confidence for o in a], [o.confidence for o in b], atol=1e-4)
    if arch in ('captcha_transformer','pooled_classifier'):   # in 8 bits: untrained, so no text is sure
        export_reader(reader, tmp_path/'int8', log=lambda s: None, int8=True)
        assert len(ExportedReader(tmp_path/'int8', 1).read(pictures))==12
    text,confidence,letters = written(tmp_path/'out').read(save(pictures[0], tmp_path), length=3)
    assert len(text)==len(letters)==3 and all(0<=p<=1 for _,p in letters) and ''.join(c for c,_ in letters)==text

def save(im, folder):
    im.save(folder/'x.png')
    return folder/'x.png'

def test_free_width_and_right_to_left(monkeypatch, tmp_path):
    few(monkeypatch)
    spec = ModelSpec('crnn_small', Vocab('אבגדהוז0123'), (32,None), 3, 6)
    reader = Reader(spec.model(), spec, device='cpu')
    assert is_exported(export_reader(reader, tmp_path/'out', log=lambda s: None))
    exported,pictures = ExportedReader(tmp_path/'out', 1),list(drawn_pictures(spec, 12, seed=3).values())
    for how in ({}, dict(length=4)):
        a,b = (o.read(pictures, constraint=o.constraint(**how)) for o in (reader, exported))
        assert [o.text for o in a]==[o.text for o in b]
    assert any(o.text for o in a)

@pytest.mark.parametrize('arch', ['crnn_small','captcha_transformer','pooled_classifier'])
def test_pictures_on_paper(arch, monkeypatch, tmp_path):
    "A reader whose pictures keep their shape: wide ones squeezed, narrow ones on paper, the same bytes everywhere"
    few(monkeypatch)
    spec = ModelSpec(arch, Vocab('0123456789abc'), (32,112), 3, 5, keep_shape=True)
    reader = Reader(spec.model(), spec, device='cpu')
    export_reader(reader, tmp_path/'out', log=lambda s: None)
    exported,read = ExportedReader(tmp_path/'out', 1),written(tmp_path/'out')
    assert len((tmp_path/'out/read.py').read_text('utf-8').splitlines())<=150
    rng = np.random.default_rng(1)
    shapes = [(32,112), (50,90), (20,200), (90,300), (7,9), (64,64)]
    odd = [Image.fromarray(rng.integers(0, 256, (*o,3), dtype=np.uint8)) for o in shapes]
    for im in [*odd, odd[0].convert('L'), *drawn_pictures(spec, 8, seed=3).values()]:
        want = reader.tensor(im).numpy()
        assert want.shape==(3,32,112)
        assert np.array_equal(exported.pixels(im), want) and np.array_equal(read.pixels(im), want), im.size
    for how in ({}, dict(length=(2,4))):
        a,b = (o.read(odd, constraint=o.constraint(**how)) for o in (reader, exported))
        assert [o.text for o in a]==[o.text for o in b]

def test_other_paper_refuses_the_export(monkeypatch, tmp_path):
    few(monkeypatch)
    source = portable.read_source
    other = lambda info: source(info).replace('border.mean(-1)+.5', 'border.mean(-1)+9')
    monkeypatch.setattr(portable, 'read_source', other)
    spec = ModelSpec('crnn_small', Vocab('01'), (50,400), 1, 4, keep_shape=True)
    with pytest.raises(portable.ExportDiffers, match='as it is opened'):
        export_reader(Reader(spec.model(), spec, device='cpu'), tmp_path/'out')
    assert not list(tmp_path.iterdir())

def test_a_loss_of_ones_own_is_refused(tmp_path):
    class MyLoss(CTCLoss): pass
    spec = ModelSpec('crnn_small', Vocab('01'), (32,96), 1, 4)
    with pytest.raises(CaptchaError, match='of its own'):
        export_reader(Reader(spec.model(), spec, MyLoss(), 'cpu'), tmp_path/'out')
    assert not list(tmp_path.iterdir())

def test_near_ties_are_listed_apart(monkeypatch, tmp_path):
    "A text that leads by nearly nothing may differ; it is named, and the export stands"
    few(monkeypatch)
    spec = ModelSpec('crnn_small', Vocab('01'), (32,96), 1, 4)
    reader,said = Reader(spec.model(), spec, device='cpu'),[]
    for lead,there in [(.5e-4, True), (2e-4, False)]:
        tie = portable.Difference('a.png', '', '0', '1', lead)
        monkeypatch.setattr(portable, 'compare_texts', lambda *args, tie=tie: [tie])
        if there: export_reader(reader, tmp_path/'out', log=said.append)
        else:
            with pytest.raises(portable.ExportDiffers, match='a.png'): export_reader(reader, tmp_path/'no')
    assert any('near-tie' in o and 'a.png' in o for o in said) and not (tmp_path/'no').exists()

def test_int8(world, tmp_path):
    "Half the bytes; texts that the reader is sure of are the same"
    res = export('pretrained', '--out', tmp_path/'out', '--int8')
    assert res.returncode==0 and 'in 8 bits' in res.stderr, res.stderr
    a,b = (sum(o.stat().st_size for o in f.glob('*.onnx')) for f in (world[0]/'out', tmp_path/'out'))
    assert b<.53*a
    info = json.loads((tmp_path/'out/reader.json').read_text('utf-8'))
    assert info['int8']['same_of_sure']>=.995
    files = sorted((world[0]/'pictures').iterdir())
    rows = [o.split('\t') for o in bare(tmp_path/'out', *files).stdout.splitlines()]
    want = Reader.load('pretrained', device='cpu').read(files)
    assert len(rows)==12 and all(o[1]==w.text for o,w in zip(rows, want) if w.confidence>.5)

def test_a_second_look(world, tmp_path, monkeypatch):
    "Where 8 bits leave a text open the picture is read in 16: with all in doubt, all texts are those of the reader"
    few(monkeypatch)
    monkeypatch.setattr(portable, 'LEVEL', 99.)
    export_reader('pretrained/crnn_small', tmp_path/'out', int8=True, log=lambda s: None)
    files = sorted((world[0]/'pictures').iterdir())
    reader,exported = Reader.load('pretrained/crnn_small', device='cpu', half=False),ExportedReader(tmp_path/'out', 1)
    for how in ({}, dict(length=4), dict(chars='abc12')):
        a,b = (o.read(files, constraint=o.constraint(**how)) for o in (reader, exported))
        assert [o.text for o in a]==[o.text for o in b]
        assert np.allclose([o.confidence for o in a], [o.confidence for o in b], atol=1e-3)
    read,asked = written(tmp_path/'out'),[]
    run,read.level = read.run,.15
    read.run = lambda i, **xs: asked.append(len(xs['again'])) or run(i, **xs)
    x = np.stack([reader.tensor(o).numpy() for o in files])
    read.answers(x)
    assert asked[0]==0 and sum(asked)<len(files), 'a sure one is looked at once'
    asked.clear()
    read.answers(x, read.rule(length=1))
    assert asked==[0,len(files)], 'where a text is not allowed, 8 bits do not say which one is next'

def test_int8_is_refused(monkeypatch, tmp_path):
    few(monkeypatch)
    monkeypatch.setattr(portable, 'SURE', 0.)
    monkeypatch.setattr(portable, 'ALIKE', 1.01)
    with pytest.raises(portable.ExportDiffers, match='in 8 bits'):
        export_reader('pretrained', tmp_path/'out', int8=True)
    assert not list(tmp_path.iterdir())
