"""Fetching a file from a web address, resumed where an earlier pull stopped."""

from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from interlingua.errors import ModelFileError

from .sources import CHUNK_BYTES, Fetched, Progress, require_space

SILENCE_S = 60.0


def from_url(url: str, target: Path, progress: Progress) -> Fetched:
    """Write the file to ``target``.

    A part is continued only if the server tagged it and still has the same tag, so two
    versions of a file are never joined.

    Raises:
        ModelFileError: it can't be had; names the address, the cause and the remedy.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ModelFileError(f"{url} can't be fetched: only http and https addresses can")
    part, tag = target.with_name(target.name + ".part"), target.with_name(target.name + ".tag")
    try:
        with httpx2.Client(follow_redirects=True, timeout=SILENCE_S) as client:
            _stream(client, url, part, tag, progress=progress)
    except httpx2.HTTPError as error:
        raise ModelFileError(
            f"{url} can't be fetched ({type(error).__name__}: {error}): check the address and "
            "the network, and pull again; what is there is kept"
        ) from error
    part.replace(target)
    tag.unlink(missing_ok=True)
    return Fetched(origin=url)


def _stream(client: httpx2.Client, url: str, part: Path, tag: Path, *, progress: Progress) -> None:
    headers = {"accept-encoding": "identity"}
    start = part.stat().st_size if part.is_file() and tag.is_file() else 0
    if start:
        headers |= {"range": f"bytes={start}-", "if-range": tag.read_text("utf-8")}
    with client.stream("GET", url, headers=headers) as reply:
        if reply.status_code == 416:
            part.unlink(missing_ok=True)
            raise ModelFileError(f"{url}: what is there can't be continued: pull again")
        if reply.status_code not in (200, 206):
            raise ModelFileError(
                f"{url} can't be fetched: the server answered {reply.status_code} "
                f"{reply.reason_phrase}; check the address"
            )
        done = start if reply.status_code == 206 else 0
        length = reply.headers.get("content-length", "")
        total = done + int(length) if length.isdecimal() else None
        require_space(part.parent, (total or 0) - done, url)
        _keep_tag(reply.headers.get("etag", ""), tag)
        with part.open("ab" if done else "wb") as out:
            for chunk in reply.iter_bytes(CHUNK_BYTES):
                out.write(chunk)
                done += len(chunk)
                progress(done, total, url)
    if total is not None and done != total:
        raise ModelFileError(f"{url} broke off after {done} of {total} bytes: pull again")


def _keep_tag(etag: str, path: Path) -> None:
    """Only a strong tag names exact bytes (RFC 9110, 8.8.1)."""
    if etag.startswith('"'):
        path.write_text(etag, encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
