"""Motion -> a video of one head or of several side by side, piece by piece, so that long videos need little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.app.bundled import person_like
from models.heads.decode import motion_vertices
from models.heads.flame import Flame
from utils.config import flag
from utils.errors import UserError
from utils.heads.head_file import HeadFile
from utils.media.audio import Audio
from utils.media.panels import Panel, captioned, side_by_side
from utils.motion_file import Motion
from utils.rendering.looks import HAIR, LOOKS, SKINS, Look, dress, pivot, seen_from
from utils.timebase import FPS, SAMPLE_RATE


@dataclass(frozen=True, kw_only=True)
class LookFlags:
    """What the head wears."""

    look: str | None = flag(None, choices=LOOKS)
    """Skin or clay (default: skin on the open head, clay on others and with -t)."""
    hair: str | None = flag(None, choices=HAIR)
    """Hair of the head (default: the one that goes with the head shape; clay is bald)."""
    skin: str | None = flag(None, choices=tuple(SKINS))
    """Texture of --look skin (default: the one that goes with the head shape)."""
    texture: Path | None = flag(None, "-t")
    """Texture image (png or jpg) in the UV layout of the look."""

    def dress(self, head: HeadFile, shape: np.ndarray | None) -> Look:
        """The head in this look; skin and hair go by default with the head shape (100,).

        Raises:
            UserError: see `utils.rendering.looks.dress`.
        """
        return dress(head, self.look, self.texture, self.hair, self.skin, person_like(shape))


class HeadFilm:
    """Draws one head in one style into videos."""

    def __init__(self, flame: Flame, style, yaw: float = 0.0, pitch: float = 0.0) -> None:
        """Try OpenGL at once, so that a machine without it, or a bad texture, is reported before generation.

        Args:
            yaw, pitch: the camera's position, degrees (`utils.rendering.looks.seen_from`).

        Raises:
            UserError: no OpenGL or, if asked for, no pyrender (with the packages to install), or an unusable texture.
        """
        from utils.rendering.renderer import Renderer

        self.flame, self.renderer = flame, Renderer(flame.head, style)
        self.view = (pivot(flame.head), yaw, pitch)
        seen_from(flame.head.v_template, *self.view)  # reports angles out of range at once
        try:
            self.renderer.prepare()
        except UserError as error:
            raise UserError(f"{error}, or use --no_video for coefficients only") from error

    def frames(self, motions: Iterable[Motion]) -> Iterator[np.ndarray]:
        """Pictures uint8 (size, size, 3) of a motion given in pieces."""
        for motion in motions:
            for chunk in motion_vertices(self.flame, motion):
                yield from self.renderer.frames(seen_from(chunk, *self.view))

    def write(
        self, path: Path, motions: Iterable[Motion], n_frames: int, audio: Audio | None, caption: str = ""
    ) -> None:
        """Write the video of one motion.

        Args:
            n_frames: of all pieces together.
            audio: a `Sound`, or mono samples at 16 kHz, whole or in pieces; None for a silent video.

        Raises:
            UserError: the file cannot be written.
        """
        self.encode(path, self.frames(motions), n_frames, audio, caption)

    def write_together(
        self,
        path: Path,
        takes: list[tuple[str, Motion]],
        audio: Audio | None,
        columns: int | None = None,
        caption: str = "",
    ) -> None:
        """Write one video of several motions side by side, each with its label (`utils.media.panels.side_by_side`).

        Raises:
            UserError: no motions, or the file cannot be written.
        """
        panels = [Panel(self.frames([motion]), label) for label, motion in takes]
        n_frames = max((len(motion) for _, motion in takes), default=0)
        frames = side_by_side(panels, columns, self.renderer.style.black_bg)
        self.encode(path, frames, n_frames, audio, caption)

    def encode(
        self, path: Path, frames: Iterable[np.ndarray], n_frames: int, audio: Audio | None, caption: str = ""
    ) -> None:
        """Write pictures of `frames`, or panels made of them, as a video; arguments as for `write`."""
        from utils.media.video import write_video

        if caption:
            frames = captioned(frames, caption, self.renderer.style.black_bg)
        with tqdm(frames, total=n_frames, desc=f"rendering {path.name}", unit="frame") as shown:
            write_video(path, shown, n_frames, FPS, audio, SAMPLE_RATE)
