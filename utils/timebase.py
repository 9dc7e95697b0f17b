"""Frames <-> audio samples, in integers: 25 fps motion against 16 kHz audio."""

from dataclasses import dataclass

FPS = 25
SAMPLE_RATE = 16_000


def samples_per_frame(fps: int = FPS) -> int:
    """Audio samples per motion frame (640 at 25 fps)."""
    if SAMPLE_RATE % fps:
        raise ValueError(f"fps {fps} does not divide the sample rate {SAMPLE_RATE}; use 25")
    return SAMPLE_RATE // fps


def n_frames_of(n_samples: int, fps: int = FPS) -> int:
    """Number of whole motion frames in a number of audio samples: floor(fps * samples / 16000)."""
    return n_samples * fps // SAMPLE_RATE


@dataclass(frozen=True)
class WindowPlan:
    """How an utterance is cut into generation windows."""

    n_frames: int  # frames to keep
    n_windows: int
    window: int  # frames per window

    @property
    def padded_frames(self) -> int:
        return self.n_windows * self.window


def plan_windows(n_samples: int, window: int, fps: int = FPS) -> WindowPlan:
    """The windows of `n_frames_of` the samples: ceil(frames / window), at least 1."""
    n_frames = n_frames_of(n_samples, fps)
    return WindowPlan(n_frames, max(1, -(-n_frames // window)), window)
