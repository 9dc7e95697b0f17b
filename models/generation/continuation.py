"""Motion window after window, each from the last frames of the one before: what files and live speech share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from models.diffusion.schedule import Schedule
from models.diffusion.solvers import gaussian_noise, solver_steps
from models.diffusion.window import Conditions
from models.fast.engine import Engine
from models.generation.windows import GenerationConfig, indicator
from models.networks.talker import Talker


class Continuation:
    """The state between two windows of one sample. A window may be short: the rest is padding to the network."""

    def __init__(
        self,
        model: Talker,
        engine: Engine,
        config: GenerationConfig,
        person: tuple[Tensor, Tensor | None],
        seed: int,
    ) -> None:
        """person: normalised shape (100,), and style (d_style,) or None for the null style."""
        options = model.config
        self.model, self.engine, self.config = model, engine, config
        self._schedule = Schedule.make(options.diff_schedule, options.n_diff_steps)
        self.steps = solver_steps(config.sampler, self._schedule, options.target)
        self.shape, self.style = person
        if not options.has_style:
            self.style = None
        self.generator = torch.Generator(model.device).manual_seed(seed)
        self._x_T: Tensor | None = None
        self.motion, self.audio = model.start(1)  # (1, P, .)
        self._expected = self.motion[0, :0]  # (k, D) frames that the last window has already made of the next

    @torch.no_grad()
    def window(self, audio: Tensor, n: int, ahead: int = 0) -> Tensor:
        """Motion (n, D) of the next n frames from audio features (m, F), n + ahead <= m <= L.

        Frames beyond n + ahead are padding, as at the end of a recording. The `ahead` frames are generated too, not
        returned but faded into the next window's, which begins with the same frames.
        """
        options, valid = self.model.config, n + ahead
        if self._x_T is None or self.config.fresh_noise:
            size = (1, options.n_motions, options.layout.motion_dim)
            self._x_T = torch.randn(size, generator=self.generator, device=self.model.device)
        given = Conditions(
            audio=self._whole_window(audio)[None],
            prev_audio=self.audio,
            prev_motion=self.motion,
            shape=self.shape[None],
            style=None if self.style is None else self.style[None],
            indicator=indicator(self.model, [valid]),
        )
        noise = gaussian_noise([self.generator], self.model.device)
        motion = faded(self._expected, self.engine.run(given, self.steps, self._x_T, noise)[0, :valid])
        motion, self._expected = motion[:n], motion[n:]
        self.motion, self.audio = (
            torch.cat([before, new[None]], dim=1)[:, -options.n_prev_motions :]
            for before, new in ((self.motion, motion), (self.audio, audio[:n]))
        )
        return motion

    def _whole_window(self, audio: Tensor) -> Tensor:
        """Features (m, F) filled up to a window (L, F) with the last one; those frames are marked as padding."""
        missing = self.model.config.n_motions - len(audio)
        return F.pad(audio[None], (0, 0, 0, missing), mode="replicate")[0] if missing else audio


def faded(old: Tensor, new: Tensor) -> Tensor:
    """Motion (n, D) that begins as `old` (k, D) goes on, and is `new` (n, D) after k frames."""
    k = min(len(old), len(new))
    if not k:
        return new
    share = (torch.arange(1, k + 1, device=new.device, dtype=new.dtype) / (k + 1))[:, None]
    return torch.cat([torch.lerp(old[:k], new[:k], share * share * (3 - 2 * share)), new[k:]])


def continued_motion(windows: Iterable[Tensor], n_frames: int, sample: Continuation) -> Iterator[Tensor]:
    """Full windows of features (L, F) -> motion (n, D) each, `n_frames` frames in all; the last window is cut.

    What `generate_batch` gives for one item, a window at a time.
    """
    left = n_frames
    for audio in windows:
        motion = sample.window(audio, min(left, len(audio)))
        yield motion
        left -= len(motion)
