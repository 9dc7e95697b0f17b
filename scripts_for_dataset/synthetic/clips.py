"""One planned clip -> augmented audio and the motion that goes with it; its phones, and a second take for evaluations.

All of it follows from the plan alone: phones and second takes can be added to an existing data set.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from scripts_for_dataset.synthetic.augment import AugmentConfig, augment, draw_factor, resample_speech, set_peak
from scripts_for_dataset.synthetic.corpus import Row, load_sentence
from scripts_for_dataset.synthetic.ipa import join_silence
from scripts_for_dataset.synthetic.motion import Speech, speech_motion
from scripts_for_dataset.synthetic.plan import Speaker
from scripts_for_dataset.synthetic.style import vary_style
from utils.motion_file import Motion
from utils.speech import Phone
from utils.timebase import SAMPLE_RATE, samples_per_frame

_LEVEL = 0.06  # RMS that every sentence is set to before joining: voices differ in level
_SECOND_TAKE = 1
_LONG_SHARE, _LONG_PAUSE = 0.04, (4.0, 10.0)  # share of the pauses in which the person listens or thinks; seconds


def join_sentences(rows: tuple[Row, ...], rng: np.random.Generator) -> Speech:
    """Sentences of one voice with pauses between them, beside their own silence."""
    pieces, phones, now = [], [], 0
    for k, row in enumerate(rows):
        audio, own = load_sentence(row)
        audio = audio * (_LEVEL / (np.sqrt(np.mean(audio**2)) + 1e-6))
        if k:
            pause = int(SAMPLE_RATE * pause_seconds(rng))
            pieces.append(np.zeros(pause, np.float32))
            phones.append(("sil", now / SAMPLE_RATE, (now + pause) / SAMPLE_RATE))
            now += pause
        pieces.append(audio)
        phones += [(phone, now / SAMPLE_RATE + start, now / SAMPLE_RATE + end) for phone, start, end in own]
        now += len(audio)
    return Speech(np.concatenate(pieces), join_silence(phones))


def pause_seconds(rng: np.random.Generator) -> float:
    """Log-normal, about 0.1 to 1.5 s; a few last many seconds, so that a network also sees a face that says nothing."""
    if rng.random() < _LONG_SHARE:
        return rng.uniform(*_LONG_PAUSE)
    return float(np.clip(np.exp(rng.normal(-1.2, 0.7)), 0.05, 2.0))


def make_clips(
    speaker: Speaker, shape: np.ndarray, close_factor: float, config: AugmentConfig | None
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yield (audio (640 n,) float32, {"shape" (n, 100), "exp" (n, 50), "pose" (n, 6)}) of every clip of a speaker.

    Deterministic for `speaker.seed`; `config` None leaves the audio clean.
    """
    for number in range(len(speaker.clips)):
        speech, rng = clip_speech(speaker, number, config)
        motion = speech_motion(speech, vary_style(speaker.style, rng), rng, close_factor)
        n_samples = speech.n_frames * samples_per_frame()
        audio = speech.audio[:n_samples]
        audio = set_peak(audio, -3.0) if config is None else augment(audio, config, rng)
        motion["shape"] = np.broadcast_to(shape, (speech.n_frames, len(shape)))
        yield audio, motion


def clip_speech(speaker: Speaker, number: int, config: AugmentConfig | None) -> tuple[Speech, np.random.Generator]:
    """Speech of a clip at its final speed, before rooms and noise, and the generator that its motion is drawn from."""
    rng = np.random.default_rng([speaker.seed, number])
    speech = join_sentences(speaker.clips[number], rng)
    factor = 1.0 if config is None else draw_factor(config, rng)
    return (speech if factor == 1.0 else Speech(*resample_speech(speech.audio, speech.phones, factor))), rng


def speaker_phones(speaker: Speaker, config: AugmentConfig | None) -> list[list[Phone]]:
    """Phones of every clip of a speaker, in seconds of the clip."""
    clips = (clip_speech(speaker, number, config)[0] for number in range(len(speaker.clips)))
    return [[Phone(*phone) for phone in speech.phones] for speech in clips]


def second_takes(
    speaker: Speaker, shape: np.ndarray, close_factor: float, config: AugmentConfig | None
) -> Iterator[Motion]:
    """The same speech in the same style again: every clip's motion with other random numbers.

    The distance between two takes is, on average, the least error of any model that does not know those numbers.
    """
    for number in range(len(speaker.clips)):
        speech, _ = clip_speech(speaker, number, config)
        rng = np.random.default_rng([speaker.seed, number, _SECOND_TAKE])
        motion = speech_motion(speech, vary_style(speaker.style, rng), rng, close_factor)
        yield Motion(motion["exp"], motion["pose"], shape)
