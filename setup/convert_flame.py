r"""Convert FLAME's download into a small npz for `--head`.

    python -m setup.convert_flame generic_model.pkl [--masks FLAME_masks.pkl] [--uv FLAME_texture.npz] \
        -o models/data/flame.npz

Keeps the 100 identity and 50 expression components the system uses, as float32. The pickle is read by a restricted
unpickler: it needs no chumpy and executes nothing. FLAME's licence forbids passing the result on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.atomic import write_npz
from utils.config import flag, positional, read_flags, required
from utils.errors import UserError, cli
from utils.heads.flame_pickle import load_mask_pickle
from utils.heads.head_file import HeadFile, as_mask, load_head_file, with_uv

log = logging.getLogger(__name__)


def flame_arrays(head: HeadFile, masks: dict[str, np.ndarray], landmarks: dict[str, int]) -> dict[str, np.ndarray]:
    """The arrays of the npz, which `load_head_file` reads back. masks: name -> (V,) bool."""
    arrays = {
        "v_template": head.v_template,
        "shapedirs": head.shapedirs,
        "expdirs": head.expdirs,
        "posedirs": head.posedirs,
        "J_regressor": head.j_regressor,
        "weights": head.weights,
        "f": head.faces.astype(np.uint32),
        "kintree_table": np.stack([head.parents, np.arange(len(head.parents))]),
    }
    optional = {"lmk68": head.lmk68, "vt": head.uv, "ft": head.ft, "vertex_colours": head.vertex_colours}
    arrays |= {key: value for key, value in optional.items() if value is not None}
    arrays |= {f"masks_{name}": value for name, value in (head.masks | masks).items()}
    return arrays | {f"landmarks_{name}": np.array(vertex) for name, vertex in (head.landmarks | landmarks).items()}


def _parse_landmark(text: str, n_vertices: int) -> tuple[str, int]:
    name, _, vertex = text.partition("=")
    if not name or not vertex.isdecimal() or int(vertex) >= n_vertices:
        raise UserError(f"--landmark {text}: expected NAME=VERTEX with a vertex from 0 to {n_vertices - 1}")
    return name, int(vertex)


@dataclass(frozen=True)
class FlameFlags:
    """All flags."""

    model: Path = positional()
    """FLAME's generic_model.pkl (2020 or 2023)."""
    output: Path = required("-o")
    """The npz to write."""
    masks: Path | None = None
    """FLAME_masks.pkl (default: beside the model, if there is one)."""
    uv: Path | None = None
    """FLAME_texture.npz or head_template.obj, for texture images (default: beside the model, if there is one)."""
    landmark: tuple[str, ...] = flag((), metavar="NAME=VERTEX")
    """Vertices by name."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(FlameFlags, argv, (__doc__ or " ").splitlines()[0])
    if flags.output.suffix != ".npz":
        raise UserError(f"--output {flags.output}: must end in .npz")
    head = load_head_file(flags.model)
    if flags.uv is not None:
        head = with_uv(head, flags.uv)
    landmarks = dict(_parse_landmark(text, head.n_vertices) for text in flags.landmark)
    masks = {} if flags.masks is None else load_mask_pickle(flags.masks)
    masks = {name: as_mask(ids, head.n_vertices, f"{flags.masks}: mask {name!r}") for name, ids in masks.items()}
    write_npz(flags.output, flame_arrays(head, masks, landmarks))
    coordinates = "no" if head.uv is None else len(head.uv)
    log.info("%s: %d vertices, %d masks, %s texture coordinates", flags.output, head.n_vertices,
             len(head.masks | masks), coordinates)  # fmt: skip


if __name__ == "__main__":
    main()
