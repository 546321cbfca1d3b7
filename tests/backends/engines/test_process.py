"""Engine processes: private, tied to their parent, started again when they crash."""

import asyncio
import contextlib
import os
import signal
import stat
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from interlingua.backends.engines import process as process_module
from interlingua.backends.engines.process import EngineProcess, Pace
from interlingua.config.load import child_environment
from interlingua.errors import ModelNotReady, UpstreamError
from interlingua.http import HttpCall

from ...support.engines import CALL, ask, backend, opened
from ...support.tiny_phi3 import REPLY, build_tiny_phi3

pytestmark = pytest.mark.anyio

PROGRAM = "interlingua.backends.engines.llamacpp_process"


@pytest.fixture(scope="module")
def looping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that talks until it is stopped."""
    path = tmp_path_factory.mktemp("looping") / "looping.gguf"
    return build_tiny_phi3(path, context=65_536, loops=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_phi3(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


class Time:
    """A clock that only sleepers and the test move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.awake = asyncio.Event()
        self.awake.set()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.awake.wait()
        self.now += seconds

    @property
    def pace(self) -> Pace:
        return Pace(now=lambda: self.now, sleep=self.sleep)


def process(model: Path, **options) -> EngineProcess:
    settings = {"path": str(model), "name": "tiny", "context": 256, "slots": 1, "threads": 1}
    return EngineProcess(
        "tiny",
        program=PROGRAM,
        settings=settings,
        fresh_connections=True,
        environment=child_environment(),
        **options,
    )


async def health(engine: EngineProcess) -> int:
    async with engine.transport.send(HttpCall(method="GET", path="/v1/models")) as reply:
        return reply.status


def lives(pid: int) -> bool:
    """Whether the process is there, and doesn't only wait to be collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def ended(pid: int) -> None:
    while lives(pid):
        await asyncio.sleep(0.01)


async def down(engine: EngineProcess) -> None:
    """Return when the parent has noticed that the child is gone."""
    while engine.running:
        await asyncio.sleep(0.005)


async def test_a_process_opens_once_and_closes_for_good(tiny):
    engine = process(tiny)
    assert (engine.running, engine.pid, engine.rss_bytes()) == (False, None, None)
    await asyncio.gather(*(engine.open() for _ in range(5)))
    pid = engine.pid
    assert pid
    assert engine.running
    assert (engine.rss_bytes() or 0) > 2**20
    await engine.open()
    assert engine.pid == pid
    assert await health(engine) == 200
    await engine.close()
    await engine.close()
    assert not engine.running
    assert not lives(pid)
    with pytest.raises(ModelNotReady, match="not open"):
        await health(engine)


async def test_nothing_secret_shows_and_nobody_else_gets_in(tiny):
    engine = process(tiny)
    await engine.open()
    proc = Path(f"/proc/{engine.pid}")
    key = engine.headers["authorization"].removeprefix("Bearer ")
    for file in ("cmdline", "environ"):
        assert key.encode() not in (proc / file).read_bytes()
    names = {entry.split("=")[0] for entry in (proc / "environ").read_text().split("\0") if entry}
    assert names <= {"PATH", "LANG", *child_environment()}
    child = engine._child
    assert child
    folder = child._directory
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    async with child.transport.send(HttpCall(method="GET", path="/v1/models")) as reply:
        assert reply.status == 401
    await engine.close()
    assert not folder.exists()


async def test_a_file_that_can_not_be_loaded_is_named_with_the_engines_reason(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    engine = process(broken)
    with pytest.raises(ModelNotReady, match=f"llama.cpp refuses {broken}"):
        await engine.open()
    assert not engine.running
    await engine.close()


async def test_a_program_that_ends_at_once_gives_its_last_line():
    engine = EngineProcess("x", program="no_such_module_here", settings={})
    with pytest.raises(ModelNotReady, match="No module named"):
        await engine.open()
    await engine.close()


async def test_a_model_that_loads_too_long_is_killed(tiny):
    engine = process(tiny, load_timeout_s=0.001)
    with pytest.raises(ModelNotReady, match=r"not loaded within 0\.001 seconds"):
        await engine.open()
    await engine.close()


async def test_closing_while_it_loads_ends_the_child(tiny):
    engine = process(tiny)
    opening = asyncio.create_task(engine.open())
    while engine._starting is None:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    await engine.close()
    with pytest.raises((asyncio.CancelledError, ModelNotReady)):
        await opening
    assert not engine.running


async def test_a_crash_is_followed_by_a_start_in_the_background(tiny):
    clock = Time()
    engine = process(tiny, pace=clock.pace)
    await engine.open()
    pid = engine.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    await down(engine)
    assert await health(engine) == 200
    assert engine.pid != pid
    assert clock.slept == [0.5]
    await engine.close()


async def test_three_crashes_open_the_circuit_until_a_probe(tiny):
    clock = Time()
    engine = process(tiny, pace=clock.pace)
    for _ in range(3):
        await engine.open()
        assert engine.pid
        clock.awake.clear()
        os.kill(engine.pid, signal.SIGKILL)
        await down(engine)
        while len(clock.slept) < 1:
            await asyncio.sleep(0)
        if clock.slept[-1] < 30:
            clock.slept.clear()
            clock.awake.set()
    assert clock.slept == [30]
    with pytest.raises(ModelNotReady, match="keeps failing") as raised:
        await health(engine)
    assert raised.value.retry_after_s == 30
    clock.awake.set()  # half a minute passes
    while not engine.running:
        await asyncio.sleep(0.01)
    assert await health(engine) == 200
    await engine.close()


async def test_a_kill_in_mid_stream_fails_visibly_and_the_next_call_works(looping):
    async with opened(looping, context_length=16_384) as engine:
        stream = engine.chat(ask(max_tokens=None), CALL)
        assert (await anext(stream)).text
        pid = engine.process.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(UpstreamError):
            async for _ in stream:
                pass
        found = [delta async for delta in engine.chat(ask(max_tokens=3), CALL)]
        assert found[-1].finish_reason == "length"
        assert engine.process.pid != pid


async def test_a_death_before_the_first_word_is_a_503(looping, monkeypatch):
    # As if the call had been under way for long: such a one isn't sent again.
    monkeypatch.setattr(process_module, "_DROPPED_WITHIN_S", -1)
    async with opened(looping, context_length=16_384, slots=1) as engine:
        busy = engine.chat(ask(max_tokens=None), CALL)
        await anext(busy)
        waiting = asyncio.create_task(anext(engine.chat(ask(), CALL)))  # there is no slot left
        child = engine.process._child
        assert child
        while len(child.transport._all) < 2:
            await asyncio.sleep(0)
        assert engine.process.pid
        os.kill(engine.process.pid, signal.SIGKILL)
        with pytest.raises(ModelNotReady) as raised:
            await waiting
        assert raised.value.retry_after_s == 1
        with contextlib.suppress(UpstreamError):
            async for _ in busy:
                pass


async def test_closing_a_stream_frees_its_slot(looping):
    async with opened(looping, context_length=65_536, slots=1) as engine:
        stream = engine.chat(ask(max_tokens=None), CALL)
        await anext(stream)
        began = time.monotonic()
        await stream.aclose()
        found = [delta async for delta in engine.chat(ask(max_tokens=3), CALL)]
        assert found[-1].finish_reason == "length"
        assert time.monotonic() - began < 10  # the whole text takes far longer
        task = asyncio.create_task(anext(engine.chat(ask(max_tokens=None), CALL)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [delta async for delta in engine.chat(ask(max_tokens=1), CALL)]


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
async def test_an_engine_dies_with_its_parent(tiny, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import asyncio, sys\n"
        "from interlingua.backends.engines.process import EngineProcess\n"
        "async def main():\n"
        f"    e = EngineProcess('t', program='{PROGRAM}', settings={{'path': {str(tiny)!r}, "
        "'name': 't', 'context': 64, 'slots': 1, 'threads': 1})\n"
        "    await e.open()\n"
        "    print(e.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, script, stdout=PIPE)
    assert parent.stdout
    pid = int(await parent.stdout.readline())
    assert lives(pid)
    parent.kill()
    await parent.wait()
    await asyncio.wait_for(ended(pid), 10)


async def test_a_backend_that_was_never_opened_answers_503(tiny):
    with pytest.raises(ModelNotReady, match="not open"):
        await anext(backend(tiny).chat(ask(), CALL))


async def test_a_backend_can_be_opened_again(tiny):
    engine = backend(tiny)
    for _ in range(2):
        await engine.open()
        found = [delta async for delta in engine.chat(ask(), CALL)]
        assert "".join(delta.text for delta in found) == REPLY
        await engine.close()
