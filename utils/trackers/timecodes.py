"""The times of a table's rows: time codes, clock times and numbers in any unit, recognised by their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError

# Frames per second that time codes count. A rate in between is taken as it is.
_USUAL = np.array([24, 25, 30, 48, 50, 60, 72, 90, 96, 100, 120, 240])
_NAMES = ("timecode", "time", "timestamp", "seconds", "sec", "ms", "milliseconds", "t", "ts", "frametime")
_DAY, _HOUR = 86400, 3600  # seconds after which HH:MM:SS:FF and MM:SS:FF begin again
_ADVANCING = 0.45  # share of rows on which the third number grows, if it counts frames
# An optional date, hours : minutes : seconds, then perhaps : or ; frames, then perhaps a decimal fraction
_CODE = re.compile(r"(?:[\d/-]+[ T])?(\d{1,6})[:;](\d{1,4})[:;](\d{1,4})(?:([:;])(\d{1,4}))?(?:[.,](\d{1,12}))?Z?")
# Seconds between rows below the first number -> the factor to seconds; None: the numbers count frames.
_UNITS = ((1, 1.0, ""), (4, None, "numbers of frames"), (1e3, 1e-3, "milliseconds"), (1e6, 1e-6, "microseconds"),
          (1e12, 1e-9, "nanoseconds"))  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """When the rows of a table were recorded."""

    seconds: np.ndarray | None  # (T,); None: unknown
    frames: np.ndarray | None = None  # (T,) numbers of frames, where the column holds these instead of times
    notes: tuple[str, ...] = ()


def time_column(names: Sequence[str]) -> str | None:
    """Which of a table's columns holds times; None: none does."""
    plain = {name: re.sub("[^a-z]", "", name.rpartition(".")[2].lower()) for name in names}
    exact = [name for wanted in _NAMES for name in names if plain[name] == wanted]
    likely = [name for name in names if re.match("time|.*(time|timestamp|timecode)(s|ms)?$", plain[name])]
    return next(iter([*exact, *likely]), None)


def read_clock(cells: Sequence[str], source: str) -> Clock:
    """The cells of a column of times.

    Raises:
        UserError: a cell is neither a number nor a time code.
    """
    try:
        return _numbers(np.array([float(cell.replace(",", ".")) if cell.strip() else np.nan for cell in cells]))
    except ValueError:
        return Clock(_time_codes(cells, source))


def _numbers(values: np.ndarray) -> Clock:
    """Seconds, milli-, micro- or nanoseconds, or frames: whichever makes the usual step that of a video.

    A video has 1 to 250 frames a second, so the median step is 0.004 to 1 s, or 4 to 1000 ms.
    """
    with np.errstate(invalid="ignore"):
        steps = np.diff(values[np.isfinite(values)])
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    scale, unit = next(((scale, unit) for limit, scale, unit in _UNITS if usual < limit), (1.0, ""))
    if scale is None:
        return Clock(None, values, (f"the column of times holds {unit}",))
    return Clock(values * scale, notes=(f"times are {unit}",) if unit else ())


def _time_codes(cells: Sequence[str], source: str) -> np.ndarray:
    """HH:MM:SS:FF.sub, MM:SS:FF.sub or HH:MM:SS.sub -> seconds, also over midnight or the hour.

    Drop-frame codes count 30000/1001 frames a second.
    """
    matches = [_CODE.fullmatch(cell.strip()) for cell in cells]
    wrong = next((cell for cell, match in zip(cells, matches) if match is None and cell.strip()), None)
    if wrong is not None or not any(matches):
        raise UserError(f"{source}: timecode {str(wrong)[:30]!r} is neither a number nor HH:MM:SS:FF; export it again")
    empty = (np.nan,) * 5
    rows = np.array([[float(m[1]), float(m[2]), float(m[3]), float(m[5] or 0), float(f"0.{m[6] or 0}")] if m else empty
                     for m in matches])  # fmt: skip
    framed, period = any(match and match[5] for match in matches), _DAY
    if not framed and _counts_frames(rows[np.isfinite(rows[:, 2]), :3]):
        rows[:, 1:4], rows[:, 0] = rows[:, :3].copy(), 0
        framed, period = True, _HOUR
    whole = rows[:, :3] @ [3600, 60, 1]
    with np.errstate(invalid="ignore"):
        whole = whole + period * np.cumsum(np.diff(whole, prepend=whole[:1]) < -period / 2)  # over midnight
    known = np.isfinite(whole)
    if not framed:
        hundredths = np.round(100 * rows[:, 4])
        if not all(match is None or len(match[6] or "") == 2 for match in matches) or not (
            np.ptp(whole[known]) and hundredths[known].max() < 60  # of a second they would also be larger
        ):
            return whole + rows[:, 4]
        rows[:, 3], rows[:, 4] = hundredths, 0  # HH:MM:SS.FF
    frames = rows[:, 3] + rows[:, 4]
    marked = any(match and ";" in match[0] for match in matches)
    rate = _rate(whole[known], frames[known], _USUAL[_USUAL % 30 == 0] if marked else _USUAL)
    if rate > _USUAL[-1]:
        raise UserError(f"{source}: time codes of {rate:.0f} frames per second are not supported; export them at 60")
    if not (marked or _skips(whole[known], frames[known], rate)) or rate % 30:
        return whole + frames / rate
    minutes = np.floor(whole / 60)
    dropped = rate / 15 * (minutes - np.floor(minutes / 10))
    return (whole * rate + frames - dropped) * 1001 / (1000 * rate)


def _counts_frames(rows: np.ndarray) -> bool:
    """Whether the third numbers are frames: no video has so few frames that seconds grow on every other row."""
    steps = np.diff(rows @ [_HOUR, 60, 1])
    return bool(len(steps) > 1 and (np.abs(steps) >= 1).mean() >= _ADVANCING)


def _rate(seconds: np.ndarray, frames: np.ndarray, known: np.ndarray) -> float:
    """Frames per second: more than every frame number, and the step into a new second is like those within one."""
    least = np.floor(frames.max()) + 1
    step, turn = np.diff(frames), np.diff(seconds)
    inside, over = step[(turn == 0) & (step > 0)], -step[turn == 1]
    if not (inside.size and over.size):
        return float(next((rate for rate in known if rate >= least), least))
    rate = max(least, np.round(np.median(inside) + np.median(over)))
    usual = known[least <= known]
    nearest = usual[np.abs(usual - rate).argmin()] if usual.size else rate
    return float(nearest if abs(nearest - rate) <= 1 else rate)


def _skips(seconds: np.ndarray, frames: np.ndarray, rate: float) -> bool:
    """Whether every minute but each tenth begins with frame 2 (30 fps) or 4 (60 fps), as drop-frame codes do."""
    new = np.flatnonzero((np.diff(seconds // 60) == 1) & (np.diff(seconds) == 1) & (frames[:-1] >= rate - 1)) + 1
    new = new[seconds[new] // 60 % 10 != 0]
    return bool(new.size) and rate % 30 == 0 and bool((np.floor(frames[new]) == rate / 15).all())
