"""The work behind the page: speech and settings in, a folder with the 3-D head, video and exports out."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from models.app.bundled import DEFAULT_AUDIO, DEFAULT_STYLE, bundled_shapes, input_folder
from models.app.sampling_flags import own_sampling
from models.app.style_files import StyledTalker, encoder_of
from models.exports.formats import FORMATS, ExportOptions
from models.exports.motion_export import export
from models.generation.audio_stream import AudioScale
from models.generation.style_extractor import StyleExtractor
from models.mixing.mixer import Mixer
from models.networks.person import Person
from utils.errors import UserError
from utils.media.audio import own_sound
from utils.media.panels import Panel, side_by_side
from utils.motion_file import Motion, joined, load_motion, load_style
from utils.timebase import FPS, SAMPLE_RATE
from web.folders import KEPT, new_token, whole
from web.visitor_files import speech_of_file, style_of_file
from web.wardrobe import Costume, Wardrobe
from web.wish import Wish, listed, word

log = logging.getLogger(__name__)
WELCOME, WELCOME_MOTION = "welcome", Path(__file__).with_name("welcome.npz")  # the take that every visitor sees first
HEADS = ("take", "take_2")  # stems of the files; the second one is a comparison's
FIRST = ("glb", "npz")  # formats that the 3-D view and its preview need
LATER = tuple(n for n, row in FORMATS.items() if not (row.needs_flame or row.is_folder or n in FIRST))

GENERATING, MODELLING, DRAWING, EXPORTING = 0.02, 0.2, 0.3, 0.75  # progress at which these begin
Report = Callable[[float, str], None]  # (fraction that is done, what is being done); may raise to end the work


def silent(share: float, what: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Take:
    """One result; its files are called take* in a folder with an unguessable name."""

    folder: Path

    @property
    def token(self) -> str:
        return self.folder.name

    @property
    def video(self) -> Path:
        return self.folder / "take.mp4"

    def downloads(self) -> list[Path]:
        """Everything, the archive of it last."""
        return sorted(self.folder.glob("take*"), key=lambda path: (path.suffix == ".zip", path.name))


@dataclass(frozen=True)
class Draft:
    """A take whose 3-D head is there, and the rest not yet."""

    wish: Wish
    folder: Path
    motions: dict[str, Motion]  # by the styles' names


@dataclass
class Studio(StyledTalker):
    """A loaded model, and the folder where results live for a while."""

    extractor: StyleExtractor | None
    results: Path
    wardrobe: Wardrobe
    usual_style: str = Path(DEFAULT_STYLE).stem
    undressed: threading.Lock = field(default_factory=threading.Lock)  # the wardrobe serves one at a time

    @classmethod
    def open(cls, exp_name: str, results: Path, device: str = "auto") -> Studio:
        """Load a model.

        Raises:
            UserError: no such experiment, or a model without style input or for FLAME's head.
        """
        loaded = StyledTalker.load(exp_name, device, "page")
        try:
            extractor = encoder_of(loaded.animator)
        except UserError as error:  # the bundled styles still work
            log.warning("%s", error)
            extractor = None
        results.mkdir(parents=True, exist_ok=True)
        return cls(**vars(loaded), extractor=extractor, results=results, wardrobe=Wardrobe(loaded.flame.head))

    @staticmethod
    def identity_names() -> list[str]:
        return list(bundled_shapes())

    def make(self, wish: Wish, report: Report = silent) -> Take:
        """Generate, draw and export; see `draft` and `finish`."""
        return self.finish(self.draft(wish, report), report)

    def draft(self, wish: Wish, report: Report = silent, token: str | None = None) -> Draft:
        """Make what the 3-D view needs; `report` gets the progress and may end the work by raising.

        Raises:
            UserError: settings or files that cannot be used.
        """
        report(0, "listening")
        wish.check()
        assert wish.audio is not None
        audio, styles, shape = speech_of_file(wish.audio), self._styles(wish), self.shape(wish)
        folder = self.results / (token or new_token())
        with whole(folder):
            folder.mkdir(mode=0o700)
            motions = self._motions(audio, wish, [Person(shape, style) for style in styles.values()], report)
            report(MODELLING, "building the 3-D head")
            self._export(FIRST, folder, motions, self._costume(wish), wish.audio)
            report(DRAWING, "waiting for the video")
        return Draft(wish, folder, dict(zip(styles, motions)))

    def finish(self, draft: Draft, report: Report = silent) -> Take:
        """Draw the video and write the downloads; a different thread may draft the next take meanwhile."""
        folder = draft.folder
        with whole(folder):
            self._film(draft, report)
            report(EXPORTING, "writing the downloads")
            self._export(LATER, folder, list(draft.motions.values()), self._costume(draft.wish), None)
            _archive(folder)
        return Take(folder)

    def warm_up(self) -> None:
        """Begin a take and throw it away: the first visitor would wait for what is slow only once."""

        def enough(share: float, what: str) -> None:
            if share > DRAWING:
                raise InterruptedError

        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(InterruptedError):
            audio = input_folder("audio") / "sphinx_cards_005.flac"
            replace(self, results=Path(folder)).make(Wish(audio, self.usual_style, steps=2), enough)

    def welcome(self) -> str:
        """Write the take that every visitor sees first: a finished motion with its speech -> its token."""
        folder, wish = self.results / WELCOME, Wish(input_folder("audio") / DEFAULT_AUDIO)
        folder.mkdir(mode=0o700, exist_ok=True)
        motion = replace(load_motion(WELCOME_MOTION), shape=self.shape(wish))
        self._export(FIRST, folder, [motion], self._costume(wish), wish.audio)
        return WELCOME

    def preview(self, token: str, wish: Wish) -> bytes:
        """glb of a take's motion on another head.

        Raises:
            UserError: no such take, or a head that is not to be had.
        """
        wish.check_head()
        path = self.served(token, "take_coef.npz")
        if path is None:
            raise UserError("this take is no longer here; make it again")
        motion = replace(load_motion(path), shape=self.shape(wish))
        with tempfile.TemporaryDirectory() as folder:
            self._export(("glb",), Path(folder), [motion], self._costume(wish), None)
            return (Path(folder) / "take.glb").read_bytes()

    def shape(self, wish: Wish) -> np.ndarray:
        """(100,) the head shape that is wanted."""
        return bundled_shapes()[listed("identity", wish.identity, self.identity_names())] + wish.build()

    def _costume(self, wish: Wish) -> Costume:
        with self.undressed:
            return self.wardrobe.costume(wish.choice())

    def _styles(self, wish: Wish) -> dict[str, np.ndarray]:
        """{name: style vector} of the style, and of the one to compare it with."""
        names = [name for name in (wish.style, wish.other) if name is not None]
        return {listed("style", name, self.style_names()): self._style(replace(wish, style=name)) for name in names}

    def _motions(self, audio: np.ndarray, wish: Wish, persons: list[Person], report: Report) -> list[Motion]:
        """One motion per person, window by window so that progress is seen."""
        scales = {"audio": float(wish.scale_audio), "style": float(wish.scale_style)}
        config = own_sampling(self.animator.model.config, int(wish.steps), scales)
        level = AudioScale()
        level.push(audio)
        n_frames, done, motions = len(persons) * level.n_samples * FPS / SAMPLE_RATE, 0, []
        report(GENERATING, "finding the motion")
        for person in persons:
            pieces, mixer = [], Mixer(wish.mixing(), self.flame.head)
            for piece in self.animator.long([audio], level, person, config, int(wish.seed)):
                pieces.append(mixer.push(piece))
                done += len(piece)
                report(GENERATING + (MODELLING - GENERATING) * min(done / n_frames, 1), "finding the motion")
            motions.append(joined(pieces))
        return motions

    def _export(
        self, formats: tuple[str, ...], folder: Path, motions: list[Motion], costume: Costume, audio: Path | None
    ) -> None:
        """Write formats of every motion, and the speech once if it is given."""
        look = costume.look
        for motion, stem in zip(motions, HEADS):
            sound = None if audio is None or stem != HEADS[0] else own_sound(audio)
            options = ExportOptions(texture=look.texture, drawn_head=look.head, dressed=look.drawn, audio=sound)
            export(motion, self.flame, formats, folder / stem, options)

    def _film(self, draft: Draft, report: Report) -> None:
        """The video of one motion, or of two side by side with the names of their styles."""
        assert draft.wish.audio is not None
        film, several = self._costume(draft.wish).film, len(draft.motions) > 1
        panels = [
            Panel(film.frames(_reported(motion, report)), word(name) if several else "")
            for name, motion in draft.motions.items()
        ]
        n_frames = max(map(len, draft.motions.values()))
        film.encode(draft.folder / "take.mp4", side_by_side(panels), n_frames, own_sound(draft.wish.audio))

    def _style(self, wish: Wish) -> np.ndarray:
        """The style vector of a bundled style, or of the visitor's motion file or video."""
        if wish.motion is None:
            name = listed("style", wish.style, self.style_names())
            return load_style(self.styles / f"{name}.npy", self.animator.model.config.d_style)
        return style_of_file(wish.motion, self.extractor)

    def served(self, token: str, name: str) -> Path | None:
        """A result's file that visitors may read; None for anything else."""
        if not (KEPT.fullmatch(token) or token == WELCOME) or not re.fullmatch(r"take[a-z0-9_]*\.[a-z0-9]+", name):
            return None
        path = self.results / token / name
        return path if path.is_file() else None


def _reported(motion: Motion, report: Report) -> Iterator[Motion]:
    """The motion in pieces of a second, each of which is reported when it is about to be drawn."""
    for start in range(0, len(motion), FPS):
        report(DRAWING + (EXPORTING - DRAWING) * start / len(motion), "drawing the video")
        yield motion.cut(slice(start, start + FPS))


def _archive(folder: Path) -> None:
    """take.zip with everything."""
    files = sorted(folder.glob("take*"))
    with zipfile.ZipFile(folder / "take.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in files:
            archive.write(path, path.name)
