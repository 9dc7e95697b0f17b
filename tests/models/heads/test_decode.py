"""Coefficients -> vertices, at once and in pieces."""

import numpy as np
import pytest
import torch

from models.heads.decode import FRAMES, decode, frames_per_piece, motion_vertices, vertex_pieces
from models.heads.flame import load_flame
from models.metrics.measure import Sampled
from utils.motion_file import Motion, load_motion
from utils.runs.run_dir import ROOT


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module")
def motion() -> Motion:
    return load_motion(ROOT / "demo/input/motion/smile.npz").cut(slice(10, 240))


def test_ten_minutes_are_decoded_in_pieces():
    """15000 frames: vertices come piece by piece, never all at once."""

    class Tiny(torch.nn.Module):
        template = torch.zeros(12)

        def forward(self, shape, exp, pose, global_rotation):
            assert len(shape) == len(exp) == len(pose) <= FRAMES and global_rotation
            return torch.zeros(len(exp), 4, 3)

    motion = Motion(np.zeros((15000, 50), np.float32), np.zeros((15000, 6), np.float32))
    assert sum(map(len, motion_vertices(Tiny(), motion))) == 15000


def test_pieces_are_the_head_of_their_frames(flame, motion):
    """To the bit the head model's own answer, for the same frames; each iterator may be paused at any time."""
    expected, shape = [], torch.zeros(100)
    for exp, pose in zip(torch.from_numpy(motion.exp).split(FRAMES), torch.from_numpy(motion.pose).split(FRAMES)):
        expected.append(flame(shape.expand(len(exp), -1), exp, pose).numpy())
    pieces = motion_vertices(flame, motion)
    first = next(pieces)
    assert torch.is_grad_enabled()
    np.testing.assert_array_equal(np.concatenate([first, *pieces]), np.concatenate(expected))


@pytest.mark.parametrize("shape", [(100,), (230, 100)])
def test_a_shape_for_all_frames_or_for_each(flame, motion, shape):
    whole = decode(flame, motion, np.ones(shape, np.float32), global_rotation=False)
    assert whole.shape == (230, flame.n_vertices, 3) and not whole.requires_grad
    rows = torch.ones(230, 100)
    plain = flame(rows, torch.from_numpy(motion.exp), torch.from_numpy(motion.pose), global_rotation=False)
    np.testing.assert_array_equal(whole.numpy(), plain.numpy())


def test_pieces_repeat_the_frames_before_them(flame, motion):
    samples = Sampled(*(torch.from_numpy(np.stack([x, x[::-1]])) for x in (motion.exp[:25], motion.pose[:25])))
    pieces = list(vertex_pieces(flame, samples, torch.zeros(100), frames=10, before=2))
    assert [piece.shape[:2] for piece in pieces] == [(2, 10), (2, 12), (2, 7)]
    whole = decode(flame, samples, torch.zeros(100))
    for piece, frames in zip(pieces, (slice(0, 10), slice(8, 20), slice(18, 25)), strict=True):
        torch.testing.assert_close(piece, whole[:, frames], atol=1e-6, rtol=0)


def test_memory_of_a_piece(flame):
    few, many = (frames_per_piece(flame, n) for n in (1, 10))
    assert 12 * flame.n_vertices * few <= 96 << 20 and many == few // 10
    assert frames_per_piece(flame, 10**9) == 8
