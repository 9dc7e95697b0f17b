"""The page's address for phones in the same network, and its QR code."""

from __future__ import annotations

import io
import socket

ANYWHERE = ("0.0.0.0", "::")  # addresses that mean all of this machine's


def address(host: str, port: int) -> str | None:
    """http address at which other machines reach the page; None if it listens to this machine only."""
    if host.startswith("127.") or host in ("localhost", "::1"):
        return None
    if host in ANYWHERE:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; the system says which of its addresses it would use
                host = probe.getsockname()[0]
            except OSError:
                return None
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def qr_code(text: str) -> str:
    """An svg of the text's QR code, dark on white."""
    import segno

    data = io.BytesIO()
    segno.make(text, micro=False).save(data, kind="svg", scale=4, border=3, light="white", xmldecl=False)
    return data.getvalue().decode()
