"""What a cell of code offers, read from its text: names, signatures, docstrings and the comments at its parameters"""
import ast
import copy
import io
import re
import tokenize
from typing import NamedTuple

class Entry(NamedTuple):
    kind: str      # `function`, `class`, `method`, `property` or `data`
    name: str      # with its class in front, where it belongs to one
    sig: str       # `(pred, targ) -> Tensor`; '' for data
    doc: str
    params: list   # `(name, what its comment says)`
    returns: str
    head: str      # the source up to the docstring, included

DEFS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

def _named(o):
    if isinstance(o, ast.Assign) and isinstance(o.targets[0], ast.Name): return o.targets[0].id
    return o.name if isinstance(o, DEFS) else ''

def names(src):
    "What a cell defines, private names too"
    return [n for o in ast.parse(src).body if (n := _named(o)) and n != '_all_']

def only_imports(src):
    "Does a cell do nothing but import?"
    return all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in ast.parse(src).body)

def _comments(src):
    "The comment at the end of each line that has one"
    tokens = tokenize.generate_tokens(io.StringIO(src).readline)
    return {o.start[0]: o.string.lstrip('# ') for o in tokens if o.type == tokenize.COMMENT}

def _decorators(o): return [ast.unparse(d).partition('(')[0] for d in o.decorator_list]

def _head(o, src):
    "The lines of a definition up to its docstring, its decorators left out"
    body = o.body[0]
    has_doc = ast.get_docstring(o) is not None
    end = body.end_lineno if has_doc else max(o.lineno, body.lineno-1)
    return '\n'.join(src.splitlines()[o.lineno-1:end])

def _all_args(fn):
    a = fn.args
    return [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs, *([a.kwarg] if a.kwarg else [])]

def _params(fn, comments):
    "What is said of each parameter: where several stand in a line, of the last"
    lines = {o.end_lineno: o.arg for o in _all_args(fn)}
    res = [(name, comments[line]) for line, name in lines.items() if line in comments and line < fn.body[0].lineno]
    said = comments.get(fn.returns.end_lineno, '') if fn.returns and fn.returns.end_lineno not in lines else ''
    return res, said

class _PlainTypes(ast.NodeTransformer):
    "Annotations as types alone: what `Annotated` adds and what a call makes are for the command line"
    def visit_arg(self, o):
        a = o.annotation
        if isinstance(a, ast.Subscript) and ast.unparse(a.value) == 'Annotated': a = a.slice.elts[0]
        if isinstance(a, ast.Call): a = None
        return ast.arg(o.arg, a)

def _signature(fn, skip_self=False):
    args = ast.unparse(_PlainTypes().visit(copy.deepcopy(fn.args)))
    if skip_self: args = re.sub(r'^(self|cls)\b[^,]*,?\s*', '', args)
    return f'({args})' + (f' -> {ast.unparse(fn.returns)}' if fn.returns else '')

def _function(fn, src, comments, owner=''):
    deco, name = _decorators(fn), fn.name
    first = fn.args.args[0] if fn.args.args else None
    if 'patch' in deco and first is not None and first.annotation is not None: owner = ast.unparse(first.annotation)
    is_property = 'property' in deco or 'cached_property' in deco
    kind = 'property' if is_property else 'method' if owner else 'function'
    params, returns = _params(fn, comments)
    sig = '' if is_property else _signature(fn, skip_self=bool(owner) and 'staticmethod' not in deco)
    return Entry(kind, f'{owner}.{name}' if owner else name, sig, ast.get_docstring(fn) or '', params, returns,
                 _head(fn, src))

def _class(cls, src, comments):
    "A class and its public methods"
    fns = [o for o in cls.body if isinstance(o, ast.FunctionDef)]
    init = next((o for o in fns if o.name == '__init__'), None)
    fields = [o for o in cls.body if isinstance(o, ast.AnnAssign)]
    doc = ast.get_docstring(cls) or (ast.get_docstring(init) if init else '') or ''
    if init:
        params, sig = _params(init, comments)[0], _signature(init, skip_self=True)
    else:
        params = [(o.target.id, comments[o.end_lineno]) for o in fields if o.end_lineno in comments]
        shown = [f'{o.target.id}' + (f'={ast.unparse(o.value)}' if o.value else '') for o in fields]
        sig = f"({', '.join(shown)})" if shown else ''
    res = [Entry('class', cls.name, sig.partition(' -> ')[0], doc, params, '', _head(cls, src))]
    return res + [_function(o, src, comments, cls.name) for o in fns if o.name[0] != '_']

def entries(src):
    "The public definitions of a cell"
    comments, res = _comments(src), []
    for o in ast.parse(src).body:
        name = _named(o)
        if not name or name[0] == '_': continue
        if isinstance(o, ast.ClassDef): res += _class(o, src, comments)
        elif isinstance(o, ast.Assign):
            value = ast.unparse(o.value)
            doc = f'`{value}`' if len(value) < 90 else ''
            res.append(Entry('data', name, '', doc, [], '', src.splitlines()[o.lineno-1]))
        else: res.append(_function(o, src, comments))
    return res

def myst_entry(e, module, again=False):
    "An entry as a directive of Sphinx; only the first of several definitions of a name is in the index"
    lines = [f':::::{{py:{e.kind}}} {e.name}{e.sig}', f':module: {module}', *[':no-index:']*again, '', e.doc, '']
    lines += [f':param {name}: {said}' for name, said in e.params]
    if e.returns: lines.append(f':returns: {e.returns}')
    return '\n'.join([*lines, ':::::'])

def markdown_entry(e): return f'```python\n{e.head}\n```'
