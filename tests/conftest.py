"What several tests need: where the repository is, which files belong to it, and a copy of them to work in"
import atexit
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import pytest

from warm import Warm

if 'PYTEST_XDIST_WORKER' in os.environ: os.environ['OMP_NUM_THREADS'] = '1'   # workers share the cores

ROOT = Path(__file__).resolve().parent.parent
WALLS = []   # (bad input, what was said of it), from test_bad_input

def pytest_collection_modifyitems(items):
    "What takes longest begins first, so that no worker waits for it in the end"
    long = {o:i for i,o in enumerate(['test_notebooks','test_commands','test_memory'])}
    items.sort(key=lambda o: long.get(o.path.stem, len(long)))

def pytest_sessionfinish(session):
    "A worker of pytest-xdist hands over what it has collected"
    if 'workeroutput' not in vars(session.config): return
    sayable = [tuple(o.encode('utf-8', 'backslashreplace').decode() for o in wall) for wall in WALLS]
    session.config.workeroutput['walls'] = sayable   # half a character can't be handed over

@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    "What a worker has handed over"
    WALLS.extend(map(tuple, vars(node).get('workeroutput', {}).get('walls', [])))

def pytest_terminal_summary(terminalreporter):
    "The table of bad input that was tried"
    if not WALLS: return
    terminalreporter.section(f'{len(WALLS)} bad inputs, and what was said')
    for what, said in sorted(WALLS):
        terminalreporter.write_line(f'{what:45.45} {said[:150]}'.replace('\0', '?'))

def git(*args):
    "Output of a git command in the repository; a failing command is an error, not a reason to skip"
    return subprocess.run(['git', '-C', str(ROOT), *args], check=True, capture_output=True, text=True).stdout

@pytest.fixture(scope='session')
def tracked():
    "Every file that git tracks, or would track once added, relative to the repository"
    if not (ROOT/'.git').exists():
        pytest.skip('needs a git checkout: which files belong to the project is only known there')
    files = git('ls-files', '-z', '--cached', '--others', '--exclude-standard').split('\0')
    files = sorted({Path(o) for o in files if o and (ROOT/o).is_file()})
    assert Path('pyproject.toml') in files
    return files

@pytest.fixture(scope='session')
def copy_to(tracked):
    "A function that copies the project, without what git ignores, to a folder, and returns that folder"
    def copy(dest):
        for o in tracked:
            (dest/o).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT/o, dest/o)
        return dest
    return copy

@pytest.fixture
def tree(copy_to, tmp_path):
    "A copy of the project to work in"
    return copy_to(tmp_path/'tree')

def contents(folder):
    "Every file in `folder` but compiled Python, with its bytes"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob('*'))
            if p.is_file() and '__pycache__' not in p.parts}

def changes(before, after):
    "What differs between two `contents`, a line each"
    new = sorted(after.keys() - before.keys())
    gone = sorted(before.keys() - after.keys())
    changed = [o for o in sorted(before.keys() & after.keys()) if before[o] != after[o]]
    return [f'new: {o}' for o in new] + [f'gone: {o}' for o in gone] + [f'changed: {o}' for o in changed]

def load_tool(name):
    "A script of `tools/` as a module"
    spec = importlib.util.spec_from_file_location(name, ROOT/f'tools/{name}.py')
    mod = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mod)
    return mod

def none(found, why):
    "Fails with `why` and a line for each thing in `found`, unless nothing was found"
    if found: pytest.fail(f'{why}:\n' + '\n'.join(f'  {o}' for o in found), pytrace=False)

def tool(name, *args, cwd, **env):
    "Runs a command of this Python's environment in `cwd`, free of the user's own nbdev settings"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
    exe = shutil.which(name, path=path)
    assert exe, f"`{name}` is not installed: pip install -e '.[dev]'"
    env = {**os.environ, 'XDG_CONFIG_HOME': str(cwd.parent/'config'), 'MPLBACKEND': 'agg', **env}
    return subprocess.run([exe, *map(str, args)], cwd=cwd, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

def notebooks():
    "The notebooks, course first; like nbdev, without those whose name begins with `_` or `.`"
    found = (ROOT/'nbs').rglob('*.ipynb')
    def is_hidden(p): return any(o[0] == '.' for o in p.relative_to(ROOT).parts)
    return sorted(p for p in found if p.name[0] not in '._' and not is_hidden(p))

def source_notebook(mod):
    "The notebook that exports a module, relative to the repository; `None` for one that no notebook makes"
    text = (ROOT/(mod.replace('.', '/')+'.py')).read_text(encoding='utf-8')
    m = re.search(r'^# AUTOGENERATED! DO NOT EDIT! File to edit: (.+)\.$', text, re.M)
    return m and Path(os.path.normpath(Path('captcha_fastai')/m[1]))

def modules():
    "Every module of the package that a notebook exports, in the order of `all.py`, with its notebook"
    text = (ROOT/'captcha_fastai/all.py').read_text(encoding='utf-8')
    stars = re.findall(r'^(?:from|import) (captcha_fastai\.\w+)', text, re.M)
    made = {f'captcha_fastai.{p.stem}' for p in (ROOT/'captcha_fastai').glob('*.py')}
    made = {o for o in made if source_notebook(o)}
    return [(o, source_notebook(o)) for o in [*(o for o in stars if o in made), *sorted(made-set(stars))]]

# Commands, as users run them

def args_for(name, *args):
    "What runs a command in a process of its own"
    code = f"from captcha_fastai.__main__ import found; found('{name.removeprefix('captcha_')}')()"
    return [sys.executable, '-c', code, *map(str, args)]

ENV = {**os.environ, 'OMP_NUM_THREADS':'1'}

def fresh(name, *args, **kwargs):
    "Run a command in a process of its own; `stdout` or `stderr` may go elsewhere"
    streams = {k:kwargs.pop(k, subprocess.PIPE) for k in ('stdout','stderr')}
    return subprocess.run(args_for(name, *args), **streams | dict(text=True, env=ENV, timeout=300) | kwargs)

@cache
def warm():
    "What `run` forks, begun when it is first wanted"
    res = Warm(ENV)
    atexit.register(res.close)
    return res

def run(name, *args, **kwargs):
    "The same, forked from a process whose imports are done where nothing of how it begins is asked for"
    plain = kwargs.keys()<={'cwd','input','timeout','stdout','stderr'}
    if not plain or not hasattr(os, 'fork'): return fresh(name, *args, **kwargs)
    return warm().run(name, [str(o) for o in args], ENV, **kwargs)

def inside(name, *args):
    "The same in this process, which is sooner"
    from captcha_fastai import cli
    out, err, was = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = [name, *map(str, args)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as e: getattr(cli, name)()
    finally: sys.argv = was
    return subprocess.CompletedProcess(args, e.value.code, out.getvalue(), err.getvalue())

def quick_page(reader, folder, most=24):
    "A reader exported as a page, compared on few pictures"
    from captcha_fastai import portable
    drawn = portable.drawn_pictures
    portable.drawn_pictures = lambda spec, n=24, seed=0: drawn(spec, min(n, most), seed)
    try: return portable.export_reader(reader, folder, log=lambda s: None, page=True)
    finally: portable.drawn_pictures = drawn
