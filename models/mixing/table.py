"""The mixer's numbers as one table, for programs in other languages: web/static_demo/mixer.js mixes with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.heads.mouth import CLOSE
from models.mixing.config import EYE_CONTACT, KINDS, MIRRORED, MOST_DEGREES
from models.mixing.face import CORNERS, OPENED_LIDS, PURSED, ROUNDED, FaceUnits
from models.mixing.mixer import GLIDE
from models.mixing.recipes import CALM, EMOTIONS, EXPRESSIVE, HEAD_OFFSETS, JAW_OFFSET, OFFSETS, columns, weights
from utils.heads.head_file import HeadFile
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.timebase import FPS


def mixer_table(head: HeadFile) -> dict[str, Any]:
    """Names, columns of the units, recipes, constants and limits of a head whose expressions are ARKit's."""
    face = FaceUnits.of(head)
    names = face.names
    lids = [[names.index(f"eyeBlink{side}"), *(names.index(lid + side) for lid in OPENED_LIDS)]
            for side in ("Left", "Right")]  # fmt: skip
    gaze = [[k, axis := int(np.abs(face.gaze[k]).argmax()), float(face.gaze[k, axis])] for k in face.groups["gaze"]]
    return {
        "fps": FPS,
        "glide": GLIDE,
        "names": names,
        "groups": face.groups,
        "other_side": face.other_side,
        "lips": face.lips.tolist(),
        "close": names.index(CLOSE),
        "gaze": gaze,
        "lids": lids,
        "pursed": columns(names, PURSED),
        "corners": {"columns": columns(names, CORNERS), "share": ROUNDED},
        "calm": {"columns": columns(names, EXPRESSIVE), "share": CALM},
        "emotions": {name: weights(names, recipe).tolist() for name, recipe in EMOTIONS.items()},
        "offsets": {name: [weights(names, one).tolist() for one in pair] for name, pair in OFFSETS.items()},
        "head_offsets": HEAD_OFFSETS,
        "jaw": {"offset": JAW_OFFSET, "radians": JAW_OPEN_RADIANS},
        "eye_contact": EYE_CONTACT,
        "mirrored": MIRRORED,
        "kinds": KINDS,
        "most_degrees": MOST_DEGREES,
    }
