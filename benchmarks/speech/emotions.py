"""Do emotions leave closures shut? The measures of real_speech.py before and after each emotion at intensity 1.

    python -m benchmarks.speech.emotions [--exp_name embedded] [--samples 4]

All rows are the same samples; only the mixer differs.
"""

from __future__ import annotations

from dataclasses import dataclass

from tqdm import tqdm

from benchmarks.report import write_json
from benchmarks.speech.real_speech import measure_table, read_clips, score_motions
from benchmarks.speech.speech_scores import ClipScore, summary
from benchmarks.subject import INPUT, ModelFlags, Session
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from models.mixing.recipes import EMOTIONS
from utils.errors import cli
from utils.reports.wording import counted

COLUMNS = ("recall_1", "recall_2", "closure_mm", "vowel_mm", "correlation")


@dataclass(frozen=True, kw_only=True)
class EmotionFlags(ModelFlags):
    """What is generated."""

    samples: int = 4
    """Samples of each clip."""
    style: str = "normal"
    """Bundled style."""


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(EmotionFlags, __doc__, argv)
    flags, subject = session.flags, session.subject
    scores: dict[str, list[list[ClipScore]]] = {name: [] for name in ("none", *EMOTIONS)}
    for clip in tqdm(read_clips(INPUT / "audio"), unit="clip"):
        made = subject.motions(clip.audio, subject.style(flags.style), session.config, flags.samples)
        for name, found in scores.items():
            config = MixerConfig() if name == "none" else MixerConfig((name,))
            found.append(score_motions(subject, clip, [Mixer(config).push(motion) for motion in made]))
    rows = {name: summary(list(map(list, zip(*found)))) for name, found in scores.items()}
    print(f"{subject.name}, {counted(flags.samples, 'sample')}\n{measure_table(rows, COLUMNS)}")
    write_json(flags.json, {name: {key: vars(one) for key, one in row.items()} for name, row in rows.items()})


if __name__ == "__main__":
    main()
