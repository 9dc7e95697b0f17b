"""What the page calls things: words of people for the names of files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STYLES = {
    "normal": "Everyday", "natural": "Natural", "large_head_movements": "Lively head",
    "small_head_movements": "Calm head", "big_mouth": "Wide mouth", "small_mouth": "Quiet mouth",
    "serious": "Serious", "smile": "Smiling",
}  # fmt: skip
HEADS = {
    "average": "Average", "female_round": "Woman, round face", "female_slender": "Woman, slender face",
    "female_young": "Woman, young", "male_broad": "Man, broad face", "male_narrow": "Man, narrow face",
    "male_older": "Man, older", "male_young": "Man, young",
}  # fmt: skip
WORDS = STYLES | HEADS


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
    Download("_skin.jpg", "3-D", "Skin", "the picture that the usd head wears"),
    Download(".wav", "3-D", "Sound", "wav to play beside the 3-D heads"),
    Download("_livelink.csv", "Motion", "Face capture", "Live Link Face csv for Unreal and ARKit avatars"),
    Download(".csv", "Motion", "Table", "csv for spreadsheets and plots"),
    Download("_coef.npz", "Motion", "Coefficients", "npz for Python, and to make a style of"),
    Download(".zip", "All", "Everything", "one zip of all files"),
)


def kind_of(path: Path) -> Download | None:
    """The kind of a take's file; longer endings come first (`_livelink.csv` is no table)."""
    kinds = sorted(DOWNLOADS, key=lambda kind: -len(kind.ending))
    return next((kind for kind in kinds if path.name.endswith(kind.ending)), None)
