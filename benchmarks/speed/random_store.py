"""A data set of random speech-like clips of a minute each, for the benchmarks of data and of the style encoder."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from datasets.clip_store import ClipStore, ClipWriter
from datasets.crops import usable_clips
from utils.coefs import DIMS, CoefLayout, CoefStats, MotionCodec
from utils.media.audio import encode_flac
from utils.timebase import FPS, SAMPLE_RATE, samples_per_frame

SECONDS = 60


def write_random_store(folder: Path, persons: int, seconds: float = SECONDS) -> ClipStore:
    """One clip per person. The audio is noise under a speech-like envelope: FLAC takes about as long as for speech."""
    random = np.random.default_rng(0)
    n_frames = int(seconds * FPS)
    with ClipWriter(folder, 100) as writer:
        for person in range(persons):
            coefs = {name: random.standard_normal((n_frames, width)).astype(np.float32) for name, width in DIMS.items()}
            writer.add_clip(f"person{person:03d}/000", speech_like_noise(random, n_frames * samples_per_frame()), coefs)
    return ClipStore(folder)


def write_random_files(folder: Path, n_clips: int) -> None:
    """What a data set is made from: `coefs/<person>/000.npz` (SPECTRE's layout) and `audio/<person>/000.wav`."""
    random, n = np.random.default_rng(0), SECONDS * FPS
    for i in range(n_clips):
        coefs, audio = folder / f"coefs/p{i:03d}/000.npz", folder / f"audio/p{i:03d}/000.wav"
        coefs.parent.mkdir(parents=True)
        audio.parent.mkdir(parents=True)
        exp, pose = (0.1 * random.standard_normal((n, width)).astype(np.float32) for width in (50, 6))
        np.savez(coefs, exp=exp, pose=pose * [1, 1, 1, 1, 0, 0], shape=np.zeros(100), fps=FPS)
        soundfile.write(audio, speech_like_noise(random, SECONDS * SAMPLE_RATE), SAMPLE_RATE)


def as_published(store: ClipStore, folder: Path) -> ClipStore:
    """The same data set with pickled values, in a folder that is made."""
    import lmdb

    folder.mkdir(exist_ok=True)
    with lmdb.open(str(folder), map_size=4 << 30) as out, out.begin(write=True) as transaction:
        transaction.put(b"metadata", pickle.dumps({"seg_len": store.seg_len}))
        for clip in store.clips():
            n_frames = store.n_frames(clip)
            transaction.put(f"{clip}/metadata".encode(), pickle.dumps({"n_frames": n_frames}))
            for index, low in enumerate(range(0, n_frames, store.seg_len)):
                frames = store.read_frames(clip, low, min(low + store.seg_len, n_frames))
                value = {"audio": encode_flac(frames.audio), "coef": frames.coefs}
                transaction.put(f"{clip}/{index:03d}".encode(), pickle.dumps(value))
    return ClipStore(folder)


def random_items(store: ClipStore, n_frames: int, seed: int = 0) -> Iterator[tuple[str, int]]:
    """Clip and first frame of an item, forever."""
    random, lengths = np.random.default_rng(seed), usable_clips(store, store.clips(), n_frames)
    clips = list(lengths)
    while True:
        clip = clips[random.integers(len(clips))]
        yield clip, int(random.integers(lengths[clip] - n_frames + 1))


def speech_like_noise(random: np.random.Generator, n: int) -> np.ndarray:
    """(n,) between -1 and 1."""
    time = np.arange(n) / SAMPLE_RATE
    envelope = np.clip(np.sin(2 * np.pi * 3 * time) + np.sin(2 * np.pi * 0.4 * time), 0, None)
    coloured = np.convolve(random.standard_normal(n), np.ones(8) / 8, "same")
    return (0.1 * envelope * coloured).clip(-1, 1).astype(np.float32)


def identity_codec(head_pose: bool = True) -> MotionCodec:
    """For data that are random anyway."""
    return MotionCodec(CoefLayout(head_pose), CoefStats.identity())
