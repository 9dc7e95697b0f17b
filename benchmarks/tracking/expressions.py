"""What MediaPipe reads off single expressions of our own head, drawn by this version or by another one.

    python -m benchmarks.tracking.expressions -o DIR [--json FILE]

Writes a motion file for each of three identities (DIR/NAME.npz): every unit of `UNITS` alone, in steps from 0 to 1.
Films of them are read from DIR/NAME.mp4; those that are missing are drawn by this version. For another version's look,
draw them there first: `python render_motion.py DIR/NAME.npz -o DIR/NAME.mp4 --look skin --size 480`.

For each unit: r is the correlation of MediaPipe's score of that name (the mean of left and right) with the intended
value within an identity, `response` what the score gains from 0 to 1. Landmarks of lids and lips are compared with the
mesh's own (`setup.build_landmarks`) in the picture plane, after the best scale and shift of the whole face: the mesh's
in parallel projection, and "filmed", as this version's camera sees them, to which near points look larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import Flags, column, publish, read_flags
from benchmarks.subject import INPUT
from benchmarks.tracking.films import HELD_OUT, Case, Cinema, Scene, film
from models.tracking.embedding import LANDMARKS, LandmarkHead
from utils.atomic import check_output
from utils.config import required
from utils.errors import cli
from utils.exports.arkit import BLEND_SHAPES
from utils.heads.joints import JAW_OPEN_RADIANS, ROOT_JOINT
from utils.media.video_frames import read_frames
from utils.motion_file import Motion, load_motion, load_shape
from utils.rendering.looks import dress, framed_part
from utils.rendering.stage import stage_for
from utils.trackers.landmarker import find_model, watch
from utils.trackers.sightings import EYES, LIPS, OUTLINE, Sightings

UNITS = ("browDown", "browInnerUp", "browOuterUp", "cheekPuff", "eyeBlink", "eyeLookDown", "eyeLookUp", "eyeSquint",
         "eyeWide", "jawOpen", "mouthFrown", "mouthFunnel", "mouthLeft", "mouthLowerDown", "mouthPress", "mouthPucker",
         "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmile",
         "mouthStretch", "mouthUpperUp", "noseSneer")  # fmt: skip
STEPS = np.array([0, 0.25, 0.5, 0.75, 1.0])
SIZE = 480


@dataclass(frozen=True, kw_only=True)
class ExpressionFlags(Flags):
    """Where the films are."""

    output: Path = required("-o")
    """Folder of motion files and films."""


@dataclass(frozen=True)
class Reading:
    """One unit, over all identities."""

    unit: str = column("unit")
    r: float = column("r", "{:.2f}")
    response: float = column("response", "{:.2f}")


@dataclass(frozen=True)
class Distance:
    """Of MediaPipe's landmarks from the mesh's own, over all frames with a face."""

    landmarks: str = column("landmarks")
    median_mm: float = column("median mm", "{:.2f}")
    p90_mm: float = column("90 % mm", "{:.2f}")


def named(unit: str, names: tuple[str, ...] | list[str]) -> list[int]:
    """Numbers of the blend shapes of one unit: itself, or left and right."""
    return [k for k, name in enumerate(names) if name in (unit, f"{unit}Left", f"{unit}Right")]


def motion_of(names: list[str], shape: np.ndarray) -> Motion:
    """Every unit alone, one frame a step."""
    exp, pose = np.zeros((len(UNITS), len(STEPS), 50), np.float32), np.zeros((len(UNITS), len(STEPS), 6), np.float32)
    for k, unit in enumerate(UNITS):
        exp[k][:, named(unit, names)] = STEPS[:, None]
        pose[k, :, 3] = JAW_OPEN_RADIANS * STEPS * (unit == "jawOpen")
    return Motion(exp.reshape(-1, 50), pose.reshape(-1, 6), shape)


def seen(flags: ExpressionFlags) -> dict[str, tuple[Motion, Sightings]]:
    """Motion and what MediaPipe sees of its film, by identity."""
    model = find_model()  # before the films, which take long
    cinema, found = Cinema(), {}
    flags.output.mkdir(parents=True, exist_ok=True)
    for name in HELD_OUT:
        motion = motion_of(cinema.flame.head.exp_names, load_shape(INPUT / "coef" / f"{name}.npy"))
        motion.save(flags.output / f"{name}.npz")
        path = flags.output / f"{name}.mp4"
        if not path.is_file():
            check_output(path)
            film(cinema, Case("", Scene(name, size=SIZE)), motion, path)
        found[name] = load_motion(flags.output / f"{name}.npz"), watch(read_frames(path), model, str(path))
    return found


def readings(scores: np.ndarray) -> list[Reading]:
    """scores (identities, units, steps, 52), NaN without a face -> a row for each unit, and their mean."""
    rows = []
    for k, unit in enumerate(UNITS):
        score = scores[:, k][:, :, named(unit, BLEND_SHAPES)].mean(2)
        known, moved = np.isfinite(score), score - np.nanmean(score, axis=1, keepdims=True)
        r = np.corrcoef(np.broadcast_to(STEPS, score.shape)[known], moved[known])[0, 1]
        rows.append(Reading(unit, float(r), float(np.nanmean(score[:, -1] - score[:, 0]))))
    return [*rows, Reading("mean", float(np.nanmean([row.r for row in rows])),
                           float(np.mean([row.response for row in rows])))]  # fmt: skip


def distances(head: LandmarkHead, found: dict[str, tuple[Motion, Sightings]], camera: np.ndarray) -> list[Distance]:
    """Of lids and of lips; camera (3,) in the head's frame, metres from its root."""
    apart, filmed = [], []
    for motion, seen in found.values():
        shape, exp, jaw = (torch.from_numpy(x).double() for x in (motion.shape, motion.exp, motion.pose[:, 3]))
        offset = torch.zeros(len(LANDMARKS), 3, dtype=torch.float64)
        mesh = 1000 * head(shape[: head.n_shape], offset, exp, jaw).numpy()
        points = seen.points[:, [OUTLINE.index(landmark) for landmark in LANDMARKS]] * [seen.size[1], -seen.size[0]]
        apart += [_apart(a, b) for a, b, there in zip(mesh[..., :2], points, seen.found) if there]
        filmed += [_apart(a, b) for a, b, there in zip(_filmed(mesh, 1000 * camera), points, seen.found) if there]
    groups = {"lids": EYES, "lips": LIPS}
    rows = []
    for kind, every in (("", np.stack(apart)), (", filmed", np.stack(filmed))):
        chosen = {name + kind: every[:, [LANDMARKS.index(one) for one in these]] for name, these in groups.items()}
        rows += [Distance(name, float(np.median(x)), float(np.quantile(x, 0.9))) for name, x in chosen.items()]
    return rows


def _filmed(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """(T, P, 2) where a camera (3,) that looks along -z sees points (T, P, 3), at the scale of their mean depth."""
    ray = points - camera
    return ray[..., :2] * ray[..., 2:].mean(1, keepdims=True) / ray[..., 2:]


def _apart(mesh: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) mm between the mesh's points (P, 2) and pixels (P, 2) after the best scale and shift."""
    a, b = mesh - mesh.mean(0), points - points.mean(0)
    return np.linalg.norm(a - b * (a * b).sum() / (b * b).sum(), axis=1)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ExpressionFlags, __doc__, argv)
    found = seen(flags)
    scores = np.stack([sightings.scores for _, sightings in found.values()])
    n_found = sum(int(sightings.found.sum()) for _, sightings in found.values())
    n_frames = sum(len(sightings) for _, sightings in found.values())
    print(f"faces found: {n_found} of {n_frames}")
    head = Cinema().flame.head
    camera = stage_for(framed_part(dress(head, "skin").drawn), SIZE, black_bg=False).pose[:3, 3]
    root = head.j_regressor[ROOT_JOINT] @ head.v_template
    publish("landmarks", distances(LandmarkHead(head), found, camera - root), None)
    rows = readings(scores.reshape(len(found), len(UNITS), len(STEPS), -1))
    publish("scores", rows, flags.json, found=n_found, frames=n_frames)


if __name__ == "__main__":
    main()
