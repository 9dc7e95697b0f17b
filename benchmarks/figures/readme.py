"""The pictures of the README, from the embedded model and the bundled inputs.

python -m benchmarks.figures.readme [-o DIR]
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from models.app.sampling_flags import own_sampling
from models.generation.animator import Animator
from models.heads.flame import Flame, load_flame
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.devices import pick_device
from utils.errors import cli
from utils.media.audio import load_audio
from utils.media.video import write_animation
from utils.motion_file import Motion, load_shape, load_style
from utils.rendering.renderer import Renderer, RenderStyle
from utils.runs.run_dir import DEFAULT_EXPERIMENT, ROOT, find_checkpoint, style_folder
from utils.timebase import FPS

INPUT = ROOT / "demo" / "input"
CLIP = "librivox_austen_0890"
STYLES = ("big_mouth", "smile", "serious", "large_head_movements")
STRIP_FRAMES = range(8, 120, 14)


class Studio:
    """The embedded model and a renderer."""

    def __init__(self, size: int) -> None:
        self.animator = Animator.load(find_checkpoint("DPT", DEFAULT_EXPERIMENT, None), None, pick_device("auto"))
        self.flame: Flame = load_flame()
        self.renderer = Renderer(self.flame.head, RenderStyle(size=size))
        self.styles = INPUT / "style" / style_folder(self.animator.model.config.style_enc_ckpt)

    def motion(self, style: str, shape: str = "average") -> Motion:
        """The clip in a style, seed 0."""
        vector = load_style(self.styles / f"{style}.npy", self.animator.model.config.d_style)
        config = own_sampling(self.animator.model.config)
        audio = load_audio(INPUT / "audio" / f"{CLIP}.flac")
        return self.animator(audio, load_shape(INPUT / "coef" / f"{shape}.npy"), vector, config, [0])[0]

    def frames(self, motion: Motion, which: list[int]) -> Iterator[np.ndarray]:
        """Pictures of some frames of a motion."""
        shape = torch.from_numpy(motion.shape).expand(len(which), -1)
        with torch.no_grad():
            vertices = self.flame(shape, torch.from_numpy(motion.exp[which]), torch.from_numpy(motion.pose[which]))
        yield from self.renderer.frames(vertices.numpy())


def animation(studio: Studio) -> Iterator[np.ndarray]:
    """The clip in several styles, side by side, cropped to the heads."""
    motions = [studio.motion(style) for style in STYLES]
    margin = studio.renderer.style.size // 8
    rows = zip(*(studio.frames(motion, list(range(len(motion)))) for motion in motions))
    for row in tqdm(rows, total=len(motions[0]), desc="animation", unit="frame"):
        yield np.concatenate([frame[:, margin:-margin] for frame in row], axis=1)


def save(path: Path, rows: list[list[np.ndarray]]) -> None:
    """A grid of pictures as PNG."""
    grid = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    with atomic_path(path) as temporary:
        Image.fromarray(grid).quantize(128).save(temporary)


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "images")
    folder = parser.parse_args(argv).output
    studio = Studio(size=224)
    write_animation(folder / "styles.webp", animation(studio), FPS)
    save(folder / "styles.png", [list(studio.frames(studio.motion(s), list(STRIP_FRAMES))) for s in STYLES])
    shapes = sorted(p.stem for p in (INPUT / "coef").glob("*.npy"))
    save(folder / "identities.png", [[next(studio.frames(studio.motion("normal", s), [50])) for s in shapes]])


if __name__ == "__main__":
    main()
