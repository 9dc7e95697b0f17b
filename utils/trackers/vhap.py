"""VHAP: `tracked_flame_params_*.npz`, or `flame_param/NNNNN.npz` of its exports. FLAME 2023, axis-angle, a neck."""

from __future__ import annotations

from utils.motion_file import FLAME_2023
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows


def _matches(content: Content) -> bool:
    return content.has("rotation", "neck_pose", "jaw_pose", "expr")


def read(content: Content) -> Tracked:
    """Raises UserError for arrays of other widths."""
    columns = {name: rows(content.columns[name], f"{content.path}: {name}", (3,))
               for name in ("rotation", "neck_pose", "jaw_pose")}  # fmt: skip
    dropped = tuple(name for name in ("eyes_pose", "translation", "static_offset") if content.has(name))
    return Tracked(
        rows(content.columns["expr"], f"{content.path}: expr"),
        columns["rotation"],
        columns["jaw_pose"],
        columns["neck_pose"],
        content.first("shape"),
        head_model=FLAME_2023,
        dropped=dropped,
    )


VHAP = Format("vhap", "rotation (T, 3), neck_pose (T, 3), jaw_pose (T, 3), expr (T, 100), shape (300)", _matches, read)
