"""Where torchmetrics has a metric of ours, the two agree."""

import numpy as np
import pytest
import torch
from torchmetrics import MeanAbsoluteError, MeanSquaredError
from torchmetrics.functional import pairwise_cosine_similarity, pearson_corrcoef
from torchmetrics.functional.multimodal import lip_vertex_error
from torchmetrics.retrieval import RetrievalHitRate

from models.metrics.lips import largest_distance
from models.metrics.results import value
from models.metrics.score import Quotient
from models.metrics.style import Gallery, cosine
from models.metrics.synchrony import correlation, lag_curve

RNG = np.random.default_rng(0)


def vertices(seed: int) -> torch.Tensor:
    """(T, V, 3) of a head's size in metres."""
    return 0.1 * torch.randn(40, 60, 3, generator=torch.Generator().manual_seed(seed))


def pooled(name: str, parts: list[tuple[float, float]]) -> float:
    """Our pooled value of clips given as (numerator, denominator)."""
    quotients = [Quotient.of(*part) for part in parts]
    return float(value(name, sum(s.numerator for s in quotients), sum(s.denominator for s in quotients))[0])


def test_lip_vertex_error_is_lve_sq():
    lips = [3, 7, 20, 41]
    distance = largest_distance(vertices(0)[:, lips], vertices(1)[:, lips]).double()
    theirs = lip_vertex_error(vertices(0), vertices(1), mouth_map=lips)
    assert pooled("lve_sq", [(float(distance.square().sum()), 40)]) == pytest.approx(float(theirs), rel=1e-6)


def test_pooled_root_is_the_root_of_the_mean_squared_error():
    clips = [RNG.random(30), RNG.random(70)]
    theirs = MeanSquaredError(squared=False)
    for distance in clips:
        theirs.update(torch.from_numpy(distance), torch.zeros(len(distance)))
    ours = pooled("lve_rms", [((clip**2).sum(), len(clip)) for clip in clips])
    assert ours == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_opening_difference_is_the_mean_absolute_error():
    clips = [(RNG.random(n), RNG.random(n)) for n in (30, 70)]
    theirs = MeanAbsoluteError()
    for predicted, truth in clips:
        theirs.update(torch.from_numpy(predicted), torch.from_numpy(truth))
    ours = pooled("mod", [(np.abs(a - b).sum(), len(a)) for a, b in clips])
    assert ours == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_correlation_is_pearsons():
    a, b = RNG.standard_normal(200), RNG.standard_normal(200).cumsum()
    assert correlation(a, b) == pytest.approx(float(pearson_corrcoef(torch.from_numpy(a), torch.from_numpy(b))))
    late, early = torch.from_numpy(a[3:]), torch.from_numpy(b[:-3])
    assert lag_curve(a, b, 5)[5 + 3] == pytest.approx(float(pearson_corrcoef(late, early)))


def test_cosine_similarity():
    a, b = RNG.standard_normal((5, 128)), RNG.standard_normal((7, 128))
    theirs = pairwise_cosine_similarity(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(cosine(a, b), theirs.numpy(), atol=1e-12)


def test_style_retrieval_is_the_hit_rate_of_the_first():
    """Queries that are near to speakers of a gallery, some to a wrong one."""
    speakers = [f"s{i}" for i in range(6) for _ in range(3)]
    styles = np.repeat(RNG.standard_normal((6, 16)), 3, axis=0) + 0.2 * RNG.standard_normal((18, 16))
    gallery = Gallery(styles, [f"{s}/{i}" for i, s in enumerate(speakers)], speakers)
    queries = styles + 1.5 * RNG.standard_normal(styles.shape)
    ours = np.mean([gallery.nearest(query, "elsewhere") == s for query, s in zip(queries, speakers)])
    wanted = np.array([[s == t for t in speakers] for s in speakers])
    index = torch.arange(18).repeat_interleave(18)
    scores = torch.from_numpy(cosine(queries, styles)).flatten()
    theirs = RetrievalHitRate(top_k=1)(scores, torch.from_numpy(wanted).flatten(), indexes=index)
    assert 0.3 < ours < 1 and ours == pytest.approx(float(theirs))
