"""Sentences spoken by offline voices, with exact phone times: the speech of the synthetic data set.

    python -m scripts_for_dataset.make_synthetic_speech --output data/speech --hours 3

Writes `<engine>-<voice>/part_NNN.opus` (16 kHz mono) and `part_NNN.jsonl`, one row per sentence: text, split (train or
held), start and n_samples in the audio file, phones [[ARPAbet or "sil", start, end], ...] in seconds, speed. Parts that
are there already are kept, so a run that was cut off continues with the same command.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scripts_for_dataset.synthetic.texts import held_out, sentences
from scripts_for_dataset.synthetic.voices import Voice, find_voices, say
from utils.atomic import atomic_path
from utils.errors import UserError, cli
from utils.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)
SENTENCES_PER_PART = 40
SECONDS_PER_SENTENCE = 3.0  # with its silence; for planning only


@dataclass(frozen=True)
class Part:
    """One pair of files to make."""

    voice: Voice
    path: Path  # without suffix
    texts: tuple[str, ...]
    seed: int


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the speech corpus")
    parser.add_argument("--hours", type=float, default=3.0, help="about how much speech, over all voices")
    parser.add_argument("--voices", nargs="+", metavar="NAME", help="engines or <engine>-<voice>; default: all")
    parser.add_argument("--workers", type=int, default=multiprocessing.cpu_count(), help="processes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.hours <= 0 or args.workers < 1 or args.seed < 0:
        parser.error("--hours and --workers must be positive, --seed not negative")
    return args


def plan_parts(voices: list[Voice], hours: float, output: Path, seed: int) -> list[Part]:
    """Parts of every voice according to its share; each voice gets its own run of the sentences."""
    texts = sentences(seed)
    total = hours * 3600 / SECONDS_PER_SENTENCE
    shares = sum(voice.share for voice in voices)
    parts, position = [], 0
    for voice in voices:
        count = max(SENTENCES_PER_PART // 4, round(total * voice.share / shares))
        chosen = [texts[(position + k) % len(texts)] for k in range(count)]
        position += count
        for number, first in enumerate(range(0, count, SENTENCES_PER_PART)):
            path = output / voice.label / f"part_{number:03d}"
            part_seed = zlib.crc32(f"{seed}/{voice.label}/{number}".encode())
            parts.append(Part(voice, path, tuple(chosen[first : first + SENTENCES_PER_PART]), part_seed))
    return parts


def make_part(part: Part) -> int:
    """Synthesise one part (runs in a worker); returns its number of sentences. Sentences without sound are left out."""
    rng = np.random.default_rng(part.seed)
    pieces, rows, start = [], [], 0
    for text in part.texts:
        audio, phones, speed = say(part.voice, text, rng)
        if np.abs(audio).max() < 1e-3 or all(phone == "sil" for phone, _, _ in phones):
            continue
        timed = [[phone, round(a, 4), round(b, 4)] for phone, a, b in phones]
        row = {"text": text, "split": "held" if held_out(text) else "train", "start": start, "n_samples": len(audio)}
        rows.append(row | {"phones": timed, "speed": speed})
        pieces.append(audio)
        start += len(audio)
    if not rows:
        raise UserError(f"{part.voice.label}: said nothing in {len(part.texts)} sentences; check its installation")
    _write(part.path, np.concatenate(pieces), rows)
    return len(rows)


def _write(path: Path, audio: np.ndarray, rows: list[dict]) -> None:
    """Audio first: the table's presence marks the part as done."""
    import soundfile

    audio = audio / max(1.0, np.abs(audio).max() / 0.99)
    with atomic_path(path.with_suffix(".opus")) as temporary:
        soundfile.write(temporary, audio, SAMPLE_RATE, format="OGG", subtype="OPUS")
    with atomic_path(path.with_suffix(".jsonl")) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def check_voices(voices: list[Voice]) -> None:
    """Let one voice of each engine say a word, so that a missing engine is reported before the work starts."""
    for voice in {voice.engine: voice for voice in voices}.values():
        say(voice, "Hello there.", np.random.default_rng(0))


@cli
def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    voices = find_voices(args.voices)
    check_voices(voices)
    parts = plan_parts(voices, args.hours, args.output, args.seed)
    todo = [part for part in parts if not part.path.with_suffix(".jsonl").is_file()]
    log.info("%d parts to make, %d there already", len(todo), len(parts) - len(todo))
    if not todo:
        return
    with (
        multiprocessing.get_context("spawn").Pool(min(args.workers, len(todo))) as pool,
        tqdm(total=sum(len(part.texts) for part in todo), desc="speech", unit="sentence") as bar,
    ):
        for count in pool.imap_unordered(make_part, todo):
            bar.update(count)


if __name__ == "__main__":
    main()
