"""Fit the rules of the mouth to real talkers: tracked motion, sound and words -> the table that `visemes` reads.

    python -m scripts_for_dataset.fit_visemes --motion motion --words words.jsonl --audio grid \
        --output scripts_for_dataset/synthetic/measured.json

Folders hold `<talker>/<clip>.npz` (from track_video) and `<talker>/<clip>.mkv` or another sound file; words.jsonl has a
line {"clip": "talker/clip", "words": [[word, start, end], ...]} per clip. Phone times come from forced alignment
(requirements-bench.txt). Talkers named by --held are not fitted, only measured. A talker counts by the number
of different words in its clips.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.heads.flame import load_flame
from models.tracking.embedding import LandmarkHead
from scripts_for_dataset.synthetic import visemes
from scripts_for_dataset.synthetic.identity import close_factors
from scripts_for_dataset.synthetic.levers import Levers
from scripts_for_dataset.synthetic.rule_fit import FitConfig, Rule, batch_of, correlations, fit, speech_mask
from scripts_for_dataset.synthetic.talkers import TalkerClip, read_talkers
from scripts_for_dataset.synthetic.visemes import CHANNELS, GROUPS
from utils.atomic import check_output, write_text
from utils.config import check_least, read_flags
from utils.errors import UserError, cli
from utils.timebase import FPS

SOURCE = "mouths of GRID (Cooke, Barker, Cunningham, Shao, JASA 2006; CC BY 4.0) by fit_visemes"


@dataclass(frozen=True, kw_only=True)
class FitFlags:
    """All flags of the program."""

    motion: Path
    """Folder of tracked motion, <talker>/<clip>.npz."""
    words: Path
    """Words of the clips, words.jsonl."""
    audio: Path
    """Folder of sound or video, <talker>/<clip>.*."""
    output: Path
    """Table to write (json)."""
    held: str = "s4,s33"
    """Talkers that are measured, but not fitted; names with commas."""
    most: int = 200
    """Clips of a talker."""
    steps: int = 130
    """Steps of the optimiser."""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, most=1, steps=0)


def plain(table: visemes.Table, rule: Rule) -> dict:
    """The rule as json, values rounded."""
    targets, dominance = rule.targets().detach().numpy(), rule.dominance().detach().numpy()
    rows = {}
    for v, name in enumerate(table.names):
        kept = {c: round(float(x), 3) for c, x in zip(CHANNELS, targets[v]) if x >= 0.005}
        rows[name] = {"targets": kept} | {g: np.round(dominance[k, v], 3).tolist() for k, g in enumerate(GROUPS)}
        rows[name] = {k: [round(x, 3) for x in v] if isinstance(v, list) else v for k, v in rows[name].items()}
    names = [field.name for field in dataclasses.fields(visemes.Breath)]
    return {"breath": {name: round(float(x), 3) for name, x in zip(names, rule.breath().detach())}, "visemes": rows}


def people(clips: Sequence[TalkerClip]) -> dict[str, dict[str, list[float]]]:
    """Phone -> {track: [mean over talkers of their median, deviation over talkers]} in mm at the phone's middle (width
    and protrusion less the clip's median; the smallest opening of p, b, m, f, v), and the number of phones."""
    table: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for clip in clips:
        tracks = clip.spoken.seen[:, :3] - np.array([0, 1, 1]) * np.median(clip.spoken.seen[:, :3], 0)
        for phone in clip.phones:
            span = tracks[int(phone.start * FPS) : int(np.ceil(phone.end * FPS)) + 1]
            middle = tracks[min(int((phone.start + phone.end) / 2 * FPS), len(tracks) - 1)].copy()
            if phone.name in "pbmfv" and len(span):
                middle[0] = span[:, 0].min()
            table[phone.name][clip.talker].append(middle)
    result = {}
    for name in sorted(table):
        medians = np.array([np.median(values, 0) for values in table[name].values()])
        mean, spread = medians.mean(0).round(2).tolist(), medians.std(0).round(2).tolist()
        figures = {track: list(pair) for track, *pair in zip(("opening", "width", "protrusion"), mean, spread)}
        result[name] = figures | {"count": [sum(map(len, table[name].values()))]}
    return result


def agreement(rule: Rule, levers: Levers, clips: Sequence[TalkerClip]) -> dict[str, dict[str, float]]:
    """Talker -> r of the opening over whole clips (mean and median over clips) and while speaking (mean)."""
    result = {}
    for talker in sorted({clip.talker for clip in clips}):
        batch = batch_of([clip.spoken for clip in clips if clip.talker == talker])
        with torch.no_grad():
            opening = rule(batch, levers)[..., 0]
        speech = speech_mask(batch)
        whole = correlations(opening, batch.seen[..., 0], torch.ones_like(speech))
        spoken = correlations(opening, batch.seen[..., 0], speech)
        values = {"clips": len(whole), "mean": whole.mean(), "median": whole.median(), "speaking": spoken.mean()}
        result[talker] = {name: round(float(value), 3) for name, value in values.items()}
    return result


def write_table(path: Path, table: dict) -> None:
    """Json with a line per row."""
    parts = []
    for key, value in table.items():
        if isinstance(value, dict) and all(isinstance(row, dict) for row in value.values()):
            rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
            parts.append(f"  {json.dumps(key)}: {{\n{rows}\n  }}")
        else:
            parts.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(FitFlags, argv, __doc__ or "")
    check_output(flags.output)
    torch.manual_seed(0)
    clips = read_talkers(flags.motion, flags.words, flags.audio, flags.most)
    held = set(flags.held.split(","))
    fitted = [clip for clip in clips if clip.talker not in held]
    if not fitted:
        raise UserError(f"--held {flags.held}: no talker is left to fit")
    flame = load_flame()
    levers, factor = Levers(LandmarkHead(flame.head)), float(close_factors(flame, np.zeros((1, 100), np.float32))[0])
    names = sorted({clip.talker for clip in clips})
    table = visemes.read_table(visemes.ASSUMED)
    rule = Rule(table, factor, len(names))
    before = agreement(rule, levers, clips)
    groups = [[clip for clip in fitted if clip.talker == name] for name in names if name not in held]
    vocabulary = torch.tensor([len({word for clip in group for word in clip.words}) for group in groups]).float()
    batches = [batch_of([clip.spoken for clip in group]) for group in groups]
    fit(rule, levers, batches, vocabulary / vocabulary.sum(), FitConfig(steps=flags.steps))
    with torch.no_grad():
        rule.depth.fill_(1)
    after = agreement(rule, levers, clips)
    for name in names:
        print(f"{name}{' (held)' if name in held else ''}: before {before[name]}, after {after[name]}")
    agreed = {name: {"before": before[name], "after": after[name]} for name in names}
    write_table(flags.output, {"source": SOURCE} | plain(table, rule) | {"people": people(fitted), "r": agreed})


if __name__ == "__main__":
    main()
