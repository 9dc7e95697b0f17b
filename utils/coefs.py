"""The motion representation: FLAME coefficients <-> the 54-d ("head") or 51-d (no head pose) vectors of the networks.

Paper section 3.1. Per frame: shape (100), expression (50), pose (6) = global rotation axis-angle (3) ++ jaw
axis-angle (3). Motion = expression ++ [global rotation] ++ jaw x, normalised per coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils.atomic import write_npz
from utils.errors import UserError
from utils.reading.array_file import is_numeric, read_npz

N_SHAPE, N_EXP, N_POSE = 100, 50, 6
DIMS = {"shape": N_SHAPE, "exp": N_EXP, "pose": N_POSE}


@dataclass(frozen=True)
class CoefLayout:
    """Where each coefficient lives in a motion vector; the only owner of the 54/51 packing."""

    head_pose: bool = True

    @property
    def motion_dim(self) -> int:
        return N_EXP + (3 if self.head_pose else 0) + 1

    @property
    def rotation(self) -> slice:
        """Global rotation (axis-angle); empty without head pose."""
        return slice(N_EXP, N_EXP + 3 if self.head_pose else N_EXP)

    def pack(self, exp: Tensor, pose: Tensor) -> Tensor:
        """exp (..., 50), pose (..., 6) -> motion (..., D), in whatever space the inputs are in."""
        rotation = pose[..., :3] if self.head_pose else pose[..., :0]
        return torch.cat([exp[..., :N_EXP], rotation, pose[..., 3:4]], dim=-1)

    def unpack(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """motion (..., D) -> exp (..., 50), pose (..., 6); absent components (jaw y, z, rotation) are 0."""
        pose = motion.new_zeros(*motion.shape[:-1], N_POSE)
        if self.head_pose:
            pose[..., :3] = motion[..., self.rotation]
        pose[..., 3] = motion[..., -1]
        return motion[..., :N_EXP], pose


@dataclass(frozen=True)
class CoefStats:
    """Mean and standard deviation per coefficient (`stats_train.npz`), the normalisation of both networks."""

    shape_mean: Tensor
    shape_std: Tensor
    exp_mean: Tensor
    exp_std: Tensor
    pose_mean: Tensor
    pose_std: Tensor

    # A coefficient that never moved has std 0; dividing by it would turn any deviation into 1e9.
    _CONSTANT = 1e-8

    @classmethod
    def identity(cls) -> CoefStats:
        """Mean 0, standard deviation 1: normalisation that changes nothing."""
        return cls(
            **{f"{k}_{s}": torch.full((n,), float(s == "std")) for k, n in DIMS.items() for s in ("mean", "std")}
        )

    @classmethod
    def load(cls, path: str | Path) -> CoefStats:
        """Read `stats_train.npz`.

        Raises:
            UserError: missing file, missing key, wrong size or values that are not finite.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; make it with `python -m scripts_for_dataset.calc_stats_random_sample`"
            )
        arrays = read_npz(path)
        with np.errstate(over="ignore"):  # too large for float32: infinite, and refused as such
            values = {
                key: arrays[key].astype(np.float32) for key in cls.names() if key in arrays and is_numeric(arrays[key])
            }
        return cls.from_dict(values, str(path))

    @classmethod
    def from_dict(cls, values: dict, source: str = "statistics") -> CoefStats:
        """Checked construction from arrays or tensors under the keys of `names()`."""
        missing = [key for key in cls.names() if key not in values]
        if missing:
            raise UserError(f"{source}: missing {', '.join(missing)}; recompute the statistics")
        tensors = {key: torch.as_tensor(values[key], dtype=torch.float32).flatten() for key in cls.names()}
        for key, tensor in tensors.items():
            if tensor.numel() != DIMS[key.split("_")[0]] or not torch.isfinite(tensor).all():
                raise UserError(
                    f"{source}: {key} must be {DIMS[key.split('_')[0]]} finite numbers; recompute the statistics"
                )
        return cls(**tensors)

    @classmethod
    def names(cls) -> list[str]:
        return [f"{k}_{s}" for k in DIMS for s in ("mean", "std")]

    def to_dict(self) -> dict[str, Tensor]:
        return {key: getattr(self, key).cpu() for key in self.names()}

    def save(self, path: str | Path) -> None:
        """Write `stats_train.npz`.

        Raises:
            UserError: the path cannot be written.
        """
        write_npz(path, {key: tensor.numpy() for key, tensor in self.to_dict().items()})

    def same_motion(self, other: CoefStats) -> bool:
        """Whether expression and pose are normalised alike, up to the rounding of a file."""
        names = [f"{key}_{part}" for key in ("exp", "pose") for part in ("mean", "std")]
        pairs = [(getattr(self, name).cpu(), getattr(other, name).cpu()) for name in names]
        return all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)

    def to(self, device: torch.device | str) -> CoefStats:
        return CoefStats(**{key: getattr(self, key).to(device) for key in self.names()})

    def normalise(self, key: str, x: Tensor) -> Tensor:
        """(x - mean) / (std + 1e-9) for key 'shape', 'exp' or 'pose'; x (..., n)."""
        return (x - getattr(self, f"{key}_mean")) / self._scale(key)

    def denormalise(self, key: str, x: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return x * self._scale(key) + getattr(self, f"{key}_mean")

    def _scale(self, key: str) -> Tensor:
        std = getattr(self, f"{key}_std")
        return torch.where(std < self._CONSTANT, torch.ones_like(std), std + 1e-9)


@dataclass(frozen=True)
class MotionCodec:
    """Layout and statistics together: raw coefficients <-> normalised motion vectors."""

    layout: CoefLayout
    stats: CoefStats

    def encode(self, exp: Tensor, pose: Tensor) -> Tensor:
        """Raw exp (..., 50), pose (..., 6) -> normalised motion (..., D). Jaw y, z are dropped."""
        return self.layout.pack(self.stats.normalise("exp", exp), self.stats.normalise("pose", pose))

    def decode(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised motion (..., D) -> raw exp (..., 50), pose (..., 6).

        Jaw y, z come back as the data set's mean (0 in normalised space); without head pose the rotation is exactly 0.
        """
        exp, pose = self.layout.unpack(motion)
        pose = self.stats.denormalise("pose", pose)
        if not self.layout.head_pose:
            pose[..., :3] = 0
        return self.stats.denormalise("exp", exp), pose

    def to(self, device: torch.device | str) -> MotionCodec:
        return MotionCodec(self.layout, self.stats.to(device))
