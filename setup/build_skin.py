"""Build the skin look: `models/data/open_head_skin.jpg` (texture) and `open_head_skin.npz` (its texture coordinates).

    python -m setup.build_skin [--size 2048] [--quality 86]

Takes a minute and 3 GB of memory. Procedural throughout (setup/open_head/skin_*.py), so the result is CC0.
"""

from __future__ import annotations

import logging

import numpy as np
from PIL import Image

from setup.open_head.skin_bake import picture, texels
from setup.open_head.skin_paint import paint
from setup.open_head.skin_uv import packed_uv
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.heads.head_file import HeadFile, load_head_file
from utils.rendering.looks import SKIN_TEXTURE, SKIN_UV

log = logging.getLogger(__name__)


def build(head: HeadFile, size: int) -> tuple[np.ndarray, np.ndarray]:
    """-> texture coordinates (U, 2) float32 and the picture uint8 (size, size, 3) RGB."""
    uv = packed_uv(head)
    found = texels(uv, head.ft, size)
    log.info("%d x %d pixels, %.0f %% of them used", size, size, 100 * len(found.row) / size**2)
    return uv, picture(found, paint(head, found))


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048, help="pixels (default: 2048)")
    parser.add_argument("--quality", type=int, default=86, help="of the JPEG (default: 86)")
    args = parser.parse_args(argv)
    if not 64 <= args.size <= 8192:
        raise UserError(f"--size {args.size}: must lie between 64 and 8192")
    head = load_head_file(None)
    uv, image = build(head, args.size)
    with atomic_path(SKIN_TEXTURE) as path:
        Image.fromarray(image).save(path, quality=args.quality)
    with atomic_path(SKIN_UV) as path, path.open("wb") as file:
        np.savez_compressed(file, uv=uv)
    log.info("%s: %.0f kB", SKIN_TEXTURE, SKIN_TEXTURE.stat().st_size / 1e3)


if __name__ == "__main__":
    main()
