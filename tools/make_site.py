"""Makes the course's web pages from the notebooks as they are stored: nothing is run, and nothing is fetched.

    pip install 'captcha_fastai[site]'     or from a clone: pip install -c constraints.txt '.[site]'
    python tools/make_site.py              writes _site, to be opened at _site/index.html
    python tools/make_site.py --only 05_ctc --out DIR    one notebook, while you work on it

Each notebook becomes a page, and beside it the same as plain markdown (`course/ctc.html`, `course/ctc.html.md`).
A warning of Sphinx or a link that leads nowhere ends the build with an error."""
import argparse
import importlib.util
import json
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from make_readme import _directives, _output, _text
from site_api import entries, markdown_entry, myst_entry, names, only_imports

ROOT = Path(__file__).resolve().parent.parent
KNOWN = {'hide', 'default_exp', 'export', 'exporti', 'slow', 'eval', 'code-fold'}   # what a cell may begin with
NEEDS = ('sphinx', 'myst_nb', 'furo', 'sphinx_copybutton', 'mathjax')

def project_url(name):
    "An address from pyproject.toml"
    text = (ROOT/'pyproject.toml').read_text(encoding='utf-8')
    return re.search(rf'^{name} = "(.*)"$', text, re.M)[1]

def missing():
    "What the build needs and this environment lacks"
    return [o for o in NEEDS if importlib.util.find_spec(o) is None]

def colab_url(fn):
    "Where Colab opens a notebook"
    repo = project_url('Repository').partition('.com/')[2]
    return f'https://colab.research.google.com/github/{repo}/blob/main/{fn.relative_to(ROOT).as_posix()}'

def page_name(fn):
    "`05_ctc.ipynb` is the page `ctc`, as in the addresses that nbdev writes into docstrings"
    return re.sub(r'^\d+[a-z]?_', '', Path(fn).stem)

def chapters():
    "The notebooks by their pages: index, course/..., library/..."
    found = [ROOT/'nbs/index.ipynb', *sorted((ROOT/'nbs').glob('*/*.ipynb'))]
    return {posixpath.normpath(posixpath.join(fn.parent.relative_to(ROOT/'nbs').as_posix(), page_name(fn))): fn
            for fn in found if fn.name[0] not in '._'}

# ---- one notebook as blocks, each a kind and what it holds:
# markdown: text; code: source, outputs, is it folded; imports: source; api: source, is it public;
# entry: what site_api.entries found

def relink(text, fn, suffix):
    "Links to notebooks become links to pages, links to other files of the repository lead to where it is kept"
    def move(m):
        target, hash_, anchor = m[2].partition('#')
        if re.match(r'[a-z]+:', target) or not target: return m[0]
        path = (fn.parent/target).resolve()
        if path.suffix == '.ipynb':
            return f'{m[1]}{posixpath.join(posixpath.dirname(target), page_name(target))}{suffix}{hash_}{anchor})'
        if path.suffix == '.png': return m[0]
        return f"{m[1]}{project_url('Repository')}/blob/main/{path.relative_to(ROOT).as_posix()}{hash_}{anchor})"
    parts = re.split(r'(^```.*?^```$|\$\$.*?\$\$)', text, flags=re.S | re.M)   # every second part is no prose
    parts[::2] = [re.sub(r'(\]\()([^)\s]+)\)', move, _linked(o, fn)) for o in parts[::2]]
    return ''.join(parts)

def _linked(text, fn):
    "Lessons that are only named become links"
    folder = '' if fn.parent.name == 'course' else '../course/' if fn.parent.name == 'library' else 'course/'
    def link(m): return f'[{m[0]}]({folder}{m[1]}.ipynb)' if (ROOT/f'nbs/course/{m[1]}.ipynb').exists() else m[0]
    return re.sub(r'(?<!\[)`(\d\d_\w+)`', link, text)

def is_badge(src): return src.startswith('[![Open in Colab]')

def blocks(fn, suffix):
    "What a page shows of the notebook `fn`, and the text and the exports of its module"
    is_lesson, shown, module, exports = fn.parent.name == 'course', [], [], []
    for i, cell in enumerate(json.loads(fn.read_text(encoding='utf-8'))['cells']):
        found, src = _directives(_text(cell['source']))
        if unknown := set(found) - KNOWN: raise ValueError(f'{fn.name}, cell {i}: unknown directive {unknown.pop()}')
        if 'hide' in found or 'default_exp' in found: continue
        if cell['cell_type'] == 'markdown':
            src = relink(src.strip('\n'), fn, suffix)
            if is_badge(src): continue
            (module if is_lesson and 'export' in found else shown).append(('markdown', src))
        elif 'export' in found or 'exporti' in found:
            exports.append(src)
            if is_lesson and only_imports(src): shown.append(('imports', src))
            elif is_lesson: shown.append(('code', src, cell['outputs'], False))
            elif names(src): shown.append(('api', src, 'export' in found))
        elif src: shown.append(('code', src, cell['outputs'], 'code-fold' in found))
    if is_lesson and module:
        public = [o for src in exports for o in entries(src)]
        name = _module_name(fn)
        shown += [('markdown', f'## Module `{name}`'), *module, *[('entry', o) for o in public]]
    return shown

def _module_name(fn):
    text = fn.read_text(encoding='utf-8')
    return 'captcha_fastai.' + re.search(r'"#\| default_exp (\w+)', text)[1]

# ---- a page for Sphinx

def _md(text): return dict(cell_type='markdown', metadata={}, source=text)

def _code(src, outputs, folded):
    meta = dict(mystnb=dict(image=dict(alt='What the code above draws')))
    if folded: meta['tags'] = ['hide-input']
    return dict(cell_type='code', metadata=meta, source=src, outputs=_cleaned(outputs), execution_count=None)

def _folded(title, src):
    return f'<details class="source"><summary>{title}</summary>\n\n```python\n{src}\n```\n\n</details>'

def _cleaned(outputs):
    "Outputs without pandas' own style of tables, which the page has"
    res = json.loads(json.dumps(outputs))
    for data in (o.get('data', {}) for o in res):
        if 'text/html' in data:
            html = re.sub(r'<style scoped>.*?</style>', '', _text(data['text/html']), flags=re.S)
            data['text/html'] = html.replace(' border="1"', '')
    return res

def _links(fn):
    "What stands below the title of a lesson or a chapter"
    repo, path = project_url('Repository'), fn.relative_to(ROOT).as_posix()
    if fn.parent.name == 'nbs':
        return f'<p class="page-links"><a href="course/first_reader.html">Begin</a> <a href="{repo}">Repository</a></p>'
    if fn.parent.name == 'course': res = [f'<a href="{colab_url(fn)}">Open in Colab</a>']
    else: res = [f'<code>{_module_name(fn)}</code>']
    res.append(f'<a href="{repo}/blob/main/{path}">Notebook</a>')
    res.append(f'<a href="{page_name(fn)}.html.md">Markdown</a>')
    return f'<p class="page-links">{" ".join(res)}</p>'

def sphinx_page(fn):
    "A notebook as Sphinx reads it"
    cells, seen = [], set()
    def entry(e):
        again = e.name in seen
        seen.add(e.name)
        return _md(myst_entry(e, _module_name(fn), again))
    for kind, *o in blocks(fn, '.ipynb'):
        if kind == 'markdown': cells.append(_md(o[0]))
        elif kind == 'entry': cells.append(entry(o[0]))
        elif kind == 'imports': cells.append(_md(_folded('Imports', o[0])))
        elif kind == 'code': cells.append(_code(*o))
        else:
            src, public = o
            if public: cells += map(entry, entries(src))
            called = ', '.join(f'<code>{n}</code>' for n in names(src))
            cells.append(_md(_folded(f'Source of {called}', src)))
    cells.insert(1, _md(_links(fn)))
    about = dict(name='python', pygments_lexer='ipython3')
    meta = dict(kernelspec=dict(display_name='python3', language='python', name='python3'), language_info=about)
    return json.dumps(dict(cells=cells, metadata=meta, nbformat=4, nbformat_minor=4))

def heading(fn):
    "A notebook's title, and the line that says its idea"
    text = _text(json.loads(fn.read_text(encoding='utf-8'))['cells'][0]['source'])
    return re.search(r'^# (.*)', text, re.M)[1], re.search(r'^> (.*)', text, re.M)[1]

def _toc(pages, caption=None):
    head = ':hidden:' + (f'\n:caption: {caption}' if caption else '')
    return '```{toctree}\n' + head + '\n\n' + '\n'.join(pages) + '\n```\n'

def write_sources(src, pages):
    "All that Sphinx reads, in the folder `src`"
    for page, fn in pages.items():
        (src/page).parent.mkdir(parents=True, exist_ok=True)
        (src/f'{page}.ipynb').write_text(sphinx_page(fn), encoding='utf-8')
    lessons = [f'{int(fn.name[:2])} {heading(fn)[0]} <{o}>' for o, fn in pages.items() if o.startswith('course/')]
    chapters = {o: heading(fn) for o, fn in pages.items() if o.startswith('library/')}
    rows = [f'| [{title}]({posixpath.basename(o)}.ipynb) | {idea} |' for o, (title, idea) in chapters.items()]
    library = ['# The library', 'What you would rather not read in a lesson, a chapter for each module, by name.',
               '\n'.join(['| chapter | its idea |', '|---|---|', *rows]), _toc(map(posixpath.basename, chapters))]
    (src/'library').mkdir(exist_ok=True)
    (src/'library/index.md').write_text('\n\n'.join(library), encoding='utf-8')
    index = json.loads((src/'index.ipynb').read_text(encoding='utf-8'))
    index['cells'].append(_md(_toc(lessons, 'The course')))
    index['cells'].append(_md(_toc(['The chapters <library/index>', 'All names <genindex>'], 'The library')))
    (src/'index.ipynb').write_text(json.dumps(index), encoding='utf-8')
    shutil.copytree(ROOT/'nbs/images', src/'images')
    shutil.copy2(ROOT/'tools/site/conf.py', src)
    (src/'_static').mkdir()
    shutil.copy2(ROOT/'tools/site/site.css', src/'_static')
    copy_mathjax(src/'_static/mathjax')

def copy_mathjax(dest):
    "MathJax and its fonts, from the package that brings them"
    spec = importlib.util.find_spec('mathjax')
    es5 = Path(spec.submodule_search_locations[0])/'static/mathjax/es5'
    shutil.copytree(es5/'output/chtml/fonts/woff-v2', dest/'output/chtml/fonts/woff-v2')
    shutil.copy2(es5/'tex-chtml.js', dest)

# ---- the same as plain markdown

def markdown_page(fn):
    "A notebook as markdown that needs no browser; pictures are left out"
    res = []
    for kind, *o in blocks(fn, '.html.md'):
        if kind == 'markdown': res.append(o[0])
        elif kind == 'entry': res.append(markdown_entry(o[0]))
        elif kind == 'imports': res.append(f'```python\n{o[0]}\n```')
        elif kind == 'code': res += [f'```python\n{o[0]}\n```', *map(_output, o[1])]
        elif o[1]: res += map(markdown_entry, entries(o[0]))
    return '\n\n'.join(o for o in res if o) + '\n'

# ---- links

class _Page(HTMLParser):
    "The links, pictures and anchors of a page"
    def __init__(self, text):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[o] for o in ('id', 'name') if attrs.get(o)}
        self.links += [attrs[o] for o in ('href', 'src') if attrs.get(o)]

def broken_links(out):
    "Links of the pages in `out` that lead to no file or no anchor there, as lines `page: link`"
    pages = {fn: _Page(fn.read_text(encoding='utf-8')) for fn in sorted(out.rglob('*.html'))}
    res = []
    for fn, page in pages.items():
        for link in sorted(set(page.links)):
            if re.match(r'[a-z]+:|//', link): continue
            path, _, anchor = unquote(link).partition('#')
            to = (fn.parent/path.partition('?')[0]).resolve() if path else fn
            if not to.exists(): res.append(f'{fn.relative_to(out)}: {link}')
            elif anchor and to in pages and anchor not in pages[to].ids: res.append(f'{fn.relative_to(out)}: {link}')
    return res

def make_site(out, only=()):
    "The site in the folder `out`, which is replaced; `only` names notebooks, for a part of it"
    out, pages = Path(out).resolve(), chapters()
    if only:
        pages = {o: fn for o, fn in pages.items() if fn.stem in ('index', *only)}
        if lost := set(only) - {fn.stem for fn in pages.values()}: raise ValueError(f'no notebook {lost.pop()}')
    if out.exists() and not (out/'index.html').exists() and any(out.iterdir()):
        raise ValueError(f'{out} is no site: give an empty folder, or one that is not there yet')
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as tmp:
        src = Path(tmp)/'site'
        src.mkdir()
        write_sources(src, pages)
        strict = ['-D', 'suppress_warnings=myst.xref_missing'] if only else ['-W', '--keep-going']
        cmd = [sys.executable, '-m', 'sphinx', '-q', '-E', *strict, '-b', 'html', '-d', f'{tmp}/doctrees', src, out]
        if subprocess.run([str(o) for o in cmd]).returncode: raise ValueError('Sphinx found what is said above')
    for page, fn in pages.items(): (out/f'{page}.html.md').write_text(markdown_page(fn), encoding='utf-8')
    shutil.copy2(ROOT/'nbs/llms.txt', out)
    (out/'.nojekyll').touch()
    if (found := broken_links(out)) and not only: raise ValueError('\n'.join(['links that lead nowhere:', *found]))
    return out

def main():
    p = argparse.ArgumentParser(description='Make the web pages of the course')
    p.add_argument('--out', default=ROOT/'_site', type=Path, metavar='DIR', help='where to (default: _site)')
    p.add_argument('--only', nargs='+', default=[], metavar='NAME', help='only these notebooks, for a look')
    p.add_argument('--requirements', action='store_true', help='print what the build needs, and make nothing')
    args = p.parse_args()
    if args.requirements:
        settings = (ROOT/'settings.ini').read_text(encoding='utf-8')
        print(re.search('^site_requirements = (.*)$', settings, re.M)[1])
        return
    if lost := missing(): sys.exit(f"make_site: {', '.join(lost)} missing: pip install -c constraints.txt '.[site]'")
    try: print(f'{make_site(args.out, args.only)}/index.html')
    except (ValueError, OSError) as e: sys.exit(f'make_site: {e}')

if __name__ == '__main__': main()
