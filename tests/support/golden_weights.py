"""Deterministic weights and inputs behind the golden arrays.

Every tensor is a function of its name alone, so no weights need storing:
`state_dict('dpt_head')` gives the published parameter names filled with the values
used for `expected.npz`, and `legacy_checkpoint('dpt_head', path)` writes them as a
checkpoint file in the published layout (pickled argparse.Namespace and all).
"""

import json
import zlib
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parents[1] / "golden"
NAMES = json.loads((HERE / "names.json").read_text())
# Buffers that follow from the configuration; they are not filled.
DERIVED = {"pe", "betas", "alphas", "alpha_bars", "sigmas_flex", "sigmas_inflex", "alignment_mask"}


def weight(name: str, shape: tuple[int, ...], prefix: str) -> np.ndarray:
    """Value of parameter `name`; `prefix` is 'se-' for style encoders, 'dpt-' for denoisers."""
    x = np.random.default_rng(zlib.crc32((prefix + name).encode())).standard_normal(shape)
    near_one = (len(shape) == 1 and name.endswith(".weight")) or name.endswith("original0")
    return ((1 + 0.1 * x) if near_one else 0.05 * x).astype(np.float32)


def array(name: str, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    """Input array `name`, e.g. array('head:x', (3, 100, 54))."""
    rng = np.random.default_rng(zlib.crc32(("input:" + name).encode()))
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def state_dict(case: str) -> dict[str, torch.Tensor]:
    prefix = case.split("_")[0] + "-"
    return {
        name: torch.from_numpy(weight(name, tuple(shape), prefix))
        for name, shape in NAMES[case]
        if name.split(".")[-1] not in DERIVED
    }


def legacy_checkpoint(case: str, path: Path) -> None:
    """Write `case` ('se_head', 'se_nohead', 'dpt_head', 'dpt_nohead', 'dpt_nostyle') in the published file layout."""
    if case.startswith("se_"):
        args = Namespace(
            mode="train", iter=100000, rot_repr="aa", no_head_pose=case == "se_nohead", feature_dim=128, n_heads=4,
            n_layers=4, mlp_ratio=4, n_motions=100, fps=25, data_root=Path("datasets/HDTF_TFHP/lmdb"),
            stats_file=Path("stats_train.npz"), batch_size=32, num_workers=4, exp_name="L4H4-T0.1-BS32",
            max_iter=100000, lr=1e-4, temperature=0.1, save_iter=2000, val_iter=2000, log_iter=50, log_smooth_win=50,
        )  # fmt: skip
        payload = {"args": args, "encoder": state_dict(case), "iter": 26000}
    else:
        args = dict(NAMES[f"{case}/args"])
        for key in ("style_enc_ckpt", "data_root", "stats_file"):
            args[key] = Path(args[key]) if args[key] is not None else None
        payload = {"args": Namespace(**args), "model": state_dict(case), "iter": 110000}
    torch.save(payload, path)


def flame_arrays() -> dict[str, np.ndarray]:
    """A random model in FLAME's file layout (5023 vertices), the one behind the 'flame/' and 'loss/' arrays."""

    def normal(name, shape, scale):
        return scale * np.random.default_rng(zlib.crc32(f"flame:{name}".encode())).standard_normal(shape)

    n_verts, n_faces = 5023, 9976
    regressor = np.abs(normal("J_regressor", (5, n_verts), 1.0))
    weights = np.abs(normal("weights", (n_verts, 5), 1.0))
    faces = np.random.default_rng(zlib.crc32(b"flame:f")).integers(0, n_verts, (n_faces, 3))
    return {
        "f": faces.astype(np.uint32),
        "v_template": normal("v_template", (n_verts, 3), 0.1),
        "shapedirs": normal("shapedirs", (n_verts, 3, 400), 0.005),
        "posedirs": normal("posedirs", (n_verts, 3, 36), 0.001),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.int64),
    }
