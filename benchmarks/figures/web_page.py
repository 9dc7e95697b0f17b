"""The web page in a headless browser: a recording goes in, the head moves, a download opens; three visitors at once.

    python -m benchmarks.figures.web_page --speech five_seconds.wav [-o screenshot.png]

Needs Gradio, playwright (both from PyPI) and Chromium in the PATH; starts and ends its own server.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import read_flags
from utils.config import flag, required
from utils.errors import UserError, cli

START_SECONDS, MAKE_SECONDS = 120, 170
# A microphone that plays a file, WebGL in software, no traffic of the browser's own.
BROWSER_FLAGS = (
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
    "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--use-gl=angle",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
FORBIDDEN = (
    "/gradio_api/file=/etc/passwd", "/gradio_api/file=LICENSE", "/take/../../LICENSE", "/viewer/..%2fapp.py",
    "/take/00000000000000000000000000000000/take.glb", "/viewer/%2e%2e/app.py",
)  # fmt: skip


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The page's address, while it runs; says at the end which temporary files it left behind.

    Raises:
        UserError: it did not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="web-check-")
    command = [sys.executable, "-m", "web.app", "--port", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"TMPDIR": folder})
    try:
        for _ in range(START_SECONDS):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                break
            if process.poll() is not None:
                raise UserError("the page did not start; its own message is above")
            time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        print("left behind:", ", ".join(path.name for path in Path(folder).iterdir()) or "nothing")
        shutil.rmtree(folder)


def speak(page, url: str, seconds: float) -> None:
    """Open the page and speak into the (fake) microphone."""
    page.goto(url)
    page.wait_for_selector("#make", timeout=60_000)
    time.sleep(1)
    if not page.locator("#speech >> text=Record").is_visible():
        page.locator('#speech button[aria-label="Record audio"]').click()
    page.locator("#speech button", has_text="Record").first.click()
    time.sleep(seconds)
    page.locator("#speech button:visible", has_text="Stop").first.click()
    page.wait_for_selector("#speech audio, #speech [data-testid*=waveform]", state="attached", timeout=30_000)


def make(page) -> float:
    """Press the button -> seconds until the note of the result."""
    start = time.perf_counter()
    page.click("#make")
    return wait_for_take(page) - start


def wait_for_take(page) -> float:
    """Wait for the note of the result -> the time at which it came."""
    page.wait_for_function("() => document.querySelector('#said')?.innerText.includes('of speech in')",
                           timeout=1000 * MAKE_SECONDS)  # fmt: skip
    return time.perf_counter()


def head_moves(page) -> dict[str, float]:
    """Scrub the speech in the 3-D view and turn the head -> frames drawn, and how many of the pictures differ."""
    frame = page.frame_locator("#view iframe")
    frame.locator("#note", has_text="drag").wait_for(timeout=30_000)
    inner = next(f for f in page.frames if "viewer.html" in f.url)
    pictures = []
    for instant in (0.1, 1.5, 2.6):
        inner.evaluate(f"() => {{ document.getElementById('sound').currentTime = {instant} }}")
        time.sleep(1)
        pictures.append(inner.evaluate("() => document.getElementById('view').toDataURL('image/png')"))
    camera = "() => [window.view.yaw, window.view.distance]"
    before = inner.evaluate(camera)
    page.locator("#view").scroll_into_view_if_needed()
    box = frame.locator("#view").bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 230, box["y"] + 150, steps=4)
    page.mouse.up()
    page.mouse.wheel(0, -200)
    time.sleep(1)
    turned = inner.evaluate("() => document.getElementById('view').toDataURL('image/png')")
    moved = [abs(a - b) > 0.05 for a, b in zip(inner.evaluate(camera), before)]
    return {
        "frames_drawn": inner.evaluate("() => window.view.frames"),
        "different": len({*pictures, turned}),
        "mouse_turns_and_wheel_zooms": all(moved),
    }


def choose_look(page, *names: str) -> None:
    """Hair and skin by their names."""
    page.get_by_text("Head and look").click()
    for name in names:
        page.get_by_role("radio", name=name, exact=True).check()


def photograph(page, path: Path) -> None:
    """The whole page, the head turned a little."""
    inner = next(f for f in page.frames if "viewer.html" in f.url)
    inner.evaluate("() => { sound.currentTime = 1.5; view.yaw = -0.35; view.distance = view.stage.distance }")
    page.evaluate("() => window.scrollTo(0, 0)")
    time.sleep(1)
    page.screenshot(path=str(path))


def download(page, ending: str, folder: Path) -> Path:
    """Click on a file of the downloads' list."""
    with page.expect_download(timeout=30_000) as found:
        page.locator(f'#downloads a[download*="{ending}"], #downloads a[href*="{ending}"]').first.click()
    path = folder / found.value.suggested_filename
    found.value.save_as(path)
    return path


def refused(url: str) -> dict[str, int]:
    """Status of addresses that must not answer with a file."""
    found = {}
    for path in FORBIDDEN:
        try:
            found[path] = urllib.request.urlopen(url + path, timeout=10).status
        except urllib.error.HTTPError as error:
            found[path] = error.code
    return found


def forged(url: str, path: str) -> str:
    """Ask for a take of a file that was not uploaded, as a page would of an upload -> the answer, which must be an
    error, and must not come from reading the file."""
    config = json.load(urllib.request.urlopen(url + "/config", timeout=10))
    event = max(config["dependencies"], key=lambda found: len(found["inputs"]))
    controls = {found["id"]: found for found in config["components"]}
    values = {number: controls[number]["props"].get("value") for number in event["inputs"]}
    (audio,) = (number for number in values if controls[number]["type"] == "audio")
    values[audio] = {"path": path, "orig_name": "speech.wav", "meta": {"_type": "gradio.FileData"}}
    wish = {"data": list(values.values()), "fn_index": event["id"], "session_hash": "forged"}
    head = {"Content-Type": "application/json"}
    join = urllib.request.Request(url + "/gradio_api/queue/join", json.dumps(wish).encode(), head)
    urllib.request.urlopen(join, timeout=10).close()
    with urllib.request.urlopen(url + "/gradio_api/queue/data?session_hash=forged", timeout=MAKE_SECONDS) as answers:
        answer = next(json.loads(line[6:]) for line in answers if b"process_completed" in line)
    return "TAKEN" if answer["success"] else str(answer["output"].get("error"))


def visit(browser, url: str, picture: Path | None) -> dict:
    """One visitor: record, make, watch, download."""
    page = browser.new_context(viewport={"width": 1200, "height": 1000}).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    speak(page, url, 6)
    choose_look(page, "bob", "fair")
    result = {"seconds": make(page), "said": page.locator("#said").inner_text().split(". ")[0], **head_moves(page)}
    with tempfile.TemporaryDirectory() as folder:
        glb = download(page, "take.glb", Path(folder)).read_bytes()
        magic, version, length = struct.unpack_from("<III", glb)
        result["glb"] = bool(magic == 0x46546C67 and version == 2 and length == len(glb))
        json.loads(glb[20 : 20 + struct.unpack_from("<I", glb, 12)[0]])
    if picture is not None:
        photograph(page, picture)
    result["errors"] = errors
    return result


def crowd(browser, url: str, n: int) -> list[float]:
    """Several visitors press the button at the same time -> seconds until each has a result."""
    pages = [browser.new_context().new_page() for _ in range(n)]
    for page in pages:
        speak(page, url, 3)
    start = time.perf_counter()
    for page in pages:
        page.click("#make")
    return [wait_for_take(page) - start for page in pages]


@dataclass(frozen=True)
class VisitFlags:
    """All flags."""

    speech: Path = required()
    """wav that the microphone hears."""
    crowd: int = 3
    """Visitors at once."""
    output: Path | None = flag(None, "-o")
    """Screenshot, png."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(VisitFlags, __doc__, argv)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or not flags.speech.is_file():
        raise UserError("--speech: no such wav" if chromium else "Chromium is not in the PATH; install it")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("playwright is missing; pip install playwright") from error
    with server() as url, sync_playwright() as play:
        options = [*BROWSER_FLAGS, f"--use-file-for-fake-audio-capture={flags.speech.resolve()}"]
        browser = play.chromium.launch(executable_path=chromium, args=options)
        print("one visitor:", json.dumps(visit(browser, url, flags.output)))
        print("refused:", json.dumps(refused(url)))
        print("not uploaded:", [forged(url, path) for path in ("/etc/passwd", str(flags.speech.resolve()))])
        if flags.crowd:
            print(f"{flags.crowd} at once, seconds:", [round(s, 1) for s in crowd(browser, url, flags.crowd)])
        browser.close()


if __name__ == "__main__":
    main()
