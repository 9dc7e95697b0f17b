"""A LiveKit agent's audio sink that gives the agent a face: it stands before the output of the agent's speech.

    async def show(message):
        await room.local_participant.publish_data(json.dumps(message))

    session.output.audio = FaceOutput("ws://127.0.0.1:8765", session.output.audio, show)

It needs the package livekit-agents (tests have 1.8.9).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from livekit import rtc
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities

from examples.live_assistant import AssistantFace


class FaceOutput(AudioOutput):
    """Passes speech on, and shows the face that belongs to it."""

    def __init__(
        self, address: str, next_in_chain: AudioOutput, show: Callable[[dict[str, Any]], Awaitable[None]], **start: Any
    ) -> None:
        """show: called with every message of the server; start: fields of the protocol's first message."""
        super().__init__(
            label="face", capabilities=AudioOutputCapabilities(pause=False), next_in_chain=next_in_chain,
            sample_rate=next_in_chain.sample_rate,
        )  # fmt: skip
        self._face = AssistantFace(address, show, **start)

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._face.hear(bytes(frame.data), frame.sample_rate, frame.num_channels)
        assert self.next_in_chain is not None
        await self.next_in_chain.capture_frame(frame)

    def flush(self) -> None:
        super().flush()
        self._face.flush()
        assert self.next_in_chain is not None
        self.next_in_chain.flush()

    def clear_buffer(self) -> None:
        self._face.interrupt()
        assert self.next_in_chain is not None
        self.next_in_chain.clear_buffer()

    async def aclose(self) -> None:
        """Leave the server."""
        await self._face.close()
