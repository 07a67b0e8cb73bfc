"Each lesson runs with the answers to its exercises, each right below its question; and has what a lesson ends with"
import ast
import json
import os
import re
import subprocess
import sys

import pytest

from conftest import ROOT, changes, contents, none, notebooks, tool

FOLDED = re.compile(r'<details>.*?</details>', re.S)
FENCED = re.compile(r'^```python\n(.*?)^```$', re.S | re.M)

def source(cell): return ''.join(cell['source'])

def answers(cell):
    "The Python that is folded away in a markdown cell"
    if cell['cell_type'] != 'markdown': return []
    return [o for folded in FOLDED.findall(source(cell)) for o in FENCED.findall(folded)]

def with_answers(nb):
    "The notebook, each answer a code cell right behind the cell that it is folded in"
    def more(cell): return [dict(cell_type='code', id=f"{cell['id'][:5]}-{i:02}", metadata={}, outputs=[],
                                 execution_count=None, source=o) for i, o in enumerate(answers(cell))]
    return {**nb, 'cells': [o for cell in nb['cells'] for o in (cell, *more(cell))]}

def load(fn): return json.loads(fn.read_text(encoding='utf-8'))

def lessons():
    "The notebooks that have answers"
    return [fn for fn in notebooks() if any(map(answers, load(fn)['cells']))]

def run(tree, *args):
    return tool('nbdev-test', '--n-workers', 2, '--timing', *args, tree/'nbs'/'course', cwd=tree,
                OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')

def test_lessons_run_with_their_answers(tree, capsys):
    "Here run the notebooks that `test_notebooks` leaves out"
    names = {fn.name for fn in lessons()}
    for fn in (tree/'nbs/course').glob('*.ipynb'):
        if fn.name in names: fn.write_text(json.dumps(with_answers(load(fn))), encoding='utf-8')
        else: fn.unlink()
    before = contents(tree)
    res = run(tree)
    with capsys.disabled(): print(f'\n{res.stdout.strip()}')
    assert res.returncode == 0, f'nbdev-test ended with {res.returncode}:\n{res.stdout}'
    none([o for o in sorted(names) if f'{o}: ' not in res.stdout], 'nbdev-test did not run')
    none(changes(before, contents(tree)), 'running the lessons changed or left files')

def test_a_wrong_answer_is_found(tree):
    def cell(kind, source): return dict(cell_type=kind, id=f'{len(source):08x}', metadata={}, source=source) | (
        dict(outputs=[], execution_count=None) if kind == 'code' else {})
    ask = 'How many?\n\n<details><summary>Answer</summary>\n\n```python\nassert len(three)==N\n```\n\n</details>\n'
    for fn in (tree/'nbs/course').glob('*.ipynb'): fn.unlink()
    for n in (3, 4):
        nb = dict(cells=[cell('code', 'three = [1,2,3]'), cell('markdown', ask.replace('N', str(n)))], metadata={},
                  nbformat=4, nbformat_minor=5)
        (tree/'nbs/course/01_asked.ipynb').write_text(json.dumps(with_answers(nb)), encoding='utf-8')
        res = run(tree)
        assert (res.returncode == 0) == (n == 3), res.stdout
    assert 'AssertionError' in res.stdout

each = pytest.mark.parametrize('fn', lessons(), ids=lambda fn: fn.stem)

@each
def test_questions_and_exercises(fn):
    "Five questions with five answers, two exercises or more, all folded, behind what we saw; answers are Python"
    cells = load(fn)['cells']
    text = '\n\n'.join(source(c) for c in cells if c['cell_type'] == 'markdown')
    assert text.count('<details>') == text.count('</details>') == len(FOLDED.findall(text))
    code = [o for c in cells for o in answers(c)]
    assert len(code) >= 2
    for o in code: ast.parse(o)
    none([line for o in code for line in o.splitlines() if len(line) > 100], 'lines over 100 characters')
    seen, _, asked = text.partition('\n## Questions')
    assert '## What we saw' in seen
    asked, _, _ = asked.partition('\n## ')
    folded = FOLDED.search(asked)
    assert folded, 'the answers to the questions are not folded'
    for part in (asked[:folded.start()], folded[0]):
        assert re.findall(r'^(\d)\. ', part, re.M) == list('12345')

def test_there_are_lessons():
    names = [fn.stem for fn in lessons()]
    assert '01_first_reader' in names and all(fn.parent == ROOT/'nbs/course' for fn in lessons())

def test_lessons_that_ask():
    "None loses its questions and answers unnoticed"
    course = sorted((ROOT/'nbs/course').glob('*.ipynb'))
    assert len(course) >= 16
    none([fn.stem for fn in course if fn not in lessons()], 'these lessons have no answers')

NUMBER = re.compile(r'(?<![\w.])(\d+(?:,\d{3})+|\d+\.\d+|\.\d+|\d+)(?:\s?(%))?')

def numbers(text):
    "The numbers of a text: as written, value, decimals, and whether `%` follows"
    return [(m[0], float(m[1].replace(',', '')), len(m[1].partition('.')[2]), bool(m[2]))
            for m in NUMBER.finditer(text)]

def figures(nb):
    "The decimals and percentages under 'What we saw', links and the sections behind it left aside"
    text = '\n'.join(source(c) for c in nb['cells'] if c['cell_type'] == 'markdown')
    seen = text.partition('## What we saw')[2].partition('\n## ')[0]
    return [o for o in numbers(re.sub(r'\]\([^)]*\)', ']', seen)) if o[2] or o[3]]

def printed(nb):
    "The numbers in stored outputs"
    def texts(o):
        data = o.get('data', {})
        return [o.get('text', ''), *(data[k] for k in ('text/plain', 'text/html') if k in data)]
    found = [''.join(t) for c in nb['cells'] for o in c.get('outputs', []) for t in texts(o)]
    return [n for t in found for n in numbers(re.sub(r'<style.*?</style>|<[^>]*>', ' ', t, flags=re.S))]

def constants(nb):
    "The numbers in code cells, where assertions have theirs; comments and texts don't count"
    code = [source(c) for c in nb['cells'] if c['cell_type'] == 'code']
    trees = [ast.walk(ast.parse(re.sub(r'^[%!].*', '', o, flags=re.M))) for o in code]
    return [o.value for t in trees for o in t if isinstance(o, ast.Constant) and type(o.value) in (int, float)]

def is_shown(figure, outputs, coded):
    "Does an output round to the figure, or a constant equal it? .25 shows 25 % as well"
    _, value, decimals, percent = figure
    def near(x, its_decimals):
        return abs(x-value) <= (.5*10**-decimals if its_decimals >= decimals else 0)+1e-9
    for _, x, n, has_percent in outputs:
        if percent == has_percent and near(x, n): return True
        if percent and not has_percent and near(100*x, n-2): return True
    return any(near(100*x if percent else x, -1) for x in coded)

def unshown(nb):
    outputs, coded = printed(nb), constants(nb)
    return [o[0] for o in figures(nb) if not is_shown(o, outputs, coded)]

with_closing = [fn for fn in notebooks() if any('## What we saw' in source(c) for c in load(fn)['cells'])]

@pytest.mark.parametrize('fn', with_closing, ids=lambda fn: fn.stem)
def test_figures_of_what_we_saw_are_shown(fn):
    "What a lesson sums up stands in an output or an assertion of the same lesson"
    none(unshown(load(fn)), f"{fn.name}: under 'What we saw', but in no output and no code cell")

def test_a_wrong_figure_is_found():
    def nb(seen, out='right  0.8125\nlost 17%', code='assert round(x, 2)==.35  # 0.77'):
        return dict(cells=[dict(cell_type='code', source=code, outputs=[dict(text=out)]),
                           dict(cell_type='markdown', source=f'## What we saw\n\n{seen}\n\n## Questions\n\n.99')])
    for right in ('81 %', '81.2 %', '.81', '0.8125', '17 %', '.35', '35 %', '[a](http://b/1.5)', '12 of 30'):
        assert unshown(nb(right)) == [], right
    for wrong in ('82 %', '81.4 %', '.82', '0.8126', '18 %', '.17', '.36', '77 %', '.99'):
        assert len(unshown(nb(wrong))) == 1, wrong
    fn = ROOT/'nbs/course/03_right.ipynb'
    planted = json.loads(fn.read_text(encoding='utf-8').replace('71.0 %', '72.0 %'))
    assert unshown(planted) == ['72.0 %']

def for_colab(cell): return "if 'google.colab' in sys.modules:" in source(cell)

@pytest.mark.parametrize('fn', sorted((ROOT/'nbs/course').glob('[0-9]*.ipynb')), ids=lambda fn: fn.stem)
def test_each_lesson_opens_in_colab(fn):
    "A badge behind the title, and a first code cell that installs what is needed there, and does nothing elsewhere"
    badge, first = load(fn)['cells'][1:3]
    address = f'https://colab.research.google.com/github/captcha-fastai/captcha_fastai/blob/main/nbs/course/{fn.name}'
    assert re.fullmatch(r'\[!\[Open in Colab\]\(\S+\)\]\((\S+)\)', source(badge))[1] == address
    assert first['cell_type'] == 'code' and for_colab(first) and source(first).startswith('#| hide\n')
    tree = ast.parse(source(first)).body
    assert [type(o) for o in tree] == [ast.Import, ast.If] and [o.name for o in tree[0].names] == ['sys']

def test_on_colab_the_first_cell_clones_and_installs(monkeypatch):
    "With stand-ins for Colab's module, for the commands and for the change of folder"
    done = []
    monkeypatch.setitem(sys.modules, 'google.colab', sys)
    monkeypatch.setattr(subprocess, 'run', lambda command, **kw: done.append(command))
    monkeypatch.setattr(os, 'chdir', done.append)
    exec(source(load(ROOT/'nbs/course/15_tune.ipynb')['cells'][2]), {})
    repo = '/content/captcha_fastai'
    assert done[0].startswith(f'test -d {repo} || git clone -q --depth 1 https://github.com/captcha-fastai/captcha_fastai')
    assert done[0].endswith(f'-m pip install -q "{repo}[tune]"') and done[1] == f'{repo}/nbs/course'

def test_the_one_page_reader_is_a_page_of_plain_pytorch():
    cells = load(ROOT/'nbs/course/16_one_page.ipynb')['cells']
    end = next(i for i, o in enumerate(cells) if source(o).startswith('That was the page.'))
    page = '\n'.join(source(o) for o in cells[:end] if o['cell_type'] == 'code' and not for_colab(o))
    assert 'def train(' in page and 'def ctc_loss(' in page
    assert len(page.splitlines()) <= 150
    found = [o for o in ast.walk(ast.parse(page)) if isinstance(o, (ast.Import, ast.ImportFrom))]
    tops = {n.partition('.')[0] for o in found
            for n in ([o.module] if isinstance(o, ast.ImportFrom) else [a.name for a in o.names])}
    assert tops == {'itertools', 'pathlib', 'numpy', 'torch', 'PIL'}
