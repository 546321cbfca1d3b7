"""A spool: every record in its file, whole and once, whatever the disk does."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from interlingua.storage import spool as spools
from interlingua.storage.records import UsageRecord
from interlingua.storage.spool import Spool

_WRITES = """
import os, pathlib, signal, sys
from interlingua.storage.records import UsageRecord
from interlingua.storage.spool import Spool
spool = Spool(pathlib.Path(sys.argv[1]))
for number in range(100):
    spool.append(UsageRecord(id=f"{number:032x}", at=1.0, operation="info", status=200))
os.kill(os.getpid(), signal.SIGKILL)
"""


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def record(number: int) -> UsageRecord:
    return UsageRecord(id=f"{number:032x}", at=1.0, operation="chat_completions", status=200)


def ids(directory: Path) -> list[int]:
    files = sorted(directory.glob("*.spool"))
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    return [int(msgspec.json.decode(line, type=UsageRecord).id, 16) for line in lines]


@pytest.fixture
def short_files() -> Iterator[None]:
    """No file of this process may grow beyond 1,000 bytes: writes come short, then fail."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_each_record_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    for number in range(3):
        spool.append(record(number))
        assert ids(tmp_path / "usage") == list(range(number + 1))
    spool.close()


def test_its_files_are_their_owners_alone(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "usage")
    spool.append(record(1))
    assert (tmp_path / "usage").stat().st_mode & 0o777 == 0o700
    assert [f.stat().st_mode & 0o777 for f in (tmp_path / "usage").iterdir()] == [0o600]
    spool.close()


def test_it_has_caught_up_when_nothing_waits_and_tries_again_when_it_is_time(
    tmp_path: Path,
) -> None:
    clock = Clock()
    spool = Spool(tmp_path / "usage", now=clock)
    assert spool.caught_up()
    (tmp_path / "usage").write_text("in the way")
    spool.append(record(1))
    assert not spool.caught_up()
    (tmp_path / "usage").unlink()
    assert not spool.caught_up()
    clock.time += 1
    assert spool.caught_up()
    assert ids(tmp_path / "usage") == [1]
    spool.close()


def test_nothing_is_lost_or_torn_while_the_disk_is_full(
    tmp_path: Path, short_files: None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    spool = Spool(tmp_path, now=clock)
    for number in range(40):
        spool.append(record(number))
        clock.time += 0.1
    assert spool.waiting > 20
    assert len(caplog.records) == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    clock.time += 2
    spool.append(record(40))
    assert spool.waiting == 0
    assert ids(tmp_path) == list(range(41))
    spool.close()


def test_a_directory_that_cannot_be_made_only_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    clock = Clock()
    spool = Spool(tmp_path / "file" / "usage", now=clock)
    spool.append(record(1))
    spool.append(record(2))
    assert spool.waiting == 2
    assert "is kept" in caplog.text
    (tmp_path / "file").unlink()
    clock.time += 2
    spool.append(record(3))
    spool.close()
    assert ids(tmp_path / "file" / "usage") == [1, 2, 3]


def test_what_waits_is_bounded_and_what_is_lost_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_MOST_WAITING", 3)
    (tmp_path / "file").touch()
    spool = Spool(tmp_path / "file" / "usage")
    for number in range(5):
        spool.append(record(number))
    assert (spool.waiting, spool.lost) == (3, 2)


def test_a_long_file_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_ROTATE_BYTES", 500)
    spool = Spool(tmp_path)
    for number in range(30):
        spool.append(record(number))
    spool.close()
    assert len(list(tmp_path.iterdir())) > 3
    assert ids(tmp_path) == list(range(30))


def test_a_killed_writer_leaves_what_it_put_down(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", _WRITES, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ids(tmp_path) == list(range(100))
