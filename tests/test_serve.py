"captcha_serve: what it answers, what it refuses in one line, and that nobody who asks can stop it for the others"
import base64
import io
import json
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from PIL import Image

for o in ('onnx','onnxruntime','starlette','uvicorn','python_multipart'): pytest.importorskip(o)

from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.limits import Limits
from captcha_fastai.portable import drawn_pictures, write_export
from captcha_fastai.reader import Reader
from captcha_fastai.serve import serve_app, serving
from captcha_fastai.webpage import column_middles, write_page
from conftest import ENV, load_tool, run

browser = load_tool('browser')

def png(im, kind='PNG', **how):
    out = io.BytesIO()
    im.save(out, kind, **how)
    return out.getvalue()

@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "The reader in the package, saved and as a page; pictures as bytes, and their texts"
    tmp = tmp_path_factory.mktemp('serve')
    reader = Reader.load('pretrained', device='cpu', half=False)
    for o in ('out','page'):
        (tmp/o).mkdir()
        write_export(reader, tmp/o)
    images = list(drawn_pictures(reader.spec, 12, seed=3).values())
    write_page(tmp/'page', column_middles(reader), None, images[:2])
    pictures = {f'{i:02d}.png':png(o) for i,o in enumerate(images)}
    return SimpleNamespace(tmp=tmp, reader=reader, pictures=pictures, out=tmp/'out', page=tmp/'page',
                           texts={k:o.text for k,o in zip(pictures, reader.read(list(pictures.values())))})

@pytest.fixture(scope='module')
def url(world):
    with serving(serve_app(world.out)) as url: yield url

MARK = b'a-mark-that-no-picture-has'

def form(files, **fields):
    "A form's body, and its type"
    parts = [f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k,v in fields.items()]
    parts += [f'Content-Disposition: form-data; name="pictures"; filename="{k}"\r\n\r\n'.encode()+v for k,v in files]
    body = b''.join(b'--'+MARK+b'\r\n'+o+b'\r\n' for o in parts)+b'--'+MARK+b'--\r\n'
    return body,{'Content-Type':f'multipart/form-data; boundary={MARK.decode()}'}

def b64(data): return base64.b64encode(data).decode()

def ask(url, body, headers, method='POST', path='/read'):
    "Status, what was said, and headers"
    request = Request(url+path, body, headers, method=method)
    try: answer = urlopen(request, timeout=60)
    except HTTPError as e: answer = e
    with answer: return answer.status,json.loads(answer.read() or b'null'),answer.headers

def ask_json(url, pictures, **known):
    return ask(url, json.dumps(dict(pictures=pictures, **known)).encode(), {'Content-Type':'application/json'})[:2]

def ask_form(url, files, **known): return ask(url, *form(files, **known))[:2]

def health(url):
    with urlopen(f'{url}/health', timeout=60) as f: return json.load(f)

# What it answers

@pytest.mark.parametrize('known', [{}, dict(length='4-5'), dict(chars='abcdefgh0123456789'),
                                   dict(pattern='[a-z]*.[0-9A-Z]*'),
                                   dict(length='5', pattern='.*[a-m]', min_confidence='.3')])
def test_texts_are_the_readers(world, url, known):
    told = dict(known)
    least = float(told.pop('min_confidence', 0))
    if 'length' in told:
        lo,*hi = map(int, told['length'].split('-'))
        told['length'] = (lo,*hi) if hi else lo
    rule = world.reader.constraint(**told)
    want = world.reader.read(list(world.pictures.values()), constraint=rule, min_confidence=least)
    status,by_form = ask_form(url, world.pictures.items(), **known)
    assert status==200, by_form
    as_json = known | (dict(min_confidence=least) if least else {})
    status,by_json = ask_json(url, [dict(file=k, data=b64(v)) for k,v in world.pictures.items()], **as_json)
    assert status==200 and by_json==by_form
    assert [o['file'] for o in by_form['results']]==list(world.pictures)
    for got,o in zip(by_form['results'], want):
        assert (got['text'],got['declined'],got['error'])==(o.text,o.declined,None)
        assert abs(got['confidence']-o.confidence)<2e-4

def test_lexicon_by_form_and_json(world, url):
    shown = {k:t for k,t in world.texts.items() if t}   # a list holds no empty text
    words,pictures = [*shown.values(), 'wrong'],[world.pictures[k] for k in shown]
    status,a = ask_json(url, [b64(o) for o in pictures], lexicon=words)
    assert status==200 and [o['text'] for o in a['results']]==list(shown.values())
    files = [(f'picture {i}', o) for i,o in enumerate(pictures, 1)]
    status,b = ask_form(url, files, lexicon='\r\n'.join(words))
    assert status==200 and b==a
    for sent,status in (('\n'.join(words).encode(), 200), (PICTURES['html'][0]+b'\xff', 400)):   # -F lexicon=@words.txt
        body,headers = form(files)
        part = b'Content-Disposition: form-data; name="lexicon"; filename="words.txt"\r\n\r\n'+sent
        got,said,_ = ask(url, b'--'+MARK+b'\r\n'+part+b'\r\n'+body, headers)
        assert got==status and (said==a if status==200 else 'no text in UTF-8' in said['error']), said

def test_details_are_those_of_captcha_read(world):
    files = []
    for k,v in list(world.pictures.items())[:3]:
        (world.tmp/k).write_bytes(v)
        files.append(world.tmp/k)
    want = [json.loads(o) for o in run('captcha_read', 'pretrained', *files, '--details').stdout.splitlines()]
    with serving(serve_app(world.reader)) as url:
        status,said = ask_form(url, [(o.name, o.read_bytes()) for o in files], details='true')
    assert status==200
    for got,o in zip(said['results'], want):
        assert set(got)==set(o)|{'declined'} and got['text']==o['text']
        assert [c['char'] for c in got['chars']]==[c['char'] for c in o['chars']]
        assert [c['span'] for c in got['chars']]==[c['span'] for c in o['chars']]
        assert [t for t,_ in got['n_best']]==[t for t,_ in o['n_best']]

def test_pictures_of_every_kind(world, url):
    im = Image.open(io.BytesIO(world.pictures['00.png']))
    kinds = [png(im, o) for o in ('PNG','BMP','TIFF','WEBP')]+[png(im.convert('L'), 'GIF')]
    first = b64(kinds[0])
    data = [first, f'data:image/png;base64,{first}', first.replace('+', '-').replace('/', '_').rstrip('='),
            f'DATA:;BASE64,{first}'.replace('+', '%2B'), *map(b64, kinds[1:])]
    status,said = ask_json(url, data)
    want = [o.text for o in world.reader.read([kinds[0]]*4+kinds[1:])]
    assert status==200 and [o['text'] for o in said['results']]==want

def test_a_bad_picture_among_good_ones(world, url):
    a,b = list(world.pictures.items())[:2]
    bad = [('page.png', b'<!doctype html><p>no'), ('cut.png', b[1][:200]), ('empty.png', b'')]
    status,said = ask_form(url, [a, *bad[:2], b, bad[2]])
    assert status==200
    texts,errors = ([o[k] for o in said['results']] for k in ('text','error'))
    assert texts==[world.texts[a[0]], '', '', world.texts[b[0]], '']
    assert errors[0] is errors[3] is None
    for (name,_),line,says in zip(bad, [errors[1],errors[2],errors[4]], ['web page','','empty']):
        assert line.startswith(f'cannot open picture {name}: ') and says in line and '\n' not in line

def test_health(world, url):
    before = health(url)
    ask_form(url, list(world.pictures.items())[:3]+[('x', b'')])
    now = health(url)
    assert now['ready'] and now['reader']['name']=='out' and now['reader']['chars']==world.reader.vocab.chars
    gained = {k:now['counts'][k]-before['counts'][k] for k in now['counts']}
    assert gained==dict(requests=1, refused=0, pictures=3, unreadable=1, batches=gained['batches'], waiting=0)

# The description

def resolved(d, o):
    "A part of a description with its references followed"
    while '$ref' in o:
        where = o['$ref']
        o = d
        for k in where.removeprefix('#/').split('/'): o = o[k]
    return o

def refs(o):
    if isinstance(o, dict):
        if '$ref' in o: yield o['$ref']
        for v in o.values(): yield from refs(v)
    elif isinstance(o, list):
        for v in o: yield from refs(v)

def test_description_is_right(world, url):
    "Every reference leads somewhere; what is asked and answered is what the schemas say; each status is told of"
    jsonschema = pytest.importorskip('jsonschema')
    with urlopen(f'{url}/openapi.json') as f: d = json.load(f)
    assert d['openapi'].startswith('3.1') and d['info']['version']==health(url)['version']
    for o in refs(d): assert resolved(d, {'$ref':o})
    def check(value, name):
        schema = {'$ref':f'#/components/schemas/{name}', 'components':d['components']}
        jsonschema.Draft202012Validator(schema).validate(value)
    picture = b64(world.pictures['00.png'])
    asked = dict(pictures=[picture, dict(file='a.png', data=picture)], length=[4,6], chars='abc', min_confidence=.5)
    check(asked, 'Asked')
    check(health(url), 'Health')
    check(ask_json(url, **asked)[1], 'Results')
    check(ask_json(url, [b64(b'none')])[1], 'Unreadable')
    check(ask_json(url, [], length=5)[1], 'Error')
    with serving(serve_app(world.reader)) as other: check(ask_json(other, [picture], details=True)[1], 'Results')
    for bad in (dict(pictures=[]), dict(pictures=[picture]*65), dict(pictures=[picture], lenght=5), dict(pictures=[1])):
        with pytest.raises(jsonschema.ValidationError): check(bad, 'Asked')
        assert 400<=ask(url, json.dumps(bad).encode(), {'Content-Type':'application/json'})[0]<500
    told = {int(k) for k in d['paths']['/read']['post']['responses']}
    assert told=={200,400,408,413,415,422,503}

def test_description_is_openapi(url):
    validator = pytest.importorskip('openapi_spec_validator', reason='needs openapi-spec-validator')
    with urlopen(f'{url}/openapi.json') as f: validator.validate(json.load(f))

# What it refuses

def chunk(kind, data): return struct.pack('>I', len(data))+kind+data+struct.pack('>I', zlib.crc32(kind+data))

def png_bomb(w, h):
    "A PNG of few bytes that says it has so many pixels, and has them"
    rows = zlib.compressobj(9)
    data = b''.join(rows.compress(bytes(1+(w+7)//8)) for _ in range(h))+rows.flush()
    head = struct.pack('>IIBBBBB', w, h, 1, 0, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', head)+chunk(b'IDAT', data)+chunk(b'IEND', b'')

def text_bomb():
    "A small PNG whose comment unpacks to 100 MB"
    whole = png(Image.new('L', (60,20)))
    return whole[:33]+chunk(b'zTXt', b'Comment\0\0'+zlib.compress(bytes(100_000_000)))+whole[33:]

def gif_of_many(n):
    "A GIF of so many frames of one pixel"
    frame = b',\0\0\0\0\1\0\1\0\0'+b'\2\2D\1\0'
    return b'GIF89a\1\0\1\0\x80\0\0'+bytes(3)+b'\xff'*3+frame*n+b';'

frames = [Image.new('L', (400,400), i) for i in range(60)]
PICTURES = dict(
    bomb=(png_bomb(30_000, 30_000), 'pixels'),
    large=(png_bomb(3000, 3000), 'more than 4,000,000'),
    moving=(png(frames[0], 'GIF', save_all=True, append_images=frames[1:]), 'more than 25 frames of 160,000 pixels'),
    tiny=(gif_of_many(300_000), 'more than 500 frames of 1 pixels'),
    svg=(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 'SVG'),
    html=(b'<!doctype html><html><p>404', 'web page'),
    eps=(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n', 'PostScript'),
    pdf=(b'%PDF-1.7', 'PDF'),
    zip=(b'PK\3\4'+bytes(100), 'not a picture'),
    noise=(os.urandom(5000), 'not a picture'),
    empty=(b'', 'empty'),
)

@pytest.mark.parametrize('name', PICTURES)
@pytest.mark.parametrize('way', ['form','json'])
def test_no_pictures(url, name, way):
    data,says = PICTURES[name]
    if way=='form': status,said = ask_form(url, [(f'{name}.png', data)])
    else: status,said = ask_json(url, [dict(file=f'{name}.png', data=b64(data))])
    assert status==422 and says in said['error'] and '\n' not in said['error'], said
    assert f'{name}.png' in said['error'] and said['results'][0]['error'] in said['error']
    assert health(url)['ready']

def test_text_bomb(url):
    "What Pillow's own limit of texts refuses, or passes over"
    status,said = ask_form(url, [('a.png', text_bomb())])
    assert status in (200,422) and health(url)['ready'], said

good = b64(png(Image.new('L', (60,20), 255)))
def jso(**d): return json.dumps(dict(dict(pictures=[good]), **d)).encode()
J = {'Content-Type':'application/json'}
F = {'Content-Type':'multipart/form-data; boundary=x'}
PART = b'\r\nContent-Disposition: form-data; name="%s"'
WALLS = dict(
    not_json=(b'{', J, 400, 'no JSON'),
    a_list=(b'[]', J, 400, 'JSON object'),
    nothing=(b'', J, 400, 'no JSON'),
    deep=(b'['*100_000, J, 400, 'no JSON'),
    bytes_=(b'\xff\xfe\xfd', J, 400, 'no JSON'),
    no_pictures=(b'{"length":5}', J, 400, 'no pictures'),
    none=(jso(pictures=[]), J, 400, 'no pictures'),
    a_text=(jso(pictures=good), J, 400, 'list'),
    field=(jso(lenght=5), J, 400, "'lenght'"),
    part=(jso(pictures=[dict(data=good, path='/etc/passwd')]), J, 400, "'path'"),
    name=(jso(pictures=[dict(data=good, file=1)]), J, 400, 'name'),
    many=(jso(pictures=[good]*65), J, 413, '65 pictures'),
    length=(jso(length='five'), J, 400, 'length'),
    negative=(jso(length=-1), J, 400, 'length'),
    float_=(jso(length=1.5), J, 400, 'length'),
    yes=(jso(length=True), J, 400, 'length'),
    long=(jso(length=10**30), J, 400, 'length'),
    longer=(jso(length='1-900'), J, 400, 'up to 100'),
    backwards=(jso(length=[5,4]), J, 400, 'upwards'),
    three=(jso(length=[1,2,3]), J, 400, 'length'),
    chars=(jso(chars='é'), J, 400, "'é'"),
    no_chars=(jso(chars=''), J, 400, 'chars'),
    chars_list=(jso(chars=['a']), J, 400, 'chars'),
    pattern=(jso(pattern='('), J, 400, 'pattern'),
    states=(jso(pattern='(a|b)*a(a|b){14}'), J, 400, '2000 states'),
    nothing_fits=(jso(pattern='[0-9]{3}', length=5), J, 400, 'no text can'),
    lexicon=(jso(lexicon=['é']), J, 400, "'é'"),
    lexicon_text=(jso(lexicon=[1]), J, 400, 'list of texts'),
    huge_lexicon=(jso(lexicon=['a']*10_001), J, 400, '10,000 texts'),
    empty_lexicon=(jso(lexicon=[]), J, 400, 'no text can'),
    check=(jso(check='os:system'), J, 400, "no check 'os:system'"),
    nan=(b'{"pictures":["%s"],"min_confidence":NaN}' % good.encode(), J, 400, 'min_confidence'),
    above=(jso(min_confidence=2), J, 400, 'min_confidence'),
    details=(jso(details='perhaps'), J, 400, 'details'),
    no_details=(jso(details=True), J, 400, 'exported'),
    number=(jso(pictures=[7]), J, 422, 'base64'),
    path=(jso(pictures=['/etc/passwd']), J, 422, 'picture 1'),
    url=(jso(pictures=['https://example.org/a.png']), J, 422, 'picture 1'),
    file_url=(jso(pictures=['file:///etc/passwd']), J, 422, 'picture 1'),
    data_url=(jso(pictures=['data:,abc']), J, 422, 'base64'),
    type_=(b'abc', {'Content-Type':'image/png'}, 415, 'curl -F'),
    no_type=(b'abc', {'Content-Type':''}, 415, 'curl -F'),
    encoded=(jso(), J|{'Content-Encoding':'gzip'}, 415, 'compressed'),
    no_mark=(b'abc', {'Content-Type':'multipart/form-data'}, 400, 'form'),
    no_form=(b'abc', F, 400, 'form'),
    cut=(b'--x'+PART % b'pictures'+b'; filename="a.png"\r\n\r\nabc', F, 400, ''),
    text_field=(b'--x'+PART % b'pictures'+b'\r\n\r\nabc\r\n--x--\r\n', F, 400, 'files'),
    headers=(b'--x\r\n'+b'a: b\r\n'*10_000+b'\r\nabc\r\n--x--\r\n', F, 400, ''),
    parts=((b'--x'+PART % b'p'+b'; filename="a"\r\n\r\n\r\n')*300+b'--x--\r\n', F, 400, 'form'),
    big=(jso(pictures=['A'*9_000_000]), J, 413, '8,000,000'),
    twice=(form([], length=5)[0].replace(MARK, b'x').removesuffix(b'--\r\n')+PART % b'length'+b'\r\n\r\n4\r\n--x--\r\n',
           F, 400, 'twice'),
    wide=(form([(f'{i}.png', b'') for i in range(65)])[0].replace(MARK, b'x'), F, 413, '65 pictures'),
)

@pytest.mark.parametrize('name', WALLS)
def test_what_is_refused(url, name):
    body,headers,want,says = WALLS[name]
    status,said,_ = ask(url, body, headers)
    assert status==want and says in said['error'] and '\n' not in said['error'], (status,said)
    assert 'results' not in said or status==422
    assert health(url)['ready']

HEAVY = dict(nested=jso(pattern='('*240+'a'+')'*240), walked=jso(pattern='(.{7}|.{11}|.{13})*', length=[1,100]),
             lexicon=jso(lexicon=[f'{i:05}' for i in range(10_000)]), many=jso(pictures=[good]*64, length='1-100'),
             commas=jso(pattern='a|'*249))

@pytest.mark.parametrize('name', HEAVY)
def test_what_is_much_to_ask(url, name):
    "It is read or refused"
    status,said,_ = ask(url, HEAVY[name], J)
    assert status in (200,400), said
    assert health(url)['ready']

def changed(sent, rng):
    "Some bytes of it other ones, gone, or there twice"
    sent = bytearray(sent)
    for _ in range(rng.randint(1, 4)):
        i,n = rng.randrange(len(sent)),rng.choice([1, 2, 30, 300])
        how = rng.randrange(4)
        if how==0: sent[i:i+n] = rng.randbytes(n)
        elif how==1: del sent[i:i+n]
        elif how==2: sent[i:i] = sent[i:i+n]
        else: sent[i:i+1] = rng.choice([b'"', b'\r\n', b'\0', b'--', b'[', b'{', b';', b'=', b'\\', b'\xff', b'9'*400])
        if not sent: sent += b'{'
    return bytes(sent)

@pytest.mark.parametrize('way', ['form','json'])
def test_damaged_requests(world, url, way):
    "Whatever is sent is answered or refused in one line; nothing is a fault of the program"
    rng,picture = random.Random(0),world.pictures['00.png']
    if way=='json':
        body = json.dumps(dict(pictures=[dict(file='é.png', data=b64(picture)), b64(picture)], length=[4,6],
                               lexicon=['2w4y7','abc'], min_confidence=.5)).encode()
        headers = J
    else: body,headers = form([('a.png', picture), ('b.png', picture)], length='4-6', chars='abc0', details='false')
    seen = Counter()
    for _ in range(250):
        status,said,_ = ask(url, changed(body, rng), headers)
        seen[status] += 1
        assert status in (200,400,413,422) and ('error' not in said or '\n' not in said['error']), (status,said)
    assert len(seen)>=3 and health(url)['ready'], seen

@pytest.mark.parametrize('method,path,want', [('GET','/read',405), ('PUT','/read',405), ('GET','/reads',404),
                                              ('POST','/health',405), ('GET','/read/../../etc/passwd',404),
                                              ('DELETE','/',405)])
def test_other_addresses(url, method, path, want):
    status,said,headers = ask(url, None, {}, method, path)
    assert status==want and '\n' not in said['error'] and path.rpartition('/')[2] in said['error']
    if want==405: assert headers['Allow']

NAMES = ['../../../../etc/passwd', '/etc/passwd', 'C:\\windows\\a.png', 'a\nb\r\nc.png', '\ud800.png', 'é'*1000,
         '<script>', 'nul\0.png', '']

@pytest.mark.parametrize('name', NAMES)
def test_a_name_is_no_path(world, url, name):
    "It comes back as it is, but for its length; errors show it on one line"
    picture = b64(world.pictures['00.png'])
    status,said = ask_json(url, [dict(file=name, data=picture), dict(file=name, data=b64(b'none'))])
    assert status==200 and [o['file'] for o in said['results']]==[name[:200]]*2
    assert said['results'][0]['text']==world.texts['00.png']
    assert said['results'][1]['error'].isprintable()

def test_a_path_is_no_picture(world, url):
    "Though the file is there, and open_picture would take its path"
    file = world.tmp/'there.png'
    file.write_bytes(world.pictures['00.png'])
    for o in (str(file), f'file://{file}', str(file).lstrip('/')):
        status,said = ask_json(url, [o, dict(file=str(file), data=str(file))])
        assert status==422 and all(o['error'] for o in said['results'])

def raw(url, sent, seconds=30):
    "What comes back for bytes, until the server closes"
    where = urlsplit(url)
    with closing(socket.create_connection((where.hostname,where.port), timeout=seconds)) as s:
        s.sendall(sent)
        got = b''
        while part := s.recv(1<<16): got += part
        return got

@pytest.mark.parametrize('path', ['/../../../etc/passwd', '/..%2f..%2f..%2fetc/passwd', '/%2e%2e/%2e%2e/etc/passwd',
                                  '//etc/passwd', '/link', '/examples/../../outside.txt', '/%00',
                                  '/a\\..\\outside.txt'])
def test_the_page_is_all_that_is_served(world, path):
    (world.tmp/'outside.txt').write_text('SECRET')
    if not (world.page/'link').exists(): (world.page/'link').symlink_to(world.tmp/'outside.txt')
    with serving(serve_app(world.page)) as url:
        got = raw(url, f'GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'.encode())
        assert re.match(rb'HTTP/1.1 4\d\d', got) and b'SECRET' not in got and b'root:' not in got

# Limits of time, of room, of memory

POST = b'POST /read HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n'

def test_a_slow_body_ends_and_holds_nobody_up(world):
    with serving(serve_app(world.out, Limits(seconds=4)), seconds=4) as url:
        where,slow = urlsplit(url),[]
        for _ in range(20):
            s = socket.create_connection((where.hostname,where.port), timeout=30)
            s.sendall(POST+b'Content-Length: 1000\r\n\r\n{"pic')
            slow.append(s)
        assert ask_form(url, [('a.png', world.pictures['00.png'])])[0]==200
        assert not select.select(slow, [], [], 0)[0], 'all of them still wait'
        for s in slow:
            got = b''
            while part := s.recv(1<<16): got += part
            assert got.startswith(b'HTTP/1.1 408') and b'did not arrive within 4 seconds' in got
            s.close()

@pytest.mark.parametrize('sent', [b'', b'GET /hea', b'POST /read HTTP/1.1\r\nHost: a\r\n',
                                  b'GET /health HTTP/1.1\r\nHost: a\r\n\r\nGET /h'])
def test_half_a_head_is_not_waited_for(world, sent):
    with serving(serve_app(world.out), seconds=.5) as url:
        try: got = raw(url, sent)
        except ConnectionResetError: got = b''
        assert got[:15] in (b'', b'HTTP/1.1 200 OK')

@pytest.mark.parametrize('sent', [b'\0'*100, b'GET', b'\x16\x03\x01'+os.urandom(200), POST+b'a'*100_000,
                                  POST+b'Content-Length: x\r\n\r\n', POST+b'Content-Length: -5\r\n\r\n'])
def test_no_http(world, sent):
    with serving(serve_app(world.out), seconds=.5) as url:
        try: assert raw(url, sent)[:12] in (b'', b'HTTP/1.1 400')
        except (ConnectionResetError, BrokenPipeError): pass
        assert health(url)['ready']

def test_an_answer_that_nobody_takes(world):
    "A client that asks for much and reads nothing loses its connection, and the server forgets it"
    with serving(serve_app(world.page), seconds=.5) as url:
        where = urlsplit(url)
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect((where.hostname,where.port))
        s.sendall(b'GET /model.onnx HTTP/1.1\r\nHost: a\r\n\r\n')
        time.sleep(1.5)
        s.settimeout(10)
        with pytest.raises(OSError):
            got = 1
            while got: got = len(s.recv(4096))
            raise ConnectionResetError('the end came before the whole file')
        s.close()
        assert health(url)['ready']

@pytest.mark.parametrize('announced', [True, False])
def test_a_body_of_200_mb(world, url, announced):
    "Refused without being kept: by its announced length, or when so much has come"
    where = urlsplit(url)
    head = b'Content-Length: 200000000' if announced else b'Transfer-Encoding: chunked'
    with closing(socket.create_connection((where.hostname,where.port), timeout=30)) as s:
        s.sendall(POST+head+b'\r\n\r\n')
        part = b'x'*1_000_000
        try:
            for _ in range(20): s.sendall(part if announced else b'%x\r\n%s\r\n' % (len(part), part))
        except OSError: pass
        got = b''
        with suppress(OSError):   # a header and what follows may come one after the other
            while b'8,000,000' not in got and (more := s.recv(1<<16)): got += more
    assert got.startswith(b'HTTP/1.1 413') and b'8,000,000' in got

class Stub:
    "A reader that takes its time and says what it was given"
    def __init__(self, seconds=0., fails=(), confidence=1.):
        self.seconds,self.fails,self.confidence,self.calls = seconds,fails,confidence,[]
        self.vocab,self.spec = Vocab('abc'),SimpleNamespace(lengths={}, arch='stub')
    def constraint(self, *known): return SimpleNamespace(known=known, automaton=lambda: SimpleNamespace(table=[0]))
    def read(self, pictures, bs, skip_bad, constraint, **closer):
        self.calls.append((len(pictures), constraint and constraint.known, closer))
        time.sleep(self.seconds)
        widths = [Image.open(io.BytesIO(o)).width for o in pictures]
        for kind in self.fails:
            if 99 in widths: raise kind('a secret')
        rest = dict(confidence=self.confidence, error=None, declined=None, chars=(), n_best=())
        return [SimpleNamespace(text=f'{w}', **rest) for w in widths]

def of_width(w): return png(Image.new('L', (w,20), 255))

def test_overload_is_told_at_once_and_passes():
    reader = Stub(.3)
    with serving(serve_app(reader, Limits(pictures=4, waiting=8), batch=4)) as url:
        def one(i): return ask(url, *form([('a.png', of_width(20+i))]*4))
        with ThreadPoolExecutor(12) as pool: found = list(pool.map(one, range(12)))
        full = [o for o in found if o[0]==503]
        assert 2<=sum(o[0]==200 for o in found)<12 and len(full)+sum(o[0]==200 for o in found)==12
        for _,said,headers in full: assert headers['Retry-After']=='1' and 'wait already' in said['error']
        assert one(1)[0]==200 and health(url)['counts']['waiting']==0

def test_too_long_in_the_queue():
    with serving(serve_app(Stub(1.), Limits(seconds=.5))) as url:
        status,said,headers = ask(url, *form([('a.png', of_width(30))]))
        assert status==503 and 'more than 0.5 seconds' in said['error'] and headers['Retry-After']
        assert health(url)['ready']

def test_bodies_of_all_have_a_limit():
    with serving(serve_app(Stub(), Limits(bytes=1000, held=1500))) as url:
        where,held = urlsplit(url),[]
        for i in range(2):
            s = socket.create_connection((where.hostname,where.port), timeout=30)
            s.sendall(POST+b'Content-Length: 900\r\n\r\n'+b'x'*800)
            held.append(s)
            while health(url)['counts']['requests']<=i: time.sleep(.05)
            time.sleep(.3)
        assert held[1].recv(1<<16).startswith(b'HTTP/1.1 503')
        for s in held: s.close()
        time.sleep(.3)
        assert ask(url, *form([('a.png', of_width(30))]))[0]==200

# Batches

def test_equal_questions_are_read_together_and_no_others():
    reader = Stub(.05)
    with serving(serve_app(reader, batch=16)) as url:
        def one(i):
            known = [{}, dict(length='5'), dict(details='true'), dict(length='5', chars='a')][i%4]
            status,said = ask_form(url, [('a', of_width(20+i)), ('b', of_width(120+i))], **known)
            return status==200 and [o['text'] for o in said['results']]==[f'{20+i}', f'{120+i}']
        with ThreadPoolExecutor(32) as pool: assert all(pool.map(one, range(80)))
    assert sum(n for n,*_ in reader.calls)==160 and len(reader.calls)<80
    assert max(n for n,*_ in reader.calls)<=16
    asked = {(k and k[0], k and k[1], bool(c)) for _,k,c in reader.calls}
    assert asked=={(None,None,False), (5,None,False), (None,None,True), (5,'a',False)}

@pytest.mark.parametrize('kind', [CaptchaError, RuntimeError, MemoryError])
def test_what_a_reader_raises_is_one_pictures_error(kind, capfd):
    reader = Stub(.05, fails=[kind])
    with serving(serve_app(reader)) as url:
        status,said = ask_form(url, [(f'{w}.png', of_width(w)) for w in (40,99,41)])
        assert status==200 and [o['text'] for o in said['results']]==['40','','41']
        line = said['results'][1]['error']
        assert ('a secret' in line)==(kind is CaptchaError), 'what only the operator should know'
        assert health(url)['ready']
    assert ('a secret' in capfd.readouterr().err)==(kind is not CaptchaError)

@pytest.mark.parametrize('confidence', [float('nan'), float('inf'), 1+1e-9])
def test_numbers_are_finite(confidence):
    with serving(serve_app(Stub(confidence=confidence))) as url:
        status,said = ask_form(url, [('a', of_width(30))])
        assert status==200 and 0<=said['results'][0]['confidence']<=1

def test_many_clients_get_their_own_texts(world, url):
    names = list(world.pictures)
    def one(i):
        mine = [names[(i+k)%12] for k in range(1+i%3)]
        if i%10==0: return ask_form(url, [('x.png', PICTURES['html'][0])])[0]==422
        status,said = ask_form(url, [(o, world.pictures[o]) for o in mine])
        return status==200 and [o['text'] for o in said['results']]==[world.texts[o] for o in mine]
    with ThreadPoolExecutor(16) as pool: assert all(pool.map(one, range(200)))

# Other pages

def test_other_origins_may_not_read_unless_told(world, url):
    origin = {'Origin':'https://example.org'}
    body,headers = form([('a.png', world.pictures['00.png'])])
    assert ask(url, body, headers|origin)[2]['Access-Control-Allow-Origin'] is None
    with serving(serve_app(world.out, cors='https://example.org')) as other:
        assert ask(other, body, headers|origin)[2]['Access-Control-Allow-Origin']=='https://example.org'
        assert ask(other, body, headers|{'Origin':'https://evil.example'})[2]['Access-Control-Allow-Origin'] is None
    for bad in ('example.org', 'https://example.org/a', '', 'file://a'):
        with pytest.raises(CaptchaError, match='origin'): serve_app(world.out, cors=bad)

# The command

def start(*args, before='', code=None):
    "captcha_serve on a free port: its process, and its address"
    code = code or f'{before}\nfrom captcha_fastai.serve import captcha_serve; captcha_serve()'
    cmd = [sys.executable, '-c', code, *map(str, args), '--port', '0']
    def heed(): signal.signal(signal.SIGINT, signal.SIG_DFL)   # which a shell's background jobs ignore
    process = subprocess.Popen(cmd, stderr=subprocess.PIPE, text=True, env=ENV, preexec_fn=heed)
    line = process.stderr.readline()
    found = re.search(r'reading by (.*) on (http://127.0.0.1:\d+)$', line)
    if not found: pytest.fail(line+process.stderr.read())
    return process,found[2]

BARRED = '''import sys
class Barred:
    def find_spec(self, name, path=None, target=None):
        barred = 'torch','fastai','onnx','pandas','scipy','matplotlib','safetensors'
        if name.split('.')[0] in barred: raise ImportError(name)
sys.meta_path.insert(0, Barred())'''

def test_an_exported_reader_is_served_without_torch(world):
    process,url = start(world.out, before=BARRED)
    try:
        status,said = ask_form(url, world.pictures.items())
        assert status==200 and [o['text'] for o in said['results']]==list(world.texts.values())
        assert ask_form(url, world.pictures.items(), pattern='[a-z]*[A-Z0-9]*', length='4-6')[0]==200
        assert ask_form(url, world.pictures.items(), lexicon='\n'.join(world.texts.values()))[0]==200
        status,said = ask_form(url, world.pictures.items(), check='luhn')
        assert status==400 and 'needs torch' in said['error']
        with urlopen(url) as f: assert b'Read the text in a picture' in f.read()
    finally:
        process.terminate()
        process.wait(30)

@pytest.mark.parametrize('how,code', [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_stop_answers_what_was_asked(world, how, code):
    slow = '''import time
from captcha_fastai import exported
read = exported.ExportedReader.read
def slowly(*args, **kwargs):
    time.sleep(2)
    return read(*args, **kwargs)
exported.ExportedReader.read = slowly'''
    process,url = start(world.out, before=slow)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask_form, url, [('a.png', world.pictures['00.png'])]) for _ in range(4)]
        while health(url)['counts']['requests']<4: time.sleep(.05)
        process.send_signal(how)
        for o in answers: assert o.result()[0]==200
    assert process.wait(30)==code
    assert 'Traceback' not in process.stderr.read()
    with pytest.raises(OSError): urlopen(url)

def test_killed_and_started_again(world):
    process,url = start(world.out)
    assert ask_form(url, [('a.png', world.pictures['00.png'])])[0]==200
    process.kill()
    process.wait()
    port = urlsplit(url).port
    again,url = start(world.out, code='import sys; from captcha_fastai.serve import captcha_serve; '
                                      f'sys.argv[-1] = "{port}"; captcha_serve()')
    try: assert urlsplit(url).port==port and ask_form(url, [('a.png', world.pictures['00.png'])])[0]==200
    finally:
        again.kill()
        again.wait()

def test_who_leaves_while_refused_leaves_no_trace(world):
    "A body that is too large is refused, and its sender goes away before the rest of it: nothing is logged"
    process,url = start(world.out, '--max-bytes', 100_000)
    where = urlsplit(url)
    head = (b'POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n'
            b'Content-Length: 9000000\r\n\r\n')
    for said in (b'', b'--x\r\n'*100):
        with closing(socket.create_connection((where.hostname,where.port), timeout=30)) as s: s.sendall(head+said)
    while health(url)['counts']['refused']<2: time.sleep(.05)
    assert ask_form(url, [('a.png', world.pictures['00.png'])])[0]==200
    process.terminate()
    assert process.wait(30)==-signal.SIGTERM
    assert process.stderr.read()==''

REFUSED = {'--port 70000':'65535', '--host no.such.host.invalid':'cannot listen on no.such.host.invalid',
           '--seconds 0':'seconds must be above 0', '--cors x':'origin',
           '--waiting 3':'waiting must be at least the 64', '--batch 0':'batch must be at least 1',
           '--wait 5000':'wait is', '--max-bytes 0':'bytes must be above 0'}

@pytest.mark.parametrize('options', REFUSED)
def test_what_the_command_refuses(world, options):
    res = run('captcha_serve', world.out, '--port', 0, *options.split())
    assert res.returncode==2 and REFUSED[options] in res.stderr and len(res.stderr.splitlines())==1, res.stderr

def test_a_port_that_is_taken_and_a_reader_that_is_none(world, tmp_path):
    with closing(socket.create_server(('127.0.0.1',0))) as taken:
        port = taken.getsockname()[1]
        for args,says in {(world.out, '--port', port):f'port {port}', (tmp_path, '--port', 0):str(tmp_path)}.items():
            res = run('captcha_serve', *args)
            assert res.returncode==2 and says in res.stderr and len(res.stderr.splitlines())==1, res.stderr

def test_an_address_of_ipv6(world):
    try: socket.create_server(('::1',0), family=socket.AF_INET6).close()
    except OSError: pytest.skip('needs IPv6 on this machine')
    with serving(serve_app(world.out), '::1') as url:
        assert url.startswith('http://[::1]:') and health(url)['ready']

@pytest.mark.parametrize('gone', ['starlette','uvicorn','python_multipart'])
def test_without_the_extra(world, gone):
    code = ('import importlib.util as u; found = u.find_spec\n'
            f'u.find_spec = lambda o: None if o=="{gone}" else found(o)\n'
            'from captcha_fastai.serve import captcha_serve; captcha_serve()')
    res = subprocess.run([sys.executable, '-c', code, str(world.out)], capture_output=True, text=True, env=ENV)
    assert res.returncode==2
    assert res.stderr==f"captcha_serve: captcha_serve needs {gone}: pip install 'captcha_fastai[serve]'\n"

def test_help_imports_nothing_large():
    code = ("import sys; sys.argv = ['captcha_serve', '--help']\nfrom captcha_fastai.serve import captcha_serve\n"
            "try: captcha_serve()\nfinally: print('\\nIMPORTED', *sys.modules)")
    res = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=ENV)
    said,_,names = res.stdout.partition('IMPORTED')
    assert '127.0.0.1' in said and not {'torch','starlette','uvicorn','onnxruntime'} & set(names.split())

# The page

needs_chromium = pytest.mark.skipif(browser.chromium() is None,
                                    reason='needs Chromium: apt-get install chromium, or name it in CHROMIUM')

@needs_chromium
def test_its_page_reads(world, url):
    files = []
    for k in list(world.pictures)[:3]:
        files.append(world.tmp/f'chosen-{k}')
        files[-1].write_bytes(world.pictures[k])
    files.append(world.tmp/'<b>no.png')
    files[-1].write_bytes(PICTURES['html'][0])
    with browser.Browser() as b:
        b.open(url)
        b.choose('#files', *files)
        b.wait("/pictures read/.test(document.getElementById('status').textContent)")
        assert b.eval("document.getElementById('status').textContent")=='3 of 4 pictures read'
        texts = b.eval("[...document.querySelectorAll('td.read')].map(o => o.textContent)")
        assert texts==[world.texts[k] for k in list(world.pictures)[:3]]
        assert 'web page' in b.eval("document.querySelector('td.wrong').textContent")
        assert b.eval("document.querySelectorAll('#rows b').length")==0
        b.eval("(document.getElementById('length').value = '5', 1)")
        b.choose('#files', files[0])
        b.wait("document.getElementById('status').textContent=='1 of 1 pictures read'")
        assert b.eval("[...document.querySelectorAll('td.read')].pop().textContent.length")==5
        assert not [o for o in b.events if o['method']=='Runtime.exceptionThrown' or 'Security Policy' in json.dumps(o)]

@needs_chromium
def test_an_exported_page_is_served(world):
    file = world.tmp/'one.png'
    file.write_bytes(world.pictures['00.png'])
    with serving(serve_app(world.page)) as url, browser.Browser() as b:
        b.open(url)
        b.eval("(async () => (await import('/js/page.js')).ready.then(() => 1))()")
        b.choose('#files', file)
        b.wait("document.querySelectorAll('td.read').length==1")
        assert b.eval("document.querySelector('td.read').textContent")==world.texts['00.png']
        assert ask_form(url, [('a.png', world.pictures['00.png'])])[0]==200

def test_page_and_policy(url):
    with urlopen(url) as f:
        assert "default-src 'none'" in f.headers['Content-Security-Policy']
        assert f.headers['X-Content-Type-Options']=='nosniff'
        page = f.read().decode()
    for o in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page):
        with urlopen(f'{url}/{o}') as f: assert f.status==200
