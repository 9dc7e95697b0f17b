"""Synthetic outputs of face trackers, one writer per format, all of the same known motion."""

import csv
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from utils.trackers.content import load_content
from utils.trackers.to_motion import Imported, ImportOptions, from_content


def import_motion(path: str | Path, options: ImportOptions | None = None) -> Imported:
    """Read a file or folder as the programs do."""
    return from_content(load_content(path), options or ImportOptions())


@dataclass(frozen=True)
class Truth:
    """What was tracked: rotations of head, neck and jaw over T frames."""

    exp: np.ndarray  # (T, 100)
    head: Rotation
    neck: Rotation
    jaw: Rotation
    shape: np.ndarray  # (300,)

    @property
    def whole_head(self) -> Rotation:
        return self.head * self.neck


def make_truth(n_frames: int = 40, seed: int = 0, sideways: float = 0.0) -> Truth:
    """Smooth curves; the jaw opens only, unless `sideways` (radians) moves it."""
    random, time = np.random.default_rng(seed), np.arange(n_frames)[:, None] / 25

    def curves(width, size):
        return size * np.sin(2 * np.pi * random.uniform(0.2, 1.5, width) * time + random.uniform(0, 6, width))

    jaw = np.abs(curves(3, 0.2)) * [1, 0, 0] + curves(3, sideways) * [0, 1, 1]
    rotations = [Rotation.from_rotvec(x) for x in (curves(3, 0.3), curves(3, 0.1), jaw)]
    return Truth(curves(100, 1.0), *rotations, random.standard_normal(300))


def six(rotation: Rotation) -> np.ndarray:
    """PyTorch3D's 6-D form: the first two rows."""
    return rotation.as_matrix()[:, :2].reshape(-1, 6).astype(np.float32)


def pose_of(truth: Truth) -> np.ndarray:
    return np.concatenate([truth.whole_head.as_rotvec(), truth.jaw.as_rotvec()], axis=1).astype(np.float32)


def write_spectre(folder: Path, truth: Truth) -> Path:
    n = len(truth.exp)
    arrays = {"exp": truth.exp[:, :50], "pose": pose_of(truth), "shape": np.tile(truth.shape[:100], (n, 1))}
    np.savez(folder / "spectre.npz", **arrays, cam=np.zeros((n, 3)), tex=np.zeros((n, 50)), light=np.zeros((n, 9, 3)))
    return folder / "spectre.npz"


def write_emoca(folder: Path, truth: Truth) -> Path:
    for i, (exp, pose) in enumerate(zip(truth.exp[:, :50], pose_of(truth))):
        frame = folder / "emoca" / f"{i + 1:06d}_000"
        frame.mkdir(parents=True)
        for name, values in (("exp", exp), ("pose", pose), ("shape", truth.shape[:100]), ("detail", np.zeros(128))):
            np.save(frame / f"{name}.npy", values.astype(np.float32))
    return folder / "emoca"


def vhap_arrays(truth: Truth) -> dict[str, np.ndarray]:
    n = len(truth.exp)
    rotations = {"rotation": truth.head, "neck_pose": truth.neck, "jaw_pose": truth.jaw}
    return {name: value.as_rotvec().astype(np.float32) for name, value in rotations.items()} | {
        "expr": truth.exp.astype(np.float32), "eyes_pose": np.zeros((n, 6), np.float32),
        "translation": np.zeros((n, 3), np.float32), "shape": truth.shape.astype(np.float32),
        "static_offset": np.zeros((1, 5143, 3), np.float32), "timestep_id": np.array([f"{i:05d}" for i in range(n)]),
    }  # fmt: skip


def write_vhap(folder: Path, truth: Truth) -> Path:
    (folder / "vhap").mkdir()
    np.savez(folder / "vhap" / "tracked_flame_params_30.npz", **vhap_arrays(truth))
    np.savez(folder / "vhap" / "tracked_flame_params_9.npz", **vhap_arrays(make_truth(5, seed=9)))
    return folder / "vhap"


def write_vhap_export(folder: Path, truth: Truth) -> Path:
    arrays = vhap_arrays(truth)
    (folder / "export" / "flame_param").mkdir(parents=True)
    for i in range(len(truth.exp)):
        frame = {name: arrays[name][i : i + 1] for name in ("rotation", "neck_pose", "jaw_pose", "expr", "eyes_pose")}
        path = folder / "export" / "flame_param" / f"{i:05d}.npz"
        np.savez(path, **frame, shape=arrays["shape"], static_offset=arrays["static_offset"])
    return folder / "export"


def smirk_tensors(truth: Truth) -> dict[str, torch.Tensor]:
    n = len(truth.exp)
    values = {"pose_params": truth.whole_head.as_rotvec(), "jaw_params": truth.jaw.as_rotvec(),
              "shape_params": np.tile(truth.shape, (n, 1)), "expression_params": truth.exp[:, :50],
              "eyelid_params": np.zeros((n, 2)), "cam": np.zeros((n, 3))}  # fmt: skip
    return {name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()}


def write_smirk(folder: Path, truth: Truth) -> Path:
    torch.save(smirk_tensors(truth), folder / "smirk.pt")
    return folder / "smirk.pt"


def write_smirk_npy(folder: Path, truth: Truth) -> Path:
    arrays = {name: value.numpy() for name, value in smirk_tensors(truth).items()}
    np.save(folder / "smirk.npy", arrays, allow_pickle=True)
    return folder / "smirk.npy"


def write_metrical(folder: Path, truth: Truth) -> Path:
    """The head stays and the camera turns: diag(-1, 1, -1) R^T = head, so R = head^T diag(-1, 1, -1)."""
    camera = truth.whole_head.inv() * Rotation.from_matrix(np.diag([-1.0, 1, -1]))
    (folder / "metrical" / "checkpoint").mkdir(parents=True)
    for i in range(len(truth.exp)):
        flame = {"exp": truth.exp[i : i + 1].astype(np.float32), "shape": truth.shape[None].astype(np.float32),
                 "jaw": six(truth.jaw)[i : i + 1], "eyes": np.zeros((1, 12), np.float32)}  # fmt: skip
        frame = {"flame": flame, "camera": {"R": six(camera)[i : i + 1], "t": np.zeros((1, 3), np.float32)},
                 "img_size": np.array([512, 512]), "frame_id": f"{i:05d}", "global_step": i}  # fmt: skip
        torch.save(frame, folder / "metrical" / "checkpoint" / f"{i:05d}.frame")
    return folder / "metrical"


def write_pixel3dmm(folder: Path, truth: Truth) -> Path:
    (folder / "pixel3dmm").mkdir()
    for i in range(len(truth.exp)):
        six_d = {"R": truth.head, "neck": truth.neck, "jaw": truth.jaw}
        flame = {name: six(rotation)[i : i + 1] for name, rotation in six_d.items()}
        flame |= {"exp": truth.exp[i : i + 1], "shape": truth.shape[None], "eyelids": np.zeros((1, 2))}
        frame = {"flame": flame, "frame_id": i, "camera": {"R_base_0": np.eye(3)[None]},
                 "joint_transforms": np.zeros((1, 5, 4, 4))}  # fmt: skip
        torch.save(frame, folder / "pixel3dmm" / f"{i:05d}.frame")
    return folder / "pixel3dmm"


def write_artalk(folder: Path, truth: Truth) -> Path:
    np.save(folder / "artalk.npy", np.concatenate([truth.exp, pose_of(truth)], axis=1).astype(np.float32))
    return folder / "artalk.npy"


def write_artalk_eyelids(folder: Path, truth: Truth) -> Path:
    values = np.concatenate([truth.exp, pose_of(truth), np.ones((len(truth.exp), 2))], axis=1)
    np.savez(folder / "artalk.npz", motion=values.astype(np.float32), shape_code=truth.shape)
    return folder / "artalk.npz"


def write_emica(folder: Path, truth: Truth) -> Path:
    for i in range(len(truth.exp)):
        frame = folder / "emica" / f"{i:06d}_000"
        frame.mkdir(parents=True)
        values = {"exp": truth.exp[i], "shape": truth.shape, "jawpose": truth.jaw[i].as_rotvec(),
                  "globalpose": truth.whole_head[i].as_rotvec(), "texcode": np.zeros(50)}  # fmt: skip
        for name, value in values.items():
            np.save(frame / f"{name}.npy", value.astype(np.float32))
    return folder / "emica"


def gagavatar_frames(truth: Truth, wrap: Callable = np.asarray) -> dict:
    """The head stays and the camera turns, as in `write_metrical`."""
    camera = (truth.whole_head.inv() * Rotation.from_matrix(np.diag([-1.0, 1, -1]))).as_matrix()
    frames = {}
    for i in np.random.default_rng(0).permutation(len(truth.exp)):
        pose = np.concatenate([np.zeros(3), truth.jaw[i].as_rotvec()])
        matrix = np.concatenate([camera[i], [[0], [0], [12]]], axis=1)
        codes = {"shapecode": truth.shape, "expcode": truth.exp[i], "posecode": pose, "eyecode": np.zeros(6),
                 "transform_matrix": matrix, "bbox": np.zeros(4)}  # fmt: skip
        frames[f"f_{i:07d}"] = {name: wrap(np.asarray(value, np.float32)) for name, value in codes.items()}
    return frames


def write_gagavatar(folder: Path, truth: Truth) -> Path:
    """A video's folder."""
    (folder / "video").mkdir()
    for name, shown in (("optim", make_truth(5, seed=9)), ("smoothed", truth)):
        (folder / "video" / f"{name}.pkl").write_bytes(pickle.dumps(gagavatar_frames(shown)))
    return folder / "video"


def write_tensor_pickle(folder: Path, truth: Truth) -> Path:
    """Torch tensors in a plain pickle."""
    (folder / "tensors.pkl").write_bytes(pickle.dumps(gagavatar_frames(truth, torch.tensor)))
    return folder / "tensors.pkl"


def write_old_torch(folder: Path, truth: Truth) -> Path:
    """torch.save before torch 1.6."""
    torch.save(smirk_tensors(truth), folder / "old.pt", _use_new_zipfile_serialization=False)
    return folder / "old.pt"


def write_imavatar(folder: Path, truth: Truth) -> Path:
    parts = (truth.head, truth.neck, truth.jaw)
    pose = np.concatenate([*(part.as_rotvec() for part in parts), np.zeros((len(truth.exp), 6))], axis=1)
    frames = [{"file_path": f"./image/{i + 1}", "expression": exp[:50].tolist(), "pose": row.tolist(),
               "world_mat": np.eye(4).tolist(), "bbox": [0.1, 0.2, 0.3, 0.4]}
              for i, (exp, row) in enumerate(zip(truth.exp, pose))]  # fmt: skip
    tree = {"frames": frames, "shape_params": truth.shape[:100].tolist(), "intrinsics": [1.0, 1.0, 0.5, 0.5]}
    (folder / "flame_params.json").write_text(json.dumps(tree))
    return folder / "flame_params.json"


def write_smplx(folder: Path, truth: Truth) -> Path:
    """A body whose root and spine turn, with the rotations of neck and head that make the head's."""
    poses = np.full((len(truth.exp), 165), 0.3, np.float32)
    for start, part in ((36, truth.head), (45, truth.neck), (66, truth.jaw)):
        poses[:, start : start + 3] = part.as_rotvec()
    np.savez(folder / "smplx.npz", betas=truth.shape, poses=poses, expressions=truth.exp, trans=poses[:, :3],
             gender="neutral", mocap_frame_rate=25)  # fmt: skip
    return folder / "smplx.npz"


def write_talkshow(folder: Path, truth: Truth) -> Path:
    body = np.full((len(truth.exp), 63), 0.3)
    body[:, 33:36], body[:, 42:45] = truth.head.as_rotvec(), truth.neck.as_rotvec()
    rest = np.zeros((len(body), 90))
    values = np.concatenate([truth.jaw.as_rotvec(), rest[:, :9], body, rest, truth.exp], axis=1)
    np.savez(folder / "talkshow.npz", values.astype(np.float32), fps=25)
    return folder / "talkshow.npz"


def write_matrices(folder: Path, truth: Truth) -> Path:
    np.savez(folder / "own.npz", expression=truth.exp[:, :50], global_rotation=truth.head.as_matrix(),
             neck=truth.neck.as_matrix(), jaw=truth.jaw.as_matrix(), fps=25)  # fmt: skip
    return folder / "own.npz"


# Writer -> (name of the format, head model)
FLAME_FILES = {
    write_spectre: ("spectre", "FLAME 2020"), write_emoca: ("emoca", "FLAME 2020"), write_vhap: ("vhap", "FLAME 2023"),
    write_vhap_export: ("vhap", "FLAME 2023"), write_smirk: ("smirk", "FLAME 2020"),
    write_smirk_npy: ("smirk", "FLAME 2020"), write_metrical: ("metrical", "FLAME 2020"),
    write_pixel3dmm: ("pixel3dmm", "FLAME 2020"), write_artalk: ("artalk", "FLAME 2020"),
    write_artalk_eyelids: ("artalk", "FLAME 2020"), write_emica: ("emica", "FLAME 2020"),
    write_gagavatar: ("gagavatar", "FLAME 2020"), write_tensor_pickle: ("gagavatar", "FLAME 2020"),
    write_old_torch: ("smirk", "FLAME 2020"), write_imavatar: ("imavatar", "FLAME 2020"),
    write_smplx: ("smplx", "FLAME 2020"), write_talkshow: ("talkshow", "FLAME 2020"),
    write_matrices: ("flame", "FLAME of unknown version"),
}  # fmt: skip


def write_csv(path: Path, columns: dict[str, np.ndarray | list]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values()))
    return path


def timecodes(times: np.ndarray, fps: int = 60) -> list[str]:
    """Live Link Face's HH:MM:SS:FF.sub from 10:59:58 on."""
    frames = np.asarray(times) * fps + (10 * 3600 + 59 * 60 + 58) * fps
    whole = np.floor(frames + 1e-9).astype(int)
    seconds, part = whole // fps, frames - whole
    return [f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}:{w % fps:02d}.{int(max(p, 0) * 1000):03d}"
            for s, w, p in zip(seconds, whole, part)]  # fmt: skip
