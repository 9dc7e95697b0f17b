"""Build `models/data/open_head.npz`: a CC0 head in FLAME's layout, out of MakeHuman's assets.

    python -m setup.build_open_head [--wheel PATH] [-o OUT]

Takes about a minute and 1.5 GB of memory. The method is described in setup/README.md.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.heads.flame import Flame
from models.heads.mouth import mouth_opening
from setup.open_head.assembly import HeadMesh, assemble
from setup.open_head.colours import vertex_colours
from setup.open_head.identity import identity_space, sample_adults
from setup.open_head.landmarks import NAMED, Landmarks
from setup.open_head.lips import Lips
from setup.open_head.regions import build_masks
from setup.open_head.rig import Rig, build_rig
from setup.open_head.source import Source, find_wheel
from utils.atomic import write_npz
from utils.config import flag, read_flags
from utils.errors import cli
from utils.heads import head_asset
from utils.heads.head_file import N_IDENTITY, OPEN_HEAD_FILE, HeadFile
from utils.heads.joints import PARENTS

log = logging.getLogger(__name__)

JAW_CHECKS = (0.05, 0.1, 0.2, 0.3)  # radians
CLOSURE_CHECKS = (0.1, 0.25, 0.5, 0.75, 1.0)  # fractions of the full opening


def build(wheel: Path, n_adults: int, seed: int) -> dict[str, np.ndarray]:
    """The packed asset. Same wheel, arguments and libraries: same arrays."""
    source = Source(wheel)
    head = assemble(source.mesh())
    lips = Lips(head)
    log.info("%d vertices, %d triangles", len(head.rest), len(head.triangles))
    adults = sample_adults(source, head, lips, n_adults, np.random.default_rng(seed))
    space = identity_space(adults, head, lips, min(N_IDENTITY, n_adults - 1))
    log.info("%d components explain %.2f %% of %d adults", len(space.explained), 100 * space.explained[-1], n_adults)
    rig = build_rig(source, head, space)
    log.info("jaw: full opening %.4f rad about y %.4f z %.4f m", rig.full_opening, *rig.joints[2, 1:])
    masks = build_masks(source, head, lips, rig)
    landmarks = Landmarks(source, head, rig, masks).find(lips)
    packed = head_asset.pack(
        {
            "v_template": rig.template,
            "shapedirs": rig.identity,
            "expdirs": rig.expressions,
            "posedirs": rig.posedirs,
            "j_regressor": rig.regressor,
            "weights": rig.weights,
            "faces": head.triangles,
            "parents": np.array(PARENTS),
            "masks": masks,
            "landmarks": {name: int(landmarks[index]) for name, index in NAMED.items()},
            "lmk68": landmarks,
            "exp_names": rig.names,
            "vertex_colours": vertex_colours(head, rig, lips, masks, landmarks),
            "uv": head.uv,
            "ft": head.triangles_uv,
        }
    )
    _report(packed, head, lips, rig)
    return packed


def _report(packed: dict[str, np.ndarray], head: HeadMesh, lips: Lips, rig: Rig) -> None:
    """Check figures of what was packed: mouth opening per jaw angle and lip gaps under mouthClose, in mm."""
    flame = Flame(HeadFile(name="open_head", **head_asset.unpack(packed, "new head")))
    shape = torch.zeros(1, flame.n_shape)
    for angle in JAW_CHECKS:
        vertices = flame(shape, torch.zeros(1, 50), _jaw(angle))[0]
        log.info("jaw %.2f rad: mouth opening %.1f mm", angle, 1e3 * mouth_opening(vertices, flame.head))
    for share in CLOSURE_CHECKS:
        exp = torch.zeros(1, 50)
        exp[0, rig.names.index("mouthClose")] = share
        gap = 1e3 * lips.gap(flame(shape, exp, _jaw(share * rig.full_opening))[0].double().numpy())
        log.info(
            "jaw %.3f rad, mouthClose %.2f: lip gap %.2f to %.2f mm",
            share * rig.full_opening,
            share,
            gap.min(),
            gap.max(),
        )


def _jaw(angle: float) -> torch.Tensor:
    return torch.tensor([[0.0, 0.0, 0.0, angle, 0.0, 0.0]])


@dataclass(frozen=True)
class HeadFlags:
    """All flags."""

    wheel: Path | None = None
    """Wheel with the source assets (default: cached or downloaded by pip)."""
    output: Path = flag(OPEN_HEAD_FILE, "-o")
    """npz."""
    adults: int = 3000
    """Random adults behind the identity space."""
    seed: int = 0
    """Of the adults."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(HeadFlags, argv, (__doc__ or " ").splitlines()[0])
    packed = build(find_wheel(flags.wheel), flags.adults, flags.seed)
    write_npz(flags.output, packed)
    log.info("%s: %.2f MB", flags.output, flags.output.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
