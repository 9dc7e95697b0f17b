"""Do styles show? Mouth opening and head motion of generated motion, style by style.

Every bundled style drives the same recordings:

    python -m benchmarks.styles.bundled [--exp_name embedded] [--iter N] [--scale_style 3] [--samples 2]
                                        [--json out.json]

Opening: height between the inner lips with the head still, mm, 90th percentile over frames. Head: standard deviation of
the head's rotation vector over time, degrees (root of the summed variances of its three components), mean over clips.
"""

from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.report import column, table, write_json
from benchmarks.subject import INPUT, ModelFlags, Session, Subject
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame
from models.heads.mouth import opening_mm
from utils.errors import cli
from utils.media.audio import load_audio
from utils.motion_file import Motion

CLIPS = ("librivox_austen_0870", "librivox_austen_0920", "arctic_a0009")
PAIRS = (
    ("opening_p90_mm", "big_mouth", "small_mouth"),
    ("head_std_deg", "large_head_movements", "small_head_movements"),
)


@dataclass(frozen=True, kw_only=True)
class StyleFlags(ModelFlags):
    """What is generated."""

    samples: int = 2
    """Samples of each clip."""


@dataclass(frozen=True)
class StyleScore:
    """One style over all clips and samples."""

    style: str = column("style")
    opening_p90_mm: float = column("opening p90 mm", "{:.1f}")
    head_std_deg: float = column("head std deg", "{:.2f}")
    smile: float = column("smile", "{:.2f}")
    """Mean of mouthSmileLeft and mouthSmileRight."""
    brow_down: float = column("brows down", "{:.2f}")
    """Mean of browDownLeft and browDownRight."""


def head_std_deg(motion: Motion) -> float:
    """Size of the head motion in degrees."""
    return float(np.degrees(np.sqrt(motion.pose[:, :3].var(0).sum())))


def score(style: str, motions: list[Motion], flame: Flame) -> StyleScore:
    """Pool the motions of one style."""
    names = flame.head.exp_names

    def mean(unit: str) -> float:
        columns = [names.index(unit + side) for side in ("Left", "Right")]
        return float(np.mean([motion.exp[:, columns].mean() for motion in motions]))

    opening = np.concatenate([opening_mm(flame, motion) for motion in motions])
    head = float(np.mean([head_std_deg(motion) for motion in motions]))
    return StyleScore(style, float(np.percentile(opening, 90)), head, mean("mouthSmile"), mean("browDown"))


def score_styles(subject: Subject, config: GenerationConfig, samples: int) -> list[StyleScore]:
    """Generate and score every bundled style."""
    clips = [load_audio(INPUT / "audio" / f"{name}.flac") for name in CLIPS]
    scores = []
    for path in sorted((INPUT / "motion").glob("*.npz")):
        style = subject.style(path.stem)
        motions = [motion for clip in clips for motion in subject.motions(clip, style, config, samples)]
        scores.append(score(path.stem, motions, subject.flame))
    return scores


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(StyleFlags, __doc__, argv)
    session.subject.check_style()
    scores = score_styles(session.subject, session.config, session.flags.samples)
    print(session.subject.name, table(scores), sep="\n")
    if session.flags.json:
        content = {"model": session.subject.name, "samples": session.flags.samples}
        write_json(session.flags.json, {**content, "styles": [asdict(score) for score in scores]})
    by_style = {s.style: s for s in scores}
    for field, large, small in PAIRS:
        if large in by_style and small in by_style and getattr(by_style[small], field) > 0:  # 0: no head motion at all
            ratio = getattr(by_style[large], field) / getattr(by_style[small], field)
            print(f"{field}: {large} / {small} = {ratio:.2f}")


if __name__ == "__main__":
    main()
