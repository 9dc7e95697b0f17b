"""The pictures of README and docs: the embedded model's styles, from the bundled inputs.

    python -m benchmarks.figures.readme [--pictures film strips identities grid] [--exp_name embedded] [--iter N]
                                        [--styles big_mouth,serious,smile] [-o docs/images]

- film: styles.webp, one sentence in four styles side by side; strips: styles.png, the same, a row per style.
- identities: identities.png, the bundled head shapes.
- grid: the same speech in 3 styles x 3 samples. styles.gif (rows are styles, columns samples, 12.5 frames per second)
  and style_grid.png (a row per style and sample, a column per instant). Every cell has its own seed: 0, 1, 2 in the
  first row, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from benchmarks.subject import INPUT, ModelFlags, Session
from models.heads.decode import motion_vertices
from models.heads.flame import Flame
from utils.atomic import atomic_path
from utils.config import flag
from utils.errors import cli
from utils.media.audio import load_audio
from utils.media.video import write_animation
from utils.motion_file import Motion, load_shape
from utils.rendering.looks import dress
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import ROOT
from utils.timebase import FPS, SAMPLE_RATE

PICTURES = ("film", "strips", "identities", "grid")
CLIP = "librivox_austen_0890"
STYLES = ("big_mouth", "smile", "serious", "large_head_movements")  # of film and strips
SIZE = 224  # pixels of all but the grid
STRIP_FRAMES = slice(8, 120, 14)
EVERY = 2  # motion frames per picture of the GIF
COLOURS = 48
INK = (200, 200, 200)


@dataclass(frozen=True, kw_only=True)
class PictureFlags(ModelFlags):
    """What is drawn."""

    pictures: Sequence[str] = flag(PICTURES, choices=PICTURES)
    """Which of them."""
    samples: int = 3
    """Grid: columns."""
    styles: str = "big_mouth,serious,smile"
    """Grid: bundled styles, comma separated."""
    seconds: float = 3.0
    """Grid: of the recording."""
    size: int = 176
    """Grid: rendered picture in pixels; cells are cropped to the face."""
    output: Path = flag(ROOT / "docs" / "images", "-o")
    """Folder."""


def motion(session: Session, style: str, shape: str = "average") -> Motion:
    """The clip in a style, seed 0."""
    person = replace(session.subject, shape=load_shape(INPUT / "coef" / f"{shape}.npy"))
    audio = load_audio(INPUT / "audio" / f"{CLIP}.flac")
    return person.motions(audio, person.style(style), session.config, 1)[0]


def frames(flame: Flame, renderer: Renderer, motion: Motion, which: slice) -> Iterator[np.ndarray]:
    """Pictures of some frames of a motion."""
    for piece in motion_vertices(flame, motion.cut(which)):
        yield from renderer.frames(piece)


def dressed(session: Session, person: str = "average", size: int = SIZE) -> tuple[Flame, Renderer]:
    """The head as it is drawn by default, with the skin and hair of a bundled shape."""
    look = dress(session.subject.flame.head, "skin", person=person)
    return Flame(look.drawn), Renderer(look.drawn, RenderStyle(size, texture=look.texture))


def film(session: Session) -> None:
    """The clip in several styles, side by side, cropped to the heads."""
    (flame, renderer), margin = dressed(session), SIZE // 8
    motions = [motion(session, style) for style in STYLES]

    def rows() -> Iterator[np.ndarray]:
        tracks = zip(*(frames(flame, renderer, one, slice(None)) for one in motions))
        for row in tqdm(tracks, total=len(motions[0]), desc="film", unit="frame"):
            yield np.concatenate([frame[:, margin:-margin] for frame in row], axis=1)

    write_animation(session.flags.output / "styles.webp", rows(), FPS)


def strips(session: Session) -> None:
    """A row of instants for every style."""
    flame, renderer = dressed(session)
    rows = [list(frames(flame, renderer, motion(session, style), STRIP_FRAMES)) for style in STYLES]
    save(session.flags.output / "styles.png", np.concatenate([np.concatenate(row, axis=1) for row in rows]))


def identities(session: Session) -> None:
    """One instant on every bundled head shape: an open mouth, and eyes that do not blink."""
    shapes = sorted(path.stem for path in (INPUT / "coef").glob("*.npy"))
    row = []
    for shape in shapes:
        one = motion(session, "normal", shape)
        blink = one.exp[:, session.subject.flame.head.exp_names.index("eyeBlinkLeft")]
        instant = int(np.argmax(one.pose[:, 3] - blink))
        row.append(next(frames(*dressed(session, shape), one, slice(instant, instant + 1))))
    save(session.flags.output / "identities.png", np.concatenate(row, axis=1))


def grid(session: Session) -> None:
    """Styles by samples, as a GIF and a contact sheet."""
    flags, subject = session.flags, session.subject
    subject.check_style()
    audio = load_audio(INPUT / "audio" / f"{CLIP}.flac")[: round(flags.seconds * SAMPLE_RATE)]
    rendered = {}
    for k, style in enumerate(tqdm(flags.styles.split(","), desc=subject.name, unit="style")):
        motions = subject.motions(audio, subject.style(style), session.config, flags.samples, k * flags.samples)
        rendered[style] = [cells(session, one) for one in motions]
    write_gif(flags.output / "styles.gif", grid_frames(rendered), round(1000 * EVERY / FPS))
    save(flags.output / "style_grid.png", contact_sheet(rendered, 9))


def cells(session: Session, motion: Motion) -> list[np.ndarray]:
    """Pictures uint8 (about size, 2/3 size, 3) of every second frame."""
    size = session.flags.size
    look = dress(session.subject.flame.head, "skin", person="average")
    renderer = Renderer(look.drawn, RenderStyle(size, black_bg=True, texture=look.texture))  # few colours: 256 in a GIF
    pictures = frames(Flame(look.drawn), renderer, motion, slice(None, None, EVERY))
    side = size // 6
    return [frame[: -size // 16, side:-side] for frame in pictures]


def labelled(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text in its upper left corner."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    ImageDraw.Draw(image).text((4, 2), text, fill=INK)
    return np.asarray(image)


def grid_frames(rendered: dict[str, list[list[np.ndarray]]]) -> list[np.ndarray]:
    """{style: samples: cells over time} -> one picture per instant, a row per style."""
    n = min(len(track) for samples in rendered.values() for track in samples)
    return [
        np.concatenate(
            [
                labelled(np.concatenate([track[i] for track in samples], axis=1), style.replace("_", " "))
                for style, samples in rendered.items()
            ]
        )
        for i in range(n)
    ]


def write_gif(path: Path, frames: list[np.ndarray], milliseconds: int) -> None:
    """One palette for all frames, so that flat colours do not flicker and the file stays small."""
    sheet = np.concatenate(frames[:: max(1, len(frames) // 6)])
    palette = Image.fromarray(sheet).quantize(COLOURS)
    pictures = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    with atomic_path(path) as temporary:
        options = {"save_all": True, "append_images": pictures[1:], "duration": milliseconds, "loop": 0}
        pictures[0].save(temporary, optimize=False, **options)


def contact_sheet(rendered: dict[str, list[list[np.ndarray]]], columns: int) -> np.ndarray:
    """A row per style and sample, `columns` instants evenly spread."""
    rows = []
    for style, samples in rendered.items():
        for k, track in enumerate(samples):
            instants = np.linspace(0, len(track) - 1, columns).round().astype(int)
            row = np.concatenate([track[i] for i in instants], axis=1)
            rows.append(labelled(row, f"{style.replace('_', ' ')} {k + 1}"))
    return np.concatenate(rows)


def save(path: Path, picture: np.ndarray) -> None:
    """A picture uint8 (h, w, 3) as PNG of 128 colours."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).quantize(128).save(temporary)


@cli
def main(argv: list[str] | None = None) -> None:
    session = Session.start(PictureFlags, __doc__, argv)
    for picture in session.flags.pictures:
        {"film": film, "strips": strips, "identities": identities, "grid": grid}[picture](session)
    for path in sorted(session.flags.output.glob("style*")):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
