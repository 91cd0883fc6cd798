"""Features stay in channels_last from the stem to the head, whatever part of the weights runs."""

import random

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

IMAGES = 6  # no channel count: tells features from weights


def layout_copies(network, images, subnet) -> list[tuple]:
    """Shapes of images and features that a convolution copies to another layout, in a forward and a backward pass."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        network(images, subnet=subnet).square().sum().backward()
    return [
        tuple(event.input_shapes[0])
        for event in profiled.events()
        if event.name == 'aten::clone'
        and len(event.input_shapes[0]) == 4
        and event.input_shapes[0][0] == IMAGES
        and event.input_shapes[0][-1] > 1  # of a single pixel all layouts are the same
    ]


@pytest.mark.parametrize('which', ['largest', 'smallest', 'random'])
def test_no_convolution_copies_features(tiny_supernet, tiny_space, which) -> None:
    subnet = tiny_space.sample(random.Random(1)) if which == 'random' else getattr(tiny_space, which)
    images = tiny_supernet.train().resize(torch.randn(IMAGES, 3, 32, 32), subnet)
    assert layout_copies(tiny_supernet, images, subnet) == []
    assert set(layout_copies(tiny_supernet, images.contiguous(), subnet)) == {tuple(images.shape)}  # it does see


def test_resized_images_are_in_the_layout_of_the_network(tiny_supernet, tiny_space) -> None:
    images = tiny_supernet.resize(torch.randn(2, 3, 32, 32), tiny_space.smallest)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.shape[-1] == tiny_space.smallest.resolution
