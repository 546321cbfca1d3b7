"""Moves spools into the ledger while the server serves, in a thread of its own."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from .ledger import Ledger, LedgerBusy
from .spool import Spool

_EVERY_S = 1.0
_log = logging.getLogger(__name__)


def places(data_dir: Path) -> tuple[Path, Path]:
    """The ledger's file, and the directory of spools."""
    return data_dir / "usage.db", data_dir / "usage"


@contextlib.contextmanager
def recorded(data_dir: Path) -> Iterator[Spool]:
    """A spool whose records end up in the ledger under ``data_dir``."""
    spool = Spool(places(data_dir)[1])
    with collected(data_dir):
        try:
            yield spool
        finally:
            spool.close()


@contextlib.contextmanager
def collected(data_dir: Path) -> Iterator[None]:
    """Have the spools under ``data_dir`` moved into its ledger."""
    file, spools = places(data_dir)
    collector = Collector(Ledger(file), spools)
    collector.start()
    try:
        yield
    finally:
        collector.stop()


class Collector:
    """A thread that collects every second, and once more at the end."""

    def __init__(self, ledger: Ledger, spools: Path) -> None:
        self._ledger = ledger
        self._spools = spools
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        #: Whether the last attempt failed; each change is told once.
        self._busy = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Collect what is there and end. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._collect()
        self._collect()
        self._ledger.close()

    def _collect(self) -> None:
        try:
            self._ledger.collect(self._spools)
        except LedgerBusy as error:
            if not self._busy:
                _log.warning("%s; it is kept in %s and tried again.", error, self._spools)
            self._busy = True
        else:
            if self._busy:
                _log.warning("Usage is moved again.")
            self._busy = False
