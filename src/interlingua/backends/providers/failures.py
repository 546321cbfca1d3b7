"""What a provider's failures mean for our caller.

Rules of this file:
- What is at fault here (our credential, address or model name) is never told as the caller's
  fault: it is 502.
- No text of a provider goes on with our credential, or a piece of it, inside; nor any text
  of unbounded length.
- A failure is told by its type and status, never by its words.
"""

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import msgspec

from interlingua.errors import (
    ApiError,
    InternalError,
    Location,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    Unauthorized,
    Unavailable,
    UnknownModel,
    UnknownParameters,
    UpstreamError,
)

_LONGEST_MESSAGE = 1000
_LONGEST_VALUE = 200
_LONGEST_WAIT_S = 3600
#: So much of a key is recognised as ours; providers repeat beginnings of keys.
_PIECE = 8
_HIDDEN = "[key]"
_TOKEN = re.compile(r"(?i)\bbearer\s+[^\s\"',]+|\bsk-[\w*.-]{4,}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


def of_status(status: int) -> ApiError | None:
    """What the status alone says; ``None``: the body says what is wrong."""
    if status in {401, 402, 403, 407}:
        return _refused(f"with status {status}")
    if status < 400:
        what = "a redirect, which is not followed" if status >= 300 else "no answer"
        return UpstreamError(
            f"The provider replied with {what} (status {status}). Check the deployment's base_url."
        )
    return None


def _refused(how: str) -> UpstreamError:
    return UpstreamError(
        f"The provider refused this server's own credential or account {how}: the deployment's "
        "key or identity in the server's config is missing, wrong or not entitled. The caller's "
        "key is fine."
    )


class Retold:
    """Makes a provider's errors fit for our caller.

    ``pinned``: the config names the model, so an unknown one is not the caller's doing.
    """

    def __init__(self, secrets: Iterable[str], *, pinned: bool) -> None:
        self._pinned = pinned
        self._secrets = [*map(_trace_of, filter(None, secrets)), _TOKEN]

    def tell(self, error: ApiError) -> ApiError:
        """The error to raise instead; it may be the same, made harmless."""
        self._clean(error)
        match error:
            case Unauthorized():
                return _refused("in its reply")
            case InternalError():
                return UpstreamError(f"The provider failed: {error.message}")
            case UnknownModel() | NotFound() if self._pinned:
                return _misdirected(error)
            case MethodNotAllowed():
                return _misdirected(error)
            case _:
                return error

    def _clean(self, error: ApiError) -> None:
        error.message = self._text(error.message, _LONGEST_MESSAGE)
        error.args = (error.message,)
        error.location = self._location(error.location)
        error.value = self._value(error.value)
        if isinstance(error, UnknownParameters):
            error.names = tuple(self._text(name, _LONGEST_VALUE) for name in error.names)

    def _text(self, text: str, longest: int) -> str:
        # Cut first, so that a hostile length costs nothing; with room for what is replaced.
        text = text[: longest * 4]
        for secret in self._secrets:
            text = secret.sub(_HIDDEN, text)
        text = _CONTROLS.sub(" ", text)
        return text if len(text) <= longest else text[:longest] + "…"

    def _location(self, location: Location) -> Location:
        """Places in the request's body; a provider's own headers are not the caller's."""
        if location[:1] != ("body",) or len(location) > 32:
            return ()
        return tuple(
            self._text(step, _LONGEST_VALUE) if isinstance(step, str) else step for step in location
        )

    def _value(self, value: object) -> object:
        if isinstance(value, str):
            return self._text(value, _LONGEST_VALUE)
        if isinstance(value, dict | list):
            said = msgspec.json.encode(value)[: _LONGEST_VALUE + 1].decode("utf-8", "replace")
            harmless = len(said) <= _LONGEST_VALUE and self._text(said, _LONGEST_VALUE) == said
            return value if harmless else None
        return value


def _misdirected(error: ApiError) -> UpstreamError:
    return UpstreamError(
        "The provider doesn't know the model or address of this deployment: check model and "
        f"base_url in the server's config. It said: {error.message}"
    )


def _trace_of(credential: str) -> re.Pattern[str]:
    """The credential as it is, as a URL spells it, or a beginning of it and what follows."""
    forms = [re.escape(credential), re.escape(quote(credential, safe=""))]
    if len(credential) >= 2 * _PIECE:
        forms += [
            re.escape(credential[:_PIECE]) + r"[^\s\"',]*",
            r"[^\s\"',]*" + re.escape(credential[-_PIECE:]),
        ]
    return re.compile("|".join(forms))


def told_to_wait(error: ApiError, headers: Mapping[str, str]) -> ApiError:
    """The error with the wait that the reply's headers ask for, in whole seconds; without
    such a header the body's word counts.
    """
    told = "retry-after" in headers or "retry-after-ms" in headers
    if told and isinstance(error, RateLimited | Unavailable):
        error.retry_after_s = wait_s(headers)
    return error


def wait_s(headers: Mapping[str, str]) -> int:
    """``retry-after`` in seconds from 1 to 3600, whichever form it has.

    Sources: RFC 9110 §10.2.3 (seconds or a date); ``retry-after-ms`` is Azure OpenAI's.
    """
    wait = _number(headers.get("retry-after-ms"), 1000)
    if wait is None:
        wait = _number(headers.get("retry-after"), 1)
    if wait is None:
        wait = _until(headers.get("retry-after"), headers.get("date"))
    # Rounded up: a caller that comes a moment early is refused again.
    return max(1, min(_LONGEST_WAIT_S, -int(-wait // 1)))


def _number(text: str | None, scale: int) -> float | None:
    if not text or not re.fullmatch(r"\s*\d{1,12}(\.\d{1,9})?\s*", text, re.ASCII):
        return None
    return float(text) / scale


def _until(date: str | None, now: str | None) -> float:
    """How long it is to a date by the provider's own clock; 1 where either is missing."""
    try:
        return (
            parsedate_to_datetime(date or "") - parsedate_to_datetime(now or "")
        ).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 1.0
