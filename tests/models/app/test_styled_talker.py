"""The talker behind the page and the live server: its bundled styles, and models that it cannot be."""

import pytest

from models.app.style_files import StyledTalker
from utils.errors import UserError
from utils.motion_file import OPEN_HEAD


def test_it_knows_its_head_and_its_styles():
    talker = StyledTalker.load("embedded-fast", "cpu", "page")
    assert {"normal", "smile"} <= set(talker.style_names())
    assert talker.animator.head_model == OPEN_HEAD and talker.animator.tongue is not None


@pytest.mark.parametrize(
    ("name", "message"), [("nothing", "no such DPT experiment"), ("embedded-fast", "the page needs")]
)
def test_models_that_it_cannot_be(monkeypatch, name, message):
    monkeypatch.setattr("models.app.style_files.has_arkit_expressions", lambda head: False)
    with pytest.raises(UserError, match=f"--exp_name {name}: {message}"):
        StyledTalker.load(name, "cpu", "page")
