"""A talking head for other programs: audio in, timed face values out, over a WebSocket.

python -m web.serve                                   # ws://127.0.0.1:8765, this machine only
python -m web.serve --host 0.0.0.0 --token SECRET     # other machines, with a token
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.generation.live import LiveConfig
from utils.config import check_least, read_flags
from utils.devices import PRECISION_SPELLINGS, PRECISIONS
from utils.errors import UserError, cli
from utils.reports.wording import counted
from web.addresses import is_loopback, listener, url

if TYPE_CHECKING:
    from web.live.limits import Limits
    from web.live.senders import FrameSink
    from web.live.service import Service

TOKEN_VARIABLE = "DIFFPOSETALK_TOKEN"
OTHERS = 48  # connections that have not started a session
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class ServeFlags:
    """All flags of the program."""

    exp_name: str = "embedded-fast"
    """Experiment in experiments/DPT, or a prefix of it."""
    host: str = "127.0.0.1"
    """Address to listen on (default: this machine only); others need a token."""
    port: int = 8765
    """Port to listen on; 0: any."""
    token: str = ""
    """What clients must know; better in the environment variable DIFFPOSETALK_TOKEN."""
    device: str = "auto"
    """cuda, cpu or auto."""
    hop: float = 0.2
    """Seconds of motion generated at once, 0.04 to 1: longer hops are cheaper and later."""
    look_ahead: float = 0.04
    """Seconds of audio to wait for beyond a hop."""
    short: int | None = None
    """Frames that the network sees of a hop: fewer cost less (default: 25)."""
    precision: str = "fp32"
    """Of the network on a GPU: fp32, tf32, bf16 or fp16."""
    livelink: str = ""
    """Also send frames as the Live Link Face app does, to HOST or HOST:PORT (default port: 11111)."""
    vmc: str = ""
    """Also send the first session's frames by the VMC protocol, to HOST or HOST:PORT (default port: 39539)."""
    ndjson: str = ""
    """Also write frames as lines of JSON to this file, or to standard output (-)."""
    max_sessions: int = 16
    """Sessions at once."""
    front_ends: int = 0
    """Processes that hold the clients, about one for 60 sessions (default: none beside the one that computes)."""
    max_seconds: float = 3600
    """Length of a session in seconds."""
    max_message: int = 1 << 20
    """Bytes of a message."""

    def check(self) -> None:
        """Raises UserError: a number out of range, or an open door without a token."""
        check_least(self, max_sessions=1, max_message=1024, front_ends=0)
        if not self.max_seconds > 0:
            raise UserError(f"--max_seconds {self.max_seconds:g}: must be above 0")
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port {self.port}: must lie between 0 and 65535")
        if not is_loopback(self.host) and not self.secret:
            raise UserError(f"--host {self.host}: lets other machines in; give a --token, or set {TOKEN_VARIABLE}")
        if PRECISION_SPELLINGS.get(self.precision, self.precision) not in PRECISIONS:
            raise UserError(f"--precision {self.precision}: must be one of {', '.join(PRECISIONS)}")
        if self.hop > 1:
            raise UserError(f"--hop {self.hop:g}: must lie between 0.04 and 1")
        if self.ndjson and self.front_ends:
            raise UserError("--ndjson: needs --front_ends 0, since one process writes the file")
        self.live()

    @property
    def secret(self) -> str | None:
        return self.token or os.environ.get(TOKEN_VARIABLE) or None

    def live(self) -> LiveConfig:
        """Raises UserError: a hop or look-ahead that cannot be."""
        return LiveConfig(hop=self.hop, first_hop=self.hop, look_ahead=self.look_ahead, short=self.short, catch_up=True)

    def limits(self) -> Limits:
        from web.live.limits import Limits

        return Limits(self.secret, self.max_seconds, self.max_message, self.max_sessions + OTHERS)

    def sinks(self) -> list[FrameSink]:
        """Raises UserError: an address or a file that cannot be used."""
        from web.live.senders import LineSender, LiveLinkSender, VmcSender

        flags = ((self.livelink, LiveLinkSender), (self.vmc, VmcSender), (self.ndjson, LineSender))
        return [make(value) for value, make in flags if value]


async def run(flags: ServeFlags, service: Service) -> None:
    """Serve until a signal comes.

    Raises:
        UserError: the port is taken.
    """
    from web.live.server import running

    service.sinks = flags.sinks()
    stop = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with running(service, flags.host, flags.port, flags.limits()) as server:
            say_ready(flags, server.sockets[0].getsockname()[1])
            await stop.wait()
    except OSError as error:
        raise UserError(
            f"--port {flags.port}: cannot listen on {flags.host} ({error.strerror}); choose another"
        ) from error


def run_hub(flags: ServeFlags, service: Service) -> None:
    """The same with front ends."""
    from web.live.hub import FrontEndConfig, Hub

    flags.sinks()  # here as well, so that a wrong address is told in one line
    listening = listener(flags.host, flags.port)
    hub = Hub(service, flags.front_ends, FrontEndConfig(listening, flags.limits(), flags.max_sessions, flags.sinks))
    for number in _SIGNALS:
        signal.signal(number, lambda *_: hub.stop())
    hub.run(lambda: say_ready(flags, listening.getsockname()[1]))


def say_ready(flags: ServeFlags, port: int) -> None:
    print(f"ready: {url('ws', flags.host, port)}, {counted(flags.max_sessions, 'session')}; health: "
          f"{url('http', flags.host, port)}/health", file=sys.stderr, flush=True)  # fmt: skip


@cli
def main(argv: list[str] | None = None) -> None:
    flags = read_flags(ServeFlags, argv, (__doc__ or " ").splitlines()[0])
    try:
        import jsonschema  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise UserError("the server needs websockets: pip install -r requirements-web.txt, or `make live`") from error
    from web.live.service import Service

    service = Service.open(flags.exp_name, flags.device, flags.live(), flags.max_sessions, flags.precision)
    if flags.front_ends:
        run_hub(flags, service)
    else:
        asyncio.run(run(flags, service))


if __name__ == "__main__":
    main()
