"""How a call ended, as its meters are told: before the last byte of its reply leaves."""

import asyncio
from types import TracebackType
from typing import Protocol

from interlingua.errors import ApiError
from interlingua.gateway.meter import CallMeter, Meter
from interlingua.types.models import Operation
from interlingua.types.usage import Usage

from .exchange import ClientGone, Exchange

#: nginx's number for a client that left before its reply; it is never sent.
CLIENT_LEFT = 499


class CallsMeter(Protocol):
    """Is told of all calls, and shows nothing."""

    def call(self, operation: Operation, call_id: str) -> CallMeter: ...


class Meters:
    """Several meters as one; the first shows the page."""

    def __init__(self, first: Meter, *others: CallsMeter) -> None:
        self._first = first
        self._others = others

    def call(self, operation: Operation, call_id: str) -> CallMeter:
        first = self._first.call(operation, call_id)
        if not self._others:
            return first
        return CallMeters(first, *(each.call(operation, call_id) for each in self._others))

    async def page(self) -> tuple[str, bytes]:
        return await self._first.page()


class CallMeters:
    """Several meters of one call as one."""

    def __init__(self, *meters: CallMeter) -> None:
        self._meters = meters

    def called_by(self, name: str) -> None:
        for meter in self._meters:
            meter.called_by(name)

    def routed(self, deployment: str) -> None:
        for meter in self._meters:
            meter.routed(deployment)

    def begun(self) -> None:
        for meter in self._meters:
            meter.begun()

    def used(self, usage: Usage) -> None:
        for meter in self._meters:
            meter.used(usage)

    def ended(self, status: int) -> None:
        for meter in self._meters:
            meter.ended(status)


class metered:  # noqa: N801 - used as a function
    """A context that tells ``meter`` of the end of what runs inside, whichever it is, and
    once: when the exchange is about to send its last byte, or when it failed before.
    """

    __slots__ = ("_meter", "_told")

    def __init__(self, meter: CallMeter, exchange: Exchange) -> None:
        self._meter = meter
        self._told = False
        exchange.on_end = self._end

    def _end(self, status: int) -> None:
        if not self._told:
            self._told = True
            self._meter.ended(status)

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(_status(error))


def _status(error: BaseException | None) -> int:
    match error:
        case None:
            return 200
        case ApiError():
            return error.status
        case ClientGone():
            return CLIENT_LEFT
        case asyncio.CancelledError():
            # The server stops.
            return 503
        case _:
            return 500
