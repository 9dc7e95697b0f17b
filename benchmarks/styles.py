"""Do styles show? Mouth opening and head motion of generated motion, style by style.

Every bundled style drives the same recordings, two samples each:

    python -m benchmarks.styles [--exp_name embedded] [--scale_style 3] [--seeds 2] [--json out.json]

Opening: height between the inner lips with the head still, mm, 90th percentile over frames. Head: standard deviation of
the head's rotation vector over time, degrees (root of the summed variances of its three components), mean over clips.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.animator import Animator
from models.flame import Flame, load_flame
from models.generation import GenerationConfig
from models.guidance import Guidance
from models.mouth import opening_mm
from models.sampling import SamplerConfig
from utils.atomic import atomic_path
from utils.audio import load_audio
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.motion_file import Motion, load_shape, load_style
from utils.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint, style_folder
from utils.runtime import pick_device

INPUT = ROOT / "demo" / "input"
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


def measure(exp_name: str, config: GenerationConfig, n_seeds: int) -> list[StyleScore]:
    """Generate and score every bundled style of an experiment."""
    animator = Animator.load(find_checkpoint("DPT", exp_name, None), None, pick_device("auto"))
    options = animator.model.config
    if not options.has_style:
        raise UserError(f"--exp_name {exp_name}: was trained without a style encoder; there is nothing to compare")
    flame, shape = load_flame(), load_shape(INPUT / "coef" / "average.npy")
    clips = [load_audio(INPUT / "audio" / f"{name}.flac") for name in CLIPS]
    scores = []
    for path in sorted((INPUT / "style" / style_folder(options.style_enc_ckpt)).glob("*.npy")):
        style = load_style(path, options.d_style)
        motions = [m for clip in clips for m in animator(clip, shape, style, config, list(range(n_seeds)))]
        scores.append(score(path.stem, motions, flame))
    return scores


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exp_name", default=DEFAULT_EXPERIMENT)
    parser.add_argument("--scale_style", type=float, default=3.0)
    parser.add_argument("--scale_audio", type=float, default=1.15)
    parser.add_argument("--steps", type=int, default=25, help="ddim steps")
    parser.add_argument("--seeds", type=int, default=2, help="samples of each clip")
    parser.add_argument("--json", type=Path, help="also write the scores here")
    args = parser.parse_args(argv)
    guidance = Guidance(style_scale=args.scale_style, audio_scale=args.scale_audio)
    scores = measure(args.exp_name, GenerationConfig(guidance, SamplerConfig("ddim", args.steps)), args.seeds)
    print(f"{'style':22} {'opening p90 mm':>14} {'head std deg':>13} {'smile':>6} {'brows down':>11}")
    for s in scores:
        print(f"{s.style:22} {s.opening_p90_mm:14.1f} {s.head_std_deg:13.2f} {s.smile:6.2f} {s.brow_down:11.2f}")
    by_style = {s.style: s for s in scores}
    for field, large, small in PAIRS:
        if large in by_style and small in by_style and getattr(by_style[small], field) > 0:  # 0: no head motion at all
            print(
                f"{field}: {large} / {small} = {getattr(by_style[large], field) / getattr(by_style[small], field):.2f}"
            )
    if args.json:
        with atomic_path(args.json) as path:
            path.write_text(json.dumps([asdict(s) for s in scores], indent=1))


if __name__ == "__main__":
    main()
