"What users of neighbouring projects met, as far as it is about data: each case with its right answer"
import base64
import io
import os
import pickle
import random
import shutil
import sys
import types
import unittest.mock
from copy import copy
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.data.all import (CategoryBlock, ColReader, ColSplitter, DataBlock, FuncSplitter, GrandparentSplitter,
                             RandomSplitter, RandomSubsetSplitter, TfmdLists, Transform)
from fastai.torch_core import TensorImageBW
from fastai.vision.all import ImageBlock, PILImageBW, Resize, TensorImage
from hypothesis import given, settings, strategies as st
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFile, ImageFont
from sklearn.metrics import classification_report

from captcha_fastai.core import CaptchaError, Vocab, drawing_order
from captcha_fastai.pictures import PictureError, open_picture, picture_files
from captcha_fastai.data import CaptchaBlock, OpenPicture, PictureBlock
from captcha_fastai.loaders import _split
from captcha_fastai.loaders import CaptchaDataLoaders, target_vocab
from captcha_fastai.labels import (DataReport, PictureInfo, captcha_label, check_data, doubtful_labels, load_labels,
                                   pixels_digest, two_lines)
from captcha_fastai.reader import Reader
from captcha_fastai.rules import Constraint
from captcha_fastai.synth import STYLES, draw_captcha, draw_captchas, save_captchas
from captcha_fastai.train import train_reader

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    "Twelve drawn captchas of five characters"
    return save_captchas(12, tmp_path_factory.mktemp('cases')/'c', seed=1)

@pytest.fixture(scope='module')
def reader(): return Reader.load('pretrained')

def refused(says, do, *args, **kwargs):
    "`do` is refused in one line of readable length that says so"
    with pytest.raises(CaptchaError) as e: do(*args, **kwargs)
    assert says in str(e.value) and '\n' not in str(e.value) and len(str(e.value))<400, str(e.value)

# 02 What is read from right to left

ORDER = {'': '', '2w4y7': '2w4y7', 'אבג': 'גבא', 'א12ב': 'ב12א', '12אב': 'בא12', 'אב12': '12בא', 'ab': 'ab',
         'אב 12.5 ג': 'ג 12.5 בא', 'א 12 34': '34 12 א', 'א50%': '50%א', 'א12/3': '12/3א', 'سش12': '12شس',
         'א ab cd': 'ab cd א', '١٢٣': '١٢٣', 'ب١٢٣': '١٢٣ب', 'ب١٢٣ج': 'ج١٢٣ب'}

@pytest.mark.parametrize('typed', ORDER)
def test_drawing_order(typed): assert drawing_order(typed)==ORDER[typed]

@settings(deadline=None)
@given(st.text('אבس١1234.,/%$-+ :aבz)(é!', max_size=12))
def test_drawing_order_is_undone_by_itself(text): assert drawing_order(drawing_order(text))==text

@given(st.text('אבגס12ab', max_size=8))
def test_texts_come_back_as_they_were_typed(text):
    vocab = Vocab('12abאבגס')
    ids = vocab.encode(text, 9)
    assert vocab.decode(ids)==text
    assert ''.join(vocab.chars[i-1] for i in ids.tolist() if i)==drawing_order(text)

# 06 Ink that only the transparency shows

def inked(ink, ground=None, mode='RGBA'):
    "A bar of colour `ink` on nothing, or on nothing of colour `ground`; and the same in black on nothing"
    alpha = np.zeros((20,60), np.uint8); alpha[6:14,10:50] = 255; alpha[5,10:50] = 100
    a = np.zeros((20,60,4), np.uint8)
    a[...,:3],a[...,3] = (ink if ground is None else ground),alpha
    if ground is not None: a[alpha>0,:3] = ink
    return Image.fromarray(a).convert(mode)

WHITES = {'white': (255,255,255), 'nearly white': (252,253,255)}

@pytest.mark.parametrize('white', WHITES)
@pytest.mark.parametrize('mode', ['RGBA','LA'])
def test_white_on_nothing_is_read_as_black_on_nothing(white, mode):
    got = open_picture(inked(WHITES[white], mode=mode))
    assert got.mode==('L' if mode=='LA' else 'RGB')
    black = np.asarray(open_picture(inked(0, mode=mode), channels=1))
    assert np.abs(np.asarray(got.convert('L')).astype(int)-black).max()<=3

def test_holes_in_white_are_dark():
    a = np.full((20,60,4), 255, np.uint8); a[6:14,10:50,3] = 0
    got = np.asarray(open_picture(Image.fromarray(a), channels=1))
    assert got[10,30]==0 and got[2,2]==255

def test_white_on_a_transparent_colour_of_a_palette():
    im = Image.fromarray((np.asarray(inked(0))[...,3]>128).astype(np.uint8)).convert('P')
    im.putpalette([255,255,255]*2)
    im.info['transparency'] = 0
    got = np.asarray(open_picture(im, channels=1))
    assert got[10,30]==0 and got[2,2]==255

@settings(max_examples=50, deadline=None)
@given(st.integers(0, 247), st.integers(0, 255))
def test_what_shows_on_white_stays_as_it_is(ink, ground):
    im = inked((ink,)*3, (ground,)*3)
    on_white = Image.alpha_composite(Image.new('RGBA', im.size, 'white'), im).convert('RGB')
    assert np.array_equal(np.asarray(open_picture(im)), np.asarray(on_white))

def test_nothing_at_all_is_white():
    for alpha in (0,255):
        im = Image.new('RGBA', (20,10), (255,255,255,alpha))
        assert open_picture(im, channels=1).getextrema()==(255,255)

def test_white_on_nothing_is_read(reader, drawn):
    def twins(f):
        a = np.asarray(open_picture(f, channels=1)).astype(float)
        far = np.abs(a-np.median(a))
        for ink in (0,255):
            im = Image.new('RGBA', a.shape[::-1], (ink,)*3+(0,))
            im.putalpha(Image.fromarray((far/far.max()*255).astype('uint8')))
            yield im
    black,white = (reader.read(o) for o in zip(*map(twins, drawn)))
    assert [o.text for o in white]==[o.text for o in black] and any(o.text for o in white)

# 09 What a web server has in its hands

class Upload:
    "As Starlette has it: read asynchronously, the file itself beside"
    filename = 'upload.png'
    def __init__(self, data): self.file = io.BytesIO(data)
    async def read(self, size=-1): return self.file.read(size)
    async def seek(self, offset): self.file.seek(offset)

class Proxy:
    "As Werkzeug's FileStorage, or a temporary file: hands every question on"
    def __init__(self, data): self.stream = io.BytesIO(data)
    def __getattr__(self, name): return getattr(self.stream, name)

class Pipe(io.RawIOBase):
    "A stream that can't go back"
    def __init__(self, data): self.data = io.BytesIO(data)
    def readable(self): return True
    def readinto(self, b): return self.data.readinto(b)

def text_of(data): return base64.b64encode(data).decode()
HANDS = {'bytes': bytes, 'a bytearray': bytearray, 'a memoryview': memoryview, 'a BytesIO': io.BytesIO,
         'an upload': Upload, 'a proxy': Proxy, 'a pipe': Pipe,
         'an array of bytes': lambda o: np.frombuffer(o, np.uint8),
         'base64': text_of, 'base64 in lines': lambda o: base64.encodebytes(o).decode(),
         'base64 for URLs': lambda o: base64.urlsafe_b64encode(o).decode().rstrip('='),
         'a data URL': lambda o: 'data:image/png;base64,'+text_of(o),
         'a data URL, quoted': lambda o: 'data:image/png;base64,'+text_of(o).replace('+', '%2B').replace('=', '%3D'),
         'a data URL, only quoted': lambda o: 'data:,'+''.join(f'%{c:02x}' for c in o)}

@pytest.mark.parametrize('what', HANDS)
def test_hands(what, drawn, reader):
    "Alone, in a list and twice, each is read as the file is"
    data,want = drawn[0].read_bytes(),np.asarray(open_picture(drawn[0]))
    assert np.array_equal(np.asarray(open_picture(HANDS[what](data))), want)
    if what!='a pipe':
        x = HANDS[what](data)
        assert [np.array_equal(np.asarray(open_picture(x)), want) for _ in range(2)]==[True,True]
    text = reader.read(drawn[0])[0].text
    assert [o.text for o in reader.read(HANDS[what](data))]==[text]
    assert [o.text for o in reader.read([HANDS[what](data), drawn[0]])]==[text]*2

def test_open_files_and_those_read_to_their_end(drawn, reader):
    want = reader.read(drawn[0])[0].text
    with open(drawn[0], 'rb') as f: assert reader.read(f)[0].text==want
    b = io.BytesIO(); b.write(drawn[0].read_bytes())
    assert reader.read(b)[0].text==want

def closed():
    f = io.BytesIO(b'1'); f.close()
    return f

class Odd:
    async def read(self): return b''

WRONG = {'None, as cv2.imread gives it': (None, 'cv2.imread'), 'a number': (7, 'int is no picture'),
         'a text file': (io.StringIO('2w4y7'), "open it with 'rb'"), 'a closed file': (closed(), 'closed file'),
         'nothing of base64': ('data:image/png;base64,', 'not a picture'),
         'base64 of something else': (base64.b64encode(b'no picture'*2000).decode(), 'not a picture'),
         'a long text': ('2w4y7! '*5000, 'no such file'), 'damaged base64': ('data:image/png;base64,a', 'base64'),
         'a text of zero bytes': ('a\0b', 'no such file'), 'an asynchronous file': (Odd(), 'await'),
         'a dict': ([{}], 'dict is no picture')}

@pytest.mark.parametrize('what', WRONG)
def test_hands_that_hold_no_picture(what, reader):
    x,says = WRONG[what]
    refused(says, reader.read, x)
    assert says in reader.read(x, skip_bad=True)[0].error

def test_a_file_whose_name_could_be_base64(drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = text_of(drawn[1].read_bytes())[:80].replace('/', '_')
    Path(name).write_bytes(drawn[0].read_bytes())
    assert np.array_equal(np.asarray(open_picture(name)), np.asarray(open_picture(drawn[0])))
    refused('no such file', open_picture, 'a'*80)

def test_arrays_of_paths(drawn, reader):
    want = [o.text for o in reader.read(drawn[:2])]
    for kind in (str,object): assert [o.text for o in reader.read(np.array(list(map(str, drawn[:2])), kind))]==want

# 23 Blue for red

@pytest.mark.parametrize('alpha', [(),(255,)])
def test_bgr(alpha, reader):
    rgb = np.zeros((8,16,3+len(alpha)), np.uint8)
    rgb[:] = (200,100,30)+alpha
    bgr = np.ascontiguousarray(rgb[...,[2,1,0,*range(3,3+len(alpha))]])
    want = np.asarray(open_picture(rgb))
    assert tuple(want[0,0])==(200,100,30)
    for x in (bgr, bgr.transpose(2,0,1)): assert np.array_equal(np.asarray(open_picture(x, bgr=True)), want)
    assert np.array_equal(np.asarray(open_picture(rgb[...,0], bgr=True)), rgb[...,0])
    assert np.array_equal(np.asarray(open_picture(Image.fromarray(rgb), bgr=True)), want)   # says itself what is red

def test_bgr_is_read(drawn):
    r = Reader.load('pretrained')
    im = np.asarray(open_picture(drawn[0], channels=3)).copy(); im[...,2] //= 2
    assert r.read(im[...,::-1].copy(), bgr=True)[0].text==r.read(im)[0].text
    assert np.array_equal(r.tensor(im[...,::-1].copy(), bgr=True), r.tensor(im))

# 25 Moving pictures; kinds that are not read

def frame(*bars):
    a = np.full((20,60), 230, np.uint8)
    for i in bars: a[5:15,4+10*i:10+10*i] = 20
    return Image.fromarray(a)

def moving(kind, frames):
    b = io.BytesIO()
    frames[0].save(b, kind, save_all=True, append_images=frames[1:], **dict(lossless=True) if kind=='WEBP' else {})
    return b.getvalue()

FRAMES = [frame(), frame(1), frame(1,2,4), frame(3)]

@pytest.mark.parametrize('kind', ['GIF','PNG','WEBP'])
def test_a_moving_picture_is_read_by_the_frame_that_shows_most(kind):
    def grey(x, **kwargs): return np.asarray(open_picture(x, channels=1, **kwargs)).astype(int)
    data = moving(kind, FRAMES)
    assert np.abs(grey(data)-np.asarray(FRAMES[2])).max()<=2
    for i,im in enumerate(FRAMES): assert np.abs(grey(data, frame=i)-np.asarray(im)).max()<=2
    for i in (4,-1): refused(f'no frame {i}: it holds 4, counted from 0', open_picture, data, frame=i)

def test_frames_of_what_does_not_move(drawn):
    want = np.asarray(open_picture(drawn[0]))
    assert np.array_equal(np.asarray(open_picture(drawn[0], frame=0)), want)
    refused('no frame 1: it holds 1', open_picture, drawn[0], frame=1)
    refused('no frame 1: it holds 1', open_picture, want, frame=1)

def test_a_PIL_image_that_moves_stays_at_its_frame():
    im = Image.open(io.BytesIO(moving('GIF', FRAMES))); im.seek(1)
    assert open_picture(im, channels=1).getpixel((15,10))<60
    assert open_picture(im, channels=1, frame=3).getpixel((15,10))>200
    assert im.tell()==1

def test_pages_are_not_frames():
    data = moving('TIFF', FRAMES)
    refused('it holds 4 pages', open_picture, data)
    assert np.array_equal(np.asarray(open_picture(data, frame=2)), np.asarray(FRAMES[2]))

HEIC = b'\0\0\0\x18ftypheic\0\0\0\0mif1heic'+bytes(200)
KINDS = {'HEIC': (HEIC, 'pip install pillow-heif'), 'JPEG XL': (b'\xff\x0a'+bytes(50), 'JPEG XL'),
         'PDF': (b'%PDF-1.7\n', 'not a picture but a PDF'),
         'SVG': (b'<?xml version="1.0"?><svg xmlns=""/>', 'an SVG drawing'),
         'a web page': (b'\n<!DOCTYPE html><html><body>429', 'not a picture but a web page'),
         'PostScript': (b'%!PS-Adobe-3.0 EPSF-3.0', 'not a picture but PostScript')}

@pytest.mark.parametrize('what', KINDS)
def test_kinds_that_are_not_read(what, tmp_path, monkeypatch):
    data,says = KINDS[what]
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    (tmp_path/'2b.png').write_bytes(data)
    refused(says, open_picture, data)
    refused('2b.png', open_picture, tmp_path/'2b.png')
    refused(says, open_picture, tmp_path/'2b.png')

def test_HEIC_is_read_where_it_can_be(monkeypatch, tmp_path):
    "By a stand-in for pillow-heif"
    class File(ImageFile.ImageFile):
        format = 'HEIF'
        def _open(self): self._size,self._mode,self.tile = (60,20),'L',[]
        def load(self): self._im = FRAMES[1].im; return Image.Image.load(self)
    def register(): Image.register_open('HEIF', File, lambda head: head[4:8]==b'ftyp')
    monkeypatch.setitem(sys.modules, 'pillow_heif', types.SimpleNamespace(register_heif_opener=register))
    try: assert np.array_equal(np.asarray(open_picture(HEIC)), np.asarray(FRAMES[1]))
    finally:
        Image.OPEN.pop('HEIF', None)
        if 'HEIF' in Image.ID: Image.ID.remove('HEIF')

def test_folders_list_what_can_be_read(tmp_path):
    for o in ('webp','avif','jfif','png','PNG','heic','txt'): (tmp_path/f'a.{o}').write_bytes(b'')
    assert {o.suffix for o in picture_files(tmp_path)}=={'.webp','.avif','.jfif','.png','.PNG','.heic'}

# C3 Sizes

@pytest.mark.parametrize('size', [64, (64,), (64,128,3), '64', (0,5), (None,5), (20.5,60)])
def test_sizes_that_are_none(size): refused('(height, width)', open_picture, FRAMES[0], size)

def test_sizes():
    for size in ((10,30), [10,30], np.array([10,30]), (np.int64(10),30.)):
        assert open_picture(FRAMES[0], size).size==(30,10)

# B8 A vocabulary is a sequence

def test_a_vocabulary_is_a_sequence():
    vocab = Vocab('2bm')
    assert list(vocab)==['','2','b','m'] and [vocab[i] for i in range(len(vocab))]==list(vocab)
    assert vocab[-1]=='m' and vocab[1:3]==['2','b'] and list(vocab.o2i.items())==[('',0),('2',1),('b',2),('m',3)]
    with pytest.raises(IndexError): vocab[4]
    assert all(vocab[i]==vocab.decode([i]) for i in range(4))

# 02, further on: rules, drawing, training

def test_rules_for_what_is_read_from_the_right():
    vocab = Vocab('12abאבג')
    lexicon = Constraint(lexicon=['אב12','גג'], vocab=vocab)
    assert [lexicon.allows(o) for o in ('אב12','גג','12בא','בא12')]==[True,True,False,False]
    refused('patterns run from left to right', Constraint, pattern='[אב]{2}1', vocab=vocab)
    assert Constraint(pattern='[12ab]{2}', vocab=vocab).allows('1b')
    with pytest.raises(CaptchaError): Constraint(pattern='[^12]', vocab=vocab)
    one = Constraint(pattern='[^2]', vocab=Vocab('12'))
    assert [one.allows(o) for o in ('1','2','')]==[True,False,False]   # '' is no character

def test_drawn_texts_run_as_they_are_read():
    style = replace(STYLES['classic'], fonts=('DejaVuSans-Bold',))
    same = [draw_captcha(o, style, 1) for o in ('אב12','אב12')]
    assert same[0].tobytes()==same[1].tobytes()
    with unittest.mock.patch('captcha_fastai.synth.drawing_order', lambda o: o): left = draw_captcha('12בא', style, 1)
    assert same[0].tobytes()==left.tobytes()

# Pictures to make folders of

@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    "Thirty pictures that are quickly made, and differ"
    tmp,rng = tmp_path_factory.mktemp('plain'),np.random.default_rng(0)
    for i in range(30): Image.fromarray(rng.integers(0, 256, (16,48), dtype=np.uint8)).save(tmp/f'{i:02}.png')
    return picture_files(tmp)

def folder(tmp, files, names):
    for f,name in zip(files, names):
        (tmp/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f, tmp/name)
    return tmp

def loaders(path, files, labels, **kwargs):
    return CaptchaDataLoaders.from_lists(path, files, labels, **dict(device='cpu', batch_tfms=[], bs=8) | kwargs)

# 01 The odd label

TEXTS = [f'{a}{b}{a}' for a in '123' for b in '0123456789']   # thirty, of three digits

def notes(labels, sizes=None):
    infos = [PictureInfo(Path(f'{i}.png'), s, True, str(i)) for i,s in enumerate(sizes or [(50,200)]*len(labels))]
    return DataReport(infos, labels).notes

ODD = {'an honest long one': (['123456'], "0.png: '123456' has 6 characters, where others have 3 at most"),
       'one more than all': (['1234'], "'1234' has 4 characters"),
       'a copy, as Windows calls it':
           (['121 (1)'], "'121 (1)' has 7 characters, where others have 3 at most and alone holds ' ', '(', ')'"),
       'an odd character': (['1l1'], "'1l1' alone holds 'l'")}

@pytest.mark.parametrize('what', ODD)
def test_an_odd_label_is_named(what):
    odd,says = ODD[what]
    line, = notes(odd+TEXTS*4)
    assert line.startswith('odd label: ') and says in line and 'mend it' in line and len(line)<250

def test_labels_of_many_lengths_are_not_odd():
    assert notes(TEXTS*4)==[] and notes(['1','12','123','1234','12345']*20)==[] and notes(TEXTS[:8]+['123456'])==[]
    assert notes([('1234567890'*2)[i:i+j] for i in range(10) for j in range(3,12)])==[]

def test_odd_labels_are_in_the_report_that_training_prints(plain, tmp_path):
    names = [f'{t}_{i}.png' for i,t in enumerate(TEXTS)]
    path = folder(tmp_path, plain, ['121 (1).png', *names[1:]])
    said = []
    with pytest.raises(CaptchaError):   # it goes no further than the report
        train_reader(path, None, log=lambda *o: said.append(' '.join(map(str, o))) or fail_after_report(o), epochs=1)
    assert "odd label: " in said[0] and "121 (1).png: '121 (1)' has 7 characters" in said[0]

def fail_after_report(_): raise CaptchaError('enough')

# 24 Widths

def test_squeezed_widths_are_named():
    line, = notes(TEXTS, [(36,60)]*20+[(36,76)]*5+[(36,236)]*5)
    assert line=="squeezed: 5 of 30 pictures keep less than 60% of their width at 36x60, 25.png (36x236) 25%; " \
                 "size=(36,236) squeezes none"
    assert notes(TEXTS, [(36,60)]*20+[(36,76)]*10)==[] and notes(TEXTS, [(36,60)]*20+[(72,120)]*10)==[]

def test_the_size_taken_is_in_the_report(plain, tmp_path):
    wide = [Image.open(plain[i]).resize((480,16) if i%3 else (48,16)) for i in range(30)]
    for i,im in enumerate(wide): im.save(tmp_path/f'{i}.png')
    dls = loaders(tmp_path, [f'{i}.png' for i in range(30)], TEXTS, size=(16,48))
    assert 'taken as 16x48' in repr(dls.report) and '20 of 30 pictures keep less' in repr(dls.report)
    dls = loaders(tmp_path, [f'{i}.png' for i in range(30)], TEXTS)
    assert dls.report.size==(16,480) and 'taken as 16x480' in repr(dls.report) and 'squeezed' not in repr(dls.report)
    assert 'taken as' not in repr(loaders(plain[0].parent, [f.name for f in plain], TEXTS).report)

def test_a_report_of_many_sizes_is_short():
    infos = [PictureInfo(Path(f'{i}.png'), (50,200+i), True, str(i)) for i in range(100)]
    assert 'and 94 more' in repr(DataReport(infos, ['2b']*100)) and len(repr(DataReport(infos, ['2b']*100)))<500

# 21 Two lines

def plates(n, small=False):
    rng,px = random.Random(0),14 if small else 26
    font = ImageFont.truetype(get_data_path()+'/fonts/ttf/DejaVuSansMono-Bold.ttf', px)
    for _ in range(n):
        a,b = ''.join(rng.choices('ABCDEFGHKLMNPRST', k=3)),''.join(rng.choices('0123456789', k=4))
        im = Image.new('L', (90,64) if not small else (60,36), 230); draw = ImageDraw.Draw(im)
        draw.text((8+rng.randint(-3,3),1), a, font=font, fill=rng.randint(0,60))
        draw.text((8+rng.randint(-3,3),px+4), b, font=font, fill=rng.randint(0,60))
        yield a+b,im

@pytest.mark.parametrize('small', [False,True])
def test_two_lines_are_hinted_at(small, tmp_path):
    for t,im in plates(20, small=small): im.save(tmp_path/f'{t}.png')
    dls = CaptchaDataLoaders.from_folder(tmp_path, device='cpu')
    assert 'seem to hold two lines of text' in repr(dls.report) and 'arch=captcha_transformer' in repr(dls.report)

@pytest.mark.parametrize('style', list(STYLES))
def test_one_line_is_one_line(style):
    assert sum(two_lines(im) for _,im in draw_captchas(40, style=style, seed=3))<20

# 02 In the report, and in what is learnt

def test_right_to_left_is_said_and_learnt_as_drawn(plain):
    texts = [''.join('אבגד'[int(c)%4] for c in t)+'12' for t in TEXTS]
    dls = loaders(plain[0].parent, [f.name for f in plain], texts)
    assert 'right to left: ' in repr(dls.report) and dls.report.labels==texts
    (_,text),y = dls.train_ds.items[0],dls.train_ds[0][1]
    assert [dls.vocab[i] for i in y]==list(drawing_order(text))==['1','2',*text[2::-1]] and y.text==text
    again = loaders('.', *zip(*dls.train_ds.items), valid_pct=0)   # as trainings do, that come in several steps
    assert again.train_ds[0][1].tolist()==[again.vocab.o2i[c] for c in drawing_order(text)]

# 04 Labels that pandas has changed

CHANGED = {'numbers': ['0108','0743','2854']*4, 'truths': ['TRUE','FALSE']*6, 'floats': ['1e5','2e7']*6,
           'numbers in a mixed column': ['0108','0743',pd.NA]*4}

@pytest.mark.parametrize('what', CHANGED)
def test_numbers_are_refused_with_the_cure(what, plain, tmp_path):
    texts,names = CHANGED[what],[f.name for f in plain[:12]]
    pd.DataFrame(dict(file=names, text=texts)).to_csv(tmp_path/'l.csv', index=False)
    df = pd.read_csv(tmp_path/'l.csv')
    path = plain[0].parent
    refused('dtype=str, keep_default_na=False', CaptchaDataLoaders.from_df, df, path)
    refused('dtype=str', CaptchaDataLoaders.from_lists, path, list(df.file), list(df.text))
    block = DataBlock(blocks=(PictureBlock, CaptchaBlock), get_x=ColReader('file', pref=f'{path}/'),
                      get_y=ColReader('text'))
    refused('dtype=str', block.dataloaders, df, device='cpu')
    if 'mixed' in what: return
    df = pd.read_csv(tmp_path/'l.csv', dtype=str, keep_default_na=False)
    told = CaptchaDataLoaders.from_df(df, path, device='cpu')
    assert told.report.labels==texts

WORDS = ['NA','null','None','NaN','ab','cd']*2

def test_words_that_pandas_takes_for_nothing(plain, tmp_path):
    shutil.copytree(plain[0].parent, tmp_path/'d')
    pd.DataFrame(dict(file=[f.name for f in plain[:12]], text=WORDS)).to_csv(tmp_path/'d'/'labels.csv', index=False)
    assert CaptchaDataLoaders.from_csv(tmp_path/'d', device='cpu').report.labels==WORDS
    assert load_labels(tmp_path/'d'/'labels.csv')[2]==WORDS
    df = pd.read_csv(tmp_path/'d'/'labels.csv')
    refused("row 0 of column 1 holds no text; where the file says NA", CaptchaDataLoaders.from_df, df, tmp_path/'d')
    dls = CaptchaDataLoaders.from_df(df, tmp_path/'d', skip_bad=True, device='cpu')
    assert set(dls.report.labels)=={'ab','cd'} and len(dls.report.left_out)==8

def test_columns_of_text_are_kept(plain):
    names = [f.name for f in plain[:4]]
    for dtype in (object,'str','category','string'):
        df = pd.DataFrame(dict(file=names, text=pd.Series(['0108','TRUE','1e5','nan'], dtype=dtype)))
        assert CaptchaDataLoaders.from_df(df, plain[0].parent, device='cpu').report.labels==['0108','TRUE','1e5','nan']

def test_no_label_is_none(plain):
    for none in (None, float('nan'), pd.NA):
        refused('its label is empty', loaders, plain[0].parent, [f.name for f in plain[:3]], ['2','b',none])

# 07, 08 Few different pictures, and copies

@pytest.mark.parametrize('k,copies', [(10,30),(2,1),(2,50),(3,7)])
def test_any_two_pictures_can_be_split(k, copies, plain):
    path,names,labels = plain[0].parent,[f.name for f in plain[:k]]*copies,TEXTS[:k]*copies
    report,_ = check_data([path/o for o in names], labels)
    for pct in (.01,.1,.5,.99):
        for seed in range(50):
            train,valid = _split(report, names, pct, seed, None)
            assert train and valid and sorted(train+valid)==list(range(len(names)))
            report.valid = set(valid)
            assert not report.leaked
            if k==10 and pct==.1: assert len(valid)<=90
    assert loaders(path, names, labels, seed=1).report.valid

def test_one_picture_cannot_be_split(plain):
    names = [plain[0].name]*5
    says = '5 pictures with the same pixels leave none to train on; add other pictures'
    refused(says, loaders, plain[0].parent, names, TEXTS[:1]*5)
    assert len(loaders(plain[0].parent, names, TEXTS[:1]*5, valid_pct=0).train_ds)==5

def test_a_split_that_worked_stays_as_it_was(plain):
    names = [f.name for f in plain]
    for seed in range(5):
        dls = loaders(plain[0].parent, names, TEXTS, seed=seed, valid_pct=.2)
        assert dls.report.valid==set(RandomSplitter(.2, seed=seed)(names)[1])

def test_pixels_tell_copies(plain, tmp_path):
    im = Image.open(plain[0])
    im.convert('RGB').save(tmp_path/'a.bmp'); im.save(tmp_path/'b.webp', lossless=True)
    shutil.copy(plain[0], tmp_path/'c.png')
    one = pixels_digest(plain[0])
    assert {pixels_digest(o) for o in (im, np.array(im), plain[0].read_bytes(), *picture_files(tmp_path))}=={one}
    assert len({pixels_digest(f) for f in plain})==30
    with pytest.raises(PictureError): pixels_digest(tmp_path/'none.png')
    report,_ = check_data([plain[0], *picture_files(tmp_path)], ['2']*4)
    assert report.duplicates==[[0,1,2,3]] and report.infos[0].digest==one

# 10 Names that are no labels

NAMES = {'a camera': lambda i,t: f'IMG_{i:04d}', 'a camera, in one': lambda i,t: f'DSC{i:05d}',
         'a counter': lambda i,t: f'{i+1:05d}',
         'a counter before the text': lambda i,t: f'{i:05d}_{t}',
         'a counter in folders': lambda i,t: f'{"ab"[i%2]}/{i//2}', 'a word and a counter': lambda i,t: f'captch{i}',
         'an unknown word and a counter': lambda i,t: f'mysite-{i}',
         'a word and a random number': lambda i,t: f'scan{i*7919%9973}',
         'as Windows calls many': lambda i,t: f'captcha ({i})',
         'seconds': lambda i,t: f'{1764000000+i*977}',
         'nanoseconds': lambda i,t: f'{1764000000123456789+i*977123}',
         'dates': lambda i,t: f'2026-11-{i%28+1:02d} 10.{i:02d}.11',
         'screenshots': lambda i,t: f'Screenshot from 2026-11-26 10-{i:02d}-11',
         'digests': lambda i,t: f'{i*7919:032x}',
         'one word for most': lambda i,t: 'xyz_'+str(i) if i<28 else t}

def doubt(path, files=None):
    files = files or picture_files(path)
    return doubtful_labels(files, files.map(captcha_label))

@pytest.mark.parametrize('what', NAMES)
def test_names_that_are_no_labels(what, plain, tmp_path):
    line = doubt(folder(tmp_path, plain, [f'{NAMES[what](i,t)}.png' for i,t in enumerate(TEXTS)]))
    assert line and 'no texts of pictures, it seems' in line and 'yes=True' in line
    assert len(line)<300 and '\n' not in line
    if what=='a counter before the text':
        assert 'put the text before the first underscore' in line and '00000_101.png' in line
    else: assert 'in a CSV with columns file and text' in line

def test_a_table_that_lies_there_is_pointed_to(plain, tmp_path):
    names = [f'img_{i:04d}.png' for i in range(30)]
    for i,sub in enumerate(('pics','deep/pics')):
        path = folder(tmp_path/str(i)/sub, plain, names)
        for where in (path, path.parent):
            (where/'labels.csv').write_text('file,text\nimg_0000.png,2b\n')
            assert f'{where}/labels.csv has labels, give that' in doubt(path)
            (where/'labels.csv').write_text('this,that\n')   # not one of labels
            assert 'labels.csv' not in doubt(path)

GOOD_NAMES = {'texts': lambda i,t: t, 'texts and counters': lambda i,t: f'{t}_{i}',
              'plates': lambda i,t: f'AB{i*7919%9973:04d}',
              'serial numbers': lambda i,t: f'SN{i*7919:06d}', 'digits': lambda i,t: f'{i*7919%9973:04d}',
              'words': lambda i,t: ['training','testing','imagine','files','photograph'][i%5]+f'_{i}'}

@pytest.mark.parametrize('what', GOOD_NAMES)
def test_names_that_are_labels(what, plain, tmp_path):
    assert doubt(folder(tmp_path, plain, [f'{GOOD_NAMES[what](i,t)}.png' for i,t in enumerate(TEXTS)])) is None

def test_ten_digits_and_three_pictures_are_no_counter(plain, tmp_path):
    assert doubt(folder(tmp_path/'a', plain, [f'{i}.png' for i in range(10)])) is None
    assert doubt(folder(tmp_path/'b', plain, [f'2b_{i}.png' for i in range(3)])) is None
    assert doubt(folder(tmp_path/'c', plain[:1]*20, [f'2b_{i}.png' for i in range(20)])) is None   # one picture

def test_a_column_that_is_no_text(plain):
    assert "labels such as '0' number the files" in doubtful_labels(plain, [str(i) for i in range(30)])
    assert 'see that they are what the pictures show' in doubtful_labels(plain, ['2b']*30)

# 25 Paths from Windows

def test_backslashes_part_folders(plain, tmp_path):
    folder(tmp_path, plain, [f'imgs/more/{t}.png' for t in TEXTS])
    names = [f'imgs\\more\\{t}.png' for t in TEXTS]
    pd.DataFrame(dict(file=names, text=TEXTS)).to_csv(tmp_path/'labels.csv', index=False)
    root,files,texts = load_labels(tmp_path/'labels.csv')
    assert files==[f'imgs/more/{t}.png' for t in TEXTS] and texts==TEXTS
    dls = CaptchaDataLoaders.from_csv(tmp_path, device='cpu')
    assert len(dls.report)==30 and {f.parent for f,_ in dls.train_ds.items}=={tmp_path/'imgs'/'more'}
    df = pd.DataFrame(dict(f=[o[5:-4] for o in names], t=TEXTS))
    dls = CaptchaDataLoaders.from_df(df, tmp_path, folder='imgs', suff='.png', device='cpu')
    assert len(dls.report)==30
    (tmp_path/'labels.csv').write_text('file,text\nimgs\\more\\101.png,2b\nimgs/more/101.png,2m\n')
    refused('twice', load_labels, tmp_path/'labels.csv')

@pytest.mark.skipif(os.name=='nt', reason='a backslash parts folders there')
def test_a_file_with_a_backslash_in_its_name(plain, tmp_path):
    shutil.copy(plain[0], tmp_path/'a\\b.png')
    (tmp_path/'labels.csv').write_text('file,text\na\\b.png,2b\n')
    assert load_labels(tmp_path/'labels.csv')[1]==['a\\b.png']

# fastai's habits: factories, splits, devices

def test_devices_as_strings(plain):
    args = plain[0].parent, [f.name for f in plain], TEXTS
    dls = loaders(*args)
    assert dls.device==torch.device('cpu') and type(dls) is CaptchaDataLoaders
    assert dls.to('cpu').device==torch.device('cpu')==dls.train.device==copy(dls).device
    assert dls.new_empty().device==torch.device('cpu')
    block = DataBlock(blocks=(PictureBlock, CaptchaBlock), get_items=picture_files, get_y=captcha_label)
    assert CaptchaDataLoaders.from_dblock(block, args[0], device='cpu').device==torch.device('cpu')

def test_subfolders_for_training_and_validation(plain, tmp_path):
    sides = ['train']*20+['valid']*7+['other']*3
    names = [f'{side}/{"x/" if i%2 else ""}{t}.png' for i,(side,t) in enumerate(zip(sides, TEXTS))]
    path = folder(tmp_path, plain, names)
    for kwargs in (dict(train='train', valid='valid'), dict(valid='valid'), dict(train='train')):
        dls = CaptchaDataLoaders.from_folder(path, device='cpu', **kwargs)
        assert [len(o) for o in (dls.train_ds, dls.valid_ds)]==[20,7] and len(dls.report)==27
        assert {f.relative_to(path).parts[0] for f,_ in dls.valid_ds.items}=={'valid'}
    refused('no such folder', CaptchaDataLoaders.from_folder, path, valid='test')
    refused('leave valid_pct= out', CaptchaDataLoaders.from_folder, path, valid='valid', valid_pct=.2)
    refused('leave splitter= out', CaptchaDataLoaders.from_folder, path, train='train', splitter=RandomSplitter())

def test_both_halves_of_a_splitter_count(plain):
    args = plain[0].parent, [f.name for f in plain], TEXTS
    dls = loaders(*args, splitter=RandomSubsetSplitter(.3, .2, seed=1))
    assert [len(o) for o in (dls.train_ds, dls.valid_ds)]==[9,6] and len(dls.report)==15
    said = repr(dls.report)
    assert 'in neither part of the split: 15' in said and '15 pictures: 9 to train on, 6 to validate' in said
    assert [f.name for f,_ in dls.valid_ds.items]==[dls.report.infos[i].file.name for i in sorted(dls.report.valid)]
    refused('puts 2 pictures on both sides, such as 03.png', loaders, *args, splitter=lambda o: (range(5), range(3,9)))
    says = "gets paths as '00.png', and its parts leave none to train on"
    refused(says, loaders, *args, splitter=GrandparentSplitter())

@pytest.mark.parametrize('kwarg', [dict(label_delim=','), dict(y_block=None), dict(img_cls=None), dict(valid_pc=.2),
                                   dict(train='train')])
def test_what_fastai_would_pass_over_is_refused(kwarg, plain):
    refused(f'{min(kwarg)}= has no meaning here', loaders, plain[0].parent, [f.name for f in plain], TEXTS, **kwarg)

def test_what_fastai_knows_is_heeded(plain):
    dls = loaders(plain[0].parent, [f.name for f in plain], TEXTS, val_bs=2, shuffle=False, num_workers=0,
                  drop_last=False, pin_memory=False, verbose=False)
    assert dls.valid.bs==2 and [len(b[0]) for b in dls.train]==[8,8,8,3] and not dls.train.shuffle

def test_splitters_of_tables(plain):
    df = pd.DataFrame(dict(file=[f.name for f in plain], text=TEXTS, is_valid=[i%3==0 for i in range(30)]))
    path = plain[0].parent
    for kwargs in (dict(splitter=ColSplitter()), dict(valid_col='is_valid'),
                   dict(splitter=FuncSplitter(lambda o: int(Path(o).stem)%3==0))):
        dls = CaptchaDataLoaders.from_df(df, path, device='cpu', **kwargs)
        assert sorted(dls.report.valid)==list(range(0, 30, 3))
    refused('leave splitter= out', CaptchaDataLoaders.from_df, df, path, valid_col='is_valid', splitter=ColSplitter())

def test_the_other_factories(plain, tmp_path):
    files = [tmp_path/f'{t}/{i}-{t}x.png' for i,t in enumerate(TEXTS)]
    folder(tmp_path, plain, [f.relative_to(tmp_path) for f in files])
    kwargs = dict(device='cpu', seed=3)
    made = [CaptchaDataLoaders.from_path_func(tmp_path, files, lambda o: o.parent.name, **kwargs),
            CaptchaDataLoaders.from_path_re(tmp_path, files, r'/(\d+)/[^/]+$', **kwargs),
            CaptchaDataLoaders.from_name_re(tmp_path, files, r'-(\d+)x\.png$', **kwargs),
            CaptchaDataLoaders.from_name_func(tmp_path, files, lambda o: o.split('-')[1][:-5], **kwargs)]
    for dls in made:
        assert dls.report.labels==TEXTS and dls.valid_ds.items==made[0].valid_ds.items
        test = dls.test_dl(files[:3], with_labels=True)
        assert [y.text for _,y in test.dataset]==TEXTS[:3]
    refused(r"finds nothing in", CaptchaDataLoaders.from_name_re, tmp_path, files, r'(nothing)')
    refused(r"has no group", CaptchaDataLoaders.from_path_re, tmp_path, files, r'\d+')

# fastai's habits: test sets, showing, held items

def first_batch(dls, items, **kwargs): return dls.test_dl(items, **kwargs).one_batch()

def test_test_sets_with_labels(plain, tmp_path):
    path = folder(tmp_path, plain, [f'{t}_x.png' for t in TEXTS])
    files = picture_files(path)
    df = pd.DataFrame(dict(file=[f.stem for f in files], text=TEXTS))
    made = dict(folder=CaptchaDataLoaders.from_folder(path, device='cpu'),
                lists=loaders(path, [f.name for f in files], TEXTS),
                df=CaptchaDataLoaders.from_df(df, path, suff='.png', device='cpu'))
    for what,dls in made.items():
        x = dls.test_dl(files[:5]).one_batch()[0]
        pairs = dls.test_dl([(f,'111') for f in files[:5]], with_labels=True).one_batch()
        assert torch.equal(pairs[0], x) and pairs[1].text==['111']*5
        assert torch.equal(dls.test_dl(list(map(str, files[:5]))).one_batch()[0], x)
        if what=='folder':
            for kind in (list, lambda o: list(map(str, o))):
                assert dls.test_dl(kind(files[:5]), with_labels=True).one_batch()[1].text==TEXTS[:5]
        else: refused('nothing tells the text of', first_batch, dls, files[:5], with_labels=True)
        if what=='df':
            xb,yb = dls.test_dl(df[:5], with_labels=True).one_batch()
            assert torch.equal(xb, x) and yb.text==TEXTS[:5] and torch.equal(dls.test_dl(df[:5]).one_batch()[0], x)
        else: refused('these loaders were made of no table', first_batch, dls, df[:5])

def test_loaders_pickle_without_the_functions_they_were_made_with(plain):
    dls = CaptchaDataLoaders.from_name_func(plain[0].parent, plain, lambda o: o[:2], device='cpu')
    again = pickle.loads(pickle.dumps(dls))
    assert again.report.labels==dls.report.labels and again.vocab==dls.vocab and again.device==dls.device
    refused('nothing tells the text', lambda: again.test_dl(plain[:2], with_labels=True).one_batch())
    dls = CaptchaDataLoaders.from_folder(plain[0].parent, device='cpu')
    assert pickle.loads(pickle.dumps(dls)).test_dl(plain[:2], with_labels=True).one_batch()[1].text==['00','01']

def test_a_transform_added_later_acts_on_what_is_held(plain):
    dls = loaders(plain[0].parent, [f.name for f in plain], TEXTS)
    for _ in dls.train: pass
    assert len(dls.train.held)>20
    class Black(Transform):
        order = 10
        def encodes(self, x:TensorImage): return x*0
    dls.add_tfms([Black()], 'after_item')
    assert dls.one_batch()[0].abs().max()==0

def test_resize_added_after_a_look(plain):
    dls = loaders(plain[0].parent, [f.name for f in plain], TEXTS)
    dls.show_batch(); plt.close('all')
    dls.train.after_item.add(Resize((8,24), method='squish'))   # before the picture is a tensor
    assert dls.one_batch()[0].shape[-2:]==(8,24)

def test_transforms_for_fastais_grey_types(plain):
    class OnPicture(Transform):
        order = -1
        def encodes(self, x:PILImageBW): return type(x)(Image.new('L', x.size, 255))
    class OnBatch(Transform):
        def encodes(self, x:TensorImageBW): return x*0
    args = plain[0].parent, [f.name for f in plain], TEXTS
    assert loaders(*args, item_tfms=OnPicture).one_batch()[0].min()==1
    assert loaders(*args, batch_tfms=[OnBatch()]).one_batch()[0].max()==0

def test_texts_of_a_batch(plain):
    dls = loaders(plain[0].parent, [f.name for f in plain], TEXTS, shuffle=False)
    xb,yb = dls.one_batch()
    texts = [t for _,t in dls.train_ds.items]
    assert yb.text==texts[:8] and yb[2].text==texts[2] and yb[:3].text==texts[:3] and dls.valid.one_batch()[1].text
    assert [o.text for _,o in dls.valid_ds]==[t for _,t in dls.valid_ds.items]

def sizes_of_titles(): return [ax.title.get_fontsize() for ax in plt.gcf().axes if ax.get_title()]

def test_long_texts_do_not_run_into_each_other(plain):
    for n in (5,20,40,80):
        dls = loaders(plain[0].parent, [f.name for f in plain], [(t*40)[:n] for t in TEXTS])
        dls.show_batch(max_n=6)
        fig = plt.gcf(); fig.canvas.draw()
        titles = [ax.title.get_window_extent() for ax in fig.axes if ax.get_title()]
        assert len(titles)==6 and not any(a.overlaps(b) for i,a in enumerate(titles) for b in titles[:i]), n
        assert min(sizes_of_titles())>=5
        plt.close('all')

@pytest.mark.parametrize('mode', ['L','RGB'])
def test_pictures_without_labels_are_shown_in_their_shape(mode, plain, tmp_path):
    for f in plain: Image.open(f).convert(mode).point(lambda o: o//2).save(tmp_path/f.name)
    dls = loaders(tmp_path, [f.name for f in plain], TEXTS, channels=1 if mode=='L' else 3)
    test = dls.test_dl(picture_files(tmp_path)[:6])
    test.show_batch(max_n=5)
    assert len(plt.gcf().axes)==6 and [*map(round, plt.gcf().get_size_inches())]==[9,3]
    test.show_batch(max_n=4, ncols=2, figsize=(5,5))
    assert plt.gcf().axes[0].get_gridspec().ncols==2
    assert len(test.show_batch(show=False))==3
    dls.show_batch(unique=True); assert len({ax.get_title() for ax in plt.gcf().axes}-{''})==1
    assert len({tuple(o.tolist()) for o in dls.one_batch()[1]})>1
    plt.close('all')

@pytest.mark.parametrize('size', [64,(64,),'64',(0,5)])
def test_sizes_of_loaders_that_are_none(size, plain):
    refused('(height, width)', loaders, plain[0].parent, [f.name for f in plain], TEXTS, size=size)
    refused('(height, width)', PictureBlock, size)

@pytest.mark.parametrize('size', [None,(8,24)])
def test_a_DataBlock_reports(size, plain, tmp_path):
    path = folder(tmp_path, plain, [f'{t}_{i}.png' for i,t in enumerate(TEXTS)])
    shutil.copy(plain[0], path/'101_copy.png')
    block = DataBlock(blocks=(PictureBlock(size, None if size is None else 1), CaptchaBlock), get_items=picture_files,
                      get_y=captcha_label, splitter=RandomSplitter(.2, seed=1))
    for dls in (block.dataloaders(path, device='cpu'), CaptchaDataLoaders.from_dblock(block, path, device='cpu')):
        report = dls.report
        assert (len(report), len(report.valid), len(report.duplicates))==(31,6,1)
        assert report.labels[:2]==['101','101']
        assert {report.infos[i].file for i in report.valid}==set(dls.valid_ds.items)
        assert ('taken as 8x24' in repr(report))==(size is not None)
    images = DataBlock(blocks=(ImageBlock(PILImageBW), CaptchaBlock), get_items=picture_files, get_y=captcha_label)
    assert not hasattr(images.dataloaders(path, device='cpu'), 'report')

def test_targets_that_are_none(plain):
    args = plain[0].parent, [f.name for f in plain], TEXTS
    dls = loaders(*args)
    assert target_vocab(dls, dls.one_batch()[1])==dls.vocab
    block = DataBlock(blocks=(PictureBlock, CategoryBlock), get_items=picture_files, get_y=captcha_label)
    dls = block.dataloaders(args[0], device='cpu', bs=4)
    refused('use CaptchaBlock', target_vocab, dls, dls.one_batch()[1])
    block = DataBlock(blocks=(PictureBlock, CaptchaBlock, CategoryBlock), n_inp=1, get_items=picture_files,
                      get_y=[captcha_label, captcha_label])
    dls = block.dataloaders(args[0], device='cpu', bs=4)
    refused('use CaptchaBlock', target_vocab, dls, dls.one_batch()[2])

def test_predict_takes_what_a_server_has():
    "By the transform that `learn.predict` begins with"
    op = OpenPicture((16,48), 1)
    tl = TfmdLists([Path('a.png')], [op], do_setup=False)
    tl.types = [op.input_types]
    for x in (b'', bytearray(), memoryview(b''), io.BytesIO(), 'a', Path('a')): assert tl.infer_idx(x)==0

def test_what_fastais_interpretation_asks_of_a_vocabulary():
    vocab = Vocab('2bm')
    fig,ax = plt.subplots()
    plt.xticks(np.arange(len(vocab)), vocab)
    assert [o.get_text() for o in ax.get_xticklabels()]==['','2','b','m']
    plt.close(fig)
    names,ids = [str(v) for v in vocab],list(vocab.o2i.values())
    said = classification_report([1,2,3,3], [1,2,2,3], labels=ids, target_names=names, output_dict=True,
                                 zero_division=0)
    assert said['m']['recall']==.5 and said['2']['recall']==1   # each name beside its own figures
