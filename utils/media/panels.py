"""Several videos side by side with labels, and lines of text on pictures."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError

LABEL, CAPTION, MIN_TEXT = 0.052, 0.036, 9  # letter heights: fractions of the picture's height; pixels
AUDIO_NAME, STYLE_NAME = "{audio}", "{style}"  # in captions: the name of the speech's file, and of the style
INK, PAPER = (45, 45, 45), (235, 235, 235)  # letters on white and on black background; the halo is the other one
HALO, WIDE_FONT = 0.75, "DejaVuSans.ttf"


@dataclass(frozen=True)
class Panel:
    """One video of a comparison."""

    frames: Iterable[np.ndarray]  # pictures uint8 (H, W, 3), all panels of one size
    label: str = ""


def side_by_side(panels: list[Panel], columns: int | None = None, black_bg: bool = False) -> Iterator[np.ndarray]:
    """Pictures of all panels in a grid, row by row, each with its label -> uint8 (rows H, columns W, 3).

    A panel that ends early holds its last picture; the video ends with the longest. Empty cells are background.

    Args:
        columns: cells per row; None: one row for up to 3 panels, else as square as possible.

    Raises:
        UserError: no panels, pictures of different sizes, or a panel without pictures.
    """
    if not panels:
        raise UserError("side by side: no videos given; give at least one")
    columns = min(len(panels), columns or (len(panels) if len(panels) <= 3 else int(np.ceil(len(panels) ** 0.5))))
    streams = [iter(panel.frames) for panel in panels]
    current: list[np.ndarray | None] = [None] * len(panels)
    while True:
        new = [next(stream, None) for stream in streams]
        if all(frame is None for frame in new):
            if current[0] is None:
                raise UserError("side by side: the videos have no pictures; give longer speech")
            return
        current = [old if frame is None else frame for frame, old in zip(new, current)]
        yield _grid(current, panels, columns, black_bg)


def captioned(frames: Iterable[np.ndarray], text: str, black_bg: bool = False) -> Iterator[np.ndarray]:
    """The pictures with a line of text, such as the file's name, at the bottom centre."""
    for frame in frames:
        yield with_text(frame, text, bottom=True, black_bg=black_bg)


def with_text(picture: np.ndarray, text: str, bottom: bool = False, black_bg: bool = False) -> np.ndarray:
    """A copy of the picture uint8 (H, W, 3) with a line of text in its upper left corner or at the bottom centre.

    The letters shrink until the line fits; a line that is still too long is cut.
    """
    if not text:
        return picture
    share = CAPTION if bottom else LABEL
    halo, letters = text_masks(text, round(share * picture.shape[0]), picture.shape[1])
    height, width = letters.shape
    margin = max(4, picture.shape[0] // 50)
    top = picture.shape[0] - height - margin if bottom else margin
    left = max(0, (picture.shape[1] - width) // 2) if bottom else margin
    result = picture.copy()
    place = result[top : top + height, left : left + width]
    colours = ((halo, INK), (letters, PAPER)) if black_bg else ((halo, PAPER), (letters, INK))
    for mask, colour in colours:
        opacity = mask[: place.shape[0], : place.shape[1], None]
        place[:] = np.round(place + (np.array(colour, np.float32) - place) * opacity).astype(np.uint8)
    return result


@functools.lru_cache(maxsize=64)
def text_masks(text: str, size: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A line of text, letters `size` pixels high or less to fit into `width` -> opacities (h, w) float32 in 0..1 of a
    halo, which makes it readable on skin and cloth alike, and of the letters."""
    from PIL import Image, ImageDraw

    text, font_of = _drawable(text)
    size = max(MIN_TEXT, size)
    while True:
        font, stroke = font_of(size), max(1, size // 8)
        left, top, right, bottom = font.getbbox(text, stroke_width=stroke)
        if right - left <= 0.94 * width or len(text) < 5:
            break
        if size > MIN_TEXT:
            size -= 1
        else:
            text = text[:-4] + "..."
    masks = []
    for thickness in (stroke, 0):
        image = Image.new("L", (int(min(right - left, width)) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(image).text((1 - left, 1 - top), text, fill=255, font=font, stroke_width=thickness)
        masks.append(np.asarray(image, np.float32) / 255)
    return HALO * masks[0], masks[1]


def _drawable(text: str) -> tuple[str, Callable]:
    """The text and a function size -> font with its letters: Pillow's own font has ASCII only, DejaVu is on most
    machines; without it letters lose their accents."""
    from PIL import ImageFont

    if text.isascii():
        return text, ImageFont.load_default
    try:
        ImageFont.truetype(WIDE_FONT, MIN_TEXT)
    except OSError:
        plain = unicodedata.normalize("NFKD", text)
        plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
        return plain.encode("ascii", "replace").decode(), ImageFont.load_default
    return text, functools.partial(ImageFont.truetype, WIDE_FONT)


def _grid(frames: list[np.ndarray | None], panels: list[Panel], columns: int, black_bg: bool) -> np.ndarray:
    pictures = [frame for frame in frames if frame is not None]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1 or len(pictures) < len(frames):
        raise UserError(
            f"side by side: pictures of different sizes {sorted(sizes)}, or an empty video; render them alike"
        )
    height, width, _ = sizes.pop()
    rows = -(-len(frames) // columns)
    # H.264 wants even sizes
    canvas = np.empty((rows * height + rows * height % 2, columns * width + columns * width % 2, 3), np.uint8)
    canvas[:] = pictures[0][0, 0]  # the background's corner
    for k, (picture, panel) in enumerate(zip(pictures, panels)):
        row, column = divmod(k, columns)
        cell = with_text(picture, panel.label, black_bg=black_bg)
        canvas[row * height : (row + 1) * height, column * width : (column + 1) * width] = cell
    return canvas
