"Readers that older versions saved read as they did then, if they look once, and can be exported"
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captcha_fastai.reader import Reader

DATA = Path(__file__).parent/'data'
READINGS = json.loads((DATA/'readings.json').read_text())   # of each format, by the version that saved it

def pictures(n):
    "Twelve noisy pictures, as they were read then: formats 3 and 4 take several widths"
    res = [Image.fromarray(o) for o in np.asarray(Image.open(DATA/'pictures.png')).reshape(12, 16, 48)]
    less = {3:0, 4:12}.get(n)
    return res if less is None else [o.resize((o.width-less+12*(i%4), 16)) for i,o in enumerate(res)]

def same(reader, n, eps=1e-3):
    "Does a reader read what was read then, free and told?"
    then,images = READINGS[str(n)],pictures(n)
    free = reader.read(images)
    assert [o.text for o in free]==then['free'] and any(then['free'])
    assert np.allclose([o.confidence for o in free], then['confidence'], atol=eps)
    assert [o.text for o in reader.read(images, constraint=reader.constraint(length=4))]==then['length_4']

@pytest.mark.parametrize('n', [1,2,3,4])
def test_a_saved_reader_reads_as_it_did(n):
    folder = DATA/f'format_{n}'
    assert json.loads((folder/'reader.json').read_text())['format_version']==n
    reader = Reader.load(folder, device='cpu', half=False)
    assert reader.spec.lengths=={4:3, 5:9} and reader.vocab.chars=='01234ab'
    assert (reader.spec.free_width, reader.spec.keep_shape)==(n==3, n==4)
    assert bool(reader.other_sizes)==(n in (3, 4))   # newer than these readers
    reader.other_sizes = 0
    same(reader, n)

@pytest.mark.parametrize('n', [1,2,3,4])
def test_it_can_be_exported(n, tmp_path, monkeypatch):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from captcha_fastai import portable
    drawn = portable.drawn_pictures
    monkeypatch.setattr(portable, 'drawn_pictures', lambda spec, n=12, seed=0: drawn(spec, min(n, 12), seed))
    reader = Reader.load(DATA/f'format_{n}', device='cpu')
    reader.other_sizes = 0
    portable.export_reader(reader, tmp_path/'out', log=lambda s: None)
    same(portable.ExportedReader(tmp_path/'out', threads=1), n)
