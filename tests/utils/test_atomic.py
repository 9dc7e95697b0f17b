"""Files appear whole and under their own name."""

import numpy as np
import pytest

from utils.atomic import check_output, write_npz
from utils.errors import UserError


def test_an_npz_keeps_a_name_without_npz(tmp_path):
    write_npz(tmp_path / "head", {"a": np.arange(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["head"]
    assert np.load(tmp_path / "head")["a"].tolist() == [0, 1, 2]


def test_an_output_where_nothing_can_be_made_is_refused_before_work(tmp_path):
    check_output(tmp_path / "new" / "folder" / "a.npz")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="/proc may not be written to; choose another"):  # even by root
        check_output("/proc/x/metrics.json")
