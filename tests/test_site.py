"The web pages: built strictly, from what is stored; addresses, links, folded answers, and what must not be on them"
import json
import re
import subprocess
import sys

import pytest

from conftest import ROOT, none
from test_repository import ONE_MACHINE

sys.path.insert(0, str(ROOT/'tools'))
import make_site as ms   # noqa: E402
from site_api import entries, markdown_entry, myst_entry, names   # noqa: E402

SITE = ms.project_url('Documentation')

@pytest.fixture(scope='session')
def site(tmp_path_factory):
    "The whole site, made by the command"
    missing = ms.missing()
    if missing: pytest.skip(f"needs {', '.join(missing)} (extra `site`): pip install -c constraints.txt '.[site]'")
    out = tmp_path_factory.mktemp('site')/'_site'
    res = subprocess.run([sys.executable, ROOT/'tools/make_site.py', '--out', out], capture_output=True, text=True)
    assert res.returncode == 0, res.stderr
    assert res.stdout == f'{out}/index.html\n'
    return out

@pytest.fixture(scope='session')
def pages(site):
    return {fn.relative_to(site).as_posix(): fn.read_text(encoding='utf-8') for fn in sorted(site.rglob('*.html'))}

def cells(fn): return json.loads(fn.read_text(encoding='utf-8'))['cells']
def prose(fn): return '\n\n'.join(''.join(o['source']) for o in cells(fn) if o['cell_type'] == 'markdown')

@pytest.mark.parametrize('fn', ms.chapters().values(), ids=lambda fn: fn.stem)
def test_what_a_page_is_made_of(fn):
    "Without Sphinx: each notebook can become a page and its markdown; what is folded in a notebook is folded there"
    page = json.loads(ms.sphinx_page(fn))
    assert ms.markdown_page(fn).startswith('# ')
    folded = [o for o in page['cells'] if 'hide-input' in o['metadata'].get('tags', [])]
    assert len(folded) == sum('#| code-fold: true' in ''.join(o['source']) for o in cells(fn))

def test_each_notebook_is_a_page(pages):
    none([o for o in ms.chapters() if f'{o}.html' not in pages], 'no page')
    for name in ('index', 'course/ctc', 'library/core'): assert name in ms.chapters()

def test_no_link_leads_nowhere(site):
    none(ms.broken_links(site), 'links that lead nowhere')

def test_a_link_that_leads_nowhere_is_found(tmp_path):
    (tmp_path/'b.html').write_text('<h1 id="here">B</h1>')
    links = ('b.html', 'b.html#here', '#me', 'https://example.com/x', 'c.html', 'b.html#gone', '#gone')
    page = '<a id="me"></a>' + ''.join(f'<a href="{o}">x</a>' for o in links) + '<img src="d.png">'
    (tmp_path/'a.html').write_text(page)
    assert ms.broken_links(tmp_path) == [f'a.html: {o}' for o in ('#gone', 'b.html#gone', 'c.html', 'd.png')]

def test_every_address_in_docstrings_is_there(site):
    "And every one in llms.txt, which is there itself"
    texts = [fn.read_text(encoding='utf-8') for fn in (ROOT/'captcha_fastai').glob('*.py')]
    llms = (ROOT/'nbs/llms.txt').read_text(encoding='utf-8')
    assert (site/'llms.txt').read_text(encoding='utf-8') == llms
    found = {o for t in [*texts, llms] for o in re.findall(rf'{re.escape(SITE)}/([\w/.-]*\w)', t)}
    assert len(found) > 60 and 'course/crnn.html.md' in found
    none([o for o in sorted(found) if not (site/o).is_file()], 'an address that leads nowhere')
    none([o for o in sorted(found) if not (site/o).read_text(encoding='utf-8').startswith('# ')], 'no markdown')

def test_answers_are_folded(pages):
    "As many as the notebooks have, with their Python in colour"
    for page, fn in ms.chapters().items():
        want = len(re.findall(r'<summary>(?:Answers?|Hint)', prose(fn)))
        folded = re.findall(r'<details>\s*<summary>.*?</details>', pages[f'{page}.html'], re.S)
        assert len(folded) == want, page
        code = len(re.findall(r'^```python', '\n'.join(re.findall('<details>.*?</details>', prose(fn), re.S)), re.M))
        assert sum(o.count('highlight-python') for o in folded) == code, page
    assert pages['course/ctc.html'].count('<details>') >= 3

def test_what_is_hidden_is_not_shown(site, pages):
    "Neither directives nor hidden cells, in pages or markdown"
    texts = {**pages, **{o.relative_to(site).as_posix(): o.read_text(encoding='utf-8') for o in site.rglob('*.md')}}
    for what in ('nbdev_export', 'google.colab', 'set_matplotlib_formats'):
        none([o for o, t in texts.items() if what in t], f'{what} is shown')
    none([o for o, t in texts.items() if re.search(r'^(<span></span>|<span class="\w+">|<p>)?#\|', t, re.M)],
         'directives are shown')

def test_no_paths_of_one_machine(pages):
    found = [f'{o}: {m[0]}' for o, text in pages.items() for m in ONE_MACHINE.finditer(re.sub(r'<[^>]*>', ' ', text))]
    none(found, 'paths that exist on one machine only')

def test_nothing_is_fetched_from_elsewhere(site, pages):
    "Scripts, styles, fonts and pictures are the site's own, those of equations too"
    fetched = re.compile(r'<(?:script|img|iframe|source|link)\b[^>]*?\s(?:src|href)="(?:https?:)?//[^"]*')
    none([f'{o}: {m[0]}' for o, t in pages.items() for m in fetched.finditer(t)], 'fetched from elsewhere')
    with_math = [o for o, fn in ms.chapters().items() if '$$' in prose(fn)]
    assert 'course/ctc' in with_math
    for o in with_math: assert '_static/mathjax/tex-chtml.js' in pages[f'{o}.html'], o
    assert (site/'_static/mathjax/tex-chtml.js').is_file()
    assert list((site/'_static/mathjax/output/chtml/fonts/woff-v2').glob('*.woff'))

def test_lessons_open_in_colab(pages):
    for page, fn in ms.chapters().items():
        if fn.parent.name == 'course': assert f'<a href="{ms.colab_url(fn)}">' in pages[f'{page}.html']

def test_names_of_the_library_are_in_the_index(pages):
    for name in ('ctc_log_prob', 'captcha_learner', 'Reader', 'Reader.read', 'captcha_accuracy'):
        assert f'.{name}"' in pages['genindex.html'], name

def test_indented_code_stays_code(pages):
    "A module's text may begin with it"
    code = re.findall(r'<pre>(.*?)</pre>', pages['library/learner.html'].partition('<h2>')[0], re.S)
    assert re.sub('<[^>]*>', '', code[0]).startswith('dls = CaptchaDataLoaders.from_folder(path)\nlearn = ')

def test_a_directive_that_is_not_known_is_refused(tmp_path):
    fn = tmp_path/'01_odd.ipynb'
    nb = dict(cells=[dict(cell_type='code', source='#| hdie\nx = 1', outputs=[])])
    fn.write_text(json.dumps(nb))
    with pytest.raises(ValueError, match='01_odd.ipynb, cell 0: unknown directive hdie'): ms.blocks(fn, '.ipynb')

def test_a_folder_that_is_no_site_is_left_alone(tmp_path):
    (tmp_path/'mine.txt').write_text('x')
    with pytest.raises(ValueError, match='is no site'): ms.make_site(tmp_path)
    assert (tmp_path/'mine.txt').read_text() == 'x'

def test_links_of_a_notebook_become_links_of_the_site():
    fn = ROOT/'nbs/course/05_ctc.ipynb'
    gone = 'no_such_lesson'
    def moved(text): return ms.relink(text, fn, '.html.md')
    assert moved('[a](06_decode.ipynb#b)') == '[a](decode.html.md#b)'
    assert moved('[c](../library/core.ipynb)') == '[c](../library/core.html.md)'
    assert moved('[a](../../LICENSE)') == f"[a]({ms.project_url('Repository')}/blob/main/LICENSE)"
    assert moved('[a](https://b.c/d.ipynb)') == '[a](https://b.c/d.ipynb)'
    assert moved(f'see `06_decode`, `06_{gone}`') == f'see [`06_decode`](decode.html.md), `06_{gone}`'
    assert moved('```\n[a](06_decode.ipynb)\n```') == '```\n[a](06_decode.ipynb)\n```'

SRC = '''
@patch
def read(
    self:Reader,
    files:list,     # Paths, `n` of them
    *,
    size=(50,200),  # Pixels, height first
)->list:            # `n` texts
    "Read files"
    return []

class Box(NamedTuple):
    "A box"
    x:int       # Pixels from the left
    y:int = 0
    @property
    def area(self)->int: return 0
    def _own(self): pass
    def grow(self, n:int): return n   # not a parameter's

def _hidden(): pass
LIMIT = 3
def command(n:Annotated[int, f'{LIMIT}'], out:option('DIR')=None): pass
'''

def test_what_a_cell_offers():
    "Signatures, and what the comments say"
    found = {o.name: o for o in entries(SRC)}
    assert list(found) == ['Reader.read', 'Box', 'Box.area', 'Box.grow', 'LIMIT', 'command']
    assert names(SRC) == ['read', 'Box', '_hidden', 'LIMIT', 'command']
    read = found['Reader.read']
    assert (read.kind, read.doc) == ('method', 'Read files')
    assert read.sig == '(files: list, *, size=(50, 200)) -> list'
    assert read.params == [('files', 'Paths, `n` of them'), ('size', 'Pixels, height first')]
    assert read.returns == '`n` texts'
    assert found['Box'].params == [('x', 'Pixels from the left')] and found['Box'].sig == '(x, y=0)'
    assert found['Box.area'].kind == 'property' and found['Box.grow'].params == []
    assert found['command'].sig == '(n: int, out=None)' and found['LIMIT'].doc == '`3`'
    assert ':param files: Paths, `n` of them\n' in myst_entry(read, 'm') and 'return []' not in markdown_entry(read)
