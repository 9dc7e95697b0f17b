"""Motion from one head to another: openings stay."""

import numpy as np
import torch

from models.heads.flame import load_flame
from models.heads.mouth import mouth_opening
from models.tracking.carry import NEARLY, PRESSED, carry, contact, opening_on, with_opening
from models.tracking.embedding import LandmarkHead
from utils.heads.head_file import load_head_file
from utils.motion_file import Motion, load_shape
from utils.runs.run_dir import ROOT

HEAD = LandmarkHead(load_head_file(None))


def shape_of(name: str) -> np.ndarray:
    return load_shape(ROOT / "demo" / "input" / "coef" / f"{name}.npy")


def test_contact_presses_shut_lips_and_leaves_open_ones():
    opening = torch.tensor([0.2, 0.4, 1.5, NEARLY, 8.0]).double()
    found = contact(opening, 0.4)
    torch.testing.assert_close(found[:2], torch.full((2,), PRESSED).double())
    assert found[2] < 1.3
    torch.testing.assert_close(found[3:], opening[3:])
    assert (contact(torch.linspace(0, 5, 50).double(), 0.4).diff() >= 0).all()


def test_any_opening_is_reached():
    wanted = torch.linspace(-0.5, 15, 12).double()
    exp, jaw = torch.zeros(12, 50).double(), torch.linspace(0.3, 0, 12).double()
    for name in ("male_broad", "female_slender", "average"):
        shape = torch.from_numpy(shape_of(name)).double()
        found = with_opening(HEAD, shape, exp, jaw, wanted)
        torch.testing.assert_close(opening_on(HEAD, shape, *found), wanted, atol=0.02, rtol=0)
        assert (found[0] >= 0).all() and (found[1] >= 0).all()


def test_a_motion_keeps_its_openings_on_another_head():
    rng = np.random.default_rng(0)
    exp = np.zeros((30, 50), np.float32)
    exp[:, [36, 42, 43]] = rng.uniform(0, 0.3, (30, 3))
    pose = np.zeros((30, 6), np.float32)
    pose[:, 3] = np.linspace(0, 0.3, 30)
    motion = Motion(exp, pose, shape_of("male_broad"))
    there = carry(HEAD, motion, shape_of("female_slender"))
    openings = [opening_on(HEAD, *(torch.from_numpy(x.astype(np.float64)) for x in (m.shape, m.exp, m.pose[:, 3])))
                for m in (motion, there)]  # fmt: skip
    torch.testing.assert_close(openings[0], openings[1], atol=0.02, rtol=0)
    np.testing.assert_array_equal(there.pose[:, :3], pose[:, :3])
    close = HEAD.head.exp_names.index("mouthClose")
    np.testing.assert_array_equal(np.delete(there.exp, close, axis=1), np.delete(exp, close, axis=1))


def test_the_ruler_measures_as_the_heads_own_opening():
    """Up to its scale, by which the corners of the eyes are 90 mm apart."""
    flame, jaw = load_flame(), torch.linspace(0, 0.3, 5)
    pose = torch.zeros(5, 6)
    pose[:, 3] = jaw
    plain = 1000 * mouth_opening(flame(torch.zeros(5, 100), torch.zeros(5, 50), pose), flame.head)
    found = opening_on(HEAD, torch.zeros(100).double(), torch.zeros(5, 50).double(), jaw.double())
    ratio = found[1:] / plain[1:].double()
    assert ratio.max() - ratio.min() < 1e-3 and 0.9 < ratio.mean() < 1.1
