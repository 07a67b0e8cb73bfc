"The commands as one: `python -m captcha_fastai read pretrained pictures` is `captcha_read pretrained pictures`"
import sys

COMMANDS = ('draw', 'train', 'eval', 'read', 'annotate', 'check', 'demo')

def main():
    "Run the command that the first argument names, or list them all"
    from captcha_fastai import cli
    name = sys.argv[1].removeprefix('captcha_') if len(sys.argv) > 1 else None
    if name in COMMANDS:
        sys.argv = [f'captcha_{name}', *sys.argv[2:]]
        getattr(cli, sys.argv[0])()
    if name == '--version':
        from importlib.metadata import version
        print(f"captcha_fastai {version('captcha_fastai')}")
        return
    print("usage: python -m captcha_fastai COMMAND ...; each is also a command of its own, captcha_COMMAND\n")
    for o in COMMANDS: print(f"  {o:9} {getattr(cli, f'captcha_{o}').__doc__}")
    print("\nMore on one: python -m captcha_fastai COMMAND --help")
    if name in (None, '-h', '--help'): return
    print(f"captcha_fastai: no command {name!r}; give one of {', '.join(COMMANDS)}", file=sys.stderr)
    sys.exit(2)

if __name__ == '__main__': main()
