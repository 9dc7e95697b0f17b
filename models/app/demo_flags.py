"""Command-line flags of demo.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.app.bundled import DEFAULT_AUDIO, DEFAULT_SHAPE, DEFAULT_STYLE
from models.app.export_flags import ExportFlags
from models.app.head_film import LookFlags
from models.app.sampling_flags import SamplingFlags
from models.mixing.config import MixerConfig
from utils.config import check_least, flag
from utils.devices import PRECISION_SPELLINGS, PRECISIONS
from utils.errors import UserError
from utils.media.panels import AUDIO_NAME
from utils.rendering.renderer import RENDERERS
from utils.runs.run_dir import DEFAULT_EXPERIMENT
from utils.runs.shards import ShardFlags

MOST_SAMPLES = 10_000  # of one recording: a list of their outputs is made first
DESCRIPTION = "Speech -> talking head video. Without arguments: the bundled model, speech, identity and style."


@dataclass(frozen=True)
class ModelFlags:
    """The model and its device."""

    exp_name: str = DEFAULT_EXPERIMENT
    """Experiment in experiments/DPT, or a prefix of it."""
    iter: int | None = None
    """Iteration of the checkpoint (default: the last)."""
    coef_stats: Path | None = None
    """Statistics npz, for published checkpoints."""
    head: Path | None = None
    """FLAME pkl or npz (default: models/data/flame.npz or generic_model.pkl for published models, the open head for
    ours)."""
    device: str = "auto"
    """cuda, cpu or auto."""
    precision: str = flag("fp32", choices=PRECISIONS, spellings=PRECISION_SPELLINGS)
    """Number format of the denoising network."""


@dataclass(frozen=True)
class InputFlags:
    """Inputs, outputs and the number of samples."""

    audio: str = flag(DEFAULT_AUDIO, "-a")
    """Speech of any length: wav, flac, mp3, m4a, ogg, mp4, webm; or a folder of such files, or a .txt list."""
    audio_track: int | None = None
    """Number of the audio track, from 1 (default: the first that is not silent)."""
    coef: str = flag(DEFAULT_SHAPE, "-c")
    """Head shape: npy, or npz with 'shape'."""
    style: str | None = flag(None, "-s", known=(DEFAULT_STYLE,))
    """Style npy (default: {known}; the null style if the model has no such file)."""
    output: str | None = flag(None, "-o")
    """mp4, or npz with --no_video; a folder for many inputs (default: named like the audio, in
    demo/output/<exp>/<iter>/)."""
    n_repetitions: int = flag(1, "-n")
    """Samples to draw."""
    seed: int = 0
    """Seed of the first sample."""
    save_coef: bool = False
    """Write the coefficients (npz) beside the video."""
    overwrite: bool = False
    """With many inputs, also replace outputs that already exist."""
    recursive: bool = False
    """With a folder, also search its subfolders, whose structure the results keep."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, n_repetitions=1, audio_track=1)
        if self.n_repetitions > MOST_SAMPLES:
            raise UserError(f"--n_repetitions {self.n_repetitions}: must be at most {MOST_SAMPLES}")
        if not 0 <= self.seed < 2**63 - self.n_repetitions:
            raise UserError(f"--seed {self.seed}: must lie between 0 and 2^63 - 1")


@dataclass(frozen=True)
class LiveFlags:
    """--stream and how it runs."""

    stream: bool = False
    """Read audio as it arrives (-a - for raw 16 bit mono PCM on stdin, or a named pipe, mic, a file) and write frames
    as they are generated (-o - for lines of JSON on stdout, the default; .ndjson, .csv; .npz or .mp4 at the end)."""
    hop: float = 0.6
    """Seconds of motion generated at once, 0.04 to 4."""
    look_ahead: float = 0.2
    """Seconds of audio to wait for beyond a hop."""
    pcm_rate: int = 16000
    """Sample rate of raw PCM, Hz."""


@dataclass(frozen=True)
class PictureFlags:
    """What the video looks like."""

    black_bg: bool = False
    """Black background."""
    no_head: bool = False
    """Leave out the head motion."""
    size: int = 640
    """Width and height of the picture, pixels."""
    fov: float = 18
    """Field of view, degrees."""
    yaw: float = 0
    """Turn of the camera around the head, degrees towards the person's left."""
    side_by_side: bool = False
    """With -n: all samples in one video, labelled with their seeds."""
    caption: str = flag("", const=AUDIO_NAME)
    """A line of text at the bottom of the video; {audio} in it becomes the name of the speech's file, {style} that of
    the style (given without a text: the file's name)."""
    renderer: str = flag("fast", choices=RENDERERS)
    """fast, or pyrender, which draws the same pictures."""
    no_video: bool = False
    """Write coefficients only (npz), which needs no OpenGL."""

    def check(self) -> None:
        """Raises UserError for a contradiction."""
        if self.side_by_side and self.no_video:
            raise UserError("--side_by_side: applies to the video; leave out --no_video")


@dataclass(frozen=True)
class DemoFlags:
    """All flags of the program."""

    model: ModelFlags
    """model"""
    io: InputFlags
    """input and output"""
    sampling: SamplingFlags
    """sampling"""
    live: LiveFlags
    """live"""
    picture: PictureFlags
    """picture"""
    looks: LookFlags
    """look"""
    export: ExportFlags
    """export (docs/exports.md)"""
    mix: MixerConfig
    """mixer (docs/mixer.md)"""
    work: ShardFlags = ShardFlags()
    """sharing the work, with many inputs (docs/scale.md)"""
    mode: str = flag("batch", choices=("batch", "interactive"))
    """interactive: load the model once, then ask for inputs."""

    def check(self) -> None:
        """Raises UserError for flags that do not work with --stream."""
        if not self.live.stream:
            return
        if self.io.n_repetitions > 1:
            raise UserError(f"--n_repetitions {self.io.n_repetitions}: a stream is one sample; use --seed")
        if self.picture.caption or self.picture.side_by_side:
            name = "--caption" if self.picture.caption else "--side_by_side"
            raise UserError(f"{name}: not with --stream; save its .npz, then render_motion.py")
        if self.export.export:
            raise UserError("--export: not from a stream; save its .npz, then export_motion.py")
