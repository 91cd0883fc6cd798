"""One module per command: ``build_parser()`` says what it takes, ``main(args)`` does it.

The table is all that is imported before a command runs.
"""

from __future__ import annotations

from importlib import import_module

# What a user types after ``bignas``, in one word or two: the module, and what it does.
COMMANDS = {
    'train': ('train', 'train a supernet'),
    'search': ('search', 'search a trained supernet'),
    'test': ('test', 'test a subnet'),
    'export': ('export', 'export a subnet for use: checkpoint, ONNX, torch.export, TorchScript'),
    'export-subnet': ('export_subnet', 'cut a calibrated subnet out of a supernet'),
    'predict': ('predict', 'name the classes of images, by an exported file'),
    'flops': ('get_flops', "count a subnet's FLOPs and params"),
    'latency': ('measure_latency', 'measure a latency table on this machine'),
    'check': ('check_dataset', 'look at every image of the data sets'),
    'configs': ('list_configs', 'list the configs that come with the package'),
    'report search': ('plot_search', 'draw searches, finished or running'),
    'report training': ('plot_training', 'draw the learning curve of a training'),
    'report augmentation': ('plot_augmentation', 'draw augmented training images'),
    'convert attentivenas': ('convert_attentivenas', 'make a supernet of one of AttentiveNAS or AlphaNet'),
    'convert mmrazor': ('convert_mmrazor', 'make a supernet of one of MMRazor'),
    'convert subnet': ('convert_subnet', 'write a subnet in the form of another project'),
    'study': ('study', 'run many trainings that are compared, and report them'),
}


def run(module: str) -> None:
    """Run a module of this folder with the words of the command line."""
    from mmrazor_bignas.engine.main import run_tool

    command = import_module(f'{__name__}.{module}')
    run_tool(command.main, command.build_parser())
