"""A small lip reader: mouth tracks around a phone's middle -> its viseme class, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utils.speech import SILENCE, Phone
from utils.timebase import FPS

CLASSES = {
    "lips shut": "p b m",
    "lip at teeth": "f v",
    "tongue": "th dh t d n l s z k g ng y hh",
    "forward": "ch sh jh zh r",
    "round": "w uw ow ao uh oy",
    "wide open": "aa ae ah aw ay",
    "spread": "iy ih eh ey er",
    "silence": SILENCE,
}
CLASS_OF = {phone: k for k, phones in enumerate(CLASSES.values()) for phone in phones.split()}
REACH = 4  # frames on each side of a phone's middle
HIDDEN, STEPS, LEARNING_RATE, DECAY, DROPOUT = 64, 300, 3e-3, 1e-3, 0.3


def examples(tracks: np.ndarray, phones: Sequence[Phone]) -> tuple[np.ndarray, np.ndarray]:
    """Windows (N, (2 REACH + 1) C) of mouth tracks (T, C) around the phones' middles, and their classes (N,).

    Phones of no class, or with their middle beyond the tracks, are left out; the ends of the tracks are held.
    """
    rows, classes = [], []
    for phone in phones:
        middle = int((phone.start + phone.end) / 2 * FPS)
        if phone.name in CLASS_OF and middle < len(tracks):
            frames = np.clip(np.arange(middle - REACH, middle + REACH + 1), 0, len(tracks) - 1)
            rows.append(tracks[frames].ravel())
            classes.append(CLASS_OF[phone.name])
    width = (2 * REACH + 1) * tracks.shape[1]
    return np.array(rows, np.float32).reshape(-1, width), np.array(classes, np.int64)


def trained_reader(windows: np.ndarray, classes: np.ndarray, seed: int = 0) -> nn.Module:
    """Train a network of one hidden layer on windows (N, D) with classes (N,); all classes have equal weight."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(windows.shape[1], HIDDEN), nn.GELU(), nn.Dropout(DROPOUT),
                            nn.Linear(HIDDEN, len(CLASSES)))  # fmt: skip
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=DECAY)
    x, y = torch.from_numpy(windows), torch.from_numpy(classes)
    counts = torch.bincount(y, minlength=len(CLASSES)).clamp(min=1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        F.cross_entropy(network(x), y, 1 / counts).backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def confusion(reader: nn.Module, windows: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Counts (K, K): rows are spoken classes, columns the predicted ones."""
    read: Tensor = reader(torch.from_numpy(windows)).argmax(1)
    pairs = classes * len(CLASSES) + read.numpy()
    return np.bincount(pairs, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), -1)


def recalls(counts: np.ndarray) -> np.ndarray:
    """Recall of each class (K,); NaN for a class without examples."""
    total = counts.sum(1)
    return np.where(total > 0, counts.diagonal() / np.maximum(total, 1), np.nan)
