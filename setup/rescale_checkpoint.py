"""A denoiser's checkpoint for other statistics and another style encoder, to be fine-tuned with both (--init_from).

python -m setup.rescale_checkpoint experiments/DPT/RUN/checkpoints/iter_0037969.pt rescaled.pt \\
    --style_encoder experiments/SE/NEW/checkpoints/iter_0012000.pt --style normal.npy

A network belongs to the statistics that its motion was normalised by. Its first and last layer are rescaled such that,
without noise, it computes the same motion from the same motion. Coefficients that never moved before start at the new
mean. The old style input is fixed at one style (--style); the new one starts as small random numbers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from models.networks.loading import checkpoint_of, load_style_encoder, load_talker
from models.networks.talker import Talker
from utils.coefs import N_SHAPE, CoefLayout, CoefStats
from utils.config import positional, read_flags
from utils.errors import UserError, cli
from utils.motion_file import load_style

log = logging.getLogger(__name__)
CONSTANT, SMALL = 1e-8, 0.02  # deviation of a coefficient that never moved; size of fresh weights


@dataclass(frozen=True, kw_only=True)
class RescaleFlags:
    """All flags."""

    source: Path = positional()
    """Checkpoint of a denoising network that was trained with a style encoder."""
    target: Path = positional()
    """The checkpoint to write."""
    style_encoder: Path
    """The new style encoder, whose statistics are the new ones."""
    style: Path
    """Style (npy) of the old style encoder that the network starts from."""
    seed: int = 0
    """Of the fresh weights."""


@torch.no_grad()
def rescale(model: Talker, old: CoefStats, new: CoefStats, style: Tensor) -> None:
    """Change the weights of `model` in place.

    Args:
        model: trained with the statistics `old`.
        old, new: statistics of its motion before and from now on.
        style: (d_style,) of the old style encoder, which the network's bias takes up.
    """
    layout, net = model.config.layout, model.denoising_net
    (mean_old, std_old), (mean_new, std_new) = moments(layout, old), moments(layout, new)
    still, never = std_old < CONSTANT, std_new < CONSTANT  # before; from now on
    one_old, one_new = torch.where(still, 1, std_old), torch.where(never, 1, std_new)
    # old normalised motion = scale * new normalised motion + shift
    scale = torch.where(still, 0, one_new / one_old)
    shift = torch.where(still, 0, (mean_new - mean_old) / one_old)
    first, last, n = net.feature_proj, net.motion_dec[-1], layout.motion_dim
    first.bias += first.weight[:, :n] @ shift
    fresh = SMALL * torch.randn_like(first.weight[:, :n])
    first.weight[:, :n] = torch.where(still, fresh, first.weight[:, :n] * scale)
    size = torch.where(still, 0, one_old)
    offset = torch.where(never, 0, (mean_old - mean_new) / one_new)
    back = torch.where(never, 0, size / one_new)
    last.weight *= back[:, None]
    last.bias.copy_(last.bias * back + offset)
    model.start_motion_feat.copy_(model.start_motion_feat * back + offset)
    by_style = net.person_proj.weight[:, N_SHAPE : N_SHAPE + len(style)]
    net.person_proj.bias += by_style @ style
    by_style.copy_(SMALL * torch.randn_like(by_style))
    model.null_style_feat.zero_()


def moments(layout: CoefLayout, stats: CoefStats) -> tuple[Tensor, Tensor]:
    """Mean and deviation (D,) of the motion's components."""
    return layout.pack(stats.exp_mean, stats.pose_mean), layout.pack(stats.exp_std, stats.pose_std)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(RescaleFlags, argv, (__doc__ or " ").splitlines()[0])
    model, checkpoint = load_talker(flags.source)
    encoder, ours = load_style_encoder(flags.style_encoder)
    if not model.config.has_style or checkpoint.stats is None or ours.stats is None:
        raise UserError(f"{flags.source}: rescaling needs a model with a style encoder, and the statistics of both")
    if encoder.config.no_head_pose != model.config.no_head_pose or encoder.config.feature_dim != model.config.d_style:
        raise UserError(f"--style_encoder {flags.style_encoder}: its motion or its width is not this model's")
    torch.manual_seed(flags.seed)
    rescale(model, checkpoint.stats, ours.stats, torch.from_numpy(load_style(flags.style, model.config.d_style)))
    model.config = replace(model.config, style_enc_ckpt=str(flags.style_encoder))
    checkpoint_of(model, ours.stats, 0).save(flags.target)
    log.info("wrote %s", flags.target)


if __name__ == "__main__":
    main()
