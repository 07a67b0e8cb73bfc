"""Read short text in small pictures with fastai: a notebook course and the library it exports

Modules:

- `captcha_fastai.core`: Characters to ids and back, pictures of any kind to one kind, and the pair of them that can show itself"""

__version__ = "0.1.0"
