import random
import threading

import pytest
import torch

from mmrazor_bignas.errors import InputError
from mmrazor_bignas.models import DynamicConv2d, extract_subnet
from mmrazor_bignas.models.dynamic_layers import weights_as_shapes
from mmrazor_bignas.search_space import ConvSpec


def tensors(module) -> dict:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


@pytest.fixture
def subnets(tiny_space):
    rng = random.Random(0)
    return [tiny_space.smallest, tiny_space.largest, *(tiny_space.sample(rng) for _ in range(4))]


def test_an_extracted_subnet_is_the_twin_with_other_values(tiny_supernet, subnets):
    for subnet in subnets:
        static, twin = extract_subnet(tiny_supernet, subnet), tiny_supernet.twin(subnet)
        assert type(static) is type(twin)
        assert str(static) == str(twin)
        assert list(static.state_dict()) == list(twin.state_dict())
        expected = tensors(twin)
        for name, tensor in tensors(static).items():
            found, wanted = (
                (type(one), one.shape, one.stride(), one.dtype, one.device, one.requires_grad)
                for one in (tensor, expected[name])
            )
            assert found == wanted, name
        assert not any(module.training for module in static.modules())


def test_extraction_draws_no_random_numbers(tiny_supernet, subnets):
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    for subnet in subnets:
        extract_subnet(tiny_supernet, subnet)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state


def test_an_extracted_subnet_shares_no_memory_with_the_supernet(tiny_supernet, subnets):
    before = {name: tensor.clone() for name, tensor in tensors(tiny_supernet).items()}
    for subnet in subnets:
        for tensor in tensors(extract_subnet(tiny_supernet, subnet)).values():
            tensor.data.fill_(7)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(tiny_supernet).items())


def test_the_preprocessor_of_an_extracted_subnet_normalises_as_the_supernets(tiny_supernet, subnets):
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    expected = tiny_supernet.data_preprocessor({'inputs': images})['inputs']
    for subnet in subnets:
        preprocessor = extract_subnet(tiny_supernet, subnet).data_preprocessor
        assert torch.equal(preprocessor({'inputs': images})['inputs'], expected)


def test_an_extracted_subnet_can_be_trained(tiny_supernet, tiny_space):
    static = extract_subnet(tiny_supernet, tiny_space.smallest).train()
    static(torch.randn(4, 3, 16, 16), drop=False).square().sum().backward()
    assert all(parameter.grad is not None for parameter in static.parameters())


def test_other_threads_build_as_ever_meanwhile():
    built = []
    spec = ConvSpec(4, 8)
    with weights_as_shapes():
        other = threading.Thread(target=lambda: built.append(DynamicConv2d(spec)))
        other.start()
        other.join()
        assert DynamicConv2d(spec).weight.is_meta
    assert built[0].weight.any()
    assert not DynamicConv2d(spec).weight.is_meta


def test_layers_are_as_ever_after_a_failure(tiny_supernet, tiny_space):
    with pytest.raises(InputError):
        extract_subnet(tiny_supernet, 'no such subnet')
    assert not DynamicConv2d(ConvSpec(4, 8)).weight.is_meta
