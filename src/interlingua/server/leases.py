"""Limits that several workers share: the supervisor keeps them, and lends pieces.

Rules of this file:
- A piece is counted when it is lent, so that all workers together never let in more than the
  limits say.
- A worker takes from its piece without asking, and asks for the next one when it is used up:
  the nearer a limit is, the smaller the pieces.
- What a worker hasn't used for a moment goes back, and what it used is told every second;
  what a worker that died had borrowed and not told of goes back, too.
- If the supervisor can't be asked, the last piece holds; then calls are refused with 503.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping

import msgspec

from interlingua.errors import ApiError, Unavailable
from interlingua.gateway.limits import Left, Limit, OwnShares, Room

_TELL_EVERY_S = 1.0
#: What a call waits for the supervisor's answer.
_ANSWER_WITHIN_S = 2.0
#: One worker's piece is at most what is left, by this and by the number of workers.
_PARTS = 4

Ask = Callable[[str, object], Awaitable[object]]


class Loan(msgspec.Struct, frozen=True):
    """A worker's request for a piece: at least so much."""

    name: str
    requests: int
    tokens: int


class Told(msgspec.Struct, frozen=True):
    """What became of a worker's piece since the last time: used up, or given back."""

    used: int
    requests: int
    tokens: int


class Piece(msgspec.Struct, frozen=True):
    """What the supervisor lends; ``wait_s``: nothing, and for so long."""

    requests: int
    tokens: int
    wait_s: float
    left: Left


class Lender:
    """The supervisor's side: who has borrowed how much."""

    def __init__(self, shares: OwnShares, workers: int) -> None:
        self._shares = shares
        self._parts = _PARTS * workers
        #: Tokens that were lent and not told of, by borrower and name.
        self._out: dict[Hashable, dict[str, int]] = {}

    def answer(self, borrower: Hashable, what: str, given: object) -> object:
        """What a worker is answered to ``lend`` and ``told``."""
        if what == "lend":
            return msgspec.to_builtins(self.lend(borrower, msgspec.convert(given, Loan)))
        for name, told in msgspec.convert(given, dict[str, Told]).items():
            self.told(borrower, name, told)
        return None

    def lend(self, borrower: Hashable, loan: Loan) -> Piece:
        """At least what is asked for, or nothing."""
        name = loan.name
        wait_s = self._shares.grant(name, loan.requests, loan.tokens)
        left = self._shares.left(name) or Left()
        if wait_s > 0:
            return Piece(0, 0, wait_s, left)
        requests = _more(left.requests, self._parts)
        # As many calls' worth of tokens as of requests.
        tokens = min(_more(left.tokens, self._parts), loan.tokens * _PARTS)
        if self._shares.grant(name, requests, tokens) > 0:
            requests = tokens = 0
        books = self._out.setdefault(borrower, {})
        books[name] = books.get(name, 0) + loan.tokens + tokens
        left = self._shares.left(name) or Left()
        return Piece(loan.requests + requests, loan.tokens + tokens, 0.0, left)

    def told(self, borrower: Hashable, name: str, told: Told) -> None:
        """Take back what isn't used."""
        self._shares.count(name, -told.requests, -told.tokens)
        books = self._out.setdefault(borrower, {})
        books[name] = books.get(name, 0) - told.used - told.tokens

    def gone(self, borrower: Hashable) -> None:
        """The borrower has ended, and tells nothing any more."""
        for name, tokens in self._out.pop(borrower, {}).items():
            self._shares.count(name, 0, -tokens)


def _more(room: Room | None, parts: int) -> int:
    return 0 if room is None else room.left // parts


class _Purse:
    """What a worker has of one name's share."""

    def __init__(self, name: str, limit: Limit) -> None:
        self.name = name
        self.limit = limit
        self.requests = 0
        self.tokens = 0
        self.used = 0
        self.touched = False
        #: As the supervisor last said.
        self.left = Left()
        self.lock = asyncio.Lock()

    def lacks(self, tokens: int) -> Loan | None:
        """What a call of so many tokens needs beyond what is here."""
        limit, requests = self.limit, 0
        if limit.requests_per_minute:
            requests = max(1 - self.requests, 0)
        counted = limit.tokens_per_minute or limit.tokens_per_day
        tokens = max(tokens - self.tokens, 0) if counted else 0
        return Loan(self.name, requests, tokens) if requests or tokens else None

    def take(self, tokens: int) -> None:
        self.count(1, tokens)
        self.touched = True

    def count(self, requests: int, tokens: int) -> None:
        """What isn't limited isn't counted."""
        if self.limit.requests_per_minute:
            self.requests -= requests
        if self.limit.tokens_per_minute or self.limit.tokens_per_day:
            self.tokens -= tokens

    def room(self) -> Left:
        return Left(_with(self.left.requests, self.requests), _with(self.left.tokens, self.tokens))

    def tell(self) -> Told | None:
        """What there is to tell; what wasn't touched since the last time goes back."""
        idle = not self.touched
        self.touched = False
        requests, tokens = (self.requests, self.tokens) if idle else (0, min(self.tokens, 0))
        if not (self.used or requests or tokens):
            return None
        told = Told(self.used, requests, tokens)
        self.requests -= requests
        self.tokens -= tokens
        self.used = 0
        return told


def _with(room: Room | None, more: int) -> Room | None:
    if room is None:
        return None
    return msgspec.structs.replace(room, left=min(max(room.left + more, 0), room.limit))


class LeasedShares:
    """A worker's side. Satisfies :class:`~interlingua.gateway.limits.Shares`."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._purses: dict[str, _Purse] = {}
        self._asking: set[asyncio.Task[float]] = set()

    def change(self, limits: Mapping[str, Limit]) -> None:
        """Other limits from now on."""
        before = self._purses
        self._purses = {}
        for name, limit in limits.items():
            purse = self._purses[name] = before.get(name) or _Purse(name, limit)
            purse.limit = limit

    def limit(self, name: str) -> Limit | None:
        purse = self._purses.get(name)
        return None if purse is None else purse.limit

    def left(self, name: str) -> Left | None:
        purse = self._purses.get(name)
        return None if purse is None else purse.room()

    async def take(self, name: str, tokens: int) -> float:
        purse = self._purses.get(name)
        if purse is None:
            return 0.0
        wait_s = 0.0
        if purse.lacks(tokens) is not None:
            # One asks, the others find what it brought.
            async with purse.lock:
                while wait_s == 0 and (loan := purse.lacks(tokens)) is not None:
                    wait_s = await self._borrow(purse, loan)
                if wait_s == 0:
                    purse.take(tokens)
        else:
            purse.take(tokens)
        return wait_s

    def settle(self, name: str, *, reserved: int, used: int, requests: int = 0) -> None:
        purse = self._purses.get(name)
        if purse is not None:
            purse.count(-requests, used - reserved)
            purse.used += used

    async def _borrow(self, purse: _Purse, loan: Loan) -> float:
        """Wait for a piece; for how long there is none.

        The asking goes on if the call ends: what was lent must not be lost.
        """
        task = asyncio.create_task(self._fetch(purse, loan))
        self._asking.add(task)
        task.add_done_callback(self._forget)
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                return await asyncio.shield(task)
        except TimeoutError:
            raise Unavailable("The server can't tell now whether a limit is reached.") from None

    async def _fetch(self, purse: _Purse, loan: Loan) -> float:
        piece = msgspec.convert(await self._ask("lend", msgspec.to_builtins(loan)), Piece)
        purse.requests += piece.requests
        purse.tokens += piece.tokens
        purse.left = piece.left
        return piece.wait_s

    def _forget(self, task: asyncio.Task[float]) -> None:
        self._asking.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: its call may be gone

    @contextlib.asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell the supervisor what became of the pieces for as long as the block runs, and
        give everything back at its end.
        """
        task = asyncio.create_task(self._tell_on())
        try:
            yield
        finally:
            task.cancel()
            for _ in range(2):  # the first time, what was touched lately stays
                with contextlib.suppress(ApiError):
                    await self._tell()

    async def _tell_on(self) -> None:
        while True:
            await asyncio.sleep(_TELL_EVERY_S)
            with contextlib.suppress(ApiError):
                await self._tell()

    async def _tell(self) -> None:
        told = {name: purse.tell() for name, purse in self._purses.items()}
        said = {name: each for name, each in told.items() if each is not None}
        if said:
            await self._ask("told", msgspec.to_builtins(said))
