"""A visit to the web page in headless Chromium: looks, accessibility, keyboard, microphone, reload, cancel, refusals.

    python -m benchmarks.figures.web_page --speech five_seconds.wav [-o pictures/] [--picture docs/images/web.webp]

Needs the page's packages, Chromium in the PATH, and `pip install playwright axe-playwright-python`. Starts and ends its
own server. Each check prints one line; the exit code is 1 if one of them fails.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from benchmarks.browser import FINISHED, MOVING, chromium, server, visit, wait
from utils.config import flag, read_flags, required
from utils.errors import UserError, cli

WIDTHS = ((390, 844), (768, 1024), (1280, 900))
FORBIDDEN = (
    "/take/../../LICENSE", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/take/welcome/..%2f..%2fLICENSE",
    "/take/00000000000000000000000000000000/take.glb", "/uploads/", "/api/uploads",
)  # fmt: skip
PICTURE = "() => document.querySelector('canvas').toDataURL('image/png')"


def findings(page) -> list[str]:
    """What axe-core calls serious or critical, with WCAG 2.2 AA (targets of 24 px included)."""
    from axe_playwright_python.sync_playwright import Axe

    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": tags}).response["violations"]
    return [f"{one['id']}: {node['html'][:90]}" for one in found if one["impact"] in ("serious", "critical")
            for node in one["nodes"]]  # fmt: skip


def look(browser, url: str, folder: Path | None) -> list[str]:
    """The first view and a finished take in all widths, light and dark -> what is wrong."""
    wrong, token = [], None
    for width, height in WIDTHS:
        for scheme in ("light", "dark"):
            page, name = visit(browser, url, width, height, scheme), f"{width}-{scheme}"
            page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true })")
            stages = ["first", "done"]
            for stage in stages:
                if stage == "done":
                    page.goto(f"{url}/#{token}") if token else page.click("#make")
                    wait(page, FINISHED)
                    token = page.evaluate("() => page.token")
                wrong += [f"{name} {stage} {found}" for found in findings(page)]
                if page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
                    wrong.append(f"{name} {stage} is wider than the screen")
                if folder is not None:
                    page.screenshot(path=str(folder / f"{stage}-{name}.png"), full_page=True)
            wrong += page.faults
            page.context.close()
    return wrong


def by_keyboard(browser, url: str) -> list[str]:
    """Everything without a mouse: play, turn, choose, make, cancel, make again, watch the video, download."""
    page, wrong = visit(browser, url, 390, 844), []

    def reach(selector: str) -> None:
        for _ in range(80):
            if page.evaluate("(s) => document.activeElement === document.querySelector(s)", selector):
                return
            page.keyboard.press("Tab")
        wrong.append(f"{selector} cannot be reached with Tab")

    reach("canvas")
    before = page.evaluate("() => [page.views[0].yaw, page.views[0].distance]")
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.keyboard.press(key)
    if before[0] == page.evaluate("() => page.views[0].yaw") or before[1] == page.evaluate(
        "() => page.views[0].distance"
    ):
        wrong.append("keys do not turn or zoom")
    reach("#play")
    page.keyboard.press("Enter")
    wait(page, "() => document.querySelector('#sound').currentTime > 0.1")
    for selector in ("#speech", "#record", "select[name=style]", "#compare", "select[name=identity]"):
        reach(selector)
    page.keyboard.press("ArrowDown")
    reach("#make")
    page.keyboard.press("Enter")
    page.wait_for_selector("#cancel:visible", timeout=10_000)
    page.locator("#cancel").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#work", state="hidden", timeout=10_000)
    page.keyboard.press("Enter")  # the focus went back to the button
    wait(page, FINISHED)
    for selector in ("[data-view=video]", "#downloads a"):
        page.locator("canvas").first.focus()
        reach(selector)
        with page.expect_download(timeout=30_000) if selector[-1] == "a" else contextlib.nullcontext():
            page.keyboard.press("Enter")
    page.context.close()
    return wrong + page.faults


def speak_and_reload(browser, url: str) -> list[str]:
    """Record, make, see the head move, reload, scrub -> what is wrong."""
    page, wrong = visit(browser, url), []
    page.click("#record")
    time.sleep(4)
    page.click("#record")
    page.wait_for_selector("#mine:visible", timeout=30_000)
    page.click("#make")
    wait(page, MOVING, "welcome")
    page.reload()
    wait(page, FINISHED)
    pictures = set()
    for instant in (0.1, 1.1, 2.2):
        page.evaluate(f"() => {{ const s = document.querySelector('#sound'); s.pause(); s.currentTime = {instant} }}")
        time.sleep(0.7)
        pictures.add(page.evaluate(PICTURE))
    page.locator("details", has=page.locator("[name=large]")).evaluate("(d) => { d.open = true }")
    frames = page.evaluate("() => page.views[0].frames")
    with page.expect_response("**/head", timeout=60_000):
        page.locator("[name=large]").fill("3")
    wait(page, "(frames) => page.views[0].frames > frames", frames)
    pictures.add(page.evaluate(PICTURE))
    if len(pictures) != 4:
        wrong.append(f"{len(pictures)} of 4 pictures differ: scrubbing or the sliders' preview does not work")
    page.context.close()
    return wrong + page.faults


def leave(browser, url: str) -> list[str]:
    """A closed tab ends its work within the time that a reload may take."""
    page = visit(browser, url)
    page.locator("[name=audio]").nth(2).check()
    page.evaluate("() => { document.querySelector('[name=steps]').value = 100 }")
    page.click("#make")
    page.wait_for_function("() => page.token.length === 32", timeout=20_000)
    token = page.evaluate("() => page.token")
    page.context.close()
    state = ""
    for _ in range(30):
        time.sleep(2)
        state = json.load(urllib.request.urlopen(f"{url}/api/takes/{token}", timeout=10))["state"]
        if state not in ("waiting", "working"):
            break
    return [] if state == "stopped" else [f"a closed tab's take is {state}"]


def refusals(url: str) -> list[str]:
    """Addresses that must not answer with a file, and a take of files that were not uploaded."""
    wrong = []
    for path in FORBIDDEN:
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(url + path, timeout=10)
            wrong.append(f"{path} was answered")
    for audio in ("/etc/passwd", "../LICENSE", "0" * 32):
        body, head = json.dumps({"audio": audio}).encode(), {"Content-Type": "application/json"}
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(f"{url}/api/takes", body, head), timeout=10)
            wrong.append(f"speech {audio} was taken")
    return wrong


def picture(browser, url: str, path: Path) -> list[str]:
    """The picture of README: a finished take on a wide screen, and on a phone in the dark -> nothing."""
    from PIL import Image

    page = visit(browser, url, 1280, 900)
    page.select_option("[name=identity]", "female_young")
    page.select_option("[name=emotion]", "happy")
    page.click("#make")
    wait(page, FINISHED)
    token, shots = page.evaluate("() => page.token"), []
    phone = visit(browser, url, 390, 900, "dark")
    phone.goto(f"{url}/#{token}")
    wait(phone, FINISHED)
    for seen, yaw in ((page, -0.35), (phone, 0.3)):
        seen.evaluate(
            "() => { const sound = document.querySelector('#sound'); sound.pause(); sound.currentTime = 1.5 }"
        )
        seen.evaluate("(yaw) => { page.views[0].yaw = yaw; scrollTo(0, 0) }", yaw)
        time.sleep(1.5)
        shots.append(Image.open(io.BytesIO(seen.screenshot())))
    sheet = Image.new("RGB", (sum(shot.width for shot in shots) + 20, 900), "white")
    sheet.paste(shots[0], (0, 0))
    sheet.paste(shots[1], (shots[0].width + 20, 0))
    sheet.save(path, quality=88)
    return []


@dataclass(frozen=True)
class VisitFlags:
    """All flags."""

    speech: Path = required()
    """wav that the microphone hears."""
    output: Path | None = flag(None, "-o")
    """Folder for screenshots."""
    picture: Path | None = None
    """File for the picture of README."""


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(VisitFlags, argv, __doc__)
    if not flags.speech.is_file():
        raise UserError(f"--speech {flags.speech}: no such wav")
    if flags.output is not None:
        flags.output.mkdir(parents=True, exist_ok=True)
    failed = False
    with server() as url, chromium(flags.speech) as browser:
        for name, found in (
            ("looks and axe-core", look(browser, url, flags.output)),
            ("keyboard", by_keyboard(browser, url)),
            ("microphone, reload, preview", speak_and_reload(browser, url)),
            ("closed tab", leave(browser, url)),
            ("refusals", refusals(url)),
            *([("picture", picture(browser, url, flags.picture))] if flags.picture is not None else []),
        ):
            print(f"{name}: {'; '.join(found) or 'no finding'}")
            failed |= bool(found)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
