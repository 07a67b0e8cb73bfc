"""The map of the house: each module with its lines, its floor, what it imports, and its one idea

    python tools/house.py [FOLDER]"""
import argparse
import ast
import re
from pathlib import Path

PACKAGE = 'captcha_fastai'
ROOT = Path(__file__).resolve().parent.parent

def order(package):
    "The modules in the order in which all.py lists them, from the ground up"
    text = (package/'all.py').read_text(encoding='utf-8')
    return re.findall(rf'^(?:from|import) {PACKAGE}\.(\w+)', text, re.M)

def imports(file):
    "Modules of this package that `file` imports when it is imported itself, and those that it imports within functions"
    tree = ast.parse(file.read_text(encoding='utf-8'))
    inner = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef,ast.Lambda)) for n in ast.walk(f)}
    at_once,later = set(),set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom): continue
        module = node.module or ''
        if node.level==0 and not module.startswith(PACKAGE): continue
        name = module.removeprefix(PACKAGE).lstrip('.')
        names = {name} if name else {o.name for o in node.names}
        (later if id(node) in inner else at_once).update(names)
    return at_once,later-at_once

def survey(package):
    "Module to (lines, imports at once, imports later, first line of the docstring), in the order of `all.py`"
    there = {f.stem for f in package.glob('*.py')}-{'__init__','_modidx','all'}
    res = {}
    listed = order(package)
    for name in [*(o for o in listed if o in there), *sorted(there-set(listed))]:
        file = package/f'{name}.py'
        now,later = imports(file)
        text = file.read_text(encoding='utf-8')
        doc = (ast.get_docstring(ast.parse(text)) or '').splitlines()
        res[name] = len(text.splitlines()),now&there,later&there,doc[0] if doc else ''
    return res

def upward(house):
    "Imports, at once or later, of a module that stands further up"
    place = {o:i for i,o in enumerate(house)}
    return [(o,i) for o,(_,now,later,_) in house.items() for i in sorted(now|later) if place[i]>=place[o]]

def floors(house):
    "Floor of each module: one above the highest that it imports; modules of a cycle have none"
    res = {}
    for o,(_,now,later,_) in house.items():
        if all(i in res for i in now|later): res[o] = 1+max((res[i] for i in now|later), default=0)
    return res

def show(package):
    house = survey(package)
    floor,up = floors(house),upward(house)
    print('| floor | module | lines | imports | what it is for |\n|---|---|---|---|---|')
    for o,(n,now,later,doc) in house.items():
        names = [*sorted(now), *(f'({i})' for i in sorted(later))]
        print(f"| {floor.get(o, '-')} | {o} | {n} | {', '.join(names)} | {doc} |")
    lines = sum(n for n,*_ in house.values())
    arrows = sum(len(now|later) for _,now,later,_ in house.values())
    upward_said = ', '.join(f'{a} -> {b}' for a,b in up) or 'none'
    print(f"\n{len(house)} modules, {lines} lines, {arrows} imports, {max(floor.values(), default=0)} floors; "
          f"upward: {upward_said}")

if __name__=='__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', nargs='?', default=ROOT/PACKAGE, type=Path, help='folder of the package')
    show(parser.parse_args().folder)
