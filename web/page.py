"""The web demo's routes: the page, visitors' files, takes and their progress."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from models.mixing.recipes import EMOTIONS
from utils.errors import UserError
from utils.rendering.looks import HAIR, LOOKS, SKINS
from web.addresses import qr_code
from web.desk import Desk, Job
from web.folders import Uploads, sweep
from web.requests import POLICY, application, values_of
from web.scene import scene
from web.service import WELCOME, Studio
from web.visitor_files import MAX_SECONDS, MAX_VIDEO_SECONDS, style_files
from web.wardrobe import OF_THE_HEAD
from web.wish import (
    DOWNLOADS,
    EXAMPLES,
    MAX_BUILD,
    MAX_GUIDANCE,
    MAX_SEED,
    MAX_STEPS,
    NO_EMOTION,
    Wish,
    kind_of,
    wish_of,
    word,
    words,
)

log = logging.getLogger(__name__)
STATIC = Path(__file__).parent / "static"
KEEP_SECONDS, SWEEP_SECONDS = 3600, 300
MAX_UPLOAD = 30_000_000  # bytes
LOOK_SECONDS, BEAT_SECONDS = 0.1, 10.0  # between two looks at a job's progress; between two signs of life


class Page:
    """The web application around a studio and its queue."""

    def __init__(self, studio: Studio, desk: Desk, uploads: Uploads, address: str | None = None) -> None:
        """`address`: at which phones in the network reach the page."""
        self.studio, self.desk, self.uploads, self.address = studio, desk, uploads, address
        self.stage = scene(studio.flame)
        self.ending: Callable[[], bool] = lambda: False  # whether the server is about to stop

    def app(self, host: str) -> Starlette:
        """`host`: the address that it will listen to."""
        routes = [
            Route("/", self.index),
            Route("/stage.json", lambda _: JSONResponse(self.stage)),
            Route("/phone.svg", self.phone),
            Route("/api/uploads", self.upload, methods=["POST"]),
            Route("/api/takes", self.submit, methods=["POST"]),
            Route("/api/takes/{token}", self.status, methods=["GET"]),
            Route("/api/takes/{token}", self.stop, methods=["DELETE"]),
            Route("/api/takes/{token}/events", self.events),
            Route("/api/takes/{token}/head", self.preview, methods=["POST"]),
            Route("/take/{token}/{name}", self.file),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        return application(routes, host)

    @cached_property
    def html(self) -> str:
        """The page; all its text and choices are in it, the script only fills in results."""
        environment = Environment(loader=FileSystemLoader(STATIC), autoescape=True, trim_blocks=True,
                                  lstrip_blocks=True)  # fmt: skip
        usual, names = self.studio.usual_style, self.studio.style_names()
        default = Wish(None, style=usual if usual in names else names[0])
        limits = {"guidance": MAX_GUIDANCE, "steps": MAX_STEPS, "seed": MAX_SEED, "build": MAX_BUILD,
                  "seconds": MAX_SECONDS, "upload": MAX_UPLOAD, "video": MAX_VIDEO_SECONDS}  # fmt: skip
        return environment.get_template("index.html").render(
            default=default, limits=limits, examples=EXAMPLES, styles=words(names),
            heads=words(self.studio.identity_names()), looks=words(list(LOOKS)), hair=words([OF_THE_HEAD, *HAIR]),
            skins=words([OF_THE_HEAD, *SKINS]), motion_files=",".join(style_files()), address=self.address,
            welcome=WELCOME, emotions=words([NO_EMOTION, *EMOTIONS]),
        )  # fmt: skip

    async def index(self, request: Request) -> Response:
        return HTMLResponse(self.html, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})

    async def phone(self, request: Request) -> Response:
        if self.address is None:
            raise HTTPException(404)
        return Response(qr_code(self.address), media_type="image/svg+xml")

    async def upload(self, request: Request) -> Response:
        """The body is the file; other sites' pages cannot send this type without being asked first."""
        if request.headers.get("content-type") != "application/octet-stream":
            raise HTTPException(415)
        size, name = 0, request.query_params.get("name", "")
        with self.uploads.receive(name, MAX_UPLOAD) as path, path.open("wb") as file:
            async for piece in request.stream():
                size += len(piece)
                if size > MAX_UPLOAD:
                    raise UserError(f"{path.name}: larger than {MAX_UPLOAD / 1e6:g} MB; cut it or save it as mp3")
                file.write(piece)
        return JSONResponse({"upload": path.parent.name})

    async def submit(self, request: Request) -> Response:
        job = self.desk.submit(wish_of(await values_of(request), self.uploads))
        return JSONResponse(self._status(job))

    def _job(self, request: Request) -> Job:
        job = self.desk.find(request.path_params["token"])
        if job is None:
            raise HTTPException(404)
        return job

    def _status(self, job: Job) -> dict[str, Any]:
        """What the page shows of a take, with the files it may offer by now."""
        status = self.desk.status(job)
        take = partial(self.studio.served, job.token)
        status["heads"] = [name for name in ("take.glb", "take_2.glb") if "head" in status["ready"] and take(name)]
        if job.wish.other is not None:
            status["labels"] = [word(job.wish.style), word(job.wish.other)]
        if job.take is not None:
            status["files"] = _described(job.take.downloads())
        return status

    async def status(self, request: Request) -> Response:
        if request.path_params["token"] == WELCOME:
            return JSONResponse({"token": WELCOME, "state": "done", "ready": ["head"], "heads": ["take.glb"]})
        return JSONResponse(self._status(self._job(request)))

    async def stop(self, request: Request) -> Response:
        self.desk.stop(self._job(request).token)
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """Every change of a take, as server-sent events. Whoever stops listening gives it up after a while."""
        return StreamingResponse(self._changes(self._job(request)), media_type="text/event-stream",
                                 headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # fmt: skip

    async def _changes(self, job: Job) -> AsyncIterator[str]:
        job.watch(1)
        try:
            last, quiet = "", 0.0
            while True:
                over, text = job.over, json.dumps(self._status(job))  # in this order: the last status is sent
                if text != last:
                    yield f"data: {text}\n\n"
                elif quiet > BEAT_SECONDS:
                    yield ": waiting\n\n"
                quiet = quiet + LOOK_SECONDS if text == last and quiet <= BEAT_SECONDS else 0.0
                last = text
                if over or self.ending():
                    return
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            job.watch(-1)

    async def preview(self, request: Request) -> Response:
        wish = wish_of(await values_of(request), self.uploads)
        glb = await run_in_threadpool(self.studio.preview, request.path_params["token"], wish)
        return Response(glb, media_type="model/gltf-binary")

    async def file(self, request: Request) -> Response:
        token, name = request.path_params["token"], request.path_params["name"]
        path = self.studio.served(token, name)
        if path is None:
            raise HTTPException(404)
        shown = "inline" if "shown" in request.query_params else "attachment"
        return FileResponse(path, filename=name, content_disposition_type=shown)

    def sweeping(self, stop: threading.Event) -> None:
        """Remove old results, uploads and jobs until `stop`."""
        while not stop.wait(SWEEP_SECONDS):
            try:
                for folder in (self.studio.results, self.uploads.parent):
                    sweep(folder, KEEP_SECONDS)
                self.desk.forget(KEEP_SECONDS)
            except Exception:
                log.exception("sweeping failed; it is tried again in %d s", SWEEP_SECONDS)


def _described(paths: list[Path]) -> list[dict[str, Any]]:
    """The downloads in the page's order, each with its group, its name and what it is good for."""
    found = []
    for path in paths:
        kind = kind_of(path)
        if kind is not None:
            second = path.name.startswith("take_2")
            found.append({"name": path.name, "group": kind.group, "title": kind.title + ", second style" * second,
                          "purpose": kind.purpose, "bytes": path.stat().st_size,
                          "order": (DOWNLOADS.index(kind), second)})  # fmt: skip
    return sorted(found, key=lambda one: one["order"])
