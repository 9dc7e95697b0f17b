"""What the pages share: JSON in, one-line errors out, and nothing from or for other hosts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from utils.errors import UserError
from web.addresses import bracketed, is_loopback

MAX_REQUEST = 10_000  # bytes
# The page loads nothing from elsewhere, and no other page may frame it.
POLICY = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; frame-ancestors 'none'"


def application(routes: Sequence[BaseRoute], host: str) -> Starlette:
    """The application of a page that listens to `host`. One for this machine only does not answer to other names, which
    another site may let point to this machine (DNS rebinding)."""
    names = ["localhost", "127.0.0.1", "[::1]", bracketed(host)]
    guard = [Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)] if is_loopback(host) else []
    return Starlette(routes=routes, middleware=guard, exception_handlers={UserError: told})


async def told(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": " ".join(str(error).split())}, 400)


async def values_of(request: Request) -> dict[str, Any]:
    """The request's JSON object.

    Raises:
        UserError: it is something else.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_REQUEST:
            raise HTTPException(413)
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UserError("request: is not JSON; reload the page") from error
    if request.headers.get("content-type") != "application/json" or not isinstance(values, dict):
        raise UserError("request: is not a JSON object; reload the page")
    return values
