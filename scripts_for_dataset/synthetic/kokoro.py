"""Kokoro-82M, a neural text-to-speech model with many voices: 16 kHz audio and the times of its phones.

A duration predictor gives every input symbol a length in frames of 25 ms (the model follows StyleTTS 2). The graph made
by `setup.build_kokoro` returns these lengths beside the audio: the phone times are those that the audio was made with.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts_for_dataset.synthetic.engines import NEURAL_RATE, neural_phones, plain_text, to_16k
from scripts_for_dataset.synthetic.foreign import LANGUAGES, foreign_symbols
from scripts_for_dataset.synthetic.ipa import ENGLISH, FOREIGN, Timed
from utils.errors import UserError

DEFAULT_FOLDER = Path(".cache/kokoro")
MODEL, VOCAB = "model.onnx", "vocab.json"
DURATIONS = "/encoder/Clip_output_0"  # rounded, clipped duration of every input symbol in 25 ms frames
_SHIFT = -0.050  # seconds; measured: the durations run late against the sound
_MOST_SYMBOLS, _STYLE_SIZE = 509, 256  # a voice has one style vector for each number of symbols
_HOW = "make it with `python -m setup.build_kokoro` (see its --help), or leave the Kokoro voices out"


def voice_file(name: str) -> str:
    """Path of a voice's style table below the Kokoro folder."""
    return f"voices/{name}.bin"


@dataclass(frozen=True)
class KokoroModel:
    """Session of the graph with durations, symbol table, and text-to-symbols for British and American voices."""

    folder: Path
    session: Any
    vocab: dict[str, int]

    def say(self, voice: str, symbols: str, speed: float) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Audio (n,) at 24 kHz, the symbols with "^" and "$" around them, and their durations in frames.

        Raises:
            UserError: the sentence is too long, or has nothing that can be spoken.
        """
        known = [symbol for symbol in symbols if symbol in self.vocab]
        if not 0 < len(known) <= _MOST_SYMBOLS:
            raise UserError(f"kokoro: {len(known)} phone symbols in a sentence; 1 to {_MOST_SYMBOLS} can be said")
        tokens = [0, *(self.vocab[symbol] for symbol in known), 0]
        inputs = {
            "tokens": np.array([tokens], np.int64),
            "style": voice_styles(self.folder, voice)[len(known)][None],
            "speed": np.array([speed], np.float32),
        }
        audio, durations = self.session.run(["audio", DURATIONS], inputs)
        return np.asarray(audio).ravel(), ["^", *known, "$"], np.asarray(durations).ravel()


@functools.lru_cache(maxsize=32)
def voice_styles(folder: Path, voice: str) -> np.ndarray:
    """Style vectors (510, 256) of a voice; row n is for sentences of n symbols."""
    path = folder / voice_file(voice)
    if not path.is_file():
        raise UserError(f"{path}: not found; {_HOW}")
    values = np.fromfile(path, np.float32)
    if values.size != (_MOST_SYMBOLS + 1) * _STYLE_SIZE:
        raise UserError(f"{path}: has {values.size} numbers, not 510 x 256; {_HOW}")
    return values.reshape(-1, _STYLE_SIZE)


@functools.lru_cache(maxsize=1)
def load_model(folder: Path) -> KokoroModel:
    """The model in `folder`, on one CPU thread (processes are the way to use more cores).

    Raises:
        UserError: a Python package or the folder is missing, or the model has no durations.
    """
    missing = [name for name in ("hibari", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"kokoro: {', '.join(missing)} not installed; `pip install hibari-tts onnxruntime` or leave it out"
        )
    for name in (MODEL, VOCAB):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: not found; {_HOW}")
    import onnxruntime  # pyright: ignore[reportMissingImports]  # optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
    if DURATIONS not in {output.name for output in session.get_outputs()}:
        raise UserError(f"{folder / MODEL}: has no output {DURATIONS}; {_HOW}")
    return KokoroModel(folder, session, json.loads((folder / VOCAB).read_text(encoding="utf-8"))["vocab"])


@functools.lru_cache(maxsize=2)
def _to_symbols(british: bool):
    from hibari.g2p import G2P  # pyright: ignore[reportMissingImports]  # optional

    return G2P(british=british)


def kokoro(voice: str, text: str, speed: float = 1.0, folder: Path = DEFAULT_FOLDER) -> tuple[np.ndarray, Timed]:
    """One sentence by a Kokoro voice (af_, am_: American; bf_, bm_: British; other first letters: foreign.LANGUAGES).

    Its silences at both ends are kept.
    """
    model = load_model(folder)
    if voice[0] in LANGUAGES:
        symbols, letters = foreign_symbols(LANGUAGES[voice[0]], text), FOREIGN
    else:
        symbols, letters = _to_symbols(voice.startswith("b"))(plain_text(text)), ENGLISH
    audio, spoken, durations = model.say(voice, symbols, speed)
    return to_16k(audio, NEURAL_RATE), neural_phones(spoken, durations, _SHIFT, letters)
