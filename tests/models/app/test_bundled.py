"""models/app/bundled.py: who a head looks like."""

import numpy as np
import pytest

from demo import look_of, parse_args
from models.app import bundled
from models.app.bundled import bundled_shapes, person_like
from models.heads.flame import load_flame
from utils.rendering.looks import PEOPLE, SKINS, Look, dress


def test_every_bundled_head_has_a_look():
    assert set(bundled_shapes()) == set(PEOPLE)


def test_shapes_of_another_input_folder_are_read_too(tmp_path, monkeypatch):
    """What was read once is kept for its folder alone; the tests of the programs have input folders of their own."""
    (tmp_path / "coef").mkdir()
    np.save(tmp_path / "coef" / "mine.npy", np.ones(100, np.float32))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(bundled, "INPUT", tmp_path)
        assert set(bundled_shapes()) == {"mine"}
    assert set(bundled_shapes()) == set(PEOPLE)


@pytest.mark.parametrize("name", bundled_shapes())
def test_a_shape_near_a_bundled_one_looks_like_it(name):
    noise = np.random.default_rng(0).normal(0, 0.1, 100).astype(np.float32)
    assert person_like(bundled_shapes()[name] + noise) == name


def test_other_heads_are_average():
    assert person_like(None) == "average"
    assert person_like(np.random.default_rng(1).normal(0, 0.7, 100)) == "average"


def test_demo_takes_the_look_of_the_shape_whatever_its_file_is_called(tmp_path):
    np.save(tmp_path / "mine.npy", bundled_shapes()["female_young"])
    flame = load_flame(None)

    def looked(*flags: str) -> Look:
        return look_of(parse_args(["-c", str(tmp_path / "mine.npy"), *flags]), flame)

    usual, bald = looked(), looked("--hair", "bald", "--skin", "deep")
    assert usual.texture == SKINS["fair"] and bald.texture == SKINS["deep"]
    assert usual.drawn.n_vertices == dress(flame.head, "skin", hair="bob").drawn.n_vertices > bald.drawn.n_vertices
