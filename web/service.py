"""The work behind the page: speech and settings in, a folder with video, model and exports out."""

from __future__ import annotations

import logging
import math
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.app.bundled import DEFAULT_SHAPE, DEFAULT_STYLE, bundled_shapes, default_style, style_files_of
from models.app.sampling_flags import FEW_STEPS, own_sampling
from models.app.style_files import encoder_of, style_from_file
from models.diffusion.guidance import OWN_SCALES
from models.exports.formats import FORMATS, ExportOptions
from models.exports.motion_export import export
from models.generation.animator import Animator
from models.generation.style_extractor import StyleExtractor
from models.heads.flame import Flame, load_flame
from models.mixing.config import MixerConfig
from models.mixing.mixer import Mixer
from models.mixing.recipes import EMOTIONS
from models.networks.person import Person
from utils.devices import pick_device
from utils.errors import UserError
from utils.media.audio import load_audio, own_sound
from utils.media.video_frames import VIDEO_SUFFIXES
from utils.motion_file import Motion, load_style
from utils.rendering.looks import HAIR, LOOKS, SKINS
from utils.runs.run_dir import find_checkpoint
from utils.timebase import FPS, SAMPLE_RATE
from utils.trackers.landmarker import is_installed
from web.wardrobe import OF_THE_HEAD, Choice, Wardrobe

log = logging.getLogger(__name__)
MAX_SECONDS, MAX_MOTION_BYTES = 60, 20_000_000
MAX_VIDEO_SECONDS = 30  # of a video that gives a style
MAX_STEPS, MAX_GUIDANCE, MAX_SEED, MAX_BUILD = 100, 5.0, 2**31 - 1, 3.0
MOTION_FILES = (".npz", ".csv", ".json")  # files that can give a style, besides videos
DOWNLOADS = tuple(name for name, row in FORMATS.items() if not (row.needs_flame or row.is_folder))
NO_EMOTION = "none"
KEPT = re.compile(r"[0-9a-f]{32}")
SERVED = {".glb": "model/gltf-binary", ".wav": "audio/wav"}  # what the 3-D view may ask for

GENERATING, DRAWING, EXPORTING = 0.05, 0.3, 0.95  # progress at which these begin, as fractions of the time
Report = Callable[[float, str], None]  # (fraction that is done, what is being done)


def silent(share: float, what: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Wish:
    """The settings of one visitor; checked by `Studio.make`."""

    audio: Path | None
    style: str = Path(DEFAULT_STYLE).stem
    motion: Path | None = None  # file whose style is taken instead
    identity: str = Path(DEFAULT_SHAPE).stem
    large: float = 0.0  # the head's build, added to the identity: standard deviations of people
    long: float = 0.0
    narrow: float = 0.0
    scale_audio: float = OWN_SCALES["audio"]
    scale_style: float = OWN_SCALES["style"]
    steps: int = FEW_STEPS
    seed: int = 0
    emotion: str = NO_EMOTION
    intensity: float = 0.7
    look: str = "skin"
    hair: str = OF_THE_HEAD
    skin: str = OF_THE_HEAD

    def check(self) -> None:
        """Raises UserError for what the sliders of the page would not allow."""
        if self.audio is None:
            raise UserError("speech: record something or upload a file first")
        for name, value, low, high in (
            ("audio guidance", self.scale_audio, 0, MAX_GUIDANCE),
            ("style guidance", self.scale_style, 0, MAX_GUIDANCE),
            ("steps", self.steps, 1, MAX_STEPS),
            ("seed", self.seed, 0, MAX_SEED),
            ("intensity", self.intensity, 0, 1),
            *((name, getattr(self, name), -MAX_BUILD, MAX_BUILD) for name in ("large", "long", "narrow")),
        ):
            if not (isinstance(value, int | float) and math.isfinite(value) and low <= value <= high):
                raise UserError(f"{name}: must lie between {low:g} and {high:g}, got {value}")
        _listed("emotion", self.emotion, (NO_EMOTION, *EMOTIONS))
        _listed("look", self.look, LOOKS)
        _listed("hair", self.hair, (OF_THE_HEAD, *HAIR))
        _listed("skin", self.skin, (OF_THE_HEAD, *SKINS))

    def mixer(self) -> Mixer:
        """The mixer of the emotion."""
        return Mixer(MixerConfig.of({} if self.emotion == NO_EMOTION else {self.emotion: float(self.intensity)}))

    def choice(self) -> Choice:
        return Choice(self.look, self.hair, self.skin, self.identity)

    def build(self) -> np.ndarray:
        """(100,) what the sliders add to the head's shape, along the open head's first three axes."""
        shape = np.zeros(100, np.float32)
        shape[:3] = -self.large, self.long, self.narrow
        return shape


@dataclass(frozen=True)
class Take:
    """One result; its files are called take.* in a folder with an unguessable name."""

    folder: Path
    seconds: float  # of speech
    took: float  # seconds of work

    @property
    def token(self) -> str:
        return self.folder.name

    @property
    def video(self) -> Path:
        return self.folder / "take.mp4"

    def downloads(self) -> list[Path]:
        """Everything, the archive of it last."""
        return sorted(self.folder.glob("take*"), key=lambda path: (path.suffix == ".zip", path.name))


@dataclass
class Studio:
    """A loaded model, and the folder where results live for a while."""

    animator: Animator
    flame: Flame
    styles: Path  # folder of this model's style files
    extractor: StyleExtractor | None
    results: Path
    wardrobe: Wardrobe
    usual_style: str = Path(DEFAULT_STYLE).stem

    @classmethod
    def open(cls, exp_name: str, results: Path, device: str = "auto") -> Studio:
        """Load a model.

        Raises:
            UserError: no such experiment, or a model without style input or for FLAME's head.
        """
        checkpoint = find_checkpoint("DPT", exp_name, None)
        animator = Animator.load(checkpoint, None, pick_device(device))
        recorded = animator.model.config.style_enc_ckpt
        if animator.published or not recorded:
            raise UserError(f"--exp_name {exp_name}: the page needs a model of the open head with styles")
        try:
            extractor = encoder_of(animator)
        except UserError as error:  # the bundled styles still work
            log.warning("%s", error)
            extractor = None
        results.mkdir(parents=True, exist_ok=True)
        flame = load_flame(None)
        animator.know_head(flame.head)
        usual, wardrobe = Path(default_style(exp_name)).stem, Wardrobe(flame.head)
        return cls(animator, flame, style_files_of(recorded), extractor, results, wardrobe, usual)

    def style_names(self) -> list[str]:
        return sorted(path.stem for path in self.styles.glob("*.npy"))

    @staticmethod
    def identity_names() -> list[str]:
        return list(bundled_shapes())

    def make(self, wish: Wish, report: Report = silent) -> Take:
        """Generate, draw and export; `report` gets the progress.

        Raises:
            UserError: settings or files that cannot be used.
        """
        start = time.perf_counter()
        report(0, "listening")
        wish.check()
        assert wish.audio is not None
        name = _listed("identity", wish.identity, self.identity_names())
        shape = bundled_shapes()[name] + wish.build()
        style, audio = self._style(wish), _speech(wish.audio)
        scales = {"audio": float(wish.scale_audio), "style": float(wish.scale_style)}
        config = own_sampling(self.animator.model.config, int(wish.steps), scales)
        report(GENERATING, "finding the motion")
        (motion,) = self.animator(audio, Person(shape, style), config, [int(wish.seed)])
        motion = wish.mixer().push(motion)
        folder = self.results / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        try:
            costume, pieces = self.wardrobe.costume(wish.choice()), _reported(motion, report)
            costume.film.write(folder / "take.mp4", pieces, len(motion), own_sound(wish.audio))
            report(EXPORTING, "writing files")
            look = costume.look
            options = ExportOptions(
                texture=look.texture, drawn_head=look.head, dressed=look.drawn, audio=own_sound(wish.audio)
            )
            export(motion, self.flame, DOWNLOADS, folder / "take", options)
            _archive(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return Take(folder, len(audio) / SAMPLE_RATE, time.perf_counter() - start)

    def _style(self, wish: Wish) -> np.ndarray:
        """The style vector of a bundled style, or of the visitor's motion file or video."""
        if wish.motion is None:
            name = _listed("style", wish.style, self.style_names())
            return load_style(self.styles / f"{name}.npy", self.animator.model.config.d_style)
        return self.style_of_upload(wish.motion)

    def style_of_upload(self, path: Path) -> np.ndarray:
        """A visitor's file -> the style vector (d,) of its most typical 4 seconds.

        Raises:
            UserError: no style encoder, too large, of another kind than MOTION_FILES, or without usable motion.
        """
        if self.extractor is None:
            raise UserError("your own style: this model's style encoder is missing; choose a bundled style")
        video = path.suffix.lower() in VIDEO_SUFFIXES
        if video and not is_installed():
            raise UserError("your own style: MediaPipe is not installed here (docs/data.md); give a motion file")
        if not video and path.suffix.lower() not in MOTION_FILES:
            raise UserError(f"your own style: {path.name} must be one of {', '.join(style_files())}")
        if not video and path.stat().st_size > MAX_MOTION_BYTES:  # the page limits all uploads
            raise UserError(f"your own style: {path.name} is larger than {MAX_MOTION_BYTES / 1e6:g} MB; cut it")
        try:
            return _named(lambda given: style_from_file(given, self.extractor, MAX_VIDEO_SECONDS)[0], path)
        except UserError as error:  # the list of what every format needs is too long for a page
            reason, long, _ = str(error).partition(". Found: ")
            raise UserError(
                reason + (f"; give one of {', '.join(MOTION_FILES)} as the page says" if long else "")
            ) from error

    def served(self, token: str, name: str) -> tuple[Path, str] | None:
        """A result's file that the 3-D view may read and its media type; None for anything else."""
        kind = SERVED.get(Path(name).suffix)
        if kind is None or not KEPT.fullmatch(token) or name != f"take{Path(name).suffix}":
            return None
        path = self.results / token / name
        return (path, kind) if path.is_file() else None

    def sweep(self, max_age: float) -> int:
        """Remove results older than `max_age` seconds -> how many."""
        old = [
            folder
            for folder in self.results.iterdir()
            if KEPT.fullmatch(folder.name) and time.time() - folder.stat().st_mtime > max_age
        ]
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
        return len(old)


def _listed(what: str, name: str, names: Sequence[str]) -> str:
    """The name if it is one of the list: a page's visitor must not choose paths."""
    if name not in names:
        raise UserError(f"{what}: {name!r} is not a choice; use one of {', '.join(names)}")
    return name


def style_files() -> tuple[str, ...]:
    """Suffixes of the files that a style may be taken from, on this machine."""
    return MOTION_FILES + (tuple(VIDEO_SUFFIXES) if is_installed() else ())


def _speech(path: Path) -> np.ndarray:
    """Speech (n,) at 16 kHz; a small file may hold hours, so decoding ends where it is too long."""
    audio = _named(lambda name: load_audio(name, max_seconds=MAX_SECONDS), path)
    if len(audio) < SAMPLE_RATE // 2:
        raise UserError("speech: shorter than half a second; record a little more")
    return audio


def _named(read, path: Path):
    """Errors about an uploaded file name it without the server's folders."""
    try:
        return read(path)
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from error


def _reported(motion: Motion, report: Report) -> Iterator[Motion]:
    """The motion in pieces of a second, each of which is reported when it is about to be drawn."""
    for start in range(0, len(motion), FPS):
        report(DRAWING + (EXPORTING - DRAWING) * start / len(motion), "drawing")
        yield motion.cut(slice(start, start + FPS))


def _archive(folder: Path) -> None:
    """take.zip with everything."""
    files = sorted(folder.glob("take*"))
    with zipfile.ZipFile(folder / "take.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in files:
            archive.write(path, path.name)
