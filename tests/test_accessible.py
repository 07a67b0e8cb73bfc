"Who can't see a page, or uses it by keyboard, meets no barrier that axe-core finds: light and dark, desktop and phone"
from importlib.resources import files

import pandas as pd
import pytest

from captcha_fastai.label_errors import contact_sheet
from captcha_fastai.portable import drawn_pictures
from captcha_fastai.reader import Reader
from captcha_fastai.report_page import write_report
from captcha_fastai.synth import save_captchas
from conftest import load_tool, quick_page

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('axe_core_python')
browser = load_tool('browser')
pytestmark = pytest.mark.skipif(browser.chromium() is None,
                                reason='needs Chromium: apt-get install chromium, or name it in CHROMIUM')

PHONE = dict(width=390, height=844, mobile=True)
RULES = '''axe.run(document, { resultTypes: ['violations'] }).then(res => res.violations.map(
  o => `${o.id} (${o.impact}): ${o.help}, as in ${o.nodes[0].html.slice(0, 120)}`))'''

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    "A reader's page, a report and a sheet of suspected labels, served"
    folder = tmp_path_factory.mktemp('site')
    reader = Reader.load('pretrained', device='cpu', half=False)
    quick_page(reader, folder/'page', 6)
    for i,im in enumerate(drawn_pictures(reader.spec, 3, seed=7).values()): im.save(folder/f'{i}.png')
    save_captchas(40, folder/'drawn', seed=5, style='wavy', length=(4, 5))
    pictures = sorted((folder/'drawn').iterdir())
    texts = [o.stem.split('_')[0] for o in pictures]
    readings = reader.read(pictures, details=True)
    write_report(readings, texts, folder/'report.html', data=folder/'drawn', reader=reader)
    found = pd.DataFrame([(o.name, t, t[1:], .98, 'a letter is not there') for o,t in zip(pictures[:3], texts)],
                         columns=['file','text','proposed','confidence','why'])
    contact_sheet(found, folder/'drawn', folder/'sheet.html')
    with browser.Served(folder) as url: yield folder,url

def barriers(b):
    "What axe-core finds in the page that is shown"
    b.eval((files('axe_core_python')/'axe.min.js').read_text(encoding='utf-8')+';1')
    return b.eval(RULES)

def go(b, url):
    b.events.clear()
    b.open(url)

@pytest.mark.parametrize('how', [dict(), dict(dark=True), PHONE, PHONE|dict(dark=True)],
                         ids=['desktop', 'dark', 'phone', 'dark phone'])
def test_no_page_has_a_barrier(site, how):
    folder,url = site
    with browser.Browser(**how) as b:
        for name in ('report.html','sheet.html'):
            go(b, url+name)
            assert barriers(b)==[], name
        go(b, url+'page/')
        b.eval("import('/page/js/page.js').then(o => o.ready).then(() => 1)")
        assert barriers(b)==[], 'before a picture is read'
        for n in (1,3):
            b.choose('#files', *[folder/f'{i}.png' for i in range(n)])
            b.wait(f"document.querySelectorAll('#rows tr').length>={n}")
            assert barriers(b)==[], f'{n} read'

def test_axe_finds_barriers(site):
    "The rules are at work: a picture without a text, and letters that are hardly darker than the paper"
    with browser.Browser() as b:
        go(b, site[1]+'report.html')
        b.eval("document.querySelector('main').innerHTML = '<h1>x</h1><img src=0.png><p style=\"color:#ccc\">pale</p>'")
        assert {o.split()[0] for o in barriers(b)}>={'image-alt','color-contrast'}
