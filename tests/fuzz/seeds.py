"""Whole files to damage, made by the project's own writers and by those of other programs."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import pickletools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from datasets.clip_encoding import Segment, encode_metadata, encode_segment
from datasets.evaluation.protocol import EvaluationProtocol, ProtocolClip
from models.networks.loading import checkpoint_of
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from models.networks.talker import TalkerConfig, build_talker
from models.tracking.embedding import EMBEDDING
from tests.fuzz.mutate import HOSTILE
from tests.support.arkit_files import ARKIT_FILES, live_link, make_recording, write_json
from tests.support.flame_fixtures import python2_pickle, tiny_flame, write_flame_pickle
from tests.support.hostile import Calls
from tests.support.made_up_flame import flame_embedding
from tests.support.small_store import clip_content
from tests.support.tracker_files import FLAME_FILES, make_truth, pose_of, timecodes, write_csv
from utils.coefs import CoefStats
from utils.exports.gltf import GltfWriter
from utils.exports.livelink import HEADER
from utils.heads.head_file import load_head_file
from utils.media.audio import encode_flac
from utils.media.frame_writers import LineWriter
from utils.motion_file import Motion
from utils.trackers import openface
from utils.trackers.audio2face import POSES

Seeds = Callable[[Path], "list[Seed]"]


@dataclass(frozen=True)
class Seed:
    """A file's bytes and the ending of its name."""

    suffix: str
    data: bytes


def seed(path: Path) -> Seed:
    return Seed(path.suffix, path.read_bytes())


def tracker_files(folder: Path) -> list[Seed]:
    """One file of every format; of a folder of frames the first."""
    found = []
    for number, write in enumerate(FLAME_FILES):
        inner = folder / str(number)
        inner.mkdir()
        path = write(inner, make_truth(3))
        found.append(seed(path if path.is_file() else min(p for p in path.rglob("*") if p.is_file())))
    units = "jawOpen eyeBlinkLeft mouthClose mouthFunnel mouthPucker mouthLeft mouthRight jawLeft"
    more = "browInnerUp cheekPuff jawRight jawForward yaw pitch roll"
    write_csv(folder / "a.csv", {n: np.linspace(0, 1, 5) for n in f"time {units} {more}".split()})
    faces = ("frame", "timestamp", "success", *openface.UNITS, "AU26_r", "pose_Rx", "pose_Ry", "pose_Rz")
    write_csv(folder / "o.csv", {n: np.linspace(1, 2, 5) for n in faces})
    lines = LineWriter(folder / "s.csv")
    lines.write(Motion(make_truth(3).exp[:, :50], pose_of(make_truth(3))))
    lines.close()
    return [*found, *arkit_files(folder)[::2], *(seed(folder / f"{name}.csv") for name in "aos")]


def motion_files(folder: Path) -> list[Seed]:
    truth = make_truth(3)
    np.savez(
        folder / "m.npz", exp=truth.exp[:, :50], pose=pose_of(truth), shape=truth.shape, fps=25, head_model="open_head"
    )
    np.savez_compressed(folder / "c.npz", exp=truth.exp, pose=pose_of(truth))
    return [seed(folder / "m.npz"), seed(folder / "c.npz"), *arrays((300,), (100,), (8,), (3, 3, 3))]


def arrays(*shapes: tuple[int, ...]) -> list[Seed]:
    """npy files of these shapes."""
    found = []
    for number, shape in enumerate(shapes):
        buffer = io.BytesIO()
        np.save(buffer, np.random.default_rng(number).standard_normal(shape).astype(np.float32))
        found.append(Seed(".npy", buffer.getvalue()))
    return found


def rotation_files(folder: Path) -> list[Seed]:
    np.savez(folder / "r.npz", R=make_truth(3).head.as_matrix())
    return [seed(folder / "r.npz"), *arrays((3, 6), (3, 4))]


def stats_files(folder: Path) -> list[Seed]:
    np.savez(folder / "s.npz", **{name: value.numpy() for name, value in CoefStats.identity().to_dict().items()})
    return [seed(folder / "s.npz")]


def style_encoders(folder: Path) -> list[Seed]:
    """Ours and one in the published layout, of small networks."""
    torch.manual_seed(0)
    network = StyleEncoder(StyleEncoderConfig(feature_dim=8, n_heads=2, n_layers=1, n_motions=4))
    training = {
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99)}]}
    }
    checkpoint_of(network, CoefStats.identity(), 12, training).save(folder / "ours.pt")
    names = {"feature_dim": 8, "n_heads": 2, "n_layers": 1, "n_motions": 4, "data_root": Path("datasets/x")}
    torch.save(
        {"args": argparse.Namespace(**names), "encoder": network.state_dict(), "iter": 5}, folder / "published.pt"
    )
    return [seed(folder / "ours.pt"), seed(folder / "published.pt"), *hostile_torch(folder)]


def talkers(folder: Path) -> list[Seed]:
    torch.manual_seed(0)
    sizes = {"feature_dim": 8, "n_heads": 2, "n_layers": 1, "n_diff_steps": 5, "n_motions": 4, "n_prev_motions": 2}
    whisper = build_talker(TalkerConfig(**sizes, audio_model="whisper", no_use_learnable_pe=True))
    backbone = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
                "conv_dim": [8] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}  # fmt: skip
    style = "experiments/SE/x/checkpoints/iter_0000001.pt"
    hubert = build_talker(TalkerConfig(**sizes, style_enc_ckpt=style), backbone)
    checkpoint_of(whisper, CoefStats.identity(), 3).save(folder / "whisper.pt")
    checkpoint_of(hubert, CoefStats.identity(), 3).save(folder / "hubert.pt")
    names = argparse.Namespace(**sizes, style_enc_ckpt=Path(style))
    torch.save({"args": names, "model": hubert.state_dict(), "iter": 5}, folder / "published.pt")
    return [seed(folder / name) for name in ("whisper.pt", "hubert.pt", "published.pt")]


def hostile_torch(folder: Path) -> list[Seed]:
    """Torch files that call something."""
    found = []
    for number, call in enumerate(calls(folder)):
        torch.save({"args": call, "encoder": {}, "iter": 1}, folder / f"evil{number}.pt")
        found.append(seed(folder / f"evil{number}.pt"))
    return found


def calls(folder: Path) -> list[Calls]:
    """Calls that would be seen: they make a folder, a list of a gigabyte, an array of many."""
    marker = str(folder / "executed")
    return [Calls(Path.mkdir, Path(marker)), Calls(eval, f"open({marker!r}, 'w')"), Calls(bytearray, 2**33),
            Calls(np.zeros, (2**17, 2**17)), Calls(torch.Tensor, 2**33)]  # fmt: skip


def flame_pickles(folder: Path) -> list[Seed]:
    found = [seed(write_flame_pickle(folder / "f.pkl", tiny_flame())), Seed(".pkl", pickle.dumps(tiny_flame(), 4))]
    masks = {b"lips": np.array([3, 1]), b"nose": np.array([2])}
    found += [Seed(".pkl", python2_pickle(masks))]
    return found + [
        Seed(".pkl", pickle.dumps({"v_template": call}, p)) for call in calls(folder)[:3] for p in (0, 2, 4)
    ]


def head_files(folder: Path) -> list[Seed]:
    """A head as npz under FLAME's names, with masks and landmarks."""
    more = {"masks_lips": np.array([1, 2]), "landmarks_nose": np.array(3), "lmk68": np.arange(68) % 12}
    flame = tiny_flame()
    np.savez(folder / "h.npz", **flame, **more, vt=np.zeros((4, 2)), ft=np.zeros((20, 3), int))
    return [seed(folder / "h.npz")]


def landmark_files(folder: Path) -> list[Seed]:
    """Where landmarks lie on the open head, in our builder's format and in FLAME's."""
    with np.load(EMBEDDING) as file:
        own = {name: file[name] for name in ("vertices", "weights")}
    np.savez(folder / "own.npz", **own)
    np.savez(folder / "flame.npz", **flame_embedding(load_head_file(None), **own))
    return [seed(folder / "own.npz"), seed(folder / "flame.npz")]


def pair_files(folder: Path) -> list[Seed]:
    """Pairs of vertices of two heads."""
    np.savez(folder / "pairs.npz", open_head=np.arange(300), head=np.arange(300))
    return [seed(folder / "pairs.npz")]


def packed_heads(folder: Path) -> list[Seed]:
    from utils.heads.head_file import OPEN_HEAD_FILE

    return [seed(OPEN_HEAD_FILE)]


def store_values(folder: Path) -> list[Seed]:
    """Segments (.seg) and metadata (.meta) in both encodings."""
    audio, coefs = clip_content(4)
    flac = encode_flac(audio)
    found = [Seed(".seg", encode_segment(Segment(coefs, flac))), Seed(".meta", encode_metadata(n_frames=5, seg_len=5))]
    for protocol in (2, 4, 5):
        found += [Seed(".seg", pickle.dumps({"audio": flac, "coef": coefs}, protocol)),
                  Seed(".meta", pickle.dumps({"n_frames": 5, "seg_len": 5}, protocol))]  # fmt: skip
    return found + [Seed(".seg", pickle.dumps({"coef": call}, 2)) for call in calls(folder)[:3]]


def lists(folder: Path) -> list[Seed]:
    text = "TH_00001/000\nTH_00001/001\nRD_é 2/000\n\nx/y/z\n"
    return [Seed(".txt", text.encode()), Seed(".txt", b"# speech\na.wav\n../b.mp3\n/c/d.flac\n\n")]


def json_lines(folder: Path) -> list[Seed]:
    phones = "\n".join(json.dumps({"clip": f"a/{i}", "phones": [["sil", 0, 0.1], ["p", 0.1, 0.25]]}) for i in range(3))
    row = {"start": 0, "n_samples": 900, "split": "held", "text": "a", "phones": [["sil", 0, 0.1], ["p", 0.1, 0.25]]}
    return [Seed(".jsonl", (phones + "\n").encode()), Seed(".jsonl", (json.dumps(row) + "\n").encode()),
            Seed(".jsonl", b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": NaN}\n')]  # fmt: skip


def json_files(folder: Path) -> list[Seed]:
    contents = [
        {"step": 5, "value": 0.5, "regular": True}, {"train": {"lr": 0.1, "seed": 1}, "model": {"n_layers": 2}},
        {"smooth": True, "full_jaw": False}, {"a": {"style": [1, 2]}, "b": {"style": [1, 2]}},
        {"counts": {"done": 1}, "head_models": {"FLAME 2020": 1}, "clips": [{"clip": "a/0", "notes": ["x"]}]},
    ]  # fmt: skip
    return [Seed(".json", json.dumps(content).encode()) for content in contents]


def protocols(folder: Path) -> list[Seed]:
    clips = (ProtocolClip("ann/000", 130, "ann/001", 0, 0), ProtocolClip("ann/001", 250, "ann/000", 30, 1000))
    EvaluationProtocol("test", clips).write(folder / "protocol.json")
    return [seed(folder / "protocol.json"), Seed(".json", b'{"steps": [6, 12], "scale_audio": 1.15, "paper": true}')]


def tables(folder: Path) -> list[Seed]:
    columns = {"Timecode": timecodes(np.arange(4) / 60), "BlendShapeCount": [61] * 4}
    columns |= {name: np.linspace(0, 1, 4) for name in HEADER if name not in columns}
    write_csv(folder / "l.csv", columns)
    return [seed(folder / "l.csv"), Seed(".tsv", b"file\ttext\na.wav\thello there\nb.wav\tbye\n")]


def arkit_files(folder: Path) -> list[Seed]:
    """One recording of three frames in every dialect."""
    found = []
    for number, write in enumerate(ARKIT_FILES.values()):
        inner = folder / "arkit" / str(number)
        inner.mkdir(parents=True)
        found.append(seed(write(inner, make_recording(3))))
    found.append(
        seed(write_csv(folder / "minutes.csv", live_link(make_recording(3), ["01:02:03", "01:02:04", "01:03:00"])))
    )
    found.append(
        seed(write_json(folder, {"exportFps": 30, "facsNames": [*POSES], "weightMat": [[0.5] * len(POSES)] * 3}))
    )
    return [*tables(folder)[:1], *found]


def avatars(folder: Path) -> list[Seed]:
    document = {"asset": {"version": "2.0"}, "buffers": [{"byteLength": 8}], "bufferViews": [], "accessors": [],
                "meshes": [{"extras": {"targetNames": ["jawOpen", "eyeBlinkLeft"]}, "primitives": []}],
                "nodes": [{"mesh": 0, "name": "Head"}, {"name": "neck", "rotation": [0, 0, 0, 1]}]}  # fmt: skip
    bind = {"node": 0, "index": 0, "weight": 1.0}
    preset = {"aa": {"morphTargetBinds": [bind]}, "blink": {"morphTargetBinds": [bind | {"index": 1}]}}
    groups = [{"presetName": "a", "binds": [{"mesh": 0, "index": 0, "weight": 100}]}]
    meshes = [{"primitives": [{"attributes": {}, "targets": [{}, {}]}]}]
    kinds = {"a": {}, "vrm1": {"VRMC_vrm": {"expressions": {"preset": preset}}},
             "vrm0": {"VRM": {"blendShapeMaster": {"blendShapeGroups": groups}}}}  # fmt: skip
    for name, extensions in kinds.items():
        changed = document | ({"extensions": extensions, "meshes": meshes} if extensions else {})
        (folder / f"{name}.glb").write_bytes(GltfWriter(json.loads(json.dumps(changed)), bytes(8)).to_bytes())
    return [seed(path) for path in sorted(folder.glob("*.glb"))]


def weights(folder: Path) -> list[Seed]:
    from safetensors.numpy import save

    return [Seed(".safetensors", save({"a": np.ones((2, 3), np.float16), "b": np.zeros(4, np.float32)}))]


def pictures(folder: Path) -> list[Seed]:
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8))
    kinds = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tif": "TIFF"}
    for suffix, kind in kinds.items():
        image.save(folder / f"p.{suffix}", kind)
    image.convert("P").save(folder / "q.png")
    image.convert("L").save(folder / "g.jpg", exif=Image.Exif())
    return [seed(path) for path in sorted(folder.glob("?.*"))]


NAMES = ("exp", "expr", "pose", "rotation", "neck_pose", "jaw_pose", "jaw", "shape", "fps", "pose_params", "jaw_params",
         "expression_params", "shape_params", "frame", "head_model", "identity")  # fmt: skip
SETS = (["exp", "pose"], ["exp", "rotation", "jaw"], ["rotation", "neck_pose", "jaw_pose", "expr"], ["shape"], ["R"],
        ["pose_params", "jaw_params", "expression_params"])  # fmt: skip
WIDTHS = {"exp": 50, "pose": 6, "expr": 100, "expression_params": 50, "shape": 300, "shape_params": 300}


def odd_arrays(rng: random.Random) -> dict[str, np.ndarray]:
    """Arrays under trackers' names with usual or odd shapes, types and values."""
    numbers, n_frames, found = np.random.default_rng(rng.randrange(2**32)), rng.choice([1, 2, 3, 7]), {}
    for name in rng.choice(SETS) + rng.sample(NAMES, rng.randrange(4)):
        shape = (n_frames, WIDTHS.get(name, 3))
        shape = rng.choice([shape, shape, shape, (1, *shape), shape[1:], (), (0, 3), (n_frames, 3, 3), (n_frames, 106)])
        values = numbers.standard_normal(shape) * rng.choice([1, 1, 1, 1e-300, 1e30, 1e300])
        if rng.random() < 0.1:
            values = np.full(shape, rng.choice([np.nan, np.inf, 0]))
        with np.errstate(all="ignore"):
            found[name] = values.astype(rng.choice(["f8", "f8", "f4", "f2", ">f8", "i4", "b1", "U8"]))
    return found


def odd_npz(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **odd_arrays(rng))
    return buffer.getvalue()


def odd_value(rng: random.Random) -> bytes:
    """A pickled segment or count whose parts are of odd types and shapes."""
    coefs = {"shape": (4, 100), "exp": (4, 50), "pose": (4, 6)}
    tree = {}
    for name, shape in coefs.items():
        shape = rng.choice([shape, shape, shape[:1], (0, shape[1]), (4, 400), ()])
        tree[name] = np.ones(shape, rng.choice(["f4", "f8", "i4", "O"]))
    odd = rng.choice([None, 3, -1, 2**70, True, [], {}, "x", b"fLaC", b"", 1.5, np.int64(4), (1, 2)])
    content = rng.choice(
        [{"audio": odd, "coef": tree}, {"audio": b"", "coef": tree}, {"n_frames": odd, "seg_len": odd}, odd]
    )
    return pickle.dumps(content, rng.randrange(pickle.HIGHEST_PROTOCOL + 1))


def from_nothing(rng: random.Random) -> bytes:
    """Bytes behind the first ones of some format, or a pickle of opcodes by chance."""
    if rng.random() < 0.3:
        codes = [op.code.encode("latin1") for op in pickletools.opcodes]
        parts = [
            rng.choice(codes) + rng.choice((b"", b"", b"\0", b"\1\0\0\0a", b"1\n", rng.randbytes(4))) for _ in range(40)
        ]
        parts += [f"c{module}\n{name}\n".encode() for module, name in rng.sample(HOSTILE, 3)]
        rng.shuffle(parts)
        return b"\x80\x04" + b"".join(parts) + b"."
    return rng.choice(MAGIC) + rng.randbytes(rng.choice((0, 4, 60, 2000)))


MAGIC = (
    b"", b"PK\3\4", b"PK\5\6" + b"\0" * 18, b"\x93NUMPY\1\0", b"\x93NUMPY\3\0", b"\x80\2", b"\x80\4",
    b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC\0\0\0\x22", b"OggS\0\2", b"\x1aE\xdf\xa3", b"\0\0\0\x20ftypisom",
    b"ID3\4\0\0\x7f\x7f\x7f\x7f", b"{", b"[", b"glTF\2\0\0\0", b"#EXTM3U\n#EXTINF:1,\na.wav\n",
    b"ffconcat version 1.0\nfile a.wav\n", b"v=0\r\nm=audio 5 RTP/AVP 0\r\n", b"<?xml version='1.0'?><MPD>",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xd8\xff\xe0", b"GIF89a\xff\xff\xff\xff", b"BM", b"FORM\0\0\0\0AIFF",
    b"CLP1\xff\xff\xff\xff\1\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\x7f{", b"\xef\xbb\xbfa,b\n1,2\n",
)  # fmt: skip
