"""How much a caller, or a deployment, may ask for: requests and tokens a minute, tokens a day.

Rules of this file:
- Rates are GCRA, the leaky bucket that keeps one number: bursts up to a minute's worth, then
  an even flow. Time is given to it.
- Tokens are reserved when a call is let in, by what it may take, and settled by what it took:
  a flood of calls can't all begin before the first one is counted.
- A call that exceeds several limits is told of the one that it must wait longest for, and
  has taken nothing.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

_MINUTE_S = 60.0
_DAY_S = 86400.0
#: What rounding may make of a whole number.
_TINY = 1e-9


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """What one name may take. ``None``: as much as it likes."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    #: From midnight to midnight, UTC.
    tokens_per_day: int | None = None

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing.override is 3.12's
        words = (
            (self.requests_per_minute, "requests a minute"),
            (self.tokens_per_minute, "tokens a minute"),
            (self.tokens_per_day, "tokens a day"),
        )
        return ", ".join(f"{amount:,} {what}" for amount, what in words if amount is not None)


class Now(msgspec.Struct, frozen=True):
    """A time that never goes back, and the time since the epoch, both in seconds."""

    monotonic: float
    epoch: float


Clock = Callable[[], Now]


def clock() -> Now:
    """The machine's own time."""
    return Now(time.monotonic(), time.time())


class Room(msgspec.Struct, frozen=True):
    """What could be taken at once, of how much, and when it will be all of it again."""

    limit: int
    left: int
    reset_s: float


class Left(msgspec.Struct, frozen=True):
    """``None``: without a limit."""

    requests: Room | None = None
    tokens: Room | None = None


class Rate:
    """GCRA: ``amount`` in a minute, at most that much at once.

    Its one number is the time at which the bucket will be empty again.
    """

    __slots__ = ("_amount", "_each_s", "_empty_at")

    def __init__(self, amount: int) -> None:
        self._amount = amount
        #: How long it takes until one can be taken again.
        self._each_s = _MINUTE_S / amount
        self._empty_at = -math.inf

    def wait_s(self, cost: float, now: float) -> float:
        """How long ``cost`` has to wait; 0: it may be taken. What is more than a whole minute
        allows is treated as all of it, so that it isn't refused for ever.
        """
        used_s = self._empty_at - now
        wait_s = max(used_s, 0.0) + min(cost, self._amount) * self._each_s - _MINUTE_S
        return wait_s if wait_s > _TINY else 0.0

    def take(self, cost: float, now: float) -> None:
        """Count ``cost``; less than nothing gives back."""
        used_s = self._empty_at - now
        self._empty_at = now + max(0.0, max(used_s, 0.0) + cost * self._each_s)

    def room(self, now: float) -> Room:
        used_s = self._used_s(now)
        left = math.floor(self._amount * (1 - used_s / _MINUTE_S) + _TINY)
        return Room(self._amount, max(0, left), used_s)

    def changed(self, amount: int, now: float) -> "Rate":
        """Another amount, of which as much is used."""
        other = Rate(amount)
        other.take(self._used_s(now) / _MINUTE_S * self._amount, now)
        return other

    def _used_s(self, now: float) -> float:
        return max(self._empty_at - now, 0.0)


class Budget:
    """``amount`` from midnight to midnight, UTC."""

    def __init__(self, amount: int, used: float, epoch: float) -> None:
        self.amount = amount
        self._used = used
        self._day = epoch // _DAY_S

    def wait_s(self, epoch: float) -> float:
        """0 while anything is left; else until midnight."""
        return 0.0 if self.used(epoch) < self.amount else _DAY_S - epoch % _DAY_S

    def take(self, cost: float, epoch: float) -> None:
        self._used = max(0.0, self.used(epoch) + cost)

    def room(self, epoch: float) -> Room:
        left = max(0, math.floor(self.amount - self.used(epoch) + _TINY))
        return Room(self.amount, left, _DAY_S - epoch % _DAY_S)

    def used(self, epoch: float) -> float:
        if epoch // _DAY_S != self._day:
            self._day, self._used = epoch // _DAY_S, 0.0
        return self._used


class Share:
    """All limits of one name."""

    def __init__(self, limit: Limit, now: Now, used_today: float = 0) -> None:
        self.limit = limit
        self._requests = limit.requests_per_minute and Rate(limit.requests_per_minute)
        self._tokens = limit.tokens_per_minute and Rate(limit.tokens_per_minute)
        self._budget: Budget | None = None
        if limit.tokens_per_day is not None:
            self._budget = Budget(limit.tokens_per_day, used_today, now.epoch)

    def changed(self, limit: Limit, now: Now, used_today: float = 0) -> "Share":
        """Other limits, of which as much is used; ``used_today`` if there was no budget."""
        if self._budget is not None:
            used_today = self._budget.used(now.epoch)
        other = Share(limit, now, used_today)
        if self._requests and limit.requests_per_minute:
            other._requests = self._requests.changed(limit.requests_per_minute, now.monotonic)
        if self._tokens and limit.tokens_per_minute:
            other._tokens = self._tokens.changed(limit.tokens_per_minute, now.monotonic)
        return other

    def take(self, requests: float, tokens: float, now: Now) -> float:
        """Count both, or neither and say how long to wait."""
        wait_s = self._requests.wait_s(requests, now.monotonic) if self._requests else 0.0
        if self._tokens:
            wait_s = max(wait_s, self._tokens.wait_s(tokens, now.monotonic))
        if self._budget:
            wait_s = max(wait_s, self._budget.wait_s(now.epoch))
        if wait_s == 0:
            self.count(requests, tokens, now)
        return wait_s

    def count(self, requests: float, tokens: float, now: Now) -> None:
        """Count without asking; less than nothing gives back."""
        if self._requests and requests:
            self._requests.take(requests, now.monotonic)
        if self._tokens:
            self._tokens.take(tokens, now.monotonic)
        if self._budget:
            self._budget.take(tokens, now.epoch)

    def left(self, now: Now) -> Left:
        tokens = self._tokens.room(now.monotonic) if self._tokens else None
        if self._budget:
            today = self._budget.room(now.epoch)
            if tokens is None or today.left < tokens.left:
                tokens = today
        return Left(self._requests.room(now.monotonic) if self._requests else None, tokens)


class Shares(Protocol):
    """Where limits are kept: in this process, or in another one."""

    def limit(self, name: str) -> Limit | None:
        """What the name may take; ``None``: it has no limit."""
        ...

    def left(self, name: str) -> Left | None:
        """What is left for the name; ``None``: it has no limit."""
        ...

    async def take(self, name: str, tokens: int) -> float:
        """Count one request and so many tokens for a name that has a limit, or neither, and
        say how many seconds to wait.

        Raises:
            Unavailable: nobody can say.
        """
        ...

    def settle(self, name: str, *, reserved: int, used: int, requests: int = 0) -> None:
        """Of what was taken, so many tokens were used; so many requests are given back."""
        ...


class OwnShares:
    """Limits of one process, or of all for which it keeps them."""

    def __init__(
        self,
        limits: Mapping[str, Limit] = {},
        used_today: Mapping[str, int] = {},
        now: Clock = clock,
    ) -> None:
        self._now = now
        self._shares: dict[str, Share] = {}
        self.change(limits, used_today)

    def change(self, limits: Mapping[str, Limit], used_today: Mapping[str, int] = {}) -> None:
        """Other limits from now on. What was used stays used, by name; ``used_today`` counts
        for a budget that is new.
        """
        now, before = self._now(), self._shares
        self._shares = {}
        for name, limit in limits.items():
            share, used = before.get(name), used_today.get(name, 0)
            self._shares[name] = (
                Share(limit, now, used) if share is None else share.changed(limit, now, used)
            )

    def limit(self, name: str) -> Limit | None:
        share = self._shares.get(name)
        return None if share is None else share.limit

    def left(self, name: str) -> Left | None:
        share = self._shares.get(name)
        return None if share is None else share.left(self._now())

    async def take(self, name: str, tokens: int) -> float:
        return self.grant(name, 1, tokens)

    def grant(self, name: str, requests: float, tokens: float) -> float:
        """:meth:`take` for any number of requests."""
        share = self._shares.get(name)
        return 0.0 if share is None else share.take(requests, tokens, self._now())

    def settle(self, name: str, *, reserved: int, used: int, requests: int = 0) -> None:
        share = self._shares.get(name)
        if share is not None:
            share.count(-requests, used - reserved, self._now())

    def count(self, name: str, requests: float, tokens: float) -> None:
        """Count without asking; less than nothing gives back."""
        share = self._shares.get(name)
        if share is not None:
            share.count(requests, tokens, self._now())
