"""Build `models/data/open_head_parts.npz`: what is drawn with the open head beside its mesh.

    python -m setup.build_parts [--wheel PATH] [-o OUT]

Teeth, gums, lashes, hair and bust (setup/open_head/), which follow the head and are not part of the motion mesh, and
what is drawn otherwise on its own vertices.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from setup.open_head.assembly import assemble
from setup.open_head.bust import bust
from setup.open_head.crowns import gums, teeth
from setup.open_head.hair import bob, short, softened
from setup.open_head.lashes import lashes, shadows
from setup.open_head.retouch import retouch, shaded
from setup.open_head.source import Source, find_wheel
from utils.atomic import write_npz
from utils.config import flag, read_flags
from utils.errors import cli
from utils.heads.dressed_head import PARTS, Part, Retouch, pack_parts, retouched
from utils.heads.head_file import HeadFile, load_head_file

log = logging.getLogger(__name__)


def build(head: HeadFile, wheel: Path) -> tuple[dict[str, Part], Retouch]:
    """Every part by its name, the blended ones last."""
    base = Source(wheel).mesh()
    mesh = assemble(base)
    found = retouch(head, mesh)
    below, hair = shaded(head, bust(head, mesh, base), {"short": short(head), "bob": bob(head)})
    solid, soft = softened(hair)
    eyes = retouched(head, found)
    parts = {"teeth": teeth(head), "gums": gums(head), "bust": below} | solid
    return parts | {"shadows": shadows(eyes, mesh), "lashes": lashes(eyes, mesh)} | soft, found


@dataclass(frozen=True)
class PartFlags:
    """All flags."""

    wheel: Path | None = None
    """Wheel with the source assets (default: as setup.build_open_head)."""
    output: Path = flag(PARTS, "-o")
    """npz."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(PartFlags, argv, (__doc__ or " ").splitlines()[0])
    parts, found = build(load_head_file(None), find_wheel(flags.wheel))
    write_npz(flags.output, pack_parts(parts, found))
    for name, part in parts.items():
        log.info("%s: %d vertices, %d triangles", name, len(part.vertices), len(part.faces))
    log.info("%s: %.2f MB", flags.output, flags.output.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
