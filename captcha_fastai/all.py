"Everything that the lessons export; the modules stand in the order of their notebooks"
from captcha_fastai.core import *
from captcha_fastai.synth import *
from captcha_fastai.data import *
from captcha_fastai.rules import *
from captcha_fastai.decode import *
from captcha_fastai.metrics import *
from captcha_fastai.losses import *
from captcha_fastai.learner import *
from captcha_fastai.classifier import *
from captcha_fastai.crnn import *
from captcha_fastai.transformer import *
from captcha_fastai.clinic import *
from captcha_fastai.tune import *
from captcha_fastai.evaluate import *
from captcha_fastai.reader import *
from captcha_fastai.cli import *
