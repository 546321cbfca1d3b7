"""Usage in SQLite: what the spools held, each call once.

Rules of this file:
- A spool's lines and how far it was read are committed together, and a call's id is the
  table's key: moving twice, by two processes, or again after a crash counts nothing twice.
- A spool is deleted when its writer has ended and all of it is committed, never before.
- A database that is locked or full raises :class:`LedgerBusy`; nothing is lost, for the
  spools stay.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec

from .records import UsageRecord
from .spool import SUFFIX

Group = Literal["day", "key", "deployment", "operation"]

_BUSY_S = 2.0
#: Of pages that SQLite keeps. Rows come in the order of their ids, so the last pages do; it
#: would fill two megabytes little by little, as if the server grew.
_CACHE_KIB = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS usage (
  id TEXT PRIMARY KEY,
  at REAL NOT NULL,
  key TEXT NOT NULL,
  operation TEXT NOT NULL,
  deployment TEXT NOT NULL,
  status INTEGER NOT NULL,
  seconds REAL NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  cached_tokens INTEGER,
  reasoning_tokens INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_at ON usage (at);
CREATE TABLE IF NOT EXISTS spool (name TEXT PRIMARY KEY, read INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_COLUMNS = (
    "id, at, key, operation, deployment, status, seconds, prompt_tokens, completion_tokens, "
    "cached_tokens, reasoning_tokens"
)
_ROW = f"({', '.join('?' * 11)})"
#: Rows that one statement inserts. The interpreter's lock is given back once a statement, and
#: taking it again from a server that is busy costs far more than inserting a row; while it is
#: held, calls wait. Few sizes: each is a statement that SQLite keeps.
_BATCHES = (64, 8, 1)
#: So many of the largest are committed at once. Lines are read as they are inserted: objects
#: of a megabyte of them would lie between the server's, whose memory then never shrinks.
_COMMITTED = 128
_GROUPS: dict[Group, str] = {
    "day": "date(at, 'unixepoch')",
    "key": "key",
    "deployment": "deployment",
    "operation": "operation",
}
_COUNTS = """count(*),
  sum(status < 400),
  sum(status >= 400 AND status != 499),
  sum(status = 499),
  sum(prompt_tokens),
  sum(completion_tokens)"""


class LedgerBusy(OSError):
    """The database can't be written now; trying again later is safe."""


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that have ``group`` in common, added up."""

    group: dict[Group, str]
    calls: int
    completed: int
    errors: int
    cancelled: int
    prompt_tokens: int
    completion_tokens: int


class Ledger:
    """The database in ``file``, made when it is first written. For one thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._connection: sqlite3.Connection | None = None
        self._decode = msgspec.json.Decoder(UsageRecord).decode
        #: Lines that no writer of ours wrote.
        self.damaged = 0

    def collect(self, directory: Path) -> int:
        """Move what the spools in ``directory`` hold; how many records were new.

        Raises:
            LedgerBusy: not now; nothing is lost.
        """
        spools = sorted(directory.glob(f"*{SUFFIX}"))
        with _busy_as_such():
            return sum(self._move(spool) for spool in spools)

    def rows(
        self, by: Sequence[Group], *, since: float = 0.0, until: float = float("inf")
    ) -> list[UsageRow]:
        """Usage added up by ``by``, of calls that ended from ``since`` to before ``until``
        (Unix seconds).
        """
        if not self._file.exists():
            return []
        terms = [_GROUPS[group] for group in by]
        grouped = f"GROUP BY {', '.join(terms)} ORDER BY {', '.join(terms)}" if terms else ""
        select = ", ".join([*terms, _COUNTS])
        query = f"SELECT {select} FROM usage WHERE at >= ? AND at < ? {grouped}"  # noqa: S608 - constants
        with _busy_as_such():
            found = self._database().execute(query, (since, until)).fetchall()
        return [_row(by, row) for row in found if row[len(by)]]

    def close(self) -> None:
        """Close the database. Idempotent."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made by us first, so that its name and its journal's are this user's alone.
            os.close(os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600))
            connection = sqlite3.connect(
                self._file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                # A spool is deleted after its commit, so the commit must be on the disk.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                connection.executescript(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _move(self, spool: Path) -> int:
        try:
            stream = spool.open("rb")
        except FileNotFoundError:
            return 0  # another process moved it meanwhile
        with stream:
            # Before the reading: who has the lock knows that nothing is written any more.
            ended = _locked(stream.fileno())
            database = self._database()
            known = database.execute("SELECT read FROM spool WHERE name = ?", (spool.name,))
            place: int = (known.fetchone() or (0,))[0]
            stream.seek(place)
            moved = 0
            batches = _batches(stream)
            for lines in batches:
                new, place = self._commit(spool.name, place, chain([lines], batches))
                moved += new
            if ended:
                spool.unlink(missing_ok=True)
                database.execute("DELETE FROM spool WHERE name = ?", (spool.name,))
            return moved

    def _commit(self, name: str, place: int, batches: Iterator[list[bytes]]) -> tuple[int, int]:
        """Move some batches of lines, the first of which begins at ``place``; how many were
        new, and the place after them.
        """
        database = self._database()
        before = database.total_changes
        with _transaction(database):
            for lines in islice(batches, _COMMITTED):
                _insert(database, list(self._read(lines)))
                place += sum(map(len, lines))
            moved = database.total_changes - before
            database.execute("INSERT OR REPLACE INTO spool VALUES (?, ?)", (name, place))
        return moved, place

    def _read(self, lines: Iterable[bytes]) -> Iterator[tuple[object, ...]]:
        for line in lines:
            try:
                record = self._decode(line)
            except msgspec.DecodeError:
                self.damaged += 1
                continue
            yield (
                record.id, record.at, record.key, record.operation, record.deployment,
                record.status, record.seconds, record.prompt_tokens, record.completion_tokens,
                record.cached_tokens, record.reasoning_tokens,
            )  # fmt: skip


def _batches(stream: BinaryIO) -> Iterator[list[bytes]]:
    """The lines that are there, of the largest batch at a time, up to one without an end."""
    while lines := list(islice(stream, _BATCHES[0])):
        torn = not lines[-1].endswith(b"\n")
        if torn:
            lines.pop()
        if lines:
            yield lines
        if torn:
            return


def _insert(database: sqlite3.Connection, rows: Sequence[tuple[object, ...]]) -> None:
    done = 0
    for size in _BATCHES:
        while len(rows) - done >= size:
            batch = rows[done : done + size]
            database.execute(_statement(size), tuple(chain.from_iterable(batch)))
            done += size


def _statement(rows: int) -> str:
    return f"INSERT OR IGNORE INTO usage ({_COLUMNS}) VALUES {', '.join([_ROW] * rows)}"  # noqa: S608 - constants


def _row(by: Sequence[Group], row: Sequence[object]) -> UsageRow:
    values = row[len(by) :]
    names = ("calls", "completed", "errors", "cancelled", "prompt_tokens", "completion_tokens")
    group = {name: str(value) for name, value in zip(by, row, strict=False)}
    return msgspec.convert({"group": group, **dict(zip(names, values, strict=True))}, UsageRow)


def _locked(descriptor: int) -> bool:
    """Whether the writer of a spool has ended, so that its lock could be had."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


@contextlib.contextmanager
def _busy_as_such() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LedgerBusy(f"usage can't be written or read now: {error}") from error
