#!/usr/bin/env python3
"""Does the exported web page read what its reader reads? Text by text in headless Chromium, free and told

usage: page_parity.py [--readers pretrained,pretrained/crnn_small] [--archs captcha_transformer,...] [--epochs 4]
                      [--data DIR] [--kinds DIR] [--only FOLDER,...] [--most N] [--runtime DIR] [--out FILE]

Each reader is exported as a page to a temporary folder, which this machine serves to a Chromium without a window; the
reader itself reads the same files in float32 on the CPU. `told`: both are given the characters of the labels, in both
cases, and their shortest and longest length. A near-tie is a text that the reader prefers by less than 1e-4 nats.
`pixels` counts pictures whose pixels, as the model sees them, are those of Python, to the byte. Archs are trained on
300 drawn captchas for some epochs first. A line for each row goes to OUT.csv (default: benchmarks/results/page_parity),
and a Markdown table is printed.
"""
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from common import RESULTS, Table, log, md_head, md_row, refused
from captcha_fastai import portable
from captcha_fastai.core import CaptchaError
from captcha_fastai.reader import Reader
from export_parity import options, short_trained
from kinds_table import kinds_in, rule

sys.path.insert(0, str(Path(__file__).resolve().parents[1]/'tools'))
from browser import Browser, Served, chromium

COLS = 'reader,set,told,n,same,near,pixels,apart'.split(',')

JS = """(async () => {
  const page = await import('/js/page.js'), { rule } = await import('/js/rules.js')
  const told = rule(await page.ready, %s), blobs = []
  for (const o of %s) blobs.push(await (await fetch(o)).blob())
  const hex = a => Array.from(new Uint8Array(a), o => o.toString(16).padStart(2, '0')).join('')
  const start = performance.now(), read = await page.readBlobs(blobs, told), ms = performance.now() - start
  const sha = async o => o.picture && hex(await crypto.subtle.digest('SHA-256', o.picture.x))
  const rows = await Promise.all(read.map(async o => [o.text, o.confidence, o.ids, o.error?.message, await sha(o)]))
  return { rows, ms }
})()"""

def in_page(browser, urls, known, at_once=40):
    "Rows `(text, confidence, ids, error, pixels)` of what the page reads, and its seconds"
    rows,ms = [],0
    for i in range(0, len(urls), at_once):
        got = browser.eval(JS % (json.dumps(known), json.dumps(urls[i:i+at_once])))
        rows += got['rows']
        ms += got['ms']
    return rows,ms/1000

def page_texts(constraint):
    "What somebody would type into the page's fields"
    if constraint is None: return {}
    return dict(length='-'.join(map(str, constraint.length)), chars=constraint.chars)

def row(reader, exported, browser, name, files, root, constraint):
    "One row of the table"
    urls = [f'/more/{name}/{quote(f.relative_to(root).as_posix())}' for f in files]
    rows,seconds = in_page(browser, urls, page_texts(constraint))
    log(f'{name}: {len(files)/seconds:.1f} pictures a second')
    mine = reader.read(files, constraint=constraint)
    same = near = pixels = 0
    apart = 0.
    for f,a,(text,p,ids,error,sha) in zip(files, mine, rows):
        x = reader.tensor(f)
        pixels += hashlib.sha256(x.numpy().tobytes()).hexdigest()==sha
        if a.text==text:
            same += 1
            apart = max(apart, abs(a.confidence-p))
            continue
        lead = None
        if not error: lead = portable._lead(reader, exported, x, reader.vocab.encode(a.text).tolist(), ids, constraint)
        near += lead is not None and lead<portable.NEAR
        log(f'{f.name}: {a.text!r}, the page {text!r} {error or ""}, lead {lead}')
    return dict(told=int(constraint is not None), n=len(files), same=same, near=near, pixels=pixels,
                apart=f'{apart:.0e}')

def main():
    p = options(__doc__)
    p.add_argument('--most', type=int, help='pictures of a folder, at most')
    p.add_argument('--runtime', type=Path, help='another onnxruntime-web')
    p.add_argument('--out', type=Path, default=RESULTS/'page_parity')
    args = p.parse_args()
    if chromium() is None: p.error('needs Chromium: apt-get install chromium, or name it in CHROMIUM')
    roots = {k:(Path(o),v) for o in (args.data, args.kinds) if o for k,v in kinds_in(o).items()}
    sets = {k:v for k,v in roots.items() if not args.only or k in args.only.split(',')}
    if not sets: p.error('give --data or --kinds, or set CAPTCHA_DATA or CAPTCHA_KINDS')
    table = Table(f'{args.out}.csv', COLS)
    with tempfile.TemporaryDirectory() as tmp, refused(p):
        tmp = Path(tmp)
        readers = {o:o for o in args.readers.split(',') if o}
        readers |= {o:short_trained(o, tmp, args.epochs) for o in args.archs.split(',') if o}
        for i,(name,folder) in enumerate(readers.items()):
            reader,out = Reader.load(folder, device='cpu', half=False),tmp/f'{i}.page'
            portable.export_reader(reader, out, log=log, page=True, runtime=args.runtime)
            exported = portable._module(out/'read.py').Reader(out)
            with Served(out, {k:root for k,(root,_) in sets.items()}) as url, Browser() as browser:
                browser.open(url)
                start = time.time()
                browser.eval("import('/js/page.js').then(o => o.ready).then(() => 1)")
                log(f'{name}: the page was ready {time.time()-start:.1f} s after it was loaded')
                for k,told in ((k,told) for k in sets for told in (False, True)):
                    if table.has(reader=name, set=k, told=int(told)): continue
                    root,(files,texts) = sets[k]
                    constraint = rule(reader, texts) if told else None
                    if told and constraint is None: continue
                    try: done = row(reader, exported, browser, k, files[:args.most], root, constraint)
                    except CaptchaError as e: log(f'{name}, {k}: {e}')
                    else: table.add(reader=name, set=k, **done)
    df = table.rows()
    print(md_head('reader', 'set', 'told', 'pictures', 'same text', 'near-ties', 'same pixels', right=True))
    for o in df.itertuples():
        same = f'{o.same} ({o.same/o.n:.2%})'
        print(md_row(o.reader, o.set, 'yes' if o.told else 'no', o.n, same, o.near, o.pixels))
    for (name,told),part in df.groupby(['reader','told']):
        how = 'told' if told else 'free'
        log(f'{name}, {how}: {part.same.sum()} of {part.n.sum()} alike, {part.near.sum()} near-ties, '
            f'{part.pixels.sum()} alike to the pixel')

if __name__=='__main__': main()
