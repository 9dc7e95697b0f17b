"""A stand-in for FLAME (which needs registration): the open head's face, but with other expression axes, another vertex
order, size and position, so that ARKit weights cannot be read off it. What the weights should be is known."""

from dataclasses import replace

import numpy as np

from utils.heads.head_file import HeadFile, load_head_file
from utils.motion_file import Motion

SCALE = 1.07
SHIFT = np.array([0.01, -0.03, 0.02], np.float32)


def mixing(seed: int = 0) -> np.ndarray:
    """(50, 50) invertible: columns are the new expressions in terms of the old."""
    rng = np.random.default_rng(seed)
    orthogonal, _ = np.linalg.qr(rng.normal(size=(50, 50)))
    return orthogonal * rng.uniform(0.5, 2.0, 50)


def flame_like() -> tuple[HeadFile, np.ndarray]:
    """The head, and its vertices' numbers on the open head."""
    head = load_head_file(None)
    order = np.random.default_rng(1).permutation(head.n_vertices)
    place = np.argsort(order)
    return replace(
        head,
        name="flame_like",
        v_template=(SCALE * head.v_template[order] + SHIFT).astype(np.float32),
        shapedirs=SCALE * head.shapedirs[order],
        expdirs=(SCALE * head.expdirs[order] @ mixing()).astype(np.float32),
        posedirs=SCALE * head.posedirs[order],
        j_regressor=head.j_regressor[:, order],
        weights=head.weights[order],
        faces=place[head.faces],
        lmk68=place[head.lmk68],
        masks={},
        landmarks={},
        exp_names=None,
        vertex_colours=None,
        uv=None,
        ft=None,
    ), order


def in_its_terms(motion: Motion) -> Motion:
    """A motion of the open head, in this head's coefficients."""
    return replace(motion, exp=(motion.exp @ np.linalg.inv(mixing()).T).astype(np.float32))
