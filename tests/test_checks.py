"Check digits and rules of one's own: tables against sums, searches against every text there is, commands"
import json
import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings, strategies as st

from conftest import inside
from test_letters import paths, untrained
from captcha_fastai.archs import own_archs
from captcha_fastai.checks import CheckDigit, check_table, find_check
from captcha_fastai.core import CaptchaError, Vocab
from captcha_fastai.letters import LOOKED, best_texts
from captcha_fastai.losses import CharLoss, CTCLoss
from captcha_fastai.reader import Reader
from captcha_fastai.rules import Automaton, Constraint
from captcha_fastai.synth import save_captchas

VOCAB = Vocab('012')
THREE = CheckDigit(3, (1, 2), chars='012')

def texts_of(chars, longest): return [''.join(o) for n in range(longest+1) for o in product(chars, repeat=n)]

def ids_of(vocab, texts):
    width = max(1, *map(len, texts))
    return torch.stack([vocab.encode(o, width) for o in texts])

@st.composite
def checks(draw):
    m = draw(st.integers(2, 7))
    how = draw(st.sampled_from(['weights', 'base']))
    kw = dict(base=draw(st.sampled_from([2, 3, 10]))) if how == 'base' else dict(
        weights=tuple(draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))), digit_sum=draw(st.booleans()))
    last = draw(st.sampled_from(['', 'X']))
    return CheckDigit(m, remainder=draw(st.integers(0, m-1)), chars='01X', last=last, **kw)

LETTERS = Vocab('01xXa')
TEXTS = texts_of(LETTERS.chars, 4)
IDS = ids_of(LETTERS, TEXTS)

@settings(max_examples=25, deadline=None, derandomize=True)
@given(checks(), st.integers(1, 5))
def test_tables_say_what_sums_say(check, n):
    "Whether the length is known or not, for characters with values and without, in both cases"
    want = [check(t) for t in TEXTS]
    auto = Automaton(*check_table(check, LETTERS, len(LETTERS)))
    assert auto.allows(IDS).tolist() == want
    fixed = Automaton(*check_table(check, LETTERS, len(LETTERS), n))
    rows = [i for i, t in enumerate(TEXTS) if len(t) == n]   # others the length keeps out
    assert fixed.allows(IDS[rows]).tolist() == [want[i] for i in rows]

@pytest.mark.parametrize('name,text', [('luhn', '4539578763621486'), ('ean', '73513537'), ('isbn10', '080442957x'),
                                       ('mod97-10', '529900T8BM49AURSDO55'), ('mod11-2', '000000012146438X')])
def test_numbers_that_are_in_use(name, text):
    check = find_check(name)
    assert check(text)
    for i, c in enumerate(text):   # one digit that is another one always shows
        for d in '0123456789':
            if c.isdigit() and d != c: assert not check(text[:i]+d+text[i+1:])
    vocab = Vocab(sorted(set(text+'0123456789')))
    rule = Constraint(length=len(text), vocab=vocab, check=name)
    assert rule.allows(text) and rule.automaton().allows(ids_of(vocab, [text]))[0] and not rule.allows(text[1:])

@pytest.mark.parametrize('kw,words', [
    (dict(check='crc'), "no check 'crc'; there are luhn"),
    (dict(check=7), 'a name as'),
    (dict(check='luhn', length=1, chars='1'), 'no text can satisfy'),
    (dict(check='isbn10'), 'tell one length='),
])
def test_checks_that_cannot_be(kw, words):
    with pytest.raises(CaptchaError, match=words): Constraint(vocab=Vocab('0123456789X'), **kw)

def test_a_check_needs_the_characters():
    with pytest.raises(CaptchaError, match='needs to know their ids'): Constraint(check='luhn')
    with pytest.raises(CaptchaError, match='no text can satisfy'): Constraint(vocab=Vocab('abc'), check='luhn')

def log_probs(seed, T=4):
    torch.manual_seed(seed)
    return torch.randn(1, T, 4).log_softmax(-1)

def by_position(lp):
    "Each text and its probability, for a model that answers by position"
    L = len(lp)
    every = [t for k in range(L+1) for t in product((1, 2, 3), repeat=k)]
    return {t: math.exp(sum(lp[i, t[i] if i < len(t) else 0].item() for i in range(L))) for t in every}

@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('loss,each_of', [(CTCLoss(), paths), (CharLoss(), by_position)])
@pytest.mark.parametrize('check', [THREE, lambda t: t in ('', '0', '12', '201') or len(t) == 3])
def test_the_best_text_that_passes_is_found(seed, loss, each_of, check):
    "With its probability among the texts that were not seen to be refused: here all that there are were looked at"
    lp = log_probs(seed)
    each = each_of(lp[0])
    rule = Constraint(length=(0, 3), vocab=VOCAB, check=check)
    loose = {t: p for t, p in each.items() if len(t) <= 3}
    good = {t: p for t, p in loose.items() if check(VOCAB.decode(t))}
    best = sorted(good, key=good.get, reverse=True)
    found = best_texts(None, loss, None, lp, 100, rule)[0]
    assert found.texts[:5] == best[:5]
    left = 1-sum(p for t, p in loose.items() if t not in good)
    want = [good[t]/left for t in best[:5]]
    assert [math.exp(o) for o in found.log_probs[:5]] == pytest.approx(want, rel=1e-3)

@pytest.mark.parametrize('loss', [CTCLoss(), CharLoss()])
def test_confidence_is_never_too_high(loss):
    "Where only some texts were looked at, it is at most the probability given that the check holds"
    for seed in range(6):
        lp = log_probs(seed)
        each = (paths if isinstance(loss, CTCLoss) else by_position)(lp[0])
        rule = Constraint(vocab=VOCAB, check=lambda t: t.endswith('2'))
        good = {t: p for t, p in each.items() if t and t[-1] == 3}
        found = best_texts(None, loss, None, lp, 1, rule)[0]
        assert found.texts[0] == max(good, key=good.get)
        assert good[found.texts[0]] <= math.exp(found.log_probs[0]) <= good[found.texts[0]]/sum(good.values())+1e-6

def test_where_none_of_those_looked_at_passes():
    asked = []
    def never(text): asked.append(text)
    found = best_texts(None, CharLoss(), None, log_probs(0), 1, Constraint(vocab=VOCAB, check=never))[0]
    assert found.texts == [] and len(set(asked)) == LOOKED[1]

def test_functions_are_named_when_they_fail():
    rule = Constraint(vocab=VOCAB, check=lambda t: t[5])
    with pytest.raises(CaptchaError, match='the check failed on'):
        best_texts(None, CTCLoss(), None, log_probs(0), 1, rule)

def test_decoders_refuse_functions():
    with pytest.raises(CaptchaError, match='which no decoder can walk'):
        CTCLoss().search(log_probs(0), Constraint(vocab=VOCAB, check=bool))

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('checks')/'drawn'
    save_captchas(6, folder, seed=1, chars='2345')
    return folder

def by_five(text): return sum(map(int, text))%5 == 0

@pytest.mark.parametrize('arch', list(own_archs))
def test_readers_of_every_arch_keep_to_it(arch, drawn):
    reader, files = untrained(arch), sorted(drawn.iterdir())[:2]
    for check in (CheckDigit(5, (1,)), by_five):
        rule = reader.constraint(length=4, chars='2345', check=check)
        plain, close = reader.read(files, constraint=rule), reader.read(files, constraint=rule, details=True)
        for a, b in zip(plain, close):
            assert by_five(a.text) and len(a.text) == 4 and a.declined is None and 0 < a.confidence <= 1
            assert (a.text, a.confidence) == (b.text, pytest.approx(b.confidence, rel=1e-3))
            assert all(by_five(t) for t, _ in b.n_best) and b.text in dict(b.n_best)
    refused = reader.read(files[:1], constraint=reader.constraint(length=4, check=lambda t: False), details=True)
    loose = reader.read(files, constraint=reader.constraint(length=4))
    for a, b in zip(refused, loose):
        assert (a.text, a.confidence, a.declined, a.chars, a.n_best) == ('', 0., b.text, (), ())
    with pytest.raises(CaptchaError, match='no room for a text|more characters than'):
        reader.read(files, constraint=reader.constraint(length=150, chars='2345', check=CheckDigit(5, (1,))))

def test_a_temperature_holds_for_all_that_is_told(drawn):
    "Text by text and letter by letter, with a rule and without"
    reader, files = Reader.load('pretrained', device='cpu'), sorted(drawn.iterdir())
    reader.temperature = 2.
    for known in ({}, dict(length=5), dict(length=5, chars='2345', check=by_five)):
        rule = reader.constraint(**known)
        for a, b in zip(reader.read(files, constraint=rule), reader.read(files, constraint=rule, details=True)):
            assert a.text == b.text and a.confidence == pytest.approx(b.confidence, rel=1e-3)
            assert dict(b.n_best)[b.text] == pytest.approx(b.confidence, rel=1e-3)
            assert sum(p for _, p in b.n_best) <= 1+1e-4
    cold = Reader.load('pretrained', device='cpu').read(files, details=True)
    for a, b in zip(cold, reader.read(files, details=True)):
        assert all(x.confidence > y.confidence for x, y in zip(a.chars, b.chars) if x.confidence > .6)

def test_commands_take_a_check(drawn, tmp_path, monkeypatch):
    digits = '--chars', '0123456789', '--length', '5'
    res = inside('captcha_read', 'pretrained', drawn, *digits, '--check', 'luhn', '--json')
    rows = [json.loads(o) for o in res.stdout.splitlines()]
    assert res.returncode == 0 and all(find_check('luhn')(o['text']) for o in rows) and len(rows) == 6, res.stderr
    mine = 'def never(text): return False\ndef some(text): return text.startswith(("2", "3"))\n'
    (tmp_path/'mine.py').write_text(mine)
    monkeypatch.chdir(tmp_path)
    res = inside('captcha_read', 'pretrained', drawn, '--check', 'mine:never')
    assert res.returncode == 0 and '6 of 6 declined: --check refuses' in res.stderr
    res = inside('captcha_eval', 'pretrained', drawn, '--check', 'mine:some')
    assert res.returncode == 0 and json.loads(res.stdout.splitlines()[-1])['n'] == 6, res.stderr
