"Pictures of one kind tell of each other: more is read right, nothing is forbidden; commands read what Python does"
import csv
import inspect
import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from captcha_fastai import bulk, expected
from captcha_fastai.expected import Expected, of_one_kind, some_of
from captcha_fastai.all import CaptchaError, Reader
from captcha_fastai.styles import random_style
from captcha_fastai.synth import captcha_fonts, draw_captchas
from captcha_fastai.weights import reader_folder
from conftest import inside, run

@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "A folder of 120 pictures of one kind, four digits each; the reader in the package, and the one for this kind"
    folder = tmp_path_factory.mktemp('alike')/'digits'
    folder.mkdir()
    style = random_style((12,7), fonts=captcha_fonts())
    for i,(text,im) in enumerate(draw_captchas(120, '0123456789', 4, [style], 12)):
        im.save(folder/f'{text}_{i:03d}.png')
    files = sorted(folder.iterdir())
    reader = Reader.load('pretrained')
    return folder,files,reader,reader.alike(files)

def right(readings): return sum(o.text==o.file.name[:4] for o in readings)

def test_more_is_read_right(world):
    _,files,reader,alike = world
    plain,together = right(reader.read(files)),right(alike.read(files))
    assert together>=plain+6, (plain, together)
    assert right(reader.read(files))==plain, 'the reader that it was made of has changed'

def test_nothing_is_forbidden(world):
    "A kind that this one has never seen is read, where it is clear"
    alike = world[3]
    texts,pictures = zip(*draw_captchas(40, 'abdefghkmnprtxy', 6, ['classic'], 3))
    got = [o.text for o in alike.read(list(pictures))]
    assert sum(a==b for a,b in zip(got, texts))>=30, list(zip(got, texts))[:10]

def test_few_pictures_tell_little(world):
    "One picture alone is read as it was"
    _,files,reader,_ = world
    for f in files[:12]: assert reader.alike(f).read(f)[0].text==reader.read(f)[0].text
    assert reader.alike([]).read(files[0])[0].text==reader.read(files[0])[0].text

def test_order_and_what_cannot_be_opened_change_nothing(world, tmp_path):
    _,files,reader,alike = world
    broken = tmp_path/'broken.png'
    broken.write_bytes(b'')
    mixed = [*files, broken]
    random.Random(0).shuffle(mixed)
    again = reader.alike(mixed)
    assert again.expected.chars==pytest.approx(alike.expected.chars, rel=1e-3)
    assert [o.text for o in again.read(files)]==[o.text for o in alike.read(files)]

def test_two_kinds_in_one_folder(world):
    "The mixture helps little, and does little harm"
    _,files,reader,_ = world
    texts,letters = zip(*draw_captchas(120, 'ABCDEFGHKLMNPRSTXYZ', 6, [random_style((1,7), fonts=captcha_fonts())], 4))
    both = [*files, *letters]
    def n(r):
        got = r.read(both)
        return right(got[:120])+sum(o.text==t for o,t in zip(got[120:], texts))
    assert n(reader.alike(both))>=n(reader)-3

def test_known_lengths_are_kept_to(world):
    _,files,reader,_ = world
    rule = reader.constraint(length=5)
    assert {len(o.text) for o in reader.alike(files[:40], constraint=rule).read(files[:40], constraint=rule)}=={5}

def test_letters_are_those_of_the_text(world):
    "With details: the best text is the one that is read, and its letters stand where the plain reader sees them"
    reader = world[2]
    _,clear = zip(*draw_captchas(30, '0123456789', 5, ['classic'], 6))
    plain,alike = (r.read(list(clear), details=True) for r in (reader, reader.alike(clear)))
    sure = [(a,b) for a,b in zip(plain, alike) if min(a.confidence, b.confidence)>.9 and a.text==b.text]
    assert len(sure)>=15, 'too few to tell'
    for a,b in sure:
        assert b.n_best[0][0]==b.text and b.n_best[0][1]==pytest.approx(b.confidence, abs=.02)
        for c,d in zip(a.chars, b.chars): assert c.char==d.char and c.span==pytest.approx(d.span, abs=3)

def test_some_of_many():
    for n in (0, 1, 499, 500, 501, 999, 1000, 10**5):
        got = some_of(lambda n=n: iter(range(n)))
        assert len(got)<1000 and len(got)>=min(n, 500)
        assert not got or got[0]==0 and got[-1]>=n-max(1, n//500)

def test_what_is_expected_goes_through_json(world):
    _,files,reader,alike = world
    again = reader.expecting(Expected(*json.loads(json.dumps(alike.expected))))
    assert again.expected==alike.expected and [o.text for o in again.read(files)]==[o.text for o in alike.read(files)]

def test_refused_before_anything_is_read(world):
    "A reader that expects something already opens no picture"
    with pytest.raises(CaptchaError, match='expects something already'): world[3].alike(['nowhere.png'], skip_bad=False)

def test_captcha_read(world, tmp_path):
    folder,files,_,alike = world
    res = run('captcha_read', 'pretrained', folder, '--alike', '--json')
    assert res.returncode==0 and res.stderr.count('\n')==1 and 'read surely' in res.stderr, res.stderr
    got = [json.loads(o) for o in res.stdout.splitlines()]
    want = alike.read(files)
    assert [(o['file'],o['text']) for o in got]==[(str(o.file),o.text) for o in want]
    assert [o['confidence'] for o in got]==pytest.approx([o.confidence for o in want], abs=1e-3)

def test_captcha_read_names_it(world, tmp_path):
    "Of many pictures few were read surely, nothing was said of them, and the reader was not trained on labels"
    folder,files,reader,_ = world
    hint = 'read surely; with --length and --chars, if you know them, it is more'
    assert hint in inside('captcha_read', 'pretrained', folder, '--no-alike').stderr
    for args in ((folder,'--length',4), files[:40]):
        assert not inside('captcha_read', 'pretrained', *args).stderr
    Reader(reader.model, replace(reader.spec, lengths={4:200})).save(tmp_path/'trained')
    assert not inside('captcha_read', tmp_path/'trained', folder).stderr

def test_many_pictures_are_read_so_unasked(world, tmp_path):
    "A line says so, and how to read each by itself; few pictures, or what somebody said of them, are left as they were"
    folder,files,reader,alike = world
    line = 'the pictures are taken to be of one kind, and tell which characters and lengths to expect; --no-alike'
    def texts(res): return [o.split('\t')[1] for o in res.stdout.splitlines()]
    res = inside('captcha_read', 'pretrained', folder)
    assert line in res.stderr and texts(res)==[o.text for o in alike.read(files)]
    res = inside('captcha_read', 'pretrained', folder, '--no-alike')
    assert line not in res.stderr and texts(res)==[o.text for o in reader.read(files)]
    res = inside('captcha_read', 'pretrained', *files[:49])
    assert line not in res.stderr and texts(res)==[o.text for o in reader.read(files[:49])]
    res = inside('captcha_eval', 'pretrained', folder)
    assert line in res.stderr and json.loads(res.stdout.splitlines()[-1])['captcha_accuracy']==pytest.approx(
        right(alike.read(files))/120)
    res = inside('captcha_eval', 'pretrained', folder, '--no-alike')
    assert line not in res.stderr and json.loads(res.stdout.splitlines()[-1])['captcha_accuracy']==pytest.approx(
        right(reader.read(files))/120)

def test_labels_that_told_more_than_the_pictures(world):
    "A reader taught by few labels looks at the pictures as well; by many, or measured as it is, it doesn't"
    _,files,reader,_ = world
    def looks(n, **info):
        made = Reader(reader.model, replace(reader.spec, lengths={4:n-1, 5:1}, info=info))
        return of_one_kind(made, lambda: iter(files[:50])).expected is not None
    assert looks(25) and looks(199) and not looks(200) and not looks(25, acceptance=dict(temperature=1.))

def test_what_is_clear_is_believed(world, monkeypatch):
    "An unusual length weighs where a reading is in doubt, and not where it is clear"
    _,files,reader,_ = world
    monkeypatch.setattr('captcha_fastai.expected._clear', .85)   # these pictures are none of the clearest
    odd = reader.expecting(Expected({}, {3:1000., 5:1000.}))   # nobody has seen four characters
    plain,strange = ([(o.text,o.confidence) for o in r.read(files)] for r in (reader, odd))
    clear = [i for i,(_,p) in enumerate(plain) if p>=.87]
    assert len(clear)>=10
    for i in clear: assert strange[i][0]==plain[i][0] and strange[i][1]==pytest.approx(plain[i][1], abs=.02)
    assert [o for o,_ in plain]!=[o for o,_ in strange]

def test_captcha_read_stopped_and_gone_on_with(world, tmp_path, monkeypatch):
    folder,table = world[0],tmp_path/'t.csv'
    args = 'captcha_read','pretrained',folder,'--csv',table
    def stops(*args): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr(bulk, '_put', stops)
        assert inside(*args).returncode==130
    other = inside(*args, '--no-alike')
    assert other.returncode==2 and 'cannot resume' in other.stderr and 'alike' in other.stderr, other.stderr
    res = inside(*args)
    assert res.returncode==0 and 'going on from' in res.stderr, res.stderr
    assert len(table.read_text('utf-8').splitlines())==121

def refuses_what_is_damaged(args, settings):
    was = settings.read_text('utf-8')
    settings.write_text(json.dumps(json.loads(was)|dict(expected=[1])), 'utf-8')
    res = inside(*args)
    assert res.returncode==2 and "what was expected can't be read" in res.stderr and not res.stdout, res.stderr
    settings.write_text(was, 'utf-8')

def test_gone_on_with_what_was_expected(tmp_path, monkeypatch, world):
    "Pictures that came after the stop change neither what is expected nor whether anything is"
    folder,files,reader,_ = world
    letters,more = zip(*draw_captchas(60, 'ABCDEFGH', 6, [random_style((1,7), fonts=captcha_fonts())], 4))
    def stops(*args): raise KeyboardInterrupt
    for n in (60,40):
        some = tmp_path/str(n)
        some.mkdir()
        for f in files[:n]: shutil.copy(f, some)
        args = 'captcha_read','pretrained',some,'--csv',tmp_path/f'{n}.csv'
        with monkeypatch.context() as m:
            m.setattr(bulk, '_put', stops)
            assert inside(*args).returncode==130
        for text,im in zip(letters, more): im.save(some/f'z{text}.png')
        if n==60: refuses_what_is_damaged(args, tmp_path/'60.csv.partial/settings.json')
        res = inside(*args)
        assert res.returncode==0 and 'going on from' in res.stderr and 'one kind' not in res.stderr, res.stderr
        before = sorted(some.iterdir())[:n]
        expects = reader.alike(before) if n>=50 else reader
        rows = list(csv.DictReader((tmp_path/f'{n}.csv').open()))
        assert [o['text'] for o in rows]==[o.text for o in expects.read(sorted(some.iterdir()))]

def test_captcha_eval(world, tmp_path):
    "What is counted, printed and written into the report is what the reader for this kind reads"
    folder,files,_,alike = world
    res = run('captcha_eval', 'pretrained', folder, '--alike', '--report', tmp_path/'r.html')
    assert res.returncode==0, res.stderr
    assert json.loads(res.stdout.splitlines()[-1])['captcha_accuracy']==pytest.approx(right(alike.read(files))/120)
    assert (tmp_path/'r.html').stat().st_size>10**4

@pytest.mark.parametrize('args,says', [
    (['--accept','.99'], '--accept was measured without --alike'),
    (['--no-alike'], '--alike and --no-alike contradict'),
    (['-'], '--alike takes folders or files')], ids=['accept','not','stdin'])
def test_what_does_not_go_with_it(world, args, says):
    pictures = [] if args==['-'] else [world[0]]
    res = inside('captcha_read', 'pretrained', *pictures, '--alike', *args)
    assert res.returncode==2 and not res.stdout and res.stderr.count('\n')==1 and says in res.stderr, res.stderr

def test_a_reader_that_cannot(tmp_path):
    "A transformer writes its texts itself: refused in one line"
    from captcha_fastai.archs import ModelSpec
    from captcha_fastai.core import Vocab
    args = dict(widths=[8,16], d=24, layers=[1,1])
    spec = ModelSpec('captcha_transformer', Vocab('2bmx'), (32,96), 1, 4, arch_args=args)
    reader = Reader(spec.model(), spec, device='cpu')
    pictures = [im for _,im in draw_captchas(3, '2bmx', 3, ['classic'], 0)]
    with pytest.raises(CaptchaError, match="captcha_transformer writes its texts .* give length and chars"):
        reader.alike(pictures)

def test_neither_saved_nor_exported(world, tmp_path):
    from captcha_fastai.portable import export_reader
    for how in (lambda: world[3].save(tmp_path/'r'), lambda: export_reader(world[3], tmp_path/'r')):
        with pytest.raises(CaptchaError, match='what `alike` found'): how()
    assert not list(tmp_path.iterdir())

def test_exported_readers_expect_as_much(world, tmp_path):
    "A folder gives the same texts by the saved reader and by the exported one, in Python and by commands"
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnx')
    from captcha_fastai.exported import ExportedReader
    from captcha_fastai.portable import write_export
    folder,files,reader,alike = world
    (tmp_path/'out').mkdir()
    write_export(reader, tmp_path/'out')
    exported = ExportedReader(tmp_path/'out')
    want = alike.read(files)
    for made in (exported.alike(files), exported.expecting(alike.expected)):
        got = made.read(files)
        assert [o.text for o in got]==[o.text for o in want]
        assert [o.confidence for o in got]==pytest.approx([o.confidence for o in want], abs=1e-3)
        with pytest.raises(CaptchaError, match='expects something already'): made.alike(files)
    assert exported.expected is None and [o.text for o in exported.read(files)]==[o.text for o in reader.read(files)]
    rule = dict(length=4, chars='0123456789ab')
    told = [r.alike(files, constraint=r.constraint(**rule)).read(files, constraint=r.constraint(**rule))
            for r in (reader, exported)]
    assert [o.text for o in told[0]]==[o.text for o in told[1]]
    for how in ((), ('--no-alike',), ('--alike',)):
        a,b = (inside('captcha_read', r, folder, *how) for r in ('pretrained', tmp_path/'out'))
        assert [o.split('\t')[:2] for o in a.stdout.splitlines()]==[o.split('\t')[:2] for o in b.stdout.splitlines()]
        assert a.stderr==b.stderr
    a,b = (inside('captcha_eval', r, folder) for r in ('pretrained', tmp_path/'out'))
    figures = [json.loads(o.stdout.splitlines()[-1])['captcha_accuracy'] for o in (a, b)]
    assert figures[0]==figures[1]==pytest.approx(right(want)/120)

def test_who_teaches_itself_expects_as_much(world, tmp_path):
    "A training on unlabelled pictures takes its labels from the reader for their kind"
    from captcha_fastai.adapt import _Steps
    from captcha_fastai.crnn import crnn_small
    _,files,reader,_ = world
    steps = _Steps(tmp_path, crnn_small, reader.vocab.chars, None, (50,200), 3, .8, False, 0, None, print)
    assert right(steps.read(reader_folder('pretrained'), files))>=right(reader.read(files))+6

def test_who_labels_is_proposed_more(world, tmp_path):
    "Proposals for a folder of one kind; told of the texts, or of few pictures, those of the reader itself"
    from captcha_fastai.annotate import Labels, _proposals
    _,files,reader,alike = world
    def proposed(files, **known):
        made = dict(_proposals(files, reader, 0, Labels(tmp_path/'none.csv'), print, **known))
        return [made[f] for f in files]
    assert proposed(files)==[o.text for o in alike.read(files)]
    digits = reader.constraint(chars='0123456789')
    assert proposed(files, constraint=digits)==[o.text for o in reader.read(files, constraint=digits)]
    assert proposed(files[:20])==[o.text for o in reader.read(files[:20])]

def test_the_page_counts_by_the_same_numbers():
    "What is typed twice, in Python and for the page, is the same"
    folder = Path(expected.__file__).parent/'web'/'js'
    js,page = ((folder/f'{o}.js').read_text(encoding='utf-8') for o in ('expected', 'page'))
    said = {k:float(v) for k,v in re.findall(r'\b([A-Z]+) = (-?[\d.]+)', js)}
    names = dict(FEW='_few', ENOUGH='_enough', RARE='_rare', COMMON='_common', CLEAR='_clear', MANY='_many',
                 TAUGHT='_taught')
    assert {k:said[k] for k in names}=={k:getattr(expected, v) for k,v in names.items()}
    defaults = {k:o.default for k,o in inspect.signature(expected.look).parameters.items()}
    assert (said['MOST'], int(re.search(r'LOOKS = (\d+)', page)[1]))==(defaults['most'], defaults['rounds'])
