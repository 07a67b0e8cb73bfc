#!/usr/bin/env python3
"""Makes README.md from nbs/index.ipynb, and finds the commands in it. Needs nothing but Python.

    python tools/make_readme.py                       writes README.md
    python tools/make_readme.py --command "Try it"    prints the command under that heading of README.md"""
import argparse
import json
import posixpath
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

def _text(o):
    "Notebooks keep text as one string or as a list of lines"
    return ''.join(o) if isinstance(o, list) else o

def _directives(src):
    "Directives of a cell, as a dictionary, and the cell without them"
    lines, found = src.splitlines(), {}
    while lines and (m := re.match(r'#\s*\|\s*([\w-]+):?\s*(.*)$', lines[0])):
        found[m[1]] = m[2].strip()
        lines.pop(0)
    return found, '\n'.join(lines).strip('\n')

def _relink(line, folder):
    "Relative links of a line, written for a file in `folder`, for a file in the repository's root"
    def move(m):
        if re.match(r'[a-z][a-z+.-]*:|[/#]', m[2], re.I): return m[0]
        return m[1] + posixpath.normpath(posixpath.join(folder, m[2])) + m[3]
    parts = re.split(r'(`[^`]*`)', line)  # every second part is code
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r'(\]\()([^)\s]+)([^)]*\))', move, parts[i])
        parts[i] = re.sub(r'(<(?:img|a)\b[^>]*?(?:src|href)=")([^"]+)(")', move, parts[i])
    # a link whose text is code has its `](` in a part of its own, as above; only the text is left alone
    return ''.join(parts)

def _markdown(src, folder):
    "A markdown cell with its links moved; what stands in a fence stays as it is"
    res, fence = [], False
    for line in src.splitlines():
        if line.lstrip().startswith('```'): fence = not fence
        res.append(line if fence else _relink(line, folder))
    return '\n'.join(res)

def _output(out):
    "One output of a cell as markdown: tables as they are, text as an indented block"
    # pictures are dropped: README shows files from nbs/images
    if out['output_type'] == 'error':
        raise ValueError(f"index notebook: a cell ends in {out['ename']}: {out['evalue']}")
    if out['output_type'] != 'stream': data = out.get('data', {})
    else: data = {'text/plain': out['text']} if out['name'] == 'stdout' else {}
    if 'text/markdown' in data: return _text(data['text/markdown']).strip('\n')
    if 'text/plain' not in data or any(o.startswith('image/') for o in data): return ''
    text = re.sub(r'\x1b\[[\d;]*m', '', _text(data['text/plain'])).strip('\n')
    return '\n'.join(('    ' + o).rstrip() for o in text.splitlines())

def make_readme(nb, folder='nbs'):
    "The README, as text, of the notebook `nb` (its JSON) that lies in `folder`"
    blocks = ['<!-- Made by tools/make_readme.py from nbs/index.ipynb: edit that -->']
    for cell in nb['cells']:
        found, src = _directives(_text(cell['source']))
        if 'hide' in found or 'default_exp' in found: continue
        if cell['cell_type'] == 'markdown': blocks.append(_markdown(src.strip(), folder))
        if cell['cell_type'] != 'code': continue
        if src and found.get('echo') != 'false': blocks.append(f'```python\n{src}\n```')
        if found.get('output') != 'false': blocks += [_output(o) for o in cell['outputs']]
    return '\n\n'.join(o for o in blocks if o) + '\n'

def readme_command(text, heading):
    "The one command of the one `sh` block under `heading` in the markdown `text`"
    # a # at the beginning of a line in a fence is no heading, so it becomes a \0 for the while
    no_headings = re.sub(r'^```.*?^```$', lambda m: m[0].replace('\n#', '\n\0'), text, flags=re.M | re.S)
    sections = re.split(r'^#+ +(.*?) *$', no_headings, flags=re.M)
    found = [body for head, body in zip(sections[1::2], sections[2::2]) if head == heading]
    if len(found) != 1: raise ValueError(f'README.md: {len(found)} headings "{heading}", not one')
    blocks = re.findall(r'^```sh\n(.*?)^```$', found[0].replace('\0', '#'), flags=re.M | re.S)
    if len(blocks) != 1: raise ValueError(f'README.md: {len(blocks)} sh blocks under "{heading}", not one')
    lines = blocks[0].strip().splitlines()
    if len(lines) != 1: raise ValueError(f'README.md: the sh block under "{heading}" has {len(lines)} lines, not one')
    return lines[0].strip()

def main():
    p = argparse.ArgumentParser(description='Make README.md from nbs/index.ipynb, or print a command from it')
    p.add_argument('--command', metavar='HEADING',
                   help='print the command under this heading of README.md, and write nothing')
    args = p.parse_args()
    readme = ROOT/'README.md'
    try:
        if args.command:
            print(readme_command(readme.read_text(encoding='utf-8'), args.command))
        else:
            nb = json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8'))
            readme.write_text(make_readme(nb), encoding='utf-8')
    except (ValueError, OSError) as e: sys.exit(f'make_readme: {e}')

if __name__ == '__main__': main()
