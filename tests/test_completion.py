"Shells complete the options of the commands, by a script that --completion prints"
import os
import shutil
import subprocess

import pytest

from conftest import run

pytest.importorskip('shtab')

COMPLETED = """
source {script}
COMP_WORDS=({words}) COMP_CWORD={at}
_shtab_{name} {name} '{word}' '{before}'
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

def completed(script, name, *words, cwd=None):
    "What bash offers for the last of the words"
    code = COMPLETED.format(script=script, words=' '.join(map(repr, [name, *words])), at=len(words), name=name,
                            word=words[-1], before=[name, *words][-2])
    res = subprocess.run(['bash', '-c', code], capture_output=True, text=True, cwd=cwd)
    assert res.returncode==0, res.stderr
    return res.stdout.split()

@pytest.mark.parametrize('name,part,offers', [
    ('captcha_read', '--le', {'--length','--letter-confidence','--lexicon'}),
    ('captcha_train', '--ch', {'--chars'}), ('captcha_eval', '--fo', {'--fold-case'})])
def test_bash_completes_options(name, part, offers, tmp_path):
    res = run(name, '--completion', 'bash')
    assert res.returncode==0 and not res.stderr
    (tmp_path/'script').write_text(res.stdout)
    assert set(completed(tmp_path/'script', name, part))==offers

def test_bash_completes_files(tmp_path):
    (tmp_path/'script').write_text(run('captcha_read', '--completion', 'bash').stdout)
    (tmp_path/'my_reader').mkdir()
    assert completed(tmp_path/'script', 'captcha_read', 'my_', cwd=tmp_path)==['my_reader']

@pytest.mark.parametrize('shell', ['zsh','fish'])
def test_other_shells(shell, tmp_path):
    res = run('captcha_read', '--completion', shell)
    assert res.returncode==0 and 'letter-confidence' in res.stdout
    (tmp_path/'script').write_text(res.stdout)
    if shutil.which(shell): subprocess.run([shell, '-n', tmp_path/'script'], check=True)

def test_a_shell_that_nobody_knows():
    res = run('captcha_read', '--completion', 'dos')
    assert res.returncode==2 and "no completion for 'dos'" in res.stderr and 'bash' in res.stderr and not res.stdout

@pytest.mark.parametrize('args', [['--completion','zsh'], ['--help'], ['--version']], ids=lambda o: o[0])
def test_whose_reader_has_gone(args):
    "As `captcha_read --help | head -1`: no traceback"
    with subprocess.Popen(['captcha_read', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=os.environ|dict(PYTHONUNBUFFERED='1')) as p:
        p.stdout.close()
        said = p.stderr.read()
    assert p.returncode in (0,141) and not said, said   # argparse takes no notice of it for --help
