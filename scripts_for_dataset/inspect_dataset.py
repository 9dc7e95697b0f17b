"""What is in a data set, and what is wrong with it: a page with tables and pictures, and the same as JSON.

    python -m scripts_for_dataset.inspect_dataset LMDB_FOLDER [-o FOLDER] [--verify] [--head generic_model.pkl]

Every coefficient is read, and the audio of each clip's first 4 s; --verify reads all of it. Said are: clips, speakers,
hours, ranges and outliers, frozen or jumping motion, silent or clipped audio, duplicates, broken entries, clips missing
from the lists. The contact sheet shows random clips on the open head, or on --head: coefficients of FLAME mean nothing
on the open head. Writes inspection.json, inspection.html and contact_sheet.png. Exit code 1 if an entry is broken.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np

from datasets.clip_store import ClipStore
from datasets.inspection import ClipFacts, Summary, look_at, summarise
from datasets.splits import group_by_person, read_list
from scripts_for_dataset.inspecting.contact_sheet import contact_sheet
from scripts_for_dataset.inspecting.inspection_page import write_json, write_page
from scripts_for_dataset.preparing.batch import run_all
from scripts_for_dataset.preparing.building import read_report
from utils.atomic import atomic_path
from utils.config import UserParser
from utils.errors import UserError, cli

log = logging.getLogger(__name__)
LISTS = ("train", "val", "test")


def make_parser() -> UserParser:
    parser = UserParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data_root", type=Path, metavar="LMDB_FOLDER")
    add("-o", "--output", type=Path, help="folder of the report (default: LMDB_FOLDER/inspection)")
    add("--verify", action="store_true", help="read every value, all audio too")
    add("--workers", type=int, default=1, help="processes (default: 1, which reads 1,000 clips a minute or more)")
    add("--no_pictures", action="store_true", help="no contact sheet (which needs OpenGL)")
    add("--head", type=Path, help="head model of the pictures (default: the open head)")
    add("--clips", type=int, default=8, help="clips on the contact sheet (default: 8)")
    add("--seed", type=int, default=0, help="of their choice (default: 0)")
    return parser


def look(job: tuple[Path, str, bool]) -> ClipFacts:
    """Runs in a worker."""
    path, clip, all_audio = job
    return look_at(ClipStore(path, unfinished=True), clip, all_audio)


def check_lists(folder: Path, clips: list[str]) -> dict[str, Any]:
    """Clips and persons of each list, and what does not fit: unknown clips, persons in two lists, clips in none."""
    content: dict[str, Any] = {}
    listed: dict[str, list[str]] = {}
    for name in LISTS:
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
            content[f"{name} problem"] = f"{len(unknown)} clips are not in the data set (first: {unknown[0]})"
    persons = {name: set(group_by_person(part)) for name, part in listed.items()}
    shared = {p for a in persons for b in persons if a < b for p in persons[a] & persons[b]}
    if shared:
        content["speakers in several lists"] = sorted(shared)[:20]
    absent = set(clips) - {clip for part in listed.values() for clip in part}
    if listed and absent:
        content["clips in no list"] = len(absent)
    return content


def say(summary: Summary, lists: dict[str, Any], finished: bool) -> None:
    """The findings in the log, a line each."""
    log.info("%d clips of %d speakers, %.2f h%s", summary.clips, summary.speakers, summary.hours,
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
        if name not in LISTS:
            log.info("  %s: %s", name, value)


@cli
def main(argv: list[str] | None = None) -> None:
    args = make_parser().parse_args(argv)
    if args.workers < 1 or args.clips < 1:
        raise UserError("--workers, --clips: must be at least 1")
    store = ClipStore(args.data_root, unfinished=True)
    clips = store.clips()
    if not clips:
        raise UserError(f"{args.data_root}: holds no clips yet; give the command that made it again")
    jobs = [(store.path, clip, args.verify) for clip in clips]
    facts = list(run_all(look, jobs, args.workers, "reading"))
    summary, lists = summarise(facts), check_lists(args.data_root, clips)
    say(summary, lists, store.finished)
    folder = args.output or args.data_root / "inspection"
    write_json(folder / "inspection.json", summary, lists, {"finished": store.finished, "verified": args.verify})
    sheet = None
    if not args.no_pictures:
        whole = [f.clip for f in facts if not f.problem]
        sheet = _draw(store, whole, args)
    if sheet is not None:
        save_png(folder / "contact_sheet.png", sheet)
    write_page(folder / "inspection.html", str(args.data_root), facts, summary, lists, sheet)
    log.info("wrote %s", folder / "inspection.html")
    if summary.broken:
        sys.exit(1)


def _draw(store: ClipStore, clips: list[str], args: argparse.Namespace) -> np.ndarray | None:
    models = read_report(args.data_root).get("head_models", {})
    if args.head is None and any("FLAME" in model for model in models):
        log.warning("the pictures show coefficients of %s on the open head, where they mean little; give --head",
                    ", ".join(models))  # fmt: skip
    try:
        return contact_sheet(store, clips, args.clips, args.seed, args.head)
    except UserError as error:
        if args.head is not None:
            raise
        log.warning("no contact sheet: %s", error)
        return None


def save_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary)


if __name__ == "__main__":
    main()
