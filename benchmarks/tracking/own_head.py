"""Our own head, filmed with motion that is known and seen by MediaPipe: what the tracker's figures and tests rest on.

    python -m benchmarks.tracking.own_head -o tests/support/tracked_head.npz     # the fixture of test_track_video.py

The fixture holds motion (exp, pose) and what MediaPipe said of each frame (times, scores, matrices, points): 5 s of the
bundled motion smile.npz, 8 grey frames, and a head that turns to its left by 2 degrees a frame up to 60.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.heads.decode import motion_vertices
from models.heads.flame import Flame, load_flame
from scripts_for_dataset.synthetic.motion import Speech, speech_motion
from scripts_for_dataset.synthetic.style import sample_style
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import cli
from utils.media.video_frames import VideoFrame
from utils.motion_file import Motion, load_motion, load_shape
from utils.rendering.looks import dress
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import ROOT
from utils.timebase import FPS, SAMPLE_RATE
from utils.trackers.landmarker import find_model, watch
from utils.trackers.sightings import Sightings

INPUT = ROOT / "demo" / "input"
TALKING, HIDDEN, TURNING = 125, 8, 30  # frames of the fixture
CONSONANTS = ("p", "b", "m", "f", "v", "t", "d", "s", "z", "n", "l", "k", "g", "r", "w", "th", "sh", "ch", "jh", "hh",
              "y")  # fmt: skip
VOWELS = ("aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw")


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


def babble(n_frames: int, seed: int) -> Motion:
    """Motion of a random speaker of the synthetic corpus (scripts_for_dataset/synthetic) who says random syllables."""
    rng = np.random.default_rng(seed)
    phones, now, seconds = [("sil", 0.0, 0.2)], 0.2, n_frames / FPS + 0.5
    while now < seconds:
        pause = rng.random() < 0.08
        for phone in ("sil",) if pause else (rng.choice(CONSONANTS), rng.choice(VOWELS)):
            length = rng.uniform(0.3, 0.7) if pause else rng.uniform(0.06, 0.2)
            phones.append((str(phone), now, now + length))
            now += length
    audio = np.zeros(round(now * SAMPLE_RATE), np.float32)
    for phone, start, end in phones:
        if phone in VOWELS:  # a buzz, so that loudness and accents vary
            times = np.arange(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE)) / SAMPLE_RATE
            wave = np.sin(2 * np.pi * rng.uniform(90, 220) * times) * np.sin(np.pi * (times - start) / (end - start))
            audio[round(start * SAMPLE_RATE) :][: len(times)] = rng.uniform(0.05, 0.3) * wave
    arrays = speech_motion(Speech(audio, phones), sample_style(rng), rng)
    return Motion(arrays["exp"][:n_frames], arrays["pose"][:n_frames], None, f"babble {seed}")


def bundled(name: str, n_frames: int | None = None) -> Motion:
    """The first frames of a motion in demo/input/motion."""
    return load_motion(INPUT / "motion" / f"{name}.npz").cut(slice(n_frames))


def fixture() -> dict[str, np.ndarray]:
    """Arrays of the fixture."""
    cinema, scene = Cinema(), Scene()
    talking = bundled("smile", TALKING)
    exp = np.zeros((HIDDEN + TURNING, talking.exp.shape[1]), np.float32)
    pose = np.zeros((HIDDEN + TURNING, 6), np.float32)
    pose[HIDDEN:, 1] = np.radians(2 * np.arange(1, TURNING + 1))
    motion = replace(talking, exp=np.r_[talking.exp, exp], pose=np.r_[talking.pose, pose])
    pictures = list(cinema.frames(motion, scene))
    pictures[TALKING : TALKING + HIDDEN] = [np.full_like(pictures[0], 128)] * HIDDEN
    seen = watch((VideoFrame(i / FPS, picture) for i, picture in enumerate(pictures)), find_model(), "render")
    arrays = {"exp": motion.exp.astype(np.float16), "pose": motion.pose, "times": seen.times}
    return arrays | {"scores": seen.scores.astype(np.float16), "matrices": seen.matrices, "points": seen.points,
                     "size": np.array(seen.size)}  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="npz")
    path = parser.parse_args(argv).output
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **fixture())


if __name__ == "__main__":
    main()
