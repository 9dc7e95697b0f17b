"""Strip a checkpoint for shipping: no optimiser state, half-precision weights.

python -m setup.export_checkpoint experiments/DPT/RUN/checkpoints/iter_0020000.pt \\
    experiments/DPT/embedded/checkpoints/iter_0020000.pt --style_enc_ckpt experiments/SE/embedded/checkpoints/iter_X.pt
"""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from utils.config import UserParser
from utils.errors import UserError, cli
from utils.runs.checkpoint import load_checkpoint

log = logging.getLogger(__name__)


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="checkpoint of a training run")
    parser.add_argument("target", type=Path, help="where the small file goes")
    parser.add_argument("--style_enc_ckpt", help="the style encoder's name where the model is shipped")
    parser.add_argument("--full", action="store_true", help="keep float32")
    args = parser.parse_args(argv)
    kind = "style_encoder" if "SE" in args.source.parts else "talker"
    checkpoint = load_checkpoint(args.source, kind)
    if args.style_enc_ckpt is not None and kind != "talker":
        raise UserError("--style_enc_ckpt: only a denoising network has a style encoder; leave it out")
    config = dict(checkpoint.config)
    if args.style_enc_ckpt is not None:
        config["style_enc_ckpt"] = args.style_enc_ckpt
    dtype = torch.float32 if args.full else torch.float16
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in checkpoint.model.items()}
    replace(checkpoint, model=weights, config=config, training={}).save(args.target)
    log.info("wrote %s (%.1f MB)", args.target, args.target.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
