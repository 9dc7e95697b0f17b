"""Quality against the number of sampling steps: every motion metric, every solver, beside 500-step DDPM.

    python -m benchmarks.figures.steps --data_root DATA -o OUT [--samplers ddim dpmpp_2m ddpm] [--steps 5 10 25]
                               [-- any other flags of evaluate.py, such as --limit 24 -n 4 --precision fp16]

Runs evaluate.py once for each point, into OUT/<sampler>_<steps> (a point that is there already is kept, so a stopped
run goes on), then writes OUT/steps.json and the plot OUT/steps.svg. The dashed lines are the mean of DDPM with all
steps and, thinner, one standard deviation over samples on either side.
"""

from __future__ import annotations

import json
import logging
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import read_flags, text_table, write_json
from models.diffusion.solvers import SAMPLERS
from utils.config import flag, required
from utils.errors import UserError, cli
from utils.reports.plots import BLUE, GREEN, INK, ORANGE, legend, log_x, new_figure, set_titles, write_svg
from utils.runs.run_dir import ROOT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

METRICS = (
    "lve", "opening_correlation", "closure_recall", "opening_ratio", "jitter", "fdd", "mhd", "diversity", "ba",
    "head_std_pitch", "head_std_yaw", "head_centroid_pitch", "head_centroid_yaw", "diversity_head", "style_cosine",
    "style_top1",
)  # fmt: skip
REFERENCE = "reference"
LOOKS = {"ddim": (ORANGE, "s"), "dpmpp_2m": (BLUE, "o"), "ddpm": (GREEN, "^")}  # colour, mark
PANEL = (400, 210)  # pixels
COLUMNS = 3

Point = dict[str, dict[str, float]]  # metric -> mean, std


def evaluate(folder: Path, data_root: Path, flags: list[str]) -> dict[str, Any]:
    """What evaluate.py found, by `metrics.json`; run only if it is not there.

    Raises:
        UserError: evaluate.py failed; its own message has been shown.
    """
    file = folder / "metrics.json"
    if not file.is_file():
        command = [sys.executable, str(ROOT / "evaluate.py"), "--data_root", str(data_root), "-o", str(folder)]
        log.info("%s", " ".join(flags))
        if subprocess.run([*command, "--no_pictures", *flags], stdout=subprocess.DEVNULL).returncode:
            raise UserError(f"evaluate.py {' '.join(flags)}: failed, see above")
    return json.loads(file.read_text())


@dataclass(frozen=True)
class PointFlags:
    """All flags but those of evaluate.py."""

    data_root: Path = required()
    """Data set, as for evaluate.py."""
    output: Path = required("-o")
    """Folder for everything that is made."""
    samplers: tuple[str, ...] = flag(tuple(LOOKS), choices=tuple(SAMPLERS))
    """Solvers."""
    steps: tuple[int, ...] = (3, 5, 8, 10, 15, 25, 50)
    """Network evaluations."""
    no_reference: bool = False
    """Leave out DDPM with all steps, which takes long."""


def collect(flags: PointFlags, more: list[str]) -> dict[str, dict[str, Any]]:
    """`<sampler> <steps>` -> what evaluate.py found with `more` of its flags, `reference` first.

    Raises:
        UserError: a point that was there already is of another model or other data.
    """
    wanted = {} if flags.no_reference else {REFERENCE: ["--sampler", "ddpm"]}
    for sampler in flags.samplers:
        wanted |= {f"{sampler} {n}": ["--sampler", sampler, "--steps", str(n)] for n in sorted(flags.steps)}
    found: dict[str, dict[str, Any]] = {}
    for label, point in wanted.items():
        folder = flags.output / label.replace(" ", "_")
        found[label] = evaluate(folder, flags.data_root, [*point, *more])
        subjects = [[each["settings"][key] for key in ("scored", "data")] for each in found.values()]
        if subjects[-1] != subjects[0]:
            raise UserError(f"{folder}: is of {subjects[-1]}, others of {subjects[0]}; remove it, or use another -o")
    return found


def outside(point: Point, reference: Point) -> list[str]:
    """Metrics whose mean lies more than two standard deviations (over its samples) from the reference's mean."""
    return [
        name
        for name in METRICS
        if name in point and name in reference and (reference[name]["std"] or 0) > 0  # none for those of all samples
        and abs(point[name]["mean"] - reference[name]["mean"]) > 2 * reference[name]["std"]
    ]  # fmt: skip


def curve(sampler: str, metric: str, points: dict[str, Point]) -> list[tuple[int, float]]:
    """(steps, mean) of a solver, by steps."""
    named = {tuple(name.split()): p[metric]["mean"] for name, p in points.items() if metric in p and name != REFERENCE}
    return sorted((int(steps), mean) for (own, steps), mean in named.items() if own == sampler)


def draw_panel(axes: Axes, metric: str, points: dict[str, Point]) -> None:
    """The solvers' curves, and dashed lines at the reference's mean and one standard deviation on either side."""
    for sampler, (colour, mark) in LOOKS.items():
        found = curve(sampler, metric, points)
        if found:
            axes.plot(*zip(*found), color=colour, marker=mark, markersize=3.5, linewidth=1.2, label=sampler)
    reference = points.get(REFERENCE, {}).get(metric)
    if reference is not None:
        spread = reference["std"] if reference["std"] and math.isfinite(reference["std"]) else 0.0
        for shift, width in ((0.0, 1.0), (spread, 0.5), (-spread, 0.5)):
            axes.axhline(reference["mean"] + shift, color=INK, linewidth=width, linestyle=(0, (4, 3)), alpha=0.7)
    log_x(axes)
    set_titles(axes, metric, "steps")


def picture(points: dict[str, Point]) -> Figure:
    """All metrics that a solver has, a panel each; the first one names the solvers."""
    metrics = [metric for metric in METRICS if any(curve(sampler, metric, points) for sampler in LOOKS)]
    rows = max(1, -(-len(metrics) // COLUMNS))
    figure = new_figure(COLUMNS * PANEL[0], rows * PANEL[1], rows, COLUMNS)
    for axes, metric in zip(figure.axes, metrics):
        draw_panel(axes, metric, points)
    for axes in figure.axes[len(metrics) :]:
        axes.remove()
    if metrics:
        legend(figure.axes[0])
    return figure


def table(points: dict[str, Point]) -> str:
    """Means of all points, with the metrics that leave the reference's spread."""
    reference = points.get(REFERENCE, {})
    names = [name for name in METRICS if any(name in p for p in points.values())]
    rows = [("", *names, "outside")]
    for label, point in points.items():
        cells = [f"{point[name]['mean']:.3g}" if name in point else "-" for name in names]
        rows.append((label, *cells, str(len(outside(point, reference)))))
    return text_table(rows)


@cli
def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    split = argv.index("--") if "--" in argv else len(argv)
    flags = read_flags(PointFlags, __doc__, argv[:split])
    found = collect(flags, argv[split + 1 :])
    points = {label: each["pooled"]["model"] for label, each in found.items()}
    print(table(points))
    settings = next(iter(found.values()))["settings"]
    write_json(flags.output / "steps.json", {"scored": settings["scored"], "data": settings["data"], "points": points})
    write_svg(flags.output / "steps.svg", picture(points))


if __name__ == "__main__":
    main()
