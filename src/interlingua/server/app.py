"""The ASGI app: every exchange ends in a reply, or visibly in none."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from interlingua.config.schema import Config
from interlingua.dialects.azure import AzureDialect
from interlingua.dialects.base import ServerDialect
from interlingua.dialects.openai import OpenAIDialect
from interlingua.errors import ApiError, InternalError, MethodNotAllowed, Unauthorized, Unavailable
from interlingua.gateway.gateway import Gateway
from interlingua.gateway.limits import Shares
from interlingua.gateway.meter import Meter
from interlingua.headers import ALLOW, CHALLENGE
from interlingua.storage.spool import Spool
from interlingua.telemetry import Telemetry

from . import ops
from .asgi import Receive, Scope, Send
from .auth import Authenticator, Keys, Tokens
from .endpoint import Endpoint
from .exchange import ClientGone, Exchange
from .routes import DialectName, dialect_of, match

_log = logging.getLogger("interlingua.server")
#: How long a client may take to read why its stream failed.
_LAST_WORD_S = 5.0


class App:
    """The server as an ASGI 3 application for HTTP; :class:`~.live.Live` opens and closes its
    gateway.
    """

    def __init__(
        self,
        gateway: Gateway,
        config: Config,
        keys: Iterable[str],
        *,
        meter: Meter | None = None,
        shares: Shares | None = None,
        records: Spool | None = None,
    ) -> None:
        """Nothing is sent or started yet. ``meter``: telemetry of its own unless given.
        ``shares``: where the config's limits are kept; unused where it has none. ``records``:
        where usage is put down, for a config that requires it.

        Raises:
            ModuleNotFoundError: the config accepts tokens, and what checks them isn't
                installed.
        """
        self.gateway = gateway
        authenticator = Authenticator(Keys(keys, config.key), _tokens(config))
        meter = meter or Telemetry(lambda: ops.observe(gateway.deployments))
        self._endpoint = Endpoint(
            gateway,
            authenticator,
            config.server,
            meter=meter,
            shares=shares,
            records=records if config.server.usage_required else None,
        )
        self._dialects: dict[DialectName, ServerDialect] = {
            "azure": AzureDialect(default_policy=config.server.extra_parameters),
            "openai": OpenAIDialect(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        dialect = self._dialects[dialect_of(exchange.path)]
        try:
            await self._endpoint.answer(exchange, dialect)
        except ClientGone:
            with contextlib.suppress(ConnectionAbortedError):
                exchange.abort(flush=False)
        except ApiError as error:
            await _fail(exchange, dialect, error)
        except asyncio.CancelledError:
            # Only a server that stops cancels a call from outside; its caller is told so.
            if not self._endpoint.draining:
                raise
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await _fail(exchange, dialect, Unavailable("The server is stopping."))
        except Exception:  # noqa: BLE001 - request boundary
            _log.exception("call %s failed: %s %s", exchange.id, exchange.method, exchange.path)
            await _fail(
                exchange,
                dialect,
                InternalError(f"The server failed; its log says why, at the call {exchange.id}."),
            )

    def drain(self, *, refuse: bool = True) -> None:
        """The server is stopping: not ready, half-sent calls are given up, new ones refused
        unless another process takes this one's place.
        """
        self._endpoint.drain(refuse=refuse)


def _tokens(config: Config) -> Tokens | None:
    if not config.issuer:
        return None
    from .tokens import IssuedTokens  # noqa: PLC0415 - an extra's libraries

    return IssuedTokens(config.issuer)


async def _fail(exchange: Exchange, dialect: ServerDialect, error: ApiError) -> None:
    """Reply with the error, or end a stream that has begun so that its client notices."""
    if exchange.finished:
        return
    if exchange.started:
        reads = True
        if exchange.streams:
            try:
                async with asyncio.timeout(_LAST_WORD_S):
                    await exchange.send_event(dialect.write_stream_error(error))
            except TimeoutError:
                reads = False
        exchange.abort(flush=reads)
        return
    written = dialect.write_error(error)
    headers = dict(written.headers)
    if isinstance(error, Unauthorized):
        headers.setdefault(CHALLENGE.name, "Bearer")
    found = match(exchange.path)
    if isinstance(error, MethodNotAllowed) and found is not None:
        headers.setdefault(ALLOW.name, found.row.method)
    await exchange.reply(written.status, headers, written.body)
