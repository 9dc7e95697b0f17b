"""The report: one HTML page with the table, curves, rendered frames and a map of styles."""

from __future__ import annotations

import colorsys
import logging
from typing import Any

import numpy as np
import torch

from models.heads.flame import Flame
from models.metrics.catalogue import METRICS, formula
from models.metrics.head import AXES
from models.metrics.style import principal_plane
from models.metrics.suite import LVE_TARGET, MODEL, TRUTH, Example, Suite, lve_ratio
from utils.errors import UserError
from utils.reports import html_page as html
from utils.reports.svg_plot import Axes, Line, Points, line_plot, scatter_plot
from utils.speech import BILABIALS
from utils.timebase import FPS

log = logging.getLogger(__name__)
SHOWN_SECONDS, SAMPLES_SHOWN = 10, 3
FRAMES, FRAME_SIZE = 7, 200
TRUE_COLOUR, MODEL_COLOUR = "#222222", "#0b69c7"


def build_page(suite: Suite, settings: dict[str, Any], table: list[list[str]], pictures: bool) -> str:
    """The page; `table` is metric by method with a heading row."""
    data = settings["data"]
    parts = [
        html.heading(f"Evaluation of {settings['scored']}", 1),
        html.paragraph(
            f"{data['clips']} of {data['of']} clips, {data['speakers']} speakers, {data['minutes']} minutes of "
            f"{data['data_root']} ({data['split']}). Mean +- standard deviation over samples of the value over clips."
        ),
        html.table(table, marks(suite, table)),
        html.paragraph("Green and red: within and outside of the target of the models shipped here.", note=True),
        *curves(suite),
        *(frames(suite) if pictures else []),
        *style_map(suite),
        html.heading("Clips"),
        html.details("Main figures of every clip", html.table(clip_rows(suite))),
        html.heading("Formulas"),
        html.table(formula_rows(suite), words=True),
        html.heading("Settings"),
        html.table(setting_rows(settings), words=True),
    ]
    return html.page(f"Evaluation of {settings['scored']}", parts)


def marks(suite: Suite, table: list[list[str]]) -> dict[tuple[int, int], str]:
    """Cells of the model's column that have a target: met or missed. LVE's is a third of the mean pose's."""
    if MODEL not in suite.results.methods:
        return {}
    pooled, column, found = suite.results.pooled(MODEL), table[0].index(MODEL), {}
    ratio = lve_ratio(suite.results)
    for row, name in enumerate(suite.results.metrics(), start=1):
        target, mean = METRICS[name].target, pooled.get(name, {}).get("mean")
        if name == "lve" and ratio is not None:
            target, mean = (0.0, LVE_TARGET), ratio
        if target is not None and mean is not None:
            found[row, column] = "met" if target[0] <= mean <= target[1] else "missed"
    return found


def curves(suite: Suite) -> list[str]:
    """Mouth opening and head rotation of the example clips."""
    if not suite.examples:
        return []
    intro = f"The first {SHOWN_SECONDS} s; up to {SAMPLES_SHOWN} samples."
    parts = [html.heading("Mouth opening and head rotation"), html.paragraph(intro, note=True)]
    for example in suite.examples:
        parts.append(html.heading(example.clip.name, 3))
        parts.append(opening_plot(example))
        if example.motion.pose[..., :3].any():
            parts += [rotation_plot(example, axis) for axis in range(3)]
    return parts


def opening_plot(example: Example) -> str:
    n = min(SHOWN_SECONDS * FPS, example.opening_mm.shape[1])
    marks = [(p.start + p.end) / 2 for p in example.clip.phones or () if p.name in BILABIALS and p.end < n / FPS]
    axes = Axes("s", "mouth opening, mm", marks=marks, marks_label="p, b, m" if marks else "")
    return line_plot(_curves(example.true_opening_mm[:n], example.opening_mm[:SAMPLES_SHOWN, :n]), axes)


def rotation_plot(example: Example, axis: int) -> str:
    n = min(SHOWN_SECONDS * FPS, example.motion.n_frames)
    truth = np.degrees(example.clip.truth.pose[:n, axis])
    samples = np.degrees(example.motion.pose[:SAMPLES_SHOWN, :n, axis].numpy())
    return line_plot(_curves(truth, samples), Axes("s", f"head {AXES[axis]}, degrees", height=150))


def _curves(truth: np.ndarray, samples: np.ndarray) -> list[Line]:
    time = (np.arange(len(truth)) + 0.5) / FPS
    lines = [
        Line(time[: len(track)], track, MODEL_COLOUR, "" if i else "model", 1.4, 0.9 if i == 0 else 0.4)
        for i, track in enumerate(samples)
    ]
    return [Line(time, truth, TRUE_COLOUR, "truth", 1.4, 1.0, "5 3"), *lines]


def frames(suite: Suite) -> list[str]:
    """Truth and first sample side by side, at the same instants; a note where nothing can be drawn."""
    if not suite.examples:
        return []
    parts = [html.heading("Frames: truth above, first sample below")]
    try:
        for example in suite.examples:
            n = min(SHOWN_SECONDS * FPS, example.motion.n_frames)
            instants = np.linspace(n * 0.1, n - 1, FRAMES).astype(int)
            grid = draw(suite.measure.flame, example, instants)
            words = ", ".join(f"{i / FPS:.1f}" for i in instants)
            parts += [html.heading(f"{example.clip.name}, at {words} s", 3), html.picture(grid, "truth and prediction")]
    except (UserError, ImportError) as error:  # no OpenGL, or no renderer installed
        log.warning("no frames in the report: %s", error)
        parts.append(html.paragraph(f"Not drawn: {error}", note=True))
    return parts


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


def style_map(suite: Suite) -> list[str]:
    """Main plane of the true styles; each clip's generated style (mean over samples) linked to its true one."""
    if suite.judge is None or len(suite.styles.get(TRUTH, {})) < 3:
        return []
    clips = list(suite.styles[TRUTH])
    truth = np.stack([suite.styles[TRUTH][clip].mean(0) for clip in clips])
    mean, plane = principal_plane(truth)
    drawn = [clip for clip in clips if clip in suite.styles.get(MODEL, {})]
    made = np.array([suite.styles[MODEL][clip].mean(0) for clip in drawn]).reshape(-1, truth.shape[1])
    there, here = (truth - mean) @ plane.T, (made - mean) @ plane.T
    colours = speaker_colours(clips)
    place = dict(zip(clips, there))
    links = [(*place[clip], *point) for clip, point in zip(drawn, here)]
    groups = [
        Points(there[:, 0], there[:, 1], [colours[c] for c in clips], "circle", "truth", clips),
        Points(here[:, 0], here[:, 1], [colours[c] for c in drawn], "cross", "model", drawn),
    ]
    note = (
        "Style vectors of whole clips in the plane of the truth's two largest variances; one colour per speaker; lines "
    )
    note += "join what was generated for a clip with the clip's own style. Rest the pointer on a mark for its name."
    axes = Axes("first direction", "second direction", width=720, height=520)
    return [html.heading("Styles"), scatter_plot(groups, axes, links), html.paragraph(note, note=True)]


def speaker_colours(clips: list[str]) -> dict[str, str]:
    """Clip -> colour of its speaker, hues spread by the golden angle."""
    speakers = list(dict.fromkeys(clip.rpartition("/")[0] for clip in clips))
    hues = {name: (i * 0.381966) % 1 for i, name in enumerate(speakers)}

    def colour(hue: float) -> str:
        return "#" + "".join(f"{round(255 * x):02x}" for x in colorsys.hls_to_rgb(hue, 0.42, 0.75))

    return {clip: colour(hues[clip.rpartition("/")[0]]) for clip in clips}


def clip_rows(suite: Suite) -> list[list[str]]:
    """Main figures of the model on every clip."""
    names = ("lve", "mod", "opening_correlation", "sync_lag", "closure_recall", "jitter", "style_cosine")
    rows = [["clip", *names]]
    if MODEL in suite.results.methods:
        for clip, metrics in suite.results.per_clip(MODEL).items():
            means = [metrics.get(name, {}).get("mean") for name in names]
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
