"""What can be done to a motion."""

from dataclasses import replace

import numpy as np
import pytest

from utils.errors import UserError
from utils.motion_file import Motion, joined, load_motion


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


def test_the_tongue_is_kept_cut_and_joined(motion, tmp_path):
    """A file may hold it; one without it is read as before, and its size is checked."""
    units = np.random.default_rng(1).uniform(size=(9, 2)).astype(np.float32)
    driven = replace(motion, tongue=units)
    driven.save(tmp_path / "driven.npz")
    motion.save(tmp_path / "still.npz")
    np.testing.assert_array_equal(load_motion(tmp_path / "driven.npz").tongue, units)
    assert load_motion(tmp_path / "still.npz").tongue is None
    whole = joined([motion.cut(2), driven.cut(slice(2, None))])
    np.testing.assert_array_equal(whole.tongue, np.r_[np.zeros((2, 2)), units[2:]])
    assert joined([motion, motion]).tongue is None
    for wrong in (units[:3], units[:, :1]):
        replace(motion, tongue=wrong).save(tmp_path / "wrong.npz")
        with pytest.raises(UserError, match=r"wrong.npz: tongue is .* not \(9, 2\)"):
            load_motion(tmp_path / "wrong.npz")
