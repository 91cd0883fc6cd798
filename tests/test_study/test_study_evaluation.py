import torch

from mmrazor_bignas.kernels import slice_param
from mmrazor_bignas.models import extract_subnet
from mmrazor_bignas.study.evaluation import share_statistics


def test_shared_statistics_are_the_first_channels_of_the_largest(tiny_supernet):
    space = tiny_supernet.search_space
    largest = extract_subnet(tiny_supernet, space.largest)
    generator = torch.Generator().manual_seed(0)
    for name, buffer in largest.named_buffers():
        if 'running' in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    smallest = extract_subnet(tiny_supernet, space.smallest)
    share_statistics(smallest, largest)
    checked = 0
    for name, buffer in smallest.named_buffers():
        if 'running' in name:
            assert torch.equal(buffer, slice_param(largest.get_buffer(name), buffer.shape))
            assert 0.5 <= buffer.min() <= buffer.max() <= 1.5
            checked += 1
    assert checked > 10
