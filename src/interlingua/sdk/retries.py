"""When a request is repeated, and after which pause: azure-core's rules, with jitter.

Rules of this file:
- A reply with ``Retry-After`` and a status of 400 or more is repeated after that time.
- Without it: a POST on 500, 503 and 504; a GET on 408, 429, any 5xx that azure-core lists, and
  what is above 505; both on what ``retry_on_status_codes`` adds.
- A failed connection or a broken reply repeats a GET; a POST may have been carried out.
- Three times at most by default, and never beyond ``timeout``.
"""

from .failures import AzureError, ServiceRequestError
from .replies import Reply
from .settings import Settings

_POST = frozenset({500, 503, 504})
_OTHERS = frozenset({408, 429, 500, 502, 503, 504})
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})


class Retries:
    """The tries of one call. Each answer is the pause before the next try, or ``None``."""

    def __init__(self, settings: Settings, method: str) -> None:
        self._settings = settings
        self._method = method.upper()
        self._total = settings.retry_total
        self._left = {
            "status": settings.retry_status,
            "connect": settings.retry_connect,
            "read": settings.retry_read,
        }
        self._tried = 0
        self._until = settings.clock.now() + settings.timeout

    def after(self, reply: Reply) -> float | None:
        if reply.status_code < 400:
            return None
        asked = self._asked(reply)
        if asked is None and not self._repeats(reply.status_code):
            return None
        return self._again("status", asked)

    def after_failure(self, error: AzureError) -> float | None:
        if self._method not in _REPEATABLE:
            return None
        return self._again("connect" if isinstance(error, ServiceRequestError) else "read", None)

    def _repeats(self, status: int) -> bool:
        if self._method in {"POST", "PATCH"}:
            return status in _POST
        listed = status in _OTHERS or status > 505
        return listed or status in self._settings.retry_on_status_codes

    def _again(self, kind: str, asked: float | None) -> float | None:
        self._total -= 1
        self._left[kind] -= 1
        self._tried += 1
        if self._total < 0 or self._left[kind] < 0:
            return None
        pause = self._pause() if asked is None else asked
        return pause if self._settings.clock.now() + pause < self._until else None

    def _pause(self) -> float:
        """Twice as long each time, and between half of it and the whole, so that callers spread."""
        told = self._settings
        grown = 1 if told.retry_mode == "fixed" else 2.0 ** (self._tried - 1)
        pause = min(told.retry_backoff_max, told.retry_backoff_factor * grown)
        return pause * (0.5 + 0.5 * told.clock.chance())

    def _asked(self, reply: Reply) -> float | None:
        """Seconds from ``Retry-After``, or from the header of Azure's that counts milliseconds."""
        for name, unit in (
            ("retry-after", 1.0),
            ("retry-after-ms", 0.001),
            ("x-ms-retry-after-ms", 0.001),
        ):
            value = reply.headers.get(name)
            if value:
                return self._seconds(value, unit)
        return None

    def _seconds(self, value: str, unit: float) -> float | None:
        try:
            return max(0.0, float(value) * unit)
        except ValueError:
            pass
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few servers send a date

        try:
            until = parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError):
            return None
        return max(0.0, until - self._settings.clock.now())
