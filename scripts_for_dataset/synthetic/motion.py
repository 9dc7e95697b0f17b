"""Speech with phone times + a style -> the face: expression and pose at 25 fps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts_for_dataset.synthetic import arkit
from scripts_for_dataset.synthetic.gaze import aversions, gaze_angles
from scripts_for_dataset.synthetic.head_motion import head_motion, smooth_noise
from scripts_for_dataset.synthetic.nonverbal import add_brows, add_eyes, blink_curve, blink_times, brow_curve
from scripts_for_dataset.synthetic.pauses import breaths, presses
from scripts_for_dataset.synthetic.prosody import Accents, analyse, find_accents, vowel_loudness
from scripts_for_dataset.synthetic.style import SpeakerStyle
from scripts_for_dataset.synthetic.visemes import BREATH, CHANNEL, CHANNELS, mouth_curves, segments
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.timebase import FPS, samples_per_frame

_CROOKED = 0.04  # mouthSmile, twice on the higher side, of a mouth at asymmetry 1
_PAUSE = 0.25  # seconds of silence that end a phrase
_BREATH = (
    ("mouthLowerDown", BREATH.mouthLowerDown),
    ("mouthUpperUp", BREATH.mouthUpperUp),
    ("browInnerUp", 0.05),
    ("noseSneer", 0.04),
)
_ONE_SIDED = ("jawForward", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower",
              "mouthShrugUpper")  # fmt: skip

Phones = list[tuple[str, float, float]]


@dataclass(frozen=True)
class Speech:
    """Clean mono 16 kHz audio (n,) with its phones: (ARPAbet or "sil", start, end) in seconds."""

    audio: np.ndarray
    phones: Phones

    @property
    def n_frames(self) -> int:
        return len(self.audio) // samples_per_frame()


def find_phrases(phones: Phones) -> list[tuple[float, float]]:
    """(start, end) of the stretches of speech between silences of at least 0.25 s."""
    phrases: list[list[float]] = []
    for phone, start, end in phones:
        if phone == "sil":
            continue
        if phrases and start - phrases[-1][1] < _PAUSE:
            phrases[-1][1] = end
        else:
            phrases.append([start, end])
    return [(start, end) for start, end in phrases]


def speech_motion(
    speech: Speech, style: SpeakerStyle, rng: np.random.Generator, close_factor: float = 1.0
) -> dict[str, np.ndarray]:
    """Face motion that goes with `speech`; deterministic for a seeded `rng`.

    Args:
        close_factor: mouthClose per jawOpen that shuts this identity's lips (`identity.close_factor`).

    Returns:
        {"exp": (n, 50) ARKit units, "pose": (n, 6) radians: head rotation ++ jaw rotation}, n = floor(25 s), float32.
    """
    n = speech.n_frames
    prosody = analyse(speech.audio)
    accents = find_accents(prosody, speech.phones)
    phrases = find_phrases(speech.phones)
    effort = 1 + style.expressiveness * vowel_loudness(prosody, speech.phones)
    curves, closure = mouth_curves(segments(speech.phones, effort), n, style)

    motion = arkit.neutral(n)
    motion["pose"][:, :3] = head_motion(n, prosody, accents, phrases, style, rng)
    _add_upper_face(motion, accents, phrases, style, rng)
    breath, press = style.breath * breaths(n, phrases), presses(n, phrases, rng)
    jaw = curves[:, CHANNEL["jawOpen"]] + BREATH.jawOpen * breath
    closure = np.maximum(closure, press)
    _add_mouth(motion["exp"], curves, closure, _mood(curves, style, rng), style)
    _add_pauses(motion["exp"], breath * (1 - closure), press)
    motion["exp"][:, arkit.unit("mouthClose")] = close_factor * closure * jaw
    motion["pose"][:, 3] = jaw * JAW_OPEN_RADIANS
    np.clip(motion["exp"], 0, 1, out=motion["exp"])
    return motion


def _add_upper_face(
    motion: dict[str, np.ndarray], accents: Accents, phrases: list[tuple[float, float]], style: SpeakerStyle,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Gaze, lids and brows into motion["exp"] in place; the head's motion must be in it."""
    n = len(motion["exp"])
    looks = aversions(phrases, style, rng)
    gaze = gaze_angles(n, motion["pose"][:, :3], looks, style, rng)
    shifts = np.array([edge for look in looks for edge in (look.start, look.end)])
    add_eyes(motion["exp"], gaze, blink_curve(n, blink_times(phrases, n / FPS, style, rng, shifts)), style)
    add_brows(motion["exp"], brow_curve(n, accents, style), style, rng)


def _add_pauses(exp: np.ndarray, breath: np.ndarray, press: np.ndarray) -> None:
    """Write breaths (lips part, brows and nostrils lift a little) and pressed lips, both (n,), into exp in place."""
    for name, size in _BREATH:
        arkit.add(exp, name, size * breath)
    for name, size in (("mouthPress", 0.3), ("mouthRollLower", 0.14), ("mouthRollUpper", 0.08), ("mouthDimple", 0.06)):
        arkit.add(exp, name, size * press)


def _mood(curves: np.ndarray, style: SpeakerStyle, rng: np.random.Generator) -> np.ndarray:
    """(n,) lasting smile (or frown, negative) that breathes slowly and yields to rounding and to a wide open jaw."""
    slow = 1 + 0.22 * smooth_noise(len(curves), 0.18, rng)
    rounded = curves[:, CHANNEL["mouthPucker"]] + 0.5 * curves[:, CHANNEL["mouthFunnel"]]
    return style.smile * slow * np.clip(1 - 0.6 * rounded - 0.25 * curves[:, CHANNEL["jawOpen"]], 0.2, 1.2)


def _add_mouth(exp: np.ndarray, curves: np.ndarray, closure: np.ndarray, mood: np.ndarray, style: SpeakerStyle) -> None:
    """Write articulation and mood into exp (n, 50) in place."""
    yielding = np.clip(1 - 2.5 * np.abs(mood), 0.2, 1)  # a smile or a frown presses the lips already
    for name in CHANNELS[1:]:
        size = curves[:, CHANNEL[name]] * (yielding if name == "mouthPress" else 1)
        arkit.add(exp, name, size, 0.0 if name in _ONE_SIDED else style.asymmetry)
    smile, frown = np.maximum(mood, 0), np.maximum(-mood, 0)
    part = 1 - closure  # a smile bares the teeth, but not through shut lips
    arkit.add(exp, "mouthSmile", smile, 0.6 * style.asymmetry)
    arkit.add(exp, "mouthSmile", _CROOKED * abs(style.asymmetry), np.sign(style.asymmetry))
    arkit.add(exp, "mouthDimple", 0.2 * smile)
    arkit.add(exp, "mouthUpperUp", 0.12 * smile * part)
    arkit.add(exp, "cheekSquint", 0.5 * exp[:, arkit.unit("mouthSmileLeft")])
    arkit.add(exp, "mouthFrown", 1.2 * frown)
    arkit.add(exp, "mouthShrugLower", 0.5 * frown)
