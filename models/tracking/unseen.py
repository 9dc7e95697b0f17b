"""Typical values for motion that landmarks do not show, and full blinks where the lid landmarks close."""

from __future__ import annotations

import numpy as np

SQUINT, SQUINT_IN_BLINK = 0.05, 0.1  # of speakers who do not squint, as in scripts_for_dataset/synthetic
CHEEK = 0.5  # of the smile, likewise
SHUT_LIDS = 0.2  # gap of a closed eye's landmarks, relative to the usual gap
SURELY = (0.45, 0.9)  # closing of the landmarks from which a blink is deepened, and from which it is full
HIDDEN = 0.5  # closing beyond which the iris is hidden
NOTE = ("set to typical values, because landmarks do not show them: squint, cheeks, sneer, jaw to the side, tongue, "
        "and lips rolled in behind closed lips")  # fmt: skip
NOTE_FLAME = "FLAME: lids close as far as its expressions do; gaze is left out"


def closing(gaps: np.ndarray) -> np.ndarray:
    """Lid gaps (T, 2) in ruler mm -> closing of each eye, in 0..1, relative to the median of its upper half of gaps."""
    usual = np.nanquantile(gaps, 0.75, axis=0)
    return np.clip((1 - gaps / usual) / (1 - SHUT_LIDS), 0, 1)


def with_lids(exp: np.ndarray, names: list[str], closed: np.ndarray) -> np.ndarray:
    """Expressions (T, E) with blinks as deep as the eyes close, gaze held through blinks, and typical squint.

    closed: (T, 2) closing of the left and the right eye, NaN where unknown.
    """
    exp, closed = exp.copy(), np.nan_to_num(closed)
    for k, side in enumerate(("Left", "Right")):
        blink = names.index(f"eyeBlink{side}")
        sure = np.clip((closed[:, k] - SURELY[0]) / (SURELY[1] - SURELY[0]), 0, 1)
        sure = sure * sure * (3 - 2 * sure)
        exp[:, blink] += (1 - exp[:, blink]) * sure
        exp[:, names.index(f"cheekSquint{side}")] = CHEEK * exp[:, names.index(f"mouthSmile{side}")]
        exp[:, names.index(f"eyeSquint{side}")] = SQUINT + SQUINT_IN_BLINK * exp[:, blink]
        hidden = closed[:, k] > HIDDEN
        if hidden.any() and not hidden.all():
            frames = np.arange(len(exp))
            for column, name in enumerate(names):
                if name.startswith("eyeLook") and name.endswith(side):
                    exp[hidden, column] = np.interp(frames[hidden], frames[~hidden], exp[~hidden, column])
    return exp
