"""Does it harm to take pictures of several kinds to be of one? Read each by itself, and as `captcha_read` reads many

python benchmarks/mixed_kinds.py --data FOLDER [--data FOLDER_OF_KINDS] [--reader pretrained]
                                 [--mix all=50] [--mix grid,dark=100] [--seed 0]

A mix is so many pictures of each of some kinds, drawn by the seed and shuffled. Printed is how many of it are read
right, told nothing and case not counted: each by itself, and by `reader.alike` of the whole mix, with what got worse
and what better."""
import numpy as np

from common import folder_of, log, parser
from kinds_table import kinds_in

MIXES = 'all=50', 'small_digits,captcha_images_v2=100', 'grid,dark=100', 'sums,small_digits=100'

def mixed(sets, names, n, rng):
    "Pictures and texts: `n` of each kind, shuffled"
    files, texts = [], []
    for name in names:
        mine = rng.permutation(len(sets[name][0]))[:n]
        for res, o in zip((files, texts), sets[name]): res += [o[i] for i in mine]
    order = rng.permutation(len(files))
    return [files[i] for i in order], [texts[i] for i in order]

def right(reader, files, texts):
    return np.array([o.text.lower()==t.lower() for o, t in zip(reader.read(files), texts)])

def main():
    import captcha_fastai.alike  # noqa: F401 (`reader.alike` comes with it)
    from captcha_fastai.reader import Reader
    p = parser(__doc__)
    p.add_argument('--data', action='append', required=True, help='a folder with labels, or one of such; several')
    p.add_argument('--reader', default='pretrained')
    p.add_argument('--mix', action='append', help='kinds, commas between, or all; = and how many pictures of each')
    p.add_argument('--seed', type=int, default=0)
    a = p.parse_args()
    sets, rng = {}, np.random.default_rng(a.seed)
    for o in a.data: sets |= kinds_in(folder_of(p, o))
    reader = Reader.load(a.reader)
    for mix in a.mix or MIXES:
        names, _, n = mix.partition('=')
        names = list(sets) if names=='all' else names.split(',')
        if set(names)-set(sets) or not n.isdigit(): p.error(f'--mix {mix}: give KINDS=N, of {", ".join(sets)}')
        files, texts = mixed(sets, names, int(n), rng)
        alone, together = (right(o, files, texts) for o in (reader, reader.alike(files)))
        log(f'{mix}: {len(files)} pictures, {alone.sum()} right each by itself, {together.sum()} as of one kind; '
            f'{(alone&~together).sum()} got worse, {(together&~alone).sum()} better')

if __name__ == '__main__': main()
