"""One recording of ARKit blendshapes in every dialect of csv and json that is read, one writer for each."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from tests.support.tracker_files import timecodes, write_csv
from utils.exports.arkit import BLEND_SHAPES


@dataclass(frozen=True)
class Recording:
    """Smooth curves at `fps`."""

    times: np.ndarray  # (T,) seconds
    weights: np.ndarray  # (T, 52) in 0..1, in the order of `BLEND_SHAPES`
    angles: np.ndarray  # (T, 3) yaw, pitch, roll in radians
    fps: float = 60.0

    @property
    def head(self) -> Rotation:
        return Rotation.from_euler("YXZ", self.angles)

    def without(self, lost: np.ndarray) -> "Recording":
        """The frames that are not lost (bool (T,))."""
        return replace(self, times=self.times[~lost], weights=self.weights[~lost], angles=self.angles[~lost])


def make_recording(n_frames: int = 301, fps: float = 60.0, seed: int = 0) -> Recording:
    random, times = np.random.default_rng(seed), np.arange(n_frames)[:, None] / fps
    width = len(BLEND_SHAPES) + 3
    curves = np.sin(2 * np.pi * random.uniform(0.3, 1.5, width) * times + random.uniform(0, 6, width))
    return Recording(times[:, 0], 0.45 + 0.4 * curves[:, :52], 0.15 * curves[:, 52:], fps)


def columns_of(take: Recording, name: Callable[[str], str] = str, scale: float = 1.0) -> dict[str, np.ndarray]:
    return {name(shape): scale * take.weights[:, k] for k, shape in enumerate(BLEND_SHAPES)}


def upper(name: str) -> str:
    return name[0].upper() + name[1:]


def sided(name: str) -> str:
    """eyeBlink_L as Maya and Unity exporters write it."""
    for side in ("Left", "Right"):
        name = name.removesuffix(side) + f"_{side[0]}" if name.endswith(side) else name
    return name


def angles_of(take: Recording, degrees: bool = False) -> dict[str, np.ndarray]:
    values = np.degrees(take.angles) if degrees else take.angles
    return dict(zip(("HeadYaw", "HeadPitch", "HeadRoll"), values.T))


def live_link(take: Recording, codes: list[str], degrees: bool = False, scale: float = 1.0) -> dict:
    first = {"Timecode": codes, "BlendShapeCount": [61] * len(codes)}
    return first | columns_of(take, upper, scale) | angles_of(take, degrees)


def write_live_link(folder: Path, take: Recording) -> Path:
    return write_csv(folder / "take.csv", live_link(take, timecodes(take.times)))


def write_degrees_and_percent(folder: Path, take: Recording) -> Path:
    return write_csv(folder / "take.csv", live_link(take, timecodes(take.times), degrees=True, scale=100))


def write_milliseconds(folder: Path, take: Recording) -> Path:
    """Time stamps since 1970 in ms under a name that does not say so; names with _L and _R."""
    stamps = {"timestamp": np.round(1.7e12 + 1000 * take.times)}
    return write_csv(folder / "take.csv", stamps | columns_of(take, sided) | angles_of(take))


def write_a2f_csv(folder: Path, take: Recording) -> Path:
    first = {"": np.arange(len(take.times)), "timeCode": take.times}
    columns = columns_of(take, lambda name: f"blendShapes.{upper(name)}")
    return write_csv(folder / "a2f.csv", first | columns | angles_of(take))


def dialect(change: Callable[[str], str], encoding: str = "utf-8") -> Callable[[Path, Recording], Path]:
    """The writer of a csv whose text is changed."""

    def write(folder: Path, take: Recording) -> Path:
        path = write_live_link(folder, take)
        path.write_text(change(path.read_text()), encoding=encoding)
        return path

    return write


def write_take_folder(folder: Path, take: Recording) -> Path:
    """The csv of a take's own folder, as Live Link Face makes it."""
    (folder / "frame_log.csv").write_text("V,1,2.5\nV,2,2.6\n")
    (folder / "take.json").write_text('{"slate": "a", "takeNumber": 1}')
    (folder / "thumbnail.jpg").write_bytes(b"\xff\xd8\xff")
    return write_live_link(folder, take)


def write_json(folder: Path, tree: object) -> Path:
    (folder / "take.json").write_text(json.dumps(tree))
    return folder / "take.json"


def write_names_and_weights(folder: Path, take: Recording, names: int = 52, head: bool = True) -> Path:
    frames = [{"weights": row[:names].tolist(), "time": time, "rotation": []}
              for row, time in zip(take.weights, take.times)]  # fmt: skip
    tree = {"names": BLEND_SHAPES[:names], "metadata": {"fps": 30.0, "frame_count": len(frames)}, "frames": frames}
    return write_json(folder, tree | ({"head_pose": take.head.as_rotvec().tolist()} if head else {}))


def write_list_of_frames(folder: Path, take: Recording) -> Path:
    rows = zip(take.times, take.weights, take.head.as_matrix())
    tree = [{"time": t, "blendshapes": dict(zip(BLEND_SHAPES, row)), "headRotation": turn.tolist()}
            for t, row, turn in rows]  # fmt: skip
    return write_json(folder, tree)


def write_quaternions(folder: Path, take: Recording) -> Path:
    """Milliseconds and quaternions, w first."""
    rows = zip(1000 * take.times, take.weights, np.roll(take.head.as_quat(), 1, axis=1))
    frames = [{"timestamp": t, "blendshapes": dict(zip(map(sided, BLEND_SHAPES), row)),
               "headRotation": dict(zip("wxyz", turn))} for t, row, turn in rows]  # fmt: skip
    return write_json(folder, {"version": 2, "frames": frames})


def write_mediapipe_json(folder: Path, take: Recording) -> Path:
    frames = []
    for time, row, turn in zip(take.times, take.weights, take.head.as_matrix()):
        scores = [{"index": k, "categoryName": name, "score": x} for k, (name, x) in enumerate(zip(BLEND_SHAPES, row))]
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn, [1, 2, -30]
        frames.append({"timestampMs": 1000 * time, "faceBlendshapes": scores, "rotation": matrix.T.ravel().tolist()})
    return write_json(folder, frames)


def write_columns(folder: Path, take: Recording) -> Path:
    columns = {name: values.tolist() for name, values in columns_of(take).items()}
    angles = {name: values.tolist() for name, values in angles_of(take).items()}
    return write_json(folder, {"time": take.times.tolist(), "blendshapes": columns, "head": angles})


def write_json_lines(folder: Path, take: Recording) -> Path:
    rows = zip(take.times, take.weights, take.angles)
    lines = [json.dumps({"t": t, "head": dict(zip(("yaw", "pitch", "roll"), turn)), **dict(zip(BLEND_SHAPES, row))})
             for t, row, turn in rows]  # fmt: skip
    (folder / "take.ndjson").write_text("\n".join(lines) + "\n")
    return folder / "take.ndjson"


def write_numbered_frames(folder: Path, take: Recording) -> Path:
    rows = zip(1000 * take.times, take.weights, take.head.as_quat())
    frames = {str(k): {"elapsed_time": t, "blendShapes": dict(zip(BLEND_SHAPES, row)), "rotation": turn.tolist()}
              for k, (t, row, turn) in enumerate(rows)}  # fmt: skip
    return write_json(folder, {"meta": {"device": "phone 12"}, "frames": frames})


def write_a2f_json(folder: Path, take: Recording) -> Path:
    tree = {
        "exportFps": take.fps,
        "trackPath": "a.wav",
        "numPoses": 52,
        "numFrames": len(take.times),
        "facsNames": BLEND_SHAPES,
        "weightMat": take.weights.tolist(),
        "head_pose": take.head.as_rotvec().tolist(),
    }
    return write_json(folder, tree)  # fmt: skip


ARKIT_FILES: dict[str, Callable[[Path, Recording], Path]] = {
    "live link": write_live_link, "degrees and percent": write_degrees_and_percent, "milliseconds": write_milliseconds,
    "a2f csv": write_a2f_csv, "a2f json": write_a2f_json,
    "semicolons": dialect(lambda text: text.replace(",", ";").replace(".", ",")),  # a German spreadsheet's csv
    "utf-16": dialect(lambda text: text.replace(",", "\t"), "utf-16"),
    "trailing commas": dialect(lambda text: text.replace("\n", ",\n")),
    "rows with commas": dialect(lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1)),  # not the header
    "cut row": dialect(lambda text: text + text.splitlines()[-1][:200]),
    "folder": write_take_folder, "names and weights": write_names_and_weights, "list": write_list_of_frames,
    "51 names": functools.partial(write_names_and_weights, names=51), "quaternions": write_quaternions,
    "mediapipe json": write_mediapipe_json, "columns": write_columns, "json lines": write_json_lines,
    "numbered frames": write_numbered_frames,
    "comments": dialect(lambda text: "# made by, with; 3 marks\n" + text.replace("\n", "\r\n")),  # and CR LF
}  # fmt: skip
