"""Speech that is harder than clean English: other languages, noise, fast talkers, pauses; and sound that is no speech.

    python -m benchmarks.speech.hard_speech [--exp_name embedded] [--iter N] [--samples 4] [--json out.json]

Languages are real recordings (demo/input/audio/languages.tsv) aligned with the closest English phones; Mandarin,
Japanese and Hindi, in synthetic voices, come on top with --speech FOLDER (docs/real_speech.md makes it). Noise (pink,
or four voices talking), speed (overlap-add, same pitch) and pauses are put on clean English recordings, whose phones
are timed. Measures: speech_scores.py. Quick look: --samples 2.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.report import Spread, text_table, write_json
from benchmarks.speech.corpus_clips import language_clips, phone_table
from benchmarks.speech.real_speech import measure_table, read_clips, recording, run_clip
from benchmarks.speech.speech_scores import MEASURES, Clip, summary
from benchmarks.subject import INPUT, ModelFlags, Session, Subject
from models.generation.windows import GenerationConfig
from utils.errors import UserError, cli
from utils.media.alignment import align_pronunciations
from utils.media.audio import load_audio
from utils.reading.json_file import read_lines
from utils.reports.wording import counted
from utils.speech import Phone
from utils.timebase import FPS, SAMPLE_RATE

RECORDINGS = ("librivox_austen_0930", "arctic_a0009", "asterisk_en_newuser")
COLUMNS = ("recall_1", "chance_1", "recall_2", "vowel_mm", "correlation", "lag", "size", "energy_correlation")
MUSIC = "music_cold_day.flac"
PAUSE, SETTLE = 2.0, 0.4  # seconds of pause; seconds at both its ends that do not count
AT_REST_MM = 2.0
FRAME, HOP, SEARCH = 640, 320, 120  # samples of the overlap-add: 40 ms, 20 ms, +-7.5 ms (a period of 67 Hz)


@dataclass(frozen=True, kw_only=True)
class HardFlags(ModelFlags):
    """What is generated."""

    samples: int = 4
    """Samples of each clip."""
    recordings: str = ",".join(RECORDINGS)
    """English ones to disturb, comma separated."""
    style: str = "normal"
    """Bundled style."""
    only: str = ""
    """Only conditions with one of these, comma separated, in their name, such as noise or fast."""
    speech: Path | None = None
    """Folder of make_synthetic_speech: adds its voices of other languages that are kept for testing."""
    sentences: int = 12
    """With --speech: sentences of each voice."""


def pink_noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) noise with 3 dB less power per octave from 50 Hz on, standard deviation 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.fft.rfftfreq(n, 1 / SAMPLE_RATE)
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 50.0)), n)
    return (noise / noise.std()).astype(np.float32)


def babble(n: int, voices: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """(n,) several voices at once, each from a random place and repeated, standard deviation 1."""
    total = np.zeros(n)
    for voice in voices:
        start = int(rng.integers(len(voice)))
        total += np.resize(np.roll(voice, -start), n) / (voice.std() + 1e-9)
    return (total / total.std()).astype(np.float32)


def mixed(clip: Clip, noise: np.ndarray, snr_db: float) -> Clip:
    """The clip with noise (n,), whose power is `snr_db` below that of the whole recording."""
    gain = clip.audio.std() / (noise.std() + 1e-9) * 10 ** (-snr_db / 20)
    return replace(clip, audio=(clip.audio + gain * noise).astype(np.float32))


def faster(clip: Clip, rate: float) -> Clip:
    """The clip `rate` times as fast at the same pitch, phones included."""
    phones = [Phone(p.name, p.start / rate, p.end / rate) for p in clip.phones]
    return replace(clip, audio=stretch(clip.audio, rate), phones=phones)


def stretch(audio: np.ndarray, rate: float) -> np.ndarray:
    """Time scaling by waveform-similarity overlap-add (Verhelst and Roelands 1993): (n,) -> about (n / rate,).

    Every output frame is taken near its place in the input, where it continues the previous frame best.
    """
    n_frames = max(1, int(len(audio) / rate / HOP))
    lead = SEARCH + FRAME
    padded = np.pad(np.asarray(audio, np.float64), (lead, 2 * FRAME + HOP + SEARCH + int(HOP * rate)))
    window = np.hanning(FRAME + 1)[:FRAME]
    out, weight = np.zeros((n_frames + 1) * HOP), np.zeros((n_frames + 1) * HOP)
    position = lead
    for k in range(n_frames):
        ideal = lead + round(k * HOP * rate + (rate - 1) * FRAME / 2)  # the frames' middles correspond
        position = _best_place(padded, ideal, padded[position + HOP : position + HOP + FRAME]) if k else ideal
        piece = slice(k * HOP, k * HOP + FRAME)
        out[piece] += window * padded[position : position + FRAME]
        weight[piece] += window
    return (out / np.maximum(weight, 1e-3))[: round(len(audio) / rate)].astype(np.float32)


def _best_place(padded: np.ndarray, ideal: int, wanted: np.ndarray) -> int:
    region = padded[ideal - SEARCH : ideal + SEARCH + FRAME]
    similarity = np.correlate(region, wanted, "valid")
    energy = np.convolve(region**2, np.ones(FRAME), "valid")
    return ideal - SEARCH + int((similarity / np.sqrt(energy + 1e-9)).argmax())


def with_pause(clip: Clip, seconds: float, rng: np.random.Generator, level_db: float = -60.0) -> tuple[Clip, slice]:
    """A pause of faint noise in the middle of the clip, between two phones; also where it lies, in seconds.

    Returns:
        The clip, phones moved; slice(start, stop) of the pause in seconds.
    """
    borders = [p.end for p in clip.phones if p.name != "sil"][:-1]
    at = min(borders, key=lambda border: abs(border - len(clip.audio) / SAMPLE_RATE / 2))
    cut, n = round(at * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
    hush = clip.audio.std() * 10 ** (level_db / 20) * pink_noise(n, rng)
    audio = np.concatenate([clip.audio[:cut], hush, clip.audio[cut:]]).astype(np.float32)
    before = [p for p in clip.phones if p.end <= at + 1e-6]
    after = [Phone(p.name, p.start + seconds, p.end + seconds) for p in clip.phones if p.end > at + 1e-6]
    phones = [*before, Phone("sil", at, at + seconds), *after]
    return replace(clip, audio=audio, phones=phones), slice(at, at + seconds)


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
    """Mouth opening without speech: a pause within speech, faint noise alone, digital silence, music."""
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
    session = Session.start(HardFlags, __doc__, argv)
    flags, subject, config = session.flags, session.subject, session.config
    clips, languages = read_clips(INPUT / "audio", flags.recordings), read_languages(INPUT / "audio")
    todo = {**conditions(clips, [c.audio for c in languages.values()]), **{k: [c] for k, c in languages.items()}}
    only = flags.only.split(",")
    spoken = language_clips(flags.speech, flags.sentences) if flags.speech else {}
    todo = {name: group for name, group in {**todo, **spoken}.items() if any(part in name for part in only)}
    if not todo:
        raise UserError(f"--only {flags.only}: no condition has this in its name; leave it out for all")
    rows, by_phone = {}, {}
    for name, group in tqdm(todo.items(), desc=subject.name, unit="condition"):
        by_clip = [run_clip(subject, clip, flags.style, config, flags.samples) for clip in group]
        rows[name] = summary([list(scores) for scores in zip(*by_clip)])
        if name in spoken:
            by_phone[name] = [score for scores in by_clip for score in scores]
    rest = {} if flags.only else controls(subject, clips, flags.style, config, flags.samples)
    print(
        f"{subject.name}: {counted(len(clips), 'English recording')}, {counted(flags.samples, 'sample')}, {flags.style}"
    )
    print(measure_table(rows, COLUMNS))
    if by_phone:
        print(phone_table(by_phone))
    if rest:
        print(control_table(rest))
    content = {"model": subject.name, "samples": flags.samples, "style": flags.style, "definitions": MEASURES}
    write_json(flags.json, {**content, "conditions": rows, "controls": rest})


if __name__ == "__main__":
    main()
