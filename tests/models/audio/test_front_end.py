"""The table of audio encoders: a new one is a class and a row."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.audio.front_end import FRONT_ENDS, FrontEndKind, Trained, build_front_end
from models.networks.loading import checkpoint_of, load_talker
from models.networks.talker import TalkerConfig, build_talker
from tests.support.tiny_talker import CONFIG, StubAudioEncoder
from utils.coefs import CoefStats
from utils.errors import UserError


class Means(StubAudioEncoder):
    """A trained encoder with one matrix."""

    def __init__(self, config: dict | None) -> None:
        super().__init__()
        self.hidden_size = (config or {"width": 5})["width"]
        self.matrix = nn.Linear(3, self.hidden_size)

    def checkpoint_config(self) -> dict:
        return {"width": self.hidden_size}

    def forward(self, audio, n_frames):
        return self.matrix(super().forward(audio, n_frames))


@pytest.fixture
def row(monkeypatch):
    trained = Trained(Means, lambda weights: {"width": len(weights["matrix.weight"])}, lambda sizes, width: 10**6)
    monkeypatch.setitem(FRONT_ENDS, "means", FrontEndKind(lambda path: Means({"width": int(path or 5)}), trained))
    return trained


@pytest.mark.parametrize("kept", [True, False], ids=["own configuration", "published: from the weights"])
def test_a_new_row_trains_is_saved_and_loaded(monkeypatch, row, tmp_path, kept):
    model = build_talker(replace(CONFIG, audio_model="means"), pretrained=True, path="7").eval()
    checkpoint = checkpoint_of(model, CoefStats.identity(), 1)
    assert checkpoint.audio_config == {"width": 7}
    (checkpoint if kept else replace(checkpoint, audio_config=None)).save(tmp_path / "a.pt")
    with pytest.raises(UserError, match="weights or more"):  # more than the file has, says the row
        load_talker(tmp_path / "a.pt")
    smaller = replace(row, least_weights=lambda sizes, width: sizes["width"] * (3 + width))
    monkeypatch.setitem(FRONT_ENDS, "means", replace(FRONT_ENDS["means"], trained=smaller))
    loaded, _ = load_talker(tmp_path / "a.pt")
    audio = torch.randn(1, 640 * 4)
    assert torch.equal(loaded.encode_audio(audio, 4), model.encode_audio(audio, 4))


def test_a_frozen_encoder_is_loaded_whatever_is_asked(monkeypatch):
    monkeypatch.setitem(FRONT_ENDS, "stub", FrontEndKind(lambda path: StubAudioEncoder()))
    for pretrained in (False, True):
        assert isinstance(build_front_end("stub", pretrained=pretrained), StubAudioEncoder)


def test_the_default_is_a_row():
    assert TalkerConfig().audio_model in FRONT_ENDS
    assert [name for name, kind in FRONT_ENDS.items() if kind.trained is None] == ["whisper"]
