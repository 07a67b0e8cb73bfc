"Fills the `dynamic` fields of pyproject.toml from settings.ini"
# every fact is written down in one of those two, the version in captcha_fastai/__init__.py
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).resolve().parent
cfg = ConfigParser(delimiters=['='])
cfg.read(root/'settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']

licenses = {'apache2': 'Apache-2.0', 'mit': 'MIT', 'bsd3': 'BSD-3-Clause'}
statuses = {'1': 'Planning', '2': 'Pre-Alpha', '3': 'Alpha', '4': 'Beta', '5': 'Production/Stable', '6': 'Mature',
            '7': 'Inactive'}
classifiers = [
    f'Development Status :: {cfg["status"]} - {statuses[cfg["status"]]}',
    *[f'Intended Audience :: {o}' for o in cfg['audience'].split()],
    f'Natural Language :: {cfg["language"]}',
    'Programming Language :: Python :: 3',
    'Framework :: Jupyter',
    'Topic :: Scientific/Engineering :: Image Recognition',
]

names = 'dev', 'tune', 'fonts', 'heic', 'timm', 'onnx', 'serve', 'hub', 'parquet', 'ray', 'shell', 'site'
extras = {o: cfg[f'{o}_requirements'].split() for o in names}
for o in ('tune', 'onnx', 'serve', 'hub', 'parquet', 'ray', 'shell'): extras['dev'] += extras[o]   # the tests use all

setup(
    author=cfg['author'],
    license_expression=licenses[cfg['license']],
    keywords=cfg['keywords'].split(),
    classifiers=classifiers,
    long_description=(root/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    packages=find_packages(root, include=['captcha_fastai*']),
    include_package_data=True,
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points={
        'console_scripts': cfg['console_scripts'].split(),
        'nbdev': ['captcha_fastai=captcha_fastai._modidx:d'],
    },
)
