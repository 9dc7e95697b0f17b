"""Which pixels of a picture show the head: those that differ from the gradient behind it."""

import functools

import numpy as np

from utils.heads.head_file import load_head_file
from utils.rendering.renderer import Renderer, RenderStyle


@functools.cache
def empty_picture(size: int, renderer: str = "fast") -> np.ndarray:
    """(size, size, 3) uint8 of the backdrop alone: the head is far beside the picture."""
    head = load_head_file()
    return next(Renderer(head, RenderStyle(size, renderer=renderer)).frames(head.v_template[None] + np.float32(100)))


def covered(picture: np.ndarray) -> np.ndarray:
    """(size, size) bool; picture (size, size, 3) uint8 before the default background."""
    return np.abs(picture.astype(int) - empty_picture(len(picture))).max(axis=2) > 5
