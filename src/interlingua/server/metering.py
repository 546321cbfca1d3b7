"""How a call ended, as its meters are told: before the last byte of its reply leaves."""

import asyncio
from types import TracebackType
from typing import Protocol

from interlingua.errors import ApiError
from interlingua.gateway.allowance import Allowance
from interlingua.gateway.meter import CallMeter, Meter
from interlingua.storage.meter import UsageMeter
from interlingua.storage.spool import Spool
from interlingua.telemetry import Telemetry

from .exchange import ClientGone, Exchange

#: nginx's number for a client that left before its reply; it is never sent.
CLIENT_LEFT = 499


class CallsMeter(Protocol):
    """Is told of all calls, and shows nothing."""

    def ended(self, call: CallMeter) -> None: ...


class Meters:
    """Several meters as one; the first shows the page."""

    def __init__(self, first: Meter, *others: CallsMeter) -> None:
        self._first = first
        self._all = (first, *others)

    def ended(self, call: CallMeter) -> None:
        for meter in self._all:
            meter.ended(call)

    async def page(self) -> tuple[str, bytes]:
        return await self._first.page()


def recording(telemetry: Telemetry, records: Spool | None) -> Meters:
    """Counts calls, and puts down what each used, if it is told where."""
    if records is None:
        return Meters(telemetry)
    telemetry.watch_usage(records)
    return Meters(telemetry, UsageMeter(records))


class metered:  # noqa: N801 - used as a function
    """A context that tells ``meter`` of the end of the ``call`` inside, whichever it is, and
    once: when the exchange is about to send its last byte, or when it failed before. What is
    reserved and wasn't used is given back first.
    """

    __slots__ = ("_allowance", "_call", "_meter", "_told")

    def __init__(
        self, meter: Meter, call: CallMeter, exchange: Exchange, allowance: Allowance | None
    ) -> None:
        self._meter = meter
        self._call = call
        self._allowance = allowance
        self._told = False
        exchange.on_end = self._end

    def _end(self, status: int) -> None:
        if not self._told:
            self._told = True
            if self._allowance is not None:
                self._allowance.settle(0)
            self._call.ended(status)
            self._meter.ended(self._call)

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
