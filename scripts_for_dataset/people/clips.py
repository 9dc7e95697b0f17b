"""One clip of a person: recordings joined at rest, the mouth's size varied, head and eyes by rule, sound degraded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from datasets.clip_store import ClipStore
from models.tracking.carry import PRESSED, contact, opening_on, with_opening
from models.tracking.embedding import LandmarkHead
from scripts_for_dataset.people.plan import Take
from scripts_for_dataset.synthetic import arkit
from scripts_for_dataset.synthetic.augment import AugmentConfig, augment, draw_factor, resample_speech, set_peak
from scripts_for_dataset.synthetic.gaze import aversions, gaze_angles
from scripts_for_dataset.synthetic.head_motion import head_motion
from scripts_for_dataset.synthetic.motion import Phones, find_phrases
from scripts_for_dataset.synthetic.nonverbal import add_eyes
from scripts_for_dataset.synthetic.prosody import RATE, Prosody, analyse, find_accents, smooth
from scripts_for_dataset.synthetic.style import SpeakerStyle, named_style, sample_style
from utils.coefs import N_SHAPE
from utils.exports.arkit import other_side
from utils.rotations import resample_values
from utils.timebase import FPS, samples_per_frame

_LEVEL = 0.06  # RMS that every recording is set to before joining
_SPOKEN = -26.0  # dB under the loud parts: below it there is no speech
_KEPT = (0.12, 0.45)  # seconds of silence that stay at each end of a joined recording
_BLEND = 6  # frames on each side of a join that take up the step
_GAIN_SIGMA, _GAIN_RANGE = 0.33, (0.5, 1.8)  # of the logarithm: how widely people open their mouths
# Units that one person uses more than another: each group is scaled by a separate random factor, so that the
# motion of a few talkers shows many styles.
_GROUPS = ("mouthSmile mouthDimple mouthStretch mouthFrown", "mouthPucker mouthFunnel", "mouthUpperUp",
           "mouthLowerDown", "mouthPress mouthRoll mouthShrug")  # fmt: skip
_GROUP_SIGMA = 0.25  # of the logarithm
_MOODS = 0.5  # share of the clips that smile or frown throughout
# Units by which a tracker compensates its errors about a face: their lowest values are not expression.
_BIASED = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight", "eyeWideLeft", "eyeWideRight", "mouthLeft",
           "mouthRight", "mouthRollUpper", "mouthShrugUpper")  # fmt: skip
_MOUTH = [i for i, name in enumerate(arkit.EXP_NAMES) if name.startswith(("mouth", "jaw"))]
_SYLLABLE, _NUCLEUS = 0.12, 0.05  # seconds: least distance of two vowels; half of a vowel


@dataclass(frozen=True)
class Recipe:
    """What is done to the recordings."""

    press: float = 0.8
    """mm that shut lips overlap, so that a network whose motion falls short of it still shuts them."""
    vary: bool = True
    """Other sizes of the mouth's motion, moods and voices, and half of the faces mirrored; off in val and test."""
    rule_heads: bool = True
    """Head and gaze by the rules of the synthetic corpus instead of the person's own."""
    augment: AugmentConfig | None = None
    """Of the sound; None: clean."""


@dataclass(frozen=True)
class Piece:
    """Sound (640 n,) with expression (n, 50) and pose (n, 6)."""

    audio: np.ndarray
    exp: np.ndarray
    pose: np.ndarray


def make_clip(take: Take, store: ClipStore, head: LandmarkHead, recipe: Recipe) -> tuple[np.ndarray, dict]:
    """Audio (640 n,) float32 and {"shape" (n, 100), "exp" (n, 50), "pose" (n, 6)} of one clip; seeded by the take."""
    rng = np.random.default_rng(take.seed)
    piece = joined([trimmed(read(store, clip), rng) for clip in take.recordings])
    if recipe.vary and recipe.augment is not None:
        piece = at_speed(piece, draw_factor(recipe.augment, rng))
    style = sample_style(rng) if recipe.vary else named_style("normal")
    gain = float(np.clip(np.exp(rng.normal(0, _GAIN_SIGMA)), *_GAIN_RANGE)) if recipe.vary else 1.0
    mood = style.smile if recipe.vary and rng.random() < _MOODS else 0.0
    if recipe.vary and rng.random() < 0.5:
        piece = mirrored(piece)
    prosody = analyse(piece.audio)
    mouth, talking = replace(style, jaw=gain, smile=mood), spoken(prosody, len(piece.exp))
    piece = with_mouth(piece, head, talking, mouth, recipe.press, emphasis(rng) if recipe.vary else 1.0)
    if recipe.rule_heads:
        piece = with_rule_head(piece, prosody, style, rng)
    audio = set_peak(piece.audio, -3.0) if recipe.augment is None else augment(piece.audio, recipe.augment, rng)
    shape = np.zeros((len(piece.exp), N_SHAPE), np.float32)  # tracked motion is the average head's
    return audio, {"shape": shape, "exp": piece.exp.astype(np.float32), "pose": piece.pose.astype(np.float32)}


def read(store: ClipStore, clip: str) -> Piece:
    """A whole recording at the common level."""
    frames = store.read_frames(clip, 0, store.n_frames(clip))
    level = np.sqrt(np.mean(frames.audio**2)) + 1e-6
    return Piece(frames.audio * (_LEVEL / level), frames.coefs["exp"], frames.coefs["pose"])


def spoken(prosody: Prosody, n_frames: int) -> np.ndarray:
    """(n,) whether there is speech in a frame, by loudness."""
    loud = prosody.loudness[: int(n_frames * RATE / FPS)]
    return np.interp(np.arange(n_frames), np.arange(len(loud)) * FPS / RATE, smooth(loud, 4)) > _SPOKEN


def trimmed(piece: Piece, rng: np.random.Generator) -> Piece:
    """Without most of the silence before and after the speech."""
    talking = np.flatnonzero(spoken(analyse(piece.audio), len(piece.exp)))
    if not len(talking):
        return piece
    first = max(0, int(talking[0] - FPS * rng.uniform(*_KEPT)))
    stop = min(len(piece.exp), int(talking[-1] + 1 + FPS * rng.uniform(*_KEPT)))
    unit = samples_per_frame()
    return Piece(piece.audio[first * unit : stop * unit], piece.exp[first:stop], piece.pose[first:stop])


def joined(pieces: list[Piece]) -> Piece:
    """One after the other. At a join, in the pause, both sides give way by half of the step, over a quarter second."""
    exp, pose = (_joined([getattr(piece, name) for piece in pieces]) for name in ("exp", "pose"))
    return Piece(np.concatenate([piece.audio for piece in pieces]), np.clip(exp, 0, 1), pose)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    parts = [part.astype(np.float64) for part in parts]
    for before, after in zip(parts, parts[1:]):
        half = (after[0] - before[-1]) / 2
        for side, sign in ((before[::-1], 1), (after, -1)):
            size = min(_BLEND, len(side))
            ramp = 0.5 * (1 + np.cos(np.pi * np.arange(size) / size))
            side[:size] += sign * ramp[:, None] * half
    return np.concatenate(parts)


def mirrored(piece: Piece) -> Piece:
    """Left and right exchanged; the head's turn and tilt as well."""
    order = [arkit.unit(other_side(name)) for name in arkit.EXP_NAMES]
    pose = piece.pose * np.array([1, -1, -1, 1, -1, -1])
    return Piece(piece.audio, piece.exp[:, order], pose)


def at_speed(piece: Piece, factor: float) -> Piece:
    """Played `factor` times faster: another voice and pace; the motion keeps step."""
    if factor == 1.0:
        return piece
    audio, _ = resample_speech(piece.audio, [], factor)
    n = min(int(len(piece.exp) / factor), len(audio) // samples_per_frame())
    at, known = np.arange(n) * factor, np.arange(len(piece.exp))
    exp, pose = (resample_values(known, values, at) for values in (piece.exp, piece.pose))
    return Piece(audio[: n * samples_per_frame()], exp, pose)


def emphasis(rng: np.random.Generator) -> np.ndarray:
    """A factor for each unit of the mouth, in the order of `_MOUTH`."""
    factors = np.ones(len(_MOUTH))
    for group in _GROUPS:
        chosen = [arkit.EXP_NAMES[i].startswith(tuple(group.split())) for i in _MOUTH]
        factors[chosen] = np.exp(rng.normal(0, _GROUP_SIGMA))
    return factors


def with_mouth(
    piece: Piece, head: LandmarkHead, talking: np.ndarray, style: SpeakerStyle, press: float,
    use: np.ndarray | float = 1.0,
) -> Piece:  # fmt: skip
    """The mouth `style.jaw` times as large about its rest, each unit further scaled by `use` (see `emphasis`), smiling
    by `style.smile`; shut lips stay shut."""
    exp, jaw = piece.exp.astype(np.float64), piece.pose[:, 3].astype(np.float64)
    biased = [arkit.unit(name) for name in _BIASED]
    exp[:, biased] = np.maximum(exp[:, biased] - np.quantile(exp[:, biased], 0.1, axis=0), 0)
    average = torch.zeros(N_SHAPE, dtype=torch.float64)
    opening = opening_on(head, average, torch.from_numpy(exp), torch.from_numpy(jaw))
    opening = contact(opening, PRESSED, -press)
    wanted = torch.where(opening > 0, style.jaw * opening, opening)
    rest = np.median(exp[~talking] if (~talking).sum() > FPS / 2 else exp, axis=0)[_MOUTH]
    exp[:, _MOUTH] = rest + style.jaw * use * (exp[:, _MOUTH] - rest)
    add_mood(exp, style.smile)
    exp = np.clip(exp, 0, 1)
    units, angles = with_opening(
        head, average, torch.from_numpy(exp), torch.from_numpy(np.clip(style.jaw * jaw, 0, None)), wanted
    )
    pose = piece.pose.copy()
    pose[:, 3] = angles.numpy()
    return Piece(piece.audio, units.numpy(), pose)


def add_mood(exp: np.ndarray, smile: float) -> None:
    """A lasting smile, or a frown if negative, into exp (n, 50) in place; rounded lips smile less."""
    round_lips = exp[:, arkit.unit("mouthPucker")] + 0.5 * exp[:, arkit.unit("mouthFunnel")]
    mood = smile * np.clip(1 - 0.6 * round_lips, 0.2, 1)
    for name, size in (("mouthSmile", 1.0), ("mouthDimple", 0.2), ("cheekSquint", 0.5)):
        arkit.add(exp, name, size * np.maximum(mood, 0))
    for name, size in (("mouthFrown", 1.2), ("mouthShrugLower", 0.5)):
        arkit.add(exp, name, size * np.maximum(-mood, 0))


def with_rule_head(piece: Piece, prosody: Prosody, style: SpeakerStyle, rng: np.random.Generator) -> Piece:
    """Head and gaze as the synthetic corpus would move them to this speech; lids stay the person's, and follow."""
    n, phones = len(piece.exp), sounds(prosody)
    accents, phrases = find_accents(prosody, phones), find_phrases(phones)
    pose = piece.pose.copy()
    pose[:, :3] = head_motion(n, prosody, accents, phrases, style, rng)
    gaze = gaze_angles(n, pose[:, :3], aversions(phrases, style, rng), style, rng)
    eyes = np.zeros_like(piece.exp)
    add_eyes(eyes, gaze, np.zeros(n), style)
    exp = piece.exp.copy()
    for i, name in enumerate(arkit.EXP_NAMES):
        if name.startswith("eyeLook"):
            exp[:, i] = eyes[:, i]
        elif name.startswith("eyeBlink"):
            exp[:, i] = np.maximum(exp[:, i], eyes[:, i])
    return Piece(piece.audio, np.clip(exp, 0, 1), pose)


def sounds(prosody: Prosody) -> Phones:
    """Pauses ("sil"), syllables' nuclei ("aa") and what is between them ("t"), from loudness and voicing alone: enough
    for phrases and accents."""
    level = smooth(prosody.loudness, 3)
    speech = level > _SPOKEN
    peak = np.zeros(len(level), bool)
    reach = int(_SYLLABLE * RATE)
    voiced = speech & prosody.voiced[: len(level)]
    for i in np.flatnonzero(voiced):
        peak[i] = level[i] >= level[max(0, i - reach) : i + reach + 1].max()
    kind = np.where(speech, "t", "sil").astype("<U3")
    for i in np.flatnonzero(peak):
        span = slice(max(0, i - int(_NUCLEUS * RATE)), i + int(_NUCLEUS * RATE))
        kind[span] = np.where(speech[span], "aa", kind[span])
    edges = [0, *(np.flatnonzero(kind[1:] != kind[:-1]) + 1), len(kind)]
    return [(str(kind[a]), a / RATE, b / RATE) for a, b in zip(edges, edges[1:]) if b > a]
