"""espeak-ng through its C library: audio and exact phone events (the engine is GPL-3; its speech is free)."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools

import numpy as np

from scripts_for_dataset.synthetic.engines import plain_text, to_16k
from scripts_for_dataset.synthetic.foreign_script import native_text
from scripts_for_dataset.synthetic.ipa import Timed, from_espeak, join_silence
from utils.errors import UserError
from utils.media.audio import FULL_SCALE

_SYNCHRONOUS, _PHONEME_EVENTS, _DONT_EXIT = 2, 0x0001, 0x8000
_RATE_PARAMETER, _PITCH_PARAMETER, _PHONEME_EVENT = 1, 3, 7
_SWALLOWED = frozenset({"l", "r", "n", "m", "ng", "ax", "er"})
ESPEAK_LANGUAGES = {"cmn-latn-pinyin": "Mandarin", "ja": "Japanese", "hi": "Hindi"}
_STOPS = frozenset({"p", "b", "t", "d", "k", "g", "ch", "jh"})


class _Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Identity),
    ]  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _Engine:
    """One library instance per process; collects samples and events of the sentence being spoken."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise UserError("espeak-ng: library not found; install it with `apt-get install espeak-ng` or leave it out")
        self._library = ctypes.CDLL(name)
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _DONT_EXIT)
        self._samples: list[np.ndarray] = []
        self._events: list[tuple[str, int]] = []
        self._callback = _CALLBACK(self._collect)  # kept: the library holds only a pointer
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, wave, n_samples: int, events) -> int:
        if wave and n_samples > 0:
            self._samples.append(np.ctypeslib.as_array(wave, (n_samples,)).copy())
        k = 0
        while events[k].type:
            if events[k].type == _PHONEME_EVENT:
                self._events.append((events[k].id.string.decode("utf-8", "ignore"), events[k].sample))
            k += 1
        return 0

    def speak(self, voice: str, text: str, rate: int, pitch: int) -> tuple[np.ndarray, Timed]:
        self._samples, self._events = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise UserError(f"espeak-ng: has no voice {voice}; see `espeak-ng --voices`")
        self._library.espeak_SetParameter(_RATE_PARAMETER, rate, 0)
        self._library.espeak_SetParameter(_PITCH_PARAMETER, pitch, 0)
        language = ESPEAK_LANGUAGES.get(voice.split("+")[0], "")
        data = native_text(language, plain_text(text)).encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, 1, None, None)
        if not self._samples:
            raise UserError(f"espeak-ng: said nothing for {text[:40]!r}; check its installation")
        audio = np.concatenate(self._samples).astype(np.float32) / FULL_SCALE
        events = [(name, at) for name, at in self._events if not (language and name == "_|")]  # between syllables
        times = [sample / self.rate for _, sample in events] + [len(audio) / self.rate]
        phones = [from_espeak(name, bool(language)) for name, _ in events]
        return audio, [(phone, times[k], times[k + 1]) for k, phone in enumerate(phones)]


@functools.lru_cache(maxsize=1)
def _engine() -> _Engine:
    return _Engine()


def espeak(voice: str, text: str, speed: float = 1.0, pitch: int = 50) -> tuple[np.ndarray, Timed]:
    """espeak-ng (formant synthesis, many voices). `voice` as in `espeak-ng -v`, with its variant: en-us+f1."""
    engine = _engine()
    audio, phones = engine.speak(voice, text, int(165 * speed), pitch)
    phones = closures_from_sound(audio, engine.rate, give_time_to_swallowed(phones))
    return to_16k(audio, engine.rate), join_silence(phones)


def give_time_to_swallowed(phones: Timed) -> Timed:
    """Sonorants without time of their own take the last 40 % of the vowel before; other empty phones are dropped."""
    kept: list[tuple[str, float, float]] = []
    for phone, start, end in phones:
        if end - start >= 1e-4:
            kept.append((phone, start, end))
        elif phone in _SWALLOWED and kept and kept[-1][2] - kept[-1][1] > 0.08:
            name, first, last = kept[-1]
            border = last - 0.4 * (last - first)
            kept[-1:] = [(name, first, border), (phone, border, last)]
    return kept


def closures_from_sound(audio: np.ndarray, rate: int, phones: Timed) -> Timed:
    """Stop events fire at the burst: move their start back over the near-silence (below 3 % of the peak) before it."""
    moved = list(phones)
    quiet, hop = 0.03 * np.abs(audio).max(), max(1, int(0.0025 * rate))
    for k in range(1, len(moved)):
        phone, start, end = moved[k]
        if phone not in _STOPS:
            continue
        name, first, _ = moved[k - 1]
        burst = at = int(start * rate)
        while at - hop > int((first + 0.02) * rate) and np.abs(audio[at - hop : at]).max() < quiet:
            at -= hop
        if burst - at >= 2 * hop:
            moved[k - 1], moved[k] = (name, first, at / rate), (phone, at / rate, end)
    return moved
