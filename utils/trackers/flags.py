"""Command line flags of `ImportOptions`, for every command that reads trackers' files."""

from __future__ import annotations

from dataclasses import dataclass

from utils.config import flag
from utils.errors import UserError
from utils.motion_file import HEAD_MODELS
from utils.rotations import HOW
from utils.trackers.formats import NAMES
from utils.trackers.to_motion import ImportOptions


@dataclass(frozen=True)
class ImportFlags:
    """One flag per field of `ImportOptions`."""

    format: str = flag(ImportOptions.format, known=NAMES)
    """auto, {known} (default: auto, by content)."""
    fps: float | None = None
    """Frames per second of the tracked video (default: as the file says, else 25)."""
    notation: str = flag(ImportOptions.notation, known=(HOW,))
    """Notation of rotations: {known} (default: auto, by format and width)."""
    head_model: str | None = flag(None, choices=HEAD_MODELS)
    """Head model of the coefficients (default: the tracker's)."""
    full_jaw: bool = False
    """Keep the jaw's sideways rotations (default: its opening only)."""
    flip: str = flag("", metavar="012")
    """Reverse the sign of these head angles, e.g. 0 for yaw in a csv."""

    def check(self) -> None:
        """Raises UserError for contradictions."""
        if set(self.flip) - set("012"):
            raise UserError(f"--flip {self.flip}: give digits 0 to 2, the numbers of the head's angles")
        self.options()

    def options(self) -> ImportOptions:
        """The same options as the importers take them."""
        flip = tuple(int(digit) for digit in sorted(set(self.flip)))
        return ImportOptions(self.format, self.fps, self.notation, self.head_model, self.full_jaw, flip)
