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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from benchmarks.report import Flags, column, publish, read_flags, write_json
from benchmarks.subject import INPUT, Subject
from models.diffusion.guidance import Guidance
from models.diffusion.solvers import SamplerConfig
from models.generation.style_extractor import StyleExtractor
from models.generation.windows import GenerationConfig
from models.heads.decode import motion_vertices
from models.heads.flame import Flame, load_flame
from models.heads.mouth import opening_mm
from models.tracking.video import TrackedVideo, VideoOptions, motion_of, track_video
from utils.errors import cli
from utils.media.audio import load_audio
from utils.media.video import write_video
from utils.media.video_frames import VideoFrame
from utils.motion_file import Motion, load_motion, load_shape, load_style
from utils.rendering.looks import dress
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import DEFAULT_EXPERIMENT, find_checkpoint, style_folder
from utils.timebase import FPS
from utils.trackers.landmarker import find_model, watch
from utils.trackers.sightings import Sightings

STYLES = ("normal", "big_mouth", "small_mouth", "smile", "serious", "large_head_movements", "small_head_movements")
HELD_OUT = ("female_round", "male_narrow", "male_young")  # identities of the films
UNITS = ("mouthSmileLeft", "mouthFrownLeft", "mouthPucker", "mouthFunnel", "mouthPressLeft", "mouthRollLower",
         "mouthStretchLeft", "mouthLowerDownLeft", "mouthUpperUpLeft", "browInnerUp", "browDownLeft", "eyeSquintLeft",
         "eyeLookDownLeft", "eyeLookInLeft", "cheekSquintLeft", "mouthClose")  # fmt: skip
BLINK, NEAR = 0.5, 2  # of the eyeBlink unit; frames by which a blink may be early or late
MAX_LAG = 6
CLIP = "librivox_austen_0890"  # the sentence of --speak
SPOKEN = GenerationConfig(Guidance(scales={"audio": 1.15, "style": 1.5}), SamplerConfig("ddim", 15), fresh_noise=True)
_IN = {"jaw": "mrad", "mouth": "mm", "yaw": "degrees", "pitch": "degrees", "roll": "degrees"}


@dataclass(frozen=True)
class Scene:
    """How a motion is filmed."""

    identity: str = "average"
    look: str = "skin"
    size: int = 320
    fov: float = 18.0  # degrees; a phone has 50 to 65


class Cinema:
    """Renders motions; keeps one renderer, the last used."""

    def __init__(self) -> None:
        self.flame = load_flame()
        self._key, self._renderer, self._dressed = None, None, self.flame

    def frames(self, motion: Motion, scene: Scene) -> Iterator[np.ndarray]:
        """Pictures uint8 (size, size, 3) of a motion on the scene's identity."""
        self._prepare(scene)
        shape = load_shape(INPUT / "coef" / f"{scene.identity}.npy")
        for chunk in motion_vertices(self._dressed, replace(motion, shape=shape)):
            yield from self._renderer.frames(chunk)

    def watch(self, motion: Motion, scene: Scene) -> Sightings:
        """What MediaPipe sees of it."""
        pictures = self.frames(motion, scene)
        return watch((VideoFrame(i / FPS, p) for i, p in enumerate(pictures)), find_model(), "render")

    def _prepare(self, scene: Scene) -> None:
        key = (scene.look, scene.size, scene.fov)
        if key != self._key:
            look = dress(self.flame.head, scene.look)
            self._dressed = Flame(look.drawn)
            self._renderer = Renderer(look.drawn, RenderStyle(scene.size, texture=look.texture, fov=scene.fov))
            self._key = key


def bundled(name: str, n_frames: int | None = None) -> Motion:
    """The first frames of a motion in demo/input/motion."""
    return load_motion(INPUT / "motion" / f"{name}.npz").cut(slice(n_frames))


@dataclass(frozen=True)
class Case:
    """One film."""

    style: str
    scene: Scene
    fps: int = FPS
    noise: float = 0.0  # standard deviation of the sensor's noise, grey levels


def cases() -> list[Case]:
    """All films."""
    films = [
        Case(style, Scene(HELD_OUT[(k + shift) % 3], look, 480))
        for shift, look in enumerate(("skin", "clay"))
        for k, style in enumerate(STYLES)
    ]
    scene = films[0].scene
    harder = [Case("normal", replace(scene, size=128)), Case("normal", replace(scene, fov=60.0)),
              Case("normal", scene, fps=50), Case("normal", scene, noise=12)]  # fmt: skip
    return films + harder


def film(cinema: Cinema, case: Case, motion: Motion, path: Path) -> None:
    """Write the mp4; other rates than 25 by repeating motion in between."""
    if case.fps != FPS:
        motion = _faster(motion, case.fps)
    rng = np.random.default_rng(0)
    pictures: Iterator[np.ndarray] = cinema.frames(motion, case.scene)
    if case.noise:
        pictures = (np.clip(p + rng.normal(0, case.noise, p.shape), 0, 255).astype(np.uint8) for p in pictures)
    write_video(path, pictures, len(motion), case.fps, None)


def _faster(motion: Motion, fps: int) -> Motion:
    times = np.arange(int((len(motion) - 1) * fps / FPS) + 1) / fps * FPS
    exp, pose = (np.stack([np.interp(times, np.arange(len(x)), column) for column in x.T], axis=1).astype(np.float32)
                 for x in (motion.exp, motion.pose))  # fmt: skip
    return replace(motion, exp=exp, pose=pose)


def compare(cinema: Cinema, case: Case, true: Motion, tracked: TrackedVideo) -> dict[str, float]:
    """Figures of one film."""
    n_frames = min(len(true), len(tracked.motion))
    shape = load_shape(INPUT / "coef" / f"{case.scene.identity}.npy")
    a, b = (replace(m.cut(n_frames), shape=shape) for m in (true, tracked.motion))
    mouths = [opening_mm(cinema.flame, motion) for motion in (a, b)]
    names = cinema.flame.head.exp_names
    figures = {"confidence": float(tracked.confidence.mean()), "lag": lag(*mouths)}
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
    shut = np.r_[False, eye > BLINK, False]
    begin, end = np.flatnonzero(shut[1:] & ~shut[:-1]), np.flatnonzero(~shut[1:] & shut[:-1])
    return np.array([i + int(eye[i:j].argmax()) for i, j in zip(begin, end)])


def lag(true: np.ndarray, found: np.ndarray) -> float:
    """Frames by which `found` is late: the peak of the cross-correlation, between frames by a parabola."""
    a, b = true - true.mean(), found - found.mean()
    shifts = range(-MAX_LAG, MAX_LAG + 1)
    inner = a[MAX_LAG : len(a) - MAX_LAG]
    scores = np.array([inner @ b[MAX_LAG + s : len(b) - MAX_LAG + s] for s in shifts])
    k = int(np.clip(scores.argmax(), 1, len(scores) - 2))
    left, middle, right = scores[k - 1 : k + 2]
    return float(shifts[k] + 0.5 * (left - right) / (left - 2 * middle + right))


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
class TrackingFlags(Flags):
    """What is tracked, and how."""

    frames: int = 150
    """Of each film, at least 100."""
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


@dataclass(frozen=True)
class Traits:
    """What a style makes of one sentence."""

    style: str = column("")
    source: str = column("from")
    opening_p90_mm: float = column("mouth mm", "{:.1f}")
    head_degrees: float = column("head deg", "{:.1f}")  # the largest standard deviation of an angle
    smile: float = column("smile", "{:.2f}")
    frown: float = column("frown", "{:.2f}")
    brows: float = column("brows", "{:.2f}")


def traits(subject: Subject, audio: np.ndarray, vector: np.ndarray, name: str, source: str) -> Traits:
    (motion,) = subject.motions(audio, vector, SPOKEN, 1)
    opening = float(np.percentile(subject.openings([motion])[0], 90))
    head = float(np.degrees(motion.pose[:, :3].std(axis=0)).max())
    names = subject.flame.head.exp_names
    units = [
        float(motion.exp[:, names.index(f"{unit}Left")].mean()) for unit in ("mouthSmile", "mouthFrown", "browDown")
    ]
    return Traits(name, source, opening, head, *units)


def speak(flags: TrackingFlags) -> list[Traits]:
    """Every style as bundled and as tracked."""
    subject, cinema, extractor = Subject.load(DEFAULT_EXPERIMENT, None, "cpu"), Cinema(), StyleTest().extractor
    audio, rows = load_audio(INPUT / "audio" / f"{CLIP}.flac"), []
    for k, name in enumerate(tqdm(STYLES, unit="film")):
        seen = cinema.watch(bundled(name, flags.frames), Scene(HELD_OUT[k % len(HELD_OUT)], "skin", 256))
        tracked = extractor(motion_of(seen, name, options_of(flags)).motion)
        rows.append(traits(subject, audio, subject.style(name), name, "bundled"))
        rows.append(traits(subject, audio, tracked, name, "tracked"))
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
