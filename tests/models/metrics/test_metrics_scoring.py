"""Whole clips scored on the open head: the truth against itself, known changes of it, and the fast paths."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.diffusion.solvers import SamplerConfig
from models.generation.windows import GenerationConfig
from models.heads.decode import decode
from models.heads.flame import Flame, load_flame
from models.heads.mouth import mouth_opening
from models.metrics.lips import ClosureRule
from models.metrics.measure import HeadMeasure, Sampled, mean_spread, restricted
from models.metrics.predict import Draw, Predictor, first_seed
from models.metrics.regions import find_regions, middle_of_lips, with_masks
from models.metrics.results import Results
from models.metrics.score import ClipTruth, mean_pose, other_clip
from models.metrics.validation import Validator
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from tests.support.tiny_talker import make_talker
from utils.coefs import CoefLayout, CoefStats, MotionCodec
from utils.errors import UserError
from utils.motion_file import Motion
from utils.speech import Phone, SpokenClip

T = 120
JAW = 3


@pytest.fixture(scope="module")
def flame() -> Flame:
    return load_flame()


@pytest.fixture(scope="module")
def measure(flame) -> HeadMeasure:
    return HeadMeasure(flame, find_regions(flame.head))


def motion(seed: int = 0, n: int = T) -> Motion:
    """A talking jaw with small expressions, a turning head, and a blink every second."""
    rng = np.random.default_rng(seed)
    time = np.arange(n) / 25
    exp = 0.1 * np.abs(rng.standard_normal((1, 50))) * np.ones((n, 1))
    exp[:, 8:10] = ((np.arange(n) % 25) == 12)[:, None]
    pose = np.zeros((n, 6))
    smooth = np.convolve(rng.standard_normal(n + 8), np.hanning(9) / 4, "valid")
    pose[:, JAW] = 0.15 + 0.1 * np.tanh(smooth)
    for i, hertz in enumerate((0.7, 0.4, 0.9)):
        pose[:, i] = 0.08 * np.sin(2 * np.pi * (hertz * time + rng.random()))
    shape = 0.5 * rng.standard_normal(100)
    return Motion(exp.astype(np.float32), pose.astype(np.float32), shape.astype(np.float32))


def clip(seed: int = 0, n: int = T, phones=None) -> SpokenClip:
    audio = (0.1 * np.random.default_rng(seed).standard_normal(640 * n)).astype(np.float32)
    return SpokenClip(f"s{seed}/000", f"s{seed}", audio, motion(seed, n), motion(seed + 1, 100), phones)


def stacked(*motions: Motion) -> Sampled:
    return Sampled(*(torch.from_numpy(np.stack([getattr(m, k) for m in motions])) for k in ("exp", "pose")))


def values(truth: ClipTruth, moved: Sampled, rule: ClosureRule | None = None) -> dict[str, float]:
    """Metric -> mean over samples."""
    results = Results()
    results.add("m", "c", truth.score(moved, rule or ClosureRule())[0])
    return {name: entry["mean"] for name, entry in results.pooled("m").items()}


def test_truth_against_itself(measure):
    """Shut at a b: every metric is at its best."""
    true = clip()
    true.truth.pose[40:43, JAW] = 0
    true.truth.exp[40:43] = 0
    spoken = (Phone("aa", 0, 1.6), Phone("b", 1.6, 1.72), Phone("aa", 1.72, T / 25))
    found = values(ClipTruth(replace(true, phones=spoken), measure), stacked(true.truth))
    for name in ("lve", "lve_sq", "lve_rms", "mod", "mhd", "fdd", "sync_lag", "sync_lag_abs"):
        assert found[name] == pytest.approx(0, abs=1e-6), name
    ones = ["opening_correlation", "opening_ratio", "jitter", "closure_recall", "ba", "beat_ratio"]
    ones += [f"head_{kind}_{axis}" for kind in ("std", "centroid") for axis in ("pitch", "yaw", "roll")]
    for name in ones:
        assert found[name] == pytest.approx(1, abs=1e-6), name
    assert found["blink_rate"] == pytest.approx(5 / (T / 25 / 60))
    assert 0 < found["closure_chance"] < 0.2
    assert "diversity" not in found


def test_two_frames_late(measure):
    long = motion(0, T + 2)
    true = Motion(long.exp[2:], long.pose[2:], long.shape)
    late = Motion(long.exp[:-2], long.pose[:-2])
    found = values(ClipTruth(replace(clip(), truth=true), measure), stacked(late))
    assert found["sync_lag"] == 2
    assert found["opening_correlation"] < 0.95


def test_mod_and_opening_ratio_of_scaled_motion(measure, flame):
    """The jaw opens by a constant factor more: the mean difference follows from the openings themselves."""
    true = motion()
    true.exp[:] = 0
    wider = Motion(true.exp, true.pose * np.array([1, 1, 1, 1.5, 1, 1], np.float32))
    openings = []
    for each in (true, wider):
        shape = torch.from_numpy(true.shape).expand(T, -1)
        coefs = torch.from_numpy(each.exp), torch.from_numpy(each.pose)
        openings.append(1000 * mouth_opening(flame(shape, *coefs, global_rotation=False), flame.head).numpy())
    found = values(ClipTruth(replace(clip(), truth=true), measure), stacked(wider))
    assert found["mod"] == pytest.approx(np.abs(openings[1] - openings[0]).mean(), rel=1e-4)
    assert found["mod"] > 1
    assert found["opening_ratio"] == pytest.approx(openings[1].std() / openings[0].std(), rel=1e-4)
    assert found["jitter"] == pytest.approx(1.5, abs=0.1)
    assert found["opening_correlation"] > 0.99


def test_vertex_measures_against_the_plain_way(measure, flame):
    true, moved = motion(0), stacked(motion(1), motion(2), motion(3))
    found = values(ClipTruth(replace(clip(), truth=true), measure), moved)
    shape = torch.from_numpy(true.shape)
    still = Sampled(torch.zeros(1, 1, 50), torch.zeros(1, 1, 6))
    x, (target,), ((neutral,),) = (decode(flame, m, shape, False) for m in (moved, stacked(true), still))
    lips, upper = (torch.from_numpy(flame.head.masks[name]) for name in ("lips", "upper_face"))
    distance = (x - target).double().norm(dim=-1)
    largest = distance[:, :, lips].amax(-1)
    assert found["lve"] == pytest.approx(1000 * largest.mean().item(), rel=1e-4)
    assert found["lve_sq"] == pytest.approx(largest.square().mean().item(), rel=1e-4)
    assert found["lve_rms"] == pytest.approx(1000 * largest.square().mean(1).sqrt().mean().item(), rel=1e-4)
    assert found["mhd"] == pytest.approx(1000 * distance.mean().item(), rel=1e-4)

    def dynamics(v):
        return (v[..., upper, :] - neutral[upper]).double().square().sum(-1).std(-2, correction=0).mean(-1)

    assert found["fdd"] == pytest.approx((dynamics(target) - dynamics(x)).mean().item(), rel=1e-3)
    pairs = [(x[i] - x[j]).double().norm(dim=-1).mean().item() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found["diversity"] == pytest.approx(1000 * np.mean(pairs), rel=1e-4)
    assert mean_spread(x).item() == pytest.approx(np.mean(pairs), rel=1e-4)


def test_chunks_do_not_show(measure, monkeypatch):
    truth, moved = ClipTruth(clip(), measure), stacked(motion(1), motion(2))
    whole = values(truth, moved)
    monkeypatch.setattr("models.heads.decode._BUDGET", {"cpu": 1})  # 8 frames at a time
    assert values(truth, moved) == pytest.approx(whole, rel=1e-4, abs=1e-9)


def test_restricted_head_has_the_same_vertices(flame):
    ids = torch.tensor([0, 5, 520, 523, 4000])
    true = motion()
    coefs = [torch.from_numpy(x) for x in (np.repeat(true.shape[None], T, 0), true.exp, true.pose)]
    part = restricted(flame, ids)
    torch.testing.assert_close(part(*coefs), flame(*coefs)[:, ids], atol=1e-6, rtol=0)
    assert (part.n_vertices, flame.n_vertices) == (5, flame.head.n_vertices)


def test_without_the_whole_head_only_those_measures_are_missing(measure):
    moved = stacked(motion(1), motion(2))
    whole, part = (values(ClipTruth(clip(), measure, flag), moved) for flag in (True, False))
    assert set(whole) - set(part) == {"mhd", "diversity"}
    assert part == pytest.approx({name: whole[name] for name in part}, rel=1e-4, abs=1e-9)


def test_shorter_results_are_compared_up_to_their_end(measure):
    true = clip()
    cut = stacked(Motion(true.truth.exp[:80], true.truth.pose[:80]))
    found = values(ClipTruth(true, measure), cut)
    assert found["lve"] == pytest.approx(0, abs=1e-6) and found["jitter"] == pytest.approx(1)


def test_motion_without_head_rotation_has_no_head_scores(measure):
    still = motion()
    still.pose[:, :3] = 0
    found = values(ClipTruth(clip(), measure), stacked(still))
    assert not [name for name in found if name.startswith(("head", "ba", "beat"))]


def test_baselines(measure):
    rest = mean_pose(torch.full((50,), 0.2), torch.full((6,), 0.1), 7)
    assert rest.exp.shape == (1, 7, 50) and (rest.pose == 0.1).all()
    other = other_clip(motion().exp[:3], motion().pose[:3], 7, torch.device("cpu"))
    torch.testing.assert_close(other.exp[0], torch.from_numpy(motion().exp[[0, 1, 2, 0, 1, 2, 0]]))
    found = values(ClipTruth(clip(), measure), rest.cut(7))
    assert [found[k] for k in ("head_std_yaw", "ba", "jitter")] == pytest.approx([0, 0, 0], abs=1e-4)


# Regions


def test_regions_of_the_open_head(flame):
    regions = find_regions(flame.head)
    assert (len(regions.lips), len(regions.upper_face)) == (418, 1087)
    assert regions.blink_units == (8, 9)
    assert (regions.upper_lip, regions.lower_lip) == (flame.head.landmarks["upper_inner_lip"],
                                                      flame.head.landmarks["lower_inner_lip"])  # fmt: skip


def test_derived_middle_of_the_lips_opens_like_the_landmarks(flame):
    """Without landmarks the pair is found from mask and skinning; its opening must follow the true one."""
    head = flame.head
    upper, lower = middle_of_lips(head, np.flatnonzero(head.masks["lips"]))
    true = motion()
    shape = torch.from_numpy(true.shape).expand(T, -1)
    vertices = flame(shape, torch.from_numpy(true.exp), torch.from_numpy(true.pose), global_rotation=False)
    derived = (vertices[:, upper, 1] - vertices[:, lower, 1]).numpy()
    landmarks = mouth_opening(vertices, head).numpy()
    assert np.corrcoef(derived, landmarks)[0, 1] > 0.99
    assert derived.std() / landmarks.std() == pytest.approx(1, abs=0.15)


def test_flame_masks_stand_in(flame):
    """A FLAME file: no landmarks, no upper_face; forehead and eye region are joined."""
    masks = {k: v for k, v in flame.head.masks.items() if k in ("lips", "forehead", "eye_region")}
    plain = replace(flame.head, masks=masks, landmarks={}, exp_names=None, lmk68=None)
    regions = find_regions(plain)
    union = masks["forehead"] | masks["eye_region"]
    assert regions.upper_face.tolist() == np.flatnonzero(union).tolist()
    assert regions.lids is None and regions.sources["blinks"] == "none"
    assert "derived" in regions.sources["mouth_opening"]
    found = values(ClipTruth(clip(), HeadMeasure(Flame(plain), regions)), stacked(motion()))
    assert "blink_rate" not in found and found["lve"] == pytest.approx(0, abs=1e-6)


def test_a_head_without_lips_is_refused(flame):
    with pytest.raises(UserError, match="no vertex mask 'lips'.*--masks"):
        find_regions(replace(flame.head, masks={}))


def test_masks_from_a_pickle(flame, tmp_path):
    import pickle

    path = tmp_path / "FLAME_masks.pkl"
    path.write_bytes(pickle.dumps({"lips": np.array([1, 2]), "forehead": np.array([3])}, protocol=2))
    head = with_masks(replace(flame.head, masks={}), path)
    assert np.flatnonzero(head.masks["lips"]).tolist() == [1, 2]
    path.write_bytes(pickle.dumps({"lips": np.array([10**6])}, protocol=2))
    with pytest.raises(UserError, match="outside"):
        with_masks(flame.head, path)


# Prediction and validation


def codec() -> MotionCodec:
    stats = {f"{k}_{s}": torch.full((n,), v) for k, n in (("shape", 100), ("exp", 50), ("pose", 6))
             for s, v in (("mean", 0.0), ("std", 0.1))}  # fmt: skip
    return MotionCodec(CoefLayout(), CoefStats(**stats))


def test_samples_do_not_depend_on_what_is_drawn_beside_them():
    model, clips = make_talker(), [clip(0, 130), clip(1, 250), clip(2, 100)]
    styles = [torch.randn(128, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    draw = Draw(GenerationConfig(sampler=SamplerConfig("ddim", 2)), n_samples=3, seed=5)
    together = Predictor(model, codec(), draw)(clips, styles, [first_seed(5, i) for i in (4, 7, 9)])
    alone = Predictor(model, codec(), replace(draw, n_samples=2, batch_size=1))(clips[1:2], styles[1:2], [7005])
    assert [each.exp.shape for each in together] == [(3, 130, 50), (3, 250, 50), (3, 100, 50)]
    torch.testing.assert_close(together[1].exp[:2], alone[0].exp, atol=1e-5, rtol=0)
    torch.testing.assert_close(together[1].pose[:2], alone[0].pose, atol=1e-5, rtol=0)
    assert (together[0].exp[0] - together[0].exp[1]).abs().max() > 1e-3
    assert [first_seed(5, index) for index in (0, 4, 7)] == [5, 4005, 7005]


def test_validator_returns_the_main_scalars_and_leaves_training_alone(flame):
    spoken = (Phone("m", 1, 1.2), Phone("aa", 1.2, 2))
    encoder = StyleEncoder(StyleEncoderConfig(feature_dim=128, n_layers=1)).eval()
    check = Validator([clip(0, 120, spoken), clip(1, 150)], flame, codec(), (encoder, codec()))
    model = make_talker().train()
    state = torch.random.get_rng_state()
    first, second = check(model), check(model)
    assert torch.equal(state, torch.random.get_rng_state())
    assert first == second and model.training
    assert {"lve", "opening_correlation", "sync_lag", "closure_recall", "jitter", "head_std_yaw"} <= set(first)
    assert all(np.isfinite(value) for value in first.values())
    assert first["lve"] > 0.1
