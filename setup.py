"""Packaging: the ranges a user may have. requirements.txt holds the exact set that CI runs."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (ROOT / 'mmrazor_bignas/__init__.py').read_text())[1]


class BuildWithMim(build_py):
    """Puts configs, tools and model index into the package, where OpenMMLab's mim and our commands look for them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # they are beside the package
            return
        folder = Path(self.build_lib) / 'mmrazor_bignas/.mim'
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build
        for name in ('configs', 'tools'):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
        shutil.copy(ROOT / 'model-index.yml', folder)


setup(
    name='mmrazor_bignas',
    version=VERSION,
    description='BigNAS on OpenMMLab: train a supernet once, search it, export calibrated subnets',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10,<3.14',
    classifiers=[f'Programming Language :: Python :: 3.{minor}' for minor in range(10, 14)],
    packages=find_packages(include=['mmrazor_bignas', 'mmrazor_bignas.*']),
    cmdclass={'build_py': BuildWithMim},
    entry_points={'console_scripts': ['bignas = mmrazor_bignas.__main__:main']},
    install_requires=[
        'torch>=2.6,<3',
        'torchvision',
        'mmengine>=0.10.7,<0.11',
        'mmcv-lite>=2.0.1,<2.1',
        'mmcls==1.0.0rc6',
        'numpy>=1.26,<3',
        'pyyaml>=6',
        # mmengine and mmcls import pkg_resources, which later setuptools lack.
        'setuptools<81',
        'tqdm>=4.60',
        'plotly>=6',
    ],
    extras_require={
        'demo': ['scikit-learn>=1.4', 'matplotlib>=3.8'],
        'study': ['scipy>=1.11', 'matplotlib>=3.8'],
        'onnx': ['onnx>=1.19', 'onnxruntime>=1.23', 'onnxscript>=0.5.6'],
        'tensorboard': ['tensorboard>=2.12'],
        'search': ['pymoo>=0.6.1.5', 'scikit-learn>=1.4'],
    },
)
