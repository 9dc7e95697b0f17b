"""A few-step network with guidance folded in: its targets, its training, and its use."""

from types import SimpleNamespace

import pytest
import torch

from models.app.sampling_flags import SamplingFlags, generation_config
from models.diffusion.guidance import DynamicThreshold, Guidance
from models.diffusion.plain import guided_denoiser
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import ddim_steps, even_times, run_steps
from models.diffusion.window import Conditions
from models.fast.engine import Engine, EngineConfig
from models.networks.conditions import CONDITIONS, Condition
from models.networks.person import Person
from models.training.distillation import Distillation, make_student, only_denoiser
from models.training.losses import LossConfig
from models.training.objective import ObjectiveConfig
from tests.support.tiny_talker import make_talker
from utils.config import read_flags
from utils.training.randomness import Randomness

STEPS, EACH, N = 4, 2, 3


class _Compared:
    """Stands where the losses on motion and vertices would be."""

    config = LossConfig()

    def __call__(self, output, truth, prev, noise, shape, ends):
        n_prev = output.shape[1] - truth.shape[1]
        return {"noise": (output[:, n_prev:] - truth).square().mean(), "smooth": output.square().mean()}


def teacher(**sizes):
    torch.manual_seed(0)
    model = make_talker(n_diff_steps=16, feature_dim=32, n_heads=4, n_layers=2, **sizes)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def distillation(model):
    options = model.config
    schedule = Schedule.make(options.diff_schedule, options.n_diff_steps)
    objective = SimpleNamespace(
        config=ObjectiveConfig(teacher_steps=EACH), schedule=schedule, loss=_Compared(), style_encoder=None
    )
    return Distillation(objective, model, STEPS)


def conditions(model):
    options = model.config

    def draw(*shape):
        return torch.randn(N, *shape)

    return Conditions(
        draw(options.n_motions, options.feature_dim), draw(options.n_prev_motions, options.feature_dim),
        draw(options.n_prev_motions, options.layout.motion_dim), Person(draw(100), draw(options.d_style)),
        torch.ones(N, options.n_motions),
    )  # fmt: skip


def clip_pairs(options):
    generator = torch.Generator().manual_seed(1)
    shape = (2, 2, options.n_motions)
    return {
        "audio": torch.randn(2, 2, 640 * options.n_motions, generator=generator),
        "motion": torch.randn(*shape, options.layout.motion_dim, generator=generator),
        "shape": torch.randn(2, 2, options.n_motions, 100, generator=generator),
    }


def test_targets_lead_along_the_teachers_path():
    """A student that says the targets ends where the teacher does, for every sample's own guidance scales."""
    model = teacher()
    task, given = distillation(model), conditions(model)
    x_T = torch.randn(N, model.config.n_motions, model.config.layout.motion_dim)
    scales = torch.tensor([[1.15, 1.5], [0.5, 3.0], [2.0, 0.0]])
    with torch.no_grad():
        noisy, targets = task._paths(given, scales, x_T)
        assert noisy.shape == targets.shape == (STEPS, *x_T.shape)
        x = x_T
        for i, stride in enumerate(task.strides):
            torch.testing.assert_close(x, noisy[i], rtol=1e-4, atol=1e-4)
            x = stride.keep * x + stride.data * targets[i]
        path = ddim_steps(task.schedule, "sample", even_times(16, STEPS * EACH))
        for sample, (audio, style) in enumerate(scales.tolist()):
            guidance = Guidance(scales={"audio": audio, "style": style})
            whole = run_steps(path, guided_denoiser(model, given, guidance), x_T)
            torch.testing.assert_close(x[sample], whole[sample], rtol=1e-3, atol=1e-3)


def test_student_begins_as_its_teacher():
    """Before training it is the branch that sees everything, whatever the scales."""
    model = teacher()
    student, given = make_student(model, STEPS).eval(), conditions(model)
    x = torch.randn(N, model.config.n_motions, model.config.layout.motion_dim)
    with torch.no_grad():
        expected = guided_denoiser(model, given, Guidance(()))(x, 4)
        for style_scale in (0.0, 3.0):
            got = guided_denoiser(student, given, Guidance(scales={"style": style_scale}))(x, 4)
            torch.testing.assert_close(got, expected)


def test_the_engine_equals_the_plain_twin():
    model = teacher()
    student, given = make_student(model, STEPS).eval(), conditions(model)
    torch.nn.init.normal_(student.denoising_net.person_proj.weight)
    steps = ddim_steps(Schedule.make(model.config.diff_schedule, 16), "sample", even_times(16, STEPS))
    x_T = torch.randn(N, model.config.n_motions, model.config.layout.motion_dim)
    plain, cached, other = (
        Engine(student, guidance, EngineConfig(cached=cached)).run(given, steps, x_T, None)
        for guidance, cached in ((Guidance(), False), (Guidance(), True), (Guidance(scales={"style": 0.0}), True))
    )
    torch.testing.assert_close(cached, plain, rtol=1e-4, atol=1e-4)
    assert (other - cached).abs().max() > 1e-3  # the scales are heard


def test_training_lowers_the_distance_and_leaves_the_rest_alone():
    model = teacher(n_motions=20, n_prev_motions=5)
    student, task = make_student(model, STEPS), distillation(model)
    only_denoiser(student)
    batch = clip_pairs(model.config)
    trained = [p for p in student.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in student.denoising_net.parameters()}
    optimizer, losses = torch.optim.Adam(trained, 1e-3), []
    for step in range(40):
        random = Randomness(step % 4, "cpu")
        terms = task(student.train(), batch, random)
        assert set(terms) == {"noise"}  # smoothness is the teacher's own, and not asked for
        optimizer.zero_grad()
        terms["noise"].backward()
        optimizer.step()
        losses.append(terms["noise"].item())
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4]), losses
    assert not any(p.grad is not None for p in model.parameters())


def test_a_pass_is_without_dropout_and_leaves_the_mode_of_the_shared_audio_encoder():
    """The teacher's features come from the encoder that the student shares, part of which may stay in eval mode."""
    model = teacher()
    encoder, task = model.audio_encoder, distillation(model)
    encoder.frozen, encoder.dropout = torch.nn.Identity(), torch.nn.Dropout()
    student = make_student(model, STEPS).train()
    assert student.audio_encoder is encoder
    encoder.frozen.eval()
    before = {name: module.training for name, module in student.named_modules()}
    during = []
    encoder.register_forward_pre_hook(lambda module, _: during.append(any(m.training for m in module.modules())))
    task(student, clip_pairs(model.config), Randomness(0, "cpu"))
    assert during and not any(during)
    assert {name: module.training for name, module in student.named_modules()} == before
    assert encoder.training


def test_a_condition_that_a_model_lacks_changes_nothing(monkeypatch):
    """A row added to the table leaves models without that input, distilled ones included, as they were."""

    def everything():
        model = teacher()
        student = make_student(model, STEPS).eval()
        torch.manual_seed(3)
        given, loss = conditions(model), distillation(model)
        with torch.no_grad():
            sampled = [Engine(m, Guidance(), EngineConfig()).run(given, loss.strides, torch.ones(N, 100, 54), None)
                       for m in (model, student)]  # fmt: skip
            terms = loss(student, clip_pairs(model.config), Randomness(0, "cpu"), [None, None])
        return sampled, terms, list(student.state_dict())

    before = everything()
    absent = Condition("null_emotion_feat", "d_style", "no_use_learnable_pe", kept=0.4, published_scale=1, own_scale=1,
                       distilled_scales=(0, 1))  # fmt: skip
    monkeypatch.setitem(CONDITIONS, "emotion", absent)
    after = everything()
    assert all(torch.equal(a, b) for a, b in zip(before[0], after[0], strict=True))
    assert before[1:] == after[1:]


def test_what_a_distilled_model_cannot_do():
    student = make_student(teacher(), STEPS)
    with pytest.raises(ValueError, match="thresholding"):
        Engine(student.eval(), Guidance(threshold=DynamicThreshold(0.9)))
    with pytest.raises(ValueError, match="incremental guidance of audio, style only"):
        Engine(student.eval(), Guidance(mode="independent"))


@pytest.mark.parametrize(
    ("flags", "said"), [(["-ss", "3.5"], "--scale_style 3.5"), (["-sa", "0.4"], "--scale_audio 0.4")]
)
def test_scales_beyond_those_it_was_distilled_with_are_named(caplog, flags, said):
    options = make_student(teacher(), STEPS).config
    generation_config(read_flags(SamplingFlags, ["-ss", "3", "-sa", "2"], ""), options, published=False)
    assert caplog.text == ""
    generation_config(read_flags(SamplingFlags, flags, ""), options, published=False)
    assert said in caplog.text
