"""Labelled captchas: real ones, those of the package `captcha`, and a drawn style that no training has seen."""
import os
import random
import shutil
from pathlib import Path

from common import labelled
from captcha_fastai.loaders import untar_captchas
from captcha_fastai.synth import save_captchas

KINDS = dict(real='real captchas, 936 of Wilhelmy and Rosas (2013)',
             package='600 of the Python package `captcha`, 4 to 6 digits and capitals, in colour',
             hidden='600 drawn in the style `crossed`, 5 digits and small letters, seven lines across')

class Seeded:
    "What the package `captcha` wants of `secrets`, but the same for the same seed"
    def __init__(self, seed):
        rng = random.Random(seed)
        self.randbelow,self.randbits,self.choice = rng.randrange,rng.getrandbits,rng.choice

def _package(folder, n, seed):
    import captcha.image   # pip install captcha
    captcha.image.secrets = Seeded(seed)
    rng = random.Random(seed+1)
    made = captcha.image.ImageCaptcha(width=160, height=60)
    for i in range(n):
        text = ''.join(rng.choices('0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ', k=rng.randint(4, 6)))
        made.generate_image(text).save(folder/f'{text}_{i:04d}.png')

def _drawn(kind, folder, n, seed):
    "Draw the pictures into another folder first, so that `folder` is there only when it is whole"
    half = folder.with_name(folder.name+'.part')
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    if kind=='package': _package(half, n, seed)
    else: save_captchas(n, half, '0123456789abcdefghijklmnopqrstuvwxyz', 5, 'crossed', seed)
    half.rename(folder)

def pictures(kind, folder, n=600, seed=11):
    "Paths and texts; those that have to be drawn go into `folder`, and stay there"
    if kind=='real': return labelled(os.environ.get('CAPTCHA_DATA') or untar_captchas())
    folder = Path(folder)/f'{kind}-{seed}'
    if not folder.exists(): _drawn(kind, folder, n, seed)
    return labelled(folder)

def known(texts):
    "What somebody who has seen a few of the pictures may tell: characters and lengths"
    return dict(chars=''.join(sorted(set(''.join(texts)))), length=(min(map(len, texts)), max(map(len, texts))))
