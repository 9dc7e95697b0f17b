"""What a mixer does: names and values, from flags, from a schedule, or from a program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from models.mixing.recipes import EMOTIONS, GROUPS, HEAD_OFFSETS, JAW_OFFSET, OFFSETS
from models.mixing.schedule import Curve, read_schedule
from utils.config import check_choice, flag
from utils.errors import UserError
from utils.exports.arkit import BLEND_SHAPES

EYE_CONTACT = "eye_contact"
UNITS = tuple(name for name in BLEND_SHAPES if name not in ("jawOpen", "tongueOut"))
MIRRORED = tuple(group for group in GROUPS if group != "tongue")
MOST_GAIN, MOST_SECONDS, MOST_DEGREES = 3.0, 2.0, 45.0
# Names of a kind of value, and its least and greatest.
KINDS = {
    "emotion": (tuple(EMOTIONS), (0.0, 1.0)),
    "gain": (tuple(GROUPS), (0.0, MOST_GAIN)),
    "offset": ((*OFFSETS, JAW_OFFSET, *HEAD_OFFSETS, *UNITS), (-1.0, 1.0)),
    "smooth": (tuple(GROUPS), (0.0, MOST_SECONDS)),
}


@dataclass(frozen=True)
class MixerConfig:
    """Changes of a motion; without any, it stays as it is."""

    emotion: tuple[str, ...] = flag((), known=tuple(EMOTIONS))
    """Emotions with intensities up to 1: happy, or happy=0.5 surprised=0.3. There are {known}."""
    gain: tuple[str, ...] = flag((), known=tuple(GROUPS))
    """Factors of groups: brows=1.5 head=0.6. The groups are {known}."""
    offset: tuple[str, ...] = flag((), known=(*OFFSETS, JAW_OFFSET, *HEAD_OFFSETS))
    """What is added: smile=0.2 head_pitch=-5. There are {known} (head: degrees), and ARKit's names."""
    smooth: tuple[str, ...] = ()
    """Seconds over which groups are smoothed, and by which they lag: head=0.3 brows=0.1."""
    mirror: tuple[str, ...] = flag((), choices=MIRRORED)
    """Groups whose left and right change places."""
    eye_contact: float = 0.0
    """How far the eyes stay on the camera while the head turns, 0 to 1."""
    mix_schedule: Path | None = None
    """json or csv: seconds -> emotions, gain.GROUP, offset.NAME, eye_contact (docs/mixer.md)."""

    @classmethod
    def of(cls, values: Mapping[str, float]) -> MixerConfig:
        """From a schedule's names and "smooth.GROUP": {"happy": 0.5, "gain.brows": 1.5, "offset.smile": 0.1}.

        Raises:
            UserError: an unknown name, or a value out of range.
        """
        found: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for name, value in values.items():
            kind, _, rest = name.rpartition(".")
            if name != EYE_CONTACT:
                check_choice(name, kind or "emotion", tuple(KINDS))
                found[kind or "emotion"].append(f"{rest}={value}")
        pairs = {kind: tuple(texts) for kind, texts in found.items()}
        made = replace(cls(eye_contact=values.get(EYE_CONTACT, 0.0)), **pairs)
        made.check()
        return made

    def values(self) -> dict[str, float]:
        """The constant values by a schedule's names, without those that change nothing.

        Raises:
            UserError: an unknown name, or a value out of range.
        """
        found = _pairs("emotion", self.emotion, 1.0) | _pairs("gain", self.gain) | _pairs("offset", self.offset)
        found[EYE_CONTACT] = self.eye_contact
        _check_value(EYE_CONTACT, self.eye_contact, f"--{EYE_CONTACT}")
        return {name: value for name, value in found.items() if value != rest_value(name)}

    def seconds(self) -> dict[str, float]:
        """Time constants by group; UserError as for `values`."""
        return {name.partition(".")[2]: value for name, value in _pairs("smooth", self.smooth).items() if value}

    def curves(self) -> dict[str, Curve]:
        """The values over time.

        Raises:
            UserError: see `read_schedule`; an unknown name, or a value out of range.
        """
        if self.mix_schedule is None:
            return {}
        found = read_schedule(self.mix_schedule)
        for name, curve in found.items():
            if name.startswith("smooth."):
                raise UserError(
                    f"{self.mix_schedule}: {name!r} is not a choice; time constants do not vary, use --smooth"
                )
            for value in (curve.values.min(), curve.values.max()):
                _check_value(name, float(value), str(self.mix_schedule))
        return found

    def check(self) -> None:
        """Raises UserError for an unknown name, or a value out of range."""
        for reader in (self.values, self.seconds, self.curves):
            reader()
        for group in self.mirror:
            check_choice("--mirror", group, MIRRORED)


def rest_value(name: str) -> float:
    """The value that changes nothing."""
    return 1.0 if name.startswith("gain.") else 0.0


def _pairs(kind: str, texts: tuple[str, ...], alone: float | None = None) -> dict[str, float]:
    """name=value texts -> values by a schedule's names; `alone` is the value of a name without one."""
    found = {}
    for text in texts:
        name, given, value = text.partition("=")
        try:
            number = float(value) if given else alone
        except ValueError:
            number = None
        if number is None:
            raise UserError(f"--{kind} {text}: must be a name and a number, such as {KINDS[kind][0][0]}=0.5")
        key = name if kind == "emotion" else f"{kind}.{name}"
        _check_value(key, number, f"--{kind} {text}")
        found[key] = number
    return found


def _check_value(key: str, value: float, source: str) -> None:
    """Raises UserError, which begins with `source`, for an unknown name or a value out of range."""
    kind, _, name = key.rpartition(".")
    names, (low, high) = KINDS.get(kind or "emotion", ((), (0.0, 1.0)))
    if key == EYE_CONTACT:
        names = (EYE_CONTACT,)
    if name not in names:
        shown = [one for one in names if one not in UNITS] or [*EMOTIONS, *(f"{one}.NAME" for one in KINDS)]
        raise UserError(f"{source}: {key!r} is not a choice; use one of {', '.join(shown)}")
    if name in HEAD_OFFSETS:
        low, high = -MOST_DEGREES, MOST_DEGREES
    if not (math.isfinite(value) and low <= value <= high):
        raise UserError(f"{source}: must lie between {low:g} and {high:g}, got {value:g}")
