"""Edge loops and regions of the quad mesh, in base-mesh vertex numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from setup.open_head.source import BaseMesh

Edge = tuple[int, int]

NECK_LOOP_LENGTH, LIP_LOOP_LENGTH, LID_LOOP_LENGTH = 42, 38, 28


def edge(a: int, b: int) -> Edge:
    return (a, b) if a < b else (b, a)


class BodyTopology:
    """Neighbourhood of the body surface (helper geometry left out)."""

    def __init__(self, mesh: BaseMesh) -> None:
        self.vertices = mesh.vertices
        self.quad_ids = mesh.group("body")
        self.quads = mesh.quads[self.quad_ids]
        self.edge_quads: dict[Edge, set[int]] = defaultdict(set)
        self.neighbours: dict[int, set[int]] = defaultdict(set)
        for quad_id, quad in enumerate(self.quads.tolist()):
            for a, b in zip(quad, quad[1:] + quad[:1]):
                self.edge_quads[edge(a, b)].add(quad_id)
                self.neighbours[a].add(b)
                self.neighbours[b].add(a)

    @cached_property
    def top(self) -> int:
        """The crown's vertex."""
        return int(self.quads.flat[self.vertices[self.quads.ravel(), 1].argmax()])

    def loop(self, first: int, second: int) -> list[int] | None:
        """The closed edge loop through two neighbours: go straight on at every 4-valent vertex."""
        path = [first, second]
        while len(path) < 400:
            before, here = path[-2:]
            if len(self.neighbours[here]) != 4:
                return None
            came_by = self.edge_quads[edge(before, here)]
            ahead = [n for n in self.neighbours[here] if n != before and not came_by & self.edge_quads[edge(here, n)]]
            if not ahead:
                return None
            if ahead[0] == path[0]:
                return path
            path.append(ahead[0])
        return None

    def loop_through(self, vertex: int, length: int, left_first: bool = False) -> list[int]:
        """The closed edge loop of a given length through a vertex; `left_first` starts it towards +x."""
        for neighbour in sorted(self.neighbours[vertex]):
            if left_first and self.vertices[neighbour, 0] <= 1e-3:
                continue
            path = self.loop(vertex, neighbour)
            if path is not None and len(path) == length:
                return path
        raise ValueError(f"no edge loop of {length} vertices through vertex {vertex}; is this the hm08 base mesh?")

    def neck_loop(self, vertex: int) -> list[int]:
        return self.loop_through(vertex, NECK_LOOP_LENGTH, left_first=True)

    def lip_loop(self, vertex: int) -> list[int]:
        """A loop around the mouth, from the lower lip's midline over the left corner to the upper lip and back."""
        return self.loop_through(vertex, LIP_LOOP_LENGTH, left_first=True)

    def lid_loop(self, vertex: int) -> list[int]:
        return self.loop_through(vertex, LID_LOOP_LENGTH)

    def quads_from(self, vertex: int, barrier: Iterable[int]) -> list[int]:
        """Quads reached from a vertex without crossing a closed loop, sorted, as rows of `self.quads`."""
        barrier = list(barrier)
        blocked = {edge(a, b) for a, b in zip(barrier, barrier[1:] + barrier[:1])}
        start = min(q for n in self.neighbours[vertex] for q in self.edge_quads[edge(vertex, n)])
        seen, stack = {start}, [start]
        while stack:
            quad = self.quads[stack.pop()].tolist()
            for a, b in zip(quad, quad[1:] + quad[:1]):
                if edge(a, b) not in blocked:
                    fresh = self.edge_quads[edge(a, b)] - seen
                    seen |= fresh
                    stack.extend(fresh)
        return sorted(seen)

    def vertices_from(self, vertex: int, barrier: Iterable[int]) -> np.ndarray:
        """Vertices reached from a vertex without stepping on the barrier, sorted."""
        blocked = set(barrier)
        seen, stack = {vertex}, [vertex]
        while stack:
            fresh = self.neighbours[stack.pop()] - blocked - seen
            seen |= fresh
            stack.extend(fresh)
        return np.array(sorted(seen))
