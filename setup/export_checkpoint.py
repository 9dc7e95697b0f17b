"""Strip a checkpoint for shipping: no optimiser state, half-precision weights.

python -m setup.export_checkpoint experiments/DPT/RUN/checkpoints/iter_0020000.pt \\
    experiments/DPT/embedded/checkpoints/iter_0020000.pt --style_enc_ckpt experiments/SE/embedded/checkpoints/iter_X.pt
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from utils.config import positional, read_flags
from utils.errors import UserError, cli
from utils.runs.checkpoint import load_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportFlags:
    """All flags."""

    source: Path = positional()
    """Checkpoint of a training run."""
    target: Path = positional()
    """The stripped checkpoint to write."""
    style_enc_ckpt: str | None = None
    """Path of the style encoder that is shipped with the model."""
    full: bool = False
    """Keep float32."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ExportFlags, argv, (__doc__ or " ").splitlines()[0])
    kind = "style_encoder" if "SE" in flags.source.parts else "talker"
    checkpoint = load_checkpoint(flags.source, kind)
    if flags.style_enc_ckpt is not None and kind != "talker":
        raise UserError("--style_enc_ckpt: only a denoising network has a style encoder; leave it out")
    config = dict(checkpoint.config)
    if flags.style_enc_ckpt is not None:
        config["style_enc_ckpt"] = flags.style_enc_ckpt
    dtype = torch.float32 if flags.full else torch.float16
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in checkpoint.model.items()}
    replace(checkpoint, model=weights, config=config, training={}).save(flags.target)
    log.info("wrote %s (%.1f MB)", flags.target, flags.target.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
