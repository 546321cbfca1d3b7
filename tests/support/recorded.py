"""The golden files of providers' wires as replies of a scripted upstream."""

from pathlib import Path

from .scripted_upstream import Reply

_FOLDER = Path(__file__).parent.parent / "dialects" / "golden"


def recorded(name: str, status: int = 200, **headers: str) -> Reply:
    """A header's name has ``_`` for ``-``."""
    kind = "text/event-stream" if name.endswith(".sse") else "application/json"
    named = {header.replace("_", "-"): value for header, value in headers.items()}
    return Reply((_FOLDER.joinpath(name).read_bytes(),), status, kind, named)
