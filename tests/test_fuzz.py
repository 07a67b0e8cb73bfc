"What opens files of strangers, fed with damaged ones for a moment; tools/fuzz.py does it for hours"
import importlib.util

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from conftest import ROOT

spec = importlib.util.spec_from_file_location('fuzz', ROOT/'tools'/'fuzz.py')
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)

@st.composite
def changed(draw, seeds):
    "One of the seeds with bytes flipped, put in, taken out, repeated, or cut off"
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        how,n = draw(st.sampled_from(['flip','put','take','repeat','cut'])),draw(st.integers(1, 8))
        if how=='flip' and data: data[min(at, len(data)-1)] ^= draw(st.integers(1, 255))
        elif how=='put':
            odd = st.sampled_from([b'\0'*n, b'\xff'*n, b'9'*n, b'[{"'*n])
            data[at:at] = draw(st.one_of(st.binary(min_size=n, max_size=n), odd))
        elif how=='take': del data[at:at+n]
        elif how=='repeat': data[at:at] = data[at:at+n]*3
        elif draw(st.booleans()): del data[at:]
    return bytes(data)

EXAMPLES = dict(picture=200, description=60, weights=40, table=100, known=150, readings=100, checkpoint=40)

@pytest.mark.parametrize('name', fuzz.TARGETS)
def test_taken_or_refused(name):
    check,seeds = fuzz.TARGETS[name]
    seeds = list(seeds())
    assert len(seeds)>=(15 if name=='picture' else 1)
    for o in seeds: check(o)
    taken = []
    @settings(max_examples=EXAMPLES[name], deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(changed(seeds))
    def try_many(data):
        taken.append(data)
        check(data)
    try_many()
    assert len(set(taken))>EXAMPLES[name]//2

def test_a_fault_is_seen():
    "The check itself: what is no CaptchaError, or has two lines, does not pass"
    from captcha_fastai.core import CaptchaError
    def fails(e):
        def f(): raise e
        return f
    with pytest.raises(ZeroDivisionError): fuzz.refused(fails(ZeroDivisionError()))
    with pytest.raises(AssertionError): fuzz.refused(fails(CaptchaError('')))
    assert fuzz.refused(fails(CaptchaError('a.png: empty'))) is None
