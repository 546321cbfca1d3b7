"""Fault × operation × provider's kind: an answer that is right, or an error that says so.

Rules of this matrix:
- What a caller takes for an answer is the answer; nothing cut, changed or made up is.
- Before a stream has said anything, its failure has a status of its own; after that it is an
  event, and the connection breaks off, since a proper end looks like success to some clients.
- Each call is on record once, as what it came to; nothing is under way afterwards, and the
  next call is answered.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from ..support.fault_proxy import Fault
from .stand import CALLS, Call, Outcome, Stand, standing

_HEAD_END = b"\r\n\r\n"
_WORD = b"beta"


def _page(status: str, body: bytes, *headers: bytes, kind: bytes = b"text/html") -> bytes:
    """A whole reply, as something between here and a provider says it."""
    lines = [
        b"HTTP/1.1 " + status.encode(),
        b"content-type: " + kind,
        b"content-length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + _HEAD_END + body


_JSON = b"application/json"
_STATED = b'{"error": {"message": "broken", "code": "broken"}}'


@dataclass(frozen=True)
class Case:
    """A fault, and the status of what it strikes; 200: it does no harm."""

    fault: Fault
    status: int
    #: What it may be besides, as connections go.
    or_else: int | None = None
    retry_after: str | None = None


def _answered(words: bytes, status: int, retry_after: str | None = None) -> Case:
    return Case(Fault("answer", words=words), status, retry_after=retry_after)


#: Before an answer has begun.
EARLY: dict[str, Case] = {
    "refused": Case(Fault("refuse"), 503, 502),
    "reset before a byte": Case(Fault("reset"), 502),
    "closed before a byte": Case(Fault("close"), 502),
    "half-closed before a byte": Case(Fault("half-close"), 502),
    "stalled before a byte": Case(Fault("stall"), 504),
    "reset in the head": Case(Fault("reset", after=b"HTTP/1.1 200"), 502),
    "closed in the head": Case(Fault("close", after=b"HTTP/1.1 200"), 502),
    "stalled in the head": Case(Fault("stall", after=b"HTTP/1.1 200"), 504),
    "corrupt from the start": Case(Fault("corrupt"), 502),
    "corrupt in the head": Case(Fault("corrupt", after=b"HTTP/1.1 200 OK\r\n"), 502),
    "a proxy's page": _answered(_page("200 OK", b"<html>Sign in</html>"), 502),
    "a proxy's failure": _answered(_page("502 Bad Gateway", b"<html>Oops</html>"), 502),
    "an error with status 200": _answered(_page("200 OK", _STATED, kind=_JSON), 502),
    "nothing with status 200": _answered(_page("200 OK", b"", kind=_JSON), 502),
    "no content": _answered(b"HTTP/1.1 204 No Content\r\n\r\n", 502),
    "elsewhere": _answered(_page("302 Found", b"", b"location: http://127.0.0.1:9/"), 502),
    "too many, in seconds": _answered(
        _page("429 Too Many Requests", _STATED, b"retry-after: 7", kind=_JSON), 429, "7"
    ),
    "too many, for nonsense": _answered(
        _page("429 Too Many Requests", _STATED, b"retry-after: soon", kind=_JSON), 429
    ),
    "overloaded": _answered(_page("503 Service Unavailable", _STATED, kind=_JSON), 503),
    "not HTTP": _answered(b"SSH-2.0-OpenSSH_9.2p1\r\n", 502),
    "a head without an end": _answered(b"HTTP/1.1 200 OK\r\n" + b"x-filler: 1\r\n" * 8000, 502),
    "deep JSON": _answered(_page("200 OK", b"[" * 100_000, kind=_JSON), 502),
    "bytes that are no text": _answered(_page("200 OK", b'{"id": "\xff\xfe"}', kind=_JSON), 502),
}
#: After a word of a stream, or in the body of what is whole.
LATE: dict[str, Case] = {
    "reset in the middle": Case(Fault("reset"), 502),
    "closed in the middle": Case(Fault("close"), 502),
    "half-closed in the middle": Case(Fault("half-close"), 502),
    "stalled in the middle": Case(Fault("stall"), 504),
    "corrupt in the middle": Case(Fault("corrupt"), 502),
}
HARMLESS: dict[str, Case] = {
    "a byte at a time": Case(Fault("slice"), 200),
    "a narrow line": Case(Fault("slow"), 200),
    "a long way": Case(Fault("late"), 200),
}
NAMES = (*EARLY, *LATE, *HARMLESS)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="module")
def right(stand: Stand) -> dict[Call, Outcome]:
    """What each call comes to where nothing fails."""
    outcomes = stand.all(Fault())
    assert {(each.status, each.whole) for each in outcomes.values()} == {(200, True)}
    return outcomes


@dataclass(frozen=True)
class Struck:
    """What each call came to under a fault, and what was put down of it, by its id."""

    name: str
    outcomes: Mapping[Call, Outcome]
    statuses: Mapping[str, list[int]]


@pytest.fixture(scope="module", params=NAMES)
def struck(request: pytest.FixtureRequest, stand: Stand, right: dict[Call, Outcome]) -> Struck:
    name: str = request.param
    outcomes: dict[Call, Outcome] = {}
    if name in LATE:
        fault = LATE[name].fault
        words = [call for call in CALLS if call.streamed]
        outcomes |= stand.all(Fault(fault.kind, after=_WORD), words)
        rest = [call for call in CALLS if not call.streamed]
        outcomes |= stand.all(Fault(fault.kind, after=_HEAD_END, plus=24), rest)
    else:
        outcomes |= stand.all((EARLY | HARMLESS)[name].fault)
    after = stand.all(Fault())
    assert {call: each.said for call, each in after.items()} == {
        call: each.said for call, each in right.items()
    }, "the calls after the fault"
    assert stand.under_way() == 0
    return Struck(name, outcomes, stand.statuses())


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_fault_is_an_error_or_does_no_harm(
    struck: Struck, call: Call, right: dict[Call, Outcome]
) -> None:
    case = (EARLY | LATE | HARMLESS)[struck.name]
    outcome = struck.outcomes[call]
    told = case.status
    if case.status == 200:
        assert (outcome.whole, outcome.said) == (True, right[call].said)
    elif call.streamed and struck.name in LATE:
        assert outcome.status == 200
        assert not outcome.whole
        *said, last = outcome.events
        assert "[DONE]" not in (*said, last)
        assert not any(json.loads(each)["choices"][0]["finish_reason"] for each in said)
        assert json.loads(last)["error"]["message"]
    else:
        assert outcome.status in {case.status, case.or_else}
        assert outcome.whole
        told = outcome.status
        error = json.loads(outcome.body)["error"]
        assert error["code"]
        assert error["message"]
        waits = case.retry_after or "1"
        assert outcome.headers.get("retry-after") == (waits if told in {429, 503} else None)
    assert struck.statuses[outcome.id] == [told]
