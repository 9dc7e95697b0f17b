"""Films of the open head under motion that is known: how a motion is filmed, and which films there are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.subject import INPUT
from benchmarks.tracking.props import paint_beard, with_glasses
from models.heads.decode import motion_vertices
from models.heads.flame import Flame, load_flame
from utils.media.video import write_video
from utils.media.video_frames import VideoFrame
from utils.motion_file import Motion, load_motion, load_shape
from utils.rendering.looks import dress, framed_part
from utils.rendering.renderer import Renderer, RenderStyle
from utils.rendering.stage import stage_for
from utils.timebase import FPS
from utils.trackers.landmarker import find_model, watch
from utils.trackers.sightings import Sightings

STYLES = ("normal", "big_mouth", "small_mouth", "smile", "serious", "large_head_movements", "small_head_movements")
WORN = ("nothing", "glasses", "beard", "glasses and beard")
HELD_OUT = ("female_round", "male_narrow", "male_young")  # identities of the films


@dataclass(frozen=True)
class Scene:
    """How a motion is filmed."""

    identity: str = "average"
    look: str = "skin"
    size: int = 320
    fov: float = 18.0  # degrees; a phone has 50 to 65
    worn: str = WORN[0]


class Cinema:
    """Renders motions; keeps one renderer, the last used."""

    def __init__(self) -> None:
        self.flame = load_flame()
        self._key, self._renderer, self._dressed = None, None, self.flame

    def frames(self, motion: Motion, scene: Scene) -> Iterator[np.ndarray]:
        """Pictures uint8 (size, size, 3) of a motion on the scene's identity."""
        self._prepare(scene)
        motion = replace(motion, shape=load_shape(INPUT / "coef" / f"{scene.identity}.npy"))
        pictures = (p for chunk in motion_vertices(self._dressed, motion) for p in self._renderer.frames(chunk))
        if "glasses" in scene.worn:
            stage = stage_for(framed_part(self._dressed.head), scene.size, black_bg=False, fov=scene.fov)
            pictures = with_glasses(pictures, self.flame.head, motion, stage.to_screen)
        yield from pictures

    def watch(self, motion: Motion, scene: Scene) -> Sightings:
        """What MediaPipe sees of it."""
        pictures = self.frames(motion, scene)
        return watch((VideoFrame(i / FPS, p) for i, p in enumerate(pictures)), find_model(), "render")

    def _prepare(self, scene: Scene) -> None:
        bearded = "beard" in scene.worn
        key = (scene.look, scene.size, scene.fov, bearded)
        if key != self._key:
            look = dress(self.flame.head, scene.look)
            self._dressed = Flame(look.drawn)
            with tempfile.TemporaryDirectory() as folder:
                texture = paint_beard(self.flame.head, Path(folder) / "beard.png") if bearded else look.texture
                self._renderer = Renderer(look.drawn, RenderStyle(scene.size, texture=texture, fov=scene.fov))
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
