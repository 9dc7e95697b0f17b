"""The vertex losses' fast path against its plain twin: values and gradients, on the open head and a random FLAME."""

import pytest
import torch

from models.heads.flame import load_flame
from models.training.losses import LossConfig, MotionLoss
from models.training.vertex_space import VertexSpace
from utils.coefs import CoefLayout, CoefStats, MotionCodec


@pytest.fixture(scope="module")
def flame():
    return load_flame()


def coefficients(batch: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randn(batch, 100, generator=generator)
    exp = torch.rand(batch, 50, generator=generator)
    pose = 0.2 * torch.randn(batch, 6, generator=generator)
    return shape, exp, pose


def test_distances_are_those_of_the_vertices(flame):
    space = VertexSpace(flame)
    shape, exp, pose = coefficients(8, 0)
    _, exp2, pose2 = coefficients(8, 1)
    plain = flame(shape, exp, pose, global_rotation=False) - flame(shape, exp2, pose2, global_rotation=False)
    compressed = space.project((space.features(exp, pose) - space.features(exp2, pose2))[:, None], shape)[:, 0]
    assert compressed.shape[1] < plain[0].numel() / 10
    torch.testing.assert_close(compressed.square().mean(1), plain.square().mean((1, 2)), rtol=1e-5, atol=0)


def test_head_rotation_is_left_out(flame):
    _, exp, pose = coefficients(2, 0)
    turned = pose.clone()
    turned[:, :3] += 1
    assert torch.equal(VertexSpace.features(exp, pose), VertexSpace.features(exp, turned))


@pytest.mark.parametrize("prev", [False, True])
def test_losses_and_gradients_equal_the_plain_form(flame, prev):
    generator = torch.Generator().manual_seed(2)
    stats = CoefStats.identity()
    codec = MotionCodec(CoefLayout(head_pose=False), stats)
    truth = 0.2 * torch.randn(2, 12, 51, generator=generator)
    context = 0.2 * torch.randn(2, 4, 51, generator=generator) if prev else None
    output = 0.2 * torch.randn(2, 16, 51, generator=generator)
    shape = torch.randn(2, 100, generator=generator)
    ends = torch.tensor([12, 5])
    gradients = []
    for compressed in (False, True):
        loss = MotionLoss(LossConfig(), "sample", codec, flame, compressed)
        leaf = output.clone().requires_grad_()
        terms = loss(leaf, truth, context, torch.zeros_like(truth), shape, ends)
        sum(terms[name] / terms[name].detach() for name in ("vert", "vel", "smooth")).backward()
        gradients.append((leaf.grad, terms))
    (plain, plain_terms), (fast, fast_terms) = gradients
    assert (plain - fast).abs().max() <= 1e-5 * plain.abs().max()
    for name, value in plain_terms.items():
        torch.testing.assert_close(fast_terms[name], value, rtol=1e-5, atol=0)


def test_l1_keeps_the_vertices(flame):
    loss = MotionLoss(LossConfig(criterion="l1"), "sample", MotionCodec(CoefLayout(), CoefStats.identity()), flame)
    assert loss.space is None
