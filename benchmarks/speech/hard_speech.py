"""Speech that is harder than clean English: other languages, noise, fast talkers, pauses; and sound that is no speech.

    python -m benchmarks.speech.hard_speech [--exp_name embedded] [--iter N] [--samples 4] [--json out.json]

Languages are real recordings (demo/input/audio/languages.tsv) aligned with the closest English phones. Noise (pink, or
four voices talking), speed (overlap-add, same pitch) and pauses are put on clean English recordings, whose phone times
are known. Measures: speech_scores.py. Quick look: --samples 2.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.report import Spread, text_table, write_json
from benchmarks.speech.alignment import align_pronunciations
from benchmarks.speech.disturbances import babble, faster, mixed, pink_noise, with_pause
from benchmarks.speech.mouth_at_phones import recording
from benchmarks.speech.real_speech import read_clips, run_clip, table
from benchmarks.speech.speech_scores import MEASURES, Clip, summary
from benchmarks.subject import INPUT, Subject, add_flags, check_flags, generation_config
from models.generation.windows import GenerationConfig
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.reading.json_file import read_lines
from utils.timebase import FPS, SAMPLE_RATE

RECORDINGS = ("librivox_austen_0930", "arctic_a0009", "asterisk_en_newuser")
COLUMNS = ("recall_1", "chance_1", "recall_2", "vowel_mm", "correlation", "lag", "size", "energy_correlation")
MUSIC = "music_cold_day.flac"
PAUSE, SETTLE = 2.0, 0.4  # seconds of pause; seconds at both its ends that do not count
AT_REST_MM = 2.0


def read_languages(folder: Path) -> dict[str, Clip]:
    """{language: aligned clip} of languages.tsv: file, language, words, pronunciations split by |.

    Raises:
        UserError: missing list, or a line without the four columns.
    """
    path = folder / "languages.tsv"
    if not path.is_file():
        raise UserError(f"{path}: no such list of recordings; copy it from the repository")
    clips = {}
    for number, line in enumerate(read_lines(path)[1:], 2):
        columns = line.split("\t")
        if len(columns) != 4:
            raise UserError(f"{path}, line {number}: {len(columns)} columns; write file, language, words, phones")
        audio = load_audio(recording(folder, Path(columns[0]).stem))
        phones = align_pronunciations(audio, [word.strip() for word in columns[3].split("|")])
        clips[columns[1]] = Clip(Path(columns[0]).stem, audio, phones)
    return clips


def seeded(name: str) -> np.random.Generator:
    """The same noise for a clip in every run."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def conditions(clips: list[Clip], voices: list[np.ndarray]) -> dict[str, list[Clip]]:
    """{condition: clips}: clean, noise, speed."""
    found = {"clean": clips}
    for snr in (20, 10, 5):
        found[f"pink noise {snr} dB"] = [mixed(c, pink_noise(len(c.audio), seeded(c.name)), snr) for c in clips]
    for snr in (10, 5):
        found[f"babble {snr} dB"] = [mixed(c, babble(len(c.audio), voices, seeded(c.name)), snr) for c in clips]
    for rate in (1.3, 1.6):
        found[f"{rate} x as fast"] = [faster(clip, rate) for clip in clips]
    return found


def rest_measures(openings: np.ndarray) -> dict[str, Spread]:
    """openings (samples, T) mm -> mean, 90th percentile and share at rest (below 2 mm), each over the samples."""
    return {
        "mean_mm": Spread.of(list(openings.mean(1))),
        "p90_mm": Spread.of(list(np.percentile(openings, 90, axis=1))),
        "at_rest": Spread.of(list((openings < AT_REST_MM).mean(1))),
    }


def controls(
    subject: Subject, clips: list[Clip], style: str, config: GenerationConfig, n: int
) -> dict[str, dict[str, Spread]]:
    """Mouth opening where nobody talks: a pause within speech, faint noise alone, digital silence, music."""
    vector = subject.style(style)

    def opening(audio: np.ndarray) -> np.ndarray:
        return subject.openings(subject.motions(audio.astype(np.float32), vector, config, n))

    pauses, speech = [], []
    for clip in clips:
        paused, where = with_pause(clip, PAUSE, seeded(clip.name))
        track = opening(paused.audio)
        first, last = round((where.start + SETTLE) * FPS), round((where.stop - SETTLE) * FPS)
        pauses.append(track[:, first:last])
        speech.append(np.concatenate([track[:, : first - 10], track[:, last + 10 :]], axis=1))
    length = 4 * SAMPLE_RATE
    found = {"speech around the pause": np.concatenate(speech, 1), "pause of 2 s": np.concatenate(pauses, 1)}
    found["digital silence"] = opening(np.zeros(length))
    found["pink noise alone"] = opening(0.01 * pink_noise(length, seeded("alone")))
    found["music"] = opening(load_audio(INPUT / "audio" / MUSIC))
    return {name: rest_measures(track) for name, track in found.items()}


def control_table(rows: dict[str, dict[str, Spread]]) -> str:
    """One line per control."""
    lines = [("", "mean mm", "p90 mm", f"share < {AT_REST_MM:g} mm %")]
    lines += [(name, r["mean_mm"].text(), r["p90_mm"].text(), r["at_rest"].text(0, 100)) for name, r in rows.items()]
    return text_table(lines)


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    add_flags(parser, samples=4)
    parser.add_argument("--recordings", default=",".join(RECORDINGS), help="English ones to disturb, comma separated")
    parser.add_argument("--style", default="normal", help="bundled style (default: normal)")
    parser.add_argument("--only", default="", help="only conditions with this in their name, such as noise or fast")
    args = parser.parse_args(argv)
    check_flags(args)
    subject = Subject.load(args.exp_name, args.iter, args.device)
    config = generation_config(subject, args)
    clips, languages = read_clips(INPUT / "audio", args.recordings.split(",")), read_languages(INPUT / "audio")
    todo = {**conditions(clips, [c.audio for c in languages.values()]), **{k: [c] for k, c in languages.items()}}
    todo = {name: group for name, group in todo.items() if args.only in name}
    if not todo:
        raise UserError(f"--only {args.only}: no condition has this in its name; leave it out for all")
    rows = {}
    for name, group in tqdm(todo.items(), desc=subject.name, unit="condition"):
        by_clip = [run_clip(subject, clip, args.style, config, args.samples) for clip in group]
        rows[name] = summary([list(scores) for scores in zip(*by_clip)])
    rest = {} if args.only else controls(subject, clips, args.style, config, args.samples)
    print(f"{subject.name}: {len(clips)} English recordings, {args.samples} samples, {args.style}")
    print(table(rows, COLUMNS))
    if rest:
        print(control_table(rest))
    if args.json:
        content = {"model": subject.name, "samples": args.samples, "style": args.style, "definitions": MEASURES}
        write_json(args.json, {**content, "conditions": rows, "controls": rest})


if __name__ == "__main__":
    main()
