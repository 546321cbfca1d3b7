"""One of several server processes that share a listening socket.

Run by :class:`~interlingua.server.supervisor.Supervisor`, as ``python -m`` this module with
the numbers of two inherited descriptors: the listening socket, and one end of the control
socket. The rest comes over the latter.

Rules of this file:
- A worker has no engine processes: it asks the supervisor where one answers.
- It ends when it is told to, gently, and at once when the supervisor has ended.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from socket import socket

import msgspec

from interlingua.backends.engines.linked import Ask, LinkedEngine
from interlingua.backends.engines.process import Engine
from interlingua.config.schema import Config
from interlingua.errors import ApiError, ConfigError, ModelFileError, Unavailable
from interlingua.storage.collector import places
from interlingua.storage.spool import Spool
from interlingua.telemetry import SharedTelemetry

from . import ops
from .app import App
from .build import Built, build, plan
from .control import Channel, channel
from .leases import LeasedShares
from .limiting import limits_of
from .live import Live
from .metering import recording
from .run import server_of
from .tls import certificate_of, context_of


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to serve, secrets included: it goes over the control socket only."""

    config: Config
    keys: tuple[str, ...]
    data_dir: str
    #: What the supervisor calls each deployment's engine.
    engines: dict[str, str]


class Worker:
    """Builds the app as ordered, and answers the supervisor."""

    def __init__(self, orders: Orders) -> None:
        self._channel: Channel | None = None
        spool = Spool(places(Path(orders.data_dir))[1])
        self._spool = spool
        self._built: Built | None = None
        self._telemetry = SharedTelemetry(lambda: ops.observe(self.live.deployments), self._pages)
        kept = orders.config.server.usage
        self._meter = recording(self._telemetry, spool if kept else None)
        self._shares = LeasedShares(self._ask)
        self.live = Live(self._app(orders), beside=self._beside)

    def run(self, listener: socket, control: socket, orders: Orders) -> None:
        """Serve until told to end."""
        settings = orders.config.server
        certificate = certificate_of(settings, Path(orders.data_dir))
        tls = context_of(certificate) if certificate else None
        self._control = control
        server_of(self.live, settings, on_start=self._ready, tls=tls, replaced=True).run(
            sockets=[listener]
        )
        self._spool.close()

    def _app(self, orders: Orders) -> App:
        planned = plan(orders.config, Path(orders.data_dir))
        self._built = build(
            planned, orders.config, launch=_Linking(orders.engines, self._ask), before=self._built
        )
        limits = limits_of(orders.config)
        self._shares.change(limits)
        shares = self._shares if limits else None
        return App(
            self._built.gateway,
            orders.config,
            orders.keys,
            meter=self._meter,
            shares=shares,
            records=self._spool,
        )

    @contextlib.asynccontextmanager
    async def _beside(self, _live: Live) -> AsyncIterator[None]:
        self._channel = await channel(self._control, self._answer)
        listening = asyncio.create_task(self._channel.run())
        # Without the supervisor there are no engines, and soon another server.
        listening.add_done_callback(lambda _: os._exit(1))
        with self._telemetry.watching_loop():
            async with self._shares.telling():
                yield
        with contextlib.suppress(ApiError):
            await self._ask("farewell", self._telemetry.text().decode())

    def _ready(self) -> None:
        asyncio.get_running_loop().create_task(self._ask("ready", None))

    async def _ask(self, what: str, given: object) -> object:
        if self._channel is None:
            raise Unavailable("The server is starting.")
        return await self._channel.ask(what, given)

    async def _pages(self) -> list[bytes]:
        texts = msgspec.convert(await self._ask("pages", None), list[str])
        return [text.encode() for text in texts]

    async def _answer(self, what: str, given: object) -> object:
        if what == "page":
            return self._telemetry.text().decode()
        assert what == "serve"
        orders = msgspec.convert(given, Orders)
        try:
            app = await asyncio.to_thread(self._app, orders)
        except (ConfigError, ModelFileError) as error:
            raise Unavailable(str(error)) from error
        await self.live.replace(app)
        return None


class _Linking:
    """Gives each deployment the engine that the supervisor runs for it."""

    def __init__(self, names: Mapping[str, str], ask: Ask) -> None:
        self._names = names
        self._ask = ask

    def __call__(
        self,
        name: str,
        *,
        program: str,
        settings: Mapping[str, object],
        fresh_connections: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Engine:
        del program, settings, environment  # the supervisor's to know
        return LinkedEngine(self._names[name], self._ask, fresh_connections=fresh_connections)


def main() -> None:
    """Serve as the supervisor orders."""
    listener, control = (socket(fileno=int(number)) for number in sys.argv[1:3])
    # Ctrl-C in a terminal is the supervisor's to handle, and so is a lost terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    with control.makefile("rb") as stream:
        line = stream.readline()
    if not line:
        return
    orders = msgspec.json.decode(line, type=Orders)
    Worker(orders).run(listener, control, orders)


if __name__ == "__main__":
    main()
