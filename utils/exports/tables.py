"""Coefficients for other programs: npz in the layouts of FLAME tools, and a csv that any spreadsheet opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.atomic import atomic_path, write_npz
from utils.exports.arkit import head_model_of
from utils.exports.rig import expression_names
from utils.heads.head_file import HeadFile
from utils.motion_file import Motion

VHAP_SHAPE, VHAP_EXPRESSION, SMPLX_EXPRESSION = 300, 100, 50
TABLE_START = "frame,seconds,"  # how our own tables begin


def write_coefficients(path: str | Path, motion: Motion, head: HeadFile) -> None:
    """This project's own layout (`Motion.save`), which `extract_style.py` reads; always at 25 fps, its only rate.

    Raises:
        UserError: the path cannot be written.
    """
    replace(motion, head_model=motion.head_model or head_model_of(head)).save(path)


def vhap_arrays(motion: Motion) -> dict[str, np.ndarray]:
    """`flame_param.npz` of VHAP and GaussianAvatars: shape (300,), expr (T, 100), rotation, neck_pose, jaw_pose and
    translation (T, 3), eyes_pose (T, 6); axis-angle, radians. Without static_offset, which belongs to the avatar."""
    n = len(motion)
    return {
        "shape": _widened(motion.shape_or_average, VHAP_SHAPE),
        "expr": _widened(motion.exp, VHAP_EXPRESSION),
        "rotation": motion.pose[:, :3],
        "neck_pose": np.zeros((n, 3), np.float32),
        "jaw_pose": motion.pose[:, 3:],
        "eyes_pose": np.zeros((n, 6), np.float32),
        "translation": np.zeros((n, 3), np.float32),
    }


def smplx_arrays(motion: Motion, fps: float) -> dict[str, np.ndarray | np.floating]:
    """Keyword arguments of the `smplx` package's FLAME layer: betas (T, 100), expression (T, 50), global_orient,
    neck_pose, jaw_pose, leye_pose, reye_pose and transl (T, 3)."""
    zeros = np.zeros((len(motion), 3), np.float32)
    return {
        "betas": np.tile(motion.shape_or_average, (len(motion), 1)),
        "expression": motion.exp[:, :SMPLX_EXPRESSION],
        "global_orient": motion.pose[:, :3],
        "jaw_pose": motion.pose[:, 3:],
        **dict.fromkeys(("neck_pose", "leye_pose", "reye_pose", "transl"), zeros),
        "mocap_frame_rate": np.float32(fps),
    }


def write_floats(path: str | Path, arrays: Mapping[str, np.ndarray | np.floating]) -> None:
    """Compressed npz, floats as float32.

    Raises:
        UserError: the path cannot be written.
    """
    write_npz(path, {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in arrays.items()})


def write_table(path: str | Path, motion: Motion, head: HeadFile, fps: float) -> None:
    """csv with a line per frame: frame, seconds, the expressions by name, head and jaw rotation (axis-angle, radians).

    Raises:
        UserError: the path cannot be written.
    """
    names = [f"{part}_r{axis}" for part in ("head", "jaw") for axis in "xyz"]
    header = TABLE_START + ",".join([*expression_names(head), *names])
    frames = np.arange(len(motion))
    table = np.column_stack([frames, frames / fps, motion.exp, motion.pose])
    with atomic_path(path) as temporary:
        np.savetxt(temporary, table, delimiter=",", header=header, comments="", fmt=["%d"] + ["%.6g"] * 57)


def _widened(values: np.ndarray, size: int) -> np.ndarray:
    """The last axis filled up with zeros: missing coefficients are 0."""
    return np.pad(values, {values.ndim - 1: (0, size - values.shape[-1])})
