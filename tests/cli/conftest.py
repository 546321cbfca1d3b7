"""The scripted server of the client's tests, a data directory of one's own, and a terminal."""

import contextlib
import importlib.util
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

WAIT_S = 30.0
_IN_A_TERMINAL = """
import os, sys
terminal = os.open(sys.argv[1], os.O_RDWR)
for descriptor in (0, 1, 2):
    os.dup2(terminal, descriptor)
os.execv(sys.executable, [sys.executable, "-m", "interlingua", *sys.argv[2:]])
"""


def _load() -> ModuleType:
    name = "scripted_wire"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "sdk" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


_scripted = _load()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A server that the environment names, with its key."""
    with _scripted.running_wire() as wire:
        monkeypatch.setenv("INTERLINGUA_ENDPOINT", wire.url)
        monkeypatch.setenv("INTERLINGUA_API_KEY", "k-123")
        yield wire


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty data directory, and nothing else of the user's own."""
    directory = tmp_path / "data"
    monkeypatch.setenv("INTERLINGUA_DATA_DIR", str(directory))
    monkeypatch.delenv("INTERLINGUA_ENDPOINT", raising=False)
    monkeypatch.delenv("INTERLINGUA_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return directory


class Terminal:
    """The command in a terminal: what it shows, and what is typed into it."""

    def __init__(self, *arguments: str) -> None:
        self._screen, terminal = pty.openpty()
        path = os.ttyname(terminal)
        command = [sys.executable, "-c", _IN_A_TERMINAL, path, *arguments]
        # A session of its own, so that the terminal becomes its controlling one: Ctrl-C works.
        # It inherits the terminal open: one that nobody has open yet reads as ended.
        self.process = subprocess.Popen(command, start_new_session=True, pass_fds=[terminal])
        os.close(terminal)
        self.shown = ""
        self._seen = 0

    def expect(self, text: str) -> str:
        """Wait until this is shown after what was expected before; what came until then."""
        deadline = time.monotonic() + WAIT_S
        while (place := self.shown.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.shown!r}"
            assert self._read(), f"{text!r} never came: {self.shown!r}"
        before, self._seen = self.shown[self._seen : place], place + len(text)
        return before

    def type(self, line: str) -> None:
        os.write(self._screen, f"{line}\n".encode())

    def press(self, key: bytes) -> None:
        os.write(self._screen, key)

    def interrupt(self, text: str) -> None:
        """Press Ctrl-C until this is shown: Python misses one that falls between a prompt and
        its waiting for a key, or into what it does behind a program's back.
        """
        deadline = time.monotonic() + WAIT_S
        while self.shown.find(text, self._seen) < 0:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.shown!r}"
            self.press(b"\x03")
            while select.select([self._screen], [], [], 1.0)[0]:
                self._read()
                if self.shown.find(text, self._seen) >= 0:
                    break
        self.expect(text)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        while self._read():
            pass
        return self.process.wait(WAIT_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(WAIT_S)
        os.close(self._screen)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._screen], [], [], WAIT_S)
        assert ready, f"nothing more came: {self.shown!r}"
        with contextlib.suppress(OSError):  # Linux: the other side is closed
            data = os.read(self._screen, 65536)
            self.shown += data.decode(errors="replace")
            return bool(data)
        return False


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def piped() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command with this stdin, out of any terminal."""

    def run(stdin: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "interlingua", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)
        return subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run
