"""models/app/bundled.py: who a head looks like."""

import numpy as np
import pytest

from models.app.bundled import bundled_shapes, person_like
from utils.rendering.looks import PEOPLE


def test_every_bundled_head_has_a_look():
    assert set(bundled_shapes()) == set(PEOPLE)


@pytest.mark.parametrize("name", bundled_shapes())
def test_a_shape_near_a_bundled_one_looks_like_it(name):
    noise = np.random.default_rng(0).normal(0, 0.1, 100).astype(np.float32)
    assert person_like(bundled_shapes()[name] + noise) == name


def test_other_heads_are_average():
    assert person_like(None) == "average"
    assert person_like(np.random.default_rng(1).normal(0, 0.7, 100)) == "average"
