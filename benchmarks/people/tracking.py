"""How well the tracker reads real mouths, eyes and brows: videos of people with their word times, by landmarks.

    python -m benchmarks.people.tracking --faces FOLDER [--clips 20] [--json FILE]

FOLDER holds <person>/<clip>.mkv; words.jsonl lies in it or beside it, with lines such as
`{"clip": "person/clip", "words": [[word, start s, end s], ...]}`.
All clips of a person are fitted together. The ruler: landmarks 13 and 14 of the inner lips, in mm where the outer
corners of the eyes are 90 mm apart; the tracked mouth is the average head's opening under the tracked motion, in mm of
the same ruler. Brows are measured likewise: the height of their inner ends above the eyes' inner corners, less what the
turn of the head alone would change. Words that begin with b or p begin with shut lips, within two frames of their
onset.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from benchmarks.people.mouth_scores import ruler_openings
from benchmarks.people.recordings import Words, read_words, shut_onsets
from benchmarks.report import Flags, column, machine, publish, read_flags, table
from models.metrics.upper_face import runs
from models.tracking.embedding import CORNERS, EYES_APART, LandmarkHead
from models.tracking.embedding import column as place
from models.tracking.film import LIDS, Film, FilmFitter, Fitted
from models.tracking.person import features, ruler
from models.tracking.video import film_of
from utils.errors import UserError, cli
from utils.heads.head_file import load_head_file
from utils.media.video_frames import VIDEO_SUFFIXES, read_frames
from utils.motion_file import Motion
from utils.reports.wording import counted
from utils.timebase import FPS
from utils.trackers.landmarker import find_model, watch

NEAR = 2  # frames about a word's onset
SHUT, SHUT_SEEN = 1.0, 1.5  # mm: tracked and seen openings of shut lips
BLINK_SEEN, BLINK = 0.45, 0.5  # share of the usual lid gap below which an eye is shut; eyeBlink above which it blinks
WIDTH, BROWS = 1, (4, 5)  # of `features`
INNER_BROWS = ((107, 133), (336, 362))  # inner end of a brow, inner corner of the eye


@dataclass(frozen=True, kw_only=True)
class PeopleFlags(Flags):
    """What is measured."""

    faces: Path
    """Folder of videos: <person>/<clip>, with words.jsonl for `benchmarks.people.tracking`."""
    clips: int = 20
    """Clips of each person, evenly spread over them."""


@dataclass(frozen=True)
class Row:
    """One person."""

    person: str = column("person")
    onsets: int = column("b, p")
    seen: str = column("seen: median/p90")
    tracked: str = column("tracked: median/p90")
    shut: float = column("<= 1 mm", "{:.0%}")
    kept: float = column("shut kept", "{:.0%}")
    r: float = column("r", "{:.3f}")
    gain: float = column("gain", "{:.2f}")
    offset: float = column("offset", "{:+.2f}")
    blinks: float = column("blinks found", "{:.0%}")
    false_blinks: float = column("false", "{:.0%}")
    smile: float = column("smile~width", "{:.2f}")
    brow: float = column("brow~height", "{:.2f}")
    inner_brows: float = column("brows", "{:.2f}")
    residual: float = column("residual mm", "{:.2f}")
    speed: float = column("x real time", "{:.1f}")


def needed_words(folder: Path) -> dict[str, Words]:
    """Word times of each clip.

    Raises:
        UserError: there is no words.jsonl, or it is damaged.
    """
    words = read_words(folder)
    if not words:
        raise UserError(f"--faces {folder}: holds no words.jsonl, nor does its parent; give a folder of people's clips")
    return words


def people(folder: Path, n_clips: int) -> dict[str, list[Path]]:
    """Each person's clips, evenly spread.

    Raises:
        UserError: there are none.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            found.setdefault(path.parent.name, []).append(path)
    if not found:
        raise UserError(f"--faces {folder}: holds no <person>/<clip> videos")
    return {person: paths[:: max(1, len(paths) // n_clips)][:n_clips] for person, paths in found.items()}


@dataclass(frozen=True)
class Take:
    """One clip: what landmarks show, and what was tracked. T frames."""

    clip: str
    film: Film
    fitted: Fitted
    opening: np.ndarray  # (T,) mm of the average head under the tracked motion
    brows: np.ndarray  # (2, T) see `brow_heights`

    @property
    def measures(self) -> np.ndarray:
        """(T, 8) of the landmarks."""
        return features(torch.from_numpy(np.asarray(self.film.points, np.float64))).numpy()

    @property
    def seen(self) -> np.ndarray:
        """(T,) mm between the inner lips."""
        return ruler(torch.from_numpy(np.asarray(self.film.points, np.float64))).numpy()


def brow_heights(head: LandmarkHead, film: Film, fitted: Fitted) -> np.ndarray:
    """(2, T) ruler mm: inner brows as seen, less those of a face at rest that turns alike, and on the average head."""
    exp, jaw = (torch.from_numpy(x.astype(np.float64)) for x in (fitted.exp, fitted.pose[:, 3]))
    none = exp.new_zeros(head.n_shape), exp.new_zeros(1, 3)
    resting = head(*none, 0 * exp[:1], 0 * jaw[:1]).numpy() @ Rotation.from_rotvec(fitted.pose[:, :3]).inv().as_matrix()
    return np.stack([_inner_brows(film.points) - _inner_brows(resting), _inner_brows(head(*none, exp, jaw).numpy())])


def _inner_brows(points: np.ndarray) -> np.ndarray:
    """(T, P, 2 or 3) -> (T,) ruler mm in the plane of the picture."""

    def apart(a: int, b: int) -> np.ndarray:
        return np.linalg.norm((points[:, place(a)] - points[:, place(b)])[:, :2], axis=1)

    return EYES_APART * np.mean([apart(*pair) for pair in INNER_BROWS], axis=0) / apart(*CORNERS)


def track(paths: list[Path], fitter: FilmFitter) -> tuple[list[Take], float]:
    """All clips of a person, and how many times real time it took."""
    begin, model = time.perf_counter(), find_model()
    films = [film_of(watch(read_frames(path), model, str(path))) for path in paths]
    films = [film[film.found] for film in films]
    fitted = fitter(films)
    seconds = sum(len(film.times) for film in films) / FPS
    speed = seconds / (time.perf_counter() - begin)
    openings = [ruler_openings(fitter.head, [Motion(fit.exp, fit.pose)])[0] for fit in fitted]
    brows = [brow_heights(fitter.head, *pair) for pair in zip(films, fitted)]
    clips = [f"{path.parent.name}/{path.stem}" for path in paths]
    return [Take(*parts) for parts in zip(clips, films, fitted, openings, brows)], speed


def at_onsets(take: Take, words: Words) -> list[tuple[float, float]]:
    """The least seen and tracked opening about each onset of b and p."""
    found = []
    for start in shut_onsets(words):
        rows = np.abs(take.film.times - start) * FPS <= NEAR + 0.5
        if rows.any():
            found.append((float(take.seen[rows].min()), float(take.opening[rows].min())))
    return found


def blinks(takes: list[Take], names: list[str]) -> tuple[float, float]:
    """Share of the blinks seen by lid gaps that are tracked, and share of the tracked ones that are not seen."""
    seen_total = hits = tracked_total = false = 0
    usual = np.quantile(np.concatenate([take.measures[:, LIDS].mean(1) for take in takes]), 0.75)
    for take in takes:
        seen = take.measures[:, LIDS].mean(1) / usual < BLINK_SEEN
        columns = [names.index(f"eyeBlink{side}") for side in ("Left", "Right")]
        tracked = take.fitted.exp[:, columns].mean(1) > BLINK
        wide = np.convolve(tracked, np.ones(2 * NEAR + 1), "same") > 0
        lenient = np.convolve(seen, np.ones(2 * NEAR + 1), "same") > 0
        for rows in runs(seen):
            seen_total, hits = seen_total + 1, hits + wide[rows].any()
        for rows in runs(tracked):
            tracked_total, false = tracked_total + 1, false + (not lenient[rows].any())
    return hits / max(seen_total, 1), false / max(tracked_total, 1)


def within(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Mean correlation inside clips."""
    pairs = [(x, y) for x, y in zip(a, b) if x.std() > 1e-6 and y.std() > 1e-6]
    return float(np.mean([np.corrcoef(x, y)[0, 1] for x, y in pairs])) if pairs else float("nan")


def measured(person: str, takes: list[Take], words: dict[str, Words], names: list[str]) -> Row:
    """A person's row; the speed is filled in later."""
    pairs = np.array([pair for take in takes for pair in at_onsets(take, words.get(take.clip, []))]).reshape(-1, 2)
    seen, tracked = (np.concatenate([getattr(take, name) for take in takes]) for name in ("seen", "opening"))
    shut = seen <= SHUT_SEEN
    spreads = [f"{np.median(c):.2f} / {np.quantile(c, 0.9):.2f}" if len(c) else "-" for c in pairs.T]
    smile = [t.fitted.exp[:, [names.index(f"mouthSmile{side}") for side in ("Left", "Right")]].sum(1) for t in takes]
    brow = [t.fitted.exp[:, names.index("browInnerUp")] for t in takes]
    return Row(
        person, len(pairs), *spreads, float((pairs[:, 1] <= SHUT).mean()) if len(pairs) else float("nan"),
        float((tracked[shut] <= SHUT).mean()) if shut.any() else float("nan"),
        float(np.corrcoef(seen, tracked)[0, 1]), float(tracked.std() / seen.std()), float((tracked - seen).mean()),
        *blinks(takes, names), within(smile, [t.measures[:, WIDTH] for t in takes]),
        within(brow, [t.measures[:, BROWS].sum(1) for t in takes]),
        within(*([t.brows[k] for t in takes] for k in (0, 1))),
        float(np.mean([t.fitted.residual.mean() for t in takes])), float("nan"),
    )  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(PeopleFlags, __doc__ or "", argv)
    words, fitter = needed_words(flags.faces), FilmFitter(LandmarkHead(load_head_file(None)))
    rows, everyone = [], []
    for person, paths in people(flags.faces, flags.clips).items():
        takes, speed = track(paths, fitter)
        everyone += takes
        rows.append(replace(measured(person, takes, words, fitter.head.head.exp_names or []), speed=speed))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    rows.append(measured("all", everyone, words, fitter.head.head.exp_names or []))
    publish(f"{counted(len(everyone), 'clip')}, {machine(torch.device('cpu'))}", rows, flags.json)


if __name__ == "__main__":
    main()
