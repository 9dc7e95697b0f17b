"""setup/export_onnx.py: graphs in onnxruntime against PyTorch, and what a program finds beside them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.exports import onnx_cost
from benchmarks.exports.onnx_cost import noise_of
from models.app.bundled import DEFAULT_AUDIO, input_folder
from models.app.sampling_flags import own_sampling
from models.generation.animator import Animator
from models.networks.person import Person
from setup import export_onnx
from setup.onnx_export.description import styles_of
from setup.onnx_export.graphs import Graph, StepGraph
from setup.onnx_export.player import OnnxTalker
from tests.support.tiny_talker import make_talker
from utils.errors import UserError
from utils.media.audio import load_audio
from utils.runs.run_dir import find_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("onnx") / "new" / "folder"
    export_onnx.main(["-o", str(found), "--variants", "w16", "--opset", "15"])
    return found


def tiny_step() -> Graph:
    model, generator = make_talker(n_layers=2, feature_dim=64), torch.Generator().manual_seed(0)

    def drawn(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    inputs = {"motion": drawn(2, 110, 54), "memory": drawn(2, 110, 64), "person": drawn(2, 228),
              "step": torch.tensor([6, 1]), "indicator": torch.ones(2, 100)}  # fmt: skip
    free = {name: {0: "batch"} for name in (*inputs, "prediction")}
    return Graph("step", StepGraph(model), inputs, ("prediction",), lambda: (model.denoising_net(*inputs.values()),),
                 free)  # fmt: skip


def test_the_exported_talker_speaks_like_the_animator(folder):
    """A recording of two windows: level, padding, continuation, styles and statistics are those of the project."""
    talker = OnnxTalker(folder, "w16")
    audio = load_audio(input_folder("audio") / DEFAULT_AUDIO)
    made = talker.motion(audio, "natural", noise_of(talker, len(audio), seed=3))
    animator = Animator.load(find_checkpoint("DPT", "embedded-fast", None), None, torch.device("cpu"))
    person = Person(np.zeros(100, np.float32), styles_of(animator.model.config)["natural"])
    (wanted,) = animator(audio, person, own_sampling(animator.model.config), [3])
    exp, pose = talker.coefficients(made)
    assert 100 < len(exp) == len(wanted)
    assert np.abs(exp - wanted.exp).max() < 1e-3 * np.abs(wanted.exp).max()
    assert np.abs(pose - wanted.pose).max() < 1e-3 * np.abs(wanted.pose).max()


def test_talker_json_says_what_a_program_needs(folder):
    about = json.loads((folder / "talker.json").read_text())
    assert about["default_style"] in about["styles"] and about["opset"] == 15
    assert about["person"] == {"shape": [0, 100], "style": [100, 228], "scales": [228, 230]}
    assert about["graphs"]["audio"]["inputs"] == {"audio": [1, 64000 + 2 * about["surroundings"]]}
    assert about["graphs"]["step"]["inputs"]["motion"] == ["batch", 110, 54]
    assert len(about["solver"]) == 4 and about["guidance"]["folded"]
    for graph in about["graphs"].values():
        (one,) = graph["variants"].values()
        assert (folder / one["file"]).stat().st_size == one["bytes"] < 14_000_000
    assert len(list(folder.iterdir())) == 4  # nothing temporary


def test_the_cost_of_a_variant_is_measured(folder, tmp_path, capsys):
    words = ["--samples", "1", "--recordings", "arctic_a0009", "--json", str(tmp_path / "cost.json")]
    onnx_cost.main(["--folder", str(folder), *words])
    rows = json.loads((tmp_path / "cost.json").read_text())
    assert set(rows) == {"PyTorch", "w16"}
    assert rows["w16"]["recall_1"] == rows["PyTorch"]["recall_1"] and rows["w16"]["correlation"]["mean"] > 0.5
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("w16") and float(last.split()[-1]) < 1e-3
    with pytest.raises(SystemExit):
        onnx_cost.main(["--folder", str(tmp_path)])
    assert "holds no talker.json" in capsys.readouterr().err


def test_any_number_of_branches(tmp_path):
    import onnxruntime

    graph = tiny_step()
    export_onnx.export(graph, ("fp32",), 17, tmp_path)
    inputs = {name: torch.cat([value, value[:1]]) for name, value in graph.inputs.items()}
    session = onnxruntime.InferenceSession(tmp_path / "step-fp32.onnx")
    (made,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    np.testing.assert_allclose(made[2], made[0], atol=1e-5)


def test_precisions_differ_as_they_should(tmp_path):
    written = export_onnx.export(tiny_step(), export_onnx.NAMES, 17, tmp_path)
    assert written["w16"]["error"] < 1e-5 and written["w16"]["bytes"] <= written["fp32"]["bytes"]
    assert 1e-5 < written["fp16"]["error"] < 0.01 and written["fp16"]["bytes"] < 0.6 * written["fp32"]["bytes"]
    assert 1e-4 < written["int8"]["error"] < 0.1 and written["int8"]["bytes"] < 0.5 * written["fp32"]["bytes"]


def test_a_wrong_graph_is_refused(tmp_path):
    graph = tiny_step()
    wrong = replace(graph, expected=lambda: tuple(1.002 * one for one in graph.expected()))
    with pytest.raises(UserError, match="step, fp32: differs from PyTorch by 0.002 of the largest value"):
        export_onnx.export(wrong, ("fp32",), 17, tmp_path)
    assert not (tmp_path / "step-fp32.onnx").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--opset", "9"], "--opset 9: must lie between 14 and 20"),
        (["--variants", "int4"], "--variants: 'int4' is not a choice"),
        (["--exp_name", "nothing"], "--exp_name nothing: no such DPT experiment"),
        ([], "--output .*: is a file; name a folder"),
    ],
)
def test_bad_flags(tmp_path, capsys, words, message):
    out = tmp_path / "out"
    if not words:
        out.write_text("mine")
    with pytest.raises(SystemExit) as ended:
        export_onnx.main(["-o", str(out), *words])
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert out.is_file() or not out.exists()


def test_an_encoder_of_whole_recordings_is_refused(monkeypatch):
    animator = Animator(make_talker(), None, published=True)
    monkeypatch.setattr(Animator, "load", lambda *_: animator)
    with pytest.raises(UserError, match="--exp_name embedded: its audio encoder, hubert, hears a recording as a whole"):
        export_onnx.load("embedded", None)
