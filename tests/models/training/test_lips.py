"""The loss of the opening between the lips."""

import pytest
import torch

from models.heads.flame import load_flame
from models.heads.mouth import mouth_opening
from models.training.lips import NEAR, LipOpening, importance
from models.training.losses import LossConfig, MotionLoss
from utils.coefs import CoefLayout, CoefStats, MotionCodec

B, N = 2, 5


@pytest.fixture(scope="module")
def flame():
    return load_flame()


def motion(flame):
    generator = torch.Generator().manual_seed(0)
    exp = torch.rand(B, N, 50, generator=generator)
    pose = torch.rand(B, N, 6, generator=generator) * torch.tensor([1.0, 1, 1, 0.4, 0.02, 0.02])
    return exp, pose, torch.randn(B, 100, generator=generator)


def test_it_is_the_opening_of_the_whole_head(flame):
    exp, pose, shape = motion(flame)
    opening = LipOpening(flame)(exp, pose, shape)
    flat = flame(shape.repeat_interleave(N, 0), exp.flatten(0, 1), pose.flatten(0, 1), global_rotation=False)
    expected = mouth_opening(flat, flame.head).view(B, N)
    assert expected.std() > 1e-3  # metres
    assert torch.allclose(opening, expected, atol=2e-7)


def test_errors_count_most_at_shut_lips():
    values = importance(torch.tensor([-1e-3, 0.0, NEAR, 1.0]))
    assert values[0] == values[1] == 1 and values[1] > values[2] > values[3] > 0


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_the_term_is_the_weighted_error(flame, criterion):
    codec = MotionCodec(CoefLayout(), CoefStats.identity())
    exp, pose, shape = motion(flame)
    truth = codec.encode(exp, pose)
    output = truth.clone()
    output[..., -1] += 0.1  # the jaw
    config = LossConfig(criterion=criterion, l_vert=0, l_vel=0, l_smooth=0, l_lips=1)
    terms = MotionLoss(config, "sample", codec, flame)(output, truth, None, torch.zeros_like(truth), shape, None)
    lips = LipOpening(flame)
    was, now = (lips(*codec.decode(x), shape) for x in (truth, output))
    size = (now - was).abs() if criterion == "l1" else (now - was) ** 2
    assert terms["lips"].item() == pytest.approx((importance(was) * size).mean().item(), rel=1e-4)
    assert config.total(terms) > LossConfig(criterion=criterion, l_vert=0, l_vel=0, l_smooth=0).total(
        {name: value for name, value in terms.items() if name != "lips"}
    )
