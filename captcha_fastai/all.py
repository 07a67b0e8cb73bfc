"""Everything that a user types; the modules stand in the order of their floors

Each imports only from those above it in this list. The first part reads, and imports neither fastai nor matplotlib
nor pandas."""
from captcha_fastai.core import *
from captcha_fastai.pictures import *
from captcha_fastai.portable_read import *
from captcha_fastai.files import *
from captcha_fastai.device import *
from captcha_fastai.patterns import *
from captcha_fastai.checks import *
from captcha_fastai.rules import *
from captcha_fastai.scores import *
from captcha_fastai.lattice import *
from captcha_fastai.ctc import *
from captcha_fastai.decode import *
from captcha_fastai.search import *
from captcha_fastai.losses import *
from captcha_fastai.resample import *
from captcha_fastai.archs import *
from captcha_fastai.weights import *
from captcha_fastai.fields import *
from captcha_fastai.classifier import *
from captcha_fastai.bodies import *
from captcha_fastai.stages import *
from captcha_fastai.crnn import *
from captcha_fastai.blocks import *
from captcha_fastai.writing import *
from captcha_fastai.transformer import *
from captcha_fastai.letters import *
from captcha_fastai.reader import *
from captcha_fastai.graphs import *
from captcha_fastai.bulk import *
from captcha_fastai.exported import *
from captcha_fastai.webpage import *

# from here on: drawing, data, training, judging; with fastai, whose import calls what torch has deprecated
import warnings as _warnings
with _warnings.catch_warnings():
    _warnings.filterwarnings('ignore', message='`torch.jit.script` is deprecated')
    import fastai.layers as _layers  # noqa: F401
from captcha_fastai.atlas import *
from captcha_fastai.looks import *
from captcha_fastai.clutter import *
from captcha_fastai.render import *
from captcha_fastai.synth import *
from captcha_fastai.styles import *
from captcha_fastai.vision import *
from captcha_fastai.labels import *
from captcha_fastai.items import *
from captcha_fastai.held import *
from captcha_fastai.augment import *
from captcha_fastai.data import *
from captcha_fastai.loaders import *
from captcha_fastai.edits import *
from captcha_fastai.metrics import *
from captcha_fastai.intervals import *
from captcha_fastai.tables import *
from captcha_fastai.calibration import *
from captcha_fastai.speed import *
from captcha_fastai.progress import *
from captcha_fastai.normalize import *
from captcha_fastai.fits import *
from captcha_fastai.processes import *
from captcha_fastai.show import *
from captcha_fastai.learner import *
from captcha_fastai.contract import *
from captcha_fastai.probes import *
from captcha_fastai.watch import *
from captcha_fastai.faults import *
from captcha_fastai.evaluate import *
from captcha_fastai.interpret import *
from captcha_fastai.folds import *
from captcha_fastai.trials import *
from captcha_fastai.pages import *
from captcha_fastai.label_errors import *
from captcha_fastai.calibrate import *
from captcha_fastai.tune import *
from captcha_fastai.annotate import *
from captcha_fastai.adapt import *
from captcha_fastai.evidence import *
from captcha_fastai.plan import *
from captcha_fastai.train import *
from captcha_fastai.report import *
from captcha_fastai.report_page import *
from captcha_fastai.terminal import *
from captcha_fastai.portable import *
from captcha_fastai.cli import *
