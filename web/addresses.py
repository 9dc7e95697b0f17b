"""Addresses of the servers: whether they are this machine's only, how they are printed, and the QR code for phones."""

from __future__ import annotations

import io
import ipaddress
import socket
from urllib.parse import urlsplit

from utils.errors import UserError

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # all of this machine's addresses -> one that it can open


def is_loopback(host: str | None) -> bool:
    """Whether a host name or address is this machine's only."""
    try:
        return host is not None and (host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """As it stands in URLs and Host headers."""
    return f"[{host}]" if ":" in host else host


def url(scheme: str, host: str, port: int) -> str:
    """At which this machine opens a server that listens to `host`."""
    return f"{scheme}://{bracketed(ANYWHERE.get(host, host))}:{port}"


def address(host: str, port: int) -> str | None:
    """http address at which other machines reach the page; None if it listens to this machine only."""
    if is_loopback(host):
        return None
    if host in ANYWHERE:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; the system says which of its addresses it would use
                host = probe.getsockname()[0]
            except OSError:
                return None
    return url("http", host, port)


def listener(host: str, port: int) -> socket.socket:
    """A server's socket, opened before anything is loaded; uvicorn would find a taken port after that, and exit with 3.

    Raises:
        UserError: the port is taken or is no port, or the address is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise UserError(f"--port {port}: must lie between 0 and 65535")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        raise UserError(f"--port {port}: cannot listen on {host} ({reason}); choose another") from error


def qr_code(text: str) -> str:
    """An svg of the text's QR code, dark on white."""
    import segno

    data = io.BytesIO()
    segno.make(text, micro=False).save(data, kind="svg", scale=4, border=3, light="white", xmldecl=False)
    return data.getvalue().decode()


def is_local_origin(origin: str) -> bool:
    """Whether a page comes from a server of this machine; `null` (a file, a sandboxed frame) may be anyone's."""
    try:
        return is_loopback(urlsplit(origin).hostname)
    except ValueError:
        return False
