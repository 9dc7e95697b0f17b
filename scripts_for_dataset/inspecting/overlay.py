"""A video to check tracking by eye: the pictures with the landmarks on the left, the tracked head on the right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from models.app.head_film import HeadFilm
from models.heads.decode import motion_vertices
from models.heads.flame import Flame
from models.tracking.video import TrackedVideo
from utils.errors import UserError
from utils.heads.head_file import load_head_file
from utils.media.audio import Sound, SoundPart, own_sound
from utils.media.panels import Panel, side_by_side
from utils.media.video import write_video
from utils.media.video_frames import VideoFrame, read_frames
from utils.rendering.looks import dress
from utils.rendering.renderer import RenderStyle
from utils.timebase import FPS

SIZE = 480  # pixels of each half
FOUND, UNSURE = (40, 220, 90), (255, 150, 30)  # colours of the points seen: sure, confidence below a half
DOT = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
FITTED = (80, 140, 255)  # of the fitted head's


def write_overlay(path: Path, video: Path, tracked: TrackedVideo, head: Path | None = None) -> None:
    """Write the mp4, 25 fps, with the video's sound if it has any, and the head of this file (None: the open head).
    The video is decoded a second time.

    Raises:
        UserError: `path` cannot be written, or there is no OpenGL.
    """
    n_frames = len(tracked.motion)
    panels = [Panel(_marked(video, tracked), "video"), Panel(_head(tracked, head), "tracked")]
    frames = tqdm(side_by_side(panels), total=n_frames, desc=f"rendering {path.name}", unit="frame")
    write_video(path, frames, n_frames, FPS, _sound(video, SoundPart(clock=tracked.begins_with)))


def _sound(video: Path, part: SoundPart) -> Sound | None:
    """The video's own sound; None for a silent video."""
    try:
        return own_sound(video, part)
    except UserError:
        return None


def _head(tracked: TrackedVideo, head: Path | None) -> Iterator[np.ndarray]:
    look = dress(load_head_file(head), None)
    film = HeadFilm(Flame(look.head), RenderStyle(SIZE, texture=look.texture))
    for chunk in motion_vertices(film.flame, tracked.motion):
        yield from film.renderer.frames(chunk)


def _marked(video: Path, tracked: TrackedVideo) -> Iterator[np.ndarray]:
    """The video's pictures at 25 fps in a square of SIZE pixels, with the points that were found in them."""
    sightings, sure = tracked.sightings, tracked.sightings.confidence() >= 0.5
    frames = enumerate(read_frames(video))
    index, frame = next(frames)
    following = next(frames, None)
    for time in np.arange(len(tracked.motion)) / FPS:
        while following is not None and following[1].time <= time + 0.5 / FPS:
            (index, frame), following = following, next(frames, None)
        marks = [(sightings.points[index], FOUND if sure[index] else UNSURE)]
        if tracked.fitted is not None:
            marks.append((tracked.fitted[index] / np.array(sightings.size[::-1]), FITTED))
        yield _with_points(frame, marks)


def _with_points(frame: VideoFrame, marks: list[tuple[np.ndarray, tuple[int, int, int]]]) -> np.ndarray:
    """marks: points (P, 2) as fractions of width and height, NaN for missing ones, and their colours."""
    height, width = frame.picture.shape[:2]
    scale = SIZE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(frame.picture).resize(size, Image.Resampling.BILINEAR))
    canvas = np.full((SIZE, SIZE, 3), 225, np.uint8)
    top, left = (SIZE - size[1]) // 2, (SIZE - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = small
    for points, colour in marks:
        there = points[np.isfinite(points).all(axis=1)]
        if len(there):
            columns, rows = np.clip(np.round(there * size + (left, top)), 1, SIZE - 2).astype(int).T
            for dx, dy in DOT:
                canvas[rows + dy, columns + dx] = colour
    return canvas
