"""Messages of the live server: what is refused, what audio becomes, what frames look like."""

import json

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from scipy.spatial.transform import Rotation

from models.generation.idle import Face
from models.heads.flame import load_flame
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from utils.coefs import N_EXP
from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES, arkit_of_open_head
from utils.motion_file import Motion
from web.live import protocol
from web.live.protocol import HEADER, SCHEMA, STATES, AudioInput, Start, json_text, read_message, read_start
from web.live.rig import ArkitRig, Output, mixed
from web.live.session import Frame

FLAME = load_flame(None)
RIG = ArkitRig(FLAME.head)


def start(**fields) -> str:
    return json.dumps({"type": "start", "version": 1, **fields})


def test_the_schema_is_one_and_has_the_defaults_of_the_code():
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    fields = schema["$defs"]["start"]["properties"]
    assert set(fields) - {"type"} == set(Start.__dataclass_fields__)
    assert all(getattr(Start(), name) == field["default"] for name, field in fields.items() if "default" in field)
    assert read_start(start(rate=48000, channels=2)) == Start(rate=48000, channels=2)


@pytest.mark.parametrize(
    "text,expected",
    [
        ("no json", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"type": "start", "version": 1, "hop": NaN}', "NaN is not a number"),
        ("[]", "its type must be one of start"),
        ('{"type": "dance"}', "its type must be one of start"),
        ('{"type": ["start"]}', "its type must be one of start"),
        ('{"type": "start"}', "'version' is a required property"),
        ('{"type": "start", "version": 2}', "start.version"),
        (start(rate=5), "start.rate: 5 is less than the minimum of 8000"),
        (start(rate=True), "start.rate"),
        (start(format="u8"), "start.format: 'u8' is not one of"),
        (start(channels=3), "start.channels"),
        (start(colour="red"), "'colour' was unexpected"),
        (start(fps=1000), "start.fps"),
        (start(style=5), "start.style: must be the name of a bundled style"),
        (start(guidance={"audio": 50}), "start.guidance.audio"),
        ('{"type": "flush", "now": 1}', "'now' was unexpected"),
        ('{"type": "set_state", "state": "dancing"}', "set_state.state"),
    ],
)
def test_wrong_messages(text, expected):
    with pytest.raises(UserError) as error:
        read_message(text)
    assert expected in str(error.value) and len(str(error.value)) < 300


def test_the_first_message_is_start():
    with pytest.raises(UserError, match="the first one must be start"):
        read_start('{"type": "flush"}')


def test_large_styles_are_refused_before_the_schema_is_applied(monkeypatch):
    """jsonschema takes seconds for a megabyte of list."""
    rows = {"exp": [[0] * 50], "pose": [[0] * 6]}
    for style in ([0] * 1024, rows | {"exp": [[0]] * 2000}, rows | {"pose": [[0]] * 2000}):
        assert read_message(start(style=style))["style"] == style
    monkeypatch.setattr(protocol, "_checks", lambda: pytest.fail("the schema was applied"))
    for style, where in (
        (["x"] * 1025, "style: has 1025"),
        (rows | {"exp": ["x"] * 2001}, "style.exp: has 2001"),
        ({"npz": "", "pose": [[0]] * 2001}, "style.pose: has 2001"),
    ):
        for kind in ("start", "set_style"):
            with pytest.raises(UserError, match=f"^{kind}.{where}"):
                read_message(json.dumps({"type": kind, "version": 1, "style": style}))


def test_the_token_comes_before_the_schema(monkeypatch):
    monkeypatch.setattr(protocol, "_checks", lambda: pytest.fail("the schema was applied"))
    seen = []

    def admit(token):
        seen.append(token)
        raise PermissionError

    for fields in ({"token": "x", "style": ["x"] * 10}, {"token": 5}, {"rate": "x"}):
        with pytest.raises(PermissionError):
            read_start(start(**fields), admit)
    assert seen == ["x", 5, None]


def test_audio_of_all_formats():
    tone = 0.5 * np.sin(np.arange(4800) / 20)
    pcm = (tone * 32768).astype("<i2")
    np.testing.assert_allclose(AudioInput(Start()).read(pcm.tobytes()), tone, atol=1e-4)
    np.testing.assert_array_equal(
        AudioInput(Start(format="f32")).read(memoryview(b"\0" + tone.astype("<f4").tobytes())[1:]), tone.astype("f4")
    )
    stereo = AudioInput(Start(rate=48_000, channels=2))
    for _ in range(2):  # finish() begins anew
        blocks = [stereo.read(np.repeat(pcm, 2)[i : i + 960].tobytes()) for i in range(0, 9600, 960)]
        heard = np.concatenate([*blocks, stereo.finish()])
        assert len(heard) == 1600
        np.testing.assert_allclose(heard[50:-50], tone[150:-150:3], atol=1e-3)
    assert stereo.finish().shape == AudioInput(Start()).finish().shape == (0,)
    assert AudioInput(Start()).read(b"").shape == (0,)


def test_audio_that_is_refused():
    with pytest.raises(UserError, match="3 bytes are not whole samples; s16 with 1 channel"):
        AudioInput(Start()).read(b"123")
    with pytest.raises(UserError, match="takes 8 bytes"):
        AudioInput(Start(format="f32", channels=2)).read(bytes(12))
    for bad in (np.nan, np.inf):
        with pytest.raises(UserError, match="NaN or infinite"):
            AudioInput(Start(format="f32")).read(np.array([0, bad], "<f4").tobytes())


def test_silence_is_noticed():
    voice = AudioInput(Start())
    voice.read(bytes(2 * 16_000 * 11))
    assert voice.silent == 11
    voice.read(np.array([100], "<i2").tobytes())
    assert voice.silent == 0


def face(seed: int) -> Face:
    random = np.random.default_rng(seed)
    exp, pose = random.uniform(0, 1, N_EXP).astype("f4"), random.uniform(0, 0.3, 6).astype("f4")
    return Face(exp, pose, tongue=0.4)


def test_arkit_is_that_of_the_exports():
    one = face(0)
    (shown,) = Output(FLAME, np.zeros(100, np.float32), "arkit", 25, RIG).send(Frame(0, "speaking", one, 1.5))
    tongue = np.array([[one.tongue, 0]])
    track = arkit_of_open_head(FLAME.head, Motion(one.exp[None], one.pose[None], tongue=tongue))
    np.testing.assert_allclose(shown.values["arkit"], track.weights[0], atol=1e-6)
    np.testing.assert_allclose(shown.values["eyes"], track.angles[0, [3, 4, 6, 7]], atol=1e-5)
    head = Rotation.from_quat(shown.values["head"]).as_rotvec()
    np.testing.assert_allclose(head, one.pose[:3], atol=1e-6)


def test_the_mixer_has_the_tongue():
    one = face(0)
    assert mixed(one, Mixer(MixerConfig(gain=("tongue=0.5",)))).tongue == pytest.approx(0.2)
    assert mixed(one, Mixer(MixerConfig(gain=("head=0.5",)))).tongue == pytest.approx(0.4)


@pytest.mark.parametrize("what,count", [("arkit", 60), ("coefficients", 56), ("vertices", len(FLAME.template))])
def test_json_and_packed_hold_the_same(what, count):
    sender = Output(FLAME, np.zeros(100, np.float32), what, 25, RIG)
    (shown,) = sender.send(Frame(0, "speaking", face(1), 0.25))
    packed = shown.packed()
    version, state, _, number, time, audio = HEADER.unpack_from(packed)
    values = np.frombuffer(packed, "<f4", offset=HEADER.size)
    assert (version, STATES[state], number, time, audio) == (1, "speaking", 0, 0, 0.25) and len(values) == count
    if what == "vertices":
        return
    assert len(sender.names) == count
    message = json.loads(shown.json(sender.names))
    Draft202012Validator({**json.loads(SCHEMA.read_text()), "$ref": "#/$defs/frame"}).validate(message)
    parts = [list(message[name].values()) if name == "arkit" else message[name] for name in shown.values]
    np.testing.assert_allclose(np.concatenate(parts), values, atol=1e-5)
    if what == "arkit":
        assert list(message["arkit"]) == list(BLEND_SHAPES)


@pytest.mark.parametrize("fps", [5, 24, 25, 30, 60])
def test_other_frame_rates(fps):
    """A ramp stays a ramp, at the times of the other rate."""
    sender = Output(FLAME, np.zeros(100, np.float32), "coefficients", fps, RIG)
    shown = []
    for i in range(51):
        one = Face(np.full(N_EXP, i / 25, np.float32), np.zeros(6, np.float32))
        shown += sender.send(Frame(i, "speaking", one, 1 + i / 25))
    assert [one.number for one in shown] == list(range(2 * fps + 1))
    np.testing.assert_allclose([one.values["exp"][0] for one in shown], [one.time for one in shown], atol=1e-5)
    np.testing.assert_allclose([one.audio for one in shown], [1 + one.time for one in shown], atol=1e-5)


def test_nothing_infinite_is_sent():
    with pytest.raises(ValueError):
        json_text("state", time=float("nan"))
