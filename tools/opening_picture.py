#!/usr/bin/env python3
"""Draws nbs/images/opening.png: how a captcha becomes a text, by the reader in the package, on one drawn captcha.

    python tools/opening_picture.py [OUT]"""
import sys
from pathlib import Path

import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Polygon, Rectangle

from captcha_fastai.reader import Reader
from captcha_fastai.synth import draw_captcha

OUT = Path(__file__).resolve().parent.parent/'nbs/images/opening.png'
TEXT, SEED = 'ne227', 0
# of the palette of Okabe and Ito, which people with any colour vision can tell apart
COLOURS = '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00'
LIGHT = COLOURS[3:]   # tiles with dark letters
GREY, INK = '#9a9a9a', '#222222'

def columns_of(reader, im):
    "For each column of the picture its best character ('' for none) and how probable that is"
    with torch.inference_mode():
        probs = reader.logits(reader.tensor(im)[None]).softmax(-1)[0].cpu()
    chars = ['', *reader.vocab.chars]
    return [(chars[k], p) for p, k in zip(*(o.tolist() for o in probs.max(-1)))]

def runs_of(columns):
    "Runs of columns with the same character: that, the first column, and the one behind the last"
    runs = []
    for i, (char, _) in enumerate(columns):
        if runs and runs[-1][0] == char: runs[-1][2] = i+1
        else: runs.append([char, i, i+1])
    return runs

def say(ax, y, number, head, text):
    "What a step does, at the left of it"
    ax.text(-12.7, y, number, fontsize=22, weight='bold', color=INK, va='center')
    ax.text(-11.4, y, head, fontsize=15, weight='bold', color=INK, va='center')
    ax.text(-11.4, y+.65, text, fontsize=12, color='#444444', va='top', linespacing=1.35)

def letter(ax, x, y, size, char, colour, fontsize):
    "A letter on a tile whose upper left corner is `x,y`"
    ax.add_patch(Rectangle((x, y), size[0], size[1], fc=colour, ec='white', lw=.8))
    ax.text(x+size[0]/2, y+size[1]*.52, char, color=INK if colour in LIGHT else 'white', fontsize=fontsize,
            weight='bold', ha='center', va='center')

def show_picture(ax, im, n, top):
    "The picture over the whole width, and lines from it down to its columns"
    tall = n*im.height/im.width
    ax.imshow(im, extent=(0, n, tall, 0), cmap='gray', vmin=0, vmax=255, aspect='auto', zorder=1)
    ax.add_patch(Rectangle((0, 0), n, tall, fill=False, ec=INK, lw=1, zorder=3))
    for i in range(n+1):
        ax.plot([i, i], [0, tall], color='#666666', lw=.6, alpha=.5, zorder=2)
        ax.plot([i, i], [tall, top], color='#cccccc', lw=.7, zorder=0)
    return tall

def draw(im, columns):
    "The figure: the picture, its columns, the text"
    runs, n = [o for o in runs_of(columns) if o[0]], len(columns)
    assert ''.join(o[0] for o in runs) == TEXT, f'the reader says {runs}'
    fig = plt.figure(figsize=(11, 5.9), dpi=140, facecolor='white')
    ax = fig.add_axes((0, 0, 1, 1))
    top, bottom, tile, wide = 8.7, 13.3, 1.3, 2.4
    tall = show_picture(ax, im, n, top)
    ax.set(xlim=(-13.2, n+.7), ylim=(16.3, -.7))
    ax.axis('off')
    for i, (char, _) in enumerate(columns):
        if not char: ax.plot(i+.5, top+tile/2, 'o', ms=4.5, color=GREY)
    ax.add_patch(Rectangle((0, top), n, tile, fill=False, ec='#cccccc', lw=.8))
    middle = (runs[0][1]+runs[-1][2])/2
    at = middle + (np.arange(len(runs))-len(runs)/2)*(wide+.6) + .3
    for (char, a, b), x, colour in zip(runs, at, COLOURS):
        ax.add_patch(Rectangle((a, 0), b-a, tall, fc=colour, alpha=.28, lw=0, zorder=2))
        ax.add_patch(Rectangle((a, tall), b-a, top-tall, fc=colour, alpha=.28, lw=0))
        for i in range(a, b): letter(ax, i, top, (1, tile), char, colour, 15)
        corners = [(a, top+tile), (b, top+tile), (x+wide, bottom), (x, bottom)]
        ax.add_patch(Polygon(corners, fc=colour, alpha=.28, lw=0))
        letter(ax, x, bottom, (wide, 2.4), char, colour, 34)
    double = next(b for (c, _, b), (d, _, _) in zip(runs, runs[1:]) if c == d)
    ax.annotate('The dot between them\nkeeps two letters two.', (double+.5, top+tile), (n-7, top+2.6),
                fontsize=12, color='#444444', va='center', linespacing=1.35,
                arrowprops=dict(arrowstyle='->', color='#444444', lw=1.2, shrinkB=1,
                                connectionstyle='angle,angleA=180,angleB=90,rad=6'))
    say(ax, 2.2, '1', 'A picture, and its text', f'Somebody typed {TEXT}.\nNobody marked where each letter is.')
    say(ax, top-.1, '2', 'A net looks strip by strip', 'and says which letter it sees there,\nor a dot for none.')
    say(ax, bottom+.3, '3', 'Neighbours that agree', 'are one letter. Then the dots go,\nand what is left is the text.')
    return fig

def main(out=OUT):
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    reader = Reader.load('pretrained', device='cpu')
    im = draw_captcha(TEXT, rng=SEED)
    fig = draw(im, columns_of(reader, im))
    fig.savefig(out)
    print(f'{out}: {out.stat().st_size/1000:.0f} kB')

if __name__ == '__main__': main(*sys.argv[1:])
