"""Recording CUDA graphs while other threads go on."""

import threading
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

import utils.cuda_graph
from utils.cuda_graph import GraphedStep, Replayed, recording

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def test_other_threads_do_not_spoil_a_recording(monkeypatch):
    """A loader's thread pins batches at any time, which PyTorch's default mode takes for a mistake."""
    options = {}
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, **given: options.update(given) or nullcontext())
    with recording("graph", "pool", "stream"):
        pass
    assert options == {"pool": "pool", "stream": "stream", "capture_error_mode": "thread_local"}


def test_nothing_is_recorded_in_another_way():
    folders = ("benchmarks", "datasets", "models", "scripts_for_dataset", "utils", "web")
    sources = [*ROOT.glob("*.py"), *(path for name in folders for path in (ROOT / name).rglob("*.py"))]
    assert len(sources) > 100
    assert [p.name for p in sources if "torch.cuda.graph(" in p.read_text()] == ["cuda_graph.py"]


class Imitation:
    """Of a CUDA graph on a CPU: the recorded step runs once while it is recorded, and again at every replay."""

    def __init__(self, step, weight):
        self.step, self.weight = step, weight

    def __call__(self, inputs):
        self.inputs, self.outputs = inputs, self.step(inputs)
        return self.outputs

    @contextmanager
    def graph(self, graph, **options):
        before = self.weight.detach().clone()
        yield
        graph.inputs, graph.outputs = self.inputs, self.outputs
        self.weight.data.copy_(before)  # a GPU computes nothing while it records

    def replay(self):
        for name, value in self.step(self.inputs).items():
            self.outputs[name].copy_(value)

    def pool(self):
        return "pool"


def descent():
    weight = torch.ones(16, device=DEVICE, requires_grad=True)

    def step(inputs):
        weight.grad = None
        loss = ((inputs["x"] @ weight[: inputs["x"].shape[1]]) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            weight.sub_(1e-3 * weight.grad)
        return {"loss": loss.detach()}

    return step, weight


def losses(step):
    """Of steps of two kinds in turn; all are looked at only in the end."""
    inputs = [torch.full((4, 8 + i % 2), 1.0 + i / 10, device=DEVICE) for i in range(12)]
    return torch.stack([step({"x": x})["loss"] for x in inputs]).tolist()


@pytest.fixture
def pinning():
    """Another thread that pins memory all the time, if there is a GPU to pin it for."""
    done = threading.Event()

    def pin():
        kept = []
        while not done.is_set() and DEVICE == "cuda":
            kept = [*kept[-20:], torch.empty(len(kept) * 100_000 + 1).pin_memory()]

    thread = threading.Thread(target=pin)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.parametrize("eager_first", [0, 9])
def test_recorded_steps_are_the_steps(monkeypatch, pinning, eager_first):
    """Gradient descent, eagerly and from graphs of two kinds."""
    expected = losses(descent()[0])
    step, weight = descent()
    if DEVICE == "cpu":
        imitation = Imitation(step, weight)
        for name in ("Stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, Mock())
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "graph", imitation.graph)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Imitation(step, weight))
        graphed = GraphedStep(imitation, [weight], (), eager_first)
    else:
        graphed = GraphedStep(step, [weight], (), eager_first)
    assert losses(graphed) == pytest.approx(expected, rel=1e-5)
    assert len(graphed._graphs) == 2
    assert graphed._seen.total() == max(6, eager_first)
    assert len(set(expected)) == 12


class Doubling:
    """Of a graph that doubles its input, on a CPU: finds input and result where they are kept."""

    def replay(self):
        (graph, given, result) = next(one for one in REPLAYED[0]._captured.values() if one and one[0] is self)
        result.copy_(2 * given)


REPLAYED = []


def test_a_function_is_replayed_for_each_shape_and_runs_where_it_cannot_be_recorded(monkeypatch, caplog):
    calls = []

    def double(x):
        calls.append(len(x))
        return 2 * x

    if DEVICE == "cpu":
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Doubling)
        for name in ("side_stream", "recording"):
            monkeypatch.setattr(utils.cuda_graph, name, lambda *_: nullcontext())
    replayed = Replayed(double, torch.device(DEVICE))
    REPLAYED[:] = [replayed]
    for n in (2, 3, 2, 3, 2):
        x = torch.rand(n, 4)
        assert torch.equal(replayed(x).cpu(), 2 * x)
    assert calls == [2] * 4 + [3] * 4

    def fail(*_):
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(utils.cuda_graph, "recording", fail)
    for _ in range(2):
        x = torch.rand(5, 4)
        assert torch.equal(replayed(x).cpu(), 2 * x)
    assert caplog.messages == ["not recorded as a CUDA graph, and slower so: operation not permitted"]
