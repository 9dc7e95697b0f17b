"""A LiveKit agent's audio sink that gives the agent a face: it stands before the output of the agent's speech.

    face = FaceOutput("ws://127.0.0.1:8765", session.output.audio, show)
    session.output.audio = face            # show(message) could publish it: room.local_participant.publish_data

It needs the package livekit-agents (tried: 1.8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from livekit import rtc
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities

from examples.live_head import LiveHead


class FaceOutput(AudioOutput):
    """Passes speech on, and shows the face that belongs to it."""

    def __init__(
        self, address: str, next_in_chain: AudioOutput, show: Callable[[dict[str, Any]], None], **start: Any
    ) -> None:
        """show: called with every message of the server; start: fields of the protocol's first message."""
        super().__init__(
            label="face", capabilities=AudioOutputCapabilities(pause=False), next_in_chain=next_in_chain,
            sample_rate=next_in_chain.sample_rate,
        )  # fmt: skip
        self._address, self._show, self._fields = address, show, start
        self._stack, self._head = AsyncExitStack(), None
        self._tasks: set[asyncio.Task[None]] = set()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if self._head is None:
            audio = {"rate": frame.sample_rate, "channels": frame.num_channels}
            self._head = await self._stack.enter_async_context(LiveHead.connect(self._address, **audio, **self._fields))
            self._do(self._read(self._head))
        await self._head.say(bytes(frame.data))
        assert self.next_in_chain is not None
        await self.next_in_chain.capture_frame(frame)

    def flush(self) -> None:
        super().flush()
        self._pass_on("flush")

    def clear_buffer(self) -> None:
        self._pass_on("interrupt")

    async def aclose(self) -> None:
        """Leave the server."""
        await self._stack.aclose()

    def _pass_on(self, kind: str) -> None:
        if self._head is not None:
            self._do(self._head.tell(kind))
        assert self.next_in_chain is not None
        (self.next_in_chain.flush if kind == "flush" else self.next_in_chain.clear_buffer)()

    def _do(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # asyncio keeps only weak references
        task.add_done_callback(self._tasks.discard)

    async def _read(self, head: LiveHead) -> None:
        async for message in head.messages():
            self._show(message)
