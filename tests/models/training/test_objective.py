"""What one training pass shows the network, with a stub audio encoder and a tiny talker."""

import pytest
import torch

from models.diffusion.schedule import Schedule
from models.heads.flame import load_flame
from models.networks.conditions import dropped_conditions
from models.networks.person import Person
from models.networks.style_encoder import StyleEncoder, StyleEncoderConfig
from models.training.losses import LossConfig, MotionLoss
from models.training.objective import (
    ObjectiveConfig,
    TalkerObjective,
    average_clips,
    nearest,
    shares_of,
    swapped,
    truncate,
)
from tests.support.golden_weights import array
from tests.support.tiny_talker import make_talker
from utils.coefs import CoefStats, MotionCodec
from utils.training.randomness import Randomness

B, N, P, D = 3, 100, 10, 54
NEVER = {"trunc_prob1": 0.0, "trunc_prob2": 0.0}
NO_VERTICES = LossConfig(l_vert=0, l_vel=0, l_smooth=0)  # their terms are tested in test_losses


def batch() -> dict[str, torch.Tensor]:
    shapes = {"audio": (B, 2, 640 * N), "motion": (B, 2, N, D), "shape": (B, 2, N, 100)}
    return {name: torch.from_numpy(array(f"objective:{name}", shape)) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def flame():
    return load_flame(None)


@pytest.fixture
def style_encoder():
    torch.manual_seed(1)
    return StyleEncoder(StyleEncoderConfig(feature_dim=128, n_heads=2, n_layers=1)).eval().requires_grad_(False)


class Watch:
    """Records what the denoiser is given."""

    def __init__(self, model) -> None:
        self.calls = []
        names = ("motion", "memory", "person", "step", "indicator")
        model.denoising_net.register_forward_pre_hook(lambda _, inputs: self.calls.append(dict(zip(names, inputs))))

    def __getitem__(self, name):
        return self.calls[-1][name]


def make_objective(model, flame, style_encoder=None, loss=NO_VERTICES, **config) -> TalkerObjective:
    options = model.config
    schedule = Schedule.make(options.diff_schedule, options.n_diff_steps)
    codec = MotionCodec(options.layout, CoefStats.identity())
    motion_loss = MotionLoss(loss, options.target, codec, flame)
    return TalkerObjective(ObjectiveConfig(**config), schedule, motion_loss, style_encoder)


# Pieces


@pytest.mark.parametrize("mode", ["zero", "replicate"])
@pytest.mark.parametrize("unit", [1, 3])
def test_truncate(mode, unit):
    x = 1 + torch.arange(2 * 5 * unit, dtype=torch.float32).reshape(2, 5 * unit)
    y = truncate(x, torch.tensor([2, 4]), unit, mode)
    for b, stop in enumerate((2 * unit, 4 * unit)):
        assert torch.equal(y[b, :stop], x[b, :stop])
        assert (y[b, stop:] == (x[b, stop - 1] if mode == "replicate" else 0)).all()


def test_truncate_vectors_and_whole():
    x = torch.randn(2, 5, 3)
    y = truncate(x, torch.tensor([1, 5]), 1, "replicate")
    assert torch.equal(y[0], x[0, :1].expand(5, -1))
    assert torch.equal(y[1], x[1])
    assert truncate(x, None, 1, "zero") is x


def fractions(conditions, mode):
    u = torch.rand(200_000, 2, generator=torch.Generator().manual_seed(0))
    dropped = dropped_conditions(conditions, mode, u)
    audio, style = dropped["audio"], dropped["style"]
    return [x.float().mean().item() for x in (audio, style, audio & style, audio & ~style)]


EXPECTED = {  # audio, style, both, audio alone
    (("audio", "style"), "incremental"): (0.1, 0.45, 0.1, 0.0),
    (("style", "audio"), "incremental"): (0.1, 0.45, 0.1, 0.0),
    (("audio", "style"), "independent"): (0.5, 0.5, 0.25, 0.25),
    (("audio",), "incremental"): (0.1, 0.0, 0.0, 0.1),
    (("style",), "independent"): (0.0, 0.1, 0.0, 0.0),
    ((), "incremental"): (0.0, 0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("conditions,mode", EXPECTED)
def test_how_often_conditions_are_dropped(conditions, mode):
    assert fractions(conditions, mode) == pytest.approx(EXPECTED[conditions, mode], abs=5e-3)


def test_average_clips():
    first = {"noise": torch.tensor(2.0), "vert": torch.tensor(4.0)}
    second = {"noise": torch.tensor(6.0), "vert": torch.tensor(0.0), "head_trans": torch.tensor(5.0)}
    assert {k: v.item() for k, v in average_clips(first, second).items()} == {"noise": 4, "vert": 2, "head_trans": 5}


# One pass


def test_terms(flame, style_encoder):
    model = make_talker()
    terms = make_objective(model, flame, style_encoder, LossConfig(l_lips=1))(model, batch(), Randomness(0, "cpu"))
    assert set(terms) == set(LossConfig().weights())
    assert all(torch.isfinite(value) and value > 0 for value in terms.values())


def test_noise_target_has_one_term(flame, style_encoder):
    model = make_talker(target="noise")
    assert set(make_objective(model, flame, style_encoder)(model, batch(), Randomness(0, "cpu"))) == {"noise"}


def test_same_seed_same_loss(flame, style_encoder):
    model = make_talker()
    objective = make_objective(model, flame, style_encoder)
    totals = [NO_VERTICES.total(objective(model, batch(), Randomness(seed, "cpu"))).item() for seed in (0, 0, 1)]
    assert totals[0] == totals[1] != totals[2]


def test_context_of_both_clips(flame, style_encoder):
    """Clip 1: the learnt start tokens. Clip 2: the last frames of clip 1, true and whole even if clip 1 is cut."""
    model, data = make_talker(), batch()
    watch = Watch(model)
    with torch.no_grad():
        whole = model.encode_audio(data["audio"][:, 0], N)
    for probability in (0.0, 1.0):
        objective = make_objective(model, flame, style_encoder, trunc_prob1=probability, trunc_prob2=probability)
        objective(model, data, Randomness(0, "cpu"))
        assert torch.equal(watch["motion"][:B, :P], model.start_motion_feat.expand(B, -1, -1))
        assert torch.equal(watch["memory"][:B, :P], model.start_audio_feat.expand(B, -1, -1))
        assert torch.equal(watch["motion"][B:, :P], data["motion"][:, 0, -P:])
        torch.testing.assert_close(watch["memory"][B:, :P], whole[:, -P:])


def test_noisy_frames_are_q_samples(flame, style_encoder):
    """At the last step (cosine) next to nothing of the motion is left, at the first almost everything."""
    model, data = make_talker(), batch()
    watch = Watch(model)
    objective = make_objective(model, flame, style_encoder, **NEVER)
    for seed in range(8):
        objective(model, data, Randomness(seed, "cpu"))
        truth = torch.cat([data["motion"][:, 0], data["motion"][:, 1]])
        abar = objective.schedule.alpha_bars[watch["step"]]
        noise = (watch["motion"][:, P:] - abar.sqrt()[:, None, None] * truth) / (1 - abar).sqrt()[:, None, None]
        assert noise.std(dim=(1, 2)).tolist() == pytest.approx([1.0] * 2 * B, abs=0.05)
    steps = torch.cat([call["step"] for call in watch.calls])
    assert set(steps.tolist()) == set(range(1, 7))


def test_style_of_a_clip_comes_from_the_other(flame, style_encoder):
    model, data = make_talker(guiding_conditions=""), batch()
    watch = Watch(model)
    make_objective(model, flame, style_encoder)(model, data, Randomness(0, "cpu"))
    with torch.no_grad():
        styles = [style_encoder(data["motion"][:, i]) for i in (0, 1)]
    torch.testing.assert_close(watch["person"][:, 100:], torch.cat([styles[1], styles[0]]))
    assert torch.equal(watch["person"][:, :100], data["shape"][:, 0, 0].repeat(2, 1))


def test_dropped_samples_get_the_learnt_nulls(flame, style_encoder, monkeypatch):
    drop = torch.tensor([True, False, True, False, False, True])
    monkeypatch.setattr("models.training.objective.dropped_conditions", lambda *_: {"audio": drop, "style": ~drop})
    model, data = make_talker(), batch()
    watch = Watch(model)
    make_objective(model, flame, style_encoder, **NEVER)(model, data, Randomness(0, "cpu"))
    with torch.no_grad():
        features = model.encode_audio(torch.cat([data["audio"][:, 0], data["audio"][:, 1]]), N)
    current = watch["memory"][:, P:]
    assert torch.equal(current[drop], model.null_audio_feat.expand(3, N, -1))
    torch.testing.assert_close(current[~drop], features[~drop])
    assert torch.equal(watch["person"][~drop, 100:], model.null_style_feat[0].expand(3, -1))
    assert (watch["person"][drop, 100:] != model.null_style_feat[0]).all()
    assert not torch.equal(watch["memory"][:B, :P], model.null_audio_feat.expand(B, P, -1))  # context is never dropped


@pytest.mark.parametrize("mode", ["zero", "replicate"])
def test_truncation_reaches_audio_motion_and_indicator(flame, style_encoder, mode):
    model, data = make_talker(pad_mode=mode, guiding_conditions=""), batch()
    watch = Watch(model)
    seen = {}
    objective = make_objective(model, flame, style_encoder, trunc_prob1=1.0, trunc_prob2=0.0)
    inner = objective.loss
    objective.loss = lambda output, truth, prev, noise, shape, ends: (
        seen.setdefault("first" if prev is None else "second", (truth, ends))
        and inner(output, truth, prev, noise, shape, ends)
    )
    objective(model, data, Randomness(0, "cpu"))
    truth, ends = seen["first"]
    assert seen["second"][1] is None
    assert torch.equal(seen["second"][0], data["motion"][:, 1])
    assert ((ends >= 1) & (ends < N)).all()
    assert torch.equal(watch["indicator"].sum(1), torch.cat([ends, torch.full((B,), N)]).float())
    audio = model.audio_encoder.calls[0]
    for b, end in enumerate(ends.tolist()):
        assert (watch["indicator"][b, :end] == 1).all()
        assert torch.equal(truth[b, :end], data["motion"][b, 0, :end])
        assert (truth[b, end:] == (truth[b, end - 1] if mode == "replicate" else 0)).all()
        assert (audio[b, 640 * end :] == (audio[b, 640 * end - 1] if mode == "replicate" else 0)).all()
        assert torch.equal(audio[b, : 640 * end], data["audio"][b, 0, : 640 * end])


def test_how_often_batches_are_truncated(flame):
    model = make_talker()
    objective = make_objective(model, flame)
    random = Randomness(0, "cpu")
    draws = [objective.draw_ends(4, N, random) for _ in range(4000)]
    assert [sum(d[i] is not None for d in draws) / 4000 for i in (0, 1)] == pytest.approx([0.3, 0.4], abs=0.025)
    ends = torch.cat([end for d in draws for end in d if end is not None])
    assert (ends.min(), ends.max()) == (1, N - 1)


def test_padding_does_not_reach_the_loss(flame, style_encoder):
    """Only the valid frames of the truth matter, with the same truncation."""
    model, data = make_talker(guiding_conditions="", pad_mode="zero"), batch()
    objective = make_objective(model, flame, style_encoder, trunc_prob1=1.0, trunc_prob2=1.0)
    ends = objective.draw_ends(B, N, Randomness(0, "cpu"))
    other = {name: value.clone() for name, value in data.items()}
    objective.style_encoder = None  # its input is the whole clip
    model.person = lambda shape, style: torch.zeros(len(shape), 228)
    for b in range(B):
        other["motion"][b, 1, ends[1][b] :] = 99.0
        other["audio"][b, 1, 640 * ends[1][b] :] = 99.0
    a, b = (objective(model, x, Randomness(0, "cpu")) for x in (data, other))
    assert {k: v.item() for k, v in a.items()} == {k: v.item() for k, v in b.items()}


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("cut", [0.0, 1.0])
def test_audio_passes(flame, style_encoder, joint, cut):
    """With --use_context_audio_feat the second clip's features know the first clip's audio."""
    model, data = make_talker(guiding_conditions=""), batch()
    watch = Watch(model)
    config = {"use_context_audio_feat": joint, "trunc_prob1": cut, "trunc_prob2": 0.0}
    make_objective(model, flame, style_encoder, **config)(model, data, Randomness(0, "cpu"))
    first, second = watch["memory"][:B, P:], watch["memory"][B:, P:]
    with torch.no_grad():
        both = model.encode_audio(data["audio"].flatten(1), 2 * N)
        alone = [model.encode_audio(data["audio"][:, i], N) for i in (0, 1)]
    torch.testing.assert_close(second, both[:, N:] if joint else alone[1])
    if cut == 0:
        torch.testing.assert_close(first, both[:, :N] if joint else alone[0])
    else:
        assert not torch.allclose(first, both[:, :N])
        assert not torch.allclose(first, alone[0])
    assert not torch.allclose(both[:, N:], alone[1])


@pytest.mark.parametrize("joint", [False, True])
def test_gradients(flame, style_encoder, joint):
    """Every learnt stand-in is reached; the frozen style encoder and the previous audio features are not."""
    model = make_talker(cfg_mode="independent", n_layers=2).train()  # one layer cannot reach start_audio_feat
    objective = make_objective(model, flame, style_encoder.requires_grad_(True), use_context_audio_feat=joint)
    sum(NO_VERTICES.total(objective(model, batch(), Randomness(s, "cpu"))) for s in range(3)).backward()
    for name in ("start_motion_feat", "start_audio_feat", "null_style_feat", "null_audio_feat"):
        assert getattr(model, name).grad.abs().sum() > 0, name
    assert model.audio_feature_map.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in style_encoder.parameters())


def test_the_audio_context_is_detached(flame, style_encoder, monkeypatch):
    """Only the context depends on the audio here, and no gradient may come through it."""
    everything = torch.ones(2 * B, dtype=torch.bool)
    monkeypatch.setattr(
        "models.training.objective.dropped_conditions", lambda *_: {"audio": everything, "style": everything}
    )
    model = make_talker()
    objective = make_objective(model, flame, style_encoder, **NEVER)
    NO_VERTICES.total(objective(model, batch(), Randomness(0, "cpu"))).backward()
    grad = model.audio_feature_map.weight.grad
    assert grad is None or grad.abs().sum() == 0


def test_without_a_style_encoder(flame):
    model = make_talker(style_enc_ckpt=None, guiding_conditions="audio,style", use_indicator=False)
    watch = Watch(model)
    make_objective(model, flame)(model, batch(), Randomness(0, "cpu"))
    assert watch["person"].shape == (2 * B, 100)
    assert watch["indicator"] is None
    assert model.config.conditions == ("audio",)


def test_a_step_of_training_lowers_the_loss(flame, style_encoder):
    model = make_talker()
    objective = make_objective(model, flame, style_encoder, **NEVER)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(25):
        loss = objective(model, batch(), Randomness(0, "cpu"))["noise"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


# Identity and style as the network sees them


def test_hidden_identity_is_zero_for_the_network_and_nothing_else(flame, style_encoder):
    seen = {}
    for hidden in (False, True):
        model = make_talker(no_shape_input=hidden)
        watch = Watch(model)
        make_objective(model, flame, style_encoder, **NEVER)(model, batch(), Randomness(0, "cpu"))
        seen[hidden] = watch["person"]
    assert (seen[True][:, :100] == 0).all() and (seen[False][:, :100] != 0).any()
    torch.testing.assert_close(seen[True][:, 100:], seen[False][:, 100:])  # the style
    model = make_talker(no_shape_input=True)
    style = torch.ones(1, model.config.d_style)
    one, other = (model.person_vector(Person(sign * torch.ones(1, 100), style)) for sign in (1, -1))
    torch.testing.assert_close(one, other)


def test_person_noise_has_the_asked_size_and_is_for_training_only(flame, style_encoder):
    model = make_talker()
    watch, objective = Watch(model), make_objective(model, flame, style_encoder, person_noise=0.1, **NEVER)
    plain = make_objective(model, flame, style_encoder, **NEVER)

    def person(objective):
        objective(model, batch(), Randomness(0, "cpu"))
        return watch["person"]

    torch.testing.assert_close(person(objective), person(plain))  # in eval mode
    model.train()
    given, noisy = person(plain)[:, :100], person(objective)[:, :100]
    size = ((noisy - given).square().mean() / given.square().mean()).sqrt().item()
    assert 0.08 < size < 0.12


def test_dropout_reaches_every_part_of_the_denoiser(flame):
    model = make_talker(dropout=0.5).train()
    data = torch.randn(2, P + N, D), torch.randn(2, P + N, 16), torch.randn(2, 228)
    inputs = (*data, torch.tensor([1, 2]), torch.ones(2, N))
    net = model.denoising_net
    assert not torch.equal(net(*inputs), net(*inputs))
    net.set_dropout(0.0)
    assert torch.equal(net(*inputs), net(*inputs))
    assert torch.equal(net(*inputs), make_talker(dropout=0.0).train().denoising_net(*inputs))


# Styles of clips that move alike


def test_the_nearest_pair_of_another_source_moves_alike():
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([1.0, 3.0, 1.3, 0.9, 3.3])[:, None, None, None]
    motion = sizes * torch.randn(5, 2, 50, D, generator=generator)
    source = torch.tensor([0, 0, 0, 1, 1])
    assert nearest(motion, source).tolist() == [3, 4, 3, 0, 1]
    assert nearest(motion[..., :51], source).tolist() == [3, 4, 3, 0, 1]  # without head motion
    assert nearest(motion, torch.zeros(5)).tolist() == [0, 1, 2, 3, 4]
    smile = torch.zeros(5, 1, 1, D)
    smile[2:4, ..., :10] = 3  # the fourth now smiles as the third does, which moves more
    assert nearest(motion + smile, source).tolist() == [3, 4, 3, 2, 1]


def test_a_share_of_the_styles_is_the_partners():
    style, partner = torch.arange(2000.0)[:, None], torch.arange(1000).roll(1)
    assert torch.equal(swapped(style, partner, torch.zeros(1000), Randomness(0, "cpu")), style)
    other = swapped(style, partner, torch.ones(1000), Randomness(0, "cpu")).view(2, 1000)
    assert torch.equal(other, style.view(2, 1000)[:, partner])
    source = torch.arange(1000) % 2
    for shares, even, odd in (((0.3,), 0.3, 0.3), ((0.1, 0.6), 0.1, 0.6)):
        some = (swapped(style, partner, shares_of(source, shares), Randomness(0, "cpu")) != style).view(2, 1000).float()
        assert abs(some[:, ::2].mean() - even) < 0.05 and abs(some[:, 1::2].mean() - odd) < 0.05


@pytest.mark.parametrize("training", [True, False])
def test_styles_are_swapped_in_training_only(flame, style_encoder, training):
    model = make_talker(style_enc_ckpt="x").train(training)
    seen = []
    for share in (0.0, 1.0):
        objective, watch = make_objective(model, flame, style_encoder, style_swap=(share,), **NEVER), Watch(model)
        source = torch.tensor([0, 1, 1])[:, None, None].expand(B, 2, N)
        objective(model, batch() | {"source": source}, Randomness(0, "cpu"))
        seen.append(watch["person"])
    assert torch.equal(*seen) != training
