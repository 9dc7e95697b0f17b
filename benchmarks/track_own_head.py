"""Our own head, rendered with motion that is known, seen by MediaPipe: what the tracker's figures and tests are made of.

    python -m benchmarks.track_own_head -o tests/tracked_head.npz     # the fixture of tests/test_track_video.py

The fixture holds motion (exp, pose) and what MediaPipe said of each frame (times, scores, matrices, points): 5 s of the
bundled motion smile.npz, 8 grey frames, and a head that turns to its left by 2 degrees a frame up to 60.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from models.flame import Flame, load_flame
from models.head_film import vertices
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import cli
from utils.looks import dress
from utils.motion_file import Motion, load_motion, load_shape
from utils.renderer import Renderer, RenderStyle
from utils.run_dir import ROOT
from utils.timebase import FPS
from utils.trackers.arkit import JAW_OPEN_RADIANS
from utils.trackers.landmarker import find_model, watch
from utils.trackers.sightings import Sightings
from utils.video_frames import VideoFrame

INPUT = ROOT / "demo" / "input"
TALKING, HIDDEN, TURNING = 125, 8, 30  # frames of the fixture
HOLD, RAMP = 4, 4  # frames that a random expression lasts, and takes to change


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
        for chunk in vertices(self._dressed, replace(motion, shape=shape)):
            yield from self._renderer.frames(chunk)

    def watch(self, motion: Motion, scene: Scene) -> Sightings:
        """What MediaPipe sees of it."""
        pictures = self.frames(motion, scene)
        return watch((VideoFrame(i / FPS, p) for i, p in enumerate(pictures)), find_model(), "render")

    def _prepare(self, scene: Scene) -> None:
        key = (scene.look, scene.size, scene.fov)
        if key != self._key:
            look = dress(self.flame.head, scene.look)
            self._dressed = Flame(look.head)
            self._renderer = Renderer(look.head, RenderStyle(scene.size, texture=look.texture, fov=scene.fov))
            self._key = key


def random_motion(n_frames: int, seed: int, names: list[str]) -> Motion:
    """Expressions and head turns that change every 8 frames: a few units at once, both sides alike."""
    rng = np.random.default_rng(seed)
    n_keys = n_frames // (HOLD + RAMP) + 2
    exp = np.zeros((n_keys, len(names)))
    units = sorted({_both_sides(name) for name in names})
    jaw = np.where(rng.random(n_keys) < 0.6, rng.uniform(0, 1, n_keys), 0)
    for key in range(n_keys):
        for i in rng.choice(len(units), rng.integers(0, 5), replace=False):
            exp[key, [names.index(name) for name in units[i]]] = rng.uniform(0, 0.9)
    blink = [names.index(f"eyeBlink{side}") for side in ("Left", "Right")]
    exp[:, blink] = np.where(rng.random(n_keys) < 0.2, 1.0, 0.05)[:, None]
    exp[:, names.index("mouthClose")] = jaw * np.where(rng.random(n_keys) < 0.3, rng.uniform(0, 1, n_keys), 0)
    angles = rng.normal(0, [8, 5, 4], (n_keys, 3))
    turn = Rotation.from_euler("YXZ", _eased(angles, n_frames), degrees=True).as_rotvec()
    pose = np.zeros((n_frames, 6))
    pose[:, :3], pose[:, 3] = turn, JAW_OPEN_RADIANS * _eased(jaw[:, None], n_frames)[:, 0]
    return Motion(_eased(exp, n_frames).astype(np.float32), pose.astype(np.float32), None, f"random {seed}")


def _both_sides(name: str) -> tuple[str, ...]:
    """A unit with its other side, except those that are a movement to one side."""
    stem = name.removesuffix("Left").removesuffix("Right")
    return (name,) if stem in (name, "jaw", "mouth") else (f"{stem}Left", f"{stem}Right")


def _eased(keys: np.ndarray, n_frames: int) -> np.ndarray:
    """Key values (K, C) -> (n, C): held, then eased to the next."""
    key, step = np.divmod(np.arange(n_frames), HOLD + RAMP)
    share = np.clip((step - HOLD + 1) / RAMP, 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    return keys[key] * (1 - share) + keys[key + 1] * share


def bundled(name: str, n_frames: int | None = None) -> Motion:
    """The first frames of a motion in demo/input/motion."""
    motion = load_motion(INPUT / "motion" / f"{name}.npz")
    return replace(motion, exp=motion.exp[:n_frames], pose=motion.pose[:n_frames])


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
