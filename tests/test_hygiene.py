"What should not be in the repository is not"
import re
from conftest import ROOT, none

# files that may be larger than `limit`, each with its reason
LARGE = {'captcha_fastai/pretrained/crnn_small/model.safetensors'}   # the weights in the package
limit = 600_000

def test_no_paths_of_one_machine(tracked):
    found = []
    for o in tracked:
        try: text = (ROOT/o).read_text(encoding='utf-8')
        except UnicodeDecodeError: continue
        for i, line in enumerate(text.splitlines(), 1):
            if m := re.search(r'(?:^|[^A-Za-z0-9_.])/(?:work|tmp|root|farm|opt)/[^"\s]*', line): found.append(f'{o}:{i}: {m[0]}')
    none(found, 'paths that exist on one machine only')

def test_no_large_files(tracked):
    none([f'{o}: {(ROOT/o).stat().st_size} bytes' for o in tracked if (ROOT/o).stat().st_size > limit and o.as_posix() not in LARGE], f'more than {limit} bytes')
    none([o for o in LARGE if not (ROOT/o).is_file()], 'listed as large, but gone')

def test_no_build_folders(tracked):
    names = {'build', 'dist', '_proc', '_docs', '_site', '__pycache__', '.ipynb_checkpoints', '.pytest_cache', '.hypothesis', '.venv', 'venv'}
    none([o for o in tracked if names & set(o.parts[:-1]) or re.search(r'\.egg-info(/|$)|\.py[cod]$', o.as_posix())], 'made by a build, a test or an editor')

def test_no_leftovers(tracked):
    "No editor's backup, no merge conflict, no pickle"
    none([o for o in tracked if o.suffix in ('.orig', '.rej', '.bak', '.swp', '.pkl', '.pickle', '.pth', '.pt') or o.name.endswith('~')], 'leftovers')
    marks = re.compile(r'^(<{7} |>{7} )', re.M)
    text = [o for o in tracked if o.suffix in ('.py', '.md', '.ipynb', '.toml', '.ini', '.txt', '.yml', '.in')]
    none([o for o in text if marks.search((ROOT/o).read_text(encoding='utf-8'))], 'unresolved merge conflicts')

def test_captchas_of_the_data_set_are_not_included(tracked):
    "The data set has no licence: plots may show some of its pictures, its files stay out"
    none([o for o in tracked if re.fullmatch(r'[2345678bcdefgmnpwxy]{5}(_\d+)?\.(png|jpg|jpeg)', o.name)], 'pictures of the data set')
