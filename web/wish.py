"""What a visitor can ask for, checked as strictly as if no page stood before it, and what the page calls it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from models.app.bundled import DEFAULT_AUDIO, DEFAULT_SHAPE, DEFAULT_STYLE, input_folder
from models.app.sampling_flags import FEW_STEPS
from models.diffusion.guidance import OWN_SCALES
from models.mixing.config import EYE_CONTACT, MixerConfig
from models.mixing.recipes import EMOTIONS
from utils.errors import UserError
from utils.rendering.looks import HAIR, LOOKS, SKINS
from web.folders import Uploads
from web.wardrobe import OF_THE_HEAD, Choice

NO_EMOTION = "that of the style"
MAX_STEPS, MAX_GUIDANCE, MAX_SEED, MAX_BUILD = 100, 5.0, 2**31 - 1, 3.0
EXAMPLES = {
    "English, 3 s": "sphinx_cards_005.flac",
    "English, 5 s": DEFAULT_AUDIO,
    "French, 8 s": "asterisk_fr_queue.flac",
}


@dataclass(frozen=True)
class Wish:
    """The settings of one visitor; checked by `Studio.make`."""

    audio: Path | None
    style: str = Path(DEFAULT_STYLE).stem
    other: str | None = None  # a second style, to compare
    motion: Path | None = None  # file whose style is taken instead
    emotion: str = NO_EMOTION
    intensity: float = 0.7  # of the emotion
    eye_contact: float = 0.0
    identity: str = Path(DEFAULT_SHAPE).stem
    large: float = 0.0  # the head's build, added to the identity: standard deviations of people
    long: float = 0.0
    narrow: float = 0.0
    scale_audio: float = OWN_SCALES["audio"]
    scale_style: float = OWN_SCALES["style"]
    steps: int = FEW_STEPS
    seed: int = 0
    look: str = "skin"
    hair: str = OF_THE_HEAD
    skin: str = OF_THE_HEAD

    def check(self) -> None:
        """Raises UserError for what the page itself would not allow."""
        if self.audio is None:
            raise UserError("speech: record something or upload a file first")
        for name, value, low, high in (
            ("audio guidance", self.scale_audio, 0, MAX_GUIDANCE),
            ("style guidance", self.scale_style, 0, MAX_GUIDANCE),
            ("steps", self.steps, 1, MAX_STEPS),
            ("seed", self.seed, 0, MAX_SEED),
            ("intensity", self.intensity, 0, 1),
            ("eye contact", self.eye_contact, 0, 1),
        ):
            _within(name, value, low, high)
        listed("emotion", self.emotion, (NO_EMOTION, *EMOTIONS))
        self.check_head()

    def check_head(self) -> None:
        """Raises UserError for a head that the page does not offer."""
        for name in ("large", "long", "narrow"):
            _within(name, getattr(self, name), -MAX_BUILD, MAX_BUILD)
        listed("look", self.look, LOOKS)
        listed("hair", self.hair, (OF_THE_HEAD, *HAIR))
        listed("skin", self.skin, (OF_THE_HEAD, *SKINS))

    def choice(self) -> Choice:
        return Choice(self.look, self.hair, self.skin, self.identity)

    def mixing(self) -> MixerConfig:
        """What is changed in the model's motion."""
        emotion = {} if self.emotion == NO_EMOTION else {self.emotion: self.intensity}
        return MixerConfig.of({**emotion, EYE_CONTACT: self.eye_contact})

    def build(self) -> np.ndarray:
        """(100,) what the sliders add to the head's shape, along the open head's first three axes."""
        shape = np.zeros(100, np.float32)
        shape[:3] = -self.large, self.long, self.narrow
        return shape


def wish_of(values: Mapping[str, Any], uploads: Uploads) -> Wish:
    """A request's values by the names of `Wish`'s fields; `audio` is an example or an upload, `motion` an upload.

    Raises:
        UserError: an unknown name, or a file that is not there.
    """
    for name in values:
        listed("setting", name, [field.name for field in fields(Wish)])
    found = {name: value for name, value in values.items() if value is not None}
    audio, motion = found.pop("audio", None), found.pop("motion", None)
    if isinstance(audio, str) and audio in EXAMPLES:
        speech: Path | None = input_folder("audio") / EXAMPLES[audio]
    else:
        speech = None if audio is None else uploads.find(audio)
    return Wish(speech, motion=None if motion is None else uploads.find(motion), **found)


def listed(what: str, name: object, names: Sequence[str]) -> str:
    """The name if it is one of the list: a page's visitor must not choose paths.

    Raises:
        UserError: it is not.
    """
    if not isinstance(name, str) or name not in names:
        raise UserError(f"{what}: {name!r} is not a choice; use one of {', '.join(names)}")
    return name


def _within(name: str, value: object, low: float, high: float) -> None:
    if not (isinstance(value, int | float) and low <= value <= high):
        raise UserError(f"{name}: must lie between {low:g} and {high:g}, got {str(value)[:40]}")


# Words of people for the names of files.
STYLE_WORDS = {
    "normal": "Everyday", "natural": "Natural", "large_head_movements": "Lively head",
    "small_head_movements": "Calm head", "big_mouth": "Wide mouth", "small_mouth": "Quiet mouth",
    "serious": "Serious", "smile": "Smiling",
}  # fmt: skip
HEAD_WORDS = {
    "average": "Average", "female_round": "Woman, round face", "female_slender": "Woman, slender face",
    "female_young": "Woman, young", "male_broad": "Man, broad face", "male_narrow": "Man, narrow face",
    "male_older": "Man, older", "male_young": "Man, young",
}  # fmt: skip
WORDS = STYLE_WORDS | HEAD_WORDS


def word(name: str) -> str:
    """A name as the page shows it; `my_style` becomes `My style`."""
    return WORDS.get(name, name.replace("_", " ").capitalize())


def words(names: list[str]) -> dict[str, str]:
    """{name: what the page calls it}, in the order of the page: known ones first."""
    known = [name for name in WORDS if name in names]
    return {name: word(name) for name in [*known, *(name for name in names if name not in known)]}


@dataclass(frozen=True)
class Download:
    """A kind of file that a take holds."""

    ending: str
    group: str
    title: str
    purpose: str


DOWNLOADS = (
    Download(".mp4", "Video", "Video", "mp4 with sound, to watch and to send"),
    Download(".glb", "3-D", "Head for 3-D programs", "glb for Blender, Unity, three.js and AR viewers"),
    Download(".usda", "3-D", "Head for USD programs", "usd for Omniverse, Houdini and Maya"),
    Download("_skin.jpg", "3-D", "Skin", "the texture of the usd head"),
    Download(".wav", "3-D", "Sound", "wav to play beside the 3-D heads"),
    Download("_livelink.csv", "Motion", "Face capture", "Live Link Face csv for Unreal and ARKit avatars"),
    Download(".csv", "Motion", "Table", "csv for spreadsheets and plots"),
    Download("_coef.npz", "Motion", "Coefficients", "npz for Python and for your own styles"),
    Download(".zip", "All", "Everything", "one zip of all files"),
)


def kind_of(path: Path) -> Download | None:
    """The kind of a take's file; longer endings come first (`_livelink.csv` is no table)."""
    kinds = sorted(DOWNLOADS, key=lambda kind: -len(kind.ending))
    return next((kind for kind in kinds if path.name.endswith(kind.ending)), None)
