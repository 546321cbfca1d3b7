# mypy: disable-error-code="explicit-override"
# (typing has `override` from Python 3.12)
"""What every client is besides its operations: connections, model info, raw requests."""

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

from .exchange import Plan
from .operations import Operations
from .replies import AsyncReply, SyncReply
from .results import ModelInfo
from .settings import CallSettings

if TYPE_CHECKING:
    from .transport import AsyncTransport, Transport

R = TypeVar("R")


class SyncShell:
    """A client whose calls return when they are over. Safe to share among threads."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._transport: Transport | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __str__(self) -> str:
        info = self._operations.model_info
        return super().__str__() + (f"\n{info}" if info else "")

    def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            self._transport.close()

    def get_model_info(self, **options: Unpack[CallSettings]) -> ModelInfo:
        """What the endpoint's model is; asked once and then kept.

        Raises:
            ResourceNotFoundError: the endpoint doesn't say.
        """
        return self._run(self._operations.info({**options}))

    def send_request(
        self, request: Any, *, stream: bool = False, **options: Unpack[CallSettings]
    ) -> SyncReply:
        """The reply to a request of your own (``HttpRequest``), whatever its status.

        The client's credential goes with it. A path is taken below the endpoint.
        """
        plan: Plan[SyncReply] = self._operations.send(request, stream=stream, given={**options})
        return self._run(plan)

    def _run(self, plan: Plan[R]) -> R:
        if self._transport is None:
            # httpx2 takes longer to import than all of this.
            from .transport import Transport  # noqa: PLC0415 - with the first call

            with self._lock:
                if self._transport is None:
                    settings, address = self._operations.settings, self._operations.address
                    self._transport = Transport(settings, address.origin)
        return self._transport.run(plan)


class AsyncShell:
    """A client whose calls are awaited, in one event loop."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._transport: AsyncTransport | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.close()

    def __str__(self) -> str:
        info = self._operations.model_info
        return super().__str__() + (f"\n{info}" if info else "")

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.close()

    async def get_model_info(self, **options: Unpack[CallSettings]) -> ModelInfo:
        """What the endpoint's model is; asked once and then kept.

        Raises:
            ResourceNotFoundError: the endpoint doesn't say.
        """
        return await self._run(self._operations.info({**options}))

    async def send_request(
        self, request: Any, *, stream: bool = False, **options: Unpack[CallSettings]
    ) -> AsyncReply:
        """The reply to a request of your own (``HttpRequest``), whatever its status.

        The client's credential goes with it. A path is taken below the endpoint.
        """
        plan: Plan[AsyncReply] = self._operations.send(request, stream=stream, given={**options})
        return await self._run(plan)

    async def _run(self, plan: Plan[R]) -> R:
        if self._transport is None:
            # httpx2 takes longer to import than all of this.
            from .transport import AsyncTransport  # noqa: PLC0415 - with the first call

            settings, address = self._operations.settings, self._operations.address
            self._transport = AsyncTransport(settings, address.origin)
        return await self._transport.run(plan)
