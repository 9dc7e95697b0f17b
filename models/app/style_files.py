"""A motion npz, tracker output or video -> a style vector; a talker with its bundled styles."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.app.bundled import DEFAULT_STYLE, input_folder, style_encoder_file, style_files_of
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.heads.flame import Flame, load_flame
from models.tracking.video import VideoOptions, track_video
from utils.devices import pick_device
from utils.errors import UserError
from utils.exports.arkit import has_arkit_expressions
from utils.media.video_frames import VIDEO_SUFFIXES
from utils.motion_file import Motion, load_motion
from utils.reports.wording import counted
from utils.runs.run_dir import find_checkpoint
from utils.timebase import FPS
from utils.trackers.content import load_content
from utils.trackers.to_motion import ImportOptions, from_content

log = logging.getLogger(__name__)
HOP, MAX_WINDOWS = FPS, 240  # windows begin one second apart; a long motion gets 240, evenly spread
MOVING = 0.5  # windows with less than this fraction of the median motion are pauses and are skipped


def read_motion(path: Path, options: ImportOptions | None = None, max_video_seconds: float | None = None) -> Motion:
    """Read a motion from an npz, from a video through `track_video`, or from tracker output through `from_content`.

    The trackers' notes are logged.

    Raises:
        UserError: a missing, unknown or damaged file.
    """
    as_it_is = options is None or options == ImportOptions()
    if as_it_is and not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if as_it_is and path.suffix.lower() in VIDEO_SUFFIXES:
        tracked = track_video(path, VideoOptions(max_seconds=max_video_seconds), progress=True)
        for note in tracked.notes:
            log.info("%s: %s", path, note)
        n_frames = counted(len(tracked.motion), "frame")
        log.info("%s: %s, confidence %.2f on average", path, n_frames, tracked.confidence.mean())
        return tracked.motion
    content = load_content(path)
    arrays = content.columns
    if as_it_is and path.suffix == ".npz" and ("exp" in arrays or "pose" in arrays):
        return load_motion(path)
    imported = from_content(content, options or ImportOptions())
    for note in imported.notes:
        log.info("%s: %s", path, note)
    log.info("%s: %s of %s", path, counted(len(imported.motion), "frame"), imported.format)
    return imported.motion


def with_head_motion(motion: Motion, source: Path | None = None) -> Motion:
    """The motion with the head's rotation of another one (default: the bundled normal motion), to and fro over its end.

    Raises:
        UserError: an unreadable file, or one whose head does not move.
    """
    other = read_motion(source or input_folder("motion") / Path(DEFAULT_STYLE).with_suffix(".npz"))
    if not other.has_head_motion:
        raise UserError(f"{other.source}: its head does not move; give another --head_motion")
    steps = np.arange(len(motion)) % max(2 * len(other) - 2, 1)
    pose = motion.pose.copy()
    pose[:, :3] = other.pose[np.minimum(steps, 2 * len(other) - 2 - steps), :3]
    return replace(motion, pose=pose)


def style_of(extractor: StyleExtractor, motion: Motion, window: int | str = "best") -> np.ndarray:
    """Style vector (d,) of one window or of several; logs which windows were used.

    A head that was not recorded would be the style of a head that is held still, so it is replaced.

    Args:
        motion: 4 s or more.
        window: the first frame of a window, "best" (the most typical window), or "all" (the mean over windows).

    Raises:
        UserError: the motion is too short, or the window lies outside it.
    """
    length = extractor.encoder.config.n_motions
    if extractor.codec.layout.head_pose and len(motion) >= length and not motion.has_head_motion:
        log.warning("%s: holds no head rotation, so the style's head is that of the bundled normal motion; "
                    "extract_style.py --head_motion FILE chooses another", motion.source)  # fmt: skip
        motion = with_head_motion(motion)
    if isinstance(window, int):
        style = extractor(motion, window)
        log.info("style of frames %d to %d", window, window + length - 1)
        return style
    last = max(len(motion) - length, 0)
    starts = np.unique(np.linspace(0, last, min(last // HOP + 1, MAX_WINDOWS)).round().astype(int))
    starts = moving_windows(motion, starts, length)
    styles = np.stack([extractor(motion, int(start)) for start in starts])
    mean = styles.mean(axis=0)
    likeness = styles @ mean / np.maximum(np.linalg.norm(styles, axis=1) * np.linalg.norm(mean), 1e-12)
    if window == "all":
        log.info("mean style of %d windows between frames 0 and %d; their cosine similarity to it is %.2f to %.2f",
                 len(starts), starts[-1] + length - 1, likeness.min(), likeness.max())  # fmt: skip
        return mean.astype(styles.dtype)
    best = int(likeness.argmax())
    log.info("style of frames %d to %d, the most typical of %d windows (cosine similarity to their mean %.2f)",
             starts[best], starts[best] + length - 1, len(starts), likeness[best])  # fmt: skip
    return styles[best]


def moving_windows(motion: Motion, starts: np.ndarray, length: int) -> np.ndarray:
    """First frames of the windows in which the face moves, without the pauses."""
    face = np.concatenate([motion.exp, motion.pose[:, 3:4]], axis=1)
    face = face / np.maximum(face.std(axis=0), 1e-6)
    moved = np.array([face[start : start + length].std(axis=0).mean() for start in starts])
    return starts[moved >= MOVING * np.median(moved)]


def encoder_of(animator: Animator) -> StyleExtractor:
    """The style encoder that a talker was trained with.

    Raises:
        UserError: the talker has no style input, or its style encoder's file is missing.
    """
    path = style_encoder_file(animator.model.config.style_enc_ckpt)
    return StyleExtractor.load(path, None, animator.model.device)


def style_from_file(
    path: Path, extractor: StyleExtractor, max_video_seconds: float | None = None
) -> tuple[np.ndarray, Motion]:
    """A user's file -> the style (d,) of its most typical 4 seconds, and its motion; for encoders of the open head.

    Raises:
        UserError: the file holds no motion, FLAME's coefficients, or less than 4 s.
    """
    motion = read_motion(path, max_video_seconds=max_video_seconds)
    if motion.is_flame:
        raise UserError(
            f"{path}: holds FLAME's coefficients, which mean nothing to a style encoder of the open head; give ARKit's "
            "values (Live Link Face, MediaPipe), or use an encoder trained on FLAME"
        )
    return style_of(extractor, motion), motion


@dataclass
class StyledTalker:
    """A talker of the open head with its bundled styles: what the page and the live server need."""

    animator: Animator
    flame: Flame
    styles: Path  # folder of this talker's style files

    @staticmethod
    def load(exp_name: str, device: str, place: str) -> StyledTalker:
        """`place`: what needs it, such as page, for the message.

        Raises:
            UserError: no such experiment, or a model without style input or for FLAME's head.
        """
        animator = Animator.load(find_checkpoint("DPT", exp_name, None), None, pick_device(device))
        recorded, flame = animator.model.config.style_enc_ckpt, load_flame(None)
        if animator.published or not recorded or not has_arkit_expressions(flame.head):
            raise UserError(f"--exp_name {exp_name}: the {place} needs a model of the open head with styles")
        animator.know_head(flame.head)
        return StyledTalker(animator, flame, style_files_of(recorded))

    def style_names(self) -> list[str]:
        """Of the bundled styles."""
        return sorted(path.stem for path in self.styles.glob("*.npy"))
