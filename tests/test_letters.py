"What a reading says of its letters: for each kind of model, under constraints, in the commands, after a stop"
import json
import math
from itertools import product

import pytest
import torch
from PIL import Image

from conftest import inside
from captcha_fastai.archs import ModelSpec, own_archs
from captcha_fastai.core import Vocab
from captcha_fastai.letters import best_texts, letter_probs, swap_scores
from captcha_fastai.losses import CharLoss, CTCLoss
from captcha_fastai.reader import Reader
from captcha_fastai.rules import Constraint
from captcha_fastai.synth import save_captchas

VOCAB = Vocab('2m4')

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('letters')/'drawn'
    save_captchas(6, folder, seed=1)
    return folder

def untrained(arch, size=(50, 200)):
    torch.manual_seed(0)
    spec = ModelSpec(arch, Vocab('2345mnwx'), size, width=5)
    return Reader(spec.model(), spec, device='cpu')

@pytest.mark.parametrize('arch', list(own_archs))
def test_every_arch_tells_of_its_letters(arch, drawn):
    "Even one that has learnt nothing: each letter's shares add up to at most 1, spans go from left to right inside"
    reader, files = untrained(arch), sorted(drawn.iterdir())[:2]
    rule = reader.constraint(length=4)
    plain, close = reader.read(files, constraint=rule), reader.read(files, constraint=rule, details=True)
    for a, b in zip(plain, close):
        assert a.text == b.text and a.confidence == pytest.approx(b.confidence, rel=1e-3)
        assert a.chars is None and ''.join(c.char for c in b.chars) == b.text
        for c in b.chars:
            assert 0 < c.confidence <= 1 and c.confidence+sum(p for _, p in c.others) <= 1+1e-5
        edges = [e for c in b.chars for e in c.span]
        assert edges == sorted(edges) and 0 <= edges[0] and edges[-1] <= 200
        texts = [t for t, _ in b.n_best]
        assert b.text in texts and len(set(texts)) == len(texts) == 5 and {len(t) for t in texts} == {4}
        assert [p for _, p in b.n_best] == sorted((p for _, p in b.n_best), reverse=True)

def allowed(rule, text):
    "Does the rule, if there is one, allow these ids?"
    return rule is None or bool(rule.automaton(4).allows(torch.tensor([text], dtype=torch.int64).view(1, -1)))

def paths(lp):
    "Each text of at most T letters, and its probability, by listing all paths"
    T, V = lp.shape
    res = {}
    for p in product(range(V), repeat=T):
        text = tuple(c for i, c in enumerate(p) if c and (not i or p[i-1] != c))
        res[text] = res.get(text, 0)+math.exp(sum(lp[t, c].item() for t, c in enumerate(p)))
    return res

@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('rule', [None, Constraint(length=2), Constraint(pattern='[2m]{1,2}4?', vocab=VOCAB)])
def test_ctc_letters_and_texts_are_exact(seed, rule):
    torch.manual_seed(seed)
    lp = torch.randn(1, 4, 4).log_softmax(-1)
    each = {t: p for t, p in paths(lp[0]).items() if allowed(rule, t)}
    best = sorted(each, key=each.get, reverse=True)
    found = best_texts(None, CTCLoss(), None, lp, 3, rule)[0]
    assert found.texts == best[:3]
    assert [math.exp(o) for o in found.log_probs] == pytest.approx([each[t] for t in best[:3]], rel=1e-4)
    text = next(t for t in best if t)
    ids = torch.tensor([text])
    got = letter_probs(swap_scores(None, CTCLoss(), None, lp, ids), ids, rule)[0]
    for i in range(len(text)):
        want = torch.tensor([0.]+[each.get(text[:i]+(c,)+text[i+1:], 0.) for c in (1, 2, 3)])
        assert torch.allclose(got[i].float(), want/want.sum(), atol=1e-4)

@pytest.mark.parametrize('seed', range(4))
def test_texts_by_position_are_exact(seed):
    torch.manual_seed(seed)
    lp = torch.randn(1, 3, 4).log_softmax(-1)
    def score(t): return sum(lp[0, i, t[i] if i < len(t) else 0].item() for i in range(3))
    every = sorted((t for k in range(4) for t in product((1, 2, 3), repeat=k)), key=score, reverse=True)
    for rule in (None, Constraint(length=2), Constraint(lexicon=['2m', '4', '442'], vocab=VOCAB)):
        good = [t for t in every if allowed(rule, t)]
        assert best_texts(None, CharLoss(), None, lp, 5, rule)[0].texts == good[:5]

def test_spans_are_of_the_picture_as_given(drawn):
    reader, file = Reader.load('pretrained', device='cpu'), sorted(drawn.iterdir())[0]
    im = Image.open(file)
    small = reader.read(im, details=True)[0]
    large = reader.read(im.resize((im.width*3, im.height*3), Image.BILINEAR), details=True)[0]
    if small.text != large.text: pytest.skip('read otherwise when enlarged')
    for a, b in zip(small.chars, large.chars): assert b.span[0]/3 == pytest.approx(a.span[0], abs=8)

def test_command_tells_details(drawn, tmp_path):
    res = inside('captcha_read', 'pretrained', drawn, '--details', '--csv', tmp_path/'read.csv')
    rows = [json.loads(o) for o in res.stdout.splitlines()]
    assert res.returncode == 0 and len(rows) == 6, res.stderr
    assert list(rows[0]) == ['file', 'text', 'confidence', 'chars', 'n_best', 'error']
    assert list(rows[0]['chars'][0]) == ['char', 'confidence', 'others', 'span']
    for o in rows: assert ''.join(c['char'] for c in o['chars']) == o['text']
    (drawn.parent/'broken.png').write_bytes(b'no picture')
    res = inside('captcha_read', 'pretrained', drawn, drawn.parent/'broken.png', '--details')
    bad = json.loads(res.stdout.splitlines()[-1])
    assert res.returncode == 1 and 'broken.png' in bad['error'] and bad['chars'] == bad['n_best'] == []

def test_unsure_letters_are_marked(drawn):
    plain = inside('captcha_read', 'pretrained', drawn).stdout.splitlines()
    marked = inside('captcha_read', 'pretrained', drawn, '--letter-confidence', '1').stdout.splitlines()
    for a, b in zip(plain, marked):
        a, b = a.split('\t')[1], b.split('\t')[1]
        assert len(a) == len(b) and '?' in b
    res = inside('captcha_read', 'pretrained', drawn, '--letter-confidence', '2')
    assert res.returncode == 2 and '--letter-confidence is a probability' in res.stderr

def test_kept_readings_keep_their_letters(drawn, tmp_path):
    from captcha_fastai.bulk import read_resumable
    reader, files, kept = Reader.load('pretrained', device='cpu'), sorted(drawn.iterdir()), tmp_path/'kept.jsonl'
    first = list(read_resumable(reader, files, kept, details=True))
    def nothing_left(todo, **kwargs):
        assert todo == []
        return []
    reader.read = nothing_left
    again = list(read_resumable(reader, files, kept, details=True))
    assert [(o.text, o.chars, o.n_best) for o in first] == [(o.text, o.chars, o.n_best) for o in again]

def test_a_text_that_did_not_end():
    "A transformer that writes on to its last step has one character more than it was made for"
    reader = untrained('captcha_transformer')
    with torch.no_grad(): reader.model.scores[-1].bias[0] = -9   # it never says the end
    picture = torch.rand(50, 200, generator=torch.Generator().manual_seed(0)).mul(255).byte().numpy()
    plain, close = reader.read(picture)[0], reader.read(picture, details=True)[0]
    assert len(plain.text) == 6 and close.text == plain.text
    assert ''.join(o.char for o in close.chars) == close.text
    assert all(0 <= o.confidence <= 1 and 0 <= o.span[0] <= o.span[1] <= 200 for o in close.chars)
