"""The protocol of an evaluation: written and read, and refused in one line where it does not fit."""

import json

import pytest

from datasets.evaluation.protocol import EvaluationProtocol, ProtocolClip
from utils.errors import UserError

CLIPS = (ProtocolClip("ann/000", 130, "ann/001", 0, 0), ProtocolClip("ann/001", 250, "ann/000", 30, 1000))
LENGTHS = {"ann/000": 130, "ann/001": 250, "bob/000": 100}


def test_what_is_written_is_read(tmp_path):
    EvaluationProtocol("test", CLIPS).write(tmp_path / "p.json")
    again = EvaluationProtocol.read(tmp_path / "p.json")
    assert again == EvaluationProtocol("test", CLIPS)
    again.check("test", LENGTHS, tmp_path)
    assert [one.own_style for one in again.clips] == [False, False]
    assert ProtocolClip("a/0", 100, "a/0", 0, 0).own_style


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "evaluation-protocol-2"}, "format is 'evaluation-protocol-2'"),
        ({"fps": 30}, "fps is 30, not 25"),
        ({"clips": []}, "a list of clips"),
        ({"clips": [3]}, "clip 1: needs"),
        ({"clip": 7}, "clip 1: needs"),
        ({"seed": True}, "clip 1: needs"),
        ({"frames": 130.0}, "clip 1: needs"),
        ({"seed": -1}, "at least 0"),
        ({"clip": "ann/001"}, "listed twice"),
        ({"more": 1}, "clip 1: needs"),
        ({"split": "val"}, "give --split val"),
        ({"frames": 131}, "ann/000 has 131 frames, in the data 130"),
        ({"clip": "eve/000"}, "'eve/000' is not among the usable clips of test.txt"),
        ({"style_clip": "eve/000"}, "'eve/000' is not among"),
        ({"style_start": 151}, "ann/001 allows 0 to 150"),
        ({"style_clip": "ann/000", "style_start": 1}, "style_start must be 0"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, change, message):
    path = tmp_path / "p.json"
    EvaluationProtocol("test", CLIPS).write(path)
    content = json.loads(path.read_text())
    whole = {"format", "fps", "clips", "split"} & change.keys()
    (content if whole else content["clips"][0]).update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="p.json") as error:
        EvaluationProtocol.read(path).check("test", LENGTHS, path)
    assert message in str(error.value) and "\n" not in str(error.value)
