"The commands as one: `python -m captcha_fastai read pretrained pictures` is `captcha_read pretrained pictures`"
import sys
from importlib import import_module

COMMANDS = dict(draw='cli', train='cli', eval='cli', read='cli', annotate='cli', demo='cli', check='cli',
                plan='cli', export='portable', serve='serve')

def found(name):
    "The command of that name"
    return getattr(import_module(f'captcha_fastai.{COMMANDS[name]}'), f'captcha_{name}')

def main():
    "Run the command that the first argument names, or list them all"
    name = sys.argv[1].removeprefix('captcha_') if len(sys.argv) > 1 else None
    if name in COMMANDS:
        sys.argv = [f'captcha_{name}', *sys.argv[2:]]
        found(name)()
    if name == '--version':
        from importlib.metadata import version
        print(f"captcha_fastai {version('captcha_fastai')}")
        return
    print("usage: python -m captcha_fastai COMMAND ...; each is also a command of its own, captcha_COMMAND\n")
    for o in COMMANDS: print(f"  {o:9} {found(o).__doc__}")
    print("\nMore on one: python -m captcha_fastai COMMAND --help")
    if name in (None, '-h', '--help'): return
    print(f"captcha_fastai: no command {name!r}; give one of {', '.join(COMMANDS)}", file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__': main()
