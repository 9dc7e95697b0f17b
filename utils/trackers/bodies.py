"""Bodies with faces: SMPL-X files and TalkSHOW. Their expressions are FLAME's; the head turns against the chest.

Of the body only neck and head count, so the head is seen from a chest that stands still. A body's betas are not the
shape of a FLAME head.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from utils.errors import UserError
from utils.motion_file import FLAME_2020
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows

# Where an axis-angle of SMPL-X's 55 joints begins: neck 12, head 15, jaw 22; in body_pose the root is missing.
_NECK, _HEAD, _JAW, _ROOT = 36, 45, 66, 3
_POSES, _BODY, _TALKSHOW = 165, 63, 265
_TALKSHOW_BODY, _TALKSHOW_EXP = 12, 165  # jaw 3, eyes 6, root 3, body 63, hands 90, expressions 100
_NOTE = "a body: the head turns against the chest; the body's motion and betas are left out"


def _array(content: Content) -> np.ndarray | None:
    found = [v for v in content.columns.values() if v.ndim >= 2 and v.shape[-1] == _TALKSHOW]
    return found[0] if len(found) == 1 else None


def _has_poses(content: Content) -> bool:
    poses = content.first("poses", "fullpose", "body_pose")
    return poses is not None and poses.ndim >= 2 and len(poses) > 0 and poses[0].size in (_POSES, _BODY)


def _joints(values: np.ndarray, root: int) -> tuple[np.ndarray, np.ndarray]:
    """Axis-angles (T, 3) of neck and head in columns that begin with the root's, at `root`."""
    neck, head = root + _NECK, root + _HEAD
    return values[:, neck : neck + 3], values[:, head : head + 3]


def _tracked(exp: np.ndarray, neck: np.ndarray, head: np.ndarray, jaw: np.ndarray, fps: float | None = None) -> Tracked:
    """Axis-angles (T, 3) of neck, head and jaw. The head's rotation against the chest is neck * head."""
    known = np.isfinite(np.concatenate([neck, head], axis=1)).all(axis=1)
    turned = np.full((len(neck), 9), np.nan)
    whole = Rotation.from_rotvec(neck[known]) * Rotation.from_rotvec(head[known])
    turned[known] = whole.as_matrix().reshape(-1, 9)
    return Tracked(exp, turned, jaw, notation="matrix", own_jaw="axis_angle", head_model=FLAME_2020, fps=fps,
                   notes=(_NOTE,))  # fmt: skip


def read_smplx(content: Content) -> Tracked:
    """Raises UserError for a body without expressions, or arrays of other widths."""
    exp = content.first("expressions", "expression")
    if exp is None:
        raise UserError(f"{content.path}: is a body without facial expressions; give a file with expressions (T, 100)")
    exp = rows(exp, f"{content.path}: expressions")
    whole = content.first("poses", "fullpose")
    if whole is not None:
        poses = rows(whole, f"{content.path}: poses", (_POSES,))
        return _tracked(exp, *_joints(poses, 0), poses[:, _JAW : _JAW + 3])
    body = rows(content.columns["body_pose"], f"{content.path}: body_pose", (_BODY,))
    jaw = rows(content.first("jaw_pose"), f"{content.path}: jaw_pose", (3,))
    return _tracked(exp, *_joints(body, -_ROOT), jaw)


def read_talkshow(content: Content) -> Tracked:
    """Raises UserError for an array without frames."""
    values = rows(_array(content), f"{content.path}", (_TALKSHOW,))
    return _tracked(values[:, _TALKSHOW_EXP:], *_joints(values, _TALKSHOW_BODY - _ROOT), values[:, :3], 30)


SMPLX = Format("smplx", "poses (T, 165) or body_pose (T, 63) with jaw_pose, and expressions (T, 100)", _has_poses,
               read_smplx)  # fmt: skip
TALKSHOW = Format("talkshow", "one array (T, 265): jaw, eyes, body, hands, expressions 100; 30 fps",
                  lambda content: _array(content) is not None, read_talkshow)  # fmt: skip
