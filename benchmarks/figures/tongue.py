"""The tongue at every th and l of two recordings: above without it, below as it is heard.

python -m benchmarks.figures.tongue [-o docs/images/tongue.webp]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.figures.mouths import CloseUp
from benchmarks.figures.sheet import save_sheet
from benchmarks.report import write_json
from benchmarks.speech.real_speech import read_clips
from benchmarks.subject import INPUT, ModelFlags, Session
from models.generation.tongue import SOUND_OF
from utils.config import flag
from utils.errors import cli
from utils.media.panels import captioned
from utils.motion_file import Motion
from utils.runs.run_dir import ROOT
from utils.speech import Phone

RECORDINGS = "arctic_a0007,arctic_a0009"
SHOWN = {SOUND_OF["th"]: 0, SOUND_OF["l"]: 1}  # kind of sound -> the unit by which it is seen


@dataclass(frozen=True, kw_only=True)
class TongueFlags(ModelFlags):
    """All flags."""

    output: Path = flag(ROOT / "docs/images/tongue.webp", "-o")
    """Picture, webp or png."""
    person: str = "average"
    """Bundled head shape."""


def shown(motion: Motion, phones: list[Phone]) -> Iterator[tuple[str, Motion]]:
    """Of every th and l, its name and the frame in which the tongue is furthest."""
    assert motion.tongue is not None
    for phone in phones:
        span, unit = phone.frames(), SHOWN.get(SOUND_OF.get(phone.name, -1))
        if unit is not None and span.stop <= len(motion):
            frame = span.start + int(motion.tongue[span.start : span.stop, unit].argmax())
            yield phone.name, motion.cut(slice(frame, frame + 1))


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(TongueFlags, __doc__, argv)
    flags, subject = session.flags, session.subject
    subject.animator.know_head(subject.flame.head, carried=False)
    draw, columns, found = CloseUp(subject.flame, flags.person), [], []
    for clip in read_clips(INPUT / "audio", RECORDINGS):
        (motion,) = subject.motions(clip.audio, subject.style("normal"), session.config, 1)
        for name, frame in shown(motion, clip.phones):
            pair = [np.ascontiguousarray(draw(one)) for one in (replace(frame, tongue=None), frame)]
            columns.append(np.concatenate(list(captioned(iter(pair), name, False))))
            found.append({"clip": clip.name, "phone": name, "tongue": [float(x) for x in frame.tongue[0]]})
    save_sheet(np.concatenate(columns, axis=1), flags.output, half=True)
    write_json(flags.json, found)


if __name__ == "__main__":
    main()
