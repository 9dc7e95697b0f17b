"""SMIRK: a dict of pose_params, jaw_params, expression_params, shape_params (npz, npy, pt or pickle), axis-angle."""

from __future__ import annotations

from utils.motion_file import FLAME_2020
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows


def _matches(content: Content) -> bool:
    return content.has("pose_params", "jaw_params", "expression_params")


def read(content: Content) -> Tracked:
    """Raises UserError for arrays of other widths."""
    columns = content.columns
    neck = content.first("neck_pose_params")
    return Tracked(
        rows(columns["expression_params"], f"{content.path}: expression_params"),
        rows(columns["pose_params"], f"{content.path}: pose_params", (3, 4, 6, 9)),
        rows(columns["jaw_params"], f"{content.path}: jaw_params", (3, 4, 6, 9)),
        None if neck is None else rows(neck, f"{content.path}: neck_pose_params", (3, 4, 6, 9)),
        content.first("shape_params"),
        head_model=FLAME_2020,
        dropped=tuple(name for name in ("eyelid_params", "eye_pose_params") if content.has(name)),
    )


SMIRK = Format("smirk", "pose_params (T, 3), jaw_params (T, 3), expression_params (T, 50), perhaps shape_params",
               _matches, read)  # fmt: skip
