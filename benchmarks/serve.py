#!/usr/bin/env python3
"""Asks captcha_serve from 64 clients at once, a hundredth of the requests hostile: answers, memory, latency, overload.

usage: serve.py [--requests 20000] [--clients 64] [--hostile .01] [--reader pretrained] [--data DIR] [--out FILE.md]

An exported reader is served by the command, in a process of its own; the clients are one process more, on the same
machine. Each text must be that of `Reader.read`, each hostile request must have its status. Then, with a tenth of the
requests each: batches of one picture against those of 32, in turns; slow clients beside the others; more than the
server can read; kill -9 and a new start. Ends with the tables in Markdown; exit code 1 if a text was wrong, a status
another, if the server logged a traceback, or if its memory grew by more than a twentieth in the second half.
"""
import asyncio
import base64
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles
from urllib.request import urlopen

from PIL import Image

from common import RESULTS, labelled, log, md_head, md_row, parser
from captcha_fastai.portable import write_export
from captcha_fastai.reader import Reader
from captcha_fastai.synth import save_captchas

MARK = b'a-mark-that-no-picture-has'

def request(body, kind, length=None):
    head = (f'POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n'
            f'Content-Length: {len(body) if length is None else length}\r\n\r\n')
    return head.encode()+body

def form(*files):
    parts = b''.join(b'--%s\r\nContent-Disposition: form-data; name="pictures"; filename="%s"\r\n\r\n%s\r\n'
                     % (MARK, name.encode(), data) for name,data in files)
    return request(parts+b'--%s--\r\n' % MARK, f'multipart/form-data; boundary={MARK.decode()}')

def as_json(*pictures, **known):
    return request(json.dumps(dict(pictures=pictures, **known)).encode(), 'application/json')

def hostile():
    "Requests that nobody should send, and the status of the answer to each; `None`: the client goes before it comes"
    out = io.BytesIO()
    Image.new('1', (20_000,20_000)).save(out, 'PNG')
    good = io.BytesIO()
    Image.new('L', (90,30), 255).save(good, 'PNG')
    text = base64.b64encode(good.getvalue()).decode()
    return [(form(('bomb.png', out.getvalue())), 422), (form(('a.png', os.urandom(3000))), 422),
            (form(('a.png', b'<svg xmlns="http://www.w3.org/2000/svg"/>')), 422),
            (form(('../../../etc/passwd', b'<!doctype html><p>not found')), 422), (as_json('/etc/passwd'), 422),
            (as_json(text, pattern='(a|b)*a(a|b){14}'), 400), (as_json(text, length=10**9), 400),
            (as_json(*[text]*100), 413), (request(b'{'*5000, 'application/json'), 400),
            (request(b'\0'*100, 'multipart/form-data'), 400), (request(b'x', 'image/png'), 415),
            (request(b'x'*100, 'application/json', 9_000_000), None), (b'GET /read HTTP/1.1\r\nHos', None)]

# --- a server, and clients

class Server:
    "captcha_serve in a process"
    def __init__(self, folder, *options, port=0):
        code = 'from captcha_fastai.serve import captcha_serve; captcha_serve()'
        self.cmd = [sys.executable, '-c', code, str(folder), '--port', str(port), *map(str, options)]

    def __enter__(self):
        self.process = subprocess.Popen(self.cmd, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        self.port = int(re.search(r':(\d+)$', line)[1])
        self.said = []   # a pipe that nobody reads would stop who writes into it
        self.listener = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.listener.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.listener.join()

    def health(self):
        with urlopen(f'http://127.0.0.1:{self.port}/health') as f: return json.load(f)

    def cpu(self):
        "Seconds of processors that it has used"
        stat = Path(f'/proc/{self.process.pid}/stat').read_text().rpartition(')')[2].split()
        return (int(stat[11])+int(stat[12]))/os.sysconf('SC_CLK_TCK')

    def mb(self):
        "Megabytes of its memory"
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return round(int(re.search(r'VmRSS:\s+(\d+)', status)[1])/1024, 1)

class Connection:
    "A connection that is kept open, and opened anew where the server has closed it"
    def __init__(self, port): self.port,self.writer = port,None

    async def ask(self, sent):
        "Status and what was said"
        if self.writer is None: self.reader,self.writer = await asyncio.open_connection('127.0.0.1', self.port)
        self.writer.write(sent)
        head = (await self.reader.readuntil(b'\r\n\r\n')).lower()
        said = json.loads(await self.reader.readexactly(int(re.search(rb'content-length: (\d+)', head)[1])))
        if b'connection: close' in head: self.close()
        return int(head[9:12]),said

    def close(self):
        if self.writer is not None: self.writer.close()
        self.writer = None

class Run:
    "What came of some requests"
    def __init__(self): self.took,self.wrong,self.statuses,self.mb = [],[],Counter(),[]

    @property
    def per_second(self): return len(self.took)/self.seconds

    def ms(self):
        "Milliseconds: median, 90th, 99th percentile, and the longest"
        q = quantiles(self.took, n=100)
        return [round(1000*o, 1) for o in (median(self.took), q[89], q[98], max(self.took))]

async def one(c, run, i, pictures, bad, share, rng):
    "A request of a client: nearly always an honest one"
    if bad and rng.random()<share:
        sent,want = rng.choice(bad)
        c.close()
        if want is None:
            _,writer = await asyncio.open_connection('127.0.0.1', c.port)
            writer.write(sent)
            await writer.drain()
            writer.close()
            run.statuses['gone before an answer'] += 1
            return
        status,said = await c.ask(sent)
        c.close()
        run.statuses[status] += 1
        if status!=want or '\n' in said['error']: run.wrong.append((sent[:200], status, said))
        return
    sent,text = pictures[i%len(pictures)]
    begun = time.perf_counter()
    status,said = await c.ask(sent)
    run.statuses[status] += 1
    if status==503: return
    run.took.append(time.perf_counter()-begun)
    got = said['results'][0]['text'] if status==200 else said
    if got!=text: run.wrong.append((i, text, got))

async def many(server, n, clients, pictures, bad=(), share=0., seed=0):
    "Ask `n` times, so many clients at once; what came of it"
    run,left = Run(),iter(range(n))
    async def client(k):
        c,rng = Connection(server.port),random.Random(f'{seed} {k}')
        for i in left:
            try: await asyncio.wait_for(one(c, run, i, pictures, bad, share, rng), 60)
            except (OSError, EOFError, asyncio.TimeoutError) as e:
                run.wrong.append((i, type(e).__name__))
                c.close()
            if i%(max(1, n//10))==0: run.mb.append(server.mb())
        c.close()
    begun,used = time.perf_counter(),server.cpu()
    await asyncio.gather(*(client(k) for k in range(clients)))
    run.seconds,run.cpu_ms = time.perf_counter()-begun,1000*(server.cpu()-used)/n
    run.mb.append(server.mb())
    return run

# --- what is looked at

async def slow_clients(server, n):
    "Connections that send a byte a second of a body that is never whole"
    head = request(b'', 'application/json', 1000)
    async def slow():
        while True:   # the server ends it after some seconds; then comes another
            reader,writer = await asyncio.open_connection('127.0.0.1', server.port)
            writer.write(head)
            answer = asyncio.ensure_future(reader.read(100))
            while not answer.done():
                writer.write(b' ')
                await asyncio.sleep(1)
            writer.close()
    return [asyncio.ensure_future(slow()) for _ in range(n)]

def batching(folder, n, clients, pictures):
    "Requests a second and latencies with batches of one and of 32, two turns of each"
    res = {1:[], 32:[]}
    for _ in range(2):
        for most,runs in res.items():
            with Server(folder, '--batch', most) as server: runs.append(asyncio.run(many(server, n, clients, pictures)))
    return res

async def beside_slow(server, n, clients, pictures, slow=200):
    "The same without and with slow clients"
    alone = await many(server, n, clients, pictures)
    tasks = await slow_clients(server, slow)
    beside = await many(server, n, clients, pictures)
    for o in tasks: o.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return alone,beside

def overload(folder, n, pictures):
    "More clients than may wait"
    with Server(folder, '--waiting', 64, '--max-pictures', 8) as server:
        flood = asyncio.run(many(server, n, 256, pictures))
        after = asyncio.run(many(server, 100, 1, pictures))
        return flood,after

def killed(folder, pictures):
    "Seconds from kill -9 to the first right answer of a new start on the same port"
    with Server(folder) as server:
        asyncio.run(many(server, 50, 8, pictures))
        server.process.kill()
        server.process.wait()
        begun = time.perf_counter()
        with Server(folder, port=server.port) as again: run = asyncio.run(many(again, 50, 8, pictures))
        return time.perf_counter()-begun-run.seconds,run

def latency_row(name, run):
    return md_row(name, len(run.took), f'{run.per_second:.0f}', *run.ms(), f'{run.cpu_ms:.1f}')

def main():
    p = parser(__doc__, data=True)
    p.add_argument('--requests', type=int, default=20_000)
    p.add_argument('--clients', type=int, default=64)
    p.add_argument('--hostile', type=float, default=.01)
    p.add_argument('--reader', default='pretrained')
    p.add_argument('--out', type=Path, default=RESULTS/'serve.md')
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        reader,folder,part = Reader.load(args.reader, device='cpu'),Path(tmp)/'portable',max(500, args.requests//10)
        folder.mkdir()
        write_export(reader, folder)
        files = labelled(args.data)[0] if args.data else save_captchas(500, Path(tmp)/'drawn', seed=5)
        texts = [o.text for o in reader.read(files)]
        pictures = [(form((f.name, f.read_bytes())), t) for f,t in zip(files, texts)]
        log(f'{len(files)} pictures')
        with Server(folder) as server:
            asyncio.run(many(server, 500, args.clients, pictures))   # what memory it takes to be at work
            main_run = asyncio.run(many(server, args.requests, args.clients, pictures, hostile(), args.hostile))
            counts,load = server.health()['counts'],os.getloadavg()[0]
            log(f'{args.requests} requests in {main_run.seconds:.0f} s: {dict(main_run.statuses)}, {main_run.mb} MB')
        faults = sum(o.startswith('Traceback') for o in server.said)
        batches = batching(folder, part, args.clients, pictures)
        log('batches done')
        with Server(folder) as server: alone,beside = asyncio.run(beside_slow(server, part, args.clients, pictures))
        log('slow clients done')
        flood,after = overload(folder, part, pictures)
        log('overload done')
        back,again = killed(folder, pictures)
    runs = [main_run, *batches[1], *batches[32], alone, beside, flood, after, again]
    wrong = sum(len(o.wrong) for o in runs)
    for o in runs:
        for line in o.wrong[:5]: log(f'wrong: {line}')
    said = ', '.join(f'{k}: {n}' for k,n in sorted(main_run.statuses.items(), key=str))
    less = [a.cpu_ms/b.cpu_ms for a,b in zip(batches[1], batches[32])]
    mb = main_run.mb
    text = '\n'.join([
        f'{args.requests:,} requests of {args.clients} clients, {args.hostile:.0%} of them hostile, an exported '
        f'`{args.reader}`, server and clients on {len(os.sched_getaffinity(0))} cores with a load of {load:.0f}, '
        f'`python benchmarks/serve.py --requests {args.requests} --reader {args.reader}`: {wrong} wrong answers, '
        f'{faults} tracebacks in the log of the server. Statuses: {said}. '
        f'{counts["pictures"]:,} pictures in {counts["batches"]:,} batches.', '',
        f'Memory of the server, MB, at each tenth of the way: {", ".join(map(str, mb))}.', '',
        md_head('', 'requests answered', 'a second', 'median ms', '90 %', '99 %', 'longest',
                'server CPU, ms a request', right=True),
        latency_row('all, hostile ones beside', main_run),
        *(latency_row(f'batches of {k}, turn {i+1}', batches[k][i]) for i in range(2) for k in batches),
        latency_row('without slow clients', alone), latency_row('beside 200 slow clients', beside),
        latency_row('256 clients, 64 may wait', flood), '',
        f'For a request, batches of one took {min(less):.2f} to {max(less):.2f} times the CPU of batches of 32. '
        f'Overload: {flood.statuses[200]} answered, {flood.statuses[503]} told to come back (503), none lost; '
        f'afterwards {after.statuses[200]} of 100 answered. After kill -9, a new start on the same port was ready '
        f'within {back:.1f} s, and answered.'])
    args.out.write_text(text+'\n', encoding='utf-8')
    print(text)
    sys.exit(wrong>0 or faults>0 or mb[-1]>1.05*mb[len(mb)//2])

if __name__=='__main__': main()
