"""Head rotation while talking: slow drift, turns at phrase starts, swings and nods on accents, breathing in pauses.

Assumed sizes: SD 3 degrees pitch, 4 yaw, 2 roll; drift below 1 Hz; nods of 2 to 5 degrees that begin on an accent and
peak after it. Head motion goes with F0 and loudness (Munhall et al. 2004).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from scripts_for_dataset.synthetic.prosody import RATE, Accents, Prosody, smooth
from scripts_for_dataset.synthetic.style import SpeakerStyle
from utils.timebase import FPS

_DRIFT = np.array([1.0, 0.5, 0.3])  # degrees SD of pitch, yaw, roll
_TURN = np.array([1.0, 0.8, 0.4])  # degrees SD of the pose taken at a phrase start
_WOBBLE = np.array([0.55, 1.2, 0.7])  # degrees SD of restless motion up to about 1 Hz
_BEAT = np.array([0.9, 2.9, 1.8])  # degrees from the middle to the side that a stressed syllable moves to
_THERE = (0.3, 0.5)  # seconds that a swing takes, and its way back
_BACK = np.array([0.3, 0.9, 0.85])  # of the way that it comes back
_BEAT_SHARE = 0.75  # of the accents
_AWAY = 0.8  # chance that a beat goes to the other side: heads swing about their pose
_PROSODIC = np.array([-1.5, 0.0, 0.0])  # degrees per SD of slow loudness and F0: raised voice, raised head
_LIFT = -0.2  # of a nod: the head comes up a little before it goes down
_INHALE, _SETTLE = -1.1, 0.9  # degrees of pitch: chin up before a phrase, head sinking when one is over
_TYPICAL = np.array([1.7, 2.5, 1.35])  # degrees SD within a few seconds at amplitude 1, nods not counted
_STRETCH, _EVEN = 1.3, 0.8  # seconds SD of a stretch; 1 would make all stretches alike
_LOW_PASS = 0.08  # seconds SD of the low-pass at smoothness 1


def head_motion(
    n_frames: int, prosody: Prosody, accents: Accents, phrases: list[tuple[float, float]], style: SpeakerStyle,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Head rotation as axis-angle in radians, (n_frames, 3) about x (nod), y (turn), z (tilt).

    Args:
        phrases: (start, end) in seconds of the stretches of speech between pauses.
        style: amplitude, speed, smoothness, nod rate and mean pose.
        rng: draws the parts that speech does not determine (drift, where to turn).
    """
    drift, wobble = (
        np.stack([smooth_noise(n_frames, cutoff * style.head_speed, rng) for _ in range(3)], axis=1)
        for cutoff in (0.2, 1.2)
    )
    degrees = (
        _DRIFT * drift
        + _WOBBLE * wobble
        + _turns(n_frames, phrases, style, rng)
        + _beats(n_frames, accents, style, rng)
    )
    follow = _slow_effort(prosody, n_frames)
    tilt = np.array([0.0, rng.normal(0, 0.6), rng.normal(0, 0.5)])  # some heads turn or tilt along
    degrees += follow[:, None] * (_PROSODIC + tilt)
    degrees[:, 0] += breathing(n_frames, phrases)
    degrees = style.head_amplitude * steady(degrees)
    degrees[:, 0] += nods(n_frames, accents, style)
    degrees = low_pass(degrees, _LOW_PASS * style.head_smoothness)
    degrees += np.array([style.head_pitch, style.head_yaw, style.head_roll])
    return euler_to_axis_angle(np.radians(degrees)).astype(np.float32)


def low_pass(track: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing of (n, k) at 25 fps, sigma in seconds; nothing below a tenth of a frame."""
    if sigma * FPS < 0.1:
        return track
    return smooth(track, sigma * FPS)


def steady(degrees: np.ndarray) -> np.ndarray:
    """Even out how much the head moves from one stretch of about 4 s to the next; degrees (n, 3) -> (n, 3).

    Chance leaves some stretches nearly still; the amplitude of a speaker must show in each of them. The wandering
    of the mean pose stays as it is.
    """
    slow = low_pass(degrees, _STRETCH)
    fast = degrees - slow
    size = np.sqrt(np.maximum(low_pass(fast**2, _STRETCH), 0))
    return slow + fast * (_TYPICAL / np.maximum(size, 0.4 * _TYPICAL)) ** _EVEN


def pace(style: SpeakerStyle) -> float:
    """Factor of the durations of head movements: slow and smooth heads take longer."""
    return (0.85 + 0.5 * style.head_smoothness) / style.head_speed**0.7


def smooth_noise(n_frames: int, cutoff: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) smooth random motion of unit standard deviation with a Gaussian spectrum up to about `cutoff` Hz."""
    size = n_frames + int(4 * FPS / cutoff)  # longer than needed: the ends do not wrap into each other
    frequency = np.fft.rfftfreq(size, 1 / FPS)
    shape = np.exp(-0.5 * (frequency / cutoff) ** 2)
    shape[0] = 0
    spectrum = shape * (rng.standard_normal(len(shape)) + 1j * rng.standard_normal(len(shape)))
    return np.fft.irfft(spectrum, size)[:n_frames] * size / (2 * np.sqrt((shape**2).sum()))


def min_jerk(n_frames: int, start: float, duration: float) -> np.ndarray:
    """(n,) 0 before `start`, 1 after start + duration (seconds), the minimum-jerk polynomial between."""
    x = np.clip(((np.arange(n_frames) + 0.5) / FPS - start) / duration, 0, 1)
    return x**3 * (10 - 15 * x + 6 * x**2)


def _turns(
    n_frames: int, phrases: list[tuple[float, float]], style: SpeakerStyle, rng: np.random.Generator
) -> np.ndarray:
    """(n, 3) degrees: at every phrase start the head moves to a new pose, beginning a little before the voice."""
    pose = rng.normal(0, 1, 3) * _TURN * 0.5
    track = np.tile(pose, (n_frames, 1))
    for start, _ in phrases:
        target = rng.normal(0, 1, 3) * _TURN - 0.2 * pose
        track += min_jerk(n_frames, start - 0.2, rng.uniform(0.6, 0.9) * pace(style))[:, None] * (target - pose)
        pose = target
    return track


def _beats(n_frames: int, accents: Accents, style: SpeakerStyle, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) degrees: with most stressed syllables the head swings to a side of its pose, and most of the way back.

    These movements of half a second to a second show a speaker's amplitude within any few seconds.
    """
    track, pose = np.zeros((n_frames, 3)), np.zeros(3)
    for time in accents.time[rng.random(len(accents.time)) < _BEAT_SHARE]:
        sign = np.where(rng.random(3) < _AWAY, -1.0, 1.0) * np.where(pose == 0, rng.choice([-1, 1], 3), np.sign(pose))
        target = sign * rng.uniform(0.5, 1.5, 3) * _BEAT
        there, back = rng.uniform(*_THERE, 2) * pace(style)
        stay = target * (1 - _BACK)
        track += min_jerk(n_frames, time - 0.2, there)[:, None] * (target - pose)
        track += min_jerk(n_frames, time - 0.2 + there, back)[:, None] * (stay - target)
        pose = stay
    return track


def breathing(n_frames: int, phrases: list[tuple[float, float]]) -> np.ndarray:
    """(n,) degrees of pitch: the head sinks a little after a phrase and comes up with the breath before the next."""
    track = np.zeros(n_frames)
    for start, end in phrases:
        track += _SETTLE * (min_jerk(n_frames, end + 0.05, 0.7) - min_jerk(n_frames, start - 0.45, 0.4))
        track += _INHALE * (min_jerk(n_frames, start - 0.45, 0.4) - min_jerk(n_frames, start, 0.8))
    return track + _SETTLE * bool(phrases)  # as if a phrase had ended before the clip


def _slow_effort(prosody: Prosody, n_frames: int) -> np.ndarray:
    """(n,) loudness and F0 below about 1 Hz at 25 fps, standardised, clipped to +-2.5."""
    mixed = np.maximum(prosody.loudness, -30) / 12 + prosody.pitch / 4
    slow = smooth(mixed, 0.22 * RATE)
    frames = np.interp((np.arange(n_frames) + 0.5) / FPS, np.arange(len(slow)) / RATE, slow)
    return np.clip((frames - frames.mean()) / (frames.std() + 0.3), -2.5, 2.5)


def nods(n_frames: int, accents: Accents, style: SpeakerStyle) -> np.ndarray:
    """(n,) degrees of pitch, positive down: the strongest share `nod_rate` of the accents each pull the head down.

    A nod starts on the accent after a small lift, peaks about 0.2 s later and comes back in 0.4 s; which accents nod
    depends on the speech alone.
    """
    track = np.zeros(n_frames)
    if not len(accents.time) or style.nod_rate <= 0:
        return track
    threshold = np.quantile(accents.strength, 1 - min(style.nod_rate, 1.0))
    size, slow = style.head_amplitude**0.9 * (1.5 + 1.1 * accents.strength), pace(style)
    for time, degrees, strength in zip(accents.time, size, accents.strength):
        if strength >= threshold:
            begin = time - 0.06
            lift = min_jerk(n_frames, begin - 0.22 * slow, 0.22 * slow)
            down, back = min_jerk(n_frames, begin, 0.3 * slow), min_jerk(n_frames, begin + 0.24 * slow, 0.44 * slow)
            track += degrees * (_LIFT * (lift - down) + down - back)
    return track


def euler_to_axis_angle(euler: np.ndarray) -> np.ndarray:
    """Angles (n, 3) in radians, tilt (z) first, then nod (x), then turn (y) -> axis-angle (n, 3)."""
    return Rotation.from_euler("YXZ", euler[:, [1, 0, 2]]).as_rotvec()
