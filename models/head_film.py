"""Motion -> a video of the head, piece by piece, so that long videos need little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models.flame import Flame
from utils.errors import UserError
from utils.looks import pivot, seen_from
from utils.motion_file import Motion
from utils.timebase import FPS, SAMPLE_RATE

CHUNK = 100  # frames decoded to vertices at a time


def vertices(flame: Flame, motion: Motion) -> Iterator[np.ndarray]:
    """Vertices (n, V, 3) of a motion, a chunk of frames at a time."""
    exp, pose, shape = (torch.from_numpy(x) for x in (motion.exp, motion.pose, motion.shape))
    with torch.no_grad():
        for e, p in zip(exp.split(CHUNK), pose.split(CHUNK)):
            yield flame(shape.expand(len(e), -1), e, p).numpy()


class HeadFilm:
    """Draws one head in one style into videos."""

    def __init__(self, flame: Flame, style, yaw: float = 0.0, pitch: float = 0.0) -> None:
        """OpenGL is tried out at once: a machine without it, or a bad texture, must show before generation.

        Args:
            flame: the head.
            style: `utils.renderer.RenderStyle`.
            yaw, pitch: where the camera stands, degrees (`utils.looks.seen_from`).

        Raises:
            UserError: no OpenGL (with the packages to install), or an unusable texture.
        """
        from utils.gl_context import on_gl_thread, open_gl
        from utils.renderer import Renderer

        self.flame, self.renderer = flame, Renderer(flame.head, style)
        self.view = (pivot(flame.head), yaw, pitch)
        seen_from(flame.head.v_template, *self.view)  # angles out of range show at once
        try:
            on_gl_thread(open_gl).result()
        except UserError as error:
            raise UserError(f"{error}, or use --no_video for coefficients only") from error

    def write(
        self, path: Path, motions: Iterable[Motion], n_frames: int, audio: np.ndarray | Iterable[np.ndarray]
    ) -> None:
        """Write the video of a motion given in pieces, `n_frames` in all, with its sound, 16 kHz, whole or in pieces.

        Raises:
            UserError: the file cannot be written.
        """
        from utils.media import write_video

        frames = (
            frame
            for motion in motions
            for chunk in vertices(self.flame, motion)
            for frame in self.renderer.frames(seen_from(chunk, *self.view))
        )
        with tqdm(frames, total=n_frames, desc=f"rendering {path.name}", unit="frame") as shown:
            write_video(path, shown, n_frames, FPS, audio, SAMPLE_RATE)
