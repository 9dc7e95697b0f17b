"""The other person's voice, by its loudness: whether they speak, and when a phrase ends."""

from __future__ import annotations

import numpy as np

from utils.timebase import SAMPLE_RATE

_BLOCK = SAMPLE_RATE // 50  # 20 ms
_QUIET = 0.005  # RMS below which nothing is a voice
_BELOW_LOUDEST = 0.12  # of the loudest block of the last seconds: quieter ones are pauses
_DECAY = 0.5 ** (1 / (4 * 50))  # of the loudest block, per block: half in 4 s
_PAUSE, _PHRASE = 12, 30  # blocks: a pause of .24 s after .6 s of voice ends a phrase
_TURN = 45  # blocks of silence (.9 s) after which they are done, and wait
_PATIENCE = 300  # blocks (6 s) for which they wait
_LATE = 8  # frames without audio after which it has stopped


class Listener:
    """Follows the voice block by block."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._loudest = self._voiced = 0.0
        self._silent = _TURN + _PATIENCE  # blocks since the last voice
        self._ended = False
        self._unheard = 0  # frames without audio

    def hear(self, audio: np.ndarray) -> None:
        """The next samples (n,) float32 at 16 kHz."""
        self._unheard = 0
        audio = np.concatenate([self._rest, audio])
        whole = len(audio) // _BLOCK * _BLOCK
        self._rest = audio[whole:]
        for rms in np.sqrt(np.square(audio[:whole].reshape(-1, _BLOCK)).mean(axis=1)):
            self._block(float(rms))

    def tick(self) -> None:
        """A frame (1/25 s) has passed; audio that has stopped coming counts as silence."""
        self._unheard += 1
        if self._unheard > _LATE:
            self._block(0.0)
            self._block(0.0)

    @property
    def speaks(self) -> bool:
        """Whether they have the turn."""
        return self._silent < _TURN

    @property
    def waits(self) -> bool:
        """Whether they have just given up the turn."""
        return _TURN <= self._silent < _TURN + _PATIENCE

    def phrase_ended(self) -> bool:
        """Whether a phrase has ended since the last call."""
        ended, self._ended = self._ended, False
        return ended

    def _block(self, rms: float) -> None:
        self._loudest = max(rms, self._loudest * _DECAY)
        if rms > max(_QUIET, _BELOW_LOUDEST * self._loudest):
            self._voiced, self._silent = self._voiced + 1, 0
            return
        self._silent += 1
        if self._silent == _PAUSE:
            self._ended, self._voiced = self._voiced >= _PHRASE, 0.0
