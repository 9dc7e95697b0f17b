"""The study's routes. Videos are named by trial and side, so that nothing on the page tells the methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from utils.errors import UserError
from web import page as demo
from web.requests import POLICY, application, values_of
from web.study.plan import QUESTIONS, Plan
from web.study.raters import SIDES, Rater, Raters
from web.study.swapping import swap_sound

STATIC = Path(__file__).parent / "static"
LONGEST = 3600.0  # seconds of one answer that are believed


class StudyPage:
    """The web application of one study."""

    def __init__(self, plan: Plan, raters: Raters, work: Path) -> None:
        """`work`: a folder for the videos of checks."""
        self.plan, self.raters, self.work = plan, raters, work
        template = Environment(loader=FileSystemLoader(STATIC), autoescape=True).get_template("index.html")
        self.html = template.render(title=plan.title, sides=SIDES)

    def app(self, host: str) -> Starlette:
        """`host`: the address that it will listen to."""
        routes = [
            Route("/", self.index),
            Route("/api/raters", self.begin, methods=["POST"]),
            Route("/api/raters/{token}", self.trial, methods=["GET"]),
            Route("/api/raters/{token}", self.answer, methods=["POST"]),
            Route("/video/{token}/{number:int}/{side}", self.video),
            Mount("/static", StaticFiles(directory=demo.STATIC)),
            Mount("/study", StaticFiles(directory=STATIC)),
        ]
        return application(routes, host)

    async def index(self, request: Request) -> Response:
        return HTMLResponse(self.html, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})

    async def begin(self, request: Request) -> Response:
        await values_of(request)
        return self._shown(self.raters.begin())

    def _rater(self, request: Request) -> Rater:
        rater = self.raters.find(request.path_params["token"])
        if rater is None:
            raise HTTPException(404)
        return rater

    def _shown(self, rater: Rater) -> Response:
        """The next trial of a rater, without the names of its methods."""
        number, found = len(rater.answers), {"token": rater.token, "done": rater.done, "total": len(rater.trials)}
        if not rater.done:
            trial = rater.trials[number]
            reference = self.plan.clips[trial.clip].reference is not None and not trial.swapped
            questions = {name: QUESTIONS[name] for name in self.plan.asked(trial)}
            found |= {"number": number, "questions": questions, "reference": reference and "style" in questions}
        return JSONResponse(found)

    async def trial(self, request: Request) -> Response:
        return self._shown(self._rater(request))

    async def answer(self, request: Request) -> Response:
        rater, values = self._rater(request), await values_of(request)
        number, choices, seconds = (values.get(name) for name in ("number", "choices", "seconds"))
        if not isinstance(number, int) or not isinstance(choices, dict) or not isinstance(seconds, int | float):
            raise UserError("answer: is not one to this question; reload the page")
        self.raters.answer(rater, number, choices, float(min(LONGEST, max(0.0, seconds))))  # NaN: 0
        return self._shown(rater)

    async def video(self, request: Request) -> Response:
        """The reference, or one side of a trial."""
        rater, side = self._rater(request), request.path_params["side"]
        number: Any = request.path_params["number"]
        if number >= len(rater.trials) or side not in (*SIDES, "reference"):
            raise HTTPException(404)
        trial = rater.trials[number]
        clip = self.plan.clips[trial.clip]
        path = clip.reference if side == "reference" else clip.videos[getattr(trial, side)]
        if path is not None and side == trial.swapped:
            path = await run_in_threadpool(self._swapped, trial.clip, getattr(trial, side))
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, filename="video" + path.suffix, content_disposition_type="inline")

    def _swapped(self, clip: str, method: str) -> Path:
        """The video of a check, made when it is first asked for."""
        names = list(self.plan.clips[clip].videos)
        out = self.work / f"{list(self.plan.clips).index(clip)}-{names.index(method)}.mp4"
        if not out.is_file():
            swap_sound(self.plan.clips[clip].videos[method], self.plan.wrong_sound(clip), out)
        return out
