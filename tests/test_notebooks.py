"Every notebook runs from top to bottom, and leaves nothing behind"
from conftest import changes, contents, none, notebooks, tool
from test_lessons import lessons

def test_notebooks_run(tree, capsys):
    "All but the lessons that `test_lessons` runs, with their answers"
    elsewhere = [fn.name for fn in lessons()]
    for name in elsewhere: (tree/'nbs/course'/name).unlink()
    before = contents(tree)
    # two at a time, one thread each: more would wait for each other on a small machine
    res = tool('nbdev-test', '--n-workers', 2, '--timing', cwd=tree,
               OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', MKL_NUM_THREADS='1')
    with capsys.disabled(): print(f'\n{res.stdout.strip()}')
    assert res.returncode == 0, f'nbdev-test ended with {res.returncode}:\n{res.stdout}'
    names = [o.name for o in notebooks() if o.name not in elsewhere]
    none([o for o in names if f'{o}: ' not in res.stdout], 'nbdev-test did not run')
    none(changes(before, contents(tree)), 'running the notebooks changed or left files')
