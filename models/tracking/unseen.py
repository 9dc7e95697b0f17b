"""What landmarks do not tell, by its most usual course; and lids that are shut where the landmarks' are."""

from __future__ import annotations

import numpy as np

SQUINT, SQUINT_IN_BLINK = 0.05, 0.1  # what speakers do who are not squinting (scripts_for_dataset/synthetic)
CHEEK = 0.5  # of the smile, the same
SHUT_LIDS = 0.2  # share of the usual lid gap that landmarks still show of a shut eye
SURELY = (0.45, 0.9)  # closing by the landmarks from which a blink is made deeper, and from which it is whole
HIDDEN = 0.5  # closing beyond which the iris is not seen
NOTE = ("not seen by landmarks, filled by their usual course: squint, cheeks, sneer, jaw to the side, tongue, "
        "and lips rolled in behind shut lips")  # fmt: skip


def closing(gaps: np.ndarray) -> np.ndarray:
    """Lid gaps (T, 2) mm of the ruler -> how far each eye is closed, in 0..1; an eye's usual gap is its upper half's
    median."""
    usual = np.nanquantile(gaps, 0.75, axis=0)
    return np.clip((1 - gaps / usual) / (1 - SHUT_LIDS), 0, 1)


def with_lids(exp: np.ndarray, names: list[str], closed: np.ndarray) -> np.ndarray:
    """Units (T, E) with blinks as deep as the eyes close (T, 2: left, right; NaN where not seen), gaze held through
    them, and squint as usual."""
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
