"What pip gets: a wheel with the whole library and nothing else, and the metadata that our own files say"
import ast
import configparser
import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from conftest import ROOT, none

try: import tomllib
except ModuleNotFoundError: import tomli as tomllib  # Python 3.10

toml = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))
parser = configparser.ConfigParser(delimiters=['='])
parser.read(ROOT/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

def wanted(kind=''):
    "The requirements of settings.ini, or those of one extra"
    return [Requirement(o) for o in cfg[f'{kind}requirements'].split()]

reqs, dev_reqs, tune_reqs, fonts_reqs = wanted(), wanted('dev_'), wanted('tune_'), wanted('fonts_')
onnx_reqs, serve_reqs, shell_reqs, site_reqs = (wanted(o) for o in ('onnx_','serve_','shell_','site_'))
hub_reqs, parquet_reqs, ray_reqs = wanted('hub_'), wanted('parquet_'), wanted('ray_')
bulk_reqs = hub_reqs+parquet_reqs+ray_reqs
heic_reqs, timm_reqs = wanted('heic_'), wanted('timm_')   # nothing else needs these, so no tested versions of them
extras = dict(dev=dev_reqs+tune_reqs+onnx_reqs+serve_reqs+bulk_reqs+shell_reqs, tune=tune_reqs, onnx=onnx_reqs,
              serve=serve_reqs, fonts=fonts_reqs, heic=heic_reqs, timm=timm_reqs, hub=hub_reqs, parquet=parquet_reqs,
              ray=ray_reqs, shell=shell_reqs, site=site_reqs)
lines = (ROOT/'constraints.txt').read_text(encoding='utf-8').splitlines()
pins = [Requirement(o) for o in lines if o and not o.startswith('#')]

@pytest.fixture(scope='session')
def built(copy_to, tmp_path_factory):
    "The sdist made from a copy of the project, and the wheel made from the unpacked sdist"
    src, out = copy_to(tmp_path_factory.mktemp('src')), tmp_path_factory.mktemp('dist')
    cmd = [sys.executable, '-m', 'build', '--no-isolation', '--outdir', out, src]
    res = subprocess.run(cmd, cwd=out, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert res.returncode == 0, res.stdout
    warned = [o for o in res.stdout.splitlines() if re.search(r'Deprecat|overwritten|SetuptoolsWarning|UserWarning', o)]
    none(warned, 'the build warns')
    return out

@pytest.fixture(scope='session')
def wheel(built):
    with zipfile.ZipFile(next(built.glob('*.whl'))) as z:
        return {o: z.read(o) for o in z.namelist() if not o.endswith('/')}

def info(wheel, name): return next(v for k, v in wheel.items() if k.endswith(f'.dist-info/{name}'))

@pytest.fixture(scope='session')
def meta(wheel): return BytesParser().parsebytes(info(wheel, 'METADATA'))

def version():
    tree = ast.parse((ROOT/'captcha_fastai/__init__.py').read_text(encoding='utf-8'))
    return next(o.value.value for o in tree.body if isinstance(o, ast.Assign) and o.targets[0].id == '__version__')

def test_metadata_from_pyproject(meta):
    proj = toml['project']
    assert meta['Name'] == proj['name']
    assert meta['Summary'] == proj['description']
    assert SpecifierSet(meta['Requires-Python']) == SpecifierSet(proj['requires-python'])
    assert dict(o.split(', ') for o in meta.get_all('Project-URL')) == proj['urls']
    assert meta['Version'] == version()

def test_metadata_from_settings(meta):
    assert meta['Author'] == cfg['author']
    assert meta['Keywords'].split(',') == cfg['keywords'].split()
    assert {'apache2': 'Apache-2.0'}[cfg['license']] == meta['License-Expression']
    classes = meta.get_all('Classifier')
    audiences = [f'Intended Audience :: {o}' for o in cfg['audience'].split()]
    for o in [f'Development Status :: {cfg["status"]} - ', f'Natural Language :: {cfg["language"]}', *audiences]:
        assert any(c.startswith(o) for c in classes), o

def test_requirements(meta):
    got = [Requirement(o) for o in meta.get_all('Requires-Dist')]
    assert {str(o) for o in got if o.marker is None} == {str(o) for o in reqs}
    for name, want in extras.items():
        mine = [o for o in got if o.marker and o.marker.evaluate(dict(extra=name))]
        for o in mine: o.marker = None
        assert {str(o) for o in mine} == {str(o) for o in want}
    assert sorted(meta.get_all('Provides-Extra')) == sorted(extras)

def test_setuptools_bound_is_the_build_systems():
    "The tests build without isolation, so the dev extra asks for the same setuptools"
    assert {str(o) for o in dev_reqs if o.name == 'setuptools'} == set(toml['build-system']['requires'])

def test_constraints_cover_the_requirements():
    by_name = {canonicalize_name(o.name): o for o in pins}
    assert len(by_name) == len(pins)
    for o in reqs + dev_reqs + tune_reqs + serve_reqs + fonts_reqs + bulk_reqs + site_reqs:
        pin = by_name[canonicalize_name(o.name)]
        ver = re.fullmatch(r'==([\d.]+)', str(pin.specifier))
        assert ver, f'{pin} is no exact version'
        assert o.specifier.contains(ver[1]), f'constraints.txt has {pin}, settings.ini wants {o}'

def imported(node):
    "Modules that an import statement names, but for relative ones"
    if isinstance(node, ast.Import): return [o.name for o in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level: return [node.module]
    return []

@pytest.mark.skipif(sys.version_info < (3, 11),
                    reason='packages_distributions knows only some packages before Python 3.11')
def test_every_import_is_a_requirement():
    dists = importlib.metadata.packages_distributions()
    names = {canonicalize_name(o.name) for o in reqs + tune_reqs + onnx_reqs + serve_reqs + bulk_reqs + shell_reqs}
    spare = {canonicalize_name(o.name) for o in heic_reqs + timm_reqs}   # may not be installed: by their own names
    ours, lost = {*sys.stdlib_module_names, 'captcha_fastai'}, set()
    for fn in (ROOT/'captcha_fastai').rglob('*.py'):
        for node in ast.walk(ast.parse(fn.read_text(encoding='utf-8'))):
            for mod in {m.partition('.')[0] for m in imported(node)} - ours:
                if canonicalize_name(mod) in spare: continue
                if not names & {canonicalize_name(d) for d in dists.get(mod, [])}: lost.add(f'{fn.name}: {mod}')
    none(sorted(lost), 'imported by the library, not among the requirements of settings.ini')

def test_readme_is_the_long_description(meta):
    assert meta['Description-Content-Type'] == 'text/markdown'
    said = meta.get_payload(decode=True).decode('utf-8')
    assert said.strip() == (ROOT/'README.md').read_text(encoding='utf-8').strip()

def test_licence_files(wheel):
    for o in ('LICENSE', 'NOTICE'): assert info(wheel, f'licenses/{o}') == (ROOT/o).read_bytes()

def test_entry_points(wheel):
    got = configparser.ConfigParser(delimiters=['='])
    got.optionxform = str
    got.read_string(info(wheel, 'entry_points.txt').decode())
    assert dict(got['console_scripts']) == dict(o.split('=') for o in cfg['console_scripts'].split())
    assert dict(got['nbdev']) == {'captcha_fastai': 'captcha_fastai._modidx:d'}

def test_commands_exist(wheel):
    for o in cfg['console_scripts'].split():
        mod, func = o.partition('=')[2].split(':')
        file = mod.replace('.', '/') + '.py'
        assert file in wheel, f'{o}: no such module'
        defs = [d.name for d in ast.parse(wheel[file]).body if isinstance(d, ast.FunctionDef)]
        assert func in defs, f'{o}: no such function'

def test_wheel_is_the_library(wheel, tracked):
    "Every file of the package, data included, and nothing of notebooks, tests and tools"
    got = {o for o in wheel if '.dist-info/' not in o}
    want = {o.as_posix() for o in tracked if o.parts[0] == 'captcha_fastai'}
    none(sorted(got ^ want), 'in the wheel or in the package folder, not in both')

def test_wheel_reads_by_itself(built, tmp_path):
    "Small enough, and with weights that read: unpacked anywhere, with no repository and no network"
    file = next(built.glob('*.whl'))
    assert file.stat().st_size < 25e6
    with zipfile.ZipFile(file) as z: z.extractall(tmp_path/'lib')
    code = """import sys
sys.path.insert(0, sys.argv[1])
import socket
import captcha_fastai
def refuse(*args): raise OSError('no network')
socket.socket.connect = refuse
from captcha_fastai.all import *
assert captcha_fastai.__file__.startswith(sys.argv[1]), captcha_fastai.__file__
files = save_captchas(40, 'drawn', length=5, seed=3)
print(sum(o.text==captcha_label(o.file) for o in Reader.load('pretrained').read(files)))"""
    cmd = [sys.executable, '-W', 'ignore', '-c', code, tmp_path/'lib']
    res = subprocess.run(cmd, cwd=tmp_path, capture_output=True, text=True)
    assert res.returncode == 0, res.stderr
    assert int(res.stdout) >= 20, res.stdout

# The container: its steps, in a fresh environment; what pip would fetch is linked from this one

docker = (ROOT/'docker/Dockerfile').read_text(encoding='utf-8').replace('\\\n', ' ')
served = [Requirement(o) for o in (ROOT/'docker/requirements.txt').read_text(encoding='utf-8').split()]

def words_of(instruction):
    "The words of an instruction of the Dockerfile, given as JSON"
    found, = re.findall(rf'^(?:{instruction}\b).*?(\[.*\])$', docker, re.M)
    return json.loads(found)

def with_all_that_they_need(reqs):
    "Installed distributions: those required, and what these require in turn"
    found, todo = {}, [o.name for o in reqs]
    while todo:
        name = canonicalize_name(todo.pop())
        if name in found: continue
        found[name] = importlib.metadata.distribution(name)
        more = map(Requirement, found[name].requires or ())
        todo += [o.name for o in more if o.marker is None or o.marker.evaluate(dict(extra=''))]
    return found

def test_the_containers_requirements():
    "What the extras onnx and serve and the package itself bring, as far as serving an exported reader imports it"
    names = {canonicalize_name(o.name) for o in served}
    assert names >= {canonicalize_name(o.name) for o in serve_reqs}
    assert names <= {canonicalize_name(o.name) for o in reqs+onnx_reqs+serve_reqs}
    assert 'docker/requirements.txt -c' in docker and '--no-deps' in docker and 'torch' not in names
    by_name = {canonicalize_name(o.name) for o in pins}
    assert names <= by_name, 'constraints.txt says which versions the container has'

@pytest.fixture
def fresh(built, tmp_path):
    "An environment as the container has it, and the megabytes of what was installed"
    venv.create(tmp_path/'env', with_pip=False, symlinks=True)
    site, = (tmp_path/'env').glob('lib/python*/site-packages')
    size = 0
    for o in with_all_that_they_need(served).values():
        for top in {f.parts[0] for f in o.files} - {'..', '__pycache__'}:
            there = Path(o.locate_file(top))
            if not (site/top).exists(): (site/top).symlink_to(there, target_is_directory=there.is_dir())
        size += sum(f.size or 0 for f in o.files)
    cmd = [sys.executable, '-m', 'pip', '--python', tmp_path/'env/bin/python', 'install', '-q', '--no-deps',
           '--no-index', '--no-compile', next(built.glob('*.whl'))]
    res = subprocess.run(cmd, capture_output=True, text=True)
    assert res.returncode == 0, res.stderr
    return tmp_path/'env/bin', size/1e6+sum(f.stat().st_size for f in (site/'captcha_fastai').rglob('*.*'))/1e6

@pytest.mark.skipif(sys.platform == 'win32', reason='the container is Linux')
def test_the_container_serves(fresh, tmp_path):
    "Its command and its health check, where there is no torch: the texts of the reader that was exported"
    pytest.importorskip('onnx')
    from captcha_fastai.portable import drawn_pictures, write_export
    from captcha_fastai.reader import Reader
    bin_, size = fresh
    assert size < 250
    reader = Reader.load('pretrained', device='cpu')
    (tmp_path/'reader').mkdir()
    write_export(reader, tmp_path/'reader')
    pictures = list(drawn_pictures(reader.spec, 3, seed=2).values())
    for i, im in enumerate(pictures): im.save(tmp_path/f'{i}.png')
    env = dict(PATH=f"{bin_}{os.pathsep}{os.environ['PATH']}", HOME=str(tmp_path))
    bare = subprocess.run([bin_/'python', '-c', 'import torch'], capture_output=True, env=env)
    assert bare.returncode == 1 and b'ModuleNotFoundError' in bare.stderr
    command = words_of('ENTRYPOINT')
    command[command.index('/reader')] = tmp_path/'reader'
    command[command.index('0.0.0.0')] = '127.0.0.1'
    command[command.index('8000')] = '0'
    server = subprocess.Popen([bin_/command[0], *command[1:]], env=env, stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r'http://\S+', server.stderr.readline())[0]
        check = [o.replace('http://127.0.0.1:8000', url) for o in words_of('HEALTHCHECK')]
        assert url in check[-1]
        assert subprocess.run([bin_/check[0], *check[1:]], env=env).returncode == 0
        curl = ['curl', '-s', *(f'-Fpictures=@{i}.png' for i in range(3)), '-F', 'pattern=[a-zA-Z0-9]*', f'{url}/read']
        said = json.loads(subprocess.run(curl, capture_output=True, text=True, cwd=tmp_path).stdout)
        assert [o['text'] for o in said['results']] == [o.text for o in reader.read(pictures)]
    finally:
        server.terminate()
        server.communicate()
    assert subprocess.run([bin_/check[0], *check[1:]], env=env, capture_output=True).returncode == 1

@pytest.mark.parametrize('name,most', [('crnn_small', 5e6), ('small', 5e6), ('base', 14e6)])
def test_model_card(wheel, name, most):
    "The description of the weights names the file that it describes"
    at = f'captcha_fastai/pretrained/{name}/'
    assert hashlib.sha256(wheel[at+'model.safetensors']).hexdigest() in wheel[at+'README.md'].decode('utf-8')
    assert len(wheel[at+'model.safetensors']) < most

def test_sdist_is_the_project(built, tracked):
    "Whoever unpacks the sdist can build, read the lessons and run the tests"
    with tarfile.open(next(built.glob('*.tar.gz'))) as t:
        got = {Path(*Path(o.name).parts[1:]).as_posix() for o in t if o.isfile()}
    want = {o.as_posix() for o in tracked if not o.parts[0].startswith('.')}
    none(sorted(want - got), 'missing from the sdist')
    more = {o for o in got - want if not o.startswith('captcha_fastai.egg-info/')}
    none(sorted(more - {'PKG-INFO', 'setup.cfg'}), 'in the sdist, but not of the project')
