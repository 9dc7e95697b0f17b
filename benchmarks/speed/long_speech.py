"""Memory and speed of demo.py on long recordings.

    python -m benchmarks.speed.long_speech [--minutes 5 10] [--json out.json]

The bundled LibriVox recordings, repeated; coefficients only (--no_video), motion streamed. Peak memory is the
process's largest resident size, libraries included (about 0.4 GB).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.report import text_table, write_json
from benchmarks.subject import INPUT
from utils.config import UserParser
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.runs.run_dir import ROOT
from utils.timebase import SAMPLE_RATE


def write_speech(path: Path, minutes: float) -> None:
    """A flac of this length."""
    import soundfile

    parts = [load_audio(found) for found in sorted((INPUT / "audio").glob("librivox*.flac"))]
    soundfile.write(path, np.resize(np.concatenate(parts), round(minutes * 60 * SAMPLE_RATE)), SAMPLE_RATE)


def run(minutes: float) -> dict[str, float]:
    """demo.py on such a recording -> seconds, times real time, peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        write_speech(Path(folder) / "speech.flac", minutes)
        command = [sys.executable, str(ROOT / "demo.py"), "--no_video", "-a", f"{folder}/speech.flac"]
        began = time.perf_counter()
        process = subprocess.Popen([*command, "-o", f"{folder}/out.mp4"], stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    if status:
        raise UserError(f"demo.py ended with status {status}; run it by hand")
    return {
        "minutes": minutes,
        "seconds": seconds,
        "times_real_time": minutes * 60 / seconds,
        "peak_mb": usage.ru_maxrss / 1024,
    }


@cli
def main(argv: list[str] | None = None) -> None:
    parser = UserParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 10.0], help="(default: 5 10)")
    parser.add_argument("--json", type=Path, help="also write all figures here")
    args = parser.parse_args(argv)
    if min(args.minutes) <= 0:
        raise UserError(f"--minutes {min(args.minutes):g}: must be above 0")
    rows = [run(minutes) for minutes in args.minutes]
    print(text_table([tuple(rows[0]), *(tuple(f"{value:.1f}" for value in row.values()) for row in rows)]))
    if args.json:
        write_json(args.json, rows)


if __name__ == "__main__":
    main()
