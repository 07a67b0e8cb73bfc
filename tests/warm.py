"""A process that has imported what commands import, and is forked for each command that a test runs

usage: warm.py FD    (a Unix socket; `Warm` begins it, and talks to it)

A command spends five seconds on imports, and the tests run hundreds. What depends on how a process begins (signals,
encodings, what is imported) is tested in a process of its own: `fresh` of conftest.
"""
import array
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile

IMPORTS = 'cli', 'train', 'reader', 'report', 'report_page', 'label_errors', 'plan', 'annotate', 'portable', 'graphs'

def received(sock):
    "A message, and the three streams that came with it; `None` at the end"
    fds = array.array('i')
    data,more,*_ = sock.recvmsg(2**20, socket.CMSG_SPACE(3*fds.itemsize))
    if not data: return None,()
    for _,_,o in more: fds.frombytes(o)
    return json.loads(data),list(fds)

def begin(asked, fds):
    "In the child: the streams, the folder and the arguments that were asked for; then the command"
    for i,fd in enumerate(fds): os.dup2(fd, i)
    for fd in fds: os.close(fd)
    sys.stdin,sys.stdout,sys.stderr = open(0, closefd=False),open(1, 'w', closefd=False),open(2, 'w', 1, closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(asked['cwd'])
    os.environ.clear()
    os.environ.update(asked['env'])
    sys.path[0] = ''   # as `python -c` has it
    sys.argv = [asked['name'], *asked['args']]
    from captcha_fastai.__main__ import found
    found(asked['name'].removeprefix('captcha_'))()

def serve(sock):
    "Forks for each message, and answers with the exit code; returns in the children, with their message"
    while True:
        asked,fds = received(sock)
        if asked is None: return None,()
        pid = os.fork()
        if not pid:
            sock.close()
            return asked,fds
        for fd in fds: os.close(fd)
        sock.sendall(json.dumps(pid).encode())
        _,status = os.waitpid(pid, 0)
        sock.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())

class Warm:
    "Runs commands in forks of one process; like `subprocess.run` for text"
    def __init__(self, env):
        self.sock,theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        args = [sys.executable, __file__, str(theirs.fileno())]
        self.process = subprocess.Popen(args, env=env, pass_fds=[theirs.fileno()])
        theirs.close()

    def ended(self, timeout, args):
        "The exit code of the fork that was just asked for"
        pid = json.loads(self.sock.recv(99))
        self.sock.settimeout(timeout)
        try: return json.loads(self.sock.recv(99))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            self.sock.settimeout(None)
            self.sock.recv(99)
            raise subprocess.TimeoutExpired(args, timeout) from None
        finally: self.sock.settimeout(None)

    def run(self, name, args, env, cwd=None, input='', timeout=300, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        "A command's exit code and what it printed, as `subprocess.CompletedProcess`"
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(input.encode())
            given.seek(0)
            streams = given,*(own if o==subprocess.PIPE else o for o,own in ((stdout, out), (stderr, err)))
            fds = array.array('i', [o if isinstance(o, int) else o.fileno() for o in streams])
            asked = dict(name=name, args=args, env=env, cwd=str(cwd or os.getcwd()))
            self.sock.sendmsg([json.dumps(asked).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            code = self.ended(timeout, [name, *args])
            said = []
            for o,own in ((stdout, out), (stderr, err)):
                own.seek(0)
                said.append(own.read().decode() if o==subprocess.PIPE else None)
        return subprocess.CompletedProcess([name, *args], code, *said)

    def close(self):
        self.sock.close()
        self.process.wait()

if __name__ == '__main__':
    from importlib import import_module
    for o in IMPORTS: import_module(f'captcha_fastai.{o}')
    asked,fds = serve(socket.socket(fileno=int(sys.argv[1])))
    if asked: begin(asked, fds)
