"""The identity space: random adults from MakeHuman's modifiers, aligned on the face, reduced by PCA. Decimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from tqdm import tqdm

from setup.open_head.assembly import HeadMesh
from setup.open_head.lips import Lips
from setup.open_head.source import Source

FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "ears", "chin", "cheek", "neck")
AMPLITUDE = {"eyes": 0.22, "ears": 0.25, "neck": 0.2, "head": 0.22}  # standard deviation; 0.3 elsewhere
# Opposite ends of one modifier, by the last word of the target's name.
OPPOSITES = (
    ("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"), ("concave", "convex"),
    ("compress", "uncompress"), ("pointed", "triangle"), ("square", "round"),
)  # fmt: skip
# Motions of the whole head relative to the body, and elf ears, are not human identities.
EXCLUDED = ("head-trans", "head-angle", "neck-trans", "measure-neck-height", "neck-scale-vert")
WIDEN_HEAD = 0.35  # MakeHuman's base head is narrow
AGE_KNOTS = {"child": 0.1875, "young": 0.5, "old": 1.0}
MUSCLE = {"minmuscle": 0.0, "averagemuscle": 0.5, "maxmuscle": 1.0}
WEIGHT = {"minweight": 0.0, "averageweight": 0.5, "maxweight": 1.0}
ETHNICITIES = ("caucasian", "asian", "african")


@dataclass(frozen=True)
class Modifier:
    """A slider: `positive` target for values above 0, `negative` (None: the slider ends at 0) below."""

    folder: str
    name: str
    negative: str | None
    positive: str

    @property
    def shared_name(self) -> str:
        """Left and right ear or eye modifiers take nearly the same value."""
        return self.name[2:] if self.is_sided else self.name

    @property
    def is_sided(self) -> bool:
        return self.name[:2] in ("l-", "r-")


def modifiers(source: Source) -> list[Modifier]:
    """All detail modifiers of the face (138)."""
    found = []
    for folder in FOLDERS:
        names = {target.split("/", 1)[1]: target for target in source.target_names(folder)}
        done: set[str] = set()
        for name in names:
            if name in done:
                continue
            low = next((a for a, b in OPPOSITES if name.endswith("-" + a) and name[: -len(a)] + b in names), None)
            if low is not None:
                high = name[: -len(low)] + dict(OPPOSITES)[low]
                found.append(Modifier(folder, name[: -len(low) - 1], names[name], names[high]))
                done |= {name, high}
            elif not any(name.endswith("-" + b) and name[: -len(b)] + a in names for a, b in OPPOSITES):
                found.append(Modifier(folder, name, None, names[name]))
    return [
        m
        for m in found
        if not m.name.startswith(EXCLUDED) and not m.name.endswith(EXCLUDED) and "shape-pointed" not in m.name
    ]


def asymmetries(source: Source) -> list[str]:
    """Names of the asymmetry modifiers (29), each with a target for either side."""
    return sorted(
        {name.removesuffix("-l").removesuffix("-r") for name in source.target_names("asym") if "asym-" in name}
    )


def _tent(x: float, knots: dict[str, float]) -> dict[str, float]:
    """Weights of piecewise linear interpolation between named knots."""
    values = list(knots.values())
    return {name: float(np.interp(x, values, np.eye(len(values))[i])) for i, name in enumerate(knots)}


def _macro_weights(rng: np.random.Generator) -> dict[str, float]:
    """Ethnicity, age, gender, muscle and weight of a random adult as weights of MakeHuman's macro targets."""
    ethnicity = dict(zip(ETHNICITIES, rng.dirichlet([0.8] * 3)))
    age, gender = _tent(rng.uniform(0.42, 0.85), AGE_KNOTS), rng.uniform(0, 1)
    muscle = _tent(np.clip(rng.normal(0.5, 0.2), 0, 1), MUSCLE)
    weight = _tent(np.clip(rng.normal(0.5, 0.22), 0, 1), WEIGHT)
    weights = {}
    for sex, a in (("female", 1 - gender), ("male", gender)):
        for years, b in age.items():
            for people, c in ethnicity.items():
                weights[f"macrodetails/{people}-{sex}-{years}"] = a * b * c
            for m, d in muscle.items():
                for w, e in weight.items():
                    weights[f"macrodetails/universal-{sex}-{years}-{m}-{w}"] = a * b * d * e
    return weights


def _detail_weights(rng: np.random.Generator, sliders: list[Modifier], asymmetric: list[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    shared: dict[str, float] = {}
    for slider in sliders:
        if slider.shared_name not in shared:
            shared[slider.shared_name] = rng.normal(0, AMPLITUDE.get(slider.folder, 0.3))
        value = shared[slider.shared_name] + (rng.normal(0, 0.04) if slider.is_sided else 0)
        if slider.negative is None:
            value = max(value, 0) * 0.5
        if slider.name == "head-scale-horiz":
            value += WIDEN_HEAD
        value = np.clip(value, -1, 1)
        weights[slider.positive if value >= 0 else slider.negative] = abs(value)
    for name in asymmetric:
        value = rng.normal(0, 0.12)
        weights[name + ("-l" if value > 0 else "-r")] = abs(value)
    return weights


def sample_adults(source: Source, head: HeadMesh, lips: Lips, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, V, 3) random adults with closed lips, not yet aligned, float32."""
    sliders, asymmetric = modifiers(source), asymmetries(source)
    drawn = [_macro_weights(rng) | _detail_weights(rng, sliders, asymmetric) for _ in range(n)]
    names = sorted({name for weights in drawn for name, value in weights.items() if value})
    column = {name: i for i, name in enumerate(names)}
    targets = np.stack([head.displacement(source.target(name)).ravel() for name in tqdm(names, desc="targets")])
    adults = np.empty((n, len(head.rest), 3), np.float32)
    for i, weights in enumerate(tqdm(drawn, desc="adults")):
        row = np.zeros(len(names))
        for name, value in weights.items():
            if value:
                row[column[name]] += value
        adults[i] = lips.close(head.rest + (row @ targets).reshape(-1, 3))
    return adults


def align(points: np.ndarray, reference: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Rigid motion (Kabsch, no scale) of points (V, 3) that brings points[where] closest to the reference."""
    centre, goal = points[where].mean(0), reference.mean(0)
    u, _, vt = np.linalg.svd((points[where] - centre).T @ (reference - goal))
    flip = np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))])
    return (points - centre) @ (vt.T @ flip @ u.T).T + goal


@dataclass(frozen=True)
class IdentitySpace:
    """Mean face (symmetric, lips closed) and unit-variance components, decimetres."""

    mean: np.ndarray  # (V, 3)
    components: np.ndarray  # (V, 3, K), one standard deviation each
    explained: np.ndarray  # (K,) cumulative share of the variance


def identity_space(adults: np.ndarray, head: HeadMesh, lips: Lips, n_components: int) -> IdentitySpace:
    """Align the adults on the face (without ears and neck) and do PCA."""
    where = head.is_part("skin") & (head.rest[:, 1] > 6.3) & (np.abs(head.rest[:, 0]) < 0.72)
    reference = adults[0][where].astype(float)
    for count in (200, len(adults)):  # first to a rough reference, then all to their mean
        aligned = np.stack([align(points.astype(float), reference, where) for points in adults[:count]])
        reference = aligned.mean(0)[where]
    mean = aligned.mean(0)
    components, explained = _pca((aligned - mean).reshape(len(aligned), -1), n_components)
    symmetric = (mean + mean[head.mirror] * [-1, 1, 1]) / 2
    return IdentitySpace(lips.close(symmetric), components.T.reshape(*mean.shape, -1), explained)


def _pca(centred: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components (k, D), each of length one standard deviation, and cumulative explained variance."""
    gram = centred @ centred.T / (len(centred) - 1)
    top = [len(gram) - k, len(gram) - 1]
    variance, vectors = (a[..., ::-1] for a in scipy.linalg.eigh(gram, subset_by_index=top))
    components = vectors.T @ centred / np.sqrt(len(centred) - 1)
    # An eigenvector's sign is arbitrary: make the largest entry positive, so that every build gives the same.
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], axis=1)
    return components * np.sign(largest), np.cumsum(variance) / np.trace(gram)
