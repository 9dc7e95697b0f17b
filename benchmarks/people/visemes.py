"""Can a lip reader that learnt from people read the model? Viseme classes of real mouths and of the model's.

    python -m benchmarks.people.visemes --cache FOLDER --trained s1 [--style_clips 300] [--clips 20] [--samples 2]

Flags and recordings are those of benchmarks.people.mouth. The reader (models/metrics/viseme_reader.py) learns from the
clips of the people in --trained that are not held out, and reads the measured clips of all people: as they were
tracked, and as the model speaks them. Phones come from forced alignment of the words (requirements-bench.txt). Each
person's tracks are standardised, so that a mouth's size does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.people.mouth import MouthFlags, Speaker, read_talkers
from benchmarks.people.recordings import Recording
from benchmarks.report import column, publish, text_table
from benchmarks.subject import Session
from models.metrics.viseme_reader import CLASSES, confusion, examples, recalls, trained_reader
from models.tracking.embedding import CORNERS, MIDDLE, LandmarkHead
from models.tracking.embedding import column as place
from utils.errors import UserError, cli
from utils.media.alignment import align_phones
from utils.motion_file import Motion
from utils.speech import SILENCE, Phone

SIDES, OUTER = (308, 78), (0, 17)  # landmarks: corners of the inner lips; outer lips at mid mouth, upper and lower
Examples = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One viseme class."""

    viseme: str = column("viseme")
    phones: int = column("phones")
    people: float = column("people", "{:.0%}")
    model: float = column("model", "{:.0%}")
    confused: str = column("model read as")


def mouth_tracks(head: LandmarkHead, motion: Motion) -> np.ndarray:
    """(T, 5) mm on the average head: opening, width, height of the outer lips, and both lips' place before the eyes."""
    exp, jaw = (torch.from_numpy(x.astype(np.float64)) for x in (motion.exp, motion.pose[:, 3]))
    points = 1000 * head(exp.new_zeros(head.n_shape), exp.new_zeros(1, 3), exp, jaw)

    def gap(pair: tuple[int, int], axis: int) -> torch.Tensor:
        return points[:, place(pair[0]), axis] - points[:, place(pair[1]), axis]

    eyes = points[:, [place(corner) for corner in CORNERS], 2].mean(dim=1)
    upper, lower = (points[:, place(landmark), 2] - eyes for landmark in OUTER)
    return torch.stack([gap(MIDDLE, 1), gap(SIDES, 0), gap(OUTER, 1), upper, lower], dim=1).numpy()


def phones_of(recording: Recording) -> list[Phone]:
    """Aligned phones; none if its words are not known or do not fit."""
    words = " ".join(word for word, _, _ in recording.words if word != SILENCE)
    try:
        return align_phones(recording.audio, words) if words else []
    except UserError:
        return []


def standardised(tracks: Sequence[np.ndarray], phones: Sequence[list[Phone]]) -> Examples:
    """Examples of one mouth's clips (T, C)."""
    every = np.concatenate(tracks)
    spread = np.maximum(every.std(0), 1e-3)
    return joined([examples((track - every.mean(0)) / spread, spoken) for track, spoken in zip(tracks, phones)])


def joined(parts: Sequence[Examples]) -> Examples:
    return np.concatenate([windows for windows, _ in parts]), np.concatenate([classes for _, classes in parts])


def rows_of(people: np.ndarray, model: np.ndarray) -> list[Row]:
    """A row for each class that was spoken, and the mean over classes."""
    real, made, rows = recalls(people), recalls(model), []
    for k, name in enumerate(CLASSES):
        if people[k].sum():
            others = np.where(np.arange(len(CLASSES)) == k, -1, model[k])
            worst = int(others.argmax())
            share = others[worst] / max(model[k].sum(), 1)
            rows.append(Row(name, int(people[k].sum()), float(real[k]), float(made[k]),
                            f"{list(CLASSES)[worst]} {share:.0%}"))  # fmt: skip
    mean = float(np.nanmean(real)), float(np.nanmean(made))
    return [*rows, Row("mean over classes", int(people.sum()), *mean, "")]


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(MouthFlags, __doc__ or "", argv)
    talkers, speaker = read_talkers(session.flags), Speaker(session)
    learnt, real, made = [], [], []
    for talker in talkers:
        spoken = [phones_of(recording) for recording in talker.measured]
        tracks = [mouth_tracks(speaker.head, recording.motion) for recording in talker.measured]
        real.append(standardised(tracks, spoken))
        if talker.name in session.flags.trained:
            others = [mouth_tracks(speaker.head, recording.motion) for recording in talker.style]
            learnt.append(standardised(others, [phones_of(recording) for recording in talker.style]))
        drawn = speaker.motions(talker.measured, speaker.style(talker, session.flags.style))
        every = [(mouth_tracks(speaker.head, motion), phones) for one, phones in zip(drawn, spoken) for motion in one]
        made.append(standardised(*zip(*every)))
    if not learnt or not len(joined(learnt)[0]):
        raise UserError("--trained: names no person whose words are known; the reader has nothing to learn from")
    reader = trained_reader(*joined(learnt))
    people, model = (confusion(reader, *joined(parts)) for parts in (real, made))
    title = f"{session.subject.name}: reader of {len(joined(learnt)[0])} phones"
    publish(title, rows_of(people, model), session.flags.json, people=people.tolist(), model=model.tolist())
    print(text_table([("spoken, then read", *CLASSES), *((name, *map(str, row)) for name, row in zip(CLASSES, model))]))


if __name__ == "__main__":
    main()
