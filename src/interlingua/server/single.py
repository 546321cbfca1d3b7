"""The server in one process: calls, engines and what its operator commands, all here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from interlingua.gateway.limits import OwnShares
from interlingua.storage.spool import Spool
from interlingua.telemetry import Telemetry

from . import ops
from .admin import Commands, administered
from .app import App
from .build import Built, build
from .limiting import limits_of, used_today
from .live import Live
from .loaded import Loaded, Start, said_of
from .metering import recording


class Single:
    """``live`` is the ASGI application."""

    def __init__(self, start: Start, records: Spool | None = None) -> None:
        """``records``: where usage is put down; ``None``: nowhere."""
        self._start = start
        self._records = records
        self._telemetry = Telemetry(lambda: ops.observe(self.live.deployments))
        self._meter = recording(self._telemetry, records)
        self._built: Built | None = None
        self._shares = OwnShares()
        self.live = Live(
            self._app(start.loaded, self._used_today(start.loaded)), beside=self._beside
        )

    async def reload(self) -> str:
        """Serve what the config says now; what was done, in a line.

        Raises:
            ConfigError, ModelFileError: it can't be served; nothing has changed.
        """
        assert self._built is not None
        before = self._built.config
        loaded = await asyncio.to_thread(self._start.load)
        used_today = await asyncio.to_thread(self._used_today, loaded)
        await self.live.replace(self._app(loaded, used_today))
        return said_of(before, loaded.config)

    def _app(self, loaded: Loaded, used_today: Mapping[str, int]) -> App:
        self._built = build(loaded.planned, loaded.config, before=self._built)
        limits = limits_of(loaded.config)
        self._shares.change(limits, used_today)
        shares = self._shares if limits else None
        return App(
            self._built.gateway,
            loaded.config,
            loaded.keys,
            meter=self._meter,
            shares=shares,
            records=self._records,
        )

    def _used_today(self, loaded: Loaded) -> Mapping[str, int]:
        return used_today(loaded.config, self._start.data_dir)

    @contextlib.asynccontextmanager
    async def _beside(self, _live: Live) -> AsyncIterator[None]:
        commands: Commands = {"reload": self.reload}
        with self._telemetry.watching_loop():
            async with administered(self._start.data_dir, self._start.url, commands):
                yield
