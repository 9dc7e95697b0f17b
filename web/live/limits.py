"""Who may use the live server, and how much of it; the codes that a refused client's connection is closed with."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from websockets.http11 import Request

from web.addresses import is_local_origin

BAD, NO_TOKEN, FOREIGN, TOO_LATE, FULL, TOO_SLOW = 4400, 4401, 4403, 4408, 4429, 4430  # close codes
GOING_AWAY, BROKEN = 1001, 1011


class Refused(Exception):
    """Ends a connection with a message and a close code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Limits:
    """What a client may do."""

    token: str | None = None
    """That every client must give; None: those of this machine need none."""
    seconds: float = 3600
    """Length of a session."""
    message: int = 1 << 20
    """Bytes of a message."""
    connections: int = 64
    """At once, with those that have not started a session."""

    def check_origin(self, request: Request) -> None:
        """A page of another site must not use this machine's server behind its visitor's back.

        Raises:
            Refused: it is such a page, and there is no token.
        """
        foreign = [origin for origin in request.headers.get_all("Origin") if not is_local_origin(origin)]
        if foreign and self.token is None:
            raise Refused(FOREIGN, f"origin: pages of {foreign[0][:80]} need a token; start the server with --token")

    def check_token(self, request: Request, told: object) -> None:
        """The token may come in start (`told`), as ?token= or as `Authorization: Bearer`.

        Raises:
            Refused: it is wrong or missing.
        """
        asked = parse_qs(urlsplit(request.path).query).get("token", [""])[0]
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = (told if isinstance(told, str) else "") or asked or bearer
        if self.token is not None and not hmac.compare_digest(given.encode(errors="replace"), self.token.encode()):
            raise Refused(NO_TOKEN, "token: wrong or missing; ask who started the server")
