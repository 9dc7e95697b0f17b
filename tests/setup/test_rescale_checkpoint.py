"""A network for other statistics computes the same motion from the same motion."""

from dataclasses import replace

import torch

from models.networks.person import Person
from setup.rescale_checkpoint import rescale
from tests.support.tiny_talker import make_talker
from utils.coefs import CoefStats, MotionCodec


def statistics(seed: int) -> CoefStats:
    generator = torch.Generator().manual_seed(seed)
    values = {
        name: torch.rand(part.shape, generator=generator) + 0.5 for name, part in CoefStats.identity().to_dict().items()
    }
    return CoefStats.from_dict(values)


def test_same_motion_with_other_statistics():
    old, new = statistics(1), statistics(2)
    old = replace(old, exp_std=old.exp_std.index_fill(0, torch.tensor([3]), 0))  # moves from now on
    model = make_talker()
    layout, frames = model.config.layout, model.config.n_motions + model.config.n_prev_motions
    style = torch.randn(model.config.d_style)
    raw_exp, raw_pose = torch.randn(1, frames, 50), torch.randn(1, frames, 6)
    raw_exp[..., 3] = old.exp_mean[3]

    def output(stats: CoefStats, given: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        codec = MotionCodec(layout, stats)
        person = model.person_vector(Person(torch.zeros(1, 100), given))
        memory = torch.zeros(1, frames, model.config.feature_dim)
        indicator = torch.ones(1, model.config.n_motions)
        step = torch.tensor([1])
        return codec.decode(model.denoising_net(codec.encode(raw_exp, raw_pose), memory, person, step, indicator))

    with torch.no_grad():
        before = output(old, style[None])
        rescale(model, old, new, style)
        # The fresh column of the coefficient that moves from now on sees it at its old mean, which is not the new one.
        model.denoising_net.feature_proj.weight[:, 3] = 0
        after = output(new, None)
    moving = [i for i in range(50) if i != 3]
    torch.testing.assert_close(after[0][..., moving], before[0][..., moving], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after[1][..., :4], before[1][..., :4], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after[0][..., 3], torch.full((1, frames), float(old.exp_mean[3])), atol=1e-4, rtol=1e-4)
    assert torch.equal(model.null("style"), torch.zeros_like(model.null("style")))
