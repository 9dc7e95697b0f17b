"""A model against real people: how well its mouth follows theirs, from the same sound.

    python -m benchmarks.people.mouth --faces FOLDER [--cache FOLDER] [--exp_name embedded] [--samples 10]
                                      [--style normal|person] [--trained s1,s2] [--clips 20] [--json FILE]

FOLDER holds <person>/<clip>.mp4, .mkv ...; words.jsonl in it or beside it (lines such as
`{"clip": "person/clip", "words": [[word, start s, end s], ...]}`) gives the closures. Videos are watched once and kept
in the cache; with a full cache, --faces is not needed, nor are MediaPipe and PyAV.
The ruler: landmarks 13 and 14 of the inner lips, in mm where the outer corners of the eyes are 90 mm apart; the average
head under the model's motion is read in the same way (docs/metrics.md, "Against real people").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.people.mouth_scores import Row, middle, person_row, ruler_openings
from benchmarks.people.recordings import Cache, Recording, choose
from benchmarks.report import machine, publish, table
from benchmarks.subject import ModelFlags, Session
from models.app.bundled import style_encoder_file
from models.generation.style_extractor import StyleExtractor
from models.metrics.style import mean_style
from models.networks.person import Person
from models.tracking.embedding import LandmarkHead
from utils.config import check_least
from utils.errors import UserError, cli
from utils.motion_file import Motion
from utils.reports.wording import counted
from utils.timebase import SAMPLE_RATE

BATCH = {"cuda": 256}
OWN = "person"
LONGEST = 60  # seconds of a clip that are spoken
NEAR = (0.8, 1.25)  # amplitudes, model over person, that count as the person's


@dataclass(frozen=True, kw_only=True)
class MouthFlags(ModelFlags):
    """Who is compared with the model."""

    faces: Path | None = None
    """Folder of videos, <person>/<clip>; without it what the cache holds."""
    cache: Path = Path("data/mouths")
    """Folder of sound, openings and motion of the videos."""
    samples: int = 10
    """Samples of each clip."""
    clips: int = 20
    """Clips of each person, evenly spread."""
    style: str = "normal"
    """A bundled style, or `person`: each person's own, from the motion of other clips."""
    style_clips: int = 16
    """Clips that a person's own style is taken from."""
    trained: tuple[str, ...] = ()
    """People whom the model was trained on: only their held-out clips are measured."""
    sentence: str | None = None
    """Clip spoken in all styles, for the rank correlation (default: the first)."""
    prepare: bool = False
    """Only fill the cache."""

    def check(self) -> None:
        super().check()
        check_least(self, clips=1, style_clips=1)


@dataclass(frozen=True)
class Talker:
    """One person's recordings."""

    name: str
    kind: str
    measured: list[Recording]
    style: list[Recording]


def read_talkers(flags: MouthFlags) -> list[Talker]:
    """All people with a clip to measure.

    Raises:
        UserError: there are none, or --trained names a person who is not there.
    """
    cache, talkers = Cache(flags.faces, flags.cache), []
    if missing := set(flags.trained) - set(cache.people):
        raise UserError(f"--trained {min(missing)}: is not there; people: {', '.join(cache.people)}")
    for name, clips in cache.people.items():
        choice = choose(clips, name in flags.trained, flags.clips, flags.style_clips)
        measured, style = cache.read(choice.measured), cache.read(choice.style)
        if measured:
            kind = "held-out clips" if name in flags.trained else "not trained on"
            talkers.append(Talker(name, kind, measured, style))
    if not talkers:
        raise UserError(f"--cache {flags.cache}: no clip shows a mouth; check the videos")
    return talkers


class Speaker:
    """The model: recordings -> ruler openings."""

    def __init__(self, session: Session) -> None:
        self.session, self.subject = session, session.subject
        self.head = LandmarkHead(session.subject.flame.head)
        self.batch = BATCH.get(session.subject.animator.model.device.type, 32)
        self._extractor: StyleExtractor | None = None

    def style(self, talker: Talker, name: str) -> np.ndarray | None:
        """A bundled style, or the mean over the windows of the talker's joined recordings; None: they are too short."""
        if name != OWN:
            return self.subject.style(name)
        if self._extractor is None:
            path = style_encoder_file(self.subject.animator.model.config.style_enc_ckpt)
            self._extractor = StyleExtractor.load(path, None, torch.device("cpu"))
        motions = [recording.motion for recording in talker.style]
        exp, pose = (torch.from_numpy(np.concatenate([getattr(m, part) for m in motions]))[None]
                     for part in ("exp", "pose"))  # fmt: skip
        if exp.shape[1] < self._extractor.encoder.config.n_motions:
            return None
        return mean_style(self._extractor.encoder, self._extractor.codec, exp, pose)[0].numpy()

    def motions(self, recordings: Sequence[Recording], style: np.ndarray | None) -> list[list[Motion]]:
        """The samples of each."""
        seeds = list(range(self.session.flags.samples))
        audios = [recording.audio[: LONGEST * SAMPLE_RATE] for recording in recordings]
        person = Person(self.subject.shape, style)
        return self.subject.animator.batch(audios, person, self.session.config, seeds, self.batch)

    def __call__(self, recordings: Sequence[Recording], style: np.ndarray | None) -> list[np.ndarray]:
        """Openings (samples, T) of each."""
        return [ruler_openings(self.head, motions) for motions in self.motions(recordings, style)]


def measure(talkers: Sequence[Talker], speaker: Speaker) -> list[Row]:
    """A row for each talker whose style is known."""
    flags, rows = speaker.session.flags, []
    everything = {r.clip: r for talker in talkers for r in talker.measured}
    sentence = everything.get(flags.sentence or min(everything))
    if sentence is None:
        raise UserError(f"--sentence {flags.sentence}: is not measured; one that is: {min(everything)}")
    for talker in talkers:
        style = speaker.style(talker, flags.style)
        if style is None and flags.style == OWN:
            continue
        fixed = speaker([sentence], style)[0] if flags.style == OWN else None
        rows.append(person_row(talker.name, talker.kind, talker.measured, speaker(talker.measured, style), fixed))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    return rows


def rank_correlation(rows: Sequence[Row]) -> float:
    """Spearman's over people, between the size of their own openings and the model's on one sentence in their style."""
    pairs = np.array([(row.own_sd, row.sentence_sd) for row in rows]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    return float(spearmanr(*pairs.T).statistic) if len(pairs) > 2 else float("nan")


def near(rows: Sequence[Row]) -> float:
    """Share of people whose amplitude the model has within `NEAR`."""
    return float(np.mean([NEAR[0] <= row.sd_ratio <= NEAR[1] for row in rows]))


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(MouthFlags, __doc__ or "", argv)
    flags = session.flags
    talkers = read_talkers(flags)
    if flags.prepare:
        clips = counted(sum(len(t.measured) for t in talkers), "clip")
        print(f"{clips} of {counted(len(talkers), 'person', 'people')} to measure: {flags.cache}")
        return
    rows = measure(talkers, Speaker(session))
    if not rows:
        raise UserError(f"--style {flags.style}: no person's recordings are long enough for a style; use normal")
    summary = {"people": len(rows), "amplitude_within": near(rows), "style_rank_correlation": rank_correlation(rows)}
    title = (f"{session.subject.name}, style {flags.style}, {counted(flags.samples, 'sample')}, "
             f"{machine(session.subject.animator.model.device)}")  # fmt: skip
    publish(title, [*rows, middle(rows)], flags.json, model=title, **summary)
    print(f"amplitude within {NEAR[0]} to {NEAR[1]}: {summary['amplitude_within']:.0%} of "
          f"{counted(len(rows), 'person', 'people')}; "
          f"rank correlation of style: {summary['style_rank_correlation']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
