"""Lashes and the shadows of the upper lids on the eyeballs: blended ribbons along the lid margins. Metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from setup.open_head.assembly import HeadMesh
from setup.open_head.rig import lid_margin, split_lids
from setup.open_head.shapes import ball_centre, grid_quads, triangles
from setup.open_head.skin_uv import WHITE_UV
from utils.heads.dressed_head import Part
from utils.heads.head_file import HeadFile

LASH, SHADOW = (0.10, 0.07, 0.06), (0.10, 0.05, 0.05)
UPPER, LOWER = 44, 34  # tufts a lid
CURVE = np.array([0.0, 0.45, 0.8, 1.0])  # rows of a tuft, shares of its length
LASH_ALPHA = np.array([0.80, 0.55, 0.25, 0.03])
SHADOW_ROWS, SHADOW_ALPHA = np.array([-1.5, 0.0, 1.4, 3.0, 5.0]) * 1e-3, np.array([0.62, 0.55, 0.30, 0.12, 0.0])
ABOVE_BALL = 5e-4
MOVED = 2e-4  # metres: units that move a lid less are left out


@dataclass(frozen=True)
class Lid:
    """One lid's margin from the nose outwards, and the eyeball below."""

    ids: np.ndarray  # (m,) vertices
    points: np.ndarray  # (m, 3)
    centre: np.ndarray  # (3,)
    radius: float
    side: int  # 1: the left eye
    poles: tuple[int, int]  # vertices of the ball that lie opposite each other

    def at(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (n, 2) and their shares of places along the margin, 0..1."""
        length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(self.points, axis=0), axis=1))]
        column = np.clip(np.interp(share * length[-1], length, np.arange(len(length))), 0, len(length) - 1.001)
        left = column.astype(int)
        return np.stack([self.ids[left], self.ids[left + 1]], 1), np.stack([1 - column % 1, column % 1], 1)


def lids(head: HeadFile, mesh: HeadMesh, upper: bool) -> list[Lid]:
    """The lids of both eyes."""
    found = []
    for name, side in (("Left", 1), ("Right", -1)):
        ids = split_lids(head.v_template, lid_margin(mesh, name))[0 if upper else 1]
        ids = ids if side * head.v_template[ids[0], 0] < side * head.v_template[ids[-1], 0] else ids[::-1]
        ball = head.v_template[head.masks[f"{name.lower()}_eyeball"]].astype(np.float64)
        centre = ball_centre(ball)
        radius = float(np.linalg.norm(ball - centre, axis=1).mean())
        poles = np.flatnonzero(head.masks[f"{name.lower()}_eyeball"])[[0, -1]]
        found.append(Lid(ids, head.v_template[ids].astype(np.float64), centre, radius, side, tuple(poles)))
    return found


def lashes(head: HeadFile, mesh: HeadMesh) -> Part:
    """Tufts that taper off and curve, longest on the outer half."""
    found = []
    for upper in (True, False):
        for lid in lids(head, mesh, upper):
            found += _tufts(head, lid, upper)
    return _assembled(head, found, LASH)


def shadows(head: HeadFile, mesh: HeadMesh) -> Part:
    """A strip on each eyeball below its upper lid."""
    found = []
    for lid in lids(head, mesh, upper=True):
        share = np.linspace(0.02, 0.98, 25)
        ids, parts = lid.at(share)
        strip = _strip(head.v_template, lid, ids, parts)
        faces = triangles(grid_quads(len(SHADOW_ROWS), len(share)))
        bound = np.tile(ids, (len(SHADOW_ROWS), 1)), np.tile(parts, (len(SHADOW_ROWS), 1))
        ends = np.clip(np.minimum(share, 1 - share) / 0.12, 0, 1)
        alpha = (SHADOW_ALPHA[:, None] * ends).ravel()
        found.append((strip, faces, bound, alpha, lambda points, _, lid=lid, i=ids, p=parts: _strip(points, lid, i, p)))
    return _assembled(head, found, SHADOW)


def _strip(points: np.ndarray, lid: Lid, ids: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Points just above the eyeball, rows below the margin."""
    margin, centre = (points[ids] * shares[..., None]).sum(1), points[list(lid.poles)].mean(0)
    rows = []
    for down in SHADOW_ROWS:
        ray = margin - [0, down, 0] - centre
        rows.append(centre + ray / np.linalg.norm(ray, axis=1, keepdims=True) * (lid.radius + ABOVE_BALL))
    return np.concatenate(rows)


def _tufts(head: HeadFile, lid: Lid, upper: bool) -> list[tuple]:
    rng = np.random.default_rng(3 if upper else 4)
    found, n = [], UPPER if upper else LOWER
    for share in np.linspace(*((0.16, 0.93) if upper else (0.30, 0.88)), n):
        width = (0.36 if upper else 0.14) / n
        ids, parts = lid.at(np.clip(share + np.array([-width, width]), 0, 1))
        ends = np.clip(np.minimum(share - 0.10, 1.0 - share) / 0.15, 0.25, 1)  # short and faint at the corners
        length = (0.0026 + 0.0024 * share) * (ends if upper else 0.34) * rng.uniform(0.85, 1.12)
        fan = lid.side * (0.75 * (share - 0.38) + rng.uniform(-0.12, 0.12))
        alpha = LASH_ALPHA * ends * (1 if upper else 0.55)
        shape = (lid, ids, parts, length, fan, 1 if upper else -1)
        rows = len(CURVE)
        faces = triangles(grid_quads(rows, 2))
        bound = np.tile(ids, (rows, 1)), np.tile(parts, (rows, 1))
        found.append((_tuft(head.v_template, *shape), faces, bound, np.repeat(alpha, 2),
                      lambda points, before, shape=shape: _turned(points, before, *shape)))  # fmt: skip
    return found


def _tuft(points: np.ndarray, lid: Lid, ids: np.ndarray, shares: np.ndarray, length: float, fan: float, up: int):
    """(2 rows, 3) the edges of one tuft."""
    root = (points[ids] * shares[..., None]).sum(1)
    radial = root.mean(0) - lid.centre
    radial /= np.linalg.norm(radial)
    start = radial + np.array([fan, 0.05 * up, 0.0])
    middle, rows = root.mean(0), []
    for share in CURVE:
        way = length * (share * start + share**2 * np.array([0, 0.62 * up, 0]))
        rows.append(middle + (root - middle) * (1 - share) ** 0.8 + way)
    return np.concatenate(rows)


def _turned(points: np.ndarray, before: np.ndarray, lid: Lid, ids: np.ndarray, shares: np.ndarray, *_) -> np.ndarray:
    """A tuft turned with its root about the eyeball."""
    old, new = ((p[ids] * shares[..., None]).sum(1).mean(0) for p in (before, points))
    one, other = old - lid.centre, new - lid.centre
    one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
    axis, cosine = np.cross(one, other), float(one @ other)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + k + k @ k / (1 + cosine)
    return (_tuft(before, lid, ids, shares, *_) - old) @ turn.T + new


def _assembled(head: HeadFile, found: list[tuple], colour: tuple) -> Part:
    """Pieces (points, faces, (ids, shares), alpha, where they are on a moved head) as one part."""
    template = head.v_template.astype(np.float64)
    first = np.r_[0, np.cumsum([len(piece[0]) for piece in found])]
    points = np.concatenate([piece[0] for piece in found])
    ids, shares = (np.concatenate([piece[2][i] for piece in found]) for i in range(2))
    units, dirs = [], []
    for unit in range(head.expdirs.shape[-1]):
        motion = head.expdirs[:, :, unit].astype(np.float64)
        if np.linalg.norm(motion[np.unique(ids)], axis=1).max() > MOVED:
            moved = np.concatenate([piece[4](template + motion, template) for piece in found])
            units.append(unit)
            dirs.append(moved - points - (motion[ids] * shares[..., None]).sum(1))
    paint = np.column_stack([np.tile(colour, (len(points), 1)), np.zeros(len(points))])
    return Part(points, np.concatenate([piece[1] + n for piece, n in zip(found, first)]), paint,
                np.tile(WHITE_UV, (len(points), 1)), ids, shares, np.concatenate([piece[3] for piece in found]),
                np.array(units), np.array(dirs, np.float32))  # fmt: skip
