"""Several server processes on one socket, and the engines that they share.

Rules of this file:
- The supervisor owns the listening socket, the engines and the usage ledger; it answers no
  call. A worker that dies costs the calls that were in it and is replaced.
- Whatever changes the workers happens one at a time: a reload, a restart, the end.
- A worker is told to leave only when another one answers in its place.
"""

import asyncio
import contextlib
import functools
import logging
import math
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from socket import socketpair

import msgspec

from interlingua.backends.engines.linked import Address
from interlingua.backends.engines.process import EngineProcess
from interlingua.config.schema import Config
from interlingua.errors import ApiError, ModelNotReady, Unavailable
from interlingua.gateway.gateway import Gateway
from interlingua.gateway.limits import OwnShares
from interlingua.telemetry import added_up, memory_page

from .admin import Commands, administered
from .build import Built, build
from .control import Channel, channel
from .leases import Lender
from .limiting import limits_of, used_today
from .loaded import Loaded, Start, said_of
from .worker import Orders

_log = logging.getLogger("interlingua.server")
#: What a worker may take to end beyond ``drain_timeout_s``.
_END_WITHIN_S = 10.0
#: Before another worker is started where one didn't come up.
_TRY_AGAIN_S = 2.0
_PROVIDER_PLACES = 256


class _Hand:
    """One worker, as the supervisor knows it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.channel: Channel | None = None
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        #: It was told to end.
        self.leaving = False

    async def answers(self) -> bool:
        """Whether it came up; returns when that is known."""
        waits = [asyncio.create_task(event.wait()) for event in (self.ready, self.ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self.ready.is_set()


class Supervisor:
    """Keeps ``workers`` server processes alive. For one event loop, in the main thread:
    engines die with the thread that started them.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._generation = 0
        self._engines: dict[str, EngineProcess] = {}
        #: By engine: who was told where it answers.
        self._holders: dict[str, set[_Hand]] = {}
        self._hands: list[_Hand] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._stop = asyncio.Event()
        #: What workers that ended had counted.
        self._past = b""
        self._built: Built
        self._orders: Orders
        self._shares = OwnShares()
        self._lender = Lender(self._shares, start.loaded.config.server.workers)
        self._adopt(start.loaded, self._used_today(start.loaded))

    async def run(self) -> None:
        """Serve until :meth:`stop`."""
        count = self._orders.config.server.workers
        async with self._changing:
            self._hands = [await self._spawn() for _ in range(count)]
            came = [await hand.answers() for hand in self._hands]
        if all(came) and not self._stop.is_set():
            self._start.tell()
            await self._stop.wait()
        await self._end()
        if not all(came):
            raise ModelNotReady("A worker didn't come up; what it wrote says why.")

    def stop(self) -> None:
        """Drain and end; told twice, end now."""
        if self._stop.is_set():
            for hand in self._hands:
                with contextlib.suppress(ProcessLookupError):
                    hand.process.kill()
        self._stop.set()

    async def reload(self) -> str:
        """Have every worker serve what the config says now; what was done, in a line.

        Raises:
            ConfigError, ModelFileError: it can't be served; nothing has changed.
        """
        async with self._changing:
            before = self._orders.config
            loaded = await asyncio.to_thread(self._start.load)
            self._adopt(loaded, await asyncio.to_thread(self._used_today, loaded))
            asked = [
                hand.channel.ask("serve", msgspec.to_builtins(self._orders))
                for hand in self._hands
                if hand.channel is not None and hand.ready.is_set()
            ]
            for outcome in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(outcome, ApiError):
                    _log.warning("A worker didn't take the new config: %s", outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome
            await self._prune()
            return said_of(before, self._orders.config)

    async def restart(self) -> str:
        """Replace every worker, one after the other; what was done, in a line.

        Raises:
            Unavailable: a new one didn't come up; the old ones serve on.
        """
        async with self._changing:
            for old in list(self._hands):
                new = await self._spawn()
                self._hands.append(new)
                if not await new.answers():
                    raise Unavailable("A new worker didn't come up; the old ones serve on.")
                self._hands.remove(old)
                await self._dismiss(old)
            return f"{len(self._hands)} workers were replaced."

    def _used_today(self, loaded: Loaded) -> Mapping[str, int]:
        return used_today(loaded.config, self._start.data_dir)

    def _adopt(self, loaded: Loaded, used: Mapping[str, int]) -> None:
        """Make ``loaded`` what workers are ordered to serve."""
        before = getattr(self, "_built", None)
        self._generation += 1
        self._built = build(loaded.planned, loaded.config, before=before)
        self._shares.change(limits_of(loaded.config), used)
        names: dict[str, str] = {}
        for deployment in self._built.gateway.deployments:
            process = getattr(deployment.backend, "process", None)
            if isinstance(process, EngineProcess):
                names[deployment.name] = self._name_of(deployment.name, process)
        config = _shared(loaded.config, self._built.gateway, names, loaded.config.server.workers)
        self._orders = Orders(
            config=config, keys=loaded.keys, data_dir=str(self._start.data_dir), engines=names
        )

    def _name_of(self, deployment: str, process: EngineProcess) -> str:
        for name, known in self._engines.items():
            if known is process:
                return name
        name = f"{deployment}#{self._generation}"
        self._engines[name] = process
        self._holders[name] = set()
        return name

    async def _spawn(self) -> _Hand:
        ours, theirs = socketpair()
        ours.setblocking(False)
        with theirs:
            inherited = (self._start.listener.fileno(), theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "interlingua.server.worker", *map(str, inherited)),
                pass_fds=inherited,
                stdin=DEVNULL,
                # Ctrl-C in a terminal comes to the supervisor, which then ends its workers.
                start_new_session=True,
            )
        hand = _Hand(process)
        orders = msgspec.json.encode(self._orders) + b"\n"
        answering = functools.partial(self._answer, hand)
        hand.channel = await channel(ours, answering, first=orders)
        self._do(hand.channel.run())
        self._do(self._watch(hand))
        return hand

    async def _watch(self, hand: _Hand) -> None:
        """Replace it when it ends by itself."""
        code = await hand.process.wait()
        hand.ended.set()
        self._let_go(hand)
        self._lender.gone(hand)
        if hand.leaving or self._stop.is_set() or hand not in self._hands:
            return
        self._hands.remove(hand)
        if not hand.ready.is_set():
            return  # whoever started it tells
        _log.warning("A worker ended by itself (%s); another one takes its place.", code)
        while not self._stop.is_set():
            async with self._changing:
                new = await self._spawn()
                self._hands.append(new)
                if await new.answers():
                    return
            await asyncio.sleep(_TRY_AGAIN_S)

    async def _dismiss(self, hand: _Hand) -> None:
        """Let it finish its calls, and end."""
        hand.leaving = True
        with contextlib.suppress(ProcessLookupError):
            hand.process.terminate()
        try:
            async with asyncio.timeout(
                math.ceil(self._orders.config.server.drain_timeout_s) + _END_WITHIN_S
            ):
                await hand.ended.wait()
        except TimeoutError:
            _log.warning("A worker doesn't end and is killed.")
            hand.process.kill()
            await hand.ended.wait()

    async def _end(self) -> None:
        await asyncio.gather(*map(self._dismiss, self._hands))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(engine.close() for engine in self._engines.values()))

    async def _prune(self) -> None:
        """Forget engines that no config names and nobody uses."""
        wanted = set(self._orders.engines.values())
        for name in [n for n in self._engines if n not in wanted and not self._holders[n]]:
            engine = self._engines.pop(name)
            del self._holders[name]
            await engine.close()

    def _let_go(self, hand: _Hand) -> None:
        """It has ended. Its engines stay for those that come after it, and not for ever."""
        idle_s = {each.name: each.idle_s for each in self._orders.config.deployment}
        for name in [name for name, holders in self._holders.items() if hand in holders]:
            wait_s = idle_s.get(name.partition("#")[0], 0.0)
            asyncio.get_running_loop().call_later(wait_s, self._forget, hand, name)

    def _forget(self, hand: _Hand, name: str) -> None:
        self._do(self._leave(hand, name))

    async def _leave(self, hand: _Hand, name: str) -> None:
        holders = self._holders.get(name, set())
        holders.discard(hand)
        if not holders and name in self._engines:
            await self._engines[name].close()
            await self._prune()

    async def _answer(self, hand: _Hand, what: str, given: object) -> object:
        match what, given:
            case "ready", _:
                hand.ready.set()
            case "where", str(name):
                return await self._where(hand, name)
            case "gone", [str(name), str(path)]:
                return await self._gone(name, path)
            case "leave", str(name):
                # One that is told to end says so of every engine; see _let_go.
                if not hand.leaving:
                    await self._leave(hand, name)
            case "pages", _:
                return await self._pages()
            case "lend" | "told", _:
                return self._lender.answer(hand, what, given)
            case "farewell", str(text):
                self._past = added_up([self._past, text.encode()])
        return None

    async def _where(self, hand: _Hand, name: str) -> object:
        engine = self._engines.get(name)
        if engine is None:
            raise ModelNotReady("The config no longer has this deployment as it was.")
        self._holders[name].add(hand)
        await engine.open()
        child = await engine.ready()
        return msgspec.to_builtins(Address(child.socket_path, dict(child.headers)))

    async def _gone(self, name: str, path: str) -> bool:
        engine = self._engines.get(name)
        child = engine.child if engine is not None else None
        if child is None or child.socket_path != path:
            return True
        await child.gone()
        return not child.alive

    async def _pages(self) -> list[str]:
        asked = [hand.channel.ask("page") for hand in self._hands if hand.channel]
        found = await asyncio.gather(*asked, return_exceptions=True)
        current = {engine: name for name, engine in self._orders.engines.items()}
        resident = (
            (current[name], engine.rss_bytes())
            for name, engine in self._engines.items()
            if name in current
        )
        memory = memory_page((name, count) for name, count in resident if count is not None)
        texts = [text for text in found if isinstance(text, str)]
        return [*texts, self._past.decode(), memory.decode()]

    def _do(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _shared(config: Config, gateway: Gateway, engines: Mapping[str, str], workers: int) -> Config:
    """The config as each of several workers gets it: an engine's places are the engine's own,
    a provider's are divided among the workers.
    """
    places = {deployment.name: deployment.backend.concurrency for deployment in gateway.deployments}
    deployments = []
    for deployment in config.deployment:
        slots = places[deployment.name]
        if deployment.name not in engines:
            slots = math.ceil((deployment.slots or _PROVIDER_PLACES) / workers)
        waiting = math.ceil(deployment.max_waiting / workers)
        deployments.append(msgspec.structs.replace(deployment, slots=slots, max_waiting=waiting))
    return msgspec.structs.replace(config, deployment=tuple(deployments))


def supervise(start: Start) -> None:
    """Serve by several workers until a signal says so."""

    async def run() -> None:
        supervisor = Supervisor(start)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        commands: Commands = {"reload": supervisor.reload, "restart": supervisor.restart}
        async with administered(start.data_dir, start.url, commands):
            await supervisor.run()

    asyncio.run(run())
