"""Sentences spoken by offline voices, with exact phone times: the speech of the synthetic data set.

    python -m scripts_for_dataset.make_synthetic_speech --output data/speech --hours 5.6

Writes `<engine>-<voice>/part_NNN.opus` (16 kHz mono) and `part_NNN.jsonl`, one row per sentence: text, split (train or
held), start and n_samples in the audio file, phones [[ARPAbet or "sil", start, end], ...] in seconds, speed.

Speech that the folder already holds counts towards the hours: the same command continues an interrupted run (at most a
part of 20 sentences per process is lost), and one with more hours adds to it. Machines share the work with --shard
I/N (docs/scale.md). No voice says a sentence
twice, and sentences that no voice has said come first.

The mix: Kokoro 24 voices 35 %, flite 25 %, hibari 20 %, festival 10 %, espeak-ng 12 voices 10 %; the five voices kept
for testing come on top. Kokoro takes 0.3 to 1.4 s of CPU per second of speech and 0.5 GB per process, the others 0.1 s
at most. Its model is made by `python -m setup.build_kokoro`. --voices chooses among the engines that are installed.
Kokoro and espeak-ng also have voices for `--voices Mandarin Japanese Hindi`, which are made on request only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from scripts_for_dataset.preparing.batch import run_all
from scripts_for_dataset.synthetic.kokoro import DEFAULT_FOLDER as KOKORO_FOLDER
from scripts_for_dataset.synthetic.speech_plan import SpeechPart, plan_parts, tables_of
from scripts_for_dataset.synthetic.texts import foreign_sentences, held_out
from scripts_for_dataset.synthetic.voices import ENGLISH, Voice, find_voices, say
from utils.atomic import atomic_path, make_folder, write_text
from utils.config import check_least, flag, read_flags
from utils.errors import UserError, cli
from utils.reading.json_file import read_json
from utils.reports.wording import counted
from utils.runs.shards import FOLDER, SharedWork, WorkFlags, cores, settings_of
from utils.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SpeechFlags:
    """All flags of the program."""

    output: Path
    """Folder of the speech corpus."""
    hours: float = 5.6
    """Approximate hours of speech, over the chosen voices."""
    voices: tuple[str, ...] | None = flag(None, metavar="NAME")
    """Engines, <engine>-<voice>, Mandarin, Japanese or Hindi; default: all English ones."""
    kokoro: Path = KOKORO_FOLDER
    """Folder of Kokoro's files."""
    seed: int = 0
    """Seed of the choice of sentences."""
    work: WorkFlags = WorkFlags()
    """sharing the work"""

    def check(self) -> None:
        """Raises UserError for a number out of range."""
        if not self.hours > 0:
            raise UserError(f"--hours {self.hours:g}: must be positive")
        check_least(self, seed=0)


def make_part(part: SpeechPart) -> int:
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
        raise UserError(
            f"{part.voice.label}: said nothing in {counted(len(part.texts), 'sentence')}; check its installation"
        )
    _write(part.path, np.concatenate(pieces), rows)
    return len(rows)


def _write(path: Path, audio: np.ndarray, rows: list[dict]) -> None:
    """Audio first: the table's presence marks the part as done."""
    import soundfile

    audio = audio / max(1.0, np.abs(audio).max() / 0.99)
    with atomic_path(path.with_suffix(".opus")) as temporary:
        soundfile.write(temporary, audio, SAMPLE_RATE, format="OGG", subtype="OPUS")
    write_text(path.with_suffix(".jsonl"), "".join(json.dumps(row) + "\n" for row in rows))


def check_voices(voices: list[Voice]) -> None:
    """Let one voice of each engine say a word, so that a missing engine is reported before the work starts."""
    for voice in {voice.engine: voice for voice in voices}.values():
        text = "Hello there." if voice.language == ENGLISH else foreign_sentences(voice.language, 0)[0]
        say(voice, text, np.random.default_rng(0))


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(SpeechFlags, argv, __doc__ or "")
    voices = find_voices(flags.voices, flags.kokoro)
    check_voices(voices)
    shard = flags.work.part()
    parts = plan_parts(voices, flags.hours, flags.output, flags.seed, shared_start(flags.output, shard is not None))
    work = SharedWork(flags.output, [str(part.path.relative_to(flags.output)) for part in parts], settings_of(flags))
    if shard is not None:
        work.do_part(shard, lambda _: say_all(shard.of(parts), flags))
        return
    work.finished()
    say_all(parts, flags)
    work.remove()


def shared_start(output: Path, sharing: bool) -> list[Path] | None:
    """The tables that existed when the work was first shared, so that all processes plan the same; None: not shared."""
    record = output / FOLDER / "before.json"
    if sharing and not record.is_file():
        found = [str(table.relative_to(output)) for table in tables_of(output)]
        make_folder(record.parent)
        own = record.with_suffix(f".{socket.gethostname()}.{os.getpid()}")
        write_text(own, json.dumps({"tables": found}))
        with contextlib.suppress(FileExistsError):
            os.link(own, record)  # unlike a renamed file, it never replaces another process's
        own.unlink()
    return [output / name for name in read_json(record)["tables"]] if record.is_file() else None


def say_all(parts: list[SpeechPart], flags: SpeechFlags) -> None:
    """Say the parts that do not exist yet."""
    todo = [part for part in parts if not part.path.with_suffix(".jsonl").is_file()]
    count = sum(len(part.texts) for part in todo)
    log.info("%s: %s to say in %s", flags.output, counted(count, "sentence"), counted(len(todo), "part"))
    with tqdm(total=count, desc="speech", unit="sentence") as bar:
        for said in run_all(make_part, todo, flags.work.workers or cores()):
            bar.update(said)


if __name__ == "__main__":
    main()
