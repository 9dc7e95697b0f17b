"""The head as it is drawn: the motion mesh subdivided, its tooth bands replaced, parts added that follow it.

A dressed head is a `HeadFile` in FLAME's layout itself, so all code that decodes, draws or exports heads takes it. Its
first V vertices are the motion mesh's (smoothed, so that landmarks and masks keep their numbers); it is never used for
metrics, losses or tracking.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from utils.errors import UserError
from utils.heads.head_file import OPEN_HEAD_FILE, Finish, HeadFile
from utils.heads.joints import ROOT_JOINT
from utils.heads.subdivision import subdivide
from utils.reading.array_file import read_npz

PARTS = OPEN_HEAD_FILE.with_name("open_head_parts.npz")
PARTS_FORMAT = "open-head-parts-2"
OLDER_FORMATS = ("open-head-parts-1",)  # without retouch, shade and soft rims
LEVELS = ((0.0110, 0.0026), (0.0170, 0.0045))  # metres: longer edges are split, once and twice: skin, lips
_STEPS = {"openness": 255, "rest": 1e5, "unit_dirs": 1e6, "tongue": 1e5}  # stored in 1/255, 10, 1, 10 micrometres
_KINDS = {"openness": np.uint8, "margins": bool, "unit_index": np.uint8}  # the others: int16
# Of parts: what their arrays are in memory, and as what they are stored; the others are float32.
_HUNDREDTHS = ("paint", "alpha", "shade")
_READ = {"open": bool, "covers": bool, "faces": np.int64, "bound_to": np.int64, "unit_index": np.int64}
_STORED = {"open": bool, "covers": bool, "faces": np.uint16, "bound_to": np.uint16, "unit_index": np.uint8}
_STORED |= dict.fromkeys(_HUNDREDTHS, np.uint8)
ON_TONGUE = 0.0045
_HOW = "get models/data/open_head_parts.npz of this version, or build it with `python -m setup.build_parts`"


@dataclass(frozen=True)
class Part:
    """Geometry that follows the head: n vertices, each bound to some of the head's. Metres, sRGB."""

    vertices: np.ndarray  # (n, 3)
    faces: np.ndarray  # (f, 3)
    paint: np.ndarray  # (n, 4) colour, gloss
    uv: np.ndarray  # (n, 2) on the skin's texture
    bound_to: np.ndarray  # (n, k) vertices of the head
    shares: np.ndarray  # (n, k) rows sum to 1
    alpha: np.ndarray | None = None  # (n,) for what is blended over the rest
    unit_index: np.ndarray | None = None  # (m,) expressions that move the part in another way than the head's vertices
    unit_dirs: np.ndarray | None = None  # (m, n, 3) in addition
    open: np.ndarray | None = None  # (f,) bool, faces whose inner side can be seen
    covers: np.ndarray | None = None  # (V,) bool, vertices of the head that lie hidden below it
    shade: np.ndarray | None = None  # (V,) factor on the head's colours: the light that it takes

    def follow(self, n: int) -> sp.csr_matrix:
        """(n_part, n) the matrix that gives the part the head's displacements."""
        rows = np.repeat(np.arange(len(self.vertices)), self.bound_to.shape[1])
        return sp.csr_matrix((self.shares.ravel(), (rows, self.bound_to.ravel())), shape=(len(self.vertices), n))


@dataclass(frozen=True)
class Retouch:
    """What is drawn otherwise on the motion mesh's own vertices."""

    openness: np.ndarray  # (V,) share of the sky that a vertex sees
    margins: np.ndarray  # (V,) bool, of the lids: their triangles are split
    rest: np.ndarray  # (V, 3) metres by which they lie elsewhere
    unit_index: np.ndarray  # (m,) expressions that move the drawn head otherwise
    unit_dirs: np.ndarray  # (m, V, 3) in addition
    tongue: np.ndarray  # (V, 3, 2) blend shapes of `utils.heads.tongue.TONGUE_UNITS`


def no_retouch(n: int) -> Retouch:
    """For a head of n vertices that is drawn as it is."""
    still = np.zeros((n, 3))
    return Retouch(np.ones(n), np.zeros(n, bool), still, np.zeros(0, int), still[None][:0], np.zeros((n, 3, 2)))


def read_parts(path: Path = PARTS) -> dict[str, Part]:
    """Every part of a file by its name.

    Raises:
        UserError: missing, of another version, or malformed.
    """
    arrays = _read(path)
    try:
        return {str(name): _unpack(arrays, str(name)) for name in arrays["names"]}
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise UserError(f"{path}: malformed ({error}); {_HOW}") from error


def read_retouch(n: int, path: Path = PARTS) -> Retouch:
    """The retouch of a head of n vertices; a file of the version before has none.

    Raises:
        UserError: missing, of another version, or malformed.
    """
    arrays, none = _read(path), no_retouch(n)
    if str(arrays["format"]) in OLDER_FORMATS:
        return none
    try:
        found = {key: arrays[f"retouch_{key}"] for key in vars(none)}
        found |= {key: found[key].astype(np.float32) / scale for key, scale in _STEPS.items()}
        if len(found["openness"]) != n or any(found[k].shape[1:] != v.shape[1:] for k, v in vars(none).items()):
            raise ValueError("wrong sizes")
        return Retouch(**found)
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path}: malformed ({error}); {_HOW}") from error


def _read(path: Path) -> dict[str, np.ndarray]:
    arrays = read_npz(path)
    if str(arrays.get("format")) not in (PARTS_FORMAT, *OLDER_FORMATS):
        raise UserError(f"{path}: format {arrays.get('format')}, this version reads {PARTS_FORMAT}; {_HOW}")
    return arrays


def pack_parts(parts: dict[str, Part], retouch: Retouch) -> dict[str, np.ndarray]:
    """Arrays to store."""
    packed = {"format": np.array(PARTS_FORMAT), "names": np.array(list(parts))}
    for key, values in vars(retouch).items():
        stored = np.round(values * _STEPS[key]) if key in _STEPS else values
        packed[f"retouch_{key}"] = stored.astype(_KINDS.get(key, np.int16))
    for name, part in parts.items():
        for key, values in vars(part).items():
            if values is not None:
                stored = np.round(values * 100) if key in _HUNDREDTHS else np.asarray(values)
                packed[f"{name}_{key}"] = stored.astype(_STORED.get(key, np.float32))
    return packed


def _unpack(arrays: dict[str, np.ndarray], name: str) -> Part:
    kept = [field for field in fields(Part) if field.default is MISSING or f"{name}_{field.name}" in arrays]
    found = {field.name: arrays[f"{name}_{field.name}"].astype(_READ.get(field.name, np.float32)) for field in kept}
    part = Part(**{key: values / 100 if key in _HUNDREDTHS else values for key, values in found.items()})
    if part.faces.max() >= len(part.vertices) or len(part.paint) != len(part.vertices):
        raise ValueError(f"{name}: {len(part.vertices)} vertices")
    return part


def dressed_head(head: HeadFile, paint: np.ndarray, parts: list[Part], retouch: Retouch | None = None) -> HeadFile:
    """The open head, subdivided, with parts; blended parts must come last.

    Args:
        head: the motion mesh, with texture coordinates.
        paint: (V, 4) colour and gloss of its vertices.
    """
    retouch = retouch or no_retouch(head.n_vertices)
    skin = _subdivided(head, parts, retouch.margins)
    follow = [part.follow(head.n_vertices) for part in parts]
    matrix = sp.csr_matrix(sp.vstack([skin.smooth, *follow]).tocsr().astype(np.float32))
    spread, spread_rest = _spreader(matrix), _spreader(sp.csr_matrix(matrix @ skin.inverse))
    followed = skin.inverse @ head.v_template
    offset = [np.zeros((skin.n, 3)), *(part.vertices - one @ followed for part, one in zip(parts, follow))]
    template = spread_rest(head.v_template) + np.concatenate(offset) + spread(retouch.rest)
    n_units = head.expdirs.shape[-1]
    units = [np.zeros((skin.n, 3, n_units)), *(_units(part, n_units) for part in parts)]
    weights = np.clip(spread(head.weights), 0, None)
    finish = _finish(head, skin, _shaded(paint, parts), parts, weights, spread(retouch.tongue))
    return replace(
        head,
        v_template=template.astype(np.float32),
        shapedirs=spread_rest(head.shapedirs),
        expdirs=(spread(retouched(head, retouch).expdirs) + np.concatenate(units)).astype(np.float32),
        posedirs=spread(head.posedirs),
        j_regressor=np.pad(head.j_regressor, {1: (0, len(template) - head.n_vertices)}),
        weights=weights / weights.sum(1, keepdims=True),
        faces=_with_parts(skin.faces, parts, [skin.n, *(len(part.vertices) for part in parts)]),
        masks={name: spread(mask.astype(np.float32)) > 0.5 for name, mask in head.masks.items()},
        vertex_colours=finish.paint[:, :3],
        uv=np.concatenate([skin.uv, *(part.uv for part in parts)]).astype(np.float32),
        ft=_with_parts(skin.ft, parts, [len(skin.uv), *(len(part.uv) for part in parts)]),
        finish=finish,
    )


@dataclass(frozen=True)
class _Skin:
    """The subdivided head, without the tooth bands and what the bust and hair hide."""

    smooth: sp.csr_matrix  # (n, V) that makes its vertices of the head's
    faces: np.ndarray
    uv: np.ndarray
    ft: np.ndarray

    @property
    def n(self) -> int:
        """Number of vertices."""
        return self.smooth.get_shape()[0]

    @cached_property
    def inverse(self) -> sp.csr_matrix:
        """(V, V) an approximate inverse of smoothing the head's own vertices: the lips touch at rest as before."""
        n = self.smooth.get_shape()[1]
        return sp.csr_matrix((2 * sp.identity(n) - self.smooth[:n]).tocsr().astype(np.float32))


def _with_parts(faces: np.ndarray, parts: list[Part], counts: list[int]) -> np.ndarray:
    """The head's faces, then the parts', whose numbers begin after so many (`counts`) of the head and each part."""
    return np.concatenate([faces, *(part.faces + begin for part, begin in zip(parts, np.cumsum(counts)))])


def _finish(
    head: HeadFile, skin: _Skin, paint: np.ndarray, parts: list[Part], weights: np.ndarray, tongue: np.ndarray
) -> Finish:
    """How the head and its parts are drawn; paint: (V, 4) of the head's vertices; weights, tongue: of all vertices."""
    paints = [skin.smooth @ paint, *(part.paint for part in parts)]
    alphas = [np.ones(len(part.vertices)) if part.alpha is None else part.alpha for part in parts]
    bag = skin.smooth @ (head.masks["mouth_interior"] | head.masks["lips"]).astype(np.float32) > 0
    opened = [np.zeros(len(part.faces), bool) if part.open is None else part.open for part in parts]
    return Finish(
        np.concatenate(paints).astype(np.float32),
        np.concatenate([np.ones(skin.n), *alphas]).astype(np.float32),
        sum(len(part.faces) for part in parts if part.alpha is not None),
        np.concatenate([bag[skin.faces].any(1), *opened]),
        head.n_vertices,
        head.faces,
        sp.csr_matrix(skin.smooth.astype(np.float32)),
        np.flatnonzero(head.masks["scalp"] & (np.abs(head.expdirs).max((1, 2)) < 1e-4)),
        (skin.n + np.flatnonzero(weights[skin.n :, ROOT_JOINT] > 0.9))[::8],  # shoulders
        tongue,
    )


def _shaded(paint: np.ndarray, parts: list[Part]) -> np.ndarray:
    """(V, 4) the head's paint in what all parts leave of its light."""
    shade = np.prod([np.ones(len(paint)), *(part.shade for part in parts if part.shade is not None)], axis=0)
    return np.column_stack([paint[:, :3] * shade[:, None], paint[:, 3]])


def retouched(head: HeadFile, retouch: Retouch) -> HeadFile:
    """The head whose lids shut as they are drawn."""
    expdirs = head.expdirs.copy()
    expdirs[:, :, retouch.unit_index] += retouch.unit_dirs.transpose(1, 2, 0)
    return replace(head, expdirs=expdirs)


def _spreader(matrix: sp.csr_matrix):
    def spread(values: np.ndarray) -> np.ndarray:
        flat = matrix @ values.reshape(len(values), -1)
        return np.ascontiguousarray(flat.reshape(len(flat), *values.shape[1:]), np.float32)

    return spread


def _units(part: Part, n_units: int) -> np.ndarray:
    """(n, 3, n_units) the part's displacements in addition to following the head."""
    own = np.zeros((len(part.vertices), 3, n_units))
    if part.unit_index is not None and part.unit_dirs is not None:
        own[:, :, part.unit_index] = part.unit_dirs.transpose(1, 2, 0)
    return own


def _subdivided(head: HeadFile, parts: list[Part], margins: np.ndarray) -> _Skin:
    assert head.uv is not None and head.ft is not None  # see `dressed_head`
    hidden = np.any([part.covers for part in parts if part.covers is not None] or [np.zeros(head.n_vertices, bool)], 0)
    shown = ~head.masks["teeth"][head.faces].any(1) & ~hidden[head.faces].all(1)
    faces, ft, uv = head.faces[shown], head.ft[shown], head.uv
    whole = np.zeros(head.n_vertices, bool)
    for name in ("left_eyeball", "right_eyeball"):
        whole |= head.masks[name]
    matrix = sp.csr_matrix(sp.identity(head.n_vertices))
    red = head.masks["lips"] & ~head.masks["mouth_interior"]
    for longest, on_lips in LEVELS:
        points = matrix @ head.v_template
        lips = (matrix @ red.astype(np.float32)) > 0.5
        balls = (matrix @ whole.astype(np.float32)) > 0
        edge = np.linalg.norm(points[faces] - points[faces[:, [1, 2, 0]]], axis=2).max(1)
        chosen = ((edge > longest) | ((edge > on_lips) & lips[faces].all(1))) & ~balls[faces].any(1)
        if len(points) == head.n_vertices:  # once
            chosen |= margins[faces].any(1) | ((edge > ON_TONGUE) & head.masks["tongue"][faces].all(1))
        step = subdivide(faces, ft, (len(points), len(uv)), chosen)
        matrix, faces, ft = step.operator @ matrix, step.faces, step.ft
        uv = step.uv_operator @ uv
    return _Skin(matrix, faces, uv, ft)
