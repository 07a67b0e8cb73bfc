"What should not be in the repository is not, and code is written as CONTRIBUTING says"
import re
import subprocess
import sys

from conftest import ROOT, none

# files that may be larger than `limit`, each with its reason
LARGE = {f'captcha_fastai/pretrained/{o}/model.safetensors' for o in ('base', 'crnn_small', 'small')}   # weights
LARGE |= {'captcha_fastai/web/runtime/ort-wasm-simd-threaded.wasm.gz'}   # what runs a graph in a browser
limit = 600_000

ONE_MACHINE = re.compile(r'(?:^|[^A-Za-z0-9_.])/(?:work|tmp|root|farm|opt)/[^"\s]*')
BUILD = {'build', 'dist', '_proc', '_docs', '_site', '__pycache__', '.ipynb_checkpoints', '.pytest_cache',
         '.hypothesis', '.venv', 'venv'}

def test_no_paths_of_one_machine(tracked):
    found = []
    for o in tracked:
        try: text = (ROOT/o).read_text(encoding='utf-8')
        except UnicodeDecodeError: continue
        for i, line in enumerate(text.splitlines(), 1):
            m = ONE_MACHINE.search(line)
            if m: found.append(f'{o}:{i}: {m[0]}')
    none(found, 'paths that exist on one machine only')

def test_no_large_files(tracked):
    sizes = {o: (ROOT/o).stat().st_size for o in tracked if o.as_posix() not in LARGE}
    none([f'{o}: {n} bytes' for o, n in sizes.items() if n > limit], f'more than {limit} bytes')
    none([o for o in LARGE if not (ROOT/o).is_file()], 'listed as large, but gone')

def test_no_build_folders(tracked):
    def is_made(o): return BUILD & set(o.parts[:-1]) or re.search(r'\.egg-info(/|$)|\.py[cod]$', o.as_posix())
    none([o for o in tracked if is_made(o)], 'made by a build, a test or an editor')

def test_no_leftovers(tracked):
    "No editor's backup, no merge conflict, no pickle"
    suffixes = ('.orig', '.rej', '.bak', '.swp', '.pkl', '.pickle', '.pth', '.pt')
    none([o for o in tracked if o.suffix in suffixes or o.name.endswith('~')], 'leftovers')
    marks = re.compile(r'^(<{7} |>{7} )', re.M)
    text = [o for o in tracked if o.suffix in ('.py', '.md', '.ipynb', '.toml', '.ini', '.txt', '.yml', '.in')]
    conflicts = [o for o in text if marks.search((ROOT/o).read_text(encoding='utf-8'))]
    none(conflicts, 'unresolved merge conflicts')

def test_captchas_of_the_data_set_are_not_included(tracked):
    "The data set has no licence: plots may show some of its pictures, its files stay out"
    named = re.compile(r'[2345678bcdefgmnpwxy]{5}(_\d+)?\.(png|jpg|jpeg)')
    none([o for o in tracked if named.fullmatch(o.name)], 'pictures of the data set')

def ruff(*args, cwd=ROOT):
    cmd = [sys.executable, '-m', 'ruff', 'check', '--output-format', 'concise', '--no-cache', *map(str, args)]
    return subprocess.run(cmd, cwd=cwd, capture_output=True, text=True)

def test_code_is_clean():
    "Modules, notebooks, tests, benchmarks and tools, by the rules in pyproject.toml"
    res = ruff('captcha_fastai', 'nbs', 'tests', 'benchmarks', 'tools', 'setup.py')
    none(res.stdout.splitlines() if res.returncode else [], 'ruff check finds')

def test_unclean_code_is_found(tmp_path):
    (tmp_path/'bad.py').write_text('import os, sys\nx = 1' + ' '*130 + '+ 1\n')
    res = ruff('--config', ROOT/'pyproject.toml', tmp_path/'bad.py')
    assert res.returncode == 1
    for rule in ('E401', 'E501', 'F401'): assert rule in res.stdout

def test_no_module_is_too_large():
    "One idea a module; the commands have a limit of their own"
    limits = {'cli': 450}
    files = [p for p in (ROOT/'captcha_fastai').glob('*.py') if p.stem != '_modidx']
    sizes = {p.stem: len(p.read_text(encoding='utf-8').splitlines()) for p in files}
    none([f'{k}: {n} lines' for k, n in sizes.items() if n > limits.get(k, 450)],
         'split it where the second idea begins')

def test_contributing_names_every_test_file():
    "The table of which test belongs where is complete, and names nothing that is gone"
    text = (ROOT/'CONTRIBUTING.md').read_text(encoding='utf-8')
    named = set(re.findall(r'`(test_\w+)`', text))
    there = {p.stem for p in (ROOT/'tests').glob('test_*.py')}
    none(sorted(named ^ there), 'in CONTRIBUTING or among the tests, not in both')

def test_no_lesson_is_called_by_a_name_that_is_gone(tracked):
    "Lessons are called `NN_name`; what is called so is there"
    there = {p.stem for p in (ROOT/'nbs/course').glob('*.ipynb')}
    text = [o for o in tracked if o.suffix in ('.md', '.py') and o.name != 'CHANGELOG.md']
    found = [f'{o}: {m}' for o in text for m in re.findall(r'`(\d\d[a-z]?_\w+)`', (ROOT/o).read_text(encoding='utf-8'))
             if m not in there]
    none(found, 'no lesson has this name')
