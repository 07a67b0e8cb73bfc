"Each module works outside its notebook: imported alone, in a fresh process, it has every name that its code uses"
import ast
import builtins
import dis
import json
import os
import re
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from conftest import ROOT, load_tool, modules, none

# Runs in a fresh process, which loads the large libraries that every module needs, and then forks once for each module:
# what the modules import of those is theirs, the modules of this package are loaded by nothing else. Each child writes
# one file with what it found.
PROBE = r'''
import importlib, json, os, sys, traceback
out, preload, mods = sys.argv[1], sys.argv[2].split(), sys.argv[3:]
for o in preload: importlib.import_module(o)
assert not [o for o in sys.modules if o.startswith('captcha_fastai')]
for mod in mods:
    if pid := os.fork():
        os.waitpid(pid, 0)
        continue
    stdout, net, res = os.path.join(out, mod + '.stdout'), [], {}
    os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT), 1)
    # making and binding a local socket is left out: urllib3 does that on import, to see whether there is IPv6
    reach = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto', 'socket.sendmsg',
             'urllib.Request')
    sys.addaudithook(lambda event, args: net.append(event) if event in reach else None)
    try:
        m = importlib.import_module(mod)
        lost = [o for o in getattr(m, '__all__', []) if getattr(m, o, None) is None]
        res = dict(file=m.__file__, names=sorted(vars(m)), none=lost)
    except BaseException: res['error'] = traceback.format_exc().splitlines()[-5:]
    sys.stdout.flush()
    with open(stdout) as f: res |= dict(net=net, stdout=f.read())
    with open(os.path.join(out, mod + '.json'), 'w') as f: json.dump(res, f)
    os._exit(0)
'''

@pytest.fixture(scope='session')
def probes(tmp_path_factory):
    "A function from a module to what importing it alone shows; the imports run once, for all tests of this file"
    out = tmp_path_factory.mktemp('probes')
    mods = [mod for mod, _ in modules()] + ['captcha_fastai.all']
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'agg', 'PYTHONPATH': str(ROOT)}
    preload = ('torch torchvision torchvision.transforms.functional pandas matplotlib.pyplot scipy.stats scipy.signal '
               'sklearn.model_selection fastai.vision.all')
    def run(part):
        cmd = [sys.executable, '-c', PROBE, out, preload, *part]
        return subprocess.run(cmd, capture_output=True, text=True, env=env)
    with ThreadPoolExecutor(2) as ex:
        errs = ''.join(o.stderr for o in ex.map(run, [mods[::2], mods[1::2]]))
    def probe(mod):
        assert (out/f'{mod}.json').exists(), f'no answer from the import of {mod}:\n{errs}'
        res = json.loads((out/f'{mod}.json').read_text())
        none(res.get('error'), f'import {mod} fails in a fresh process')
        return res
    return probe

def global_names(code, top=True):
    "Global names that functions inside `code` read, however deep; not those of module level, which the import runs"
    reads = ('LOAD_GLOBAL', 'LOAD_NAME', 'LOAD_FROM_DICT_OR_GLOBALS')
    if not top:
        own = {i.argval for i in dis.get_instructions(code) if i.opname == 'STORE_NAME'}  # names of a class body
        for i in dis.get_instructions(code):
            if i.opname in reads and i.argval not in own: yield i.argval
    for o in code.co_consts:
        if isinstance(o, types.CodeType): yield from global_names(o, False)

def source(mod): return (ROOT/(mod.replace('.', '/') + '.py')).read_text(encoding='utf-8')

ids = [mod.rpartition('.')[2] for mod, _ in modules()]
each = pytest.mark.parametrize('mod', [mod for mod, _ in modules()], ids=ids)

def test_there_are_modules(): assert len(modules()) > 0

def test_missing_names_are_found():
    src = """import os
a = [b for b in ()]
class C:
    x = 1
    y = x
    def f(self): return lambda: [os, len, lost1]
@dec
def g(z=1):
    class D:
        w = z2; v = w
    return z, lost2
"""
    found = set(global_names(compile(src, 'x', 'exec')))
    assert found >= {'lost1', 'lost2', 'z2'}
    assert 'x' not in found and 'w' not in found

@each
def test_import_is_quiet(probes, mod):
    found = probes(mod)
    assert found['file'] == str(ROOT/(mod.replace('.', '/') + '.py'))
    assert found['stdout'] == '', f'importing {mod} prints'
    assert found['net'] == [], f'importing {mod} reaches for the network'

@each
def test_names_are_the_modules_own(probes, mod):
    found = probes(mod)
    used = set(global_names(compile(source(mod), mod, 'exec'))) - {'__annotations__'}  # Python's own, in a class body
    none(sorted(used - set(found['names']) - set(dir(builtins))), f'{mod} uses names that it does not have')

@each
def test_exported_names_are_something(probes, mod):
    found = probes(mod)
    none(found['none'], f'names in __all__ of {mod} that are None or missing')

house = load_tool('house')

def test_a_module_imports_only_from_floors_below():
    none([f'{a} imports {b}' for a, b in house.upward(house.survey(ROOT/'captcha_fastai'))],
         'all.py lists the modules from the ground up, and each imports only from those before it')

def test_upward_imports_and_cycles_are_found(tmp_path):
    "The test above can fail: imports within functions count, and so do those of names of the package itself"
    stars = 'from captcha_fastai.a import *\nfrom captcha_fastai.b import *\nimport captcha_fastai.c\n'
    (tmp_path/'all.py').write_text(stars)
    (tmp_path/'a.py').write_text('def f():\n    from .c import x\n')
    (tmp_path/'b.py').write_text('from .a import f\nfrom captcha_fastai import c\n')
    (tmp_path/'c.py').write_text('"C"\nfrom .b import f\n')
    found = house.survey(tmp_path)
    assert list(found) == ['a', 'b', 'c']
    assert house.upward(found) == [('a', 'c'), ('b', 'c')]
    assert house.floors(found) == {}

def stars(): return re.findall(r'^from captcha_fastai\.(\w+) import \*', source('captcha_fastai.all'), re.M)

def exported(mod):
    "Names in `__all__` of a module"
    for o in ast.parse(source(mod)).body:
        if isinstance(o, ast.Assign) and getattr(o.targets[0], 'id', '') == '__all__':
            return ast.literal_eval(o.value)
    return []

def test_all_lists_every_module():
    assert sorted(stars()) == sorted(mod.partition('.')[2] for mod, _ in modules())

def test_all_brings_everything(probes):
    there = probes('captcha_fastai.all')['names']
    public = [(mod, o) for mod, _ in modules() for o in exported(mod) if not o.startswith('_')]
    none([f'{mod}.{o}' for mod, o in public if o not in there],
         '`from captcha_fastai.all import *` does not bring')

def test_no_name_is_exported_twice():
    seen, twice = {}, []
    for mod, _ in modules():
        for n in exported(mod):
            if n in seen: twice.append(f'{n}: {seen[n]} and {mod}')
            seen[n] = mod
    none(twice, 'the second hides the first in captcha_fastai.all')

def test_all_is_what_a_user_types():
    names = [o for mod, _ in modules() for o in exported(mod)]
    many = f'{len(names)} names are in captcha_fastai.all; export helpers with exporti: {sorted(names)}'
    assert len(names) <= 120, many

# overloads that join fastai's own function of that name; and fastai's own class
JOINED = {'show_batch', 'show_results', 'plot_top_losses', 'Interpretation'}

def test_nothing_shadows_fastai():
    code = '''import warnings
warnings.filterwarnings('ignore')
from fastai.vision.all import *
print(*globals())'''
    res = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    theirs = set(res.stdout.split()) - JOINED
    ours = [o for mod, _ in modules() for o in exported(mod)]
    none(sorted(o for o in ours if o in theirs), 'names of fastai that ours would hide')

def test_import_of_all_says_nothing():
    "No warning either, though fastai's import calls what torch has deprecated"
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONWARNINGS'}
    code = 'from captcha_fastai.all import *'
    res = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, cwd=ROOT)
    assert res.returncode == 0 and not res.stdout and not res.stderr, res.stderr

HEAVY = 'fastai', 'matplotlib', 'pandas', 'torchvision'

@pytest.mark.parametrize('mods,without', [
    ('core files', ('torch', *HEAVY)),
    ('reader bulk crnn transformer classifier', HEAVY),
    ('cli', ('torch', 'numpy', 'PIL', *HEAVY)),
])
def test_reading_stands_on_no_training_code(mods, without):
    "What a reader needs imports neither fastai nor what draws and tabulates; commands import nothing before they run"
    imports = [f'import captcha_fastai.{o}' for o in mods.split()]
    code = '\n'.join(['import sys', *imports, 'print(*sys.modules)'])
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    res = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env)
    assert res.returncode == 0, res.stderr
    none(sorted(set(without) & set(res.stdout.split())), f'imported by {mods}')

def test_every_module_says_what_it_is_for():
    "help() and llms.txt show a module by its docstring: a line for its one idea, and some on how it is used"
    def paragraphs(mod): return (ast.get_docstring(ast.parse(source(mod))) or '').split('\n\n')
    none([mod for mod, _ in modules() if len(paragraphs(mod)) < 3],
         'no exported markdown cell tells what the module is for')
