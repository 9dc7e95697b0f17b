"""GAGAvatar_track: a pickle of a dict per frame: expcode 100, posecode 6 (global, jaw), shapecode 300, and the camera.

The head stays in place (posecode's first three numbers are 0) and the camera turns: transform_matrix (3, 4) is
PyTorch3D's R and T, as in metrical-tracker (`frame_files`).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from utils.motion_file import FLAME_2020
from utils.trackers.content import Content
from utils.trackers.tracked import Format, Tracked, rows


def _matches(content: Content) -> bool:
    return content.has("expcode", "posecode", "transform_matrix")


def read(content: Content) -> Tracked:
    """Raises UserError for arrays of other widths."""
    columns = content.columns
    pose = rows(columns["posecode"], f"{content.path}: posecode", (6,))
    matrix = rows(columns["transform_matrix"], f"{content.path}: transform_matrix", (12, 16)).reshape(len(pose), -1, 4)
    turned = np.nan_to_num(pose[:, :3])
    return Tracked(
        rows(columns["expcode"], f"{content.path}: expcode"),
        matrix[:, :3, :3].reshape(-1, 9),
        pose[:, 3:],
        Rotation.from_rotvec(turned).as_matrix().reshape(-1, 9) if turned.any() else None,
        content.first("shapecode"),
        notation="matrix",
        own_jaw="axis_angle",
        camera=True,
        head_model=FLAME_2020,
        dropped=("eyecode",) if content.has("eyecode") else (),
    )


GAGAVATAR = Format("gagavatar", "a pickle of frames with expcode, posecode (6), transform_matrix (3, 4), shapecode",
                   _matches, read)  # fmt: skip
