"""Where a serving process puts down what each call used: one line, one ``write(2)``.

Rules of this file:
- Serving never waits for a database and never fails for a full disk: what can't be written
  now is kept, within bounds, and written before anything else later.
- One process writes a file, under a lock that ends with it; whoever gets the lock knows that
  nothing more will come.
- A line is whole or it isn't there yet: what a short write left over is written next.
"""

import fcntl
import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from .records import UsageRecord

SUFFIX = ".spool"
#: Then the next file is begun, so that what was moved can be deleted.
_ROTATE_BYTES = 8 * 1024 * 1024
#: Records that wait while nothing can be written: some 30 MB.
_MOST_WAITING = 100_000
_RETRY_S = 1.0

_log = logging.getLogger(__name__)


class Spool:
    """Appends records to a file of its own in ``directory``. For one thread."""

    def __init__(self, directory: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._now = now
        self._encode = msgspec.json.Encoder().encode
        self._descriptor: int | None = None
        self._written = 0
        #: Lines to be written, oldest first; of the first one the beginning may be, if torn.
        self._waiting: deque[bytes] = deque()
        self._torn = False
        self._next_try = 0.0
        self.lost = 0

    @property
    def waiting(self) -> int:
        """Records that couldn't be written yet."""
        return len(self._waiting)

    def caught_up(self) -> bool:
        """Whether nothing waits; what does is tried again where that is due."""
        return not self._waiting or (self._now() >= self._next_try and self.flush())

    def append(self, record: UsageRecord) -> None:
        """Put it down, or keep it until that works again."""
        if len(self._waiting) >= _MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append(self._encode(record) + b"\n")
        if len(self._waiting) == 1 or self._now() >= self._next_try:
            self.flush()

    def flush(self) -> bool:
        """Write what waits; whether nothing waits any more."""
        while self._waiting:
            line = self._waiting[0]
            try:
                count = os.write(self._file(), line)
            except OSError as error:
                return self._failed(error.strerror)
            self._written += count
            if count < len(line):
                self._waiting[0], self._torn = line[count:], True
                return self._failed("only a part of a line could be written")
            self._waiting.popleft()
            self._torn = False
        return True

    def close(self) -> None:
        """Write what waits, once more, and let go of the file. Idempotent."""
        if not self.flush():
            _log.error("%d usage records could not be written.", self.waiting)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _file(self) -> int:
        """The descriptor to write to; a new file's where the old one is long, or there is none."""
        if self._descriptor is None or (self._written > _ROTATE_BYTES and not self._torn):
            descriptor = _begun(self._directory)
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor, self._written = descriptor, 0
        return self._descriptor

    def _failed(self, reason: str | None) -> Literal[False]:
        now = self._now()
        if self._next_try <= now - _RETRY_S:
            _log.error("Usage can't be written to %s (%s); it is kept.", self._directory, reason)
        self._next_try = now + _RETRY_S
        return False


def _begun(directory: Path) -> int:
    """A new file, locked before it has the name that others look for."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
    draft = directory / f".{name}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(directory / f"{name}{SUFFIX}")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
