"Bad input, damaged files and folders from strangers: each gets one clear line; the table of what was tried is printed at the end of the run"
import io, json, os, shutil, struct, unicodedata, zlib

import pytest, torch
from PIL import Image
from safetensors.torch import load_file, save_file
from captcha_fastai.all import CaptchaDataLoaders, CaptchaError, Reader, captcha_learner, crnn_small, open_picture, save_captchas
from conftest import WALLS
from test_commands import inside

def add(what, said): WALLS.append((what, said))

@pytest.fixture(scope='module')
def good(tmp_path_factory):
    "Twelve drawn captchas"
    path = tmp_path_factory.mktemp('walls')/'good'
    save_captchas(12, path, chars='2bmx', length=3, seed=1)
    return path

# Pictures

def png(w, h):
    "A PNG that claims to be `w` x `h`"
    chunk = lambda t,d: struct.pack('>I', len(d))+t+d+struct.pack('>I', zlib.crc32(t+d))
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, 8, 0, 0, 0, 0))+chunk(b'IDAT', zlib.compress(b'\0'*1000))+chunk(b'IEND', b'')

def frames(kind):
    b,im = io.BytesIO(),Image.new('L', (20,10))
    im.save(b, kind, save_all=True, append_images=[Image.new('L', (20,10), 255)])
    return b.getvalue()

def whole():
    b = io.BytesIO(); Image.effect_noise((200,50), 50).save(b, 'PNG')
    return b.getvalue()

PICTURES = {'zero bytes':(b'', 'not a picture, or empty'), 'cut in the middle':(lambda: whole()[:4000], 'truncated'), '0x0 pixels':(png(0,0), 'not a picture'),
            '20000x20000 pixels in a kilobyte':(png(20000,20000), '400000000 pixels'), '9000x9000 pixels':(png(9000,9000), '9000x9000 pixels'),
            'fewer rows than it says':(png(200,50), 'truncated'), 'HTML named .png':(b'<html></html>', 'not a picture'), 'text named .png':(b'2w4y7', 'not a picture'),
            'an animated GIF':(lambda: frames('GIF'), '2 frames'), 'an animated PNG':(lambda: frames('PNG'), '2 frames'), 'a TIFF of two pages':(lambda: frames('TIFF'), '2 frames'),
            'random bytes':(bytes(range(256))*4, 'not a picture')}

@pytest.mark.parametrize('what', PICTURES)
def test_picture(what, tmp_path):
    data,says = PICTURES[what]
    file = tmp_path/'22b.png'
    file.write_bytes(data() if callable(data) else data)
    with pytest.raises(CaptchaError) as e: open_picture(file)
    assert says in str(e.value) and '22b.png' in str(e.value) and '\n' not in str(e.value)
    add(f'a picture: {what}', str(e.value).replace(str(tmp_path), 'DIR'))

# Folders and tables, through the command

def train(data, out, *args):
    "Exit code and the last line of standard error of captcha_train"
    res = inside('captcha_train', data, '--out', out, '--epochs', 1, *args)
    return res.returncode,[o for o in res.stderr.splitlines() if o.strip()][-1]

def link_nowhere(d): (d/'2bm.png').symlink_to(d/'nowhere.png')
def pipe(d): os.mkfifo(d/'2bm.png')
def zero(d): (d/'2bm.png').write_bytes(b'')
def html(d): (d/'2bm.png').write_bytes(b'<html>')
def no_label(d): (d/'22b_0.png').rename(d/'_0.png')
def unreadable(d): (d/'22b_0.png').chmod(0)
def one(d): [o.unlink() for o in list(d.glob('*.png'))[1:]]
def none(d): [o.unlink() for o in d.glob('*.png')]
BAD_FOLDERS = {'a broken link':(link_nowhere, '2bm.png: no such file'), 'a pipe named .png':(pipe, 'no file'), 'an empty file':(zero, '2bm.png: not a picture'),
               'HTML named .png':(html, '2bm.png: not a picture'), 'a name that begins with _':(no_label, 'its label is empty'), 'one picture':(one, 'leave none to train on'),
               'no picture':(none, 'no pictures in'), 'a file one may not read':(unreadable, 'Permission denied')}

def loop(d): (d/'loop').symlink_to(d, target_is_directory=True)
def folder_named_png(d): (d/'sub.png').mkdir()
def spellings(d):
    for i,form in enumerate(('NFC','NFD')): shutil.copy(d/'22b_0.png', d/f"{unicodedata.normalize(form, 'é2b')}_{form}.png")
def emoji(d): (d/'22b_0.png').rename(d/'😀2b.png')
def deep(d): (d/'deep'/'deeper').mkdir(parents=True); (d/'22b_0.png').rename(d/'deep'/'deeper'/'22b_0.png')
GOOD_FOLDERS = {'a link to the folder itself':(loop, "'2b'"), 'a folder named .png':(folder_named_png, "'2b'"), 'two spellings of é':(spellings, "3 characters '2bé'"),
                'an emoji':(emoji, '😀'), 'folders inside folders':(deep, "'2b'")}

def folder(good, tmp_path, change):
    d = tmp_path/'d'
    d.mkdir()
    for i,f in enumerate(sorted(good.iterdir())[:8]): shutil.copy(f, d/f'22b_{i}.png')
    change(d)
    return d

@pytest.mark.parametrize('what', BAD_FOLDERS)
def test_bad_folder(what, good, tmp_path):
    if what=='a file one may not read' and os.geteuid()==0: pytest.skip('root may read everything')
    change,says = BAD_FOLDERS[what]
    code,line = train(folder(good, tmp_path, change), tmp_path/'r')
    assert code==2 and says in line and not (tmp_path/'r').exists() and not (tmp_path/'r.partial').exists(), line
    add(f'a folder: {what}', line.replace(str(tmp_path), 'DIR'))

@pytest.mark.parametrize('what', GOOD_FOLDERS)
def test_odd_folder_that_will_do(what, good, tmp_path):
    change,says = GOOD_FOLDERS[what]
    code,line = train(folder(good, tmp_path, change), tmp_path/'r')
    assert code==0 and line.startswith('saved') and says in line, line
    add(f'a folder: {what}', line.replace(str(tmp_path), 'DIR'))

TABLES = {'a missing file':('file,text\n{rows}\ngood/none.png,22b', 'none.png: no such file'), 'an empty label':('file,text\n{rows}\n{first},', 'its label is empty'),
          'no rows':('file,text\n', 'has no rows'), 'no content':('', 'No columns'), 'semicolons':('file;text\na.png;22b', "no column 'file'"),
          'other columns':('name,label\n{rows}', "no column 'file'"), 'UTF-16':('file,text\n{rows}', 'in UTF-8', 'utf-16'), 'Latin-1':('file,text\n{rows}\nx.png,é', 'in UTF-8', 'latin-1'),
          'a comma in a label':('file,text\n{rows}\nx.png,2,2', 'holds a comma'), 'a NUL in a name':('file,text\n{rows}\ngood/\0.png,22b', 'null'),
          'a file that is no picture':('file,text\n{rows}\n/etc/passwd,22b', '/etc/passwd: not a picture')}

@pytest.mark.parametrize('what', TABLES)
def test_table(what, good, tmp_path):
    text,says,*enc = TABLES[what]
    names = [f'good/{o.name}' for o in sorted(good.iterdir())]
    (tmp_path/'good').symlink_to(good, target_is_directory=True)
    rows = '\n'.join(f"{o},{o.split('/')[1][:3]}" for o in names)
    (tmp_path/'t.csv').write_bytes(text.format(rows=rows, first=names[0]).encode(*enc))
    code,line = train(tmp_path/'t.csv', tmp_path/'r')
    assert code==2 and says in line, line
    add(f'a table: {what}', line.replace(str(tmp_path), 'DIR'))

def test_table_of_many_rows(good, tmp_path):
    "A table of 10^5 rows, all of them missing files but one: said, and quickly"
    (tmp_path/'t.csv').write_text('file,text\n'+'\n'.join(f'none{i}.png,22b' for i in range(10**5)))
    code,line = train(tmp_path/'t.csv', tmp_path/'r')
    assert code==2 and '100000 of 100000 pictures' in line, line
    add('a table: 10^5 rows of missing files', line.replace(str(tmp_path), 'DIR'))

OPTIONS = {('--valid-pct','nan'):'valid_pct', ('--valid-pct','-0.1'):'valid_pct', ('--valid-pct','1'):'valid_pct', ('--seed','-1'):'--seed goes from', ('--seed',str(2**70)):'--seed goes from',
           ('--seed','x'):'--seed', ('--arch',''):"no arch ''", ('--epochs','0'):'--epochs must be', ('--epochs','1e9'):'--epochs', ('--out',''):'--out must name', ('--bogus','1'):'--bogus'}

@pytest.mark.parametrize('option', OPTIONS, ids=' '.join)
def test_option(option, good, tmp_path):
    code,line = train(good, tmp_path/'r', *option)
    assert code==2 and OPTIONS[option] in line, line
    add(f"an option: {' '.join(option)}", line.replace(str(tmp_path), 'DIR'))

@pytest.mark.skipif(os.geteuid()==0, reason='root may write everywhere')
def test_unwritable(good, tmp_path):
    tmp_path.chmod(0o500)
    code,line = train(good, tmp_path/'r')
    tmp_path.chmod(0o700)
    assert code==2 and 'Permission denied' in line, line

def test_out_below_a_file(good, tmp_path):
    (tmp_path/'f').write_text('')
    code,line = train(good, tmp_path/'f'/'r')
    assert code==2 and 'Not a directory' in line, line
    add('an option: --out below a file', line.replace(str(tmp_path), 'DIR'))

# Reader folders

@pytest.fixture(scope='module')
def saved(good, tmp_path_factory):
    torch.manual_seed(0)
    learn = captcha_learner(CaptchaDataLoaders.from_folder(good, bs=4), crnn_small, arch_args=dict(widths=[8,16], blocks=[1,1], n_hidden=8))
    return Reader.from_learner(learn).save(tmp_path_factory.mktemp('readers')/'r')

def text(s): return lambda d: (d/'reader.json').write_text(s)
def fields(**kw): return lambda d: (d/'reader.json').write_text(json.dumps(json.loads((d/'reader.json').read_text()) | kw))
def without(k): return lambda d: (d/'reader.json').write_text(json.dumps({a:b for a,b in json.loads((d/'reader.json').read_text()).items() if a!=k}))
def flip(at):
    def f(d):
        b = bytearray((d/'model.safetensors').read_bytes())
        b[at] ^= 255
        (d/'model.safetensors').write_bytes(b)
    return f
def tensors(change):
    "Other weights, and a description that vouches for them"
    def f(d):
        from captcha_fastai.weights import file_sha256
        save_file(change(load_file(d/'model.safetensors')), d/'model.safetensors')
        fields(sha256=file_sha256(d/'model.safetensors'))(d)
    return f
def nan(s): return {k:v*float('nan') if v.is_floating_point() else v for k,v in s.items()}

FOLDERS = {'a byte of a weight changed':(flip(-100), 'is not the file that was saved'), 'a byte of the header changed':(flip(20), 'damaged'), 'a header of exabytes':(flip(6), 'damaged'),
           'weights cut short':(lambda d: (d/'model.safetensors').write_bytes((d/'model.safetensors').read_bytes()[:-50]), 'damaged'),
           'no weights':(lambda d: (d/'model.safetensors').unlink(), 'model.safetensors is missing'), 'empty weights':(lambda d: (d/'model.safetensors').write_bytes(b''), 'damaged'),
           'a pickle named model.safetensors':(lambda d: torch.save({'a':torch.zeros(1)}, d/'model.safetensors'), 'damaged'),
           'weights of NaN':(tensors(nan), 'NaN or infinity'), 'a tensor of another shape':(tensors(lambda s: {k:v[:1].clone() if v.ndim==4 else v for k,v in s.items()}), "doesn't fit"),
           'a tensor missing':(tensors(lambda s: dict(list(s.items())[1:])), "doesn't fit"), 'a tensor too many':(tensors(lambda s: {**s, 'extra':torch.zeros(3)}), "doesn't fit"),
           'no reader.json':(lambda d: (d/'reader.json').unlink(), 'reader.json is missing'), 'a list for JSON':(text('[]'), 'no JSON object'),
           'JSON a million deep':(text('['*10**6), 'damaged'), 'JSON of 100 MB':(text('{"a":"'+'x'*10**8+'"}'), 'bytes'), 'no JSON':(text('\0\1'), 'damaged'),
           'a newer format':(fields(format_version=99), 'format 99'), 'an arch that is a function':(fields(arch='os.system'), "'os.system'"), 'an arch that is a list':(fields(arch=[1]), 'arch'),
           'an arch_arg of a million':(fields(arch_args=dict(widths=[10**6])), 'damaged'), 'an arch_arg that nobody knows':(fields(arch_args=dict(foo=1)), "'foo'"),
           'an arch_arg that doesn\'t fit':(fields(arch_args=dict(widths=[4096]*4)), "doesn't fit"), 'a picture size of 10^9':(fields(spec=dict(size=[10**9,10**9], channels=1, width=3)), 'damaged'),
           'a size of text':(fields(spec=dict(size='ab', channels=1, width=3)), 'damaged'), 'a vocabulary without characters':(fields(vocab={}), 'damaged'),
           'a vocabulary with a character twice':(fields(vocab=dict(chars='aa', specials=False)), "occurs twice"), 'a deviation of 0':(fields(std=[0.]), 'damaged'),
           'a mean that is text':(fields(mean=['x']), 'damaged'), 'a length that is text':(fields(lengths={'x':3}), 'damaged'),
           'reader.json a pipe':(lambda d: ((d/'reader.json').unlink(), os.mkfifo(d/'reader.json')), 'reader.json is missing')}
FOLDERS |= {f'no {k}':(without(k), k) for k in ('sha256','arch','arch_args','vocab','spec','mean','std','lengths','facts')}

@pytest.mark.parametrize('what', FOLDERS)
def test_reader_folder(what, saved, tmp_path):
    d = shutil.copytree(saved, tmp_path/'r')
    change,says = FOLDERS[what]
    change(d)
    with pytest.raises(CaptchaError) as e: Reader.load(d)
    assert says in str(e.value) and str(d) in str(e.value) and '\n' not in str(e.value)
    add(f'a reader: {what}', str(e.value).replace(str(tmp_path), 'DIR'))

def test_the_reader_itself_loads(saved): assert Reader.load(saved).arch=='crnn_small'
