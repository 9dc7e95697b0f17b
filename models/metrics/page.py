"""The report: one HTML page with the table, curves, rendered frames and a map of styles."""

from __future__ import annotations

import colorsys
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.heads.flame import Flame
from models.metrics.catalogue import MAIN, METRICS, formula
from models.metrics.head import AXES
from models.metrics.style import principal_plane
from models.metrics.suite import LVE_TARGET, MODEL, TRUTH, Example, Suite, lve_ratio
from utils.errors import UserError
from utils.reports.html_page import png_address, render
from utils.reports.plots import BLUE, INK, legend, new_figure, set_titles, to_svg
from utils.speech import BILABIALS
from utils.timebase import FPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)
SHOWN_SECONDS, SAMPLES_SHOWN = 10, 3
FRAMES, FRAME_SIZE = 7, 200
WIDTH = 920  # pixels of a plot


@dataclass(frozen=True)
class Table:
    """A table of the page: rows of cells, the heading first."""

    title: str
    rows: list[list[str]]
    note: str = ""
    folded: bool = False


def build_page(suite: Suite, settings: dict[str, Any], tables: list[Table], pictures: bool) -> str:
    """The page; the tables have a column per method, a row with the number of clips, and a row per metric."""
    drawn, not_drawn = frames(suite) if pictures else ([], "")
    return render(
        "evaluation.html",
        title=f"Evaluation of {settings['scored']}",
        data=settings["data"],
        results=tables[0].rows,
        marks=marks(suite, tables[0].rows),
        more=tables[1:],
        curves=[{"name": example.clip.name, "svg": curves(example)} for example in suite.examples],
        seconds=SHOWN_SECONDS,
        samples=SAMPLES_SHOWN,
        frames=drawn,
        not_drawn=not_drawn,
        styles=style_map(suite),
        clips=clip_rows(suite),
        formulas=formula_rows(suite),
        settings=setting_rows(settings),
    )


def marks(suite: Suite, table: list[list[str]]) -> dict[tuple[int, int], str]:
    """Whether the cells with a target in the model's column meet it. LVE's target is a third of the mean pose's."""
    if MODEL not in suite.results.methods:
        return {}
    pooled, column, found = suite.results.pooled(MODEL), table[0].index(MODEL), {}
    ratio = lve_ratio(suite.results)
    for row, name in enumerate(suite.results.metrics(), start=2):
        target, mean = METRICS[name].target, pooled.get(name, {}).get("mean")
        if name == "lve" and ratio is not None:
            target, mean = (0.0, LVE_TARGET), ratio
        if target is not None and mean is not None:
            found[row, column] = "met" if target[0] <= mean <= target[1] else "missed"
    return found


def curves(example: Example) -> str:
    """Mouth opening over time and, if the model moves the head, its rotation below: truth dashed, samples in blue."""
    clip, motion = example.clip, example.motion
    turns = range(3) if motion.pose[..., :3].any() else ()
    tracks = {"mouth opening, mm": (example.true_opening_mm, example.opening_mm)}
    for i in turns:
        samples = motion.pose[..., i].numpy()
        tracks[f"head {AXES[i]}, degrees"] = np.degrees(clip.truth.pose[:, i]), np.degrees(samples)
    figure = new_figure(WIDTH, 90 + 130 * len(tracks), rows=len(tracks))
    for axes, (what, (truth, samples)) in zip(figure.axes, tracks.items()):
        n = min(SHOWN_SECONDS * FPS, samples.shape[1])
        _plot_tracks(axes, truth[:n], samples[:SAMPLES_SHOWN, :n])
        set_titles(axes, what, "s" if axes is figure.axes[-1] else "")
    top, end = figure.axes[0], n / FPS
    closures = [(p.start + p.end) / 2 for p in clip.phones or () if p.name in BILABIALS and p.end < end]
    if closures:
        bottom = np.zeros(len(closures))
        top.plot(closures, bottom, "|", color=INK, label="p, b, m", transform=top.get_xaxis_transform(), clip_on=False)
    legend(top)
    return to_svg(figure)


def _plot_tracks(axes: Axes, truth: np.ndarray, samples: np.ndarray) -> None:
    """truth (T,), samples (S, T') at 25 fps."""
    time = (np.arange(len(truth)) + 0.5) / FPS
    for i, track in enumerate(samples):
        label, alpha = ("", 0.4) if i else ("model", 0.95)
        axes.plot(time[: len(track)], track, color=BLUE, label=label, linewidth=1.1, alpha=alpha)
    axes.plot(time, truth, color=INK, label="truth", linewidth=1.0, linestyle=(0, (4, 2)), alpha=0.8)


def frames(suite: Suite) -> tuple[list[dict[str, str]], str]:
    """Truth and first sample of every example at the same instants; or the reason why nothing can be drawn."""
    drawn = []
    try:
        for example in suite.examples:
            n = min(SHOWN_SECONDS * FPS, example.motion.n_frames)
            instants = np.linspace(n * 0.1, n - 1, FRAMES).astype(int)
            address = png_address(draw(suite.measure.flame, example, instants))
            times = ", ".join(f"{i / FPS:.1f}" for i in instants)
            drawn.append({"name": example.clip.name, "times": times, "address": address})
    except (UserError, ImportError) as error:  # no OpenGL, or no renderer installed
        log.warning("no frames in the report: %s", error)
        return drawn, str(error)
    return drawn, ""


@torch.no_grad()
def draw(flame: Flame, example: Example, instants: np.ndarray) -> np.ndarray:
    """uint8 picture: the truth's row above the first sample's."""
    from utils.rendering.renderer import Renderer, RenderStyle

    renderer, device, rows = Renderer(flame.head, RenderStyle(size=FRAME_SIZE)), flame.template.device, []
    truth, sample = example.clip.truth, example.motion
    shape = torch.from_numpy(np.ascontiguousarray(truth.shape)).to(device).expand(len(instants), -1)
    for exp, pose in ((truth.exp, truth.pose), (sample.exp[0].numpy(), sample.pose[0].numpy())):
        coefs = (torch.from_numpy(x[instants]).to(device) for x in (exp, pose))
        rows.append(np.concatenate(list(renderer.frames(flame(shape, *coefs).cpu().numpy())), axis=1))
    return np.concatenate(rows)


def style_map(suite: Suite) -> str:
    """Main plane of the true styles; each clip's generated style (mean over samples) linked to its true one."""
    if suite.judge is None or len(suite.styles.get(TRUTH, {})) < 3:
        return ""
    clips = list(suite.styles[TRUTH])
    truth = np.stack([suite.styles[TRUTH][clip].mean(0) for clip in clips])
    mean, plane = principal_plane(truth)
    drawn = [clip for clip in clips if clip in suite.styles.get(MODEL, {})]
    made = np.array([suite.styles[MODEL][clip].mean(0) for clip in drawn]).reshape(-1, truth.shape[1])
    there, here = (truth - mean) @ plane.T, (made - mean) @ plane.T
    place = dict(zip(clips, there))
    figure = new_figure(720, 520)
    (axes,) = figure.axes
    for clip, point in zip(drawn, here):
        axes.plot(*zip(place[clip], point), color=INK, alpha=0.25, linewidth=0.6, zorder=1)
    colours = speaker_colours(clips)
    axes.scatter(*there.T, s=32, c=[colours[c] for c in clips], label="truth", gid="truth")
    axes.scatter(*here.T, s=32, c=[colours[c] for c in drawn], marker="x", label="model", gid="model")
    set_titles(axes, "", "first direction", "second direction")
    axes.margins(0.05)
    legend(axes)
    return to_svg(figure, {"truth": clips, "model": drawn})


def speaker_colours(clips: list[str]) -> dict[str, str]:
    """Clip -> colour of its speaker, hues spread by the golden angle."""
    speakers = list(dict.fromkeys(clip.rpartition("/")[0] for clip in clips))
    hues = {name: (i * 0.381966) % 1 for i, name in enumerate(speakers)}

    def colour(hue: float) -> str:
        return "#" + "".join(f"{round(255 * x):02x}" for x in colorsys.hls_to_rgb(hue, 0.5, 0.6))

    return {clip: colour(hues[clip.rpartition("/")[0]]) for clip in clips}


def clip_rows(suite: Suite) -> list[list[str]]:
    """Main figures of the model on every clip."""
    rows = [["clip", *MAIN]]
    if MODEL in suite.results.methods:
        for clip, metrics in suite.results.per_clip(MODEL).items():
            means = [metrics.get(name, {}).get("mean") for name in MAIN]
            rows.append([clip, *("-" if mean is None else f"{mean:.3g}" for mean in means)])
    return rows


def formula_rows(suite: Suite) -> list[list[str]]:
    rule, rows = suite.rule, [["metric", "unit", "better", "formula", "source"]]
    for name in suite.results.metrics():
        metric = METRICS[name]
        text = formula(name, rule.closed_mm, rule.tolerance)
        rows.append([name, metric.unit, metric.better, text, metric.source])
    note = (
        "x, x*: predicted and true vertices, m, head rotation removed; o, o*: mouth opening, mm; r, r*: head rotation"
    )
    return [*rows, ["notation", "", "", note + "; pooled: sums over clips are divided", ""]]


def setting_rows(settings: dict[str, Any]) -> list[list[str]]:
    """Nested settings as lines `a.b: value`."""
    rows = [["setting", "value"]]

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else key, inner)
        else:
            rows.append([prefix, str(value)])

    add("", settings)
    return rows
