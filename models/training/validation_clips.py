"""Clips generated during validation: metrics, curves of the mouth opening, short videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.heads.flame import Flame
from models.metrics.measure import Sampled
from models.metrics.validation import Scored, Validator
from models.networks.talker import Talker
from utils.errors import UserError
from utils.reports import plots
from utils.timebase import FPS, SAMPLE_RATE
from utils.training.data_order import Share
from utils.training.process_group import gathered

VIDEO_FRAMES, VIDEO_SIZE, N_VIDEOS = 100, 320, 2
_WIDTH, _HEIGHT, _GREY = 720, 150, "#969696"  # of a clip's curves, pixels; of the true motion


class ValidationClips:
    """Generates a few clips at every validation, each process its share, and keeps them for curves and videos."""

    def __init__(self, validator: Validator, flame: Flame, share: Share) -> None:
        self.validator, self.flame, self.share = validator, flame, share
        self._drawn: dict[int, Sampled] = {}  # this process's
        self._scored: dict[int, Scored] = {}  # of all

    def scalars(self, model: Talker) -> dict[str, float]:
        """Generate the clips and score them; names carry the prefix `clips/`. All processes get all scores."""
        self._drawn = self.validator.drawn(model, self.share)
        self._scored = gathered(self.validator.score(self._drawn))
        return {f"clips/{name}": value for name, value in self.validator.pooled(self._scored).items()}

    def curves(self) -> np.ndarray:
        """Mouth opening of the last generated clips and of their true motion, uint8 (H, W, 3), scaled to the truth."""
        figure = plots.new_figure(_WIDTH, _HEIGHT * len(self._scored), rows=len(self._scored))
        rows = zip(figure.axes, self.validator.clips, self.validator.truths, self._scored.values())
        for axes, clip, truth, scored in rows:
            true_mm = truth.tracks.opening_mm[0]
            plots.set_titles(axes, f"{clip.name}: mouth opening, mm; grey: true, orange: generated", "")
            axes.plot(true_mm, color=_GREY)
            axes.plot(scored.tracks.opening_mm[0], color=plots.ORANGE)
            axes.set_ylim(min(0.0, float(true_mm.min())), max(5.0, 1.2 * float(true_mm.max())))
        return plots.to_pixels(figure)

    @torch.no_grad()
    def write_videos(self, folder: Path) -> list[Path]:
        """Write the first 4 s of this process's among the first clips with sound, the true motion on the left and the
        generated one on the right.

        Raises:
            UserError: no OpenGL, or the folder cannot be written.
        """
        from utils.media.panels import Panel, side_by_side
        from utils.media.video import write_video
        from utils.rendering.renderer import Renderer, RenderStyle

        renderer = Renderer(self.flame.head, RenderStyle(size=VIDEO_SIZE))
        paths = []
        for number in (number for number in self._drawn if number < N_VIDEOS):
            clip, truth, motion = self.validator.clips[number], self.validator.truths[number], self._drawn[number]
            path = folder / f"{clip.name.replace('/', '_')}.mp4"
            n = min(VIDEO_FRAMES, motion.n_frames, clip.n_frames)
            panels = [
                Panel(renderer.frames(self._vertices(m.cut(n), truth.shape)), label)
                for m, label in ((truth.motion, "true"), (motion, "generated"))
            ]
            write_video(path, side_by_side(panels), n, FPS, clip.audio[: n * SAMPLE_RATE // FPS], SAMPLE_RATE)
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
