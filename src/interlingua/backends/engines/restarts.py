"""When an engine that failed may start again. Pure: time comes from an injected clock."""

from collections import deque
from collections.abc import Callable

_WINDOW_S = 60.0
_MOST_IN_WINDOW = 3
_FIRST_DELAY_S = 0.5
_LONGEST_DELAY_S = 30.0


class Restarts:
    """Counts failures: each start waits longer, and three in a minute open a circuit.

    While it is open, calls are refused; half a minute after the last failure one start is
    let through as a probe.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures: deque[float] = deque(maxlen=16)
        self._open = False

    def failed(self) -> None:
        """The engine crashed, or didn't come up."""
        self._failures.append(self._now())
        self._open = self._open or self._recent() >= _MOST_IN_WINDOW

    def succeeded(self) -> None:
        """The engine is ready. Its earlier failures still count towards the circuit."""
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether calls are refused without a start."""
        return self._open and self.wait_s > 0

    @property
    def wait_s(self) -> float:
        """How long the next start has to wait."""
        if not self._failures:
            return 0.0
        recent = self._recent()
        delay = _FIRST_DELAY_S * 2 ** max(recent - 1, 0) if recent else 0.0
        if self._open or delay > _LONGEST_DELAY_S:
            delay = _LONGEST_DELAY_S
        return max(self._failures[-1] + delay - self._now(), 0.0)

    def _recent(self) -> int:
        since = self._now() - _WINDOW_S
        return sum(1 for at in self._failures if at > since)
