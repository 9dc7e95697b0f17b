"""Head models in FLAME's layout, from three kinds of file: the packed open head, FLAME's own pickle, and FLAME npz.

The vertex count always comes from the file (FLAME 2020: 5023; FLAME 2023 and the open head differ).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.sparse

from utils.errors import UserError
from utils.heads import head_asset
from utils.heads.flame_pickle import load_flame_pickle, load_mask_pickle
from utils.heads.head_uv import find_uv, read_uv
from utils.heads.joints import N_JOINTS, PARENTS
from utils.reading.array_file import is_numeric, read_npz

OPEN_HEAD_FILE = Path(__file__).resolve().parents[2] / "models" / "data" / "open_head.npz"

N_IDENTITY, N_EXPRESSION = 100, 50
# FLAME keeps 300 identity components before the expressions in `shapedirs`.
FLAME_EXPRESSION = slice(300, 350)
_ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f")
_HOW = "run `python -m setup.convert_flame` on FLAME's generic_model.pkl, or leave out --head for the open head"


@dataclass(frozen=True)
class Finish:
    """What a dressed head (`utils.heads.dressed_head`) has beyond its mesh."""

    paint: np.ndarray  # (N, 4) float32: sRGB, which a texture is multiplied with, and gloss
    alpha: np.ndarray  # (N,) float32, 1 but on what is blended over the rest
    blended: int  # number of faces at the end of the list that are blended
    inner: np.ndarray  # (F,) bool, faces whose inner side can be seen: through the open mouth, under hair
    n_motion: int  # vertices of the motion mesh, which come first
    motion_faces: np.ndarray  # (F', 3) its faces
    smooth: scipy.sparse.csr_matrix  # (n, V) from it to the n drawn vertices of the skin
    calm: np.ndarray  # some vertices that move with the skull only
    shoulders: np.ndarray  # some vertices that stay when the head turns
    tongue: np.ndarray  # (N, 3, 2) float32, blend shapes of `utils.heads.tongue.TONGUE_UNITS`


@dataclass(frozen=True)
class HeadFile:
    """A head model as arrays. V vertices, F triangles; lengths in metres, y up, z forward."""

    name: str
    v_template: np.ndarray  # (V, 3) float32
    shapedirs: np.ndarray  # (V, 3, <=100) float32, identity
    expdirs: np.ndarray  # (V, 3, 50) float32
    posedirs: np.ndarray  # (V, 3, 36) float32, driven by R - I of joints 1..4, row-major
    j_regressor: np.ndarray  # (5, V) float32
    weights: np.ndarray  # (V, 5) float32, rows sum to 1
    faces: np.ndarray  # (F, 3) int64
    parents: np.ndarray = field(default_factory=lambda: np.array(PARENTS))  # (5,) int64
    masks: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (V,) bool
    landmarks: dict[str, int] = field(default_factory=dict)  # name -> vertex
    lmk68: np.ndarray | None = None  # (68,) int64, iBUG order
    exp_names: list[str] | None = None  # names of the 50 expressions
    vertex_colours: np.ndarray | None = None  # (V, 3) float32, sRGB in 0..1
    uv: np.ndarray | None = None  # (U, 2) float32
    ft: np.ndarray | None = None  # (F, 3) int64, texture corners
    finish: Finish | None = None  # of a dressed head

    @property
    def n_vertices(self) -> int:
        return len(self.v_template)

    def mask(self, name: str) -> np.ndarray:
        """(V,) bool of a named region.

        Raises:
            UserError: the file has no such mask.
        """
        if name not in self.masks:
            has = ", ".join(sorted(self.masks)) or "none"
            raise UserError(f"{self.name}: no vertex mask {name!r} (has: {has}); put FLAME_masks.pkl beside the "
                            "model, or give it with --masks")  # fmt: skip
        return self.masks[name]

    def landmark(self, name: str) -> int:
        """Vertex of a named landmark.

        Raises:
            UserError: the file has no such landmark.
        """
        if name not in self.landmarks:
            raise UserError(f"{self.name}: no landmark {name!r}; give it to `python -m setup.convert_flame`")
        return self.landmarks[name]


def load_head_file(path: str | Path | None = None) -> HeadFile:
    """Read a head model; None is the open head shipped with the project.

    Raises:
        UserError: missing or unreadable file, missing arrays, wrong shapes, values that are not finite.
    """
    path = OPEN_HEAD_FILE if path is None else Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: no such head model; setup/README.md tells where FLAME comes from, or leave out --head"
        )
    if path.suffix == ".pkl":
        arrays = load_flame_pickle(path)
        masks = path.with_name("FLAME_masks.pkl")
        head = _from_flame(arrays, path, load_mask_pickle(masks) if masks.is_file() else {})
        beside = find_uv(path)
        return head if beside is None else with_uv(head, beside)
    arrays = _read_npz(path)
    if "format" in arrays:  # packed
        return _checked(HeadFile(name=path.stem, **head_asset.unpack(arrays, str(path))), path)
    masks = {key.removeprefix("masks_"): arrays[key] for key in arrays if key.startswith("masks_")}
    return _from_flame(arrays, path, masks)


def with_uv(head: HeadFile, path: Path) -> HeadFile:
    """The head with the texture coordinates of a file; UserError as for `read_uv`."""
    uv, corners = read_uv(path, head.faces)
    return replace(head, uv=uv, ft=corners)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path)
    except UserError as error:
        raise UserError(f"{error}, or {_HOW}") from error


def _from_flame(arrays: dict[str, np.ndarray], path: Path, masks: dict[str, np.ndarray]) -> HeadFile:
    missing = [key for key in _ARRAYS if key not in arrays]
    if missing:
        raise UserError(f"{path}: not a FLAME model, it lacks {', '.join(missing)}; {_HOW}")
    try:
        if len(arrays["v_template"]) > head_asset.MAX_VERTICES:
            raise ValueError(f"{len(arrays['v_template'])} vertices")
        with np.errstate(over="ignore", invalid="ignore"):  # infinite and NaN are refused below
            head = _assemble(arrays, path, masks)
        return _checked(head, path)
    except UserError:
        raise
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{path}: malformed ({error}); {_HOW}") from error


def _assemble(arrays: dict[str, np.ndarray], path: Path, masks: dict[str, np.ndarray]) -> HeadFile:
    template = _float32(arrays["v_template"])
    directions = _float32(arrays["shapedirs"])
    expressions = _float32(arrays["expdirs"]) if "expdirs" in arrays else directions[:, :, FLAME_EXPRESSION]
    lmk68, ft = (np.asarray(arrays[k]).astype(np.int64) if k in arrays else None for k in ("lmk68", "ft"))
    colours, uv = arrays.get("vertex_colours"), arrays.get("vt", arrays.get("uv"))
    return HeadFile(
        name=path.stem,
        v_template=template,
        shapedirs=directions[:, :, :N_IDENTITY],
        expdirs=expressions,
        posedirs=_float32(arrays["posedirs"]),
        j_regressor=_float32(arrays["J_regressor"]),
        weights=_float32(arrays["weights"]),
        faces=np.asarray(arrays["f"]).astype(np.int64),
        parents=_parents(arrays),
        masks={name: as_mask(ids, len(template), f"{path}: mask {name!r}") for name, ids in masks.items()},
        landmarks={k.removeprefix("landmarks_"): int(v) for k, v in arrays.items() if k.startswith("landmarks_")},
        vertex_colours=None if colours is None else _float32(colours),
        uv=None if uv is None else _float32(uv),
        lmk68=lmk68,
        ft=ft,
    )


def _float32(values: np.ndarray) -> np.ndarray:
    if not is_numeric(values):
        raise TypeError(f"an array holds {values.dtype}, not numbers")
    return np.array(values, dtype=np.float32, order="C")  # a copy: arrays of files are read-only


def _parents(arrays: dict[str, np.ndarray]) -> np.ndarray:
    if "kintree_table" not in arrays:
        return np.array(PARENTS)
    # The table is uint32 in some files: the root's parent is 4294967295 there.
    return np.asarray(arrays["kintree_table"])[0].astype(np.int64).astype(np.int32).astype(np.int64)


def as_mask(ids: np.ndarray, n_vertices: int, what: str) -> np.ndarray:
    """Vertex numbers (n,) or a mask (V,) bool -> (V,) bool; `what` names the source in the error.

    Raises:
        UserError: numbers outside the mesh, as from the masks of another FLAME version.
    """
    ids = np.asarray(ids)
    if ids.dtype == bool and ids.shape == (n_vertices,):
        return ids
    ids = ids.astype(np.int64)
    if ids.size and not 0 <= ids.min() <= ids.max() < n_vertices:
        raise UserError(f"{what} names vertices outside 0..{n_vertices - 1}; use the masks of this FLAME version")
    mask = np.zeros(n_vertices, bool)
    mask[ids] = True
    return mask


def _checked(head: HeadFile, path: Path) -> HeadFile:
    n = head.n_vertices
    expected = {
        "v_template": (n, 3),
        "shapedirs": (n, 3, min(head.shapedirs.shape[-1], N_IDENTITY)),
        "expdirs": (n, 3, N_EXPRESSION),
        "posedirs": (n, 3, 9 * (N_JOINTS - 1)),
        "j_regressor": (N_JOINTS, n),
        "weights": (n, N_JOINTS),
        "faces": (len(head.faces), 3),
    }
    for key, shape in expected.items():
        values = getattr(head, key)
        if values.shape != shape:
            raise UserError(f"{path}: {key} has shape {values.shape}, expected {shape}; {_HOW}")
        if not np.isfinite(values).all():
            raise UserError(f"{path}: {key} has values that are not finite; {_HOW}")
    _check_numbers(head, path)
    if not np.allclose(head.weights.sum(1), 1, atol=1e-3):
        raise UserError(f"{path}: skinning weights do not sum to 1; {_HOW}")
    if tuple(head.parents) != PARENTS:
        raise UserError(f"{path}: joint parents {tuple(head.parents)}, expected {PARENTS}; {_HOW}")
    return head


def _check_numbers(head: HeadFile, path: Path) -> None:
    """Check the vertices named by faces and landmarks, texture corners, and the sizes of optional arrays."""
    n, n_uv = head.n_vertices, 0 if head.uv is None else len(head.uv)
    landmarks = np.array(list(head.landmarks.values()), np.int64)
    for name, ids, end in (
        ("faces", head.faces, n),
        ("lmk68", head.lmk68, n),
        ("landmarks", landmarks, n),
        ("ft", head.ft, n_uv),
    ):
        if ids is not None and ids.size and not 0 <= ids.min() <= ids.max() < end:
            raise UserError(f"{path}: {name} name vertices outside 0..{end - 1}; {_HOW}")
    shapes = {"uv": (n_uv, 2), "ft": head.faces.shape, "vertex_colours": (n, 3), "lmk68": (68,)}
    for name, shape in shapes.items():
        values = getattr(head, name)
        if values is not None and (values.shape != shape or not np.isfinite(values).all()):
            raise UserError(f"{path}: {name} has shape {values.shape} or is not finite, expected {shape}; {_HOW}")
    if head.exp_names is not None and len(head.exp_names) != N_EXPRESSION:
        raise UserError(f"{path}: names {len(head.exp_names)} expressions, not {N_EXPRESSION}; {_HOW}")
    if any(mask.shape != (n,) for mask in head.masks.values()):
        raise UserError(f"{path}: a mask is not of {n} vertices; {_HOW}")
