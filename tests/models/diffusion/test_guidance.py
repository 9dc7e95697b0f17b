"""Properties of guidance, of positions and of the alignment mask."""

import pytest
import torch

from models.diffusion.guidance import DynamicThreshold, Guidance
from models.networks.conditions import CONDITIONS
from models.networks.denoiser import alignment_mask
from models.networks.positional import SinusoidalEncoding, sinusoidal_rows
from tests.models.diffusion.test_schedule import draw
from tests.support.tiny_talker import make_talker


def test_incremental_at_scale_one_is_the_full_condition():
    predictions = [draw(f"p{i}", 2, 3, 4) for i in range(3)]
    torch.testing.assert_close(Guidance(scales={"audio": 1, "style": 1}).combine(predictions), predictions[2])


@pytest.mark.parametrize("mode", ["incremental", "independent"])
def test_scale_zero_is_the_null_branch(mode):
    predictions = [draw(f"p{i}", 2, 3, 4) for i in range(3)]
    assert torch.equal(Guidance(mode=mode, scales={"audio": 0, "style": 0}).combine(predictions), predictions[0])


def test_formulas_of_both_modes():
    n, a, b = (draw(f"p{i}", 2, 3, 4) for i in range(3))
    scales = {"audio": 1.5, "style": -2.0}
    torch.testing.assert_close(Guidance(scales=scales).combine([n, a, b]), n + 1.5 * (a - n) - 2 * (b - a))
    independent = Guidance(mode="independent", scales=scales).combine([n, a, b])
    torch.testing.assert_close(independent, n + 1.5 * (a - n) - 2 * (b - n))


def test_branches():
    every = frozenset(CONDITIONS)
    rest = every - {"audio", "style"}  # not guided: in every branch
    assert Guidance().branches() == [rest, rest | {"audio"}, every]
    assert Guidance(mode="independent").branches() == [rest, rest | {"audio"}, rest | {"style"}]
    assert Guidance(("style", "audio")).branches() == Guidance().branches()
    assert Guidance(("style",)).branches() == [rest | {"audio"}, every]
    assert Guidance(("audio",)).branches() == [rest | {"style"}, every]
    assert Guidance(()).branches() == [every]


def test_guidance_errors():
    with pytest.raises(ValueError, match="'mood' is unknown"):
        Guidance(("mood",))
    with pytest.raises(ValueError, match="'both' is unknown"):
        Guidance(mode="both")


def test_inputs_are_not_changed():
    predictions = [draw(f"p{i}", 2, 3, 4) for i in range(3)]
    copies = [p.clone() for p in predictions]
    Guidance(mode="independent", threshold=DynamicThreshold(0.5, 0.1, 4)).combine(predictions)
    assert all(torch.equal(a, b) for a, b in zip(predictions, copies))


def test_dynamic_threshold():
    x = draw("x", 3, 10, 7) * torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)[:, None, None]
    y = DynamicThreshold(0.9, 0.5, 4.0)(x)
    limits = torch.quantile(x.abs().flatten(1), 0.9, dim=1).clamp(0.5, 4.0)
    assert torch.equal(y[0], x[0])  # small values are below the minimum
    assert 0.5 < limits[1] < 4
    assert limits[2] == 4
    torch.testing.assert_close(y.abs().amax((1, 2))[1:], limits[1:])
    inside = x.abs() <= limits[:, None, None]
    assert torch.equal(y[inside], x[inside])
    assert torch.equal(y.sign(), x.sign())
    assert torch.equal(DynamicThreshold(1.0, 0.0, 1e9)(x), x)


def test_sinusoidal_rows():
    rows = sinusoidal_rows(torch.tensor([0, 5]), 8)
    assert torch.equal(rows[0], torch.tensor([0.0, 1] * 4))
    for i in range(4):
        angle = torch.tensor(5 * 10000 ** (-2 * i / 8))
        torch.testing.assert_close(rows[1, 2 * i : 2 * i + 2], torch.stack([angle.sin(), angle.cos()]))


def test_two_ways_of_adding_positions():
    x = torch.zeros(1, 7, 6)
    per_frame = SinusoidalEncoding(6, "per_frame").eval()(x)[0]
    torch.testing.assert_close(per_frame, sinusoidal_rows(torch.arange(7), 6))
    one_row = SinusoidalEncoding(6, "sequence_length_row").eval()(x)[0]
    torch.testing.assert_close(one_row, sinusoidal_rows(torch.tensor([7]), 6).expand(7, -1))
    with pytest.raises(ValueError, match="600 tokens is too long"):
        SinusoidalEncoding(6, "per_frame")(torch.zeros(1, 600, 6))
    with pytest.raises(ValueError, match="'row' is unknown"):
        SinusoidalEncoding(6, "row")


@pytest.mark.parametrize("width", [1, 2, 5])
def test_alignment_mask(width):
    mask = alignment_mask(6, width)
    assert mask.shape == (7, 6)
    assert not mask[0].any()
    for i in range(6):
        for j in range(6):
            assert mask[1 + i, j] == (abs(i - j) >= width)


@pytest.mark.parametrize("width", [0, -1])
def test_no_alignment_mask(width):
    assert alignment_mask(6, width) is None


def test_width_one_confines_audio_to_its_frame():
    """With one layer without self-attention spill, another frame's audio cannot reach a frame's memory lookup."""
    model = make_talker(n_layers=1)
    config = model.config
    motion, memory = torch.zeros(1, 110, 54), torch.zeros(1, 110, config.feature_dim)
    person, step = torch.zeros(1, 228), torch.tensor([3])
    changed = memory.clone()
    changed[0, 60] += 1
    with torch.no_grad():
        a, b = (model.denoising_net(motion, m, person, step, torch.ones(1, 100)) for m in (memory, changed))
    moved = (a != b).any(-1)[0].nonzero().flatten().tolist()
    assert moved == [60]
