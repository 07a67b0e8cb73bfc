"""Read short text in small pictures with fastai: a notebook course and the library it exports

Modules:

- `captcha_fastai.adapt`: A reader for your own pictures, from few labels or none: it learns from drawn ones, and from what it is sure of
- `captcha_fastai.all`: Everything that a user types; the modules stand in the order of their floors
- `captcha_fastai.annotate`: Labels by hand, with a reader that proposes: Enter where it is right, and the pictures it is least sure of come first
- `captcha_fastai.archs`: What a model has to offer, how an arch is known by its name, and what travels with its weights
- `captcha_fastai.atlas`: Every letter of every font, as distances to its outline: an atlas that can be drawn at any size without a font
- `captcha_fastai.bulk`: Readings of many files: each as it comes, kept against a stop, and written as a table of labels
- `captcha_fastai.classifier`: Two models that answer once for each place in the text, and what each of them can know of a place
- `captcha_fastai.cli`: Draw, train, score and read from a terminal, with nothing of Python in sight
- `captcha_fastai.clutter`: Strokes, dots, lines, papers, and what cameras do to a picture: whole batches at once
- `captcha_fastai.contract`: Does an arch of yours offer what the library needs? `check_arch` tries it, and names what is missing
- `captcha_fastai.core`: Characters to ids and back, and the one error for what a user can put right
- `captcha_fastai.crnn`: A convolutional body, a recurrent neck, an answer for each column: the classic, and a small one that learns fast
- `captcha_fastai.ctc`: A model answers in every column, and a text is many such paths: how probable it is, and where its characters stand
- `captcha_fastai.data`: From a folder of labelled pictures to batches: first by hand, then by fastai's DataBlock, then in one line
- `captcha_fastai.decode`: From a score for every column of a picture to a text: the most probable one, of all or of those that you allow
- `captcha_fastai.device`: What this machine computes fastest with, and how to share it with others
- `captcha_fastai.evaluate`: Tables of predictions judged: accuracy with intervals, paired tests, slices, and how far to trust a confidence
- `captcha_fastai.evidence`: Is a trained reader better than the one that it started from, and what do sure readings show that labels do not?
- `captcha_fastai.faults`: Small learners that work, and twenty-six ways to break them, to see what each fault does and who finds it
- `captcha_fastai.files`: Files that are whole or not there, and folders of work that can be gone on with after a stop
- `captcha_fastai.fits`: Do labels, vocabulary, model and metrics go together? Asked before the first batch, not after the training
- `captcha_fastai.folds`: Out-of-fold predictions: every picture of a set read by a model that was trained without it
- `captcha_fastai.graphs`: A reader's model as a graph of plain operations that other programs can run: ONNX, in float32 or 8 bits
- `captcha_fastai.labels`: Which text belongs to which picture: taken from names or from a table, and checked before anything is trained on
- `captcha_fastai.learner`: `captcha_learner` joins data, model and loss in a fastai `Learner` that checks, trains, shows and predicts captchas
- `captcha_fastai.loaders`: Batches of labelled pictures in one line, by fastai's factory names
- `captcha_fastai.looks`: What a captcha may look like, as a table of numbers from which whole batches of looks are drawn
- `captcha_fastai.losses`: What an output means and what it costs: CTC, cross entropy for each position, cross entropy for each token
- `captcha_fastai.metrics`: Whole captchas right, characters right, and the edit distance under both: one definition for every model
- `captcha_fastai.normalize`: The numbers that pictures are normalised by, and whose they are
- `captcha_fastai.patterns`: `[0-9]{2}[a-z]{3}`: a restricted regular expression, read and turned into a table to walk
- `captcha_fastai.pictures`: Pictures of any kind to one kind, and which files of a folder are pictures
- `captcha_fastai.portable`: A finished reader as a folder that any program can read, believed only when it reads the same texts
- `captcha_fastai.portable_read`: One file on NumPy, Pillow and onnxruntime opens pictures, decodes what a model says, and prints texts
- `captcha_fastai.probes`: Why does a model not learn? Instruments that measure it, and questions that name the cause
- `captcha_fastai.processes`: One training in several processes: what each of them must have alike
- `captcha_fastai.progress`: Two callbacks for long trainings: `EpochLines` tells how far one is, `Checkpoint` lets it go on after a stop
- `captcha_fastai.reader`: A trained model, taken out of the notebook: save it as plain data, load it anywhere, read pictures
- `captcha_fastai.render`: Whole batches of captchas drawn in a few hundred tensor operations, in looks from generous ranges
- `captcha_fastai.report`: How well a reader reads labelled pictures: figures, every reading beside its label, and a picture of both
- `captcha_fastai.resample`: Pictures brought to another size by one formula, and the width at which a picture keeps its shape
- `captcha_fastai.rules`: Five characters; digits only; two digits and three letters; one of these words: a rule as a table to walk
- `captcha_fastai.search`: The most probable text of a whole batch of pictures at once, of all texts or of those that a rule allows
- `captcha_fastai.show`: How results are shown: what was read, right or wrong, and what it cost
- `captcha_fastai.speed`: What makes a training faster on the machine at hand, and keeps its memory flat: bfloat16, fused steps, CUDA graphs
- `captcha_fastai.styles`: Any style at random, and the style of your own pictures, found without a label
- `captcha_fastai.synth`: Labelled pictures, as many as we like, made on the spot and without a network
- `captcha_fastai.terminal`: A function as a command: its options, its streams, its exit codes, and messages in a terminal's words
- `captcha_fastai.train`: The whole of a training in one call: labelled pictures in, a saved reader out, and nothing lost by a stop on the way
- `captcha_fastai.transformer`: An encoder that looks at the picture, a decoder that writes the text one character after the other
- `captcha_fastai.tune`: Which learning rate, how many layers? Many short trainings, the hopeless ones stopped early: a search with Ray Tune
- `captcha_fastai.vision`: The types by which fastai holds and shows captchas and their texts
- `captcha_fastai.watch`: Two checks of a model that may not learn: on eight pictures before training, and after each epoch during it
- `captcha_fastai.weights`: What a saved model is, what is checked before it is believed, and how a model for another alphabet starts from it"""

__version__ = "0.1.0"
