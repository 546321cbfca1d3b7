"""How a call ended, as its meters are told: before the last byte of its reply leaves."""

import asyncio
import contextlib
from collections.abc import Iterator
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


@contextlib.contextmanager
def metered(meter: CallMeter, exchange: Exchange) -> Iterator[None]:
    """Tell ``meter`` of the end of what runs inside, whichever it is, and once: when the
    exchange is about to send its last byte, or when it failed before.
    """
    told = False

    def end(status: int) -> None:
        nonlocal told
        if not told:
            told = True
            meter.ended(status)

    exchange.on_end = end
    status = 500
    try:
        yield
        status = 200
    except ApiError as error:
        status = error.status
        raise
    except ClientGone:
        status = CLIENT_LEFT
        raise
    except asyncio.CancelledError:
        # The server stops.
        status = 503
        raise
    finally:
        end(status)
