"""Mean temporal misalignment (MTM): how early or late the turning points of the mouth opening are.

After Lee Chae-Yeon et al., "Perceptually Accurate 3D Talking Head Generation", CVPR 2025, with derivative dynamic time
warping of Keogh and Pazzani, "Derivative Dynamic Time Warping", SDM 2001.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

SMOOTHING = 1.0  # frames, standard deviation
PROMINENCE = 0.1  # least prominence of a turning point, as a fraction of the range of openings
REACH = 12  # largest distance of the path from the diagonal, frames
STILL = 1e-6  # mm; an opening with a smaller standard deviation does not move


def slopes(track: np.ndarray) -> np.ndarray:
    """Derivative of a track (T,) after Keogh and Pazzani, with the ends repeated.

    ((x_t - x_{t-1}) + (x_{t+1} - x_{t-1}) / 2) / 2
    """
    inside = (track[1:-1] - track[:-2] + (track[2:] - track[:-2]) / 2) / 2
    return np.concatenate([inside[:1], inside, inside[-1:]])


def warping_path(a: np.ndarray, b: np.ndarray, reach: int = REACH) -> list[tuple[int, int]]:
    """Pairs of frames of a (T,) and b (T,) with the least sum of squared differences; both run from first to last.

    Steps are one frame of a, of b or of both; |i - j| <= reach. Of equal steps, that of both is taken.
    """
    n = len(a)
    cost = np.full((n + 1, 2 * reach + 3), math.inf)  # columns: j - i + reach + 1
    came = np.zeros((n + 1, 2 * reach + 3), np.int8)
    cost[0, reach + 1] = 0
    for i in range(1, n + 1):
        row, above = cost[i].tolist(), cost[i - 1].tolist()
        for j in range(max(1, i - reach), min(n, i + reach) + 1):
            k = j - i + reach + 1
            ways = (above[k], above[k + 1], row[k - 1])  # of both, of a, of b
            best = min(ways)
            came[i, k] = ways.index(best)
            row[k] = best + (a[i - 1] - b[j - 1]) ** 2
        cost[i] = row
    path, i, j = [], n, n
    while i > 0:
        path.append((i - 1, j - 1))
        way = came[i, j - i + reach + 1]
        i, j = i - (way != 2), j - (way != 1)
    return path[::-1]


def turning_points(track: np.ndarray) -> np.ndarray:
    """Frames where a smoothed opening (T,) is at a peak or in a valley."""
    least = PROMINENCE * np.ptp(track)
    return np.sort(np.concatenate([find_peaks(sign * track, prominence=least)[0] for sign in (1, -1)]))


def misalignments(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Absolute errors in time, in frames, of the prediction at the turning points of the truth (N,).

    Both openings (T,) are smoothed and divided by their standard deviation; the partner of a turning point is the
    mean of the frames that the path joins with it. Empty if one track does not move, or is shorter than 5 frames.
    """
    if len(truth) < 5 or min(predicted.std(), truth.std()) < STILL:
        return np.zeros(0)
    predicted, truth = (gaussian_filter1d(track.astype(np.float64), SMOOTHING) for track in (predicted, truth))
    path = np.array(warping_path(slopes(predicted / predicted.std()), slopes(truth / truth.std())))
    return np.array([abs(path[path[:, 1] == t, 0].mean() - t) for t in turning_points(truth)])
