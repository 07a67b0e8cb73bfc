"What a rule allows, against Python's own `re`, and against every text there is"
import re
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st

from captcha_fastai.core import CaptchaError, Vocab, parse_length
from captcha_fastai.patterns import pattern_table
from captcha_fastai.rules import Constraint
from captcha_fastai.search import position_decode, prefix_beam_decode

def cases(n): return settings(max_examples=n, deadline=None, derandomize=True)
def vocab_of(V): return Vocab('abcd'[:V-1])

def padded(texts, width=None):
    "Tuples of ids as one tensor `(n, width)`"
    width = width or max(map(len, texts))
    return torch.tensor([[*o, *[0]*(width-len(o))] for o in texts], dtype=torch.int64).view(len(texts), -1)

def pieces(chars):
    "Patterns over `chars`"
    some = st.sets(st.sampled_from(chars), min_size=1).map(lambda o: f"[{''.join(sorted(o))}]")
    atom = st.one_of(st.sampled_from(chars), st.just('.'), some, st.just(f'[{chars[0]}-{chars[-1]}]'))
    times = st.sampled_from(['', '?', '*', '+', '{2}', '{1,2}', '{0,1}', '{2,}', '{,2}'])
    def grow(o):
        either = st.tuples(o, o).map('|'.join).map(lambda p: f'({p})')
        return st.one_of(st.tuples(o, o).map(''.join), either, st.tuples(o, times).map(lambda p: f'({p[0]}){p[1]}'))
    return st.recursive(st.tuples(atom, times).map(''.join), grow, max_leaves=4)

@st.composite
def rules(draw, V, longest):
    "A constraint over `V` classes and the same said in Python; None where nothing can satisfy it"
    vocab, kw, tests = vocab_of(V), {}, []
    kinds = draw(st.sets(st.sampled_from(['length', 'chars', 'pattern', 'lexicon']), min_size=1, max_size=3))
    if 'length' in kinds:
        lo = draw(st.integers(0, longest))
        hi = draw(st.one_of(st.just(lo), st.integers(lo, longest+1), st.none()))
        kw['length'] = lo if lo == hi else (lo, hi)
        tests.append(lambda t: lo <= len(t) and (hi is None or len(t) <= hi))
    if 'chars' in kinds:
        kw['chars'] = chars = ''.join(draw(st.lists(st.sampled_from(vocab.chars), min_size=1, unique=True)))
        tests.append(lambda t: set(t) <= set(chars))
    if 'pattern' in kinds:
        kw['pattern'] = pat = draw(pieces(vocab.chars))
        tests.append(lambda t: re.fullmatch(pat, t) is not None)
    if 'lexicon' in kinds:
        kw['lexicon'] = words = draw(st.lists(st.text(vocab.chars, max_size=longest), min_size=1, max_size=8))
        tests.append(lambda t: t in words)
    try: return Constraint(**kw, vocab=vocab), lambda ids: all(f(vocab.decode(ids)) for f in tests)
    except CaptchaError as e:
        assert 'no text can satisfy' in str(e)
        return None, lambda ids: all(f(vocab.decode(ids)) for f in tests)

@cases(400)
@given(st.data())
def test_constraint_allows_what_it_says(data):
    V = data.draw(st.integers(2, 4))
    c, ok = data.draw(rules(V, 4))
    texts = [t for n in range(5) for t in product(range(1, V), repeat=n)]
    want = [ok(t) for t in texts]
    if c is None: return none_of(want)
    auto = c.automaton()
    assert auto.allows(padded(texts, 4)).tolist() == want
    assert [c.allows(vocab_of(V).decode(t)) for t in texts] == want
    assert auto.longest >= max((len(t) for t, w in zip(texts, want) if w), default=0)

def none_of(want): assert not any(want)

@cases(200)
@given(st.data())
def test_options_are_those_that_can_be_finished(data):
    V = data.draw(st.integers(2, 4))
    c, ok = data.draw(rules(V, 4))
    assume(c is not None and c.automaton().longest <= 4)
    auto, room = c.automaton(), data.draw(st.integers(0, 4))
    good = {t for n in range(5) for t in product(range(1, V), repeat=n) if ok(t)}
    for n in range(4):
        for t in product(range(1, V), repeat=n):
            state = torch.tensor(1)
            for i in t: state = auto.table[state, i]
            want = [t in good] + [any(g[:n+1] == t+(i,) and len(g) <= n+room for g in good) for i in range(1, V)]
            assert auto.options(state, room).tolist() == want

@pytest.mark.parametrize('kw,words', [
    (dict(length=-1), 'below 0'),
    (dict(length=(5, 3)), 'run backwards'),
    (dict(length=2.5), 'not 2.5'),
    (dict(length='5'), "not '5'"),
    (dict(length=(1, 2, 3)), 'a length is'),
    (dict(length=True), 'not True'),
    (dict(length=(None, 4)), 'a length is'),
    (dict(chars='ax'), "'x' is not in the vocabulary 'abcd'"),
    (dict(chars=''), 'no character at all'),
    (dict(lexicon=[]), 'lexicon is empty'),
    (dict(lexicon='abc'), 'a list of texts'),
    (dict(lexicon=['ab', 'xy', 'z']), "2 of 3 texts of the lexicon, as 'xy'"),
    (dict(length=3, pattern='a{2}'), 'no text can satisfy Constraint(length=3'),
    (dict(lexicon=['ab'], chars='a'), 'no text can satisfy'),
    (dict(pattern='ab['), "character 3: '['"),
    (dict(pattern='ax'), "character 2: 'x' is not in"),
    (dict(pattern='a{2'), "character 4: '}' is missing"),
    (dict(pattern='a{}'), 'character 3: a number'),
    (dict(pattern='a{3,2}'), 'character 2: {3,2} runs backwards'),
    (dict(pattern='*a'), "character 1: '*' has nothing"),
    (dict(pattern='a)'), "character 2: ')' closes nothing"),
    (dict(pattern='(ab'), "character 4: ')' is missing"),
    (dict(pattern='[c-a]'), 'character 2: the range c-a'),
    (dict(pattern='a]'), "character 2: ']' closes"),
    (dict(pattern='[0-9]'), 'character 1: no character of the vocabulary'),
    (dict(pattern='^a$'), 'character 1: a pattern always'),
    (dict(pattern='a\\'), 'character 3: a backslash'),
    (dict(pattern=r'a\w'), 'character 3: \\w has no meaning'),
    (dict(pattern=r'\d'), 'character 1: the vocabulary'),
    (dict(pattern='a{5000}'), 'more than 100 repeats'),
    (dict(pattern='a'*600), 'character 501: more than 500'),
    (dict(pattern='[^a-d]'), 'character 1: no character'),
    (dict(pattern='[]'), 'character 1: a class holds at least one'),
    (dict(pattern='(a|b)*a(a|b){14}'), 'more than 2000 states'),
])
def test_constraint_errors(kw, words):
    with pytest.raises(CaptchaError) as e: Constraint(**kw, vocab=vocab_of(5))
    assert words in str(e.value) and '\n' not in str(e.value)

def test_constraint_needs_its_vocabulary():
    with pytest.raises(CaptchaError, match='vocab=dls.vocab'): Constraint(chars='ab')
    with pytest.raises(CaptchaError, match='number of classes'): Constraint(length=5).automaton()
    lp, c = torch.zeros(1, 3, 7).log_softmax(-1), Constraint(length=2, vocab=vocab_of(5))
    with pytest.raises(CaptchaError, match="has 7 classes, the constraint's vocabulary 5"):
        prefix_beam_decode(lp, constraint=c)

@cases(150)
@given(st.data())
def test_a_pattern_as_a_table(data):
    V = data.draw(st.integers(2, 4))
    pattern = data.draw(pieces(vocab_of(V).chars))
    table, accept = pattern_table(pattern, vocab_of(V), V)
    assert table.dtype == torch.int64 and table.shape == (len(accept), V)
    assert accept.dtype == torch.bool and not accept[0] and not table[0].any()
    for t in (t for n in range(5) for t in product(range(1, V), repeat=n)):
        state = 1
        for i in t: state = table[state, i]
        assert bool(accept[state]) == (re.fullmatch(pattern, vocab_of(V).decode(t)) is not None)

def test_special_characters_are_written_with_a_backslash():
    vocab = Vocab(r'a1[]-.*\^')
    for text, pat in (('[', r'\['), ('a-]', r'a[\-]\]'), ('-', '[a-]'), ('.*', r'\.\*'), ('\\', r'\\'), ('^', r'[\^]'),
                      ('1', r'\d')):
        assert Constraint(pattern=pat, vocab=vocab).allows(text) and re.fullmatch(pat, text)

def test_large_lexicon():
    rng = np.random.default_rng(0)
    vocab = Vocab('2345678bcdefgmnpwxy')
    words = sorted({''.join(rng.choice(list(vocab.chars), 5)) for _ in range(5000)})
    c = Constraint(lexicon=words, length=5, vocab=vocab)
    lp = torch.randn(8, 25, len(vocab)).log_softmax(-1)
    assert all(o in words for o in vocab.decode_batch(prefix_beam_decode(lp, constraint=c).ids[:, 0]))
    assert all(o in words for o in vocab.decode_batch(position_decode(lp[:, :5], c).ids[:, 0]))

@pytest.mark.parametrize('typed,length', [('5', 5), ('4-6', (4, 6)), ('1', 1), ('5-5', (5, 5)), ('1000', 1000)])
def test_a_length_as_it_is_typed(typed, length): assert parse_length(typed) == length

@pytest.mark.parametrize('typed,words', [
    ('', 'a number or a range like 4-6'), ('five', "not 'five'"), ('4-', "not '4-'"), ('-5', "not '-5'"),
    ('4-5-6', "not '4-5-6'"), ('2.5', "not '2.5'"), ('0', 'at least 1'), ('6-4', 'a range goes upwards'),
    ('1-1001', '1000 characters at most, not 1001'),
])
def test_no_such_length(typed, words):
    with pytest.raises(CaptchaError) as e: parse_length(typed)
    assert words in str(e.value)
