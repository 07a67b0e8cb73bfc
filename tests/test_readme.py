"README.md is made from nbs/index.ipynb, and its two commands can be found in it by a program"
import json
import re

import pytest

from conftest import ROOT, load_tool, none

mr = load_tool('make_readme')

def readme(): return (ROOT/'README.md').read_text(encoding='utf-8')
def md(src): return dict(cell_type='markdown', source=src)
def code(src, *outs): return dict(cell_type='code', source=src, outputs=list(outs))
def stdout(text): return dict(output_type='stream', name='stdout', text=text)
def made(*cells): return mr.make_readme(dict(cells=list(cells))).partition('-->\n\n')[2]

def test_readme_is_the_index_notebook():
    nb = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))
    assert readme() == mr.make_readme(nb), 'README.md is not what index.ipynb makes: run python tools/make_readme.py'

@pytest.mark.parametrize('heading,starts,ends', [
    ('Try it', 'pip install ', ' && captcha_demo'),
    ('Run the tests', 'pip install ', ' && pytest'),
])
def test_commands(heading, starts, ends):
    cmd = mr.readme_command(readme(), heading)
    assert cmd.startswith(starts) and cmd.endswith(ends)

@pytest.mark.parametrize('text,error', [
    ('# Try\n```sh\na\n```\n', '0 headings'),
    ('## Try it\n```sh\na\n```\n# Try it\n', '2 headings'),
    ('# Try it\n```bash\na\n```\n', '0 sh blocks'),
    ('# Try it\n```sh\na\n```\n```sh\nb\n```\n', '2 sh blocks'),
    ('# Try it\n```sh\na\nb\n```\n', '2 lines'),
    ('# Try it\n```sh\n```\n', '0 lines'),
])
def test_unclear_command_is_refused(text, error):
    with pytest.raises(ValueError, match=error): mr.readme_command(text, 'Try it')

def test_command_is_told_from_its_surroundings():
    text = '# Try it\n```text\n# Try it\n```\n```sh\na && b\n```\n## Next\n```sh\nc\n```\n'
    assert mr.readme_command(text, 'Try it') == 'a && b'

def test_links_lead_somewhere():
    text = re.sub(r'^```.*?^```$', '', readme(), flags=re.M | re.S)
    links = re.findall(r'\]\(([^)\s]+)', text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    local = [o.partition('#')[0] for o in links if not re.match(r'[a-z]+:|#', o)]
    assert local
    none([o for o in local if not (ROOT/o).is_file()], 'README.md links to files that are not there')

def test_cells():
    assert made(md('# T'), code('#| hide\nx = 1'), code('#| default_exp a')) == '# T\n'
    assert made(code('#| eval: false\n#| slow\nf(x)  # why')) == '```python\nf(x)  # why\n```\n'
    assert made(code('#| echo: false\nf(x)', stdout(['1\n', '2\n']))) == '    1\n    2\n'
    assert made(code('#| output: false\nf', stdout('1'))) == '```python\nf\n```\n'

def test_outputs():
    table = {'text/markdown': ['| a |\n', '|---|\n'], 'text/plain': 'x'}
    picture = {'image/png': 'aGk=', 'text/plain': '<Figure>'}
    red = {'text/plain': '\x1b[31m3\x1b[0m'}
    outs = [dict(output_type='display_data', data=o) for o in (table, picture, red)]
    warning = dict(output_type='stream', name='stderr', text='w')
    assert made(code('f', *outs, warning)) == '```python\nf\n```\n\n| a |\n|---|\n\n    3\n'
    error = dict(output_type='error', ename='NameError', evalue='f', traceback=[])
    with pytest.raises(ValueError, match='NameError'): made(code('f', error))

def test_links_move_to_the_root():
    links = ['[`a`](library/core.ipynb#b)', '[d](course/02_data.ipynb)', '![p](images/p.png "t")', '[l](../LICENSE)',
             '[w](https://x.org/a)', '[h](#h)', '`[a](b)`']
    moved = ['[`a`](nbs/library/core.ipynb#b)', '[d](nbs/course/02_data.ipynb)', '![p](nbs/images/p.png "t")',
             '[l](LICENSE)', *links[4:]]
    assert made(md(' '.join(links))) == ' '.join(moved) + '\n'
    fenced = '```md\n[a](b)\n```\n'
    image = '<img width="9" src="images/p.png">'
    assert made(md(fenced+image)) == fenced + '<img width="9" src="nbs/images/p.png">\n'
