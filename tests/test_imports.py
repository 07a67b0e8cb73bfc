"Each module works outside its notebook: imported alone, in a fresh process, it has every name that its code uses"
import ast, builtins, dis, json, os, re, subprocess, sys, types
from concurrent.futures import ThreadPoolExecutor
import pytest
from conftest import ROOT, modules, none

# Runs in a fresh process, which loads the large libraries that every module needs, and then forks once for each module: what the modules
# import of those is theirs, the modules of this package are loaded by nothing else. Each child writes one file with what it found.
PROBE = r'''
import importlib, json, os, sys, traceback
out, preload, mods = sys.argv[1], sys.argv[2].split(), sys.argv[3:]
for o in preload: importlib.import_module(o)
assert not [o for o in sys.modules if o.startswith(('captcha_fastai', 'fastai'))]
for mod in mods:
    if pid := os.fork():
        os.waitpid(pid, 0)
        continue
    stdout, net, res = os.path.join(out, mod + '.stdout'), [], {}
    os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT), 1)
    # making and binding a local socket is left out: urllib3 does that on import, to see whether there is IPv6
    reach = ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname', 'socket.sendto', 'socket.sendmsg', 'urllib.Request')
    sys.addaudithook(lambda event, args: net.append(event) if event in reach else None)
    try:
        m = importlib.import_module(mod)
        res = dict(file=m.__file__, names=sorted(vars(m)), none=[o for o in getattr(m, '__all__', []) if getattr(m, o, None) is None])
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
    run = lambda part: subprocess.run([sys.executable, '-c', PROBE, out, 'torch torchvision pandas matplotlib.pyplot', *part], capture_output=True, text=True, env=env)
    with ThreadPoolExecutor(2) as ex: errs = ''.join(o.stderr for o in ex.map(run, [mods[::2], mods[1::2]]))
    def probe(mod):
        assert (out/f'{mod}.json').exists(), f'no answer from the import of {mod}:\n{errs}'
        res = json.loads((out/f'{mod}.json').read_text())
        none(res.get('error'), f'import {mod} fails in a fresh process')
        return res
    return probe

def global_names(code, top=True):
    "Global names that functions inside `code` read, however deep; module level is left out, since the import itself runs that"
    if not top:
        own = {i.argval for i in dis.get_instructions(code) if i.opname == 'STORE_NAME'}  # names of a class body
        for i in dis.get_instructions(code):
            if i.opname in ('LOAD_GLOBAL', 'LOAD_NAME', 'LOAD_FROM_DICT_OR_GLOBALS') and i.argval not in own: yield i.argval
    for o in code.co_consts:
        if isinstance(o, types.CodeType): yield from global_names(o, False)

def source(mod): return (ROOT/(mod.replace('.', '/') + '.py')).read_text(encoding='utf-8')

ids = [mod.rpartition('.')[2] for mod, _ in modules()]
each = pytest.mark.parametrize('mod', [mod for mod, _ in modules()], ids=ids)

def test_there_are_modules(): assert len(modules()) > 0

def test_missing_names_are_found():
    src = 'import os\na = [b for b in ()]\nclass C:\n    x = 1\n    y = x\n    def f(self): return lambda: [os, len, lost1]\n@dec\ndef g(z=1):\n    class D:\n        w = z2; v = w\n    return z, lost2\n'
    assert set(global_names(compile(src, 'x', 'exec'))) - {'os', 'len'} - {'__name__', '__module__', '__qualname__'} >= {'lost1', 'lost2', 'z2'}
    assert 'x' not in global_names(compile(src, 'x', 'exec')) and 'w' not in global_names(compile(src, 'x', 'exec'))

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

def test_imports_only_from_lower_numbers():
    num, wrong = {mod: nb for mod, nb in modules()}, []
    for mod, nb in modules():
        for o in ast.walk(ast.parse(source(mod))):
            if isinstance(o, ast.ImportFrom):
                base = 'captcha_fastai' + (f'.{o.module}' if o.module else '') if o.level else o.module
                froms = [f'{base}.{a.name}' for a in o.names] if base == 'captcha_fastai' else [base]
            elif isinstance(o, ast.Import): froms = [a.name for a in o.names]
            else: continue
            for f in froms:
                if f.startswith('captcha_fastai.') and f != 'captcha_fastai.__version__' and not num.get(f, '~') < nb: wrong.append(f'{nb} imports {f}')
    none(wrong, 'a lesson imports only from lower numbers')

def test_all_brings_everything(probes):
    found = probes('captcha_fastai.all')
    lost = []
    for mod, _ in modules():
        names = [o for o in ast.parse(source(mod)).body if isinstance(o, ast.Assign) and getattr(o.targets[0], 'id', '') == '__all__']
        lost += [f'{mod}.{o}' for n in names for o in ast.literal_eval(n.value) if o not in found['names'] and not o.startswith('_')]
    none(lost, '`from captcha_fastai.all import *` does not bring')

def test_all_names_the_modules_in_order():
    stars = re.findall(r'^from captcha_fastai\.([\w.]+) import \*', source('captcha_fastai.all'), re.M)
    assert stars == [mod.partition('.')[2] for mod, _ in modules()]

def test_no_name_is_exported_twice():
    seen, twice = {}, []
    for mod, _ in modules():
        for o in ast.parse(source(mod)).body:
            if isinstance(o, ast.Assign) and getattr(o.targets[0], 'id', '') == '__all__':
                for n in ast.literal_eval(o.value):
                    if n in seen: twice.append(f'{n}: {seen[n]} and {mod}')
                    seen[n] = mod
    none(twice, 'the second hides the first in captcha_fastai.all')
