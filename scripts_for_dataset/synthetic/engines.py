"""Offline speech engines that also tell when each phone sounds: flite, festival, hibari; espeak-ng is in
espeak.py, Kokoro in kokoro.py.

Every engine is optional and is looked for when it is used. All return audio at 16 kHz and ARPAbet phones.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scripts_for_dataset.synthetic.ipa import ENGLISH, Timed, join_silence, merge_ipa
from utils.errors import UserError
from utils.timebase import SAMPLE_RATE

NEURAL_RATE, _NEURAL_FRAME = 24_000, 0.025  # Hz, seconds per unit of the predicted durations
_HIBARI_SHIFT = -0.045  # measured: its durations run late against the sound
_TIMEOUT = 60  # seconds per sentence

_DUMP_SEGMENTS = """(define (dump utt name) (let ((f (fopen name "w")))
 (mapcar (lambda (s) (format f "%s %f %f\\n" (item.name s) (item.feat s "segment_start") (item.feat s "end")))
  (utt.relation.items utt 'Segment)) (fclose f)))
"""


def need_program(name: str, packages: str) -> None:
    """Raises UserError unless the program is on PATH."""
    if shutil.which(name) is None:
        raise UserError(
            f"{name}: not found on PATH; install it with `apt-get install {packages}` or leave its voices out"
        )


def to_16k(audio: np.ndarray, rate: int) -> np.ndarray:
    """Resample float audio (n,) to 16 kHz."""
    import soxr

    return soxr.resample(np.asarray(audio, np.float32), rate, SAMPLE_RATE, quality="VHQ")


def plain_text(text: str) -> str:
    """Letters, digits and plain punctuation only: the text goes into command lines and a Lisp string.

    Raises:
        UserError: nothing is left to say.
    """
    cleaned = " ".join(re.sub(r"[^A-Za-z0-9 ,.;:?!'-]", " ", text).split()).lstrip("-")
    if not re.search("[A-Za-z0-9]", cleaned):
        raise UserError(f"text {text[:40]!r}: has no words; leave the sentence out")
    return cleaned


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{command[0]}: failed on a sentence ({error}); check its installation") from error
    return done.stdout


def _read_wav(path: Path) -> np.ndarray:
    import soundfile

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return to_16k(audio.mean(1), rate)


def parse_flite(output: str) -> Timed:
    """`flite -psdur` prints "phone:end" separated by spaces; pau is silence."""
    phones, start = [], 0.0
    for token in output.split():
        name, _, end = token.rpartition(":")
        phones.append(("sil" if name == "pau" else name, start, float(end)))
        start = float(end)
    return phones


def parse_festival(text: str) -> Timed:
    """Lines "phone start end" as dumped from the Segment relation; pau and h# are silence."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    names = {"pau": "sil", "h#": "sil", "brth": "sil"}
    return join_silence(
        [(names.get(name.lower(), name.lower()), float(start), float(end)) for name, start, end in rows]
    )


def flite(voice: str, text: str, speed: float = 1.0) -> tuple[np.ndarray, Timed]:
    """CMU flite (statistical unit voices rms, slt, awb): exact end times."""
    need_program("flite", "flite")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "x.wav"
        stretch = f"duration_stretch={1 / speed:.4f}"
        output = _run(["flite", "-voice", voice, "--sets", stretch, "-t", plain_text(text), "-o", str(wav), "-psdur"])
        return _read_wav(wav), parse_flite(output)


def festival(voice: str, text: str, speed: float = 1.0) -> tuple[np.ndarray, Timed]:
    """festival (HMM and diphone voices): exact times of the Segment relation."""
    need_program("festival", "festival festvox-us-slt-hts festvox-kdlpc16k festvox-kallpc16k")
    with tempfile.TemporaryDirectory() as folder:
        script, wav, table = (Path(folder) / name for name in ("x.scm", "x.wav", "x.seg"))
        script.write_text(
            f"{_DUMP_SEGMENTS}(voice_{voice})\n(Parameter.set 'Duration_Stretch {1 / speed:.4f})\n"
            f"(set! u (utt.synth (eval (list 'Utterance 'Text \"{plain_text(text)}\"))))\n"
            f'(utt.save.wave u "{wav}" \'riff)\n(dump u "{table}")\n'
        )
        _run(["festival", "--batch", str(script)])
        return _read_wav(wav), parse_festival(table.read_text())


@functools.lru_cache(maxsize=1)
def _hibari():
    """The hibari model with its durations as an additional output of the graph."""
    missing = [name for name in ("hibari", "onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"hibari: {', '.join(missing)} not installed; `pip install hibari-tts onnx` or leave it out")
    import hibari  # pyright: ignore[reportMissingImports]  # optional
    import onnx  # pyright: ignore[reportMissingImports]  # optional

    graph = onnx.load(Path(str(hibari.__file__)).parent / "assets" / "hibari.onnx")
    graph.graph.output.append(onnx.helper.make_tensor_value_info("/Clip_output_0", onnx.TensorProto.FLOAT, None))
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(graph.SerializeToString())
        file.flush()
        return hibari.Hibari(model=file.name)


def hibari(voice: str, text: str, speed: float = 1.0) -> tuple[np.ndarray, Timed]:
    """hibari-tts (neural, one voice): predicted durations, corrected for their delay."""
    model = _hibari()
    from hibari import dsp  # pyright: ignore[reportMissingImports]  # optional

    spoken = model.phonemize(plain_text(text))[0]
    inputs = {"ids": np.asarray([model.ids(spoken)], np.int64), "speed": np.asarray([speed], np.float32)}
    *tracks, durations = map(np.asarray, model.sess.run(None, inputs))
    lh, th, ln, lr, phi, f0 = (track[0] for track in tracks[:6])
    audio = dsp.synth(lh, th, ln, lr, phi, f0, np.random.default_rng(0))
    phones = neural_phones(["^", *spoken, "$"], durations.ravel(), _HIBARI_SHIFT)
    return to_16k(audio, NEURAL_RATE), phones


def neural_phones(
    symbols: list[str], durations: np.ndarray, shift: float, letters: Mapping[str, str] = ENGLISH
) -> Timed:
    """Symbols with durations in 25 ms units -> ARPAbet phones, moved by `shift` seconds (negative: earlier)."""
    ends = np.cumsum(durations) * _NEURAL_FRAME
    starts = ends - durations * _NEURAL_FRAME
    phones = merge_ipa([(s, float(a), float(b)) for s, a, b in zip(symbols, starts, ends)], letters)
    moved = [(phone, max(start + shift, 0.0), max(end + shift, 0.0)) for phone, start, end in phones]
    return [(phone, start, end) for phone, start, end in moved if end > start]
