"""Puts down what each call used, before the last byte of its reply leaves."""

import time
from typing import Protocol

from interlingua.types.models import Operation
from interlingua.types.usage import Usage

from .records import UsageRecord
from .spool import Spool


class Metered(Protocol):
    """A call that has ended, as :class:`interlingua.gateway.meter.CallMeter` knows it."""

    id: str
    key: str
    operation: Operation
    deployment: str
    status: int
    usage: Usage
    took_s: float


class UsageMeter:
    """Is told of calls as :class:`interlingua.gateway.meter.Meter` is."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def ended(self, call: Metered) -> None:
        usage = call.usage
        self._spool.append(
            UsageRecord(
                id=call.id,
                at=round(time.time(), 3),
                key=call.key,
                operation=call.operation,
                deployment=call.deployment,
                status=call.status,
                seconds=round(call.took_s, 4),
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cached_tokens=usage.cached_tokens,
                reasoning_tokens=usage.reasoning_tokens,
            )
        )
