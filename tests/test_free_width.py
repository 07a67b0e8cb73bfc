"A reader with a height and no width: made, saved, read with, trained from; readers of one size stay as they were"
import json
import string

import numpy as np
import pytest
import torch
from PIL import Image

from captcha_fastai.archs import ModelSpec, own_archs
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.reader import Reader, save_reader
from captcha_fastai.synth import CaptchaStyle, draw_captcha
from captcha_fastai.weights import saved_spec, shipped_weights
from test_archs import SMALL

CHARS = string.digits+'+='
SIZES = [(25, 80), (50, 200), (80, 600), (50, 200), (20, 300)]


def spec(size=(50, None), arch='crnn_small', channels=3):
    return ModelSpec(arch, Vocab(CHARS), size, channels, 6, mean=[.6]*channels, std=[.25]*channels)


@pytest.fixture(scope='module')
def reader():
    torch.manual_seed(0)
    s = spec()
    return Reader(s.model().eval(), s, device='cpu')


@pytest.fixture(scope='module')
def pictures():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in SIZES]


def test_each_picture_keeps_its_shape(reader, pictures):
    assert [tuple(reader.tensor(o).shape) for o in pictures] == [
        (3, 50, 160), (3, 50, 208), (3, 50, 368), (3, 50, 208), (3, 50, 752)]
    assert '50 pixels high colour' in repr(reader)


def test_pictures_of_many_sizes_in_one_call(reader, pictures):
    alone = [reader.read(o)[0] for o in pictures]
    together = reader.read(pictures)
    assert [o.text for o in together] == [o.text for o in alone]
    np.testing.assert_allclose([o.confidence for o in together], [o.confidence for o in alone], rtol=1e-3)
    assert all(a.file is b for a, b in zip(together, pictures))


def test_told(reader, pictures):
    told = reader.constraint(length=3, chars='0123456789')
    assert all(len(o.text) == 3 and o.text.isdecimal() for o in reader.read(pictures, constraint=told))


def test_bad_pictures_keep_their_place(reader, pictures, tmp_path):
    (tmp_path/'bad.png').write_bytes(b'no picture')
    found = reader.read([pictures[0], tmp_path/'bad.png', pictures[2]], skip_bad=True)
    assert [bool(o.error) for o in found] == [False, True, False]
    assert found[2].text == reader.read(pictures[2])[0].text


def test_grey_and_transparent_pictures(reader):
    assert reader.tensor(np.zeros((30, 90), np.uint8)).shape == (3, 50, 144)
    assert reader.tensor(Image.new('RGBA', (90, 30))).shape == (3, 50, 144)


@pytest.mark.parametrize('half', [False, True])
def test_saved_and_loaded(reader, pictures, tmp_path, half):
    save_reader(reader, tmp_path/'r', half=half)
    d = json.loads((tmp_path/'r'/'reader.json').read_text())
    assert d['format_version'] == 3 and d['spec']['size'] == [50, None]
    again = Reader.load(tmp_path/'r', device='cpu')
    assert again.spec.free_width and all(o.dtype == torch.float32 for o in again.model.parameters())
    if not half: assert [o.text for o in again.read(pictures)] == [o.text for o in reader.read(pictures)]
    size = (tmp_path/'r'/'model.safetensors').stat().st_size
    assert size < (2.5e6 if half else 4.6e6)


def test_readers_of_one_size_are_written_as_before(tmp_path):
    r = Reader.load('pretrained/crnn_small', device='cpu')
    r.save(tmp_path/'r')
    assert json.loads((tmp_path/'r'/'reader.json').read_text())['format_version'] == 2
    assert not r.spec.free_width and saved_spec(shipped_weights).free_width
    assert r.tensor(np.zeros((30, 90), np.uint8)).shape == (1, 50, 200)


def test_the_same_model_as_one_of_a_wide_size():
    torch.manual_seed(1)
    free, x = spec().model().eval(), torch.rand(2, 3, 50, 176)
    fixed = spec((50, 176)).model().eval()
    fixed.load_state_dict(free.state_dict())
    with torch.no_grad(): assert torch.equal(free(x), fixed(x))


def test_archs_say_when_they_need_a_width():
    with pytest.raises(CaptchaError, match=r'captcha_transformer needs a width: give size=\(50,w\)'):
        spec(arch='captcha_transformer').model()


@pytest.mark.parametrize('size', [(None, 200), (50,), (0, None), (None, None), 50])
def test_sizes_that_are_none(size):
    with pytest.raises(CaptchaError): spec(size)


def test_the_one_in_the_package():
    from captcha_fastai.weights import reader_folder
    assert reader_folder('pretrained/small') == reader_folder('pretrained')
    assert str(reader_folder('./pretrained/small')) == 'pretrained/small'


@pytest.mark.parametrize('name', ['small', 'base'])
def test_those_in_the_package_read(name):
    small = Reader.load(f'pretrained/{name}', device='cpu')
    assert small.spec.free_width and small.spec.channels == 3 and set('+-=?#$%&@*') < set(small.vocab.chars)
    texts = ['7305', '48291', '6k2h', '90+17', '853264']
    for size in [(30, 110), (50, 200), (80, 400)]:
        style = CaptchaStyle(size=size, font_px=(size[0]//2, size[0]//2))
        ims = [draw_captcha(o, style, i) for i, o in enumerate(texts)]
        ims += [Image.fromarray(255-np.asarray(o)) for o in ims]   # light on dark
        right = [a.text == b for a, b in zip(small.read(ims), texts*2)]
        assert sum(right) >= 7, (size, right)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "Drawn captchas of two sizes"
    path = tmp_path_factory.mktemp('captchas')
    rng = np.random.default_rng(3)
    for i in range(16):
        text = ''.join(rng.choice(list('0123'), 4))
        im = draw_captcha(text, CaptchaStyle(size=[(30, 90), (60, 200)][i % 2]), i)
        im.save(path/f'{text}_{i}.png')
    return path


def test_data_of_a_height(folder):
    from captcha_fastai.loaders import CaptchaDataLoaders
    dls = CaptchaDataLoaders.from_folder(folder, size=(50, None), bs=8, label_func=lambda o: o.stem[:4])
    assert tuple(dls.one_batch()[0].shape[1:]) == (1, 50, 160) and dls.report.size == (50, 160)
    assert dls.report.keep_shape and 'in their shape on 50x160' in str(dls.report)
    with pytest.raises(CaptchaError, match='size is'):
        CaptchaDataLoaders.from_folder(folder, size=(None, 50), label_func=lambda o: o.stem[:4])


@pytest.mark.parametrize('arch', own_archs)
def test_pictures_keep_their_shape_in_every_arch(arch, folder, tmp_path):
    "A reader sees what the model was trained on: the picture in its shape, and paper on its right"
    from captcha_fastai.all import CaptchaDataLoaders, captcha_learner
    how = dict(size=(50, 208), keep_shape=True, bs=4, label_func=lambda o: o.stem[:4], batch_tfms=[], seed=0)
    dls = CaptchaDataLoaders.from_folder(folder, **how)
    args = SMALL[arch] if arch != 'crnn' else SMALL[arch] | dict(body='resnet18')
    learn = captcha_learner(dls, arch, pretrained=False, arch_args=args)
    reader = Reader.from_learner(learn)   # raises if the two don't agree
    reader.save(tmp_path/'r')
    assert json.loads((tmp_path/'r'/'reader.json').read_text())['format_version'] == 4
    again, files = Reader.load(tmp_path/'r', device='cpu'), sorted(folder.glob('*.png'))
    assert again.spec.keep_shape and '208x50 in their shape' in repr(again)
    assert [o.text for o in again.read(files)] == [o.text for o in reader.read(files)]
    item = dls.valid_ds.items[0][0]
    assert torch.equal(torch.from_numpy(np.array(dls.valid_ds[0][0]))[None], again.tensor(item))
    assert not np.ptp(again.tensor(files[0])[0, :, 160:])   # paper


def test_training_from_it(reader, folder, tmp_path):
    from captcha_fastai.train import train_reader
    reader.save(tmp_path/'start')
    rows = [f'{o},{o.stem[:4]}' for o in sorted(folder.glob('*.png'))]
    (tmp_path/'labels.csv').write_text('\n'.join(['file,text', *rows]))
    made = train_reader(tmp_path/'labels.csv', tmp_path/'out', reader=tmp_path/'start', epochs=1, bs=8,
                        log=lambda s: None)
    assert made.reader.spec.size == (50, 160) and made.reader.spec.keep_shape and made.learn.started.known == '0123'
    assert len(Reader.load(tmp_path/'out').read([rows[0].split(',')[0]])) == 1

def test_no_room_at_a_narrower_size(tmp_path):
    "What is told may fit into the columns of a picture as it is, and not into those of the same picture made narrower"
    from captcha_fastai.exported import ExportedReader
    from captcha_fastai.portable import write_export
    pytest.importorskip('onnx')
    reader = Reader.load('pretrained', device='cpu', half=False)
    write_export(reader, tmp_path)
    exported = ExportedReader(tmp_path, 1)
    im = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50,96,3), dtype=np.uint8))
    for known in (dict(length=12), dict(length=12, chars='0123456789'), dict(pattern='[ab]{12}')):
        a,b = (o.read(im, constraint=o.constraint(**known))[0] for o in (reader, exported))
        assert len(a.text)==12 and a.text==b.text and abs(a.confidence-b.confidence)<1e-6, (a, b)
    with pytest.raises(CaptchaError, match='no room'): reader.read(im, constraint=reader.constraint(13))
