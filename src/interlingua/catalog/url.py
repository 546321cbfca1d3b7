"""Fetching a file from a web address, resumed where an earlier pull stopped.

What there is so far is in ``NAME.part``; ``NAME.tag`` says of which version of the file. Two
versions are never joined.
"""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import msgspec

from interlingua.errors import ModelFileError

from .programs import Progress
from .sources import Fetched, require_space

SILENCE_S = 60.0


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """One file on the web."""

    url: str
    #: What a user knows it as.
    what: str
    headers: Mapping[str, str] = {}
    #: Names its exact bytes, where that is known beforehand; else the server's tag does.
    version: str | None = None


def from_url(url: str, target: Path, progress: Progress) -> Fetched:
    """Write the file to ``target``.

    Raises:
        ModelFileError: it can't be had; names the address, the cause and the remedy.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ModelFileError(f"{url} can't be fetched: only http and https addresses can")
    download(Download(url=url, what=url), target, progress)
    return Fetched(origin=url)


def download(file: Download, target: Path, progress: Progress) -> None:
    """Write the file to ``target``; a part of the same version is continued.

    Raises:
        ModelFileError: it can't be had; names the file, the cause and the remedy.
    """
    part, tag = target.with_name(target.name + ".part"), target.with_name(target.name + ".tag")
    try:
        with httpx2.Client(follow_redirects=True, timeout=SILENCE_S) as client:
            _stream(client, file, part, tag, progress=progress)
    except httpx2.HTTPError as error:
        raise ModelFileError(
            f"{file.what} can't be fetched ({type(error).__name__}: {error}): check the address "
            "and the network, and pull again; what is there is kept"
        ) from error
    part.replace(target)
    tag.unlink(missing_ok=True)


def _stream(
    client: httpx2.Client, file: Download, part: Path, tag: Path, *, progress: Progress
) -> None:
    wanted = _range(file, part, tag)
    headers = {"accept-encoding": "identity", **file.headers, **wanted}
    with client.stream("GET", file.url, headers=headers) as reply:
        if reply.status_code == 416:
            part.unlink(missing_ok=True)
            raise ModelFileError(f"{file.what}: what is there can't be continued: pull again")
        if reply.status_code not in (200, 206):
            raise ModelFileError(
                f"{file.what} can't be fetched: the server answered {reply.status_code} "
                f"{reply.reason_phrase}; check the address"
            )
        done = part.stat().st_size if wanted and reply.status_code == 206 else 0
        length = reply.headers.get("content-length", "")
        total = done + int(length) if length.isdecimal() else None
        require_space(part.parent, (total or 0) - done, file.what)
        _keep_tag(file.version or reply.headers.get("etag") or "", tag)
        with part.open("ab" if done else "wb") as out:
            for chunk in reply.iter_raw():
                out.write(chunk)
                done += len(chunk)
                progress(done, total, file.what)
    if total is not None and done != total:
        raise ModelFileError(f"{file.what} broke off after {done} of {total} bytes: pull again")


def _range(file: Download, part: Path, tag: Path) -> dict[str, str]:
    """The headers that ask for the rest, if what is there may be continued."""
    start = part.stat().st_size if part.is_file() and tag.is_file() else 0
    if not start:
        return {}
    kept = tag.read_text("utf-8")
    if file.version is None:
        return {"range": f"bytes={start}-", "if-range": kept}
    return {"range": f"bytes={start}-"} if kept == file.version else {}


def _keep_tag(version: str, path: Path) -> None:
    """Of a server's tags only a strong one names exact bytes (RFC 9110, 8.8.1)."""
    if version and not version.startswith("W/"):
        path.write_text(version, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
