"Colour says something: which letters count, and that a negative reads as its picture does"
import numpy as np
import pytest
import torch
from PIL import Image

from captcha_fastai.all import CaptchaDataLoaders, Reader, captcha_learner, crnn_small
from captcha_fastai.render import draw_batch

CHARS = '2345678abcdefgmnpwxy'
RED,BLUE = (200,30,30),(30,60,190)

def random_texts(n, length, seed):
    "Texts of the characters that are hard to confuse"
    ids = np.random.default_rng(seed).integers(len(CHARS), size=(n,length))
    return [''.join(CHARS[i] for i in row) for row in ids]

def two_colours(red, blue, seed):
    "Pictures of six letters, of which the ones in `red` are red; equal but for their colour"
    inks = np.random.default_rng(seed).permuted(np.tile([True]*3+[False]*3, (len(red),1)), axis=1)
    texts,left = [],[(list(a), list(b)) for a,b in zip(red, blue)]
    for (a,b),ink in zip(left, inks): texts.append(''.join(a.pop(0) if o else b.pop(0) for o in ink))
    drawn = draw_batch(texts, (50,200), dict(px=.6, gap=.1, rotate=8), seed, channels=1)
    res = []
    for picture,boxes,ink in zip(drawn.pictures, drawn.boxes, inks):
        share = (255-picture[0].float())/255
        colour = torch.zeros(3, 50, 200)
        for (l,_,r,_),o in zip(boxes.long().tolist(), ink):
            colour[:,:,l:r] = torch.tensor(RED if o else BLUE).float()[:,None,None]
        x = 255+(colour-255)*share
        res.append(Image.fromarray(x.permute(1, 2, 0).round().to(torch.uint8).numpy()))
    return res

@pytest.fixture(scope='module')
def red_ones(tmp_path_factory):
    "A folder of pictures whose labels are the red letters, and 60 more with theirs"
    path = tmp_path_factory.mktemp('red')
    red,blue = (random_texts(460, 3, o) for o in (0, 1))
    pictures = two_colours(red, blue, 2)
    for i,(picture,text) in enumerate(zip(pictures[:400], red)): picture.save(path/f'{text}_{i:03d}.png')
    return path,pictures[400:],red[400:]

def test_only_the_red_letters(red_ones):
    path,pictures,texts = red_ones
    dls = CaptchaDataLoaders.from_folder(path, valid_pct=.05, seed=0, bs=32, channels=3)
    learn = captcha_learner(dls, crnn_small, pretrained='pretrained')
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(5, 3e-3)
    read = [o.text for o in Reader.from_learner(learn).read(pictures)]
    right = sum(a==b for a,b in zip(read, texts))
    # who doesn't see red picks three of six letters: one way in twenty is right
    assert right>=30, f'{right} of 60: {list(zip(read, texts))[:8]}'

def test_a_negative_reads_as_its_picture():
    "Letters lighter than their paper are letters"
    texts = random_texts(60, 5, 3)
    drawn = draw_batch(texts, (50,200), dict(px=.6, gap=.1, rotate=8, noise=6), 4, channels=3).pictures
    reader = Reader.load('pretrained')
    right = [sum(o.text==t for o,t in zip(reader.read(list(x.permute(0, 2, 3, 1).numpy())), texts))
             for x in (drawn, 255-drawn)]
    assert min(right)>=54 and abs(right[0]-right[1])<=4, right
