"""Clips generated during validation: metrics, curves of the mouth opening, short videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.heads.flame import Flame
from models.metrics.measure import Sampled, Tracks
from models.metrics.validation import Validator
from models.networks.talker import Talker
from utils.errors import UserError
from utils.timebase import FPS, SAMPLE_RATE

VIDEO_FRAMES, VIDEO_SIZE, N_VIDEOS = 100, 320, 2
_WIDTH, _HEIGHT, _MARGIN = 720, 150, 24  # of a panel, pixels
_TRUE, _GENERATED, _GRID = (150, 150, 150), (200, 40, 40), (230, 230, 230)


class ValidationClips:
    """Generates a few clips at every validation and keeps them for curves and videos."""

    def __init__(self, validator: Validator, flame: Flame) -> None:
        self.validator, self.flame = validator, flame
        self._drawn: list[Sampled] = []
        self._tracks: list[Tracks] = []

    def scalars(self, model: Talker) -> dict[str, float]:
        """Generate the clips and score them; names carry the prefix `clips/`."""
        self._drawn = self.validator.drawn(model)
        scalars, self._tracks = self.validator.score(self._drawn)
        return {f"clips/{name}": value for name, value in scalars.items()}

    def curves(self) -> np.ndarray:
        """Mouth opening of the last generated clips (red) and of their true motion (grey), uint8 (H, W, 3)."""
        panels = [
            curve_panel(clip.name, truth.tracks.opening_mm[0], tracks.opening_mm[0])
            for clip, truth, tracks in zip(self.validator.clips, self.validator.truths, self._tracks)
        ]
        return np.concatenate(panels)

    @torch.no_grad()
    def write_videos(self, folder: Path) -> list[Path]:
        """Write the first 4 s of some clips with sound, the true motion on the left and the generated one on the right.

        Raises:
            UserError: no OpenGL, or the folder cannot be written.
        """
        from utils.media.video import write_video
        from utils.rendering.renderer import Renderer, RenderStyle

        renderer = Renderer(self.flame.head, RenderStyle(size=VIDEO_SIZE))
        paths = []
        for clip, truth, motion in zip(self.validator.clips[:N_VIDEOS], self.validator.truths, self._drawn):
            path = folder / f"{clip.name.replace('/', '_')}.mp4"
            n = min(VIDEO_FRAMES, motion.n_frames, clip.n_frames)
            sides = [renderer.frames(self._vertices(m.cut(n), truth.shape)) for m in (truth.motion, motion)]
            write_video(path, _side_by_side(*sides), n, FPS, clip.audio[: n * SAMPLE_RATE // FPS], SAMPLE_RATE)
            paths.append(path)
        return paths

    def _vertices(self, motion: Sampled, shape: Tensor) -> np.ndarray:
        """Vertices (T, V, 3) of the first sample, with its head rotation."""
        shapes = shape.expand(motion.n_frames, -1)
        return self.flame(shapes, motion.exp[0], motion.pose[0]).cpu().numpy()


def check_video() -> None:
    """Raises UserError when this machine cannot write videos."""
    from utils.rendering.gl_context import FAST, gl_thread, open_gl

    try:
        import av  # noqa: F401
    except ImportError as error:
        raise UserError(f"--val_video_iter: {error.name} is not installed; pip install av, or use 0") from error
    try:
        gl_thread(FAST).submit(open_gl).result()
    except UserError as error:
        raise UserError(f"--val_video_iter: {error}, or use 0") from error


def _side_by_side(left: Iterator[np.ndarray], right: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    for pair in zip(left, right):
        yield np.concatenate(pair, axis=1)


def curve_panel(title: str, true_mm: np.ndarray, generated_mm: np.ndarray) -> np.ndarray:
    """Two curves over time, uint8 (150, 720, 3); the scale is the truth's range widened by 20 %, at least 5 mm."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    low, high = min(0.0, float(true_mm.min())), max(5.0, 1.2 * float(true_mm.max()))
    inner_height, inner_width = _HEIGHT - 2 * _MARGIN, _WIDTH - 2 * _MARGIN

    def point(frame: int, mm: float) -> tuple[float, float]:
        share = np.clip((mm - low) / (high - low), 0, 1)
        return _MARGIN + inner_width * frame / max(1, len(true_mm) - 1), _HEIGHT - _MARGIN - inner_height * share

    for mm in (0.0, high):
        draw.line([point(0, mm), point(len(true_mm) - 1, mm)], _GRID)
        draw.text((2, point(0, mm)[1] - 6), f"{mm:.0f}", "black")
    draw.text((_MARGIN, 4), f"{title}: mouth opening, mm; grey: true, red: generated", "black")
    for values, colour in ((true_mm, _TRUE), (generated_mm, _GENERATED)):
        draw.line([point(i, float(mm)) for i, mm in enumerate(values)], colour, 2)
    return np.asarray(picture)
