"""Words of messages."""

import pytest

from utils.reports.wording import counted


@pytest.mark.parametrize("n,expected", [(0, "0 clips"), (1, "1 clip"), (2, "2 clips")])
def test_a_noun_follows_its_number(n, expected):
    assert counted(n, "clip") == expected
    assert counted(n, "clip is", "clips are") == expected + (" is" if n == 1 else " are")
