"What is drawn a batch at a time: the same by seed, in the right place, like what the slow renderer draws"
import numpy as np
import pytest
import torch

from captcha_fastai.atlas import ATLAS_CHARS, GlyphAtlas
from captcha_fastai.core import CaptchaError
from captcha_fastai.looks import ANY, FAMILIES
from captcha_fastai.render import draw_batch, random_batch
from captcha_fastai.synth import CaptchaStyle, draw_captcha

FONTS = ['DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSerif-Bold']


@pytest.fixture(scope='module')
def atlas(): return GlyphAtlas.build(FONTS)


@pytest.fixture(scope='module')
def bold(): return GlyphAtlas.build(['DejaVuSans-Bold'], extra=False)


def test_the_same_by_seed(atlas):
    a, b, c = (random_batch(24, (50, 200), seed=o, atlas=atlas, channels=3) for o in (3, 3, 4))
    assert a.texts == b.texts and a.families == b.families
    assert torch.equal(a.pictures, b.pictures) and torch.equal(a.boxes, b.boxes)
    assert a.texts != c.texts and not torch.equal(a.pictures, c.pictures)


def test_boxes_are_not_what_changes_a_picture(atlas):
    a, b = (random_batch(24, seed=3, atlas=atlas, boxes=o) for o in (True, False))
    assert torch.equal(a.pictures, b.pictures)


@pytest.mark.parametrize('looks', [
    {}, dict(rotate=30), dict(wave_x=.08, wave_y=.1), dict(shear=.3, tilt=10), dict(spray=.05), dict(slices=.1),
    dict(hollow=1.2), dict(bold=1.5, slant=.3), dict(stencil=.1), dict(size_mix=.4, shift=.2, slope=.1)])
def test_ink_of_a_letter_alone_lies_in_its_box(atlas, looks):
    drawn = draw_batch(list('Ag2wQi'), (50, 120), looks | dict(place=.3), 1, atlas)
    for picture, box in zip(drawn.pictures[:, 0], drawn.boxes[:, 0]):
        ys, xs = np.nonzero(picture.numpy() < 255*.7)
        assert np.allclose([xs.min(), ys.min(), xs.max()+1, ys.max()+1], box.numpy(), atol=1.01)


def test_boxes_stand_in_the_order_of_the_text(atlas):
    drawn = random_batch(100, (50, 200), lengths=(2, 7), seed=2, atlas=atlas, families=['plain', 'spaced'])
    for text, box in zip(drawn.texts, drawn.boxes):
        x = ((box[:, 0]+box[:, 2])/2)[:len(text)]
        assert (x.diff() > 0).all() and (box[len(text):] == 0).all()
        assert box.min() >= 0 and box[:, 2].max() <= 200 and box[:, 3].max() <= 50


@pytest.mark.parametrize('px', [20, 28, 36])
def test_agrees_with_the_slow_renderer(bold, px):
    texts = ['2b4mw', 'Kx7g', 'AVAWA', 'gy8']
    style = CaptchaStyle(fonts=('DejaVuSans-Bold',), font_px=(px, px), base=(.76, .76))
    slow = np.stack([np.asarray(draw_captcha(o, style, 0)) for o in texts]).astype('f4')
    fast = draw_batch(texts, (50, 200), dict(px=px/50), 0, bold).pictures[:, 0].numpy().astype('f4')
    ink = (255-slow).mean()
    assert np.abs(fast-slow).mean() < 7/px*ink                     # only edges differ: more of a small letter is edge
    assert abs((255-fast).mean()-ink) < .06*ink                    # as much ink
    for a, b in zip(fast, slow):                                   # in the same place
        centre = [[((255-o)*i).sum()/(255-o).sum() for i in np.indices(o.shape)] for o in (a, b)]
        assert np.abs(np.subtract(*centre)).max() < .75


def test_every_character_is_drawn(atlas):
    drawn = draw_batch(list(ATLAS_CHARS), (50, 60), {}, 0, atlas)
    ink = (255-drawn.pictures.float()).sum((1, 2, 3))/255
    assert (ink > 10).all()
    assert len({o.numpy().tobytes() for o in drawn.pictures}) > len(ATLAS_CHARS)*.9


@pytest.mark.parametrize('family', FAMILIES)
@pytest.mark.parametrize('channels', [1, 3])
def test_every_family_can_be_seen(atlas, family, channels):
    drawn = random_batch(12, (50, 200), seed=7, atlas=atlas, channels=channels, families=[family])
    assert drawn.pictures.shape == (12, channels, 50, 200) and drawn.pictures.dtype == torch.uint8
    assert set(drawn.families) == {family}
    assert (drawn.pictures.float().amax((1, 2, 3))-drawn.pictures.float().amin((1, 2, 3))).min() > 25
    assert torch.isfinite(drawn.boxes).all()
    for text, box in zip(drawn.texts, drawn.boxes):
        assert (box[:len(text), 2] > box[:len(text), 0]).all()


@pytest.mark.parametrize('size,lengths', [((25, 80), (5, 5)), ((20, 75), (6, 6)), ((80, 770), (4, 16)),
                                          ((34, 92), (1, 4)), ((120, 300), (4, 8)), ((9, 64), (3, 4)),
                                          ((50, 201), (12, 16))])
def test_all_sizes(atlas, size, lengths):
    drawn = random_batch(12, size, lengths=lengths, seed=1, atlas=atlas)
    assert drawn.pictures.shape == (12, 1, *size)
    assert all(lengths[0] <= len(o) <= lengths[1] for o in drawn.texts)


def test_every_knob_at_both_ends_of_its_ranges(atlas):
    for name in {k for o in (ANY, *FAMILIES.values()) for k in o}:
        ends = {v for o in (ANY, *FAMILIES.values()) for v in o.get(name, (0,))[1:]}
        for channels in (1, 3):
            looks = {name: torch.tensor(sorted(ends), dtype=torch.float32), 'wave_x': .01}
            drawn = draw_batch(['2b4']*len(ends), (50, 100), looks, 0, atlas, channels)
            assert drawn.pictures.float().std((1, 2, 3)).min() > 3, name


def test_light_on_dark_is_the_other_way_round(bold):
    a, b = (draw_batch(['2b4'], (50, 100), dict(dark=o), 0, bold).pictures.float() for o in (0, 1))
    assert torch.equal(a, 255-b)


def test_a_saved_atlas_draws_the_same(atlas, tmp_path):
    atlas.save(tmp_path/'glyphs.npz')
    a, b = (random_batch(20, seed=1, atlas=o) for o in (atlas, GlyphAtlas.load(tmp_path/'glyphs.npz')))
    assert torch.equal(a.pictures, b.pictures)


def test_an_atlas_from_a_folder(atlas, tmp_path):
    from captcha_fastai.atlas import font_files
    (tmp_path/'DejaVuSans.ttf').write_bytes(font_files(['DejaVuSans'])['DejaVuSans'].read_bytes())
    (tmp_path/'broken.ttf').write_bytes(b'no font')
    found = GlyphAtlas.build(tmp_path, chars='0123456789ж', extra=False)
    assert found.fonts == ['DejaVuSans'] and list(found.left_out) == ['broken']
    assert draw_batch(['1ж'], (50, 100), atlas=found).pictures.float().std() > 10


@pytest.mark.parametrize('bad,says', [
    (dict(chars='2ж'), "the atlas has no 'ж'"), (dict(lengths=(5, 3)), 'a pair'),
    (dict(lengths=(50, 50)), 'cannot be read'), (dict(families=['wobbly']), 'unknown family'),
    (dict(channels=2), 'channels=2')])
def test_errors_say_what_to_do(atlas, bad, says):
    with pytest.raises(CaptchaError, match=says): random_batch(4, atlas=atlas, **bad)


def test_errors_of_given_texts(atlas):
    with pytest.raises(CaptchaError, match='no text'): draw_batch([''], atlas=atlas)
    with pytest.raises(CaptchaError, match='unknown knob'): draw_batch(['2b'], looks=dict(blurr=1), atlas=atlas)


def test_the_atlas_of_the_installed_fonts_is_kept(tmp_path, monkeypatch):
    "It is built once; a damaged file is made anew, and where none can be written it is built each time"
    from captcha_fastai import render
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    small,built = GlyphAtlas.build(['DejaVuSans'], '012', extra=False),[]
    monkeypatch.setattr(GlyphAtlas, 'build', classmethod(lambda cls: built.append(1) or small))
    ask = render.installed_atlas.__wrapped__
    for times,before in ((1, None), (1, None), (2, b'no atlas'), (2, None)):
        if before: next(tmp_path.rglob('*.npz')).write_bytes(before)
        assert np.array_equal(ask().sdf, small.sdf) and len(built) == times
    assert len(list(tmp_path.rglob('*'))) == 2
    (tmp_path/'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'file'))
    for times in (3, 4): assert ask().chars == '012' and len(built) == times
