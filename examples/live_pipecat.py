"""A Pipecat processor that gives an assistant a face: put it behind the text-to-speech service.

    pipeline = Pipeline([..., tts, FaceProcessor("ws://127.0.0.1:8765"), transport.output()])

The assistant's speech passes on unchanged; frames of the face follow it as messages of the transport. It needs the
package pipecat-ai (tests have 1.14), in another environment than this project's, whose soxr and soundfile are newer.
"""

from __future__ import annotations

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

from examples.live_assistant import AssistantFace


class FaceProcessor(FrameProcessor):
    """Speech in; speech and the server's messages out."""

    def __init__(self, address: str, **start: Any) -> None:
        """start: fields of the protocol's first message."""
        super().__init__()
        self._face = AssistantFace(address, self._show, **start)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self._face.hear(frame.audio, frame.sample_rate, frame.num_channels)
        elif isinstance(frame, TTSStoppedFrame):
            self._face.flush()
        elif isinstance(frame, InterruptionFrame):
            self._face.interrupt()
        elif isinstance(frame, EndFrame | CancelFrame):
            await self._face.close()
        await self.push_frame(frame, direction)

    async def _show(self, message: dict[str, Any]) -> None:
        await self.push_frame(OutputTransportMessageFrame(message=message))
