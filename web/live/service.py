"""The model and its sessions: opens them, and computes the windows of all of them in batches on one thread."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from models.app.bundled import DEFAULT_STYLE, bundled_shapes
from models.app.sampling_flags import own_sampling
from models.app.style_files import StyledTalker, encoder_of
from models.diffusion.guidance import OWN_SCALES
from models.fast.engine import Engine, EngineConfig
from models.generation.live import LIVE_STEPS, LiveConfig, LiveTalker, next_pieces
from models.generation.style_extractor import StyleExtractor
from models.generation.windows import WindowGenerator
from models.networks.person import Person
from utils.errors import UserError
from utils.motion_file import load_style
from utils.timebase import SAMPLE_RATE
from web.live.rig import ArkitRig
from web.live.senders import FrameSink
from web.live.session import Session
from web.live.styles import style_of_motion

log = logging.getLogger(__name__)
POLL = 0.004  # seconds between two looks for something to compute
# Windows at once. A processor takes as long for two as for one and one; a GPU has graphs of these sizes ready.
BATCHES = {"cpu": (2,), "cuda": (1, 16, 32, 48, 64, 96, 128)}
MAX_GUIDANCES = 4  # kept ready; each is a copy of the network's prepared weights
Seat = TypeVar("Seat", bound="Seated")
MAX_HOP = 1.0
PIECE_SECONDS = 1.9  # of audio that is given to a talker at most: see `PIECE` in session.py
SHORT, HEARD = (25, 50)  # frames that the network and the audio encoder see of a hop: docs/live_protocol.md, Delay


@dataclass(frozen=True)
class SessionConfig:
    """How a session speaks; see protocol.schema.json."""

    style: Any = None
    identity: str = "average"
    guidance: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    hop: float | None = None


class Full(UserError):
    """There are as many sessions as there may be."""


class Seated(Protocol):
    """A session, or what the model's process knows of one."""

    talker: LiveTalker
    slot: int  # number among the sessions


@dataclass
class Service(StyledTalker):
    """A loaded model of the open head, and its sessions."""

    usual_style: str
    live: LiveConfig
    max_sessions: int = 16
    precision: str = "fp32"
    sessions: set[Seated] = field(default_factory=set)
    sinks: list[FrameSink] = field(default_factory=list)
    windows: int = 0  # computed so far
    _own: set[Session[LiveTalker]] = field(default_factory=set)  # those that this process shows
    _generators: dict[tuple[tuple[str, float], ...], WindowGenerator] = field(default_factory=dict)
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _side: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    @classmethod
    def open(cls, exp_name: str, device: str, live: LiveConfig, max_sessions: int, precision: str = "fp32") -> Service:
        """Load a model; live.short: None for `SHORT`.

        Raises:
            UserError: no such experiment, or a model without style input or for FLAME's head.
        """
        loaded, usual = StyledTalker.load(exp_name, device, "server"), Path(DEFAULT_STYLE).stem
        service = cls(**vars(loaded), usual_style=usual, live=live, max_sessions=max_sessions, precision=precision)
        gc.collect()
        gc.freeze()  # the collector need not look through what stays: that takes 0.1 s, in which all sessions stand
        service.warm_up()
        return service

    @cached_property
    def rig(self) -> ArkitRig:
        return ArkitRig(self.flame.head)

    @cached_property
    def extractor(self) -> StyleExtractor:
        """Of styles from motions; read when it is first needed."""
        return encoder_of(self.animator)

    @property
    def names(self) -> list[str]:
        """Of the head's expressions."""
        return list(self.flame.head.exp_names or ())

    def warm_up(self) -> None:
        """Prepare weights, and graphs of all batches, before the first visitor comes."""
        for seconds in (PIECE_SECONDS, 0.5):
            for size in sorted({1, *self.batches}, reverse=True):
                talkers = [self.talker(SessionConfig()) for _ in range(size)]
                for talker in talkers:
                    talker.hear(np.zeros(round(seconds * SAMPLE_RATE), np.float32))
                next_pieces(talkers)
        _ = self.animator.spans.silence, self.rig

    @property
    def batches(self) -> tuple[int, ...]:
        return BATCHES[self.animator.model.device.type]

    async def enter(self, config: SessionConfig) -> Session[LiveTalker]:
        """A new session; `leave` ends it.

        Raises:
            Full: there are as many as there may be.
            UserError: the configuration names what does not exist.
        """
        self.check_free()
        if isinstance(config.style, dict):  # the encoder's work must not delay other sessions' frames
            config = await self.in_background(self.settled, config)
        session = self.seat(Session(self.talker(config), self.names, config.seed))
        self._own.add(session)
        return session

    def settled(self, config: SessionConfig) -> SessionConfig:
        """The configuration with its style as numbers. Raises UserError."""
        return replace(config, style=self.person(config).style)

    def seat(self, session: Seat) -> Seat:
        """Give a session the first free number. Raises Full."""
        self.check_free()
        session.slot = min(set(range(1, self.max_sessions + 1)) - {one.slot for one in self.sessions})
        self.sessions.add(session)
        return session

    @property
    def occupied(self) -> int:
        """Sessions now."""
        return len(self.sessions)

    def check_free(self) -> None:
        """Raises Full."""
        if self.occupied >= self.max_sessions:
            raise Full(f"server: all {self.max_sessions} sessions are taken; try again later")

    def leave(self, session: Any) -> None:
        """A session has ended."""
        self.sessions.discard(session)
        self._own.discard(session)

    async def restyle(self, session: Session[LiveTalker], config: SessionConfig) -> None:
        """Let a session speak on in another style. Raises UserError."""
        session.talker.change_person(await self.in_background(self.person, config))

    def person(self, config: SessionConfig) -> Person[np.ndarray]:
        """The identity and the style of a session.

        Raises:
            UserError: an unknown name, or a style that cannot be used.
        """
        shapes = bundled_shapes()
        if config.identity not in shapes:
            raise UserError(f"identity: {config.identity!r} is not a choice; use one of {', '.join(shapes)}")
        return Person(shapes[config.identity], self._style(config.style))

    async def compute(self) -> None:
        """Generate what the sessions need, the most urgent first, until this task is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = self._batch()
            if not batch:
                await asyncio.sleep(POLL)
                continue
            try:
                motions = await loop.run_in_executor(self._thread, next_pieces, [one.talker for one in batch])
            except Exception:  # one session's numbers must not end the others
                log.exception("a batch of %d windows failed; their sessions are interrupted", len(batch))
                for session in batch:
                    session.busy = False
                    session.interrupt()
                continue
            self.windows += len(batch)
            for session, motion in zip(batch, motions):
                session.take(motion)

    def aside(self, work: Callable[[], None]) -> None:
        """Run slow work on a separate thread."""
        self._side.submit(work)

    async def in_background(self, work, *args):
        """Run slow work on a thread of its own, so that frames stay in time."""
        return await asyncio.get_running_loop().run_in_executor(self._side, work, *args)

    def _batch(self) -> list[Session[LiveTalker]]:
        """Sessions of one generator whose next pieces are computed now."""
        batch = self.batch(sorted((one for one in self._own if one.prepare()), key=lambda one: one.deadline))
        for session in batch:
            session.busy = True
        return batch

    def batch(self, ready: list[Seat]) -> list[Seat]:
        """Those of sessions in order that are computed now: as many as fit with the first one."""
        return [one for one in ready if one.talker.sample.generator is ready[0].talker.sample.generator][
            : self.batches[-1]
        ]

    def talker(self, config: SessionConfig) -> LiveTalker:
        """Raises UserError: see `enter`."""
        hop = min(config.hop or self.live.hop, MAX_HOP)
        narrow = self.animator.model.config.align_mask_width == 1  # only then a window may be cut
        short = (self.live.short or SHORT) if narrow else None
        live = replace(self.live, hop=hop, first_hop=hop, short=short, heard=HEARD, catch_up=True)
        generator = self._generator(config.guidance)
        return LiveTalker(self.animator, self.person(config), generator.config, live, config.seed, generator)

    def _generator(self, scales: dict[str, float]) -> WindowGenerator:
        """The generator of these guidance scales; sessions of equal scales share it, and so their batches."""
        options = self.animator.model.config
        config = own_sampling(options, options.distilled_steps or LIVE_STEPS, OWN_SCALES | scales)
        config = replace(config, engine=EngineConfig(self.precision, batches=self.batches))
        if not options.distilled_steps:
            config = replace(config, sampler=replace(config.sampler, name="ddim"))
        usual, key = (tuple(sorted((OWN_SCALES | given).items())) for given in ({}, scales))
        if key not in self._generators:
            if len(self._generators) >= MAX_GUIDANCES:
                used = {one.talker.sample.generator for one in self.sessions}
                spare = [old for old, made in self._generators.items() if made not in used and old != usual]
                if not spare:
                    raise UserError(f"guidance: {MAX_GUIDANCES} other settings are in use; leave it out, or try later")
                del self._generators[spare[0]]
            engine = Engine(self.animator.model, config.guidance, config.engine)
            self._generators[key] = WindowGenerator(self.animator.model, config, engine)
        return self._generators[key]

    def _style(self, style: Any) -> np.ndarray:
        """A style vector (d,) of a bundled name, of its numbers, or of a motion: {npz} or {exp, pose}."""
        size = self.animator.model.config.d_style
        if style is None or isinstance(style, str):
            name = style or self.usual_style
            if name not in self.style_names():
                raise UserError(f"style: {name!r} is not a choice; use one of {', '.join(self.style_names())}")
            return load_style(self.styles / f"{name}.npy", size)
        if isinstance(style, dict):
            return style_of_motion(style, self.extractor)
        numbers = np.array(style, np.float32)
        if numbers.shape != (size,) or not np.isfinite(numbers).all():
            raise UserError(f"style: must be {size} finite numbers, got {numbers.size}")
        return numbers
