"""Fault × operation × kind of engine: what holds for providers holds for engines.

An engine's line is a private socket, so that nothing between says pages or statuses of its
own; lines still end, fall silent and go wrong, as the engine at their end does.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from ..support.fault_proxy import Fault
from .engines import CALLS, standing
from .stand import Call, Outcome, Stand
from .test_matrix import EARLY, HARMLESS, LATE

#: What a model says in the middle, and where the body of what is whole has begun.
_WORD, _BODY = b" tiny", b"\r\n\r\n"
_SAID = ("an error with status 200", "nothing with status 200", "a proxy's page", "not HTTP",
         "a head without an end", "deep JSON", "bytes that are no text")  # fmt: skip
_EARLY = tuple(name for name, case in EARLY.items() if case.fault.kind != "answer") + _SAID
#: Turned bits of MessagePack's floats are floats: nobody can tell.
_UNSEEN = {("corrupt in the middle", "onnx")}


@dataclass(frozen=True)
class Struck:
    """What each call came to under a fault, and what was put down of it, by its id."""

    name: str
    outcomes: Mapping[Call, Outcome]
    statuses: Mapping[str, list[int]]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("engines")) as running:
        # One after the other: engines that load together take longer than a call may.
        for call in CALLS:
            while running.ask(call).status == 504:
                pass
        yield running


@pytest.fixture(scope="module")
def right(stand: Stand) -> dict[Call, Outcome]:
    """What each call comes to where nothing fails."""
    outcomes = stand.all(Fault(), CALLS)
    assert {(each.status, each.whole) for each in outcomes.values()} == {(200, True)}
    return outcomes


@pytest.fixture(scope="module", params=(*_EARLY, *LATE, *HARMLESS))
def struck(request: pytest.FixtureRequest, stand: Stand, right: dict[Call, Outcome]) -> Struck:
    name: str = request.param
    fault = (EARLY | LATE | HARMLESS)[name].fault
    outcomes: dict[Call, Outcome] = {}
    if name in LATE:
        talks = [call for call in CALLS if call.operation in {"chat", "completion"}]
        outcomes |= stand.all(replace(fault, after=_WORD), talks)
        rest = [call for call in CALLS if call not in talks]
        outcomes |= stand.all(replace(fault, after=_BODY, plus=24), rest)
    else:
        outcomes |= stand.all(fault, CALLS)
    after = stand.all(Fault(), CALLS)
    assert {call: each.said for call, each in after.items()} == {
        call: each.said for call, each in right.items()
    }, "the calls after the fault"
    assert stand.under_way() == 0
    return Struck(name, outcomes, stand.statuses())


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_fault_of_an_engine_is_an_error_or_does_no_harm(
    struck: Struck, call: Call, right: dict[Call, Outcome]
) -> None:
    outcome = struck.outcomes[call]
    statuses = {504} if "stalled" in struck.name else {502, 503}
    (told,) = struck.statuses[outcome.id]
    if struck.name in HARMLESS:
        assert (outcome.whole, outcome.said, told) == (True, right[call].said, 200)
    elif (struck.name, call.provider) in _UNSEEN and outcome.status == 200:
        assert (outcome.whole, told) == (True, 200)
    elif call.streamed and struck.name in LATE:
        assert outcome.status == 200
        assert not outcome.whole
        *said, last = outcome.events
        assert "[DONE]" not in (*said, last)
        assert not any(json.loads(each)["choices"][0]["finish_reason"] for each in said)
        assert json.loads(last)["error"]["message"]
        assert told in statuses
    else:
        assert outcome.whole
        assert outcome.status == told
        assert outcome.status in statuses
        error = json.loads(outcome.body)["error"]
        assert error["code"]
        assert error["message"]
        assert (outcome.headers.get("retry-after") is not None) == (told == 503)
