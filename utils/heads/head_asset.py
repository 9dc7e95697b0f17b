"""The packed form of the open head: directions as int16 multiples of 10 micrometres, masks as bits (1.4 MB, not 12).

Component-major storage compresses best; `unpack` restores FLAME's order. Only the jaw has pose correctives, and they
live in two of the 36 features: entries (1, 2) and (2, 1) of R_jaw - I, that is -sin and +sin of the opening angle.
"""

from __future__ import annotations

import numpy as np

from utils.errors import UserError
from utils.heads.joints import N_JOINTS

FORMAT = "open-head-1"
STEP = 1e-5  # metres per int16 unit
JAW_FEATURES = (14, 16)  # -sin(angle), +sin(angle)
MAX_VERTICES = 200_000  # more than any head has; limits the memory taken
_WEIGHT_SCALE, _COLOUR_SCALE = 65535, 255


def pack(head: dict) -> dict[str, np.ndarray]:
    """Arrays to store, from the fields of a `HeadFile` (all but `name`) as a dict.

    Raises:
        ValueError: pose correctives outside the jaw's two features, or displacements beyond the int16 range (0.32 m).
    """
    posedirs = head["posedirs"]
    others = np.delete(posedirs, JAW_FEATURES, axis=2)
    if np.any(others) or not np.allclose(posedirs[:, :, JAW_FEATURES[0]], -posedirs[:, :, JAW_FEATURES[1]]):
        raise ValueError("pose correctives other than the jaw's antisymmetric pair cannot be packed")
    regressor = head["j_regressor"]
    index = np.argwhere(regressor != 0)
    names = sorted(head["landmarks"])
    return {
        "format": np.array(FORMAT),
        "v_template": head["v_template"].astype(np.float32),
        "shapedirs": _quantise(head["shapedirs"].transpose(2, 1, 0)),
        "expdirs": _quantise(head["expdirs"].transpose(2, 1, 0)),
        "pose_jaw": _quantise(posedirs[:, :, JAW_FEATURES[1]]),
        "weights": np.round(head["weights"] * _WEIGHT_SCALE).astype(np.uint16),
        "faces": head["faces"].astype(np.uint16),
        "parents": head["parents"].astype(np.int8),
        "regressor_index": index.astype(np.uint16),
        "regressor_value": regressor[tuple(index.T)].astype(np.float32),
        "lmk68": head["lmk68"].astype(np.uint16),
        "landmark_names": np.array(names),
        "landmark_ids": np.array([head["landmarks"][name] for name in names], np.uint16),
        "exp_names": np.array(head["exp_names"]),
        "uv": head["uv"].astype(np.float32),
        "ft": head["ft"].astype(np.uint16),
        "vertex_colours": np.round(head["vertex_colours"] * _COLOUR_SCALE).astype(np.uint8),
        **{f"mask_{name}": np.packbits(mask) for name, mask in sorted(head["masks"].items())},
    }


def unpack(arrays: dict[str, np.ndarray], source: str) -> dict:
    """The fields of a `HeadFile` (all but `name`) from the arrays of `pack`.

    Raises:
        UserError: another format version, or arrays that are missing or malformed.
    """
    if str(arrays["format"]) != FORMAT:
        raise UserError(f"{source}: format {arrays['format']}, this version reads {FORMAT}; rebuild it with setup/")
    try:
        if len(arrays["parents"]) != N_JOINTS or len(arrays["v_template"]) > MAX_VERTICES:
            raise ValueError(f"{len(arrays['parents'])} joints, {len(arrays['v_template'])} vertices")
        with np.errstate(all="ignore"):  # the caller checks the result
            return _unpack(arrays)
    except KeyError as error:
        raise UserError(f"{source}: incomplete, no array {error}; rebuild it with setup/build_open_head.py") from error
    except (ValueError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{source}: malformed ({error}); rebuild it with setup/build_open_head.py") from error


def _unpack(arrays: dict[str, np.ndarray]) -> dict:
    n_vertices = len(arrays["v_template"])
    weights = arrays["weights"].astype(np.float64)
    posedirs = np.zeros((n_vertices, 3, 36), np.float32)
    jaw = _restore(arrays["pose_jaw"])
    posedirs[:, :, JAW_FEATURES[0]], posedirs[:, :, JAW_FEATURES[1]] = -jaw, jaw
    regressor = np.zeros((len(arrays["parents"]), n_vertices), np.float32)
    regressor[tuple(arrays["regressor_index"].astype(np.int64).T)] = arrays["regressor_value"]
    names = [key for key in arrays if key.startswith("mask_")]
    return {
        "v_template": arrays["v_template"].astype(np.float32),
        "shapedirs": _restore(arrays["shapedirs"].transpose(2, 1, 0)),
        "expdirs": _restore(arrays["expdirs"].transpose(2, 1, 0)),
        "posedirs": posedirs,
        "j_regressor": regressor,
        # Rounding to 16 bits leaves the sums at 1 +- 1e-5; skinning relies on exactly 1.
        "weights": (weights / weights.sum(1, keepdims=True)).astype(np.float32),
        "faces": arrays["faces"].astype(np.int64),
        "parents": arrays["parents"].astype(np.int64),
        "masks": {key[5:]: np.unpackbits(arrays[key], count=n_vertices).astype(bool) for key in names},
        "landmarks": dict(zip(arrays["landmark_names"].tolist(), arrays["landmark_ids"].tolist(), strict=True)),
        "lmk68": arrays["lmk68"].astype(np.int64),
        "exp_names": arrays["exp_names"].tolist(),
        "vertex_colours": arrays["vertex_colours"].astype(np.float32) / _COLOUR_SCALE,
        "uv": arrays["uv"].astype(np.float32),
        "ft": arrays["ft"].astype(np.int64),
    }


def _quantise(metres: np.ndarray) -> np.ndarray:
    units = np.round(metres / STEP)
    if np.abs(units).max() > 32767:
        raise ValueError(f"a displacement of {np.abs(metres).max():.3f} m does not fit int16 at {STEP} m per unit")
    return np.ascontiguousarray(units.astype(np.int16))


def _restore(units: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(units.astype(np.float32) * np.float32(STEP))
