"check_arch names what an arch lacks, each kind of fault by its own line"
import pytest
import torch
from torch import nn

from captcha_fastai.archs import Recipe, captcha_arch
from captcha_fastai.contract import check_arch
from captcha_fastai.crnn import crnn_small
from captcha_fastai.losses import CTCLoss, TokenLoss
from captcha_fastai.search import Beams

class Net(nn.Module):
    "The smallest model that answers in columns: `(bs,c,h,w)` to `(bs,12,V)`"
    def __init__(self, channels, V, columns=12):
        super().__init__()
        self.body,self.pool = nn.Conv2d(channels, 16, 5, stride=2, padding=2),nn.AdaptiveAvgPool2d((1,columns))
        self.head = nn.Linear(16, V)
    def forward(self, x): return self.head(self.pool(self.body(x).relu()).flatten(2).transpose(1,2))

class TimeFirst(Net):
    def forward(self, x): return super().forward(x).transpose(0, 1)

class MixesBatch(Net):
    def forward(self, x):
        out = super().forward(x)
        return out+out.mean(0)

class TakesLabel(Net):
    def forward(self, x, label=None): return super().forward(x)

class Parks(Net):
    "Keeps the last constraint"
    told = None
    def search(self, x, constraint=None, beam=4, n_best=1):
        self.told = constraint
        found = CTCLoss().search(self(x), constraint, beam=beam, n_best=n_best)
        return Beams(found.ids, found.log_probs)

class Spare(Net):
    def __init__(self, *args):
        super().__init__(*args)
        self.spare = nn.Linear(2, 2)

class FixedSize(nn.Module):
    def __init__(self, channels, V):
        super().__init__()
        self.head = nn.Linear(channels*32*96//12, V)
    def forward(self, x): return self.head(x.reshape(len(x), 12, -1))

class OwnLoss:
    "A loss that says what an output costs, and nothing else"
    def __call__(self, logits, targ): return CTCLoss()(logits, targ)

def arch(net, rows=('head',), **kwargs):
    "An arch at the top of this module, as far as its name says"
    def f(vocab, size, channels=1, width=None, **args): return net(channels, len(vocab))
    f.__qualname__ = f.__name__ = f'made_{net.__name__}'
    globals()[f.__name__] = f
    return captcha_arch(Recipe(4, 1e-3), rows=rows, **kwargs)(f)

def few_columns(channels, V): return Net(channels, V, columns=3)
def lost(model): return [list(model.head.parameters())]
def unmarked(vocab, size, channels=1, width=None): return Net(channels, len(vocab))

def test_a_sound_arch_passes():
    res = check_arch(arch(Net))
    assert res.passed, res

@pytest.mark.parametrize('make,says', [
    (lambda: unmarked, 'is not marked'),
    (lambda: arch(TimeFirst), 'batch first'),
    (lambda: arch(MixesBatch), 'the batch axis is mixed up'),
    (lambda: arch(TakesLabel), 'call it targ'),
    (lambda: arch(Net, loss=OwnLoss), 'derive it from TextLoss'),
    (lambda: arch(Net, rows=()), "name it: captcha_arch(..., rows=('head',))"),
    (lambda: arch(Net, rows=('head','body')), "rows names 'body'"),
    (lambda: arch(Parks), 'keep the constraint in the call'),
    (lambda: arch(Spare), "doesn't move spare"),
    (lambda: arch(FixedSize), 'compute sizes from the arguments'),
    (lambda: arch(few_columns), 'keep more columns'),
    (lambda: arch(Net, splitter=lost), 'exactly one group'),
    (lambda: arch(Net, loss=TokenLoss), 'TokenLoss wants logits')],
    ids='unmarked time_first mixes_batch label own_loss no_rows odd_rows parks spare fixed_size few_columns splitter '
        'wrong_loss'.split())
def test_a_broken_arch_is_named(make, says):
    res = check_arch(make())
    assert not res.passed
    assert any(says in o for o in res.problems), res

def test_what_cannot_be_saved_is_said_at_once():
    res = check_arch(crnn_small, arch_args=dict(n_hidden=nn.GELU))
    assert not res.passed and 'n_hidden is GELU' in str(res)

def test_a_function_within_a_function_is_named():
    @captcha_arch(Recipe(4, 1e-3), rows=('head',))
    def inner(vocab, size, channels=1, width=None): return Net(channels, len(vocab))
    assert 'at the top of a module' in str(check_arch(inner))

def test_the_check_leaves_the_random_numbers_alone():
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    assert check_arch(arch(Net)).passed
    assert torch.equal(torch.rand(3), want)
