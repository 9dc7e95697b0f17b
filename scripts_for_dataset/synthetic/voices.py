"""The voices that the project can synthesise, and one sentence of any of them with padding and phones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scripts_for_dataset.synthetic.engines import festival, flite, hibari
from scripts_for_dataset.synthetic.espeak import ESPEAK_LANGUAGES, espeak
from scripts_for_dataset.synthetic.foreign import LANGUAGES
from scripts_for_dataset.synthetic.ipa import Timed, join_silence
from scripts_for_dataset.synthetic.kokoro import DEFAULT_FOLDER as KOKORO_FOLDER
from scripts_for_dataset.synthetic.kokoro import kokoro
from utils.errors import UserError
from utils.timebase import SAMPLE_RATE

_ENGINES = {"flite": flite, "festival": festival, "hibari": hibari, "espeak": espeak, "kokoro": kokoro}
ENGLISH = "English"


@dataclass(frozen=True)
class Voice:
    """`<engine>-<name>`, its share of the speech (1 for all training voices), and its range of speaking rates."""

    engine: str
    name: str
    share: float
    speed: tuple[float, float] = (1.0, 1.0)
    folder: Path | None = None  # of the engine's own files, where it has some

    @property
    def label(self) -> str:
        return f"{self.engine}-{self.name.replace('/', '_')}"

    @property
    def language(self) -> str:
        """English, or a value of `foreign.LANGUAGES`."""
        if self.engine == "espeak":
            return ESPEAK_LANGUAGES.get(self.name.split("+")[0], ENGLISH)
        return LANGUAGES.get(self.name[0], ENGLISH) if self.engine == "kokoro" else ENGLISH

    @property
    def names(self) -> set[str]:
        """What --voices can call it; English is not one of them, and an engine's name means its English voices."""
        return {self.label, self.engine if self.language == ENGLISH else self.language}


_ESPEAK_NAMES = (
    "en-us", "en-us+f1", "en-us+f2", "en-us+f4", "en-us+m1", "en-us+m3", "en-us+m7", "gmw/en-029+f2", "gmw/en-029+m5",
    "gmw/en-GB-x-rp", "gmw/en-GB-x-rp+f5", "gmw/en-GB-x-rp+m2",
)  # fmt: skip
_KOKORO_NAMES = (
    "af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nicole", "af_nova", "af_river",
    "af_sky", "am_adam", "am_echo", "am_eric", "am_fenrir", "am_michael", "am_puck", "am_santa", "bf_alice", "bf_emma",
    "bf_isabella", "bf_lily", "bm_daniel", "bm_fable", "bm_george",
)  # fmt: skip
_KOKORO_HELD = ("af_sarah", "am_liam", "am_onyx", "bm_lewis")
# The voices kept for testing come on top of the training voices' mix: enough for a few clips of each.
_HELD_SHARE = 0.008
VOICES: tuple[Voice, ...] = (
    *(Voice("kokoro", name, 0.35 / len(_KOKORO_NAMES), (0.85, 1.2)) for name in _KOKORO_NAMES),
    *(Voice("kokoro", name, _HELD_SHARE, (0.85, 1.2)) for name in _KOKORO_HELD),
    *(Voice("flite", name, 0.25 / 3, (0.9, 1.15)) for name in ("rms", "slt", "awb")),
    Voice("hibari", "heart", 0.20, (0.85, 1.2)),
    *(Voice("festival", name, 0.05, (0.9, 1.15)) for name in ("cmu_us_slt_arctic_hts", "ked_diphone")),
    Voice("festival", "kal_diphone", 2 * _HELD_SHARE, (0.9, 1.15)),
    *(Voice("espeak", name, 0.10 / len(_ESPEAK_NAMES), (0.85, 1.15)) for name in _ESPEAK_NAMES),
)
_FOREIGN_NAMES = (
    "zf_xiaobei", "zf_xiaoni", "zf_xiaoxiao", "zf_xiaoyi", "zm_yunjian", "zm_yunxi", "zm_yunxia", "zm_yunyang",
    "jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo", "hf_alpha", "hf_beta", "hm_omega", "hm_psi",
)  # fmt: skip
# Mandarin, Japanese and Hindi: only on request, by name or by language.
FOREIGN_VOICES = (
    *(Voice("kokoro", name, 0.01, (0.85, 1.2)) for name in _FOREIGN_NAMES),
    *(
        Voice("espeak", f"{language}+{variant}", 0.005, (0.8, 1.15))
        for language in ESPEAK_LANGUAGES
        for variant in ("f1", "f2", "f4", "m1", "m3", "m7")
    ),
)


def find_voices(labels: Sequence[str] | None, kokoro_folder: Path = KOKORO_FOLDER) -> list[Voice]:
    """Voices by label, engine or language; all English ones for None. `kokoro_folder` holds Kokoro's model.

    Raises:
        UserError: an unknown label.
    """
    known = VOICES if not labels else (*VOICES, *FOREIGN_VOICES)
    voices = [replace(voice, folder=kokoro_folder) if voice.engine == "kokoro" else voice for voice in known]
    if not labels:
        return voices
    chosen = [voice for voice in voices if voice.names & set(labels)]
    unknown = set(labels).difference(*(voice.names for voice in chosen))
    if unknown:
        raise UserError(
            f"--voices {', '.join(sorted(unknown))}: unknown; engines: {', '.join(_ENGINES)}; "
            f"languages: {', '.join(LANGUAGES.values())}"
        )
    return chosen


def say(voice: Voice, text: str, rng: np.random.Generator) -> tuple[np.ndarray, Timed, float]:
    """One sentence: audio (n,) float32 at 16 kHz with 0.2 to 0.4 s of silence around, phones, and its speed.

    Raises:
        UserError: the engine is not installed, or fails.
    """
    speed = round(float(rng.uniform(*voice.speed)), 3)
    files = {} if voice.folder is None else {"folder": voice.folder}
    audio, phones = _ENGINES[voice.engine](voice.name, text, speed, **files)
    return *pad(audio, phones, rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.4)), speed


def pad(audio: np.ndarray, phones: Timed, before: float, after: float) -> tuple[np.ndarray, Timed]:
    """Silence (seconds) around a sentence; the phones move along and cover the whole of the result."""
    left, right = int(before * SAMPLE_RATE), int(after * SAMPLE_RATE)
    padded = np.pad(np.asarray(audio, np.float32), (left, right))
    start, spoken = left / SAMPLE_RATE, len(audio) / SAMPLE_RATE
    inside = [(phone, min(a, spoken), min(b, spoken)) for phone, a, b in phones]
    moved = [(phone, start + a, start + b) for phone, a, b in inside if b - a > 1e-4]
    first, last = (moved[0][1], moved[-1][2]) if moved else (start, start)
    return padded, join_silence([("sil", 0.0, first), *moved, ("sil", last, len(padded) / SAMPLE_RATE)])
