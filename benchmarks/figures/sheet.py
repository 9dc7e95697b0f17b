"""A picture made of drawn parts, as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from utils.atomic import atomic_path
from utils.errors import UserError


def save_sheet(picture: np.ndarray, output: Path, half: bool = False) -> None:
    """Write (H, W, 3) uint8 as webp or png, if asked at half its size, and print how large the file is.

    Raises:
        UserError: another ending, or a folder that cannot be written.
    """
    if output.suffix not in (".webp", ".png"):
        raise UserError(f"--output {output}: must end in .webp or .png")
    image = Image.fromarray(picture)
    if half:
        image = image.resize((image.width // 2, image.height // 2))
    with atomic_path(output) as path:
        image.save(path, output.suffix[1:], quality=85)
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB")
