"""Other projects' supernet checkpoints as ours, every tensor accounted for."""

from mmrazor_bignas.converters.attentivenas import ATTENTIVENAS
from mmrazor_bignas.converters.conversion import Conversion, Project, convert
from mmrazor_bignas.converters.mmrazor import MMRAZOR

__all__ = ['ATTENTIVENAS', 'MMRAZOR', 'Conversion', 'Project', 'convert']
