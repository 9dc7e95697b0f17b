"""Makes the fixture of test_track_video.py: our own head, filmed with motion that is known and seen by MediaPipe.

    python -m tests.support.make_tracked_head     # tests/support/tracked_head.npz

The fixture holds motion (exp, pose) and what MediaPipe said of each frame (times, scores, matrices, points): 5 s of the
bundled motion smile.npz, 8 grey frames, and a head that turns to its left by 2 degrees a frame up to 60.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.tracking.films import Cinema, Scene, bundled
from utils.media.video_frames import VideoFrame
from utils.timebase import FPS
from utils.trackers.landmarker import find_model, watch

TALKING, HIDDEN, TURNING = 125, 8, 30  # frames


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


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("tracked_head.npz"), **fixture())
