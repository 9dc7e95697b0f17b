"""A training step, or a function of one tensor, replayed as one CUDA graph.

A small network's step is a few thousand kernels that the GPU finishes faster than Python can launch them. Captured
once and replayed, they cost one launch. What a step does must then be the same every time: no waiting for the device,
no choice on the host. Steps that differ in kind (here: which clips of the batch are cut short) get a graph each, all of
them in the same memory.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

log = logging.getLogger(__name__)
_WARM_UP = 3  # eager steps of a kind before its capture: they create optimiser state, workspaces and cached tables

Step = Callable[[Any], dict[str, Tensor]]


@contextmanager
def recording(graph: torch.cuda.CUDAGraph, pool: Any = None, stream: torch.cuda.Stream | None = None) -> Iterator[None]:
    """Record this thread's work on the GPU into a graph, in memory of `pool`.

    Other threads may go on: in PyTorch's default mode, a data loader's pinning thread would spoil the recording.
    """
    gc.collect()  # not while recording: freeing another graph would spoil it
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        yield


@contextmanager
def side_stream(stream: torch.cuda.Stream | None = None) -> Iterator[None]:
    """Work on another stream (or a new one), after what was asked for before, and before what is asked for next."""
    stream = stream or torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream().wait_stream(stream)


@dataclass
class _Captured:
    graph: torch.cuda.CUDAGraph
    inputs: list[Tensor]
    outputs: dict[str, Tensor]


class GraphedStep:
    """`step(inputs)` with the same results, replayed from a graph from the fourth call of each kind on.

    `inputs` is any nesting of dicts, lists and tuples that holds tensors and None. The positions of None and the
    tensors' shapes define the kind. Everything that changes from step to step must be a tensor: in the inputs, in the
    weights and optimiser state, or drawn from `generators`.
    """

    def __init__(
        self, step: Step, parameters: Iterable[Tensor], generators: Iterable[torch.Generator] = (), eager_first: int = 0
    ) -> None:
        """
        Args:
            step: forward, backward and optimiser; starts by clearing the gradients.
            parameters: those that get gradients.
            generators: CUDA generators that `step` draws from, besides the default one.
            eager_first: eager steps, of any kind, before the first capture, if more than a kind's own.
        """
        self._step, self._parameters, self._generators = step, list(parameters), list(generators)
        self._eager_first, self._seen = eager_first, Counter[Any]()
        self._graphs: dict[Any, _Captured] = {}
        self._stream = torch.cuda.Stream()

    def __call__(self, inputs: Any) -> dict[str, Tensor]:
        leaves, structure = tree_flatten(inputs)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        kind = (str(structure), tuple(None if leaf is None else tuple(leaf.shape) for leaf in leaves))
        if kind not in self._graphs:
            if self._seen[kind] < _WARM_UP or self._seen.total() < self._eager_first:
                self._seen[kind] += 1
                return self._eager(inputs)
            self._graphs[kind] = self._capture(leaves, structure)
        captured = self._graphs[kind]
        for static, tensor in zip(captured.inputs, tensors):
            static.copy_(tensor, non_blocking=True)
        captured.graph.replay()
        return {name: value.clone() for name, value in captured.outputs.items()}

    def _eager(self, inputs: Any) -> dict[str, Tensor]:
        """Run a step on a side stream, as capturing will: its memory must not belong to the default stream."""
        with side_stream(self._stream):
            return self._step(inputs)

    def _capture(self, leaves: list[Any], structure: Any) -> _Captured:
        device = next(leaf.device for leaf in leaves if isinstance(leaf, Tensor))
        static = [torch.empty_like(x, device=device) if isinstance(x, Tensor) else None for x in leaves]
        for parameter in self._parameters:
            parameter.grad = None  # the graph's gradients live in the graph's memory
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        torch.cuda.synchronize()
        # All graphs work in the first one's memory: what a capture frees, the next one takes. So each replay overwrites
        # intermediate results and outputs of the others, which is safe here because (1) replays run one after another
        # on one stream; (2) none reads what another has left: gradients start from zero; inputs, weights and optimiser
        # state lie outside, made by eager steps or before the capture; (3) outputs are cloned after each replay.
        pool = next((other.graph.pool() for other in self._graphs.values()), None)
        with recording(graph, pool, self._stream):
            outputs = self._step(tree_unflatten(static, structure))
        for parameter in self._parameters:
            parameter.grad = None
        return _Captured(graph, [x for x in static if x is not None], outputs)


class Replayed:
    """A function of one tensor on the GPU, without gradients, replayed from a graph for each shape."""

    def __init__(self, function: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._captured: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None] = {}
        self._pool = torch.cuda.graph_pool_handle()  # of all graphs: each result is read before the next replay

    def __call__(self, x: Tensor) -> Tensor:
        """x: on the device, or in pinned memory. The next call overwrites the result."""
        if x.shape not in self._captured:
            self._captured[x.shape] = self._capture(x.to(self._device))
        if (captured := self._captured[x.shape]) is None:
            return self._function(x.to(self._device, non_blocking=True))
        graph, given, result = captured
        given.copy_(x, non_blocking=True)
        graph.replay()
        return result

    def _capture(self, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor] | None:
        """The graph, its input and its output; None: the function cannot be recorded."""
        given, graph = x.clone(), torch.cuda.CUDAGraph()
        with side_stream():
            for _ in range(_WARM_UP):
                self._function(given)
        try:
            with recording(graph, self._pool):
                result = self._function(given)
        except RuntimeError as error:
            log.warning("not recorded as a CUDA graph, and slower so: %s", str(error).partition("\n")[0])
            return None
        return graph, given, result
