"""How well `track_video` finds motion that is known: our own head is filmed with it, tracked, and compared.

    python -m benchmarks.tracking.accuracy [--frames 150] [--raw] [--no_smooth] [--json FILE]
    python -m benchmarks.tracking.accuracy --speak

Needs MediaPipe. Every bundled style, in both looks, as an mp4 of 480 pixels; then one of them small, close up (wide
lens), at 50 frames a second and with the sensor noise of a dark room. Figures compare tracked with true motion over all
frames: r is the correlation, gain the ratio of standard deviations, offset the difference of the means, error the root
mean square without it.

`--speak` asks instead whether the style of a tracked video carries over: the bundled motions are filmed and tracked,
the style is taken from the first 4 s, and the embedded model says one sentence (seed 0) in each style, as bundled and
as tracked.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from benchmarks.report import Flags, publish, read_flags, write_json
from benchmarks.styles.bundled import StyleScore, score
from benchmarks.subject import INPUT, Subject
from benchmarks.tracking.films import HELD_OUT, STYLES, Case, Cinema, Scene, bundled, cases, film
from models.diffusion.guidance import Guidance
from models.diffusion.solvers import SamplerConfig
from models.generation.style_extractor import StyleExtractor
from models.generation.windows import GenerationConfig
from models.heads.mouth import opening_mm
from models.metrics.synchrony import lag_curve, subframe_lag
from models.metrics.upper_face import runs
from models.tracking.video import TrackedVideo, VideoOptions, motion_of, track_video
from utils.config import check_least
from utils.errors import cli
from utils.media.audio import load_audio
from utils.motion_file import Motion, load_shape, load_style
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint, style_folder

UNITS = ("mouthSmileLeft", "mouthFrownLeft", "mouthPucker", "mouthFunnel", "mouthPressLeft", "mouthRollLower",
         "mouthStretchLeft", "mouthLowerDownLeft", "mouthUpperUpLeft", "browInnerUp", "browDownLeft", "eyeSquintLeft",
         "eyeLookDownLeft", "eyeLookInLeft", "cheekSquintLeft", "mouthClose")  # fmt: skip
BLINK, NEAR = 0.5, 2  # of the eyeBlink unit; frames by which a blink may be early or late
MAX_LAG = 6  # frames; positive: the tracked mouth is late
CLIP = "librivox_austen_0890"  # the sentence of --speak
SPOKEN = GenerationConfig(Guidance(scales={"audio": 1.15, "style": 1.5}), SamplerConfig("ddim", 15), fresh_noise=True)
_IN = {"jaw": "mrad", "mouth": "mm", "yaw": "degrees", "pitch": "degrees", "roll": "degrees"}


def compare(cinema: Cinema, case: Case, true: Motion, tracked: TrackedVideo) -> dict[str, float]:
    """Figures of one film."""
    n_frames = min(len(true), len(tracked.motion))
    shape = load_shape(INPUT / "coef" / f"{case.scene.identity}.npy")
    a, b = (replace(m.cut(n_frames), shape=shape) for m in (true, tracked.motion))
    mouths = [opening_mm(cinema.flame, motion) for motion in (a, b)]
    names = cinema.flame.head.exp_names
    figures = {
        "confidence": float(tracked.confidence.mean()),
        "lag": subframe_lag(lag_curve(mouths[1], mouths[0], MAX_LAG)),
    }
    figures |= _likeness("jaw", 1000 * a.pose[:, 3], 1000 * b.pose[:, 3]) | _likeness("mouth", *mouths)
    for name in UNITS:
        figures |= _likeness(name, *(100 * m.exp[:, names.index(name)] for m in (a, b)))
    angles = [Rotation.from_rotvec(m.pose[:, :3]).as_euler("YXZ", degrees=True) for m in (a, b)]
    for k, name in enumerate(("yaw", "pitch", "roll")):
        figures |= _likeness(name, angles[0][:, k], angles[1][:, k])
    eyes = [m.exp[:, names.index("eyeBlinkLeft")] for m in (a, b)]
    return figures | dict(zip(("blinks", "blinks_found", "blinks_false"), map(float, blinks(*eyes))))


def _likeness(name: str, true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Correlation, gain (standard deviations), offset of the means and error without it."""
    a, b = true - true.mean(), found - found.mean()
    figures = {"offset": float(found.mean() - true.mean()), "error": float(np.sqrt(((a - b) ** 2).mean()))}
    if true.std() > 1e-3:
        figures |= {"gain": float(b.std() / a.std()), "r": float((a * b).mean() / max(a.std() * b.std(), 1e-9))}
    return {f"{name}.{key}": value for key, value in figures.items()}


def blinks(true: np.ndarray, found: np.ndarray) -> tuple[int, int, int]:
    """How many blinks there were, how many of them were found, and how many were found that were none."""
    a, b = _closings(true), _closings(found)
    near = np.abs(a[:, None] - b[None]) <= NEAR if len(a) and len(b) else np.zeros((len(a), len(b)), bool)
    return len(a), int(near.any(axis=1).sum()), int((~near.any(axis=0)).sum())


def _closings(eye: np.ndarray) -> np.ndarray:
    """Frames in which an eye is most closed, one of each blink."""
    return np.array([shut.start + int(eye[shut].argmax()) for shut in runs(eye > BLINK)])


class StyleTest:
    """Which of the bundled styles a motion's is nearest to."""

    def __init__(self) -> None:
        self.checkpoint = find_checkpoint("SE", DEFAULT_EXPERIMENT, None)
        self.extractor = StyleExtractor.load(self.checkpoint, None, torch.device("cpu"))
        folder = INPUT / "style" / style_folder(self.checkpoint)
        size = self.extractor.encoder.config.feature_dim
        self.known = np.stack([load_style(folder / f"{name}.npy", size) for name in STYLES])

    def __call__(self, motion: Motion, style: str) -> dict[str, float | str]:
        """The nearest style by cosine, the likeness to the right one, and the rank of that (1: nearest)."""
        vector = self.extractor(motion)
        likeness = self.known @ vector / np.linalg.norm(self.known, axis=1) / np.linalg.norm(vector)
        right = likeness[STYLES.index(style)]
        nearest, rank = STYLES[int(likeness.argmax())], int((likeness >= right).sum())
        return {"nearest": nearest, "likeness": float(right), "rank": rank}


@dataclass(frozen=True, kw_only=True)
class FilmFlags(Flags):
    """What is filmed."""

    frames: int = 150
    """Of each film, at least 100."""

    def check(self) -> None:
        super().check()
        check_least(self, frames=100)


@dataclass(frozen=True, kw_only=True)
class TrackingFlags(FilmFlags):
    """What is tracked, and how."""

    model: Path | None = None
    """face_landmarker.task; without it that of the installed package."""
    raw: bool = False
    """MediaPipe's scores as they are."""
    no_smooth: bool = False
    """Without the cost of change between frames."""
    speak: bool = False
    """Compare speech in the bundled styles with speech in the styles of their tracked films."""


def run(flags: TrackingFlags, folder: Path) -> list[dict]:
    """Figures of all films."""
    cinema, styles, results = Cinema(), StyleTest(), []
    options = options_of(flags)
    for case in tqdm(cases(), unit="film"):
        true, path = bundled(case.style, flags.frames), folder / "film.mp4"
        film(cinema, case, true, path)
        tracked = track_video(path, options)
        what = asdict(case.scene) | {"style": case.style, "fps": case.fps, "noise": case.noise}
        results.append(what | compare(cinema, case, true, tracked) | styles(tracked.motion, case.style))
    return results


def show(results: list[dict]) -> None:
    """Tables: films, then means over the first ones."""
    for r in results:
        print(f"{r['style']:21} {r['look']:4} {r['size']:3} px {r['fov']:2.0f} deg {r['fps']} fps noise "
              f"{r['noise']:2.0f}  confidence {r['confidence']:.2f}  lag {r['lag']:+.2f}"
              f"  r jaw {r['jaw.r']:.2f}, mouth {r['mouth.r']:.2f}"
              f"  yaw error {r['yaw.error']:.1f}  blinks {r['blinks_found']:.0f} of {r['blinks']:.0f}"
              f" + {r['blinks_false']:.0f}  {r['nearest']} (rank {r['rank']}, {r['likeness']:.2f})")  # fmt: skip
    main = results[: 2 * len(STYLES)]
    print(f"\n{f'means of the first {len(main)} films':32} {'r':>6} {'gain':>6} {'offset':>7} {'error':>6}")
    for name in ("jaw", "mouth", "yaw", "pitch", "roll", *UNITS):
        columns = (
            [r[f"{name}.{key}"] for r in main if f"{name}.{key}" in r] for key in ("r", "gain", "offset", "error")
        )
        r, gain, offset, error = (np.mean(column) for column in columns)
        print(f"{name + ' (' + _IN.get(name, '%') + ')':32} {r:6.2f} {gain:6.2f} {offset:7.2f} {error:6.2f}")
    total, found, false = (sum(r[key] for r in main) for key in ("blinks", "blinks_found", "blinks_false"))
    lag, right = np.mean([r["lag"] for r in main]), sum(r["nearest"] == r["style"] for r in main)
    print(f"blinks: {found:.0f} of {total:.0f} found, {false:.0f} false; lag {lag:+.2f} frames; style recognised: "
          f"{right} of {len(main)}")  # fmt: skip


def speak(flags: TrackingFlags) -> list[StyleScore]:
    """One sentence in every style, as bundled and as tracked."""
    subject, cinema, extractor = Subject.load(DEFAULT_EXPERIMENT, None, "cpu"), Cinema(), StyleTest().extractor
    audio, rows = load_audio(INPUT / "audio" / f"{CLIP}.flac"), []
    for k, name in enumerate(tqdm(STYLES, unit="film")):
        seen = cinema.watch(bundled(name, flags.frames), Scene(HELD_OUT[k % len(HELD_OUT)], "skin", 256))
        tracked = extractor(motion_of(seen, name, options_of(flags)).motion)
        for source, vector in (("bundled", subject.style(name)), ("tracked", tracked)):
            rows.append(score(f"{name}, {source}", subject.motions(audio, vector, SPOKEN, 1), subject.flame))
    return rows


def options_of(flags: TrackingFlags) -> VideoOptions:
    return VideoOptions(flags.model, flags.raw, not flags.no_smooth)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(TrackingFlags, __doc__, argv)
    if flags.speak:
        publish("one sentence in each style", speak(flags), flags.json)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = run(flags, Path(folder))
    show(results)
    write_json(flags.json, results)


if __name__ == "__main__":
    main()
