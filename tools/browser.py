#!/usr/bin/env python3
"""A page in headless Chromium, driven by its debugging pipe: nothing to install but Chromium

`with Served(folder, more={'name': other}) as url` serves a folder, and others below /more/name, to this machine alone;
`with Browser() as b: b.open(url); b.eval('document.title')` opens it and runs JavaScript there.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

def chromium():
    "The command that starts Chromium, `None` where it is not installed"
    names = os.environ.get('CHROMIUM'), 'chromium', 'chromium-browser', 'google-chrome'
    return next((found for o in names if o and (found := shutil.which(o))), None)

class _Handler(SimpleHTTPRequestHandler):
    more = {}   # name to folder
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, '.mjs': 'text/javascript', '.js': 'text/javascript'}
    def translate_path(self, path):
        start, name, *rest = path.lstrip('/').split('/', 2)+['', '']
        if start!='more' or name not in self.more: return super().translate_path(path)
        own, self.directory = self.directory, os.fspath(self.more[name])
        try: return super().translate_path('/'+rest[0])
        finally: self.directory = own
    def log_message(self, *args): pass

class _Server(ThreadingHTTPServer):
    daemon_threads = True
    def handle_error(self, *args): pass   # who asked has gone

class Served:
    "A folder on a port of this machine"
    def __init__(self,
        folder,     # What is served
        more=None,  # Name to a folder that is served below /more/name
    ):
        kind = type('_Of', (_Handler,), dict(more=more or {}))
        self.server = _Server(('127.0.0.1', 0), partial(kind, directory=os.fspath(folder)))
    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{self.server.server_port}/'
    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()

class PageError(Exception): "What JavaScript threw"

class Browser:
    "A headless Chromium with one page"
    def __init__(self, width=1100, height=900, scale=1, mobile=False, dark=False):
        self.tmp = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.size, self.dark, self.n = (width, height, scale, mobile), dark, 0
        self.events = []   # what the page said unasked: console messages, requests, ...

    def __enter__(self):
        (to_read, self.out), (self.back, to_write) = os.pipe(), os.pipe()
        def ready():   # Chromium reads its commands from 3 and answers on 4
            a, b = os.dup(to_read), os.dup(to_write)
            os.dup2(a, 3)
            os.dup2(b, 4)
        cmd = [chromium(), '--headless=new', '--remote-debugging-pipe', f'--user-data-dir={self.tmp.name}',
               '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', 'about:blank']
        quiet = dict.fromkeys(['stdin','stdout','stderr'], subprocess.DEVNULL)
        self.process = subprocess.Popen(cmd, preexec_fn=ready, close_fds=False, **quiet)
        os.close(to_read)
        os.close(to_write)
        self.buffer, self.session = b'', None
        pages = self.call('Target.getTargets')['targetInfos']
        target = next(o['targetId'] for o in pages if o['type']=='page')
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for o in ('Page','Runtime','Network','Log'): self.call(f'{o}.enable')
        width, height, scale, mobile = self.size
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=scale,
                  mobile=mobile)
        if mobile: self.call('Emulation.setTouchEmulationEnabled', enabled=True)
        scheme = dict(name='prefers-color-scheme', value='dark' if self.dark else 'light')
        self.call('Emulation.setEmulatedMedia', features=[scheme])
        return self

    def __exit__(self, *args):
        try: self.call('Browser.close')
        except (OSError, EOFError): pass
        os.close(self.out)
        os.close(self.back)
        try: self.process.wait(10)
        except subprocess.TimeoutExpired: self.process.kill()
        self.tmp.cleanup()

    def _message(self, seconds=180):
        while b'\0' not in self.buffer:
            if not select.select([self.back], [], [], seconds)[0]: raise PageError(f'no answer in {seconds} s')
            part = os.read(self.back, 1<<20)
            if not part: raise EOFError('Chromium has gone')
            self.buffer += part
        text, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(text)

    def call(self, method, **params):
        "A command of the DevTools protocol, and its answer"
        self.n += 1
        message = dict(id=self.n, method=method, params=params) | (dict(sessionId=self.session) if self.session else {})
        os.write(self.out, json.dumps(message).encode()+b'\0')
        while True:
            o = self._message()
            if o.get('id')!=self.n:
                if 'method' in o: self.events.append(o)
                continue
            if 'error' in o: raise PageError(f"{method}: {o['error']['message']}")
            return o['result']

    def open(self, url):
        "Go to a page, and wait until it is loaded"
        self.call('Page.navigate', url=url)
        while not any(o['method']=='Page.loadEventFired' for o in self.events): self.events.append(self._message())

    def eval(self, code):
        "The value of an expression in the page, awaited"
        res = self.call('Runtime.evaluate', expression=code, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in res:
            what = res['exceptionDetails']
            raise PageError(what.get('exception', {}).get('description') or what['text'])
        return res['result'].get('value')

    def choose(self, selector, *files):
        "Choose files, or a folder, in an input of the page"
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=[os.fspath(o) for o in files])

    def wait(self, condition, seconds=60):
        "Wait until an expression in the page is true"
        for _ in range(10*seconds):
            if self.eval(condition): return
            time.sleep(.1)
        raise PageError(f'{condition} did not come true in {seconds} s')

    def key(self, key, **more):
        "Press and let go a key"
        for kind in ('keyDown','keyUp'): self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, **more)

    def screenshot(self, file, whole=True):
        "The page as a PNG"
        res = self.call('Page.captureScreenshot', captureBeyondViewport=whole)
        Path(file).write_bytes(base64.b64decode(res['data']))
