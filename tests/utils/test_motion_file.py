"""What can be done to a motion."""

import numpy as np
import pytest

from utils.motion_file import Motion, joined


@pytest.fixture
def motion() -> Motion:
    rng = np.random.default_rng(0)
    exp, pose = (rng.normal(size=(9, n)).astype(np.float32) for n in (50, 6))
    return Motion(exp, pose, np.ones(100, np.float32), "m.npz", "open head")


def test_cut_takes_the_first_frames_or_a_slice(motion):
    for frames, rows in (
        (4, range(4)),
        (20, range(9)),
        (slice(3, 6), range(3, 6)),
        (slice(None, None, 2), range(0, 9, 2)),
    ):
        part = motion.cut(frames)
        np.testing.assert_array_equal(part.exp, motion.exp[list(rows)])
        np.testing.assert_array_equal(part.pose, motion.pose[list(rows)])
        assert part.shape is motion.shape and (part.source, part.head_model) == ("m.npz", "open head")


def test_pieces_join_to_the_whole(motion):
    whole = joined([motion.cut(4), motion.cut(slice(4, 5)), motion.cut(slice(5, None))])
    np.testing.assert_array_equal(whole.exp, motion.exp)
    np.testing.assert_array_equal(whole.pose, motion.pose)


def test_without_head_motion_the_jaw_stays(motion):
    still = motion.without_head_motion()
    assert not still.pose[:, :3].any() and motion.pose[:, :3].all()
    np.testing.assert_array_equal(still.pose[:, 3:], motion.pose[:, 3:])


def test_a_missing_shape_is_the_average(motion):
    assert motion.shape_or_average is motion.shape
    average = Motion(motion.exp, motion.pose).shape_or_average
    assert average.shape == (100,) and average.dtype == np.float32 and not average.any()
