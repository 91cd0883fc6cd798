import math

import parity
import pytest
import torch
from mmcls.structures import ClsDataSample

from mmrazor_bignas.algorithms import AdaptiveAlphaDistillation, KLDistillation, alpha_divergence

META, _ = parity.load_outputs()
LOSSES = META['losses']
TEACHER = torch.tensor(LOSSES['teacher'])


@pytest.fixture
def student():
    return torch.tensor(LOSSES['student'], requires_grad=True)


@pytest.mark.parametrize(('name', 'loss'), [('kl', KLDistillation()), ('alpha', AdaptiveAlphaDistillation())])
def test_value_and_gradient(student, name, loss):
    value = loss(student, TEACHER)
    (gradient,) = torch.autograd.grad(value, student)
    assert float(value.detach()) == pytest.approx(LOSSES['values'][name]['loss'], rel=1e-6)
    assert parity.relative_error(gradient, torch.tensor(LOSSES['values'][name]['grad'])) < 1e-5


def test_label_loss_value_and_gradient(student, tiny_supernet):
    """The teacher's own loss: with label smoothing 0.1."""
    samples = [ClsDataSample().set_gt_label(label) for label in LOSSES['target']]
    value = tiny_supernet.head.loss_of_logits(student, samples)
    (gradient,) = torch.autograd.grad(value, student)
    assert value.item() == pytest.approx(LOSSES['values']['ce_smooth']['loss'], rel=1e-6)
    assert parity.relative_error(gradient, torch.tensor(LOSSES['values']['ce_smooth']['grad'])) < 1e-5


@pytest.mark.parametrize('alpha', [-1.0, 0.0, 0.5, 1.0])
def test_divergences(student, alpha):
    divergence, carrier = alpha_divergence(student, TEACHER, alpha, clip=5.0)
    reference = LOSSES['values'][f'f_div_{alpha}']
    assert parity.relative_error(divergence, torch.tensor(reference['loss'])) < 1e-5
    assert parity.relative_error(carrier.detach(), torch.tensor(reference['grad_loss'])) < 1e-5
    assert not divergence.requires_grad


@pytest.mark.parametrize('alpha', [-1.0, 0.5, 1.0])
def test_the_carriers_gradient_is_the_divergences(student, alpha):
    _, carrier = alpha_divergence(student, TEACHER, alpha, clip=math.inf)
    (ours,) = torch.autograd.grad(carrier.sum(), student)
    q, p = student.softmax(1), TEACHER.softmax(1)
    if alpha == 1.0:
        divergence = (p * (p / q).log()).sum()
    else:
        divergence = (q * ((p / q) ** alpha - 1)).sum() / (alpha * (alpha - 1))
    (expected,) = torch.autograd.grad(divergence, student)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('loss', [KLDistillation(), AdaptiveAlphaDistillation()])
def test_the_teacher_gets_no_gradient_and_half_precision_is_computed_in_float32(student, loss):
    teacher = TEACHER.clone().requires_grad_()
    value = loss(student.bfloat16(), teacher.bfloat16())
    assert value.dtype == torch.float32
    value.backward()
    assert teacher.grad is None
