"""Every metric's name, unit, formula and source, as reports show them.

Notation: x, x* predicted and true vertices in metres with the head rotation removed; T frames; o, o* mouth opening
(vertical distance of the inner lips, mm); r, r* head rotation (axis-angle). "Pooled": a quotient of sums over all
clips, not a mean of the clips' quotients.
"""

from __future__ import annotations

from dataclasses import dataclass

LOWER, HIGHER, ONE, ZERO, NEITHER = "lower", "higher", "closest to 1", "closest to 0", ""
OWN, SPEC = "this project", "DiffPoseTalk protocol"


@dataclass(frozen=True)
class Metric:
    """The meaning of a number in the results."""

    name: str
    unit: str
    better: str
    formula: str
    source: str = OWN
    root: bool = False  # the value is the square root of the pooled quotient
    target: tuple[float, float] | None = None  # range that the shipped model must reach
    digits: int = 2  # decimals in tables; negative: significant digits, for tiny numbers


_LIPS = [
    Metric("lve", "mm", LOWER, "mean_t max_{v in lips} |x_tv - x*_tv|, pooled over frames", "DiffPoseTalk"),
    Metric(
        *("lve_sq", "m^2", LOWER, "mean_t max_{v in lips} |x_tv - x*_tv|^2, pooled over frames"),
        source="CodeTalker's script; lip_vertex_error of torchmetrics",
        digits=-3,
    ),
    Metric("lve_rms", "mm", LOWER, "sqrt(lve_sq)", "ARTalk", root=True),
    Metric(
        *("lve_best", "mm", LOWER),
        "the lve of each clip's best sample, pooled over frames",
        source="best of n samples, as the ADE of Yuan and Kitani, DLow, ECCV 2020",
    ),
    Metric("mod", "mm", LOWER, "mean_t |o_t - o*_t|, pooled over frames", "DiffPoseTalk"),
    Metric(
        *("opening_correlation", "", HIGHER, "mean over clips of Pearson(o, o*) at lag 0"), target=(0.9, 1.0), digits=3
    ),
    Metric(
        *("sync_lag", "frames", ZERO),
        "mean over clips of argmax_{|l| <= 12} Pearson(o_{t+l}, o*_t); positive: the prediction is late",
        target=(-1.0, 1.0),
    ),
    Metric("sync_lag_abs", "frames", LOWER, "mean over clips of |sync lag|"),
    Metric(
        *("mtm", "ms", LOWER),
        "mean over the turning points of o*, pooled, of |t' - t|, t': the frame of o that derivative dynamic time "
        "warping joins with t (smoothed by 1 frame, within 12 frames)",
        source="mean temporal misalignment, Chae-Yeon et al., CVPR 2025",
        digits=1,
    ),
    Metric(
        *("slcc", "", NEITHER),
        "Pearson over clips of the sound's root mean square and the mean of o, each standardised within its speaker",
        source="after the speech-lip intensity correlation coefficient, Chae-Yeon et al., CVPR 2025",
        digits=3,
    ),
    Metric("opening_ratio", "", ONE, "sqrt(variance over time of o / that of o*, pooled)", root=True),
    Metric(
        *("closure_recall", "", HIGHER),
        "share of p, b, m with min o <= {closed} mm on the phone's frames +- {tolerance}, pooled",
        target=(0.97, 1.0),
        digits=3,
    ),
    Metric(
        *("closure_chance", "", NEITHER),
        "the same for windows of equal length centred on any frame of speech: closure recall that ignores the words",
        digits=3,
    ),
    Metric(
        *("jitter", "", ONE),
        "mean_t,v |x_{t+1} - 2 x_t + x_{t-1}| over lip vertices / the same of x*, pooled",
        target=(0.8, 1.2),
    ),
]
_FACE = [
    Metric(
        *("fdd", "m^2", ZERO),
        "mean over clips of mean_{v in upper face} (std_t |x*_tv - n_v|^2 - std_t |x_tv - n_v|^2); "
        "n: the neutral face; population standard deviation, signed",
        source="CodeTalker",
        digits=-3,
    ),
    Metric(
        *("blink_rate", "1/min", NEITHER),
        "blinks per minute, pooled: the lids rise above 0.5 closed after they were below 0.25",
        digits=1,
    ),
    Metric(
        *("frechet_face", "", LOWER),
        "|m - m*|^2 + tr(C + C* - 2 (C C*)^(1/2)), m, C: mean and covariance over all clips' windows of 50 frames of "
        "mean, standard deviation and mean speed of mouth opening and lid distance, over their spread in the truth",
        source="this project, after Heusel et al., NeurIPS 2017",
    ),
    Metric("mhd", "mm", LOWER, "mean_t,v |x_tv - x*_tv| over all vertices, pooled over frames", SPEC),
    Metric(
        "diversity", "mm", NEITHER, "mean over clips, pairs of samples, frames and all vertices of |x_tv - x'_tv|", SPEC
    ),
]
_HEAD = [
    Metric(
        *("ba", "", HIGHER),
        "mean over true beats, pooled, of exp(-d^2 / (2 3^2)), d: frames to the nearest predicted beat; beats: "
        "local minima of the head's rotational speed",
        source="DiffPoseTalk protocol, after AI Choreographer and Bailando",
        digits=3,
    ),
    Metric("beat_ratio", "", ONE, "predicted beats / true beats, pooled (more beats raise ba)"),
    *(
        Metric(
            *(f"head_std_{axis}", "", ONE, f"sqrt(variance over time of r_{c} / that of r*_{c}, pooled)"),
            root=True,
            target=(0.8, 1.2),
        )
        for axis, c in (("pitch", "x"), ("yaw", "y"), ("roll", "z"))
    ),
    *(
        Metric(
            *(f"head_centroid_{axis}", "", ONE),
            f"spectral centroid of r_{c} / that of r*_{c}, sums over clips (centroid: mean frequency weighted by "
            "power; mean removed, Hann window)",
            target=(0.8, 1.2),
        )
        for axis, c in (("pitch", "x"), ("yaw", "y"), ("roll", "z"))
    ),
    Metric(
        *("frechet_head", "", LOWER),
        "|m - m*|^2 + tr(C + C* - 2 (C C*)^(1/2)), m, C: mean and covariance over all clips' windows of 50 frames of "
        "mean, standard deviation and mean speed of the three rotations, over their spread in the truth",
        source="this project, after Heusel et al., NeurIPS 2017",
    ),
    Metric(
        *("diversity_head", "deg", NEITHER),
        "mean over clips, pairs of samples and frames of the angle between their head rotations",
    ),
]
_STYLE = [
    Metric(
        *("style_cosine", "", HIGHER),
        "mean over clips of cos(E(motion), E(requested)); E: style encoder, mean over consecutive 4 s windows",
        source=SPEC,
        digits=3,
    ),
    Metric(
        *("style_top1", "", HIGHER),
        "share of motions whose nearest reference (cosine) is the requested speaker's; references: the first 4 s of "
        "every other clip of the split",
        source=SPEC,
        target=(0.8, 1.0),
        digits=3,
    ),
    Metric(
        *("style_top1_alike", "", HIGHER),
        "style_top1, where a speaker with the same style parameters also counts as right",
        digits=3,
    ),
]
METRICS = {metric.name: metric for metric in [*_LIPS, *_FACE, *_HEAD, *_STYLE]}


def formula(name: str, closed_mm: float, tolerance: int) -> str:
    """A metric's formula with the closure rule's numbers filled in."""
    return METRICS[name].formula.replace("{closed}", f"{closed_mm:g}").replace("{tolerance}", str(tolerance))
