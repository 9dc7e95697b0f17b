"""What the checks of web pages share: headless Chromium, the page's server, a visitor's page and what it waits for."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from utils.errors import UserError

START_SECONDS, MAKE_SECONDS = 120, 170
# A microphone that plays a file, WebGL in software, sound without a click, no traffic of the browser's own.
BROWSER_FLAGS = (
    "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
SHOWN = "() => window.page && page.views.length > 0 && page.views[0].frames > 0"
MOVING = """(token) => page.token !== token && page.token.length === 32 && !document.querySelector('#sound').paused
    && document.querySelector('#sound').currentTime > 0.05"""
FILMED = "() => !document.querySelector('[data-view=video]').disabled"
FINISHED = "() => !document.querySelector('#downloads').hidden"


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
    process = subprocess.Popen(command, env=os.environ | {"TMPDIR": folder, "TQDM_DISABLE": "1"})
    try:
        for _ in range(10 * START_SECONDS):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
                break
            if process.poll() is not None:
                raise UserError("the page did not start; its own message is above")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
        print("left behind:", ", ".join(path.name for path in Path(folder).iterdir()) or "nothing")
        shutil.rmtree(folder)


@contextlib.contextmanager
def chromium(speech: Path | None = None):
    """A headless browser whose microphone hears `speech`.

    Raises:
        UserError: Chromium or playwright is missing.
    """
    path = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise UserError("playwright is missing; pip install playwright axe-playwright-python") from error
    if path is None:
        raise UserError("Chromium is not in the PATH; install it")
    heard = [] if speech is None else [f"--use-file-for-fake-audio-capture={speech.resolve()}"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=[*BROWSER_FLAGS, *heard])
        yield browser
        browser.close()


def visit(browser, url: str, width: int = 1280, height: int = 900, scheme: str = "light"):
    """A visitor's page, with its example shown; its script's errors are in `page.faults`."""
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(url)
    page.wait_for_function(SHOWN, timeout=60_000)
    return page


def wait(page, condition: str, argument: object = None) -> float:
    """Wait for a condition -> the time at which it came true."""
    page.wait_for_function(condition, arg=argument, timeout=1000 * MAKE_SECONDS)
    return time.perf_counter()
