"""Windows from CUDA graphs, with the recording left out: what is replayed is the step itself."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from models.diffusion.guidance import Guidance
from models.diffusion.plain import guided_denoiser
from models.diffusion.schedule import Schedule
from models.diffusion.solvers import SamplerConfig, gaussian_noise, run_steps, solver_steps
from models.fast.engine import Engine, EngineConfig, _StepGraph, graph_length, graph_size
from models.generation.speech import Speech
from models.generation.windows import GenerationConfig, Item, WindowGenerator, generate_batch
from models.networks.person import Person
from tests.support.random_windows import CPU, conditions, draw, relative, talker


@pytest.fixture
def without_recording(monkeypatch):
    captured = []

    def capture(self, work):
        captured.extend([len(self.x)] * (work == self.some_steps))
        self.open()
        self.some_steps()  # a recording leaves its marks in the buffers; a run must not see them
        return SimpleNamespace(replay=work)

    monkeypatch.setattr(_StepGraph, "_capture", capture)
    monkeypatch.setattr(EngineConfig, "on", lambda self, device: self)
    return captured


def test_idle_steps_do_nothing(without_recording):
    """17 steps are recorded as two graphs of 9."""
    model = talker(n_layers=1, n_diff_steps=20)
    given, x_T = conditions(model, 2), draw("x", 2, 100, 54)
    for config in (SamplerConfig("ddpm", 17), SamplerConfig("dpmpp_2m", 17)):
        steps = solver_steps(config, Schedule.make("cosine", 20), "sample")
        twin = run_steps(steps, guided_denoiser(model, given, Guidance()), x_T, gaussian_noise([1, 2], CPU))
        assert relative(Engine(model, Guidance()).run(given, steps, x_T, gaussian_noise([1, 2], CPU)), twin) < 2e-5


@pytest.mark.parametrize("target", ["sample", "noise"])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_graphed_steps_are_the_solver(without_recording, n, target):
    model = talker(target=target)
    given, x_T = conditions(model, n), draw("x", n, 100, 54)
    engine = Engine(model, Guidance())
    for config in (SamplerConfig(), SamplerConfig("ddpm", 4), SamplerConfig("ddim", 3), SamplerConfig("dpmpp_2m", 5)):
        steps = solver_steps(config, Schedule.make("cosine", 6), target)
        seeds = list(range(n))
        twin = run_steps(steps, guided_denoiser(model, given, Guidance()), x_T, gaussian_noise(seeds, CPU))
        for _ in range(2):
            found = engine.run(given, steps, x_T, gaussian_noise(seeds, CPU))
            assert relative(found, twin) < 2e-5
    assert without_recording == [graph_size(n)] * 4  # one capture for each solver


def test_graphs_serve_other_windows_and_batches(without_recording):
    """The window loop on graphs: sizes between two captured ones are filled up, results stay those of the twin."""
    model = talker()
    speeches = [Speech.encode(model, draw(f"speech{i}", 640 * n)) for i, n in enumerate((230, 90, 101))]
    items = [Item(s, Person(draw("shape", 100), draw(f"style{i}", 128)), i) for i, s in enumerate(speeches)]
    config = GenerationConfig(sampler=SamplerConfig("ddpm", 3))
    found = generate_batch(WindowGenerator(model, config), items)
    assert without_recording == [4, 2, 1]  # 3 windows filled up to 4, then 2, then 1
    plain = replace(config, engine=EngineConfig(cached=False))
    for motion, twin in zip(found, generate_batch(WindowGenerator(model, plain), items)):
        assert relative(motion, twin) < 2e-5


def test_few_graphs_are_kept(without_recording):
    model = talker(n_layers=1)
    engine, schedule = Engine(model, Guidance()), Schedule.make("cosine", 60)
    for k in [*range(1, 12), 11, 1]:
        steps = solver_steps(SamplerConfig("ddim", k), schedule, "sample")
        engine.net.steps = engine.net.steps[:1].expand(61, -1)  # this model has 6 steps; its answers do not matter
        engine.run(conditions(model, 1), steps, draw("x", 1, 100, 54), None)
    assert len(without_recording) == 12  # 11 was still there, 1 was not
    assert len(engine._graphs) == 8


def test_graph_lengths():
    """Idle steps at the end are few, and change nothing."""
    lengths = {n: graph_length(n) for n in (1, 8, 16, 17, 25, 50, 499, 500, 1000)}
    assert lengths == {1: 1, 8: 8, 16: 16, 17: 9, 25: 13, 50: 10, 499: 10, 500: 10, 1000: 10}
    for n in range(1, 1001):
        assert -n % graph_length(n) <= max(1, n // 16)


def test_graph_sizes():
    assert [graph_size(n) for n in (1, 2, 3, 4, 5, 8, 9, 16, 17, 32)] == [1, 2, 4, 4, 8, 8, 16, 16, 24, 32]


def test_fixed_batch_sizes(without_recording):
    model = talker(n_layers=1)
    engine = Engine(model, Guidance(), EngineConfig(batches=(2, 6)))
    steps = solver_steps(SamplerConfig("ddim", 2), Schedule.make("cosine", 6), "sample")
    for n in (1, 2, 3, 5, 6):
        given, x_T = conditions(model, n), draw("x", n, 100, 54)
        twin = run_steps(steps, guided_denoiser(model, given, Guidance()), x_T, gaussian_noise([0] * n, CPU))
        assert relative(engine.run(given, steps, x_T, gaussian_noise([0] * n, CPU)), twin) < 2e-5
    assert without_recording == [2, 6] and engine.batch_size(7) == graph_size(7)
