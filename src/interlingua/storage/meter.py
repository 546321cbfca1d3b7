"""Puts down what each call used, before the last byte of its reply leaves."""

import time

from interlingua.types.models import Operation
from interlingua.types.usage import Usage

from .records import UsageRecord
from .spool import Spool


class UsageMeter:
    """Satisfies :class:`interlingua.gateway.meter.Meter`, as far as calls go."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def call(self, operation: Operation, call_id: str) -> "CallUsage":
        return CallUsage(self._spool, operation, call_id)


class CallUsage:
    """One call's record, written when it ends."""

    def __init__(self, spool: Spool, operation: Operation, call_id: str) -> None:
        self._spool = spool
        self._operation = operation
        self._id = call_id
        self._key = ""
        self._deployment = ""
        self._usage = Usage()
        self._came = time.perf_counter()

    def called_by(self, name: str) -> None:
        self._key = name

    def routed(self, deployment: str) -> None:
        self._deployment = deployment

    def begun(self) -> None:
        pass

    def used(self, usage: Usage) -> None:
        self._usage = usage

    def ended(self, status: int) -> None:
        usage = self._usage
        self._spool.append(
            UsageRecord(
                id=self._id,
                at=round(time.time(), 3),
                key=self._key,
                operation=self._operation,
                deployment=self._deployment,
                status=status,
                seconds=round(time.perf_counter() - self._came, 4),
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cached_tokens=usage.cached_tokens,
                reasoning_tokens=usage.reasoning_tokens,
            )
        )
