"""The ledger: what the spools held, each call once, whoever moves it and however often."""

import contextlib
import fcntl
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from interlingua.storage import ledger as ledgers
from interlingua.storage.ledger import Ledger, LedgerBusy
from interlingua.storage.records import UsageRecord
from interlingua.storage.spool import Spool

DAY = 86400.0
#: Ended by SIGALRM after so many seconds.
_MOVES = """
import pathlib, signal, sys
from interlingua.storage.ledger import Ledger
place = pathlib.Path(sys.argv[1])
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
Ledger(place / "usage.db").collect(place / "usage")
"""


def record(number: int, **given: object) -> UsageRecord:
    settings = {
        "id": f"{number:032x}",
        "at": 10 * DAY + number,
        "key": "key-a",
        "operation": "chat_completions",
        "deployment": "phi",
        "status": 200,
        "prompt_tokens": 3,
        "completion_tokens": 2,
    }
    return UsageRecord(**{**settings, **given})  # type: ignore[arg-type]  # one of its fields


def calls(ledger: Ledger) -> int:
    return sum(row.calls for row in ledger.rows([]))


def test_usage_is_added_up_by_what_is_asked(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    spool.append(record(1))
    spool.append(record(2, status=499, prompt_tokens=0, completion_tokens=0))
    spool.append(record(3, status=503, deployment="gpt"))
    spool.append(record(4, at=11 * DAY, key="key-b"))
    spool.close()
    ledger = Ledger(tmp_path / "usage.db")
    assert ledger.collect(tmp_path / "usage") == 4
    (row,) = ledger.rows([])
    assert (row.calls, row.completed, row.errors, row.cancelled) == (4, 2, 1, 1)
    assert (row.prompt_tokens, row.completion_tokens) == (9, 6)
    by = [(row.group, row.calls) for row in ledger.rows(["day", "key"])]
    assert by == [
        ({"day": "1970-01-11", "key": "key-a"}, 3),
        ({"day": "1970-01-12", "key": "key-b"}, 1),
    ]
    assert [row.calls for row in ledger.rows(["day"], since=11 * DAY)] == [1]
    assert [row.calls for row in ledger.rows(["day"], until=11 * DAY)] == [3]
    ledger.close()


def test_moving_again_counts_nothing_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    ledger = Ledger(tmp_path / "usage.db")
    for number in range(10):
        spool.append(record(number))
        assert ledger.collect(tmp_path / "usage") == 1
        assert ledger.collect(tmp_path / "usage") == 0
    spool.close()
    assert calls(ledger) == 10
    ledger.close()


def test_what_was_moved_is_not_read_again(tmp_path: Path) -> None:
    """Its place would else be somewhere in a line, and all after it be read every second."""
    spool = Spool(tmp_path / "usage")
    ledger = Ledger(tmp_path / "usage.db")
    for count in (1, 70, 600):
        for number in range(count):
            spool.append(record(number, id=f"{count}-{number}"))
        assert ledger.collect(tmp_path / "usage") == count
        (file,) = (tmp_path / "usage").iterdir()
        with contextlib.closing(sqlite3.connect(tmp_path / "usage.db")) as database:
            assert database.execute("SELECT read FROM spool").fetchone() == (file.stat().st_size,)
    assert ledger.damaged == 0
    spool.close()
    ledger.close()


def test_more_than_is_committed_at_once_is_moved_up_to_a_torn_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    for number in range(9_000):
        spool.append(record(number))
    (file,) = (tmp_path / "usage").iterdir()
    whole = file.stat().st_size
    ledger = Ledger(tmp_path / "usage.db")
    with file.open("ab") as writing:
        writing.write(b'{"id":"torn')
    assert ledger.collect(tmp_path / "usage") == 9_000
    with contextlib.closing(sqlite3.connect(tmp_path / "usage.db")) as database:
        assert database.execute("SELECT read FROM spool").fetchone() == (whole,)
    assert (calls(ledger), ledger.damaged) == (9_000, 0)
    spool.close()
    ledger.close()


def test_a_spool_is_deleted_once_its_writer_has_ended(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    spool.append(record(1))
    ledger = Ledger(tmp_path / "usage.db")
    ledger.collect(tmp_path / "usage")
    assert len(list((tmp_path / "usage").iterdir())) == 1
    spool.append(record(2))
    spool.close()
    ledger.collect(tmp_path / "usage")
    assert list((tmp_path / "usage").iterdir()) == []
    assert calls(ledger) == 2
    ledger.close()


def test_a_spool_that_came_back_after_its_commit_counts_nothing(tmp_path: Path) -> None:
    """As after a crash between the commit and the deletion."""
    spool = Spool(tmp_path / "usage")
    for number in range(5):
        spool.append(record(number))
    spool.close()
    (file,) = (tmp_path / "usage").iterdir()
    kept = file.read_bytes()
    ledger = Ledger(tmp_path / "usage.db")
    ledger.collect(tmp_path / "usage")
    file.write_bytes(kept)
    assert ledger.collect(tmp_path / "usage") == 0
    assert calls(ledger) == 5
    ledger.close()


def test_a_line_without_an_end_waits_for_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    spool.append(record(1))
    spool.close()
    (file,) = (tmp_path / "usage").iterdir()
    whole = file.read_bytes()
    ledger = Ledger(tmp_path / "usage.db")
    with file.open("wb") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        writing.write(whole[:20])
        writing.flush()
        assert ledger.collect(tmp_path / "usage") == 0
        writing.write(whole[20:])
        writing.flush()
        assert ledger.collect(tmp_path / "usage") == 1
    ledger.close()


def test_lines_that_are_no_records_are_counted_and_skipped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    spool.append(record(1))
    spool.close()
    (file,) = (tmp_path / "usage").iterdir()
    file.write_bytes(b'{"id": 5}\n\xff\xfe\n' + file.read_bytes())
    ledger = Ledger(tmp_path / "usage.db")
    assert ledger.collect(tmp_path / "usage") == 1
    assert ledger.damaged == 2
    ledger.close()


def test_a_locked_database_delays_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "_BUSY_S", 0.01)
    spool = Spool(tmp_path / "usage")
    ledger = Ledger(tmp_path / "usage.db")
    ledger.collect(tmp_path / "usage")
    spool.append(record(1))
    ledger.collect(tmp_path / "usage")
    other = sqlite3.connect(tmp_path / "usage.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    spool.append(record(2))
    with pytest.raises(LedgerBusy):
        ledger.collect(tmp_path / "usage")
    other.execute("ROLLBACK")
    other.close()
    assert ledger.collect(tmp_path / "usage") == 1
    assert calls(ledger) == 2
    spool.close()
    ledger.close()


def test_two_that_move_at_once_count_each_call_once(tmp_path: Path) -> None:
    for number in range(20):
        spool = Spool(tmp_path / "usage")
        for place in range(50):
            spool.append(record(number * 50 + place))
        spool.close()
    moved: list[int] = []

    def move() -> None:
        ledger = Ledger(tmp_path / "usage.db")
        while True:
            # What is busy is tried again, as the collector does.
            with contextlib.suppress(LedgerBusy):
                moved.append(ledger.collect(tmp_path / "usage"))
                break
        ledger.close()

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger = Ledger(tmp_path / "usage.db")
    ledger.collect(tmp_path / "usage")
    assert calls(ledger) == 1000
    assert sum(moved) <= 1000
    ledger.close()


def test_a_mover_killed_at_any_moment_loses_and_doubles_nothing(tmp_path: Path) -> None:
    for number in range(40):
        spool = Spool(tmp_path / "usage")
        for place in range(25):
            spool.append(record(number * 25 + place))
        spool.close()
    for step in range(8):
        command = [sys.executable, "-c", _MOVES, str(tmp_path), str(0.003 * (step + 1))]
        subprocess.run(command, check=False)
    ledger = Ledger(tmp_path / "usage.db")
    ledger.collect(tmp_path / "usage")
    assert calls(ledger) == 1000
    ledger.close()


def test_there_is_no_usage_where_there_is_no_database(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "usage.db").rows(["day"]) == []
    assert list(tmp_path.iterdir()) == []
