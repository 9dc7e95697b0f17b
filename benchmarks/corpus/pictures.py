"""The pictures of the corpus' data card: python -m benchmarks.corpus.pictures --speech data/speech [-o DIR]

corpus_curves.png, corpus_openings.png, corpus_styles.png, corpus_heads.png, corpus_faces.png. Needs matplotlib.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.corpus.data_card import AXES, PHONES, Heads, Take, head_windows, mouth, pick_speech, spectrum, take
from benchmarks.report import read_flags
from models.heads.flame import Flame, load_flame
from scripts_for_dataset.synthetic.arkit import unit
from scripts_for_dataset.synthetic.identity import sample_shape
from scripts_for_dataset.synthetic.motion import find_phrases
from scripts_for_dataset.synthetic.prosody import RATE, analyse, find_accents
from scripts_for_dataset.synthetic.style import SpeakerStyle, named_style, sample_style, style_names
from utils.atomic import atomic_path
from utils.config import flag, required
from utils.errors import UserError, cli
from utils.heads.joints import JAW_OPEN_RADIANS
from utils.runs.run_dir import ROOT
from utils.timebase import FPS, SAMPLE_RATE

SPAN = (1.0, 7.2)  # seconds of the clip that the curves show
MEAN_FACE = np.zeros(100, np.float32)
FACES = (("aa", "ae", "ay", "ah"), ("iy", "ih"), ("uw", "ow", "w"), ("p", "b", "m"), ("f", "v"), ("s", "z"), ("sh",))


def figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (10, 4), **options):
    """A figure and its axes.

    Raises:
        UserError: no matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(f"benchmarks.corpus.pictures: {error}; pip install matplotlib") from error
    drawing = Figure(figsize=size, layout="constrained")
    return drawing, drawing.subplots(rows, columns, **options)


def save(drawing, path: Path) -> None:
    with atomic_path(path) as temporary:
        drawing.savefig(temporary, dpi=80, format="png")


def curves(item: Take, path: Path) -> None:
    """Waveform, phones and the tracks of one clip."""
    drawing, axes = figure(6, 1, (13, 12), sharex=True, height_ratios=(1.3, 1, 1, 1, 1.3, 1))
    speech, exp = item.speech, item.motion["exp"]
    seconds = np.arange(speech.n_frames) / FPS + 0.5 / FPS
    axes[0].plot(np.arange(len(speech.audio)) / SAMPLE_RATE, speech.audio, lw=0.4, color="0.4")
    for k, (phone, start, end) in enumerate(speech.phones):
        if SPAN[0] < (start + end) / 2 < SPAN[1] and phone != "sil":
            height = speech.audio.max() * (1.05 + 0.17 * (k % 2))
            colour = "tab:red" if phone in "pbm" else "k"
            axes[0].text((start + end) / 2, height, phone, fontsize=8, ha="center", color=colour)
    groups = (
        {"jawOpen": item.motion["pose"][:, 3] / JAW_OPEN_RADIANS, **_units(exp, "mouthClose", "mouthPressLeft")},
        _units(exp, "mouthPucker", "mouthFunnel", "mouthSmileLeft", "mouthStretchLeft"),
        _units(exp, "eyeBlinkLeft", "browInnerUp", "eyeLookOutLeft", "eyeLookInLeft"),
        dict(zip(AXES, np.degrees(item.motion["pose"][:, :3]).T)),
    )
    for axis, group in zip(axes[1:], groups):
        for label, track in group.items():
            axis.plot(seconds, track, label=label)
        axis.legend(loc="upper right", fontsize=7, ncols=4)
    axes[4].set_ylabel("degrees")
    _prosody(axes[5], speech)
    for axis in axes:
        axis.margins(y=0.2)
        for start, end in find_phrases(speech.phones):
            axis.axvspan(start, end, color="tab:blue", alpha=0.06)
    axes[5].set(xlim=SPAN, xlabel="seconds (shaded: phrases)")
    save(drawing, path)


def _units(exp: np.ndarray, *names: str) -> dict[str, np.ndarray]:
    return {name: exp[:, unit(name)] for name in names}


def _prosody(axis, speech) -> None:
    prosody = analyse(speech.audio)
    accents = find_accents(prosody, speech.phones)
    time = np.arange(len(prosody.pitch)) / RATE
    axis.plot(time, np.maximum(prosody.loudness, -30) / 6, label="loudness / 6 dB")
    axis.plot(time, np.where(prosody.voiced, prosody.pitch, np.nan), label="F0, semitones")
    axis.plot(accents.time, np.full(len(accents.time), 7.0), "k.", label="accents")
    axis.legend(loc="lower right", fontsize=7, ncols=3)


def openings(takes: list[Take], path: Path) -> None:
    """Opening by phone: bars from the 10th to the 90th percentile."""
    table = mouth(takes)["opening_p10_p50_p90_mm"]
    drawing, axis = figure(size=(10, 3.6))
    for k, key in enumerate(key for key in PHONES if key in table):
        low, middle, high = table[key]
        axis.bar(k, high - low, bottom=low, width=0.6, color="tab:blue", alpha=0.35)
        axis.plot([k - 0.3, k + 0.3], [middle, middle], color="tab:blue", lw=2)
    axis.set_xticks(range(len(table)), table.keys(), fontsize=8)
    axis.axhline(1.0, color="tab:red", lw=0.8, ls="--")
    axis.set(ylabel="mouth opening, mm", title="10th to 90th percentile and median; dashed: 1 mm counts as shut")
    save(drawing, path)


def styles(takes: list[tuple[SpeakerStyle, Take]], named: dict[str, Take], path: Path) -> None:
    """Random speakers and the named styles by opening, head movement, smile and brows."""
    drawing, axes = figure(1, 2, (12, 4.8))
    views = ((_opening, _head, "90th percentile of the opening, mm", "head, degrees in 4 s", set(named)),
             (_smile, _brow, "mean smile less frown", "mean brow raise less frown",
              {"normal", "smile", "serious"}))  # fmt: skip
    for axis, (x, y, x_label, y_label, shown) in zip(axes, views):
        colours = [style.head_smoothness for style, _ in takes]
        dots = axis.scatter([x(t) for _, t in takes], [y(t) for _, t in takes], c=colours, s=16, cmap="viridis")
        for name in shown:
            at = (x(named[name]), y(named[name]))
            axis.plot(*at, "r+")
            right = name in ("small_mouth", "serious")  # the others have their label on the left
            place = (4 if right else -4, -9 if name == "smile" else 4)
            text = {"fontsize": 8, "color": "tab:red", "ha": "left" if right else "right"}
            axis.annotate(name, at, xytext=place, textcoords="offset points", **text)
        axis.set(xlabel=x_label, ylabel=y_label)
    drawing.colorbar(dots, ax=axes, label="head smoothness")
    save(drawing, path)


def _opening(item: Take) -> float:
    return float(np.quantile(item.opening, 0.9))


def _head(item: Take) -> float:
    return float(head_windows([np.degrees(item.motion["pose"][:, :3])]).std(1).mean())


def _smile(item: Take) -> float:
    return float((item.motion["exp"][:, unit("mouthSmileLeft")] - item.motion["exp"][:, unit("mouthFrownLeft")]).mean())


def _brow(item: Take) -> float:
    return float((item.motion["exp"][:, unit("browInnerUp")] - item.motion["exp"][:, unit("browDownLeft")]).mean())


def heads(motion: Heads, path: Path) -> None:
    """Power spectra of pitch, yaw and roll in 4 s windows."""
    kinds = {name: named_style(name) for name in ("normal", "large_head_movements", "small_head_movements")}
    kinds |= {"abrupt": SpeakerStyle(head_smoothness=0.0), "flowing": SpeakerStyle(head_smoothness=1.0)}
    drawing, axes = figure(1, 3, (13, 4), sharey=True)
    for name, style in kinds.items():
        frequency, power = spectrum(head_windows(motion.tracks(style, 0, len(motion.inputs))))
        for axis, label, column in zip(axes, AXES, power.mean(0).T):
            axis.loglog(frequency[1:], column[1:], label=name)
            axis.set(xlabel="Hz", title=label, xlim=(0.25, 8), ylim=(1e-3, 1e5))
            axis.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["1/4", "1/2", "1", "2", "4", "8"], minor=False)
            axis.set_xticks([], minor=True)
    axes[0].set_ylabel("power in 4 s windows")
    axes[0].legend(fontsize=8)
    save(drawing, path)


def faces(flame: Flame, named: dict[str, Take], path: Path) -> None:
    """Each named style at the same seven phones."""
    from PIL import Image

    from utils.rendering.renderer import Renderer, RenderStyle

    renderer, rows = Renderer(flame.head, RenderStyle(size=192)), []
    for item in named.values():
        frames = [_frame_of(item, wanted) for wanted in FACES]
        inputs = (torch.from_numpy(item.motion[key][frames]) for key in ("exp", "pose"))
        vertices = flame(torch.zeros(len(frames), 100), *inputs).numpy()
        rows.append(np.hstack([image[:, 20:-20] for image in renderer.frames(vertices)]))
    with atomic_path(path) as temporary:
        Image.fromarray(np.vstack(rows)).quantize(256).save(temporary, "PNG", optimize=True)


def _frame_of(item: Take, wanted: tuple[str, ...]) -> int:
    """Middle of the longest of the wanted phones; of p, b, m the frame with the least opening."""
    spans = [(end - start, start, end) for phone, start, end in item.speech.phones if phone in wanted]
    if not spans:
        return 0
    _, start, end = max(spans)
    if "p" in wanted:
        return int(start * FPS) + int(item.opening[int(start * FPS) : int(end * FPS) + 1].argmin())
    return int((start + end) / 2 * FPS)


@torch.no_grad()
def draw(speech: Path, output: Path) -> None:
    """All pictures into `output`."""
    flame, clips = load_flame(), pick_speech(speech, 80)
    random = []
    for k, clip in enumerate(clips):
        style = sample_style(np.random.default_rng(k))
        random.append((style, take(flame, clip, style, sample_shape(np.random.default_rng(k)), k)))
    named = {name: take(flame, clips[16], named_style(name), MEAN_FACE, 3) for name in style_names()}
    curves(named["normal"], output / "corpus_curves.png")
    openings([item for _, item in random], output / "corpus_openings.png")
    styles(random, named, output / "corpus_styles.png")
    heads(Heads(clips), output / "corpus_heads.png")
    faces(flame, named, output / "corpus_faces.png")


@dataclass(frozen=True)
class PictureFlags:
    """All flags."""

    speech: Path = required()
    """Folder made by make_synthetic_speech."""
    output: Path = flag(ROOT / "docs" / "images", "-o")
    """Folder of the pictures."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(PictureFlags, __doc__, argv)
    draw(flags.speech, flags.output)


if __name__ == "__main__":
    main()
