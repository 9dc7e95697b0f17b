"""The page without a server in headless Chromium: first motion, speed, Python's coefficients, microphone, other hosts.

    python -m setup.build_static_demo
    python -m benchmarks.figures.static_page --speech five_seconds.wav [-o pictures/] [--webgpu]

Needs Chromium in the PATH and `pip install playwright`. `--speech` is 16 kHz mono, so that nothing is resampled. Each
check prints one line; the exit code is 1 if one of them fails.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import torch

from benchmarks.browser import chromium
from models.app.sampling_flags import own_sampling
from models.generation.animator import Animator
from models.heads.flame import load_flame
from models.networks.person import Person
from setup.build_static_demo import MARK
from setup.onnx_export.description import styles_of
from utils.config import ROOT, flag, read_flags, required
from utils.errors import UserError, cli
from utils.media.audio import load_audio
from utils.runs.run_dir import find_checkpoint

WIDTHS = ((1280, 800), (390, 844))
FIRST_SECONDS, LIVE_SECONDS, SPEED, DIFFERENCE = 3.0, 0.5, 1.5, 1e-3  # at most, at most, at least, at most
READY = "() => window.measured && window.measured.ready"
MADE = "() => window.measured.made || document.querySelector('#said.wrong')"
MAY_PRESS = "() => !document.getElementById('make').disabled"
FRAMES = "() => window.head.frames.map((frame) => Array.from(frame))"
SMILE = "head.frames.at(-1)[head.rig.expressions.indexOf('mouthSmileLeft')]"
NOISE = """(text) => { window.noise = new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer) }"""


@dataclass(frozen=True)
class VisitFlags:
    """All flags."""

    speech: Path = required()
    """wav, 16 kHz mono, which is chosen as a file and which the microphone hears."""
    folder: Path = ROOT / "build" / "static_demo"
    """What setup.build_static_demo built."""
    output: Path | None = flag(None, "-o")
    """Folder for screenshots."""
    webgpu: bool = False
    """Compute on the graphics card."""

    def check(self) -> None:
        """Raises UserError for a folder without the page."""
        if not (self.folder / MARK).is_file():
            raise UserError(f"--folder {self.folder}: holds no page; build it with python -m setup.build_static_demo")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are counted in the browser."""


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """A plain file server's address, while it runs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


class Visitor:
    """A page of a new browser context."""

    def __init__(self, browser, url: str, width: int, height: int) -> None:
        self.page = browser.new_context(viewport={"width": width, "height": height}).new_page()
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.goto(url)
        self.page.wait_for_function(READY, timeout=120_000)

    def choose(self, path: Path) -> None:
        """A file."""
        self.page.set_input_files("#file", str(path))

    def make(self) -> dict[str, float]:
        """Press the button -> what the page measured, seconds and times real time."""
        self.page.wait_for_function(MAY_PRESS, timeout=30_000)
        self.page.click("#make")
        self.page.wait_for_function(MADE, timeout=120_000)
        return self.page.evaluate("() => window.measured")

    def frames(self) -> np.ndarray:
        """Coefficients (n, 58) of the head, the tongue's last."""
        return np.array(self.page.evaluate(FRAMES), np.float32)


def in_python(folder: Path, audio: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The noise (windows, L, D) of a seed, and the coefficients (n, 58) that Python makes of it."""
    about = json.loads((folder / "talker.json").read_text())
    animator = Animator.load(find_checkpoint("DPT", about["experiment"], None), None, torch.device("cpu"))
    animator.know_head(load_flame().head)
    options, generator = animator.model.config, torch.Generator().manual_seed(seed)
    windows = -(-len(audio) // (640 * options.n_motions))
    noise = [torch.randn(options.n_motions, options.layout.motion_dim, generator=generator) for _ in range(windows)]
    person = Person(np.zeros(100, np.float32), styles_of(options)[about["default_style"]])
    (motion,) = animator(audio, person, own_sampling(options), [seed])
    assert motion.tongue is not None  # the model hears with Whisper
    return torch.stack(noise).numpy(), np.hstack([motion.exp, motion.pose, motion.tongue])


def check_speech(visitor: Visitor, flags: VisitFlags) -> dict[str, bool]:
    """A file with Python's noise."""
    noise, wanted = in_python(flags.folder, load_audio(flags.speech), seed=3)
    visitor.page.evaluate(NOISE, base64.b64encode(noise.tobytes()).decode())
    visitor.choose(flags.speech)
    measured, made = visitor.make(), visitor.frames()
    visitor.page.evaluate("() => { window.noise = undefined }")
    same = made.shape == wanted.shape
    difference = float(np.abs(made - wanted).max() / np.abs(wanted).max()) if same else np.inf
    return {
        f"first motion after {measured['first']:.2f} s": measured["first"] <= FIRST_SECONDS,
        f"{measured['speed']:.1f} times real time": measured["speed"] >= SPEED,
        f"differs from Python by {difference:.1g} of the largest coefficient": difference <= DIFFERENCE,
    }


def check_mixer(visitor: Visitor, folder: Path | None) -> dict[str, bool]:
    """An emotion, an offset and a wrong schedule, on the motion that is there; then all as it was."""
    page, before = visitor.page, visitor.frames()
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
    page.select_option("#emotion", "happy")
    page.locator("input[aria-label='Head yaw']").fill("10")
    page.wait_for_timeout(1000)
    change = visitor.frames() - before
    if folder is not None:
        page.screenshot(path=str(folder / f"static-mixer-{page.viewport_size['width']}.png"), full_page=True)
    page.set_input_files("#schedule", {"name": "a.csv", "mimeType": "text/csv", "buffer": b"seconds,hapy\n0,1\n"})
    page.wait_for_selector("#said.wrong")
    said = page.inner_text("#said")
    page.click("#reset")
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = false })")
    page.wait_for_timeout(1000)
    return {
        f"mixer: {abs(change[:, :50]).max():.2f} more of a unit, yaw {np.rad2deg(change[:, 51].mean()):.0f} degrees":
            change[:, :50].max() > 0.3 and change[:, 51].min() > 0.1,
        f"a wrong schedule: {said[:60]} …": said.startswith("a.csv: 'hapy' is not a choice"),
        "the mixer's reset": np.array_equal(visitor.frames(), before),
    }  # fmt: skip


def check_microphone(visitor: Visitor) -> dict[str, bool]:
    """Four seconds through the (fake) microphone."""
    visitor.page.click("#record")
    visitor.page.wait_for_timeout(4000)
    visitor.page.click("#record")
    visitor.page.wait_for_function("() => document.getElementById('chosen').textContent.startsWith('your recording')")
    visitor.make()
    frames = visitor.frames()
    return {f"microphone: {len(frames)} frames": len(frames) > 75 and float(frames[:, 53].std()) > 0.005}


def check_live(visitor: Visitor) -> dict[str, bool]:
    """Twelve seconds of live speech; how far the head is behind in the second half, when its clock has settled."""
    visitor.page.click("#live")
    visitor.page.wait_for_timeout(12_000)
    pieces, frames = visitor.page.evaluate("() => measured.live"), visitor.frames()
    visitor.page.click("#live")
    visitor.page.wait_for_timeout(3000)  # for the last frames
    before = visitor.page.evaluate(f"() => {SMILE}")
    visitor.page.select_option("#emotion", "happy")
    visitor.page.wait_for_function(f"(before) => {SMILE} > before + 0.1", arg=before, timeout=20_000)
    visitor.page.select_option("#emotion", "")
    later = pieces[len(pieces) // 2 :]
    behind, took = (np.array([one[key] for one in later]) for key in ("behind", "took"))
    text = f"live: {len(frames)} frames, {np.median(behind):.2f} s behind the voice (at most {behind.max():.2f} s), "
    text += f"{np.median(took):.2f} s of them computing ({took.max():.2f} s)"
    good = len(frames) > 225 and np.median(behind) < LIVE_SECONDS and float(frames[:, 53].std()) > 0.005
    return {text: good, "an emotion after it shows": True}


def check_bad_file(visitor: Visitor, path: Path) -> dict[str, bool]:
    """A file that is no sound."""
    visitor.choose(path)
    visitor.page.wait_for_selector("#said.wrong")
    said = visitor.page.inner_text("#said")
    return {f"another file: {said}": "cannot read sound" in said}


def photograph(visitor: Visitor, folder: Path | None) -> dict[str, bool]:
    """The whole page while the head talks; whether it fits its width."""
    page = visitor.page
    page.evaluate("() => { sound.pause(); sound.currentTime = 1.5 }")
    page.wait_for_timeout(1000)
    width, wide = page.viewport_size["width"], page.evaluate("() => document.documentElement.scrollWidth")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"static-{width}.png"), full_page=True)
    return {f"{width} px: {wide} px wide": wide <= width}


def visit(browser, url: str, size: tuple[int, int], flags: VisitFlags) -> dict[str, bool]:
    """All checks in one width; checks of the worker in the first one only."""
    visitor = Visitor(browser, url, *size)
    checks = {f"ready after {visitor.page.evaluate('() => measured.ready'):.1f} s": True}
    checks |= check_speech(visitor, flags)
    checks |= photograph(visitor, flags.output) | check_mixer(visitor, flags.output)
    if size == WIDTHS[0]:
        checks |= check_microphone(visitor) | check_live(visitor) | check_bad_file(visitor, ROOT / "LICENSE")
    hosts = ", ".join(sorted(visitor.hosts - {""}))
    checks[f"hosts: {hosts}"] = hosts == urlsplit(url).netloc
    checks["errors: " + ("; ".join(visitor.faults) or "none")] = not visitor.faults
    return checks


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(VisitFlags, argv, (__doc__ or "").splitlines()[0])
    failed = False
    with file_server(flags.folder) as url, chromium(flags.speech) as browser:
        for size in WIDTHS:
            for text, good in visit(browser, url + "?webgpu" * flags.webgpu, size, flags).items():
                print("ok    " if good else "WRONG ", text)
                failed |= not good
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
