"""The same speech in 3 styles x 3 samples, as a small GIF and a contact sheet.

    python -m benchmarks.figures.style_grid [--exp_name embedded] [--iter N]
                                           [--styles big_mouth,serious,smile] [-o docs/images]

Writes styles.gif (rows are styles, columns samples, 12.5 frames per second) and style_grid.png (a row per style and
sample, a column per instant). Every cell has its own seed: 0, 1, 2 in the first row, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from tqdm import tqdm

from benchmarks.subject import INPUT, Subject, add_flags, check_flags, generation_config
from models.generation.windows import GenerationConfig
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.motion_file import Motion
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import ROOT
from utils.timebase import FPS, SAMPLE_RATE

STYLES = "big_mouth,serious,smile"
CLIP = "librivox_austen_0890"
EVERY = 2  # motion frames per picture of the GIF
COLOURS = 48
INK = (70, 70, 70)


@dataclass(frozen=True)
class GridConfig:
    """What the pictures show."""

    styles: tuple[str, ...]
    samples: int
    seconds: float
    size: int
    """Rendered picture, pixels; cells are cropped to the face."""


def motions(subject: Subject, config: GridConfig, generation: GenerationConfig) -> dict[str, list[Motion]]:
    """{style: samples} for the first seconds of the recording."""
    audio = load_audio(INPUT / "audio" / f"{CLIP}.flac")[: round(config.seconds * SAMPLE_RATE)]
    bar = tqdm(config.styles, desc=subject.name, unit="style")
    return {
        style: subject.motions(audio, subject.style(style), generation, config.samples, k * config.samples)
        for k, style in enumerate(bar)
    }


def cells(subject: Subject, motion: Motion, frames: list[int], size: int) -> list[np.ndarray]:
    """Pictures uint8 (about 3/4 size, 2/3 size, 3) of some frames."""
    shape = torch.from_numpy(motion.shape).expand(len(frames), -1)
    with torch.no_grad():
        vertices = subject.flame(shape, torch.from_numpy(motion.exp[frames]), torch.from_numpy(motion.pose[frames]))
    renderer = Renderer(subject.flame.head, RenderStyle(size=size))
    side, top = size // 6, size // 6
    return [frame[top : -size // 16, side:-side] for frame in renderer.frames(vertices.numpy())]


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


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    add_flags(parser, samples=3)
    parser.add_argument("--styles", default=STYLES, help=f"bundled styles, comma separated (default: {STYLES})")
    parser.add_argument("--seconds", type=float, default=3.0, help="of the recording (default: 3)")
    parser.add_argument("--size", type=int, default=208, help="rendered picture in pixels (default: 208)")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images", help="folder")
    args = parser.parse_args(argv)
    check_flags(args)
    subject = Subject.load(args.exp_name, args.iter, args.device)
    if not subject.has_style:
        raise UserError(f"--exp_name {args.exp_name}: was trained without a style encoder; it has no styles to show")
    config = GridConfig(tuple(args.styles.split(",")), args.samples, args.seconds, args.size)
    found = motions(subject, config, generation_config(subject, args))
    instants = list(range(0, min(len(m) for samples in found.values() for m in samples), EVERY))
    rendered = {style: [cells(subject, m, instants, config.size) for m in samples] for style, samples in found.items()}
    write_gif(args.output / "styles.gif", grid_frames(rendered), round(1000 * EVERY / FPS))
    with atomic_path(args.output / "style_grid.png") as temporary:
        Image.fromarray(contact_sheet(rendered, 9)).quantize(128).save(temporary)
    print(f"{args.output / 'styles.gif'}: {(args.output / 'styles.gif').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
