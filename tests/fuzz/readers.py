"""Every reader of files from outside: what it reads, how its files are damaged, what a file that it takes must be."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets.clip_encoding import decode_count, decode_segment
from datasets.evaluation.protocol import EvaluationProtocol
from datasets.splits import read_list
from examples import drive_avatar
from models.audio.whisper import WhisperEncoder
from models.exports.arkit_pairs import find_pairs
from models.networks.loading import load_style_encoder, load_talker
from models.training.flags import TalkerRunConfig
from scripts_for_dataset.preparing.building import _check_treatment, read_report
from scripts_for_dataset.preparing.preparation import Treatment, read_head_rotations
from scripts_for_dataset.synthetic.corpus import read_rows
from scripts_for_dataset.synthetic.speech_plan import read_spoken
from tests.fuzz import seeds, sounds
from tests.fuzz.mutate import (
    Mutator,
    lying_zip,
    mutate_bytes,
    mutate_json,
    mutate_lines,
    mutate_member,
    mutate_npy,
    mutate_numbers,
    mutate_pickle,
    repeat_part,
)
from tests.support.tracker_files import import_motion
from utils.coefs import CoefStats
from utils.config import all_flags, read_values
from utils.errors import UserError
from utils.exports.arkit import ArkitTrack
from utils.heads.flame_pickle import load_mask_pickle
from utils.heads.head_file import load_head_file
from utils.heads.landmark_file import read_landmark_places
from utils.media.alignment import read_transcripts
from utils.media.audio import decode_flac_part, load_audio, stream_audio
from utils.media.input_list import read_inputs
from utils.media.live_audio import pcm_blocks, piped_blocks
from utils.media.sound_file import Track
from utils.motion_file import load_motion, load_shape, load_style
from utils.reading.array_file import read_npy, read_npz
from utils.rendering.head_paint import read_image
from utils.runs.grid import read_points
from utils.runs.kept_checkpoints import KeptCheckpoints
from utils.runs.run_log import drop_later_lines
from utils.speech import read_phones
from utils.trackers.arkit import read_track
from utils.trackers.to_motion import import_shape
from utils.training.run_config import _differences

_FLAGS = all_flags(TalkerRunConfig)
_BINARY = (mutate_bytes, mutate_numbers, mutate_numbers, repeat_part)
_ZIP = (mutate_member, mutate_member, lying_zip, mutate_bytes)
_ARRAYS = (mutate_member, lying_zip, mutate_npy, mutate_bytes, mutate_pickle)
_PICKLE = (mutate_pickle, mutate_pickle, mutate_bytes)
_TEXT = (mutate_lines, mutate_lines, mutate_bytes, repeat_part)
_TRACKER = (*_ARRAYS, *_TEXT, mutate_json)


@dataclass(frozen=True)
class Reader:
    """One way into the project."""

    name: str
    seeds: seeds.Seeds
    mutators: tuple[Mutator, ...]
    read: Callable[[Path], object]  # raises UserError, or checks what it read
    odd: Callable[[random.Random], bytes] | None = None  # whole files of odd content, for one input in four


def tries(*calls: Callable[[Path], object]) -> Callable[[Path], object]:
    """All of them on one file; if all refuse it, with the last one's UserError."""

    def read(path: Path) -> None:
        refusals = []
        for call in calls:
            try:
                call(path)
            except UserError as error:
                refusals.append(error)
        if len(refusals) == len(calls):
            raise refusals[-1]

    return read


def _motion(path: Path) -> None:
    motion = import_motion(path).motion
    assert motion.exp.shape == (len(motion), 50) and motion.pose.shape == (len(motion), 6)
    assert np.isfinite(motion.exp).all() and np.isfinite(motion.pose).all()


def _own_motion(path: Path) -> None:
    motion = load_motion(path)
    assert motion.exp.shape == (len(motion), 50) and np.isfinite(motion.pose).all()


def _frames(path: Path) -> None:
    """The file as the middle one of three frames' files."""
    folder = path.with_name("frames")
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number:05d}{path.suffix}" for number in range(3)]
    for file in files:
        shutil.copyfile(path, file)
    try:
        _motion(folder)
    finally:
        for file in files:
            file.unlink()


def _style(path: Path) -> None:
    assert load_style(path, 8).shape == (8,)


def _shape(path: Path) -> None:
    assert load_shape(path).shape == (100,)


def _stats(path: Path) -> None:
    assert np.isfinite(CoefStats.load(path).exp_mean.numpy()).all()


def _style_encoder(path: Path) -> None:
    assert not load_style_encoder(path)[0].training


def _talker(path: Path) -> None:
    assert not load_talker(path)[0].training


def _head(path: Path) -> None:
    head = load_head_file(path)
    assert np.isfinite(head.v_template).all() and head.faces.max(initial=0) < head.n_vertices
    assert all(mask.shape == (head.n_vertices,) for mask in head.masks.values())


def _pairs(path: Path) -> None:
    head = load_head_file(None)
    found = find_pairs(head, head, path)
    assert max(found.open_vertices.max(), found.head_vertices.max()) < head.n_vertices


def _landmarks(path: Path) -> None:
    head = load_head_file(None)
    places = read_landmark_places(path, head)
    assert np.isfinite(places.points(head)).all() and places.known.any()


def _value(path: Path) -> None:
    data = path.read_bytes()
    if path.suffix == ".meta":
        assert min(decode_count(data, name, "x") for name in ("n_frames", "seg_len")) >= 1
        return
    segment = decode_segment(data, "x")
    assert segment.coefs["exp"].shape == (segment.n_frames, 50)
    audio, total = decode_flac_part(segment.flac, 0, 640)
    assert len(audio) <= total


def _flac(path: Path) -> None:
    data = path.read_bytes()
    whole, total = decode_flac_part(data, 0, None)
    assert len(whole) <= total
    decode_flac_part(data, 100, 300)


def _sound(path: Path) -> None:
    assert sum(piece.size for piece in stream_audio(path)) > 0
    assert load_audio(path, max_seconds=60).ndim == 1


def _piped(path: Path) -> None:
    data = io.BytesIO(path.read_bytes())
    data.seekable = lambda: False  # as a pipe
    assert all(block.size for block in piped_blocks(data, 44_100, Track(path)))


def _pcm(path: Path) -> None:
    with path.open("rb") as source:
        assert all(block.size for block in pcm_blocks(source, 44_100))


def _inputs(path: Path) -> None:
    found = read_inputs(path)
    assert len({one.name for one in found}) == len(found) > 0
    assert not any("/" in one.name for one in found)
    for one in found[:20]:
        try:
            next(stream_audio(one.path))
        except UserError:
            continue


def _list(path: Path) -> None:
    assert not any(".." in clip.split("/") for clip in read_list(path))


def _records(path: Path) -> None:
    """The project's small JSON files, each under its own name; what is damaged counts as absent, or is said."""
    folder = path.with_name("run")
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    for name in ("checkpoints/best.json", "config.json", "preparation.json", "treatment.json"):
        shutil.copyfile(path, folder / name)
    KeptCheckpoints(folder).is_best(1.0)
    KeptCheckpoints(folder, keep_last=1).prune()
    KeptCheckpoints(folder).set_best(1, 0.5, True)
    _differences(folder, {"train": {"lr": 0.1}})
    with contextlib.suppress(UserError):  # said, as when a test takes its run's flags
        read_values(folder / "config.json", _FLAGS, some=True)
    assert set(read_report(folder)) in (set(), {"clips", "head_models"})
    _check_treatment(folder, Treatment())


def _protocol(path: Path) -> None:
    """The clips of an evaluation, and a sweep's grid."""
    protocol = EvaluationProtocol.read(path)
    assert protocol.clips and all(min(one.frames, one.style_start, one.seed) >= 0 for one in protocol.clips)
    protocol.check(protocol.split, {"ann/000": 130, "ann/001": 250}, path)


def _log(path: Path) -> None:
    copy = path.with_name("metrics.jsonl")
    shutil.copyfile(path, copy)
    drop_later_lines(copy, 1)


def _rows(path: Path) -> None:
    folder = path.with_name("speech") / "voice"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "part_000.opus").touch()
    shutil.copyfile(path, folder / "part_000.jsonl")
    tries(lambda _: read_rows(folder.parent), lambda _: read_spoken(folder.parent))(path)


def _avatar(path: Path) -> None:
    track = ArkitTrack(np.zeros((2, 52), np.float32), np.zeros((2, 9), np.float32), 25.0)
    assert drive_avatar.drive(path, track, path.with_name("out.glb"), "neck")


def _track(path: Path) -> None:
    track = read_track(path)
    assert track.weights.shape == (len(track), 52) and track.angles.shape == (len(track), 9)
    assert np.isfinite(track.weights).all() and np.isfinite(track.angles).all() and (np.diff(track.times) >= 0).all()
    tries(_motion)(path)


def _picture(path: Path) -> None:
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape[2] == 3


READERS = (
    Reader(
        "tracker",
        seeds.tracker_files,
        (*_ARRAYS, *_TEXT, mutate_json),
        tries(_motion, import_shape, _frames),
        seeds.odd_npz,
    ),
    Reader("motion", seeds.motion_files, _ARRAYS, tries(_own_motion, _shape, _style), seeds.odd_npz),
    Reader("rotations", seeds.rotation_files, _ARRAYS, lambda path: read_head_rotations(path, 3), seeds.odd_npz),
    Reader("arrays", seeds.motion_files, _ARRAYS, tries(read_npy, read_npz)),
    Reader("statistics", seeds.stats_files, _ZIP, _stats),
    Reader("style_encoder", seeds.style_encoders, _ZIP, _style_encoder),
    Reader("talker", seeds.talkers, _ZIP, _talker),
    Reader(
        "flame_pickle",
        seeds.flame_pickles,
        (mutate_pickle, mutate_pickle, mutate_bytes),
        tries(_head, load_mask_pickle),
    ),
    Reader("head", seeds.head_files, _ZIP, _head),
    Reader("pairs", seeds.pair_files, _ZIP, _pairs),
    Reader("landmarks", seeds.landmark_files, _ARRAYS, _landmarks, seeds.odd_npz),
    Reader("open_head", seeds.packed_heads, (mutate_member,), _head),
    Reader("lmdb_value", seeds.store_values, (mutate_pickle, *_BINARY), _value, seeds.odd_value),
    Reader("data_set_audio", sounds.flacs, _BINARY, _flac),
    Reader("audio", sounds.sounds, _BINARY, _sound),
    Reader("piped_audio", sounds.sounds, _BINARY, _piped),
    Reader("pcm", sounds.flacs, _BINARY, _pcm),
    Reader("picture", seeds.pictures, _BINARY, _picture),
    Reader("weights", seeds.weights, (*_BINARY, mutate_json), WhisperEncoder.load),
    Reader("split_list", seeds.lists, _TEXT, _list),
    Reader("input_list", seeds.lists, _TEXT, _inputs),
    Reader("phones", seeds.json_lines, (mutate_json, *_TEXT), tries(read_phones, _rows)),
    Reader("metrics_log", seeds.json_lines, (mutate_json, *_TEXT), _log),
    Reader("records", seeds.json_files, (mutate_json, mutate_json, mutate_bytes), _records),
    Reader("protocol", seeds.protocols, (mutate_json, mutate_json, mutate_bytes), tries(_protocol, read_points)),
    Reader("livelink", seeds.arkit_files, (mutate_json, *_TEXT), _track),
    Reader("transcripts", seeds.tables, _TEXT, read_transcripts),
    Reader("avatar", seeds.avatars, (*_BINARY, mutate_json), _avatar),
)


def make_input(reader: Reader, corpus: list[seeds.Seed], run: int, index: int) -> seeds.Seed:
    """Input `index` of a run: the first ones are the whole files, then one in twelve is made of nothing."""
    if index < len(corpus):
        return corpus[index]
    rng = random.Random(f"{run} {reader.name} {index}")
    chosen = rng.choice(corpus)
    if reader.odd is not None and rng.random() < 0.25:
        return seeds.Seed(chosen.suffix if chosen.suffix in (".seg", ".meta") else ".npz", reader.odd(rng))
    if rng.random() < 0.08:
        return seeds.Seed(chosen.suffix, seeds.from_nothing(rng))
    data = chosen.data
    for _ in range(rng.choice((1, 1, 1, 2))):
        data = rng.choice(reader.mutators)(data, rng) if data else rng.randbytes(4)
    suffix = rng.choice(corpus).suffix if rng.random() < 0.05 else chosen.suffix
    return seeds.Seed(suffix, data)
