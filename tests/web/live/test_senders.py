"""Live Link Face, VMC and lines of JSON, read by other people's decoders."""

import json
import os
import socket
import time
from unittest.mock import Mock

import numpy as np
import pytest
from pylivelinkface import FaceBlendShape, PyLiveLinkFace
from pythonosc.osc_bundle import OscBundle
from scipy.spatial.transform import Rotation

from examples import live_blender
from models.generation.idle import Face
from models.heads.flame import load_flame
from utils.coefs import N_EXP
from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES, arkit_of_open_head
from utils.motion_file import Motion
from web.live import senders
from web.live.rig import ArkitRig, Output, quaternion
from web.live.senders import LineSender, LiveLinkSender, VmcSender, osc
from web.live.session import Frame

FLAME = load_flame(None)
RIG = ArkitRig(FLAME.head)
FACE = Face(
    np.random.default_rng(0).uniform(0, 1, N_EXP).astype("f4"), np.array([0.1, -0.2, 0.05, 0.2, 0, 0], np.float32)
)
TRACK = arkit_of_open_head(FLAME.head, Motion(FACE.exp[None], FACE.pose[None]))


def shown():
    output = Output(FLAME, np.zeros(100, np.float32), "arkit", 25, RIG)
    *_, last = (one for i in range(51) for one in output.send(Frame(i, "speaking", FACE, 0.5)))
    return last


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5)
        yield udp


def address(udp) -> str:
    return f"127.0.0.1:{udp.getsockname()[1]}"


def test_live_link_face(receiver):
    sender = LiveLinkSender(address(receiver))
    for slot, subject in ((1, "DiffPoseTalk"), (2, "DiffPoseTalk2")):
        sender.show(slot, shown())
        has_face, face = PyLiveLinkFace.decode(receiver.recv(2000))
        assert has_face and (face.name, face.fps, face._frames, face._version & 255) == (subject, 25, 50, 6)
        for i, name in enumerate(BLEND_SHAPES):
            value = face.get_blendshape(FaceBlendShape[name[0].upper() + name[1:]])
            assert value == pytest.approx(float(TRACK.weights[0, i]), abs=1e-6), name
        angles = [face.get_blendshape(FaceBlendShape(i)) for i in range(52, 61)]
        assert [one.name for one in FaceBlendShape][52:55] == ["HeadYaw", "HeadPitch", "HeadRoll"]
        np.testing.assert_allclose(np.delete(angles, [5, 8]), np.delete(TRACK.angles[0], [5, 8]), atol=1e-5)


def test_vmc(receiver):
    VmcSender(address(receiver)).show(2, shown())  # only the first session has an avatar
    VmcSender(address(receiver)).show(1, shown())
    found = []
    while not found or found[-1].address != "/VMC/Ext/Blend/Apply":
        data = receiver.recv(2000)
        assert len(data) <= 1400
        found += list(OscBundle(data))
    values = dict(tuple(one.params) for one in found if one.address == "/VMC/Ext/Blend/Val")
    assert list(values) == list(BLEND_SHAPES)
    np.testing.assert_allclose(list(values.values()), TRACK.weights[0], atol=1e-6)
    bones = {one.params[0]: one.params[1:] for one in found if one.address == "/VMC/Ext/Bone/Pos"}
    assert list(bones) == ["Head", "LeftEye", "RightEye"]
    turn = Rotation.from_quat(bones["Head"][3:]).as_rotvec()
    np.testing.assert_allclose(turn * (1, -1, -1), FACE.pose[:3], atol=1e-5)
    assert [one.params for one in found if one.address == "/VMC/Ext/T"] == [[2.0]]


def test_quaternions_are_scipys():
    for turn in np.array([[0, 0, 0], [1e-12, 0, 0], [0.3, -0.2, 0.1], [3, 0.5, 0]], np.float32):
        np.testing.assert_allclose(quaternion(turn), Rotation.from_rotvec(turn).as_quat(), atol=1e-12)


def test_osc_padding():
    assert osc("/abc", 1) == b"/abc\0\0\0\0,i\0\0\0\0\0\1"
    assert len(osc("/abcd", "abc", 0.5)) % 4 == 0


def test_lines(tmp_path, capfd):
    for path in (str(tmp_path / "f.ndjson"), "-"):
        sender = LineSender(path)
        sender.show(3, shown())
        sender.close()
    for text in ((tmp_path / "f.ndjson").read_text(), capfd.readouterr().out):
        line = json.loads(text)
        assert (line["session"], line["frame"], line["time"], len(line["arkit"])) == (3, 50, 2.0, 52)


def test_a_slow_reader_misses_lines_and_one_that_goes_ends_nothing(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(senders, "_LINES", 5)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    sender, one, began = LineSender(str(tmp_path / "pipe")), shown(), time.monotonic()
    for _ in range(200):  # the pipe takes 64 kB
        sender.show(1, one)
        time.sleep(0.001)
    assert time.monotonic() - began < 2
    assert json.loads(os.read(reader, 1 << 16).splitlines()[0])["frame"] == 50
    os.close(reader)
    while sender._thread.is_alive():
        sender.show(1, one)
        time.sleep(0.001)
        assert time.monotonic() - began < 10
    for _ in range(20):  # more than may wait
        sender.show(1, one)
    sender.close()
    (said,) = [record.getMessage() for record in caplog.records]
    assert "cannot be written any more" in said


def test_wrong_addresses(tmp_path):
    for make in (LiveLinkSender, VmcSender):
        for wrong in ("127.0.0.1:port", "127.0.0.1:99999999999", "no such host"):
            with pytest.raises(UserError, match="must be a host or host:port"):
                make(wrong)
    with pytest.raises(UserError, match="cannot be written"):
        LineSender(str(tmp_path))


def test_nobody_listens(receiver):
    """The system may say so at the next datagram, or that its buffer is full."""
    sender = LiveLinkSender(address(receiver))
    sender._udp._socket = Mock(sendto=Mock(side_effect=[ConnectionRefusedError, BlockingIOError, None]))
    for _ in range(3):
        sender.show(1, shown())
    assert sender._udp._socket.sendto.call_count == 3


def test_the_blender_client_decodes_the_packets():
    values, head = live_blender.decoded(LiveLinkSender("127.0.0.1").packet("x", shown()))
    np.testing.assert_allclose([values[name] for name in BLEND_SHAPES], TRACK.weights[0], atol=1e-6)
    np.testing.assert_allclose(head, TRACK.angles[0, :3], atol=1e-5)
