"""FLAME's files, which need a licence, made from the open head: generic_model.pkl and the landmark embedding.

Expressions are principal components of unit variance of bundled motion, as FLAME's are of its scans; vertices have
another order, and nothing has a name. What the coefficients should be is known.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.tracking.embedding import EMBEDDING
from tests.support.flame_fixtures import write_flame_pickle
from tests.support.flame_like_head import SCALE, flame_like
from utils.heads.head_file import HeadFile, load_head_file
from utils.heads.landmark_file import FLAME_EMBEDDING
from utils.motion_file import load_motion
from utils.runs.run_dir import ROOT

# The 105 landmarks of FLAME's file: brows, lids, nose, lips; no outline of the face, no irises.
NUMBERS = (276, 282, 283, 285, 293, 295, 296, 300, 334, 336, 46, 52, 53, 55, 63, 65, 66, 70, 105, 107, 249, 263, 362,
           373, 374, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 466, 7, 33, 133, 144, 145, 153, 154, 155, 157,
           158, 159, 160, 161, 163, 173, 246, 168, 6, 197, 195, 5, 4, 129, 98, 97, 2, 326, 327, 358, 0, 13, 14, 17, 37,
           39, 40, 61, 78, 80, 81, 82, 84, 87, 88, 91, 95, 146, 178, 181, 185, 191, 267, 269, 270, 291, 308, 310, 311,
           312, 314, 317, 318, 321, 324, 375, 402, 405, 409, 415)  # fmt: skip
STYLES = ("normal", "big_mouth", "smile", "serious", "large_head_movements")


def components() -> np.ndarray:
    """(50, 50): columns are principal components of bundled motion, in the open head's expressions."""
    exp = np.concatenate([load_motion(ROOT / "demo" / "input" / "motion" / f"{name}.npz").exp for name in STYLES])
    values, vectors = np.linalg.eigh(exp.T @ exp / len(exp))
    return vectors * np.sqrt(values + 1e-4)


@dataclass(frozen=True)
class MadeUpFlame:
    """The files, and the head in them."""

    model: Path
    embedding: Path
    own: Path  # the same in our builder's format, with all 478 landmarks

    def coefficients(self, exp: np.ndarray) -> np.ndarray:
        """Expressions (T, 50) of the open head in this head's."""
        return exp @ np.linalg.inv(components()).T


def write_flame(folder: Path) -> MadeUpFlame:
    """Write the files into a folder."""
    head, order = flame_like()
    directions = SCALE * load_head_file(None).expdirs[order] @ components()
    head = replace(head, expdirs=directions.astype(np.float32))
    model = write_flame_pickle(folder / "generic_model.pkl", _arrays(head))
    with np.load(EMBEDDING) as file:
        vertices, weights = np.argsort(order)[file["vertices"]], file["weights"]
    own, embedding = folder / "own.npz", folder / FLAME_EMBEDDING
    np.savez(own, vertices=vertices, weights=weights)
    np.savez(embedding, **flame_embedding(head, vertices, weights))
    return MadeUpFlame(model, embedding, own)


def flame_embedding(head: HeadFile, vertices: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Places (478, 3) of landmarks in FLAME's format."""
    faces, shares = zip(*(_triangle(head, vertices[k], weights[k]) for k in NUMBERS))
    return {"lmk_face_idx": np.array(faces), "lmk_b_coords": np.array(shares), "landmark_indices": np.array(NUMBERS)}


def _arrays(head: HeadFile) -> dict[str, np.ndarray]:
    """Under FLAME's names, with 300 components of identity and 100 of expression."""
    directions = np.zeros((head.n_vertices, 3, 400))
    directions[:, :, : head.shapedirs.shape[2]], directions[:, :, 300:350] = head.shapedirs, head.expdirs
    return {"f": head.faces.astype(np.uint32), "v_template": head.v_template, "shapedirs": directions,
            "posedirs": head.posedirs, "J_regressor": head.j_regressor, "weights": head.weights,
            "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32)}  # fmt: skip


def _triangle(head: HeadFile, vertices: np.ndarray, weights: np.ndarray) -> tuple[int, np.ndarray]:
    """A triangle with these vertices, of which some may be the same, and the weights of its corners."""
    used = vertices[weights > 0]
    face = int(np.isin(head.faces, used).sum(axis=1).argmax())
    return face, ((head.faces[face][:, None] == vertices) * weights).sum(axis=1)
