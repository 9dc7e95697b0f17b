"""Files appear whole and under their own name."""

import numpy as np

from utils.atomic import write_npz


def test_an_npz_keeps_a_name_without_npz(tmp_path):
    write_npz(tmp_path / "head", {"a": np.arange(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["head"]
    assert np.load(tmp_path / "head")["a"].tolist() == [0, 1, 2]
