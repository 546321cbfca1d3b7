"""What a text can tell the echo to do wrong, so that callers can be tested for it.

A text whose first line begins with ``!fail`` is a command, and what follows that line is what
is repeated:

    !fail status=503 retry_after=2
    !fail cut after=3

Whatever fails here raises what a real backend would raise, so the caller sees the same.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Literal

import msgspec

from interlingua import errors
from interlingua.errors import ApiError, InvalidValue, Location, RateLimited, Unavailable

Kind = Literal["status", "cut", "malformed", "stall"]

_COMMAND = re.compile(r"!fail(?=\s|$)[^\S\n]*([^\n]*)\n?")
_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
_ALLOWED = "status=CODE, cut, malformed, stall, after=WORDS, delay=SECONDS, retry_after=SECONDS"
_BY_STATUS: dict[int, type[ApiError]] = {
    kind.status: kind
    for kind in (
        errors.CallerError,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.RequestTimeout,
        errors.BodyTooLarge,
        errors.InvalidValue,
        errors.RateLimited,
        errors.InternalError,
        errors.UpstreamError,
        errors.Unavailable,
        errors.DeadlineExceeded,
    )
}


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong with one answer, and when."""

    #: ``None``: nothing does.
    kind: Kind | None = None
    status: int = 0
    #: Words that are said before.
    after: int = 0
    delay_s: float = 0
    retry_after_s: int = 1

    async def spoken(self, words: Sequence[str]) -> AsyncGenerator[str]:
        """The words as far as they are said; others run between two of them."""
        await self.begin()
        for number, word in enumerate(words):
            if number == self.after:
                await self.fail()
            yield word
            await asyncio.sleep(0)
        if len(words) <= self.after:
            await self.fail()

    async def begin(self) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)

    async def fail(self) -> None:
        """Do what goes wrong, if anything does."""
        match self.kind:
            case None:
                return
            case "stall":
                await asyncio.Event().wait()
            case _:
                error = self._error()
                error.staged = True
                raise error

    def _error(self) -> ApiError:
        if self.kind == "cut":
            return errors.UpstreamError("The upstream broke its reply off.")
        if self.kind == "malformed":
            return errors.UpstreamError("The reply makes no sense: it is not JSON.")
        kind = _BY_STATUS[self.status]
        message = f"The echo was told to fail with status {self.status}."
        if issubclass(kind, RateLimited | Unavailable):
            return kind(message, retry_after_s=self.retry_after_s)
        return kind(message)


NONE = Command()


def command_of(text: str, location: Location) -> tuple[Command, str]:
    """What the text tells the echo to do wrong, and what there is to repeat: what follows the
    command, or the command where nothing does.

    Raises:
        InvalidValue: it is a command that the echo doesn't know.
    """
    found = _COMMAND.match(text)
    if found is None:
        return NONE, text
    stated: dict[str, str] = {}
    for word in found[1].split():
        name, _, value = word.partition("=")
        if name in stated:
            raise _unknown(word, location)
        stated[name] = value
    return _read(stated, location), text[found.end() :] or text


def _read(stated: dict[str, str], location: Location) -> Command:
    kinds: list[Kind] = []
    fields: dict[str, float] = {}
    for name, value in stated.items():
        match name:
            case "cut" | "malformed" | "stall" if not value:
                kinds.append(name)
            case "status" if value.isdecimal() and int(value) in _BY_STATUS:
                kinds.append("status")
                fields["status"] = int(value)
            case "after" | "retry_after" if re.fullmatch("[0-9]{1,4}", value):
                fields["retry_after_s" if name == "retry_after" else name] = int(value)
            case "delay" if _NUMBER.fullmatch(value):
                fields["delay_s"] = float(value)
            case _:
                raise _unknown(f"{name}={value}" if value else name, location)
    if len(kinds) > 1:
        raise _unknown(" ".join(kinds), location)
    kind = kinds[0] if kinds else None
    # What breaks in the middle needs something before it.
    first = 0 if kind in {None, "status"} else 1
    return msgspec.convert({"kind": kind, "after": first, **fields}, Command)


def _unknown(words: str, location: Location) -> InvalidValue:
    known = ", ".join(map(str, _BY_STATUS))
    return InvalidValue(
        f"!fail: {words[:64]!r} is not known here. It takes {_ALLOWED}; one failure at a time. "
        f"Statuses: {known}.",
        location=location,
    )
