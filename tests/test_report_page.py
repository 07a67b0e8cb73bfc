"The page that captcha_eval --report writes: whole, alone, true to the table, for each kind of reader and data"
import csv
import json
import re
from html.parser import HTMLParser

import pytest

from conftest import inside
from captcha_fastai.core import CaptchaError
from captcha_fastai.reader import Reader, Reading
from captcha_fastai.report import score_reader
from captcha_fastai.report_page import write_report
from captcha_fastai.synth import save_captchas

VOID = {'meta', 'img', 'br', 'input'}

class Outline(HTMLParser):
    "Checks that tags close in order, and keeps the pictures and the text"
    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.words = [], [], []
        self.feed(text)
        assert self.open == [], f'not closed: {self.open}'
    def handle_starttag(self, tag, attrs):
        if tag == 'img': self.images.append(dict(attrs))
        if tag not in VOID: self.open.append(tag)
    def handle_endtag(self, tag): assert self.open.pop() == tag
    def handle_data(self, data): self.words.append(data)

@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp('report')/'drawn'
    save_captchas(24, folder, seed=5, style='wavy', length=(4, 5))
    (folder/'abc_<b>.png').write_bytes(b'no picture')
    return folder

def test_command_writes_a_page_that_stands_alone(drawn, tmp_path):
    out = tmp_path/'report.html'
    res = inside('captcha_eval', 'pretrained', drawn, '--report', out, '--csv', tmp_path/'read.csv')
    figures = json.loads(res.stdout.splitlines()[-1])
    assert res.returncode == 1, res.stderr   # one picture can't be opened
    text = out.read_text(encoding='utf-8')
    page = Outline(text)
    assert not re.search(r'(src|href)="(?!data:)', text) and '<script' not in text and str(drawn.parent) not in text
    assert all(o['alt'] for o in page.images) and '<html lang="en">' in text
    assert 'abc_&lt;b&gt;.png' in text and '<b>.png' not in text
    words = ' '.join(page.words)
    rows = list(csv.DictReader((tmp_path/'read.csv').open()))
    wrong = [o for o in rows if o['text'] != o['label'] and 'abc_' not in o['file']]
    assert f"{figures['n']-len(wrong)} of {figures['n']} pictures" in words
    assert f"{figures['captcha_accuracy']:.1%}"[:-1] in words
    assert text.count('class="card"') == min(24, len(wrong)) > 0
    again = inside('captcha_eval', 'pretrained', drawn, '--report', out)
    assert again.returncode == 2 and 'exists already' in again.stderr and '--report' in again.stderr

def test_no_errors_declined_and_case(tmp_path):
    save_captchas(3, tmp_path/'drawn', seed=1)
    files = sorted((tmp_path/'drawn').iterdir())
    texts = [f.name.split('_')[0] for f in files]
    right = [Reading(t, .9, f) for t, f in zip(texts, files)]
    text = write_report(right, texts, tmp_path/'a.html', data=tmp_path/'drawn').read_text()
    assert '<h2>Errors</h2><p>None.</p>' in text and '100.0 %' in text and 'Which character' not in text
    upper = [Reading(t.upper(), .9, f) for t, f in zip(texts, files)]
    assert '100.0 %' in write_report(upper, texts, tmp_path/'b.html', ignore_case=True).read_text()
    some = [Reading('', .2, files[0], declined='x'), *right[1:]]
    text = write_report(some, texts, tmp_path/'c.html').read_text()
    assert '1 declined' in text and '2 answered, 100.0 % of them right' in text
    with pytest.raises(CaptchaError, match='no reading to report on'):
        write_report([Reading('', 0., files[0], error='broken')], texts[:1], tmp_path/'d.html')

def test_many_pictures_make_a_small_page(drawn, tmp_path):
    "Of any number of errors the surest are shown; the page of a thousand readings stays below two megabytes"
    files = [f for f in sorted(drawn.glob('*.png')) if '<b>' not in f.name][:20]*50
    readings = [Reading('wrong', .5+i/5000, f) for i, f in enumerate(files)]
    out = write_report(readings, ['right']*1000, tmp_path/'report.html')
    Outline(out.read_text())
    assert out.read_text().count('class="card"') == 24 and out.stat().st_size < 2e6

def test_a_rule_holds_for_the_letters_too(drawn, tmp_path):
    reader = Reader.load('pretrained', device='cpu')
    rule = reader.constraint(length=4)
    _, readings, texts = score_reader(reader, drawn, constraint=rule)
    text = write_report(readings, texts, tmp_path/'r.html', reader, drawn, constraint=rule).read_text()
    for row in re.findall(r'<div class="letters">(.*?)</div>', text): assert row.count('<b>') in (0, 4)
