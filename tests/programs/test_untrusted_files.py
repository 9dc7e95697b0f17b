"""What fuzzing and looking for it found: files that took memory, opened others or changed the reader; one test each."""

import errno
import io
import os
import pickle
import struct
import time
import zipfile
import zlib
from argparse import Namespace

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.clip_encoding import decode_count
from models.audio.hubert import load_audio_encoder
from models.networks.loading import load_style_encoder, load_talker
from models.networks.size_limits import check_audio_config
from scripts_for_dataset.preparing.preparation import read_head_rotations
from tests.fuzz.seeds import Calls
from tests.fuzz.sounds import wav
from tests.support.flame_fixtures import python2_pickle, tiny_flame
from utils.coefs import CoefStats
from utils.errors import UserError, causes, disk_full
from utils.heads.flame_pickle import load_flame_pickle
from utils.heads.head_file import load_head_file
from utils.media.audio import load_audio, stream_audio
from utils.media.input_list import read_inputs
from utils.reading.json_file import read_json
from utils.reading.pickle_scan import scan_pickle
from utils.reading.torch_file import load_torch
from utils.rendering.head_paint import read_image
from utils.runs.kept_checkpoints import KeptCheckpoints
from utils.trackers.pickles import load_torch_zip, load_tree


def torch_bytes(value, compress=False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    if not compress:
        return buffer.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    return packed.getvalue()


# Audio


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile other.wav\n", "v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 5 RTP/AVP 0\r\n"]
)
def test_a_playlist_named_wav_opens_nothing_else(tmp_path, text):
    """FFmpeg reads the file that a concat script names, and waits at the network address of an SDP description."""
    (tmp_path / "other.wav").write_bytes(wav())
    (tmp_path / "speech.wav").write_text(text)
    assert load_audio(tmp_path / "other.wav").size == 1600
    start = time.perf_counter()
    with pytest.raises(UserError, match=r"speech\.wav: not readable as audio"):
        load_audio(tmp_path / "speech.wav")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(("rate", "said"), [(1, "1 samples per second"), (2**31 - 1, "2147483647 samples per second")])
def test_sample_rates_that_nobody_has(tmp_path, rate, said):
    """At 1 Hz a megabyte would be six days, of 30 GB at 16 kHz."""
    (tmp_path / "a.wav").write_bytes(wav(rate=rate))
    with pytest.raises(UserError, match=said):
        load_audio(tmp_path / "a.wav")


def test_sample_formats_and_channels_that_nobody_has(tmp_path):
    for name, data in (("bits", wav(bits=64)), ("channels", wav(channels=65535)), ("none", wav(channels=0))):
        (tmp_path / f"{name}.wav").write_bytes(data)
        with pytest.raises(UserError, match=f"{name}.wav"):
            load_audio(tmp_path / f"{name}.wav")


def test_a_long_recording_is_not_held_in_memory(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(data=b"\1\2" * 200_000))
    with pytest.raises(UserError, match="too long, at most 2 s"):
        load_audio(tmp_path / "a.wav", max_seconds=2)
    assert (
        load_audio(tmp_path / "a.wav").size == sum(piece.size for piece in stream_audio(tmp_path / "a.wav")) == 200_000
    )


def test_devices_and_endless_names_in_a_list(tmp_path):
    (tmp_path / "list.txt").write_text("/dev/zero\n" + "x" * 5000 + "\n")
    for one, match in zip(read_inputs(tmp_path / "list.txt"), ("device or pipe", "name too long")):
        with pytest.raises(UserError, match=rf"(?i){match}"):
            next(stream_audio(one.path))
    (tmp_path / "list.txt").write_text("a.wav\n" * 20_001)
    with pytest.raises(UserError, match="20001 recordings"):
        read_inputs(tmp_path / "list.txt")


# Checkpoints and torch files


def test_what_weights_only_lets_through_is_refused(tmp_path):
    """torch.load(weights_only=True) calls bytearray and torch.Tensor with any size."""
    for call in (Calls(bytearray, 2**33), Calls(torch.Tensor, 2**33)):
        (tmp_path / "x.pt").write_bytes(torch_bytes({"args": call, "encoder": {}, "iter": 1}))
        with pytest.raises(UserError, match="could run code"):
            load_style_encoder(tmp_path / "x.pt")


def test_compressed_checkpoints_do_not_unpack():
    data = torch_bytes({"a": torch.zeros(10_000_000)}, compress=True)
    assert len(data) < 100_000
    for read in (load_torch, load_torch_zip):
        with pytest.raises(UserError, match="declares more than it holds|compressed"):
            read(bytearray(data), "x")


def test_a_bit_that_turned_in_a_checkpoint_is_seen():
    data = bytearray(torch_bytes({"a": torch.arange(1000.0)}))
    data[data.index(struct.pack("<f", 500.0))] ^= 1
    with pytest.raises(UserError, match="wrong checksum"):
        load_torch(data, "x")


def test_storages_are_as_long_as_they_say():
    data = torch_bytes({"a": torch.zeros(4)})
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    members[name] = members[name].replace(b"K\x04tq", b"M\x00\x40tq").replace(b"K\x04\x85", b"M\x00\x40\x85")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, value in members.items():
            archive.writestr(member, value)
    with pytest.raises(UserError, match="missing or cut off"):
        load_torch(bytearray(buffer.getvalue()), "x")


def test_everything_that_is_data_comes_back():
    tensors = [torch.arange(6).reshape(2, 3).T, torch.ones(2, dtype=torch.bfloat16), torch.zeros(0, 3)]
    value = {"t": tensors, "n": (1, 2.5),
             "net": torch.nn.Linear(2, 1).state_dict(), "args": Namespace(a=1), 0: None, "x": np.float32(2),
             "b": True}  # fmt: skip
    back = load_torch(bytearray(torch_bytes(value)), "x")
    assert (
        back["args"] == {"a": 1} and back["n"] == (1, 2.5) and back["x"] == 2 and back[0] is None and back["b"] is True
    )
    for a, b in zip((*value["t"], *value["net"].values()), (*back["t"], *back["net"].values())):
        assert a.dtype == b.dtype and torch.equal(a, b)
    assert load_torch_zip(torch_bytes(value), "x")["t"][0].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_pickle_cannot_change_the_reader():
    """The state of a global would hold for every file that is read afterwards."""
    evil = b"\x80\x02ctorch\nFloatStorage\n}X\x05\x00\x00\x00dtypeK\x01sb."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", evil)
    with pytest.raises(UserError, match="refused to change"):
        load_torch(bytearray(buffer.getvalue()), "x")
    assert torch.equal(load_torch(bytearray(torch_bytes(torch.ones(3))), "x"), torch.ones(3))


SIZES = {"feature_dim": 4096, "n_layers": 10**9, "n_motions": 10**6, "n_diff_steps": 10**12, "mlp_ratio": 64,
         "n_heads": 1.5}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_a_checkpoint_of_some_bytes_does_not_get_a_large_network(tmp_path, name):
    torch.save({"args": Namespace(**{name: SIZES[name]}), "model": {}, "iter": 1}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"x\.pt"):
        load_talker(tmp_path / "x.pt")
    config = {"audio_model": "whisper", name: SIZES[name]}
    ours = {"format": "diffposetalk-1", "kind": "talker", "config": config, "model": {}, "step": 1} | {"stats": None}
    torch.save(ours, tmp_path / "x.pt")
    with pytest.raises(UserError, match="does not fit"):
        load_talker(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "sizes", [{"hidden_size": 20_000}, {"num_hidden_layers": 10**6}, {"add_adapter": True}, {"x": "y"}, [1]]
)
def test_nor_a_large_audio_encoder(tmp_path, sizes):
    ours = {"format": "diffposetalk-1", "kind": "talker", "config": {}, "model": {"a": torch.zeros(9)}, "step": 1,
            "stats": None, "audio_config": sizes}  # fmt: skip
    torch.save(ours, tmp_path / "x.pt")
    with pytest.raises(UserError, match="does not fit"):
        load_talker(tmp_path / "x.pt")


# Pickles


def test_arguments_that_reach_over_a_frame():
    """The unpickler drops what is left of the frame there, and reads lengths that pickletools does not see."""
    body = b"B\x01\x00\x00\x00a."
    data = b"\x80\x04\x95" + struct.pack("<Q", 3) + body
    with pytest.raises(UserError, match="extends beyond its frame"):
        scan_pickle(data, "x")
    with pytest.raises(UserError, match="damaged pickle"):
        scan_pickle(b"\x80\x04\x95" + struct.pack("<Q", 99) + body, "x")
    whole = b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body
    assert load_tree(whole, "x") == pickle.loads(whole) == b"a"
    for size in (10, 100_000, 300_000):  # Python's own frames
        assert load_tree(pickle.dumps(["x" * size, 1] * 3, 4), "x") == ["x" * size, 1] * 3


def test_flame_pickles_that_want_memory(tmp_path):
    import scipy.sparse

    huge = scipy.sparse.csc_matrix((2**20, 5))
    huge._shape = (2**31, 2**20)
    calls = {"matrix": huge, "zeros": Calls(np.zeros, (2**18, 2**18))}
    for name, value in calls.items():
        (tmp_path / "m.pkl").write_bytes(python2_pickle({"J_regressor": value}))
        with pytest.raises(UserError, match="malformed sparse|refused to load"):
            load_flame_pickle(tmp_path / "m.pkl")
        assert name
    # numpy's own _reconstruct(ndarray, (2**40,), b"b") would make an array of 8 TB
    (tmp_path / "m.pkl").write_bytes(b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
                                     b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85U\x01btRs.")  # fmt: skip
    assert load_flame_pickle(tmp_path / "m.pkl") == {}


# Heads, statistics, pictures, JSON


SENSELESS = [
    {"lmk68": np.full(68, 99)},
    {"landmarks_nose": np.array(-3)},
    {"vt": np.full((4, 2), np.nan), "ft": np.zeros((20, 3), int)},
    {"v_template": np.full((12, 3), 1e300)},
    {"weights": np.full((12, 5), "x")},
    {"f": np.full((20, 3), np.nan)},
]


@pytest.mark.parametrize("change", SENSELESS, ids=lambda change: next(iter(change)))
def test_heads_whose_numbers_make_no_sense(tmp_path, change):
    np.savez(tmp_path / "h.npz", **(tiny_flame() | change))
    with pytest.raises(UserError, match=r"h\.npz"):
        load_head_file(tmp_path / "h.npz")


def test_complex_statistics(tmp_path):
    values = {name: value.numpy() for name, value in CoefStats.identity().to_dict().items()}
    np.savez(tmp_path / "s.npz", **(values | {"exp_mean": values["exp_mean"] * 1j}))
    with pytest.raises(UserError, match="holds complex64"):
        CoefStats.load(tmp_path / "s.npz")


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def test_pictures_of_billions_of_pixels(tmp_path):
    for size in ((60_000, 60_000), (2**31 - 1, 1), (8193, 2)):
        (tmp_path / "t.png").write_bytes(png(*size))
        with pytest.raises(UserError, match=rf"t\.png: (has {size[0]} x|not a readable image)"):
            read_image(tmp_path / "t.png")


def test_webp_is_not_opened(tmp_path):
    """Pillow's reader takes memory for the size that a file claims before it tells it."""
    Image.new("RGB", (8, 8)).save(tmp_path / "t.webp")
    data = bytearray((tmp_path / "t.webp").read_bytes())
    data[26:30] = struct.pack("<HH", 16383, 16383)
    (tmp_path / "t.webp").write_bytes(data)
    with pytest.raises(UserError, match=r"t\.webp: not a readable image \(of unknown kind\); give a png or jpg"):
        read_image(tmp_path / "t.webp")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"{", b"[1]", b"9" * 5000, b"null"])
def test_json_that_is_none(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(UserError, match=r"x\.json"):
        read_json(tmp_path / "x.json")
    with pytest.raises(UserError):
        decode_count(b"{" + text, "n_frames", "x")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "x.json").rename(tmp_path / "checkpoints" / "best.json")
    kept = KeptCheckpoints(tmp_path, keep_last=1)
    assert kept.is_best(1.0)
    kept.set_best(1, 0.5, True)
    assert not kept.is_best(0.6) and os.listdir(tmp_path / "checkpoints") == ["best.json"]  # noqa: PTH208


def test_an_error_that_is_its_own_cause():
    """`raise error from error` makes one; looking for a full disk behind it never ended."""
    with pytest.raises(UserError) as caught:
        try:
            raise UserError("x")
        except UserError as error:
            raise error from error
    assert list(causes(caught.value)) == [caught.value] and not disk_full(caught.value)
    full = RuntimeError("torch's")
    full.__cause__ = OSError(errno.ENOSPC, "full")
    assert disk_full(full) and not disk_full(None)


def test_rotations_of_huge_numbers(tmp_path):
    np.save(tmp_path / "r.npy", np.full((3, 9), 1e300))
    with pytest.raises(UserError, match="not rotations"):
        read_head_rotations(tmp_path / "r.npy", 3)


def test_sizes_as_transformers_writes_them(tmp_path):
    """What a checkpoint keeps of a configuration that came from a folder must be accepted again."""
    from transformers import HubertConfig, HubertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sizes |= {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "layerdrop": 0.5}
    HubertModel(HubertConfig(**sizes)).save_pretrained(tmp_path)
    kept = load_audio_encoder("hubert", str(tmp_path)).checkpoint_config()
    assert kept["hidden_size"] == 16 and "architectures" in kept
    check_audio_config(kept)
