"""What is in a data set, and what is wrong with it: a page with tables and pictures, and the same as JSON.

    python -m scripts_for_dataset.inspect_dataset LMDB_FOLDER [-o FOLDER] [--verify] [--head generic_model.pkl]

Every coefficient is read, and the audio of each clip's first 4 s; --verify reads all of it. Reported are clips,
speakers, hours, ranges and outliers, frozen or jumping motion, silent or clipped audio, duplicates, broken entries,
clips missing from the lists. The contact sheet shows random clips on the open head, or on --head: coefficients of FLAME
mean nothing on the open head. Writes inspection.json, inspection.html and contact_sheet.png. Exit code 1 if an entry is
broken.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.clip_store import ClipStore
from datasets.inspection import ClipFacts, Summary, look_at, summarise
from datasets.splits import SPLITS, group_by_person, read_list
from scripts_for_dataset.inspecting.contact_sheet import contact_sheet
from scripts_for_dataset.inspecting.inspection_page import write_json, write_page
from scripts_for_dataset.inspecting.shared_facts import load_facts, save_facts
from scripts_for_dataset.preparing.batch import run_all
from scripts_for_dataset.preparing.building import read_report
from utils.atomic import atomic_path
from utils.config import check_least, flag, positional, read_flags
from utils.errors import UserError, cli
from utils.reports.wording import counted
from utils.runs.shards import SharedWork, WorkFlags, settings_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InspectFlags:
    """All flags of the program."""

    data_root: Path = positional(metavar="LMDB_FOLDER")
    """The data set."""
    output: Path | None = flag(None, "-o")
    """Folder of the report (default: LMDB_FOLDER/inspection)."""
    verify: bool = False
    """Read every value, including all audio."""
    no_pictures: bool = False
    """No contact sheet (which needs OpenGL)."""
    head: Path | None = None
    """Head model of the pictures (default: the open head)."""
    clips: int = 8
    """Clips on the contact sheet."""
    seed: int = 0
    """Seed of their choice."""
    work: WorkFlags = WorkFlags()
    """sharing the work"""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        check_least(self, clips=1)


def look(job: tuple[Path, str, bool]) -> ClipFacts:
    """Runs in a worker."""
    path, clip, all_audio = job
    return look_at(ClipStore(path, unfinished=True), clip, all_audio)


def check_lists(folder: Path, clips: list[str]) -> dict[str, Any]:
    """Clips and persons of each list, and contradictions: unknown clips, persons in two lists, clips in none."""
    content: dict[str, Any] = {}
    listed: dict[str, list[str]] = {}
    for name in SPLITS:
        path = folder / f"{name}.txt"
        if path.is_file() and path.stat().st_size:
            try:
                listed[name] = read_list(path)
            except UserError as error:
                content[f"{name} problem"] = str(error)
    for name, part in listed.items():
        content[name] = {"clips": len(part), "speakers": len(group_by_person(part))}
        unknown = sorted(set(part) - set(clips))
        if unknown:
            content[f"{name} problem"] = (
                f"{counted(len(unknown), 'clip is', 'clips are')} not in the data set (first: {unknown[0]})"
            )
    persons = {name: set(group_by_person(part)) for name, part in listed.items()}
    shared = {p for a in persons for b in persons if a < b for p in persons[a] & persons[b]}
    if shared:
        content["speakers in several lists"] = sorted(shared)[:20]
    absent = set(clips) - {clip for part in listed.values() for clip in part}
    if listed and absent:
        content["clips in no list"] = len(absent)
    return content


def say(summary: Summary, lists: dict[str, Any], finished: bool) -> None:
    """Log the findings, one per line."""
    log.info("%s of %s, %.2f h%s", counted(summary.clips, "clip"), counted(summary.speakers, "speaker"), summary.hours,
             "" if finished else "; UNFINISHED: give the command that made it again")  # fmt: skip
    findings = {
        "broken": summary.broken, "silent": summary.silent, "clipped": summary.clipped, "frozen": summary.frozen,
        "head jumps": summary.jumps, "head turned away": summary.turned_away, "same motion": summary.same_motion,
        "same audio": summary.same_audio, "outliers": summary.outliers,
    }  # fmt: skip
    for name, found in findings.items():
        if found:
            first = next(iter(found.items())) if isinstance(found, dict) else found[0]
            text = " ".join(map(str, first)) if isinstance(first, tuple | list) else first
            log.info("  %d %s, first: %s", len(found), name, text)
    for name, value in lists.items():
        if name not in SPLITS:
            log.info("  %s: %s", name, value)


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(InspectFlags, argv, __doc__ or "")
    store = ClipStore(flags.data_root, unfinished=True)
    clips = store.clips()
    if not clips:
        raise UserError(f"{flags.data_root}: holds no clips yet; give the command that made it again")
    jobs = [(store.path, clip, flags.verify) for clip in clips]
    folder = flags.output or flags.data_root / "inspection"
    shard, work = flags.work.part(), SharedWork(folder, clips, settings_of(flags))
    if shard is not None:
        work.do_part(shard, lambda part: save_facts(part, run_all(look, shard.of(jobs), flags.work.workers, "reading")))
        return
    parts = [load_facts(part) for part in work.finished()]
    facts = [parts[i % len(parts)][i // len(parts)] for i in range(len(jobs) if parts else 0)]
    facts = facts or list(run_all(look, jobs, flags.work.workers, "reading"))
    summary, lists = summarise(facts), check_lists(flags.data_root, clips)
    say(summary, lists, store.finished)
    write_json(folder / "inspection.json", summary, lists, {"finished": store.finished, "verified": flags.verify})
    sheet = None
    if not flags.no_pictures:
        whole = [f.clip for f in facts if not f.problem]
        sheet = _draw(store, whole, flags)
    if sheet is not None:
        save_png(folder / "contact_sheet.png", sheet)
    write_page(folder / "inspection.html", str(flags.data_root), facts, summary, lists, sheet)
    work.remove()
    log.info("wrote %s", folder / "inspection.html")
    if summary.broken:
        sys.exit(1)


def _draw(store: ClipStore, clips: list[str], flags: InspectFlags) -> np.ndarray | None:
    models = read_report(flags.data_root).get("head_models", {})
    if flags.head is None and any("FLAME" in model for model in models):
        log.warning("the pictures show coefficients of %s on the open head, where they mean little; give --head",
                    ", ".join(models))  # fmt: skip
    try:
        return contact_sheet(store, clips, flags.clips, flags.seed, flags.head)
    except UserError as error:
        if flags.head is not None:
            raise
        log.warning("no contact sheet: %s", error)
        return None


def save_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary)


if __name__ == "__main__":
    main()
