"""A Pipecat processor that gives an assistant a face: put it behind the text-to-speech service.

    pipeline = Pipeline([..., tts, FaceProcessor("ws://127.0.0.1:8765"), transport.output()])

The assistant's speech passes on unchanged; frames of the face follow it as messages of the transport. It needs the
package pipecat-ai (tried: 1.14), in another environment than this project's, whose soxr and soundfile are newer.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from examples.live_head import LiveHead


class FaceProcessor(FrameProcessor):
    """Speech in; speech and `frame` messages out."""

    def __init__(self, address: str, **start: Any) -> None:
        """start: fields of the protocol's first message."""
        super().__init__()
        self._address, self._fields = address, start
        self._stack, self._head, self._reader = AsyncExitStack(), None, None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            head = self._head or await self._connect(frame)
            await head.say(frame.audio)
        elif self._head is not None and isinstance(frame, TTSStoppedFrame):
            await self._head.tell("flush")
        elif self._head is not None and isinstance(frame, InterruptionFrame):
            await self._head.tell("interrupt")
        elif isinstance(frame, EndFrame | CancelFrame):
            await self._close()
        await self.push_frame(frame, direction)

    async def _connect(self, frame: TTSAudioRawFrame) -> LiveHead:
        audio = {"rate": frame.sample_rate, "channels": frame.num_channels}
        self._head = await self._stack.enter_async_context(LiveHead.connect(self._address, **audio, **self._fields))
        self._reader = self.create_task(self._show(self._head))
        return self._head

    async def _show(self, head: LiveHead) -> None:
        async for message in head.messages():
            await self.push_frame(OutputTransportMessageFrame(message=message))

    async def _close(self) -> None:
        if self._reader is not None:
            await self.cancel_task(self._reader)
        self._head = self._reader = None
        await self._stack.aclose()
