"Readers on the Hub: pushed and loaded through a local stand-in of its file API, and one line for what goes wrong"
import base64
import hashlib
import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip('huggingface_hub', reason="needs huggingface_hub: pip install -e '.[dev]'")
import yaml
from huggingface_hub import constants

from captcha_fastai import hub
from captcha_fastai.core import CaptchaError
from captcha_fastai.reader import Reader
from captcha_fastai.serve import serve_app
from captcha_fastai.synth import save_captchas
from conftest import ENV, inside, run

WRITER = 'hf_writer'   # the token that may write

class Stand(ThreadingHTTPServer):
    "Repositories of models, each a list of commits: their number and their files"
    daemon_threads = True
    def __init__(self):
        super().__init__(('127.0.0.1', 0), Answers)
        self.repos,self.private,self.large,self.asked = {},set(),{},[]

    @property
    def url(self): return f'http://127.0.0.1:{self.server_address[1]}'

    def found(self, repo, revision):
        "Number and files of a commit, by its number or the name of its branch"
        commits = self.repos[repo]
        if revision=='main' and commits: return commits[-1]
        return next((o for o in commits if o[0]==revision), None)

def blob_id(data): return hashlib.sha1(b'blob %d\0' % len(data)+data).hexdigest()

class Answers(BaseHTTPRequestHandler):
    def log_message(self, *args): pass

    def reply(self, status, body=b'', **headers):
        if not isinstance(body, bytes): body = json.dumps(body).encode()
        self.send_response(status)
        for k,v in {'Content-Length':len(body), **headers}.items(): self.send_header(k.replace('_', '-'), str(v))
        self.end_headers()
        if self.command!='HEAD': self.wfile.write(body)

    def refuse(self, status, code=None, **more):
        self.reply(status, dict(error=code or 'no'), **({'X_Error_Code':code} if code else {}), **more)

    @property
    def token(self): return self.headers.get('Authorization', '').removeprefix('Bearer ')

    def known(self, repo):
        "Is the repository there, and may be seen? Answers if not, as the Hub does"
        if repo in self.server.repos and (repo not in self.server.private or self.token==WRITER): return True
        self.refuse(404 if self.token else 401, 'RepoNotFound')

    def do_HEAD(self): self.do_GET()

    def do_GET(self):
        path = self.path.partition('?')[0]
        self.server.asked.append(path)
        m = re.fullmatch(r'/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)', path)
        if m: return self.listed(*m.groups())
        if m := re.fullmatch(r'/([^/]+/[^/]+)/resolve/([^/]+)/(.+)', path): return self.file(*m.groups())
        self.refuse(404)

    def listed(self, repo, what, revision):
        if not self.known(repo): return
        found = self.server.found(repo, revision)
        if found is None: return self.refuse(404, 'RevisionNotFound')
        commit,files = found
        siblings = [dict(rfilename=o) for o in files]
        if what=='revision': return self.reply(200, dict(id=repo, sha=commit, siblings=siblings))
        self.reply(200, [dict(type='file', path=k, size=len(v), oid=blob_id(v)) for k,v in files.items()])

    def file(self, repo, revision, name):
        if not self.known(repo): return
        found = self.server.found(repo, revision)
        if found is None: return self.refuse(404, 'RevisionNotFound')
        if name not in found[1]: return self.refuse(404, 'EntryNotFound', X_Repo_Commit=found[0])
        data = found[1][name]
        self.reply(200, data, ETag=f'"{blob_id(data)}"', X_Repo_Commit=found[0])

    def body(self):
        "What was sent, whole or in pieces"
        if n := self.headers.get('Content-Length'): return self.rfile.read(int(n))
        res = b''
        while n := int(self.rfile.readline(), 16):
            res += self.rfile.read(n)
            self.rfile.readline()
        self.rfile.readline()
        return res

    def do_PUT(self):
        self.server.large[self.path.rpartition('/')[2]] = self.body()
        self.reply(200)

    def do_POST(self):
        path,body = self.path.partition('?')[0],self.body()
        self.server.asked.append(path)
        if path=='/api/validate-yaml': return self.validate(json.loads(body)['content'])
        if self.token!=WRITER: return self.refuse(403 if self.token else 401)
        if path=='/api/repos/create': return self.create(json.loads(body))
        if m := re.fullmatch(r'/api/models/([^/]+/[^/]+)/(preupload|commit)/main', path):
            if self.known(m[1]): (self.preupload if m[2]=='preupload' else self.commit)(m[1], body)
            return
        if path.endswith('.git/info/lfs/objects/batch'): return self.lfs(json.loads(body))
        self.refuse(404)

    def validate(self, card):
        "What the Hub says of a card's head"
        try: head = yaml.safe_load(card.split('---\n')[1])
        except (IndexError, yaml.YAMLError) as e: return self.reply(400, dict(errors=[dict(message=str(e))]))
        good = isinstance(head.get('license'), str) and all(isinstance(o, str) for o in head['tags'])
        self.reply(200 if good else 400, dict(errors=[] if good else [dict(message='head')], warnings=[]))

    def create(self, d):
        repo = f"{d.get('organization') or 'me'}/{d['name']}"
        if repo in self.server.repos: return self.reply(409, dict(error='exists', url=f'{self.server.url}/{repo}'))
        self.server.repos[repo] = []
        if d.get('private') or d.get('visibility')=='private': self.server.private.add(repo)
        self.reply(200, dict(url=f'{self.server.url}/{repo}', name=repo, id='1'))

    def preupload(self, repo, body):
        def mode(name): return 'lfs' if name.endswith('.safetensors') else 'regular'
        names = [o['path'] for o in json.loads(body)['files']]
        self.reply(200, dict(files=[dict(path=o, uploadMode=mode(o), shouldIgnore=False) for o in names]))

    def lfs(self, d):
        def action(oid): return dict(upload=dict(href=f'{self.server.url}/put/{oid}', header={}))
        self.reply(200, dict(transfer='basic', objects=[dict(o, actions=action(o['oid'])) for o in d['objects']]))

    def commit(self, repo, body):
        files = dict(self.server.repos[repo][-1][1]) if self.server.repos[repo] else {}
        for o in map(json.loads, body.splitlines()):
            v = o['value']
            if o['key']=='file': files[v['path']] = base64.b64decode(v['content'])
            if o['key']=='lfsFile': files[v['path']] = self.server.large[v['oid']]
        commit = hashlib.sha1(body).hexdigest()
        self.server.repos[repo].append((commit, files))
        self.reply(200, dict(commitUrl=f'{self.server.url}/{repo}/commit/{commit}', commitOid=commit))

@pytest.fixture
def stand(tmp_path, monkeypatch):
    "A Hub, and what tells huggingface_hub to go there, with a token that may write"
    server = Stand()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for k,v in dict(ENDPOINT=server.url, HF_HUB_CACHE=str(tmp_path/'cache'), HF_HUB_DISABLE_XET=True).items():
        monkeypatch.setattr(constants, k, v)
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', server.url+'/{repo_id}/resolve/{revision}/{filename}')
    monkeypatch.setenv('HF_TOKEN', WRITER)
    yield server
    server.shutdown()

@pytest.fixture(scope='module')
def reader():
    res = Reader.load('pretrained', device='cpu')
    training = dict(n_train=90, n_valid=10, epochs=3, captcha_accuracy=.9, char_accuracy=.98, cer=.02)
    res.spec = replace(res.spec, info=dict(training=training))
    return res

@pytest.fixture(scope='module')
def drawn(tmp_path_factory): return save_captchas(6, tmp_path_factory.mktemp('hub')/'drawn', chars='2bmx', length=3)

def texts(reader, files): return [o.text for o in reader.read(files)]

def test_there_and_back(stand, reader, drawn):
    url = reader.push_to_hub('me/mine')
    (commit,files), = stand.repos['me/mine']
    assert url.endswith(commit) and sorted(files)==['README.md','model.safetensors','reader.json']
    assert len(stand.large)==1   # weights go as large files do
    again = Reader.from_hub('me/mine', device='cpu')
    assert texts(again, drawn)==texts(reader, drawn) and again.spec.info['training']==reader.spec.info['training']

def test_a_revision_stays(stand, reader, drawn):
    "Both files are of one commit, also where another was pushed since"
    reader.push_to_hub('me/mine')
    first = stand.repos['me/mine'][0][0]
    small = Reader.load('pretrained/small', device='cpu')
    small.push_to_hub('me/mine', message='a better one')
    assert len(stand.repos['me/mine'])==2
    assert texts(Reader.from_hub('me/mine', revision=first, device='cpu'), drawn)==texts(reader, drawn)
    assert repr(Reader.from_hub('me/mine', device='cpu'))==repr(small)
    with pytest.raises(CaptchaError, match='^me/mine on the Hub has no revision v9$'): Reader.from_hub('me/mine', 'v9')

def test_the_card(stand, reader):
    figures = dict(n=500, captcha_accuracy=.91, char_accuracy=.97, cer=.03)
    reader.push_to_hub('me/mine', license='mit', figures=figures)
    card = stand.repos['me/mine'][0][1]['README.md'].decode()
    head = yaml.safe_load(card.split('---\n')[1])
    assert head['license']=='mit' and head['library_name']=='fastai' and 'captcha_fastai' in head['tags']
    model, = head['model-index']
    assert model['name']=='mine' and {o['dataset']['name'] for o in model['results']}=={
        '10 pictures held out of its training','500 pictures that it was scored on'}
    assert '| captchas read without a mistake | 90.00% |' in card and '| characters read right | 97.00% |' in card
    assert "Reader.from_hub('me/mine')" in card and reader.vocab.chars in card

@pytest.mark.parametrize('info', [
    {}, dict(training='odd'), dict(training=dict(n_valid=0)), dict(training=dict(n_train=3)),
    dict(training=dict(n_valid=3, captcha_accuracy=None))])
def test_a_card_without_figures(info, reader):
    plain = Reader(reader.model, replace(reader.spec, info=info), device='cpu')
    card = hub.model_card(plain, 'me/mine')
    assert yaml.safe_load(card.split('---\n')[1])['license']=='apache-2.0'

def test_private(stand, reader, monkeypatch):
    reader.push_to_hub('me/secret', private=True)
    assert stand.private=={'me/secret'}
    monkeypatch.setenv('HF_TOKEN', 'hf_other')
    says = 'there is no me/secret on the Hub that you may see; if it is private, log in'
    with pytest.raises(CaptchaError, match=says): Reader.from_hub('me/secret')
    assert Reader.from_hub('me/secret', token=WRITER, device='cpu')

def test_one_line_for_what_goes_wrong(stand, reader, monkeypatch, tmp_path):
    def refused(says, work, *args, **kwargs):
        with pytest.raises(CaptchaError, match=says) as e: work(*args, **kwargs)
        assert '\n' not in str(e.value), e.value
    refused('there is no me/none on the Hub', Reader.from_hub, 'me/none')
    refused('is no name of a repository; give it as USER/NAME', Reader.from_hub, 'no name')
    refused('is no name of a repository', reader.push_to_hub, 'a/b/c')
    stand.repos['me/other'] = [('f'*40, {'README.md':b'a model of another kind'})]
    refused('me/other on the Hub is no reader: it has no reader.json', Reader.from_hub, 'me/other')
    stand.repos['me/bad'] = [('e'*40, {'reader.json':b'{}', 'model.safetensors':b''})]
    refused('was saved in format None', Reader.from_hub, 'me/bad')
    refused("doesn't let you write to me/mine; give a token that may", reader.push_to_hub, 'me/mine', token='hf_other')
    monkeypatch.delenv('HF_TOKEN')
    monkeypatch.setattr(constants, 'HF_TOKEN_PATH', str(tmp_path/'none'))
    refused('log in by `hf auth login`', reader.push_to_hub, 'me/mine')
    assert 'me/mine' not in stand.repos

def test_without_a_network(stand, reader, drawn, monkeypatch):
    "What was fetched before is read; what was not is one line"
    reader.push_to_hub('me/mine')
    Reader.from_hub('me/mine')
    stand.shutdown()
    stand.server_close()
    monkeypatch.setattr('time.sleep', lambda s: None)   # it tries again, with pauses
    assert texts(Reader.from_hub('me/mine', device='cpu'), drawn)==texts(reader, drawn)
    for work in (lambda: Reader.from_hub('me/other'), lambda: reader.push_to_hub('me/mine')):
        with pytest.raises(CaptchaError, match=f'^cannot reach the Hub at {stand.url}') as e: work()
        assert '\n' not in str(e.value)

def test_no_extra(reader, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)
    for work in (lambda: Reader.from_hub('me/mine'), lambda: reader.push_to_hub('me/mine')):
        with pytest.raises(CaptchaError, match=r"pip install 'captcha_fastai\[hub\]'"): work()

def test_a_reader_of_a_command(stand, reader, drawn, tmp_path):
    "`hub:` as READER, also in a process of its own, and one line where there is none"
    reader.push_to_hub('me/mine')
    commit = stand.repos['me/mine'][0][0]
    want = inside('captcha_read', 'pretrained', drawn[0].parent).stdout
    assert inside('captcha_read', f'hub:me/mine@{commit}', drawn[0].parent).stdout==want
    res = inside('captcha_read', 'hub:me/none', drawn[0])
    assert res.returncode==2 and res.stderr.count('\n')==1 and 'there is no me/none' in res.stderr, res.stderr
    env = {**ENV, 'HF_ENDPOINT':stand.url, 'HF_HOME':str(tmp_path/'home'), 'HF_TOKEN':WRITER}
    res = run('captcha_read', 'hub:me/mine', drawn[0].parent, '--csv', tmp_path/'read.csv', env=env)
    assert res.returncode==0 and res.stdout==want and not res.stderr, res.stderr   # no bars, but on a terminal
    assert len((tmp_path/'read.csv').read_text().splitlines())==7
    res = run('captcha_export', 'hub:me/mine', '--out', tmp_path/'portable', env=env)
    assert res.returncode==0 and inside('captcha_read', tmp_path/'portable', drawn[0]).returncode==0, res.stderr
    assert any(o.path=='/read' for o in serve_app('hub:me/mine').routes)
    how = '--out', tmp_path/'new', '--epochs', 1, '--reader', 'hub:me/mine', '--yes'
    res = inside('captcha_train', drawn[0].parent, *how)
    assert res.returncode==0 and (tmp_path/'new/reader.json').is_file(), res.stderr
