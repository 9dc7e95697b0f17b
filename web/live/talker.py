"""What a session needs of its talker, and the audio that the talker does not have yet."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np

from models.generation.live import LiveConfig
from utils.motion_file import Motion


class Talker(Protocol):
    """What a session needs of a `LiveTalker`: it may be in another process."""

    live: LiveConfig
    shape: np.ndarray
    ended: bool
    done: int

    @property
    def waiting(self) -> int: ...

    def restart(self) -> None: ...

    def hear(self, block: np.ndarray) -> None: ...

    def continue_from(self, before: Motion) -> None: ...


class Backlog:
    """Blocks of samples, in order; utterances are kept separate."""

    def __init__(self) -> None:
        self._blocks: deque[np.ndarray | None] = deque()  # None: the end of an utterance
        self.samples = 0

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def add(self, audio: np.ndarray) -> None:
        """More samples (n,)."""
        self._blocks.append(audio)
        self.samples += len(audio)

    def end(self) -> None:
        """The utterance is complete."""
        self._blocks.append(None)

    @property
    def is_open(self) -> bool:
        """Whether the last utterance is not complete; not to be asked if there is nothing."""
        return self._blocks[-1] is not None

    def next(self, most: int) -> np.ndarray | None:
        """The next samples, at most so many; None: the utterance ends here."""
        block = self._blocks.popleft()
        if block is None:
            return None
        if len(block) > most:
            self._blocks.appendleft(block[most:])
            block = block[:most]
        self.samples -= len(block)
        return block

    def begin(self) -> bool:
        """Go to the next utterance's first sample; whether there is one."""
        while self._blocks and self._blocks[0] is None:
            self._blocks.popleft()
        return bool(self._blocks)

    def skip(self, samples: int, ends: bool = False) -> None:
        """Drop so many samples, but none beyond the utterance's end, unless `ends`."""
        while samples > 0 and self._blocks and (ends or self._blocks[0] is not None):
            block = self.next(samples)
            samples -= 0 if block is None else len(block)

    def clear(self) -> None:
        """Drop everything."""
        self._blocks.clear()
        self.samples = 0
