"""Do styles show? Mouth opening and head motion of generated motion, style by style.

Every bundled style drives the same recordings:

    python -m benchmarks.styles.bundled [--exp_name embedded] [--iter N] [--scale_style 3] [--samples 2]
                                        [--json out.json]

Opening: height between the inner lips with the head still, mm, 90th percentile over frames. Head: standard deviation of
the head's rotation vector over time, degrees (root of the summed variances of its three components), mean over clips.
"""

from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.report import write_json
from benchmarks.subject import INPUT, Subject, add_flags, check_flags, generation_config
from models.generation.windows import GenerationConfig
from models.heads.flame import Flame
from models.heads.mouth import opening_mm
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.motion_file import Motion

CLIPS = ("librivox_austen_0870", "librivox_austen_0920", "arctic_a0009")
PAIRS = (
    ("opening_p90_mm", "big_mouth", "small_mouth"),
    ("head_std_deg", "large_head_movements", "small_head_movements"),
)


@dataclass(frozen=True)
class StyleScore:
    """One style over all clips and samples."""

    style: str
    opening_p90_mm: float
    head_std_deg: float
    smile: float
    """Mean of mouthSmileLeft and mouthSmileRight."""
    brow_down: float
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


def measure(subject: Subject, config: GenerationConfig, samples: int) -> list[StyleScore]:
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
    parser = UserParser(description=__doc__.splitlines()[0])
    add_flags(parser, samples=2)
    args = parser.parse_args(argv)
    check_flags(args)
    subject = Subject.load(args.exp_name, args.iter, args.device)
    if not subject.has_style:
        raise UserError(f"--exp_name {args.exp_name}: was trained without a style encoder; there is nothing to compare")
    config = generation_config(subject, args)
    scores = measure(subject, config, args.samples)
    print(f"{'style':22} {'opening p90 mm':>14} {'head std deg':>13} {'smile':>6} {'brows down':>11}")
    for s in scores:
        print(f"{s.style:22} {s.opening_p90_mm:14.1f} {s.head_std_deg:13.2f} {s.smile:6.2f} {s.brow_down:11.2f}")
    by_style = {s.style: s for s in scores}
    for field, large, small in PAIRS:
        if large in by_style and small in by_style and getattr(by_style[small], field) > 0:  # 0: no head motion at all
            ratio = getattr(by_style[large], field) / getattr(by_style[small], field)
            print(f"{field}: {large} / {small} = {ratio:.2f}")
    if args.json:
        write_json(args.json, {"model": subject.name, "samples": args.samples, "styles": [asdict(s) for s in scores]})


if __name__ == "__main__":
    main()
