"""The server in one process: calls, engines and what its operator commands, all here."""

import asyncio
from contextlib import AbstractAsyncContextManager

from interlingua.telemetry import Telemetry

from . import ops
from .admin import Commands, administered
from .app import App
from .build import Built, build
from .live import Live
from .loaded import Loaded, Start, said_of
from .metering import CallsMeter, Meters


class Single:
    """``live`` is the ASGI application."""

    def __init__(self, start: Start, *meters: CallsMeter) -> None:
        self._start = start
        telemetry = Telemetry(lambda: ops.observe(self.live.deployments))
        self._meter = Meters(telemetry, *meters)
        self._built: Built | None = None
        self.live = Live(self._app(start.loaded), beside=self._beside)

    async def reload(self) -> str:
        """Serve what the config says now; what was done, in a line.

        Raises:
            ConfigError, ModelFileError: it can't be served; nothing has changed.
        """
        assert self._built is not None
        before = self._built.config
        loaded = await asyncio.to_thread(self._start.load)
        await self.live.replace(self._app(loaded))
        return said_of(before, loaded.config)

    def _app(self, loaded: Loaded) -> App:
        self._built = build(loaded.planned, loaded.config, before=self._built)
        return App(self._built.gateway, loaded.config, loaded.keys, meter=self._meter)

    def _beside(self, _live: Live) -> AbstractAsyncContextManager[None]:
        commands: Commands = {"reload": self.reload}
        return administered(self._start.data_dir, self._start.url, commands)
