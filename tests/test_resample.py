"One formula brings pictures to another size: the same numbers from NumPy and torch, near those of PIL and torch's own"
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from captcha_fastai.core import CaptchaError
from captcha_fastai.resample import common_width, grid_width, kept_shape, resample, resample_matrix

SIZES = [((50, 200), (50, 192)), ((25, 80), (50, 160)), ((80, 610), (50, 384)), ((1, 1), (3, 4)), ((97, 13), (50, 64))]


@pytest.mark.parametrize('before,after', SIZES)
def test_numpy_and_torch_agree(before, after):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, *before), dtype=np.uint8)
    a, b = resample(x, after), resample(torch.from_numpy(x), after)
    assert a.shape == (2, 3, *after) and a.dtype == np.float32 and b.dtype == torch.float32
    np.testing.assert_allclose(a, b.numpy(), atol=1e-3)


@pytest.mark.parametrize('before,after', SIZES)
def test_is_what_antialiasing_libraries_do(before, after):
    x = np.random.default_rng(1).integers(0, 256, (3, *before), dtype=np.uint8)
    ours = resample(x, after)
    theirs = F.interpolate(torch.from_numpy(x)[None].float(), after, mode='bilinear', antialias=True)[0].numpy()
    np.testing.assert_allclose(ours, theirs, atol=.01)
    pil = np.asarray(Image.fromarray(x.transpose(1, 2, 0)).resize(after[::-1], Image.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(ours-pil).max() <= 1.5


@pytest.mark.parametrize('n_in,n_out', [(1, 7), (7, 1), (50, 50), (3, 1000), (1000, 3), (200, 208)])
def test_weights(n_in, n_out):
    w = resample_matrix(n_in, n_out)
    assert w.shape == (n_out, n_in) and w.min() >= 0
    np.testing.assert_allclose(w.sum(1), 1, atol=1e-5)
    assert (w.sum(0) > 0).all() or n_in < n_out                       # no pixel falls through when a picture shrinks
    np.testing.assert_allclose(w, w[::-1, ::-1], atol=1e-6)           # left and right are alike
    if n_in == n_out: np.testing.assert_array_equal(w, np.eye(n_in))


def test_what_is_plain_stays_plain():
    np.testing.assert_allclose(resample(np.full((3, 31, 77), 200, np.uint8), (50, 128)), 200, atol=1e-3)


def test_the_weights_in_memory_cannot_be_changed():
    with pytest.raises(ValueError): resample_matrix(4, 8)[0] = 0


@pytest.mark.parametrize('h,w,width', [(50, 200, 208), (25, 80, 160), (80, 610, 384), (20, 72, 176), (42, 152, 176),
                                       (50, 1, 64), (1, 9999, 1024)])
def test_width_of_a_picture(h, w, width):
    assert grid_width(h, w, 50) == width
    if 64 < width < 1024: assert abs(width*h/(50*w)-1) < 8/min(width, w*50/h)+1e-9   # at most half a step


def test_room_for_letters():
    assert grid_width(50, 100, 50, letters=8) == 128 and grid_width(50, 300, 50, letters=8) == 304
    assert common_width([(50, 100)]*99+[(10, 500)], 50) == 96 and common_width([(50, 100), (10, 500)], 50) == 1024
    assert common_width([(50, 100)], 50, letters=20) == 320


def test_no_shape():
    with pytest.raises(CaptchaError, match='has no shape'): grid_width(0, 5, 50)


def test_kept_shape():
    x = np.random.default_rng(2).integers(0, 256, (1, 25, 80), dtype=np.uint8)
    y = kept_shape(x, 50)
    assert y.shape == (1, 50, 160) and y.dtype == np.uint8
    assert kept_shape(y, 50) is y
