"""The pages for people and tools: ``/docs`` and ``/openapi.json``.

Rules of this file:
- They say nothing of this server's models and keys, so that they may be open.
- The page loads nothing from anywhere else: its policy allows its own script and style, and
  calls to this server.
"""

import re
import secrets
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import msgspec

_HERE = Path(__file__).parent
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?")
_NONCE = b"{{nonce}}"


def openapi(headers: Mapping[str, str]) -> bytes:
    """The OpenAPI document, with the address that it was asked for at."""
    document: dict[str, object] = msgspec.json.decode((_HERE / "openapi.json").read_bytes())
    information = document["info"]
    assert isinstance(information, dict)
    host = headers.get("host", "")
    scheme = "https" if headers.get("x-forwarded-proto") == "https" else "http"
    here = f"{scheme}://{host}" if _HOST.fullmatch(host) else "/"
    return msgspec.json.encode(
        document
        | {"info": {**information, "version": version("interlingua")}, "servers": [{"url": here}]}
    )


def docs() -> tuple[Mapping[str, str], bytes]:
    """Headers and body of the page that shows the document, and lets one try it."""
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }
    return headers, (_HERE / "docs.html").read_bytes().replace(_NONCE, nonce.encode("ascii"))
