"""Films of one person -> head motion: fits the person, then all frames in windows, then transfers it to a head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from models.tracking.carry import closed_opening, contact, with_opening
from models.tracking.embedding import CORNERS, EYES_APART, MIDDLE, LandmarkHead, column
from models.tracking.person import choose_keyframes, features, fit_person, ruler, shut_gap
from models.tracking.priors import fitted_units, usual_prior
from models.tracking.sequence import fit_sequence
from models.tracking.sequence import start as start_of
from models.tracking.solver import MM, Camera, Frames, Person, Problem, project
from models.tracking.unseen import closing, with_lids
from utils.timebase import FPS

WINDOW, OVERLAP = 128, 8  # frames
FIELDS_OF_VIEW = (20.0, 30.0, 45.0, 60.0)  # degrees over the longer side, tried if the camera is unknown
PROFILE = 60.0  # degrees from the camera beyond which landmarks are unreliable
MISREAD = 2.0  # mm, the largest correction of the fitted opening by the landmarks
NEAR_REST = 0.2  # seconds
MOST_LOOKED_AT, PIECE = 8000, 1024  # frames: candidates for a person's keyframes; transferred at once
LIDS = (3, 2)  # columns of `features`: left eye, right eye


@dataclass(frozen=True)
class Film:
    """T frames of one face."""

    times: np.ndarray  # (T,) seconds, increasing
    points: np.ndarray  # (T, P, 2) pixels of `LANDMARKS`, NaN where there is no face
    rotations: np.ndarray  # (T, 3, 3) approximate head rotations, NaN where there is no face
    size: tuple[int, int]  # height and width of the pictures

    def __getitem__(self, rows) -> Film:
        return Film(self.times[rows], self.points[rows], self.rotations[rows], self.size)

    @property
    def found(self) -> np.ndarray:
        """(T,) bool: whether there is a face that is not turned beyond PROFILE."""
        with np.errstate(invalid="ignore"):
            ahead = self.rotations[:, 2, 2] > np.cos(np.radians(PROFILE))
        return np.isfinite(self.points).all(axis=(1, 2)) & np.isfinite(self.rotations).all(axis=(1, 2)) & ahead


@dataclass(frozen=True)
class Fitted:
    """The fitted head in the T frames of a film."""

    exp: np.ndarray  # (T, E) float32, on the head that the motion was transferred to
    pose: np.ndarray  # (T, 6) float32
    opening: np.ndarray  # (T,) float32, ruler mm, on that head
    residual: np.ndarray  # (T,) float32, mm between detected and fitted landmarks, NaN without a face
    points: np.ndarray  # (T, P, 2) float32, pixels, of the fitted head; NaN for landmarks that it lacks
    identity: np.ndarray  # (S,) float32, head shape of the person


@dataclass(frozen=True)
class FitOptions:
    """Options of the fit."""

    shape: np.ndarray | None = None  # (S,) of the head that motion is transferred to; None: average, for FLAME the own
    fov: float | None = None  # degrees over the longer side of the picture; None: the most likely of FIELDS_OF_VIEW
    rest: tuple[float, ...] = ()  # the second of each film at which the face is at rest; empty: found automatically
    steadiness: float = 1.0  # factor of the cost of changes from frame to frame
    batch: int = 4  # windows solved at once; a GPU is fast with hundreds


@dataclass(frozen=True)
class Subject:
    """The constants of all films of a person."""

    person: Person
    camera: Camera
    shut: float  # ruler mm between the landmarks of closed lips


class FilmFitter:
    """Fits one head model."""

    def __init__(self, head: LandmarkHead, options: FitOptions | None = None) -> None:
        self.head, self.options = head, options or FitOptions()
        self._units, self._prior = fitted_units(head.head).to(head.device), usual_prior(head.head).to(head.device)
        self._closed, self._there = closed_opening(head), (head.trust > 0).cpu().numpy()

    def __call__(self, films: Sequence[Film]) -> list[Fitted]:
        """Fit films of one person with pictures of one size and a face in at least one frame."""
        who = self.subject(films)
        return [self.carried(film, frames, who) for film, frames in zip(films, self.frames(films, who))]

    def subject(self, films: Sequence[Film]) -> Subject:
        """Fit the person and the camera."""
        every = max(1, sum(len(film.times) for film in films) // MOST_LOOKED_AT)
        films = [film[::every] for film in films]
        points = np.concatenate([np.where(film.found[:, None, None], film.points, np.nan) for film in films])
        rotations = np.concatenate([film.rotations for film in films])
        seen = self._tensor(points)
        keyframes, n_rest = choose_keyframes(seen, self._at_rest(films))
        rows = keyframes.cpu().numpy()
        tried = []
        for fov in FIELDS_OF_VIEW if self.options.fov is None else (self.options.fov,):
            camera = Camera.of(films[0].size, fov)
            problem = self._problem(points[rows, None], camera, np.zeros((len(rows), 0)))
            person, cost = fit_person(problem, start_of(problem, self._tensor(rotations[rows])), n_rest)
            tried.append((cost, Subject(person, camera, shut_gap(ruler(seen)))))
            if len(tried) > 1 and cost > tried[-2][0]:
                break  # the cost has one minimum over the field of view
        return min(tried, key=lambda one: one[0])[1]

    def _at_rest(self, films: Sequence[Film]) -> Tensor | None:
        if not self.options.rest:
            return None
        near = [np.abs(film.times - second) <= NEAR_REST for film, second in zip(films, self.options.rest)]
        return torch.from_numpy(np.concatenate(near)).to(self.head.device)

    def frames(self, films: Sequence[Film], who: Subject) -> Iterator[Frames]:
        """Each film's fitted frames, solved in batches of windows of all films."""
        windows = [(film, start) for film in films for start in _starts(len(film.times))]
        parts: list[Frames] = []
        for k in range(0, len(windows), self.options.batch):
            for (film, start), frames in zip(windows[k:], self._windows(windows[k : k + self.options.batch], who)):
                parts.append(frames)
                if start == _starts(len(film.times))[-1]:
                    yield Frames.join(parts)
                    parts = []

    def _windows(self, windows: Sequence[tuple[Film, int]], who: Subject) -> list[Frames]:
        """The fitted frames of a batch of windows, without the overlaps."""
        length = min(WINDOW, max(len(film.times) - start for film, start in windows))
        cuts = [_cut(film, start, length, self.options.steadiness) for film, start in windows]
        problem = self._problem(np.stack([cut.points for cut in cuts]), who.camera,
                                np.stack([cut.shares for cut in cuts]))  # fmt: skip
        guess = self._problem(np.concatenate([cut.nearest for cut in cuts])[:, None], who.camera,
                              np.zeros((length * len(cuts), 0)))  # fmt: skip
        rotations = self._tensor(np.concatenate([cut.rotations for cut in cuts]))
        frames = fit_sequence(problem, who.person, start_of(guess, rotations))
        return [frames[k * length + cut.first : k * length + cut.last] for k, cut in enumerate(cuts)]

    def carried(self, film: Film, frames: Frames, who: Subject) -> Fitted:
        """The frames as motion on the target head."""
        pieces = [slice(k, k + PIECE) for k in range(0, len(film.times), PIECE)]
        carried = [self._piece(film[piece], frames[piece], who) for piece in pieces]
        exp, pose, opening, residual, flat, gaps = (np.concatenate(column) for column in zip(*carried))
        if self.head.head.exp_names is not None:
            exp = with_lids(exp, self.head.head.exp_names, closing(gaps))
        flat[:, ~self._there] = np.nan
        identity = who.person.shape.cpu().numpy()
        return Fitted(*(x.astype(np.float32) for x in (exp, pose, opening, residual, flat, identity)))

    def _piece(self, film: Film, frames: Frames, who: Subject) -> tuple[np.ndarray, ...]:
        """exp, pose, opening, residual, landmarks of the fitted head, and gaps of the lids, one row per frame."""
        flat = project(self.head, who.camera, who.person, frames)
        points = self._tensor(np.where(film.found[:, None, None], film.points, np.nan))
        wanted = contact(self._opening(frames, who.person, points, flat), who.shut, self._closed)
        shape = self.options.shape
        if shape is None:  # FLAME's motion goes with the person's shape
            named = self.head.head.exp_names is not None
            shape = torch.zeros_like(who.person.shape) if named else who.person.shape
        else:
            shape = self._tensor(shape)
        exp, jaw = with_opening(self.head, shape, frames.exp, frames.jaw, wanted)
        pose = np.zeros((len(exp), 6))
        pose[:, :3] = Rotation.from_matrix(frames.rotation.cpu().numpy()).as_rotvec()
        pose[:, 3] = jaw.cpu().numpy()
        scale = -frames.place[:, 2:] / MM / who.camera.focal
        residual = ((points - flat).norm(dim=2) * scale * self.head.trust).sum(1) / self.head.trust.sum()
        gaps = features(points)[:, LIDS]
        return exp.cpu().numpy(), pose, *(x.cpu().numpy() for x in (wanted, residual, flat, gaps))

    def _problem(self, points: np.ndarray, camera: Camera, shares: np.ndarray) -> Problem:
        """The problem of windows of points (B, T, P, 2) with `Problem.shares` (B, T - 1)."""
        seen = self._tensor(points).flatten(0, 1)
        trust = self.head.trust * seen.isfinite().all(2)
        return Problem(self.head, camera, seen.nan_to_num(), trust, self._tensor(shares),
                       self._units, self._prior)  # fmt: skip

    def _opening(self, frames: Frames, person: Person, seen: Tensor, flat: Tensor) -> Tensor:
        """Opening (T,) of the fitted head in ruler mm, corrected by the detected landmarks."""
        own = self.head(person.shape, person.offset, frames.exp, frames.jaw)
        apart = (own[:, column(CORNERS[0])] - own[:, column(CORNERS[1])]).norm(dim=1)
        opening = EYES_APART * (own[:, column(MIDDLE[0]), 1] - own[:, column(MIDDLE[1]), 1]) / apart
        facing = frames.rotation[:, 0, 0].clamp(min=0.5)  # the eyes of a turned head are closer together in the picture
        return opening + ((ruler(seen) - ruler(flat)) * facing).nan_to_num().clamp(-MISREAD, MISREAD)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float64)).to(self.head.device)


@dataclass(frozen=True)
class _Cut:
    """A window of a film with the length of its batch; NaN beyond the film's end."""

    points: np.ndarray  # (L, P, 2), NaN where there is no face
    shares: np.ndarray  # (L - 1,)
    nearest: np.ndarray  # (L, P, 2) of the nearest frames with a face
    rotations: np.ndarray  # (L, 3, 3) of these frames
    first: int  # the frames from first to last are kept
    last: int


def _starts(n_frames: int) -> np.ndarray:
    return np.arange(0, max(n_frames - OVERLAP, 1), WINDOW - OVERLAP)


def _cut(film: Film, start: int, length: int, steadiness: float) -> _Cut:
    n_frames = len(film.times)
    rows = np.minimum(start + np.arange(length), n_frames - 1)
    inside = start + np.arange(length) < n_frames
    points = np.where((film.found[rows] & inside)[:, None, None], film.points[rows], np.nan)
    step = np.maximum(np.diff(film.times[rows]), 1e-3)
    nearest = _nearest(film.found)[rows]
    ends = start + WINDOW >= n_frames
    last = n_frames - start if ends else WINDOW - OVERLAP // 2
    shares = np.where(inside[1:], steadiness / (FPS * step), 0)
    first = OVERLAP // 2 if start else 0
    return _Cut(points, shares, film.points[nearest], film.rotations[nearest], first, last)


def _nearest(found: np.ndarray) -> np.ndarray:
    """For each of T frames, the nearest frame with a face (T,)."""
    there = np.flatnonzero(found)
    after = np.clip(np.searchsorted(there, np.arange(len(found))), 0, len(there) - 1)
    before = np.maximum(after - 1, 0)
    frames = np.arange(len(found))
    return np.where(np.abs(there[before] - frames) <= np.abs(there[after] - frames), there[before], there[after])
