"""Build the skin look: `models/data/open_head_skin*.jpg` (textures) and `open_head_skin.npz` (texture coordinates).

    python -m setup.build_skin [--size 2048] [--quality 86]

One texture for each of `TONES`. Takes two minutes and 3 GB of memory.
Procedural throughout (setup/open_head/skin_*.py), so the result is CC0.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from PIL import Image

from setup.open_head.skin_bake import Texels, picture, texels
from setup.open_head.skin_paint import TONES, Tone, paint, strands
from setup.open_head.skin_uv import WHITE_UV, packed_uv
from utils.atomic import atomic_path, write_npz
from utils.config import read_flags
from utils.errors import UserError, cli
from utils.heads.head_file import HeadFile, load_head_file
from utils.rendering.looks import SKIN_UV, SKINS

log = logging.getLogger(__name__)


def build(head: HeadFile, found: Texels, tone: Tone) -> np.ndarray:
    """The picture uint8 (size, size, 3) RGB, with strands of hair and a white spot where the tooth bands were."""
    image = picture(found, paint(head, found, tone))
    (u, v), half = WHITE_UV, 0.025
    _box(image, (u - half, v - half, 2 * half, 2 * half))[:] = 255
    box = _box(image, (0.62, 0.0, 0.30, 0.175))
    box[:] = np.round(255 * strands(tone, *box.shape[:2]))
    return image


def _box(image: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The part (left, bottom, width, height) of a picture, in texture coordinates."""
    left, bottom, width, height = (round(len(image) * x) for x in box)
    return image[len(image) - bottom - height : len(image) - bottom, left : left + width]


@dataclass(frozen=True)
class SkinFlags:
    """All flags."""

    size: int = 2048
    """Width and height of the texture, pixels."""
    quality: int = 86
    """JPEG quality."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(SkinFlags, argv, (__doc__ or " ").splitlines()[0])
    if not 64 <= flags.size <= 8192:
        raise UserError(f"--size {flags.size}: must lie between 64 and 8192")
    head = load_head_file(None)
    uv = packed_uv(head)
    found = texels(uv, head.ft, flags.size)
    log.info("%d x %d pixels, %.0f %% of them used", flags.size, flags.size, 100 * len(found.row) / flags.size**2)
    for name, tone in TONES.items():
        image = build(head, found, tone)
        with atomic_path(SKINS[name]) as path:
            Image.fromarray(image).save(path, quality=flags.quality)
        log.info("%s: %.0f kB", SKINS[name], SKINS[name].stat().st_size / 1e3)
    write_npz(SKIN_UV, {"uv": uv})


if __name__ == "__main__":
    main()
