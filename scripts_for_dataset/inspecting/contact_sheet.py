"""Pictures of random clips of a data set, a row each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from datasets.clip_store import ClipStore
from utils.motion_file import Motion
from utils.timebase import FPS

COLUMNS, SIZE, LABEL = 6, 176, 18  # pictures of a clip; pixels of a picture; pixels of the line with the clip's name


def contact_sheet(store: ClipStore, clips: list[str], n_clips: int, seed: int, head: Path | None) -> np.ndarray:
    """uint8 (H, W, 3): frames of up to `n_clips` random clips, evenly over each, with their names and times.

    Raises:
        UserError: no OpenGL, or an unusable head file.
    """
    from models.heads.decode import decode
    from models.heads.flame import load_flame
    from utils.rendering.renderer import Renderer, RenderStyle

    flame = load_flame(head)
    renderer = Renderer(flame.head, RenderStyle(size=SIZE))
    chosen = np.random.default_rng(seed).permutation(len(clips))[:n_clips]
    rows = []
    for clip in (clips[i] for i in sorted(chosen)):
        n_frames = store.n_frames(clip)
        which = np.linspace(0, n_frames - 1, COLUMNS).round().astype(int)
        coefs = {name: values[which] for name, values in store.read_coefs(clip).items()}
        vertices = decode(flame, Motion(coefs["exp"], coefs["pose"]), coefs["shape"])
        row = np.concatenate(list(renderer.frames(vertices.numpy())), axis=1)
        times = ", ".join(f"{frame / FPS:.1f}" for frame in which)
        rows += [label(f"{clip}   at {times} s", row.shape[1]), row]
    return np.concatenate(rows)


def label(text: str, width: int) -> np.ndarray:
    """A line of text as uint8 (LABEL, width, 3)."""
    from PIL import Image, ImageDraw

    line = Image.new("RGB", (width, LABEL), "white")
    ImageDraw.Draw(line).text((4, 3), text, fill="#222222")
    return np.asarray(line)
