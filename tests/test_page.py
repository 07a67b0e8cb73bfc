"The page of an exported reader, in headless Chromium: it reads what Python reads, says what it can't, asks nobody"
import io
import json
import struct
import zipfile
import zlib
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from captcha_fastai.archs import ModelSpec
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.exported import ExportedReader
from captcha_fastai.portable import drawn_pictures
from captcha_fastai.reader import Reader
from captcha_fastai.rules import Constraint
from captcha_fastai.styles import random_style
from captcha_fastai.synth import captcha_fonts, save_captchas
from conftest import load_tool, quick_page, run

browser = load_tool('browser')
pytestmark = pytest.mark.skipif(browser.chromium() is None,
                                reason='needs Chromium: apt-get install chromium, or name it in CHROMIUM')

@pytest.fixture(scope='module')
def tmp(tmp_path_factory): return tmp_path_factory.mktemp('page')

@pytest.fixture(scope='module')
def chrome(tmp):
    with browser.Browser() as b:
        b.shown = None
        yield b

class Page:
    "A reader, its page in the browser, and a folder of pictures that the page can fetch"
    def __init__(self, reader, out, chrome, pictures):
        self.reader, self.out, self.chrome, self.pictures = reader, out, chrome, pictures
        self.served = browser.Served(out, dict(pictures=pictures))
        self.url = self.served.__enter__()
    def open(self):
        "The page, anew"
        self.chrome.events.clear()
        self.chrome.open(self.url)
        self.chrome.shown = self.url
        self.js("(await import('/js/page.js')).ready.then(() => 1)")
    def js(self, code):
        "The value of a JavaScript expression or block in the page, awaited"
        if self.chrome.shown!=self.url: self.open()
        return self.chrome.eval(f'(async () => {code})()')
    def status(self): return self.chrome.eval("document.getElementById('status').textContent")
    def give(self, *files, to='#files'):
        "Choose files in the page, and wait until they are read"
        self.chrome.choose(to, *files)
        done = f'/{files[0].name[:6]}|second|There is no/'
        self.chrome.wait(f'{done}.test(document.getElementById("status").textContent)')
        return self.status()

READ = '''{
  const page = await import('/js/page.js'), { rule } = await import('/js/rules.js')
  const { lettersOf } = await import('/js/letters.js'), reader = await page.ready, told = rule(reader, %s), blobs = []
  for (const o of %s) blobs.push(await (await fetch(`/more/pictures/${o}`)).blob())
  const res = []
  for (const o of await page.readBlobs(blobs, told)) {
    const letters = o.error ? [] : await lettersOf(reader, o.picture, o.said, o.ids, told)
    res.push({ text: o.text, confidence: o.confidence, error: o.error?.message, letters,
      x: o.picture && Array.from(o.picture.x) })
  }
  return res
}'''

def read(page, names, **known): return page.js(READ % (json.dumps(known), json.dumps([quote(o) for o in names])))

def opened(chrome, tmp, name, reader, n=8):
    (tmp/f'{name}.pictures').mkdir()
    for i,im in enumerate(drawn_pictures(reader.spec, n, seed=7).values()): im.save(tmp/f'{name}.pictures/{i:02d}.png')
    res = Page(reader, quick_page(reader, tmp/name), chrome, tmp/f'{name}.pictures')
    res.open()
    return res

def shipped(name):
    @pytest.fixture(scope='module')
    def page(chrome, tmp):
        res = opened(chrome, tmp, name.replace('/', '_'), Reader.load(name, device='cpu', half=False))
        yield res
        res.served.__exit__()
    return page

page, free_width = shipped('pretrained/crnn_small'), shipped('pretrained')

def same_texts(page, details=False, **known):
    names = sorted(o.name for o in page.pictures.glob('??.png'))
    told = dict(known)
    if 'length' in told: told['length'] = tuple(map(int, told['length'].split('-')))
    constraint = page.reader.constraint(**told) if told else None
    mine = page.reader.read([page.pictures/o for o in names], details=details, constraint=constraint)
    theirs = read(page, names, **known)
    assert [o['text'] for o in theirs]==[o.text for o in mine]
    assert np.allclose([o['confidence'] for o in theirs], [o.confidence for o in mine], atol=1e-4)
    return mine,theirs

@pytest.mark.parametrize('known', [{}, dict(length='4-5'), dict(chars='abcdefghijkmnp0123456789', length='3-8'),
                                   dict(pattern='([a-z]|[A-Z]){2,3}.*[^x]')])
@pytest.mark.parametrize('which', ['page','free_width'])
def test_texts_and_letters_are_those_of_python(which, known, request):
    page = request.getfixturevalue(which)
    mine,theirs = same_texts(page, details=True, **known)
    for a,b in zip(mine, theirs):
        with Image.open(a.file) as im: w = im.width
        for p,q in zip(a.chars, b['letters']):
            assert q['char']==p.char and abs(q['confidence']-p.confidence)<1e-3
            assert np.allclose([o*w for o in q['span']], p.span, atol=1), (a.text, p, q)
            assert [c for c,o in q['others'] if o>.01]==[c for c,o in p.others if o>.01]

@pytest.mark.parametrize('arch', ['captcha_transformer','spatial_classifier'])
def test_other_archs(arch, chrome, tmp):
    spec = ModelSpec(arch, Vocab('0123456789abc'), (32,96), 1, 5)
    page = opened(chrome, tmp, arch, Reader(spec.model(), spec, device='cpu'), 3)
    for known in ({}, dict(length='2-4'), dict(pattern='[0-9]+[abc]')): mine,theirs = same_texts(page, **known)
    assert all(len(b['letters'])==len(a.text) for a,b in zip(mine, theirs)) and any(a.text for a in mine)
    page.served.__exit__()

def test_right_to_left(chrome, tmp):
    spec = ModelSpec('crnn_small', Vocab('אבגדהוז0123'), (32,None), 3, 6)
    page = opened(chrome, tmp, 'rtl', Reader(spec.model(), spec, device='cpu'), 6)
    same_texts(page, length='4-6')
    with pytest.raises(browser.PageError, match='from left to right'): read(page, [], pattern='[0-3]+')
    page.served.__exit__()

def test_pictures_on_paper(chrome, tmp):
    "As captcha_train makes readers: pictures keep their shape, narrow ones on paper, wide ones squeezed"
    spec = ModelSpec('crnn_small', Vocab('0123456789abc'), (32,112), 3, 5, keep_shape=True)
    page = opened(chrome, tmp, 'paper', Reader(spec.model(), spec, device='cpu'), 4)
    rng = np.random.default_rng(1)
    for i,(h,w) in enumerate([(32,112), (50,90), (20,200), (7,9)]):
        Image.fromarray(rng.integers(0, 256, (h,w,3), dtype=np.uint8)).save(page.pictures/f'9{i}.png')
    for known in ({}, dict(length='2-4')): mine,theirs = same_texts(page, **known)
    for a,b in zip(mine, theirs):
        want = page.reader.tensor(a.file).numpy().ravel().astype(int)
        assert len(b['x'])==len(want) and np.abs(np.array(b['x'])-want).max()<=1, a.file
    page.served.__exit__()

# --- pixels

def interlaced(a, file):
    "A PNG of 8-bit colour in the seven passes of Adam7, which Pillow reads and doesn't write"
    passes = [(0,0,8,8),(4,0,8,8),(0,4,4,8),(2,0,4,4),(0,2,2,4),(1,0,2,2),(0,1,1,2)]
    rows = [b'\0'+row.tobytes() for x,y,dx,dy in passes for row in a[y::dy,x::dx] if row.size]
    def chunk(name, data): return struct.pack('>I', len(data))+name+data+struct.pack('>I', zlib.crc32(name+data))
    head = struct.pack('>IIBBBBB', a.shape[1], a.shape[0], 8, 2, 0, 0, 1)
    parts = chunk(b'IHDR', head)+chunk(b'IDAT', zlib.compress(b''.join(rows)))+chunk(b'IEND', b'')
    file.write_bytes(b'\x89PNG\r\n\x1a\n'+parts)

def test_pixels_are_those_of_pillow(free_width):
    "To the level, but for what a browser decodes otherwise by nature: WebP with loss, ink on paper (CMYK)"
    page,rng = free_width,np.random.default_rng(0)
    a = rng.integers(0, 256, (30,90,4), dtype=np.uint8)
    a[...,:3] = np.asarray(Image.fromarray(a[:8,:23,:3]).resize((90,30), Image.BICUBIC))
    grey,colour = Image.fromarray(a[...,0]),Image.fromarray(a[...,:3])
    exif = Image.Exif()
    exif[0x112] = 8
    black = a*0
    black[5:20,10:50,3] = 255
    saves = {'grey.png':(grey,{}), 'la.png':(Image.merge('LA', [grey,Image.fromarray(a[...,3])]),{}),
             'rgba.png':(Image.fromarray(a),{}), 'exif.jpg':(colour,dict(exif=exif)), 'one.png':(grey.convert('1'),{}),
             'p.png':(colour.quantize(14),dict(bits=4)), 'two.png':(colour.quantize(4),dict(bits=2)),
             'p.gif':(colour.quantize(64),{}), 'wide.png':(Image.fromarray(a[...,0].astype(np.uint16)*250),{}),
             'alpha.png':(Image.fromarray(black),{}), 'key.png':(colour.quantize(14),dict(transparency=3)),
             'rgbkey.png':(colour,dict(transparency=tuple(a[0,0,:3].tolist()))),
             'lossless.webp':(colour,dict(lossless=True)), 'x.bmp':(colour,{}), 'x.jpg':(colour,dict(quality=70)),
             'grey.jpg':(grey,dict(quality=70)), 'gamma.png':(colour,dict(icc_profile=b'\0'*128))}
    for name,(im,how) in saves.items(): im.save(page.pictures/name, **how)
    interlaced(a[...,:3], page.pictures/'interlaced.png')
    names = [*saves,'interlaced.png']
    for name,o in zip(names, read(page, names)):
        want = page.reader.tensor(page.pictures/name).numpy().ravel().astype(int)
        assert 'error' not in o and len(o['x'])==len(want), (name, o.get('error'))
        assert np.abs(np.array(o['x'])-want).max()<=1, name   # a float32 sum may end on the other side of a half
        assert (np.array(o['x'])!=want).mean()<.002, name

# --- rules

PATTERNS = ['[0-9]{2}[a-c]{2}', 'a*b+c?', '(ab|ba){1,3}', '[^a-c]+', r'\d{2,}', '.', '(a|b|)c{0,2}', r'\+?[0-3]',
            '(a?b){2}0*', '(a*){2,}', '((a|b)*c){1,2}', 'a{,2}']

def test_rules_are_those_of_python(page):
    "Random texts: allowed by both or by neither"
    rng,vocab = np.random.default_rng(0),Vocab('0123abc+')
    texts = [''.join(rng.choice(list(vocab.chars), rng.integers(0, 7))) for _ in range(400)]+['0012aabb','ab','abba','']
    ids = [[vocab.o2i[c] for c in o] for o in texts]
    for pattern in PATTERNS:
        for length in ('', '2-4'):
            code = f'''{{
  const {{ rule, allows }} = await import('/js/rules.js'), reader = {{ chars: Array.from('{vocab.chars}') }}
  const made = rule(reader, {json.dumps(dict(pattern=pattern, length=length))})
  return {json.dumps(ids)}.map(o => allows(made, o))
}}'''
            span = (2,4) if length else None
            try: want = Constraint(span, pattern=pattern, vocab=vocab)
            except CaptchaError as e:
                with pytest.raises(browser.PageError, match='no text can'): page.js(code)
                assert 'no text can' in str(e)
                continue
            assert page.js(code)==[want.allows(o) for o in texts], (pattern, length)

@pytest.mark.parametrize('field,value,says', [
    ('length','five','is no number'), ('length','6-4','runs backwards'), ('chars','aé','“é” is not one'),
    ('pattern','[0-9','“]” is missing'), ('pattern','a{x}','belong in braces'), ('pattern','(a','“)” is missing'),
    ('pattern','a)','closes nothing'), ('pattern','*a','cannot stand here'), ('pattern','a**','repeat of a repeat'),
    ('pattern',r'\w','has no meaning'), ('pattern','[z-a]','runs backwards'), ('pattern','é','is not one of')])
def test_a_field_says_what_is_wrong(page, field, value, says):
    if field!='length' or value=='five': page.open()
    page.js(f'''{{ const o = document.getElementById('{field}'); o.value = {json.dumps(value)}
  o.dispatchEvent(new Event('input', {{ bubbles: true }})) }}''')
    page.chrome.wait(f"document.getElementById('known-error').textContent.includes({json.dumps(says)})", 10)
    assert page.js(f"document.getElementById('{field}').ariaInvalid")=='true'

# --- the page

def test_files_a_zip_a_folder(page, tmp):
    page.open()
    zipped,folder = tmp/'many.zip',tmp/'some'
    (folder/'below').mkdir(parents=True)
    names = sorted(page.pictures.glob('0?.png'))[:3]
    with zipfile.ZipFile(zipped, 'w', zipfile.ZIP_DEFLATED) as z:
        for o in names: z.write(o, f'in/{o.name}')
        z.writestr('notes.txt', 'no picture')
    for o in names: (folder/'below'/o.name).write_bytes(o.read_bytes())
    (folder/'=cmd|calc.png').write_bytes(names[0].read_bytes())
    (folder/'notes.txt').write_text('no picture')
    assert '3 pictures read; ' in page.give(zipped)
    page.chrome.choose('#folder', folder)
    page.chrome.wait('document.querySelectorAll("td.read").length==7')
    want = page.reader.read([*names,*names])
    table = page.js("(await import('/js/table.js')).csv([...document.querySelectorAll('#rows tr')].map(o => "
                    "({ name: o.cells[0].textContent, text: o.cells[1].textContent, confidence: 1 })))")
    rows = sorted(o.split(',')[:2] for o in table.split('\r\n')[1:-1])
    assert sorted(o.text for o in want)==sorted(o[1] for o in rows if 'cmd' not in o[0])
    assert [o[0] for o in rows if 'many.zip' in o[0]]==[f'many.zip/in/{o.name}' for o in names]
    assert page.js("(await import('/js/table.js')).csv([{ name: '=cmd', text: '-1,\"', confidence: .5 }])")==(
        'file,text,confidence\r\n\'=cmd,"\'-1,""",0.5000\r\n')

def test_pictures_of_one_kind(free_width, tmp):
    "Fifty and more tell of each other, as for the commands; not with the box unticked, or where a field is filled"
    page,one,folder = free_width,ExportedReader(free_width.out),tmp/'kind'
    style = random_style((12,7), fonts=captcha_fonts())
    files = save_captchas(54, folder, '0123456789', 4, style, 12)
    def shown(): return page.js("[...document.querySelectorAll('#rows td.read')].map(o => o.textContent)")
    alike = [o.text for o in one.alike(files).read(files)]
    alone = [o.text for o in one.read(files)]
    assert alike!=alone
    page.open()
    assert '54 pictures read as of one kind; ' in page.give(*files)
    assert [o.replace('(empty)', '') for o in shown()]==alike
    page.js("document.getElementById('alike').click()")
    page.chrome.wait("/54 pictures read; /.test(document.getElementById('status').textContent)")
    assert [o.replace('(empty)', '') for o in shown()]==alone
    page.js("document.getElementById('alike').click()")
    page.chrome.wait("/of one kind; /.test(document.getElementById('status').textContent)")
    page.js("{ const o = document.getElementById('length'); o.value = '4'; "
            "o.dispatchEvent(new Event('input', { bubbles: true })) }")
    page.chrome.wait("/54 pictures read; /.test(document.getElementById('status').textContent)")
    assert [o for o in shown()]==[o.text for o in one.read(files, constraint=one.constraint(4))]
    page.open()
    assert '49 pictures read; ' in page.give(*files[:49])
    page.chrome.choose('#files', *files)
    page.chrome.wait("/ of 103 read/.test(document.getElementById('status').textContent)")
    page.js("document.getElementById('clear').click()")
    page.js("new Promise(o => setTimeout(o, 1500))")
    assert page.status()=='Ready.'

def test_a_dropped_folder(page, tmp):
    page.open()
    (tmp/'dropped').mkdir()
    for o in sorted(page.pictures.glob('0?.png'))[:2]: (tmp/'dropped'/o.name).write_bytes(o.read_bytes())
    drag = dict(items=[], files=[str(tmp/'dropped')], dragOperationsMask=1)
    for kind in ('dragEnter','dragOver','drop'):
        page.chrome.call('Input.dispatchDragEvent', type=kind, x=300, y=200, data=drag)
    page.chrome.wait('document.querySelectorAll("td.read").length==2')

def wall(tmp):
    "Files that are no pictures, and what is said of each"
    good = io.BytesIO()
    Image.new('L', (40,20), 255).save(good, 'PNG')
    good = good.getvalue()
    frames = [Image.new('L', (90,30), o) for o in (0, 99, 200)]
    moving = dict(save_all=True, append_images=frames[1:])
    for name in ('moves.gif','moves.webp','moves.png'): frames[0].save(tmp/name, **moving)
    frames[0].save(tmp/'x.tif')
    bomb = good[:16]+struct.pack('>II', 60000, 60000)+good[24:]
    with zipfile.ZipFile(tmp/'none.zip', 'w') as z: z.writestr('notes.txt', 'no picture')
    written = {
        'empty.png': (b'', 'an empty file'),
        'text.png': (b'no picture', 'not a picture'),
        'bomb.png': (bomb, '60000x60000 pixels are more'),
        'cut.png': (good[:45], 'cut short'),
        'bad.jpg': (b'\xff\xd8\xff\xe0 nothing', 'not a picture'),
        'drawing.png': (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', 'an SVG drawing'),
        'page.png': (b'<!DOCTYPE html><p>', 'a web page'),
        'paper.pdf': (b'%PDF-1.4', 'a PDF'),
        'broken.zip': (b'PK\x03\x04 nothing', 'it has no directory'),
        'phone.heic': (b'\0\0\0 ftypheic', 'HEIC')}
    for name,(data,_) in written.items(): (tmp/name).write_bytes(data)
    says = {'moves.gif':'it has frames', 'moves.webp':'it has frames', 'moves.png':'it has frames', 'x.tif':'TIFF',
            'none.zip':'no file with a picture'}
    return says | {name:what for name,(_,what) in written.items()}

def test_what_cannot_be_read_is_said(page, tmp):
    (tmp/'walls').mkdir()
    says = wall(tmp/'walls')
    page.open()
    page.give(*(tmp/'walls'/o for o in says), sorted(page.pictures.glob('??.png'))[0])
    assert page.status().startswith(f'1 pictures read, {len(says)} not read')
    rows = dict(page.js("[...document.querySelectorAll('#rows tr')].map(o => "
                        "[o.cells[0].textContent, o.cells[1].textContent])"))
    for name,what in says.items(): assert what in rows[name] and '\n' not in rows[name], (name, rows[name])
    page.open()
    assert 'bomb.png: 60000x60000' in page.give(tmp/'walls/bomb.png')

def test_nobody_is_asked(page):
    "Everything comes from the page's own host, and the page may not ask another"
    page.open()
    page.give(sorted(page.pictures.glob('??.png'))[0])
    asked = [o['params']['request']['url'] for o in page.chrome.events if o['method']=='Network.requestWillBeSent']
    assert asked and all(o.startswith((page.url,'blob:','data:')) for o in asked), asked
    said = [o['params'] for o in page.chrome.events if o['method'] in ('Log.entryAdded','Runtime.exceptionThrown')]
    assert not said, said
    assert page.js("fetch('http://127.0.0.1:9/').then(() => 'sent', e => e.message)")=='Failed to fetch'
    said = [o['params']['entry']['text'] for o in page.chrome.events if o['method']=='Log.entryAdded']
    assert any('Content Security Policy' in o for o in said), said

def test_by_keyboard(page):
    "Tab walks through all that can be used, in the order of the page, and each has a name"
    page.open()
    page.give(*sorted(page.pictures.glob('??.png'))[:2])
    seen = []
    for _ in range(20):
        page.chrome.key('Tab', windowsVirtualKeyCode=9)
        seen.append(page.js("{ const o = document.activeElement; return o.id || o.textContent }"))
    want = 'pick-files pick-folder try length chars pattern copy csv clear 00.png 01.png'.split()
    assert [o for o in seen if o in want][:len(want)]==want, seen
    page.js("document.querySelectorAll('button.name')[1].focus()")
    page.chrome.key('Enter', windowsVirtualKeyCode=13, text='\r')
    page.chrome.wait('document.activeElement.id=="closer"')
    assert page.js("document.getElementById('closer-name').textContent")=='01.png'

def test_a_runtime_of_ones_own(tmp):
    res = run('captcha_export', 'pretrained', '--page', tmp/'never', '--runtime', tmp)
    assert res.returncode==2 and 'npm install onnxruntime-web' in res.stderr and not (tmp/'never').exists()
    res = run('captcha_export', 'pretrained')
    assert res.returncode==2 and '--page' in res.stderr
