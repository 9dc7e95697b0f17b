"""exp, pose and shape as arrays: our own npz, SPECTRE, DECA, EMOCA, EMICA, IMavatar, and others with usual names."""

from __future__ import annotations

import numpy as np

from utils.coefs import N_EXP
from utils.motion_file import FLAME_2020, UNKNOWN_FLAME, head_model_name
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows

_EXP = ("exp", "expression", "expr", "expcode", "expression_params")
_HEAD = ("rotation", "global_rotation", "global_orient", "global_pose", "head_pose", "head_rotation", "globalpose",
         "R")  # fmt: skip
_NECK, _JAW = ("neck_pose", "neck"), ("jaw_pose", "jaw", "jaw_params", "jawpose")
_POSE = ("pose", "posecode")
_BODY = ("poses", "body_pose", "fullpose", "trans")  # whose betas are not FLAME's shape
_SHAPE = ("shape", "shapecode", "identity", "betas", "shape_params")


def _read_pose(content: Content, head_model: str = FLAME_2020) -> Tracked:
    """Global rotation and jaw side by side, or FLAME's full pose: global, neck, jaw, two eyes (15)."""
    exp, pose = rows(content.first(*_EXP), f"{content.path}: exp"), content.first(*_POSE)
    pose = rows(pose, f"{content.path}: pose", (6, 12, 15, 18))
    half = pose.shape[1] // 2
    if pose.shape[1] == 15:
        head, neck, jaw, dropped = pose[:, :3], pose[:, 3:6], pose[:, 6:9], ("eyes",)
    else:
        head, neck, jaw, dropped = pose[:, :half], None, pose[:, half:], ()
    return Tracked(
        exp, head, jaw, neck, content.first(*_SHAPE), head_model=_model(content, head_model), dropped=dropped
    )


def _read_separate(content: Content, head_model: str = UNKNOWN_FLAME) -> Tracked:
    exp = rows(content.first(*_EXP), f"{content.path}: exp")
    head = rows(content.first(*_HEAD), f"{content.path}: rotation", (3, 4, 6, 9))
    jaw = rows(content.first(*_JAW), f"{content.path}: jaw", (3, 4, 6, 9))
    neck = content.first(*_NECK)
    neck = None if neck is None else rows(neck, f"{content.path}: neck", (3, 4, 6, 9))
    return Tracked(exp, head, jaw, neck, content.first(*_SHAPE), head_model=_model(content, head_model))


def _model(content: Content, otherwise: str) -> str:
    """The head model that a file of ours names."""
    name = content.texts.get("head_model", content.texts.get("head", otherwise))
    return head_model_name(name)


def _has_pose(content: Content) -> bool:
    return content.first(*_EXP) is not None and content.first(*_POSE) is not None


def _is_spectre(content: Content) -> bool:
    return _has_pose(content) and any(content.has(name) for name in ("cam", "tex", "light"))


def _is_imavatar(content: Content) -> bool:
    return content.has("expression", "pose", "shape_params") and content.columns["pose"].shape[-1:] == (15,)


def _own_columns(content: Content) -> list[str]:
    """Columns of our csv files, of streams (exp_0, head_x) and of exports of FLAME (exp_00, head_rx)."""
    width, mark = (1, "") if content.has("exp_0") else (2, "r")
    turns = [f"{part}_{mark}{axis}" for part in ("head", "jaw") for axis in "xyz"]
    return [*(f"exp_{i:0{width}d}" for i in range(N_EXP)), *turns]


def _read_own_csv(content: Content) -> Tracked:
    values = np.stack([content.columns[name] for name in _own_columns(content)], axis=1)
    return Tracked(values[:, :N_EXP], values[:, N_EXP:-3], values[:, -3:])


def _is_separate(content: Content) -> bool:
    return all(content.first(*names) is not None for names in (_EXP, _HEAD, _JAW))


_PUBLISHED = "exp (T, 50), pose (T, 6: global rotation, jaw), perhaps shape"
EMOCA = Format("emoca", "a folder of exp.npy and pose.npy for each frame (or of all frames)",
               lambda content: _has_pose(content) and content.suffix == ".npy", _read_pose)  # fmt: skip
SPECTRE = Format("spectre", f"{_PUBLISHED}, and cam, tex or light", _is_spectre, _read_pose)
EMICA = Format("emica", "a folder of exp.npy, jawpose.npy and globalpose.npy for each frame",
               lambda content: content.has("exp", "jawpose", "globalpose"),
               lambda content: _read_separate(content, FLAME_2020))  # fmt: skip
IMAVATAR = Format("imavatar", "flame_params.json: shape_params, and frames with expression and pose (15)", _is_imavatar,
                  _read_pose)  # fmt: skip
OWN_CSV = Format("csv", "our own csv: exp_0 or exp_00 ..., head and jaw rotation",
                 lambda content: content.has(*_own_columns(content)), _read_own_csv)  # fmt: skip
DECA = Format("deca", "as spectre", lambda content: False, _read_pose)
PLAIN = Format("npz", _PUBLISHED, _has_pose, lambda content: _read_pose(content, UNKNOWN_FLAME))
SEPARATE = Format("flame", f"one of {'/'.join(_EXP)}, of {'/'.join(_HEAD)} and of {'/'.join(_JAW)}", _is_separate,
                  _read_separate)  # fmt: skip


def shape_only(content: Content) -> np.ndarray | None:
    """The identity of a file that holds nothing else (MICA): (n,) or (T, n); None for any other file."""
    shape = content.first(*_SHAPE, "")
    motion = any(content.first(*names) is not None for names in (_EXP, _POSE, _HEAD, _BODY))
    if shape is None or motion or not shape.ndim or not shape.size:
        return None
    return shape if shape.shape[-1] in (100, 300) else None
