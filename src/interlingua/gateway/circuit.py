"""Whether a deployment is asked at all: its circuit, its rest after a 429, its retries.

Rules of this file:
- Closed: calls go through; ``FAILURES`` failures in a row open the circuit. Open: nobody asks.
  Half-open, when its time is up: one call at a time tries; an answer closes the circuit, a
  failure opens it again for twice as long.
- Cooling: its provider said to wait, so nobody asks before; the circuit is another matter.
- A failure is the deployment's own fault before its answer has begun. What the caller did
  wrong is an answer; leaving, a full queue and the end of the call's own time say nothing.
- Pure: time comes from an injected clock, in seconds that never go back.
"""

import math
import time
from collections.abc import Callable
from typing import Literal

from interlingua.errors import ApiError, QueueFull, RateLimited, Unavailable

CircuitState = Literal["closed", "cooling", "open", "half-open"]

#: Failures in a row that open a circuit.
FAILURES = 5
#: How long it stays open; doubles with each trial that fails …
FIRST_OPEN_S = 5.0
#: … up to this.
LONGEST_OPEN_S = 60.0
#: The longest rest that a provider gets for its ``Retry-After``.
LONGEST_REST_S = 60.0
#: Retries under way, as a share of the deployment's calls under way; one always may be.
RETRY_SHARE = 0.2


class Circuit:
    """What is known of one deployment's failures. Used on one event loop."""

    def __init__(self, name: str, now: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._now = now
        #: In a row, while it is closed.
        self._failures = 0
        #: In a row: trials that failed, and the first opening.
        self._openings = 0
        self._trying = False
        #: Nobody asks before.
        self._until = -math.inf
        #: Why nobody asks: the kind of the last failure, and what it said.
        self._kind: type[RateLimited | Unavailable] = Unavailable
        self._said = ""

    @property
    def state(self) -> CircuitState:
        if self._now() < self._until:
            return "open" if self._openings else "cooling"
        return "half-open" if self._openings else "closed"

    @property
    def admits(self) -> bool:
        """Whether a call may ask now."""
        return not self._trying and self._now() >= self._until

    def enter(self) -> bool:
        """A call asks; ``True``: it is the one that tries, and its end must be told.

        Raises:
            RateLimited: the deployment rests, as its provider asked.
            Unavailable: its circuit is open.
        """
        if not self.admits:
            raise self._rest()
        self._trying = bool(self._openings)
        return self._trying

    def answered(self, *, trial: bool) -> None:
        """A call got an answer, or a refusal that is the caller's own doing."""
        if trial:
            self._openings = 0
            self._trying = False
        self._failures = 0

    def undecided(self, *, trial: bool) -> None:
        """A call ended in a way that says nothing of the deployment."""
        if trial:
            self._trying = False

    def failed(self, error: ApiError, *, trial: bool) -> None:
        """A call ended in an error before its answer had begun."""
        if isinstance(error, QueueFull) or error.staged:
            self.undecided(trial=trial)
        elif isinstance(error, RateLimited):
            self.answered(trial=trial)
            self._cool(error)
        elif error.fault == "upstream":
            self._count(error, trial=trial)
        elif error.fault == "caller":
            self.answered(trial=trial)
        else:
            self.undecided(trial=trial)

    def _count(self, error: ApiError, *, trial: bool) -> None:
        if trial:
            self._trying = False
        elif self._openings:
            return  # it was asked before the circuit opened
        self._failures += 1
        if self._openings or self._failures >= FAILURES:
            longer = min(FIRST_OPEN_S * 2**self._openings, LONGEST_OPEN_S)
            self._openings = min(self._openings + 1, 16)
            self._rest_for(longer, Unavailable, error)
        elif (error.retry_after_s or 0) > 1:  # one second is said where nothing was
            self._cool(error)

    def _cool(self, error: ApiError) -> None:
        rest_s = min(error.retry_after_s or 1, LONGEST_REST_S)
        kind = RateLimited if isinstance(error, RateLimited) else Unavailable
        self._rest_for(rest_s, kind, error)

    def _rest_for(
        self, seconds: float, kind: type[RateLimited | Unavailable], error: ApiError
    ) -> None:
        self._until = max(self._until, self._now() + seconds)
        self._kind, self._said = kind, error.message

    def _rest(self) -> ApiError:
        left_s = self._until - self._now()
        wait_s = math.ceil(left_s) if left_s > 1 else 1
        why = "asked for a rest" if self._kind is RateLimited else "failed"
        return self._kind(
            f"The deployment {self._name!r} {why}, and is asked again in {wait_s} s. It said: "
            f"{self._said}",
            retry_after_s=wait_s,
        )


class RetryBudget:
    """How many calls of one deployment may be retries at the same time."""

    def __init__(self) -> None:
        #: Retries that were made.
        self.spent = 0
        self._under_way = 0

    def take(self, calls: int) -> bool:
        """Whether one more may be made beside ``calls`` under way; then ``give`` it back."""
        if self._under_way >= max(1, int(calls * RETRY_SHARE)):
            return False
        self._under_way += 1
        self.spent += 1
        return True

    def give(self) -> None:
        """The retry has come to its answer, or to its end."""
        self._under_way -= 1
