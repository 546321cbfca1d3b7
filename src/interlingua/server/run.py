"""The server as a process: its socket, its signals, its end.

Rules of this file:
- The socket listens before anything slow happens, so that a taken port is told at once and
  a free one is known.
- SIGTERM or Ctrl-C drains: calls under way go on for ``drain_timeout_s``, half-sent ones are
  given up, and the exit code is 0. A second one ends everything now.
"""

import contextlib
import errno
import gc
import logging
import math
import socket
import ssl
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn

from interlingua.config.schema import ServerConfig
from interlingua.errors import ConfigError

from .crowd import Crowd
from .heap import keep_buffers
from .live import Live
from .protocol import Connection, State

_BACKLOG = 2048
#: Longer than clients keep idle connections, so that they close first and no request is
#: sent into a connection that is being closed.
_KEEP_ALIVE_S = 75
#: How long an idle connection of a server that is being replaced stays: a request may be on
#: its way.
_LINGER_S = 1.0
#: How long a thread may keep the interpreter that another one waits for; Python's own is 5 ms.
_SWITCH_S = 0.0005


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        ConfigError: it can't, with the remedy.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as failing:
            listener = failing.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            failing.pop_all()
    except OSError as error:
        raise ConfigError(_cannot_listen(host, port, error)) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"server.port: something listens on port {port} of {host} already. Stop it, or "
                "take another port: --port 0 takes a free one."
            )
        case errno.EACCES:
            return f"server.port: port {port} needs privileges; take one above 1023 (--port)."
    return f"server.host: {host!r} can't be listened on: {error.strerror or error}."


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """The address as callers on this machine write it."""
    host, port = listener.getsockname()[:2]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - translated away
    return f"{scheme}://[{here}]:{port}" if ":" in here else f"{scheme}://{here}:{port}"


def server_of(
    app: Live,
    settings: ServerConfig,
    *,
    on_start: Callable[[], None] | None = None,
    tls: ssl.SSLContext | None = None,
    replaced: bool = False,
) -> uvicorn.Server:
    """A server to ``run(sockets=[listener])``; it ends once a signal, or its
    ``should_exit``, says so. ``on_start`` is called when it answers, and signals are heard.
    With ``tls`` it speaks nothing else. ``replaced``: others take over when it ends, so what
    still comes on its connections is answered.
    """
    config = uvicorn.Config(
        app,
        http=Connection,
        loop="auto",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    logging.getLogger("uvicorn.error").addFilter(_worth_telling)
    crowd = Crowd(settings.max_connections, settings.max_connections_by_address)
    return _Server(config, app, on_start, crowd, replaced=replaced)


def _worth_telling(record: logging.LogRecord) -> bool:
    """Not what any client can cause by sending nonsense."""
    return record.levelno >= logging.ERROR


class _Server(uvicorn.Server):
    """Ends with exit code 0 when it is told to (``typing.override`` comes with Python 3.12)."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: Live,
        on_start: Callable[[], None] | None,
        crowd: Crowd,
        *,
        replaced: bool,
    ) -> None:
        super().__init__(config)
        self._state = self.server_state = State(crowd)
        self._replaced = replaced
        self._app = app
        self._on_start = on_start

    async def startup(  # type: ignore[explicit-override]  # see above
        self, sockets: list[socket.socket] | None = None
    ) -> None:
        await super().startup(sockets)
        keep_buffers()
        # What was made so far stays: looking through it again and again for what doesn't
        # would stop every call for some 30 ms now and then.
        gc.collect()
        gc.freeze()
        # Who moves usage has the interpreter now and then; no call waits longer for it.
        sys.setswitchinterval(_SWITCH_S)
        if self._on_start is not None:
            self._on_start()

    def handle_exit(  # type: ignore[explicit-override]  # see above
        self, sig: int, frame: FrameType | None
    ) -> None:
        """Uvicorn would end by the signal itself; a server that was told to stop and did so
        exits with 0.
        """
        del sig, frame
        if self.should_exit:
            self.force_exit = True
            for connection in list(self.server_state.connections):
                connection.transport.abort()
        self.should_exit = True

    async def shutdown(  # type: ignore[explicit-override]  # see above
        self, sockets: list[socket.socket] | None = None
    ) -> None:
        if self._replaced:
            self._state.linger_s = _LINGER_S
        self._app.drain(refuse=not self._replaced)
        await super().shutdown(sockets)
