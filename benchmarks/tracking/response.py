"""Fits what MediaPipe's scores mean on the open head: models/data/mediapipe_response.npz.

    python -m benchmarks.tracking.response [--recorded FILE.npz]

Needs MediaPipe. 56 random speakers of the synthetic corpus say random syllables for 2 s each on five identities, in
both looks, through lenses of 18 and 45 degrees; MediaPipe watches (5 minutes). Then 12 more, on three other
identities, for the check that is printed: correlation and error per unit, before and after. `--recorded` keeps what was
watched and uses it again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.tracking.own_head import Cinema, Scene, babble
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import cli
from utils.exports.arkit import BLEND_SHAPES, arkit_of_open_head
from utils.reading.array_file import read_npz
from utils.trackers.response import RESPONSE, fit_response

FITTED_ON = ("average", "female_young", "male_broad", "male_older", "female_slender")
HELD_OUT = ("female_round", "male_narrow", "male_young")
N_FIT, N_CHECK, FRAMES, SIZE = 56, 12, 48, 256
FOVS = (18, 45, 18, 45)  # degrees, of each quarter of the films
FIRST_CHECK_SEED = 1000


def scene(k: int, n: int, identities: tuple[str, ...]) -> Scene:
    """The k-th of n films."""
    quarter = 4 * k // n
    return Scene(identities[k % len(identities)], ("skin", "clay")[quarter // 2], SIZE, float(FOVS[quarter]))


def record(n: int, identities: tuple[str, ...], first_seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and values, both (frames, 52), of n films, and each frame's film."""
    cinema, scores, values, films = Cinema(), [], [], []
    for k in tqdm(range(n), unit="film"):
        motion = babble(FRAMES, first_seed + k)
        seen = cinema.watch(motion, scene(k, n, identities))
        scores.append(seen.scores[seen.found])
        values.append(arkit_of_open_head(cinema.flame.head, motion).weights[seen.found])
        films.append(np.full(seen.found.sum(), k))
    return np.concatenate(scores), np.concatenate(values), np.concatenate(films)


def recordings(path: Path | None) -> dict[str, np.ndarray]:
    """Scores and values to fit and to check."""
    if path is not None and path.is_file():
        return read_npz(path)
    names = [f"{part}_{what}" for part in ("fit", "check") for what in ("scores", "values", "films")]
    found = dict(zip(names, (*record(N_FIT, FITTED_ON, 0), *record(N_CHECK, HELD_OUT, FIRST_CHECK_SEED))))
    if path is not None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **found)
    return found


def _likeness(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Correlation and root mean square error."""
    r = np.corrcoef(found, true)[0, 1] if found.std() > 1e-6 else 0.0
    return float(r), float(np.sqrt(((found - true) ** 2).mean()))


def show(scores: np.ndarray, answers: np.ndarray, values: np.ndarray) -> None:
    """Correlation and error of each unit that moves."""
    print(f"{'held-out identities and speakers':34}  raw r  error   fitted r  error")
    for k, name in enumerate(BLEND_SHAPES):
        true = values[:, k]
        if true.std() < 0.02:
            continue
        (raw_r, raw_error), (r, error) = (_likeness(x[:, k], true) for x in (scores, answers))
        print(f"{name:34} {raw_r:6.2f} {raw_error:6.2f} {r:10.2f} {error:6.2f}")


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recorded", type=Path, help="npz with what was watched; made if it is not there")
    parser.add_argument("-o", "--output", type=Path, default=RESPONSE, help=f"npz (default: {RESPONSE.name})")
    args = parser.parse_args(argv)
    found = recordings(args.recorded)
    response = fit_response(found["fit_scores"], found["fit_values"], found["fit_films"])
    response.save(args.output)
    show(found["check_scores"], response(found["check_scores"]), found["check_values"])


if __name__ == "__main__":
    main()
