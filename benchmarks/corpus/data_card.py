"""Is the synthetic motion what a network can learn, and does it look like talking? The figures of the data card.

    python -m benchmarks.corpus.data_card --speech data/speech [--clips 40] [--json out.json]

All on clean speech, frames at 25 fps; closures and phones over random styles and identities.
- closures: share of p, b, m whose smallest opening within one frame of the phone is at most 1 mm, and its median.
- opening by phone: height between the inner lips in the phone's middle frame (smallest over p b m f v, mean of
  silence), mm.
- two takes: the same speech and style with two seeds. Correlation of the openings, LVE = mean over frames of the
  largest squared distance of a lip vertex (mm2), beside the LVE of holding the mean shape of the clip; jitter = mean
  length of the lips' second difference (mm per frame2).
- head windows: standard deviation and spectral centroid of pitch, yaw, roll in windows of 4 s of the style normal.
- head speakers: log of that deviation, spread within a random speaker's clips against the spread between speakers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.report import Flags, read_flags, write_json
from models.heads.flame import Flame, load_flame
from models.heads.mouth import mouth_opening
from models.metrics.head import AXES
from scripts_for_dataset.synthetic.arkit import unit
from scripts_for_dataset.synthetic.clips import join_sentences
from scripts_for_dataset.synthetic.corpus import read_rows
from scripts_for_dataset.synthetic.head_motion import head_motion
from scripts_for_dataset.synthetic.identity import close_factors, sample_shape
from scripts_for_dataset.synthetic.motion import Speech, find_phrases, speech_motion
from scripts_for_dataset.synthetic.plan import group_clips
from scripts_for_dataset.synthetic.prosody import analyse, find_accents
from scripts_for_dataset.synthetic.style import SpeakerStyle, named_style, sample_style
from utils.config import check_least
from utils.errors import cli
from utils.timebase import FPS

WINDOW, HOP = 4 * FPS, 2 * FPS  # frames
SHUT = 1.0  # mm
PHONES = ("aa ae ay", "eh ey", "ih iy", "uw w", "ao ow", "s z", "sh ch jh", "t d n", "f v", "p b m", "sil")
MOUTH_STYLES = ("normal", "big_mouth", "small_mouth")
HEAD_STYLES = ("normal", "large_head_movements", "small_head_movements")


@dataclass(frozen=True)
class Take:
    """Speech with one rendition of its motion, without head rotation: opening (n,) mm and lips (n, L, 3) mm."""

    speech: Speech
    motion: dict[str, np.ndarray]
    opening: np.ndarray
    lips: np.ndarray


def pick_speech(folder: Path, clips: int) -> list[Speech]:
    """A clip from each voice in turn until there are `clips`, the same ones every time."""
    rows, chosen, number = read_rows(folder), [], 0
    groups = {voice: group_clips(rows[voice], np.random.default_rng(0)) for voice in sorted(rows)}
    while len(chosen) < clips and number <= max(map(len, groups.values())):
        for group in groups.values():
            if number < len(group) and len(chosen) < clips:
                chosen.append(join_sentences(group[number], np.random.default_rng(number)))
        number += 1
    return chosen


@torch.inference_mode()
def take(flame: Flame, speech: Speech, style: SpeakerStyle, shape: np.ndarray, seed: int) -> Take:
    """Render one rendition; shape (100,)."""
    factor = float(close_factors(flame, shape[None])[0])
    motion = speech_motion(speech, style, np.random.default_rng(seed), factor)
    n = speech.n_frames
    inputs = (torch.from_numpy(shape).expand(n, -1), torch.from_numpy(motion["exp"]), torch.from_numpy(motion["pose"]))
    vertices = flame(*inputs, global_rotation=False)
    lips = torch.from_numpy(flame.head.masks["lips"])
    return Take(
        speech, motion, 1000 * mouth_opening(vertices, flame.head).numpy(), 1000 * vertices[:, lips].float().numpy()
    )


def mouth(takes: list[Take]) -> dict:
    """Closures and opening by phone."""
    table: dict[str, list[float]] = {key: [] for key in PHONES}
    kind = {phone: key for key in PHONES for phone in key.split()}
    for item in takes:
        for phone, start, end in item.speech.phones:
            span = _opening_of(phone, start, end, item.opening)
            if phone in kind and len(span):
                table[kind[phone]].append(float(span.min() if phone in "pbmfv" else span.mean()))
    shut = np.array(table["p b m"])
    opening = {key: np.round(np.quantile(v, (0.1, 0.5, 0.9)), 1).tolist() for key, v in table.items() if v}
    return {
        "closures": len(shut), "closures_missed": int((shut > SHUT).sum()), "closure_median_mm": float(np.median(shut)),
        "closure_largest_mm": float(shut.max()), "opening_p10_p50_p90_mm": opening,
    }  # fmt: skip


def _opening_of(phone: str, start: float, end: float, opening: np.ndarray) -> np.ndarray:
    """The frames that count for a phone: with one more on each side, all, or the middle one."""
    if phone in "pbmfv":
        return opening[max(0, int(start * FPS) - 1) : int(np.ceil(end * FPS)) + 1]
    if phone == "sil":
        return opening[int(start * FPS) : int(np.ceil(end * FPS))]
    middle = int((start + end) / 2 * FPS)
    return opening[middle : middle + 1]


def lip_error(a: np.ndarray, b: np.ndarray) -> float:
    """LVE of lips a (n, L, 3) against b (n, L, 3) or (L, 3), mm2."""
    return float(((a - b) ** 2).sum(-1).max(1).mean())


def repeatability(pairs: list[tuple[Take, Take]]) -> dict:
    """What two takes of the same speech and style share."""
    corr = [np.corrcoef(a.opening, b.opening)[0, 1] for a, b in pairs]
    lve = [lip_error(a.lips, b.lips) for a, b in pairs]
    still = [lip_error(a.lips, a.lips.mean(0)) for a, _ in pairs]
    jitter = [np.linalg.norm(np.diff(a.lips, 2, axis=0), axis=-1).mean() for a, _ in pairs]
    return {
        "opening_correlation_mean": float(np.mean(corr)), "opening_correlation_least": float(np.min(corr)),
        "lve_mm2": float(np.mean(lve)), "lve_of_the_mean_shape_mm2": float(np.mean(still)),
        "lip_jitter_mm_per_frame2": float(np.mean(jitter)),
    }  # fmt: skip


def eyes(takes: list[Take]) -> dict:
    """Blinks a minute, and how far the eyes turn sideways."""
    lids = [item.motion["exp"][:, unit("eyeBlinkLeft")] for item in takes]
    shut = sum(int(((x[1:] > 0.9) & (x[:-1] <= 0.9)).sum()) for x in lids)
    sideways = np.concatenate(
        [np.ptp(item.motion["exp"][:, [unit("eyeLookInLeft"), unit("eyeLookOutLeft")]], axis=1) for item in takes]
    )
    return {
        "blinks_per_minute": 60 * FPS * shut / sum(map(len, lids)),
        "gaze_sideways_p50_p99_deg": (30 * np.quantile(sideways, (0.5, 0.99))).round(1).tolist(),
    }


def head_windows(tracks: list[np.ndarray]) -> np.ndarray:
    """(W, 100, 3) windows of tracks (n, 3) in degrees."""
    cut = [track[i : i + WINDOW] for track in tracks for i in range(0, len(track) - WINDOW + 1, HOP)]
    return np.stack(cut)


def spectrum(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) in Hz and Hann-weighted power (W, F, 3) of windows (W, T, 3)."""
    centred = (windows - windows.mean(1, keepdims=True)) * np.hanning(windows.shape[1])[:, None]
    return np.fft.rfftfreq(windows.shape[1], 1 / FPS), np.abs(np.fft.rfft(centred, axis=1)) ** 2


def head_sizes(windows: np.ndarray) -> dict:
    """Deviation and centroid per axis with their spread over windows; the share of power above 5 Hz."""
    deviation = windows.std(1)
    frequency, power = spectrum(windows)
    centroid = (power * frequency[:, None]).sum(1) / power.sum(1)
    return {
        axis: {
            "std_deg": float(deviation[:, k].mean()),
            "std_spread": float(deviation[:, k].std() / deviation[:, k].mean()),
            "centroid_hz": float(centroid[:, k].mean()),
            "centroid_spread": float(centroid[:, k].std() / centroid[:, k].mean()),
            "power_above_5hz": float(power[:, frequency > 5, k].sum() / power[:, :, k].sum()),
        }
        for k, axis in enumerate(AXES)
    }


class Heads:
    """Head motion of many styles on the same speech; prosody is analysed once."""

    def __init__(self, speeches: list[Speech]) -> None:
        prosody = [analyse(speech.audio) for speech in speeches]
        self.inputs = [
            (speech.n_frames, p, find_accents(p, speech.phones), find_phrases(speech.phones))
            for speech, p in zip(speeches, prosody)
        ]

    def tracks(self, style: SpeakerStyle, seed: int, count: int) -> list[np.ndarray]:
        """`count` tracks (n, 3) in degrees."""
        which = [(seed * count + k) % len(self.inputs) for k in range(count)]
        return [
            np.degrees(head_motion(*self.inputs[k], style, np.random.default_rng([seed, number])))
            for number, k in enumerate(which)
        ]

    def speakers(self, count: int) -> dict:
        """Spread of the log deviation in 4 s windows within and between random speakers, and who it tells apart."""
        styles = [sample_style(np.random.default_rng(1000 + k)) for k in range(count)]
        logs = [np.log(head_windows(self.tracks(s, k, 3)).std(1)).mean(1) for k, s in enumerate(styles)]
        within = float(np.sqrt(np.mean([x.var() for x in logs])))
        between = float(np.std([x.mean() for x in logs]))
        wanted = np.concatenate([np.full(len(x), np.log(s.head_amplitude)) for x, s in zip(logs, styles)])
        correlation = float(np.corrcoef(np.concatenate(logs), wanted)[0, 1])
        return {"within": within, "between": between, "ratio": within / between, "corr_with_amplitude": correlation}


def opening_of(flame: Flame, speeches: list[Speech], style: str) -> list[float]:
    """Median and 90th percentile of a named style's opening on the mean head, mm."""
    takes = [take(flame, speech, named_style(style), np.zeros(100, np.float32), 0) for speech in speeches]
    return np.quantile(np.concatenate([item.opening for item in takes]), (0.5, 0.9)).round(1).tolist()


def card(folder: Path, clips: int) -> dict:
    """All figures."""
    flame, speeches = load_flame(), pick_speech(folder, clips)
    mean_shape = np.zeros(100, np.float32)
    random, pairs = [], []
    for k, speech in enumerate(tqdm(speeches, desc="clips")):
        style = sample_style(np.random.default_rng(k))
        random.append(take(flame, speech, style, sample_shape(np.random.default_rng(k)), k))
        if k % 4 == 0:
            pairs.append(tuple(take(flame, speech, style, mean_shape, 1000 + k + seed) for seed in (0, 1)))
    heads = Heads(speeches)
    count = len(speeches)
    named = {name: heads.tracks(named_style(name), 0, count) for name in HEAD_STYLES}
    return {
        "clips": len(speeches),
        "mouth": mouth(random),
        "two_takes": repeatability(pairs),
        "eyes": eyes(random),
        "opening_p50_p90_mm": {name: opening_of(flame, speeches[::8], name) for name in MOUTH_STYLES},
        "head_clip_std_deg": {name: np.mean([t.std(0) for t in ts], 0).round(2).tolist() for name, ts in named.items()},
        "head_windows_4s": head_sizes(head_windows(named["normal"])),
        "head_speakers_4s": heads.speakers(60),
    }


@dataclass(frozen=True, kw_only=True)
class CardFlags(Flags):
    """What is measured."""

    speech: Path
    """Folder made by make_synthetic_speech."""
    clips: int = 40
    """Clips of 10 to 26 s."""

    def check(self) -> None:
        super().check()
        check_least(self, clips=4)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(CardFlags, __doc__, argv)
    figures = card(flags.speech, flags.clips)
    for name, value in figures.items():
        print(f"{name}: {value}")
    write_json(flags.json, figures)


if __name__ == "__main__":
    main()
