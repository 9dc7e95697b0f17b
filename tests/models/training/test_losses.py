"""Loss terms, one by one, against the published implementation's numbers."""

import copy

import numpy as np
import pytest
import torch

from models.heads.flame import Flame
from models.training import losses
from models.training.losses import TERMS, LossConfig, MotionLoss, magnitude, nt_xent
from models.training.vertex_space import VertexSpace
from tests.support.golden_weights import HERE, array, flame_arrays
from utils.coefs import DIMS, CoefLayout, CoefStats, MotionCodec
from utils.heads.head_file import load_head_file

GOLDEN = np.load(HERE / "expected_io.npz")
KEYS = [key for key in GOLDEN.files if key.startswith("loss/")]
ENDS = torch.tensor([37, 2])


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "golden_flame.npz"
    np.savez(path, **flame_arrays())
    return Flame(load_head_file(path))


@pytest.fixture(scope="module")
def space(flame):
    return VertexSpace(flame)


@pytest.fixture(scope="module")
def stats():
    values = {}
    for key, n in DIMS.items():
        values[f"{key}_mean"] = 0.5 * array(f"stats:{key}_mean", (n,))
        values[f"{key}_std"] = np.abs(0.5 * array(f"stats:{key}_std", (n,))) + 0.1
    return CoefStats.from_dict(values)


def terms_for(key: str, flame: Flame, stats: CoefStats, compressed: bool) -> dict[str, torch.Tensor]:
    name = key.removeprefix("loss/")
    layout = CoefLayout(head_pose=name.startswith("head"))
    dim = layout.motion_dim

    def load(what, *shape):
        return torch.from_numpy(array(f"loss:{what}", shape))

    config = LossConfig(criterion="l1" if "_l1_" in name else "l2", no_constrain_prev=name.endswith("freeprev"))
    loss = MotionLoss(
        config, "noise" if name.endswith("targetnoise") else "sample", MotionCodec(layout, stats), flame, compressed
    )
    prev = load(f"prev{dim}", 2, 10, dim) if "_second_" in name else None
    ends = ENDS if "_trunc" in name else None
    output = load(f"target{dim}", 2, 110, dim)
    return loss(
        output, load(f"gt{dim}", 2, 100, dim), prev, load(f"noise{dim}", 2, 100, dim), load("shape", 2, 100), ends
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_loss_terms(key, compressed, flame, space, stats, monkeypatch):
    monkeypatch.setattr(losses, "VertexSpace", lambda given: space)  # made once
    expected = {name: value for name, value in zip(TERMS, GOLDEN[key]) if not np.isnan(value)}
    terms = terms_for(key, flame, stats, compressed)
    assert sorted(terms) == sorted(expected)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent(temperature):
    a, b = (torch.from_numpy(array(f"xent:{name}", (8, 128))) for name in "ab")
    assert nt_xent(a, b, temperature).item() == pytest.approx(float(GOLDEN[f"nt_xent/{temperature}"]), rel=1e-5)


def test_magnitude_ignores_invalid_frames():
    error = torch.ones(2, 3, 4)
    valid = torch.tensor([[True, False, False], [True, True, False]])
    error[~valid] = 1e6
    assert magnitude("l2", error, valid) == 1.0


def test_nothing_valid_is_no_loss():
    """Velocities of a batch whose only clip is cut to one frame."""
    error = torch.ones(1, 3, 4, requires_grad=True)
    loss = magnitude("l2", error, torch.zeros(1, 3, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not error.grad.any()


def test_total_uses_the_published_weights():
    terms = {name: torch.tensor(1.0) for name in TERMS}  # the lips' has weight 0 unless it is asked for
    assert LossConfig().total(terms).item() == pytest.approx(1 + 2e6 + 1e7 + 1e5 + 0.05 + 5 + 0.5 + 0.5)


@pytest.mark.parametrize("compressed", [True, False])
def test_compiled(compressed, flame, stats):
    """Traced without a break, once for first and once for second clips, cut short or whole; only with gradients."""
    loss = MotionLoss(LossConfig(), "sample", MotionCodec(CoefLayout(), stats), flame, compressed)
    plain, traced = copy.copy(loss), []
    loss.compile(fullgraph=True, backend=lambda graph, _: traced.append(1) or graph.forward)
    output, truth, shape = torch.randn(2, 30, 54, requires_grad=True), torch.randn(2, 20, 54), torch.randn(2, 100)
    for prev in (None, torch.randn(2, 10, 54)):
        for ends in (None, torch.tensor([7, 2])):
            given = output, truth, prev, truth, shape, ends
            compiled, expected = loss(*given), plain(*given)
            torch.testing.assert_close(compiled, expected)
            gradients = [torch.autograd.grad(loss.config.total(terms), output) for terms in (compiled, expected)]
            torch.testing.assert_close(*gradients)
    assert len(traced) == 2
    with torch.no_grad():
        loss(output[:1], truth[:1], None, truth[:1], shape[:1], None)
    assert len(traced) == 2
