"Library and notebooks agree, and the notebooks are clean"
import json
import re
import pytest
from conftest import ROOT, changes, contents, modules, none, notebooks, tool

# what a leading `#|` line may say here; nbdev says nothing about one that it does not know
KNOWN = {'default_exp', 'export', 'exporti', 'exportd', 'hide', 'eval', 'slow', 'echo', 'output',
         'code-fold', 'label', 'fig-cap', 'fig-alt'}

def cells(fn, kind='code'):
    "Number and source of each cell of a notebook, as one string"
    nb = json.loads(fn.read_text(encoding='utf-8'))
    return [(i, ''.join(o['source'])) for i, o in enumerate(nb['cells']) if o['cell_type'] == kind]

def directive_faults(src):
    "What is wrong with the directives of a code cell"
    res, head = [], True
    for line in src.splitlines():
        m = re.match(r'\s*#\s*\|\s*([\w-]*)', line)
        if head and m:
            if m[1] not in KNOWN: res.append(f'unknown: {line}')
            elif not re.match(r'#\| [\w-]+(:|\s|$)', line): res.append(f'write it as `#| {m[1]}`: {line}')
        elif m: res.append(f'below code, so without effect: {line}')
        elif head and re.match(r'\s*#\s*(default_exp|exporti?|exportd|hide|slow)\b *\w*$', line):
            res.append(f'without its bar: {line}')
        head = head and bool(m or not line.strip())
    return res

@pytest.mark.parametrize('src,n', [
    ('#| export\n#| slow\ndef f(): pass', 0), ('#| eval: false\nx', 0), ('# export all of it to a file\nx', 0),
    ('#| exprot\nx', 1), ('#|export\nx', 1), ('# | hide\nx', 1), ('#| hide`\nx', 1),
    ('# export\nx', 1), ('x\n#| export\n', 1), ('#| hide_input\nx', 1),
])
def test_directive_faults_are_found(src, n): assert len(directive_faults(src)) == n

@pytest.mark.parametrize('fn', notebooks(), ids=lambda o: o.stem)
def test_notebook_is_clean(fn):
    nb = json.loads(fn.read_text(encoding='utf-8'))
    faults = [f'cell {i}: {o}' for i, src in cells(fn) for o in directive_faults(src)]
    for i, cell in enumerate(nb['cells']):
        if cell['cell_type'] != 'code': continue
        if cell.get('execution_count') is not None: faults.append(f'cell {i}: execution count')
        for out in cell['outputs']:
            if out.get('execution_count') is not None: faults.append(f'cell {i}: execution count in an output')
            if out['output_type'] == 'error': faults.append(f"cell {i}: stored error {out['ename']}: {out['evalue']}")
            if out.get('name') == 'stderr': faults.append(f"cell {i}: stored stderr: {''.join(out['text'])[:200]}")
    if nb['metadata'].get('kernelspec', {}).get('name') != 'python3':
        faults.append('metadata: no kernelspec python3, so Jupyter would ask for a kernel')
    none(faults, fn.name)

def test_export_changes_nothing(tree):
    before = contents(tree)
    res = tool('nbdev-export', cwd=tree)
    assert res.returncode == 0, res.stdout
    none(changes(before, contents(tree)), 'library and notebooks differ: run nbdev-export, and commit what it writes')

def test_clean_changes_nothing(tree):
    before = contents(tree)
    res = tool('nbdev-clean', cwd=tree)
    assert res.returncode == 0, res.stdout
    none(changes(before, contents(tree)), 'notebooks are not clean: run nbdev-clean')

def test_every_module_has_its_notebook():
    hand_written = {f'captcha_fastai.{o}' for o in ('__init__','__main__','_modidx','all')}
    made, exporting = dict(modules()), {}
    for fn in notebooks():
        for _, src in cells(fn):
            m = re.match(r'#\| default_exp (\S+)', src)
            if m: exporting['captcha_fastai.' + m[1]] = fn.relative_to(ROOT)
    none([f'{mod}: {nb}' for mod, nb in sorted(made.items() ^ exporting.items())],
         'a module without the notebook it names, or a notebook without its module')
    files = [p.relative_to(ROOT) for p in (ROOT/'captcha_fastai').rglob('*.py')]
    there = {p.with_suffix('').as_posix().replace('/', '.') for p in files}
    none(sorted(there ^ (made.keys() | hand_written)),
         'a module that no notebook exports, or a hand-written one that is gone')

def test_lessons_are_numbered_and_chapters_are_not():
    by_folder = {}
    for folder in ('course', 'library'):
        by_folder[folder] = [fn.stem for fn in notebooks() if fn.parent.name == folder]
    assert [fn.stem for fn in notebooks() if fn.parent.name not in by_folder] == ['index']
    nums = [o.partition('_')[0] for o in by_folder['course']]
    assert all(re.fullmatch(r'\d\d', o) for o in nums), nums
    assert len(nums) == len(set(nums)), nums
    none([o for o in by_folder['library'] if re.match(r'\d', o)], 'chapters of the library have no number')
