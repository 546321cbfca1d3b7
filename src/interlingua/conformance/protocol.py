"""What holds whatever is asked: routes, keys, errors, headers, bodies, api-versions."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from interlingua.types.models import Operation

from .calls import Caller, Got
from .case import Case, expect
from .declared import ABSENT, Declared
from .samples import ROUTES, least
from .shapes import Info

_OPERATIONS: tuple[Operation, ...] = (
    "chat_completions",
    "completions",
    "embeddings",
    "image_embeddings",
)
#: Azure: ModelType, and the spellings that clients of the service met.
_TYPES = re.compile(
    r"(chat|text|image|audio)?[-_ ]?(completions?|embeddings?|generation)|chat", re.IGNORECASE
)
_ID = "conformance-1f0e"


def cases(caller: Caller, declared: Declared) -> Iterator[Case]:
    """What must hold of every deployment; ``declared`` has at least one operation."""
    for operation in _OPERATIONS:
        if operation not in declared.operations:
            yield Case(
                area="protocol",
                name=f"{operation.replace('_', ' ')}, which it doesn't have, is 404 or 405",
                run=partial(_lacking, caller, declared, operation),
            )
    usual = next(each for each in _OPERATIONS if each in declared.operations)
    yield Case(
        area="info",
        name="model info has its exact shape",
        run=partial(_info, caller, declared),
        skipped="" if declared.has_info else "the server has no /info here",
    )
    for name, run in (
        ("JSON that isn't is 400", _malformed),
        ("a body that is no object is 4xx", _no_object),
        ("an unknown path is 404", _lost),
        ("another method is 405", _method),
        ("a wrong value of extra-parameters is 400", _no_policy),
        ("a model that doesn't exist is 400 or 404", _no_model),
    ):
        skipped = ""
        if run is _no_model and not (declared.ours or declared.name):
            skipped = "an endpoint of one model doesn't look at the name"
        checked = partial(run, caller, declared, usual)
        yield Case(area="errors", name=name, run=checked, skipped=skipped)
    for name, run in (
        ("no key or a wrong one is 401", _no_key),
        ("a key is taken as api-key, Bearer or bare", _keys),
        ("x-ms-client-request-id comes back", _client_id),
        ("a body in pieces, without a length", _in_pieces),
        ("api-version may be absent, new, old or twice", _versions),
        ("calls at once have their own answers", _at_once),
        ("the server is live", _live),
    ):
        skipped = ""
        if run in {_no_key, _keys} and caller.key is None:
            skipped = "no key was given"
        if run is _live and not declared.ours:
            skipped = "a route of this server's own"
        checked = partial(run, caller, declared, usual)
        yield Case(area="protocol", name=name, run=checked, skipped=skipped)


async def _ask(
    caller: Caller,
    declared: Declared,
    operation: Operation,
    headers: Mapping[str, str] | None = None,
    query: str = "",
) -> Got:
    body = declared.body(least(operation))
    return await caller.call(ROUTES[operation] + query, body, headers=headers)


def _answered(got: Got) -> None:
    expect(got.status == 200, f"200 was due and came {got.told}")


async def _lacking(caller: Caller, declared: Declared, operation: Operation) -> None:
    (await _ask(caller, declared, operation)).error(*sorted(ABSENT))


async def _info(caller: Caller, declared: Declared) -> None:
    path = f"/info?model={declared.name}" if declared.name else "/info"
    info = (await caller.get(path)).read(Info)
    expect(_TYPES.fullmatch(info.model_type), f"the type is {info.model_type!r}")


async def _malformed(caller: Caller, declared: Declared, operation: Operation) -> None:
    del declared
    for body in (b'{"messages": [', b"", b"\xff\xfe", b"{'a': 1}", b"[" * 5000):
        got = await caller.call(ROUTES[operation], body)
        # Microsoft's own containers said 422.
        error = got.error(400, 422)
        expect(error.error.message, "the error says nothing")
        expect(got.headers.get("x-ms-error-code"), "x-ms-error-code is missing")


async def _no_object(caller: Caller, declared: Declared, operation: Operation) -> None:
    del declared
    for body in (b"[]", b"null", b'"text"', b"7"):
        (await caller.call(ROUTES[operation], body)).error(400, 422)


async def _lost(caller: Caller, declared: Declared, operation: Operation) -> None:
    path = ROUTES[operation]
    for lost in (f"/nowhere{path}", f"{path}/more", f"{path}x"):
        (await caller.call(lost, declared.body(least(operation)))).error(404)


async def _method(caller: Caller, declared: Declared, operation: Operation) -> None:
    del declared
    got = await caller.call(ROUTES[operation], method="GET")
    got.error(405, 404)


async def _no_policy(caller: Caller, declared: Declared, operation: Operation) -> None:
    got = await _ask(caller, declared, operation, {"extra-parameters": "allow"})
    expect("pass-through" in got.error(400).error.message, "the error doesn't say what may be")


async def _no_model(caller: Caller, declared: Declared, operation: Operation) -> None:
    del declared
    body = {**least(operation), "model": "no-such-model-here"}
    got = await caller.call(ROUTES[operation], body)
    expect("no-such-model-here" in got.error(400, 404).error.message, "the name isn't repeated")


# -- Keys, headers, bodies ------------------------------------------------------------------


async def _no_key(caller: Caller, declared: Declared, operation: Operation) -> None:
    body = declared.body(least(operation))
    for headers in ({}, {"api-key": "wrong"}, {"authorization": "Bearer wrong"}):
        got = await caller.call(ROUTES[operation], body, headers=headers, keyed=False)
        error = got.error(401)
        said = error.error.message.lower()
        # Clients tell a bad key by these words.
        expect(said.startswith("auth token validation failed"), f"it says {said[:60]!r}")


async def _keys(caller: Caller, declared: Declared, operation: Operation) -> None:
    body = declared.body(least(operation))
    key = caller.key or ""
    # The Java client sends the bare key.
    for headers in (
        {"api-key": key},
        {"authorization": f"Bearer {key}"},
        {"authorization": key},
        {"api-key": key, "authorization": f"Bearer {key}"},
    ):
        _answered(await caller.call(ROUTES[operation], body, headers=headers, keyed=False))


async def _client_id(caller: Caller, declared: Declared, operation: Operation) -> None:
    headers = {"x-ms-client-request-id": _ID, "x-ms-return-client-request-id": "true"}
    got = await _ask(caller, declared, operation, headers)
    _answered(got)
    came = got.headers.get("x-ms-client-request-id")
    expect(came == _ID, f"x-ms-client-request-id is {came!r}")


async def _in_pieces(caller: Caller, declared: Declared, operation: Operation) -> None:
    whole = msgspec.json.encode(declared.body(least(operation)))
    pieces = [whole[:5], whole[5:20], whole[20:]]
    _answered(await caller.call(ROUTES[operation], pieces))


async def _versions(caller: Caller, declared: Declared, operation: Operation) -> None:
    for query in (
        "",
        "?api-version=2024-05-01-preview",
        "?api-version=2025-05-01",
        "?api-version=2031-01-01",
        "?api-version=2024-05-01-preview&api-version=2025-04-01",
    ):
        _answered(await _ask(caller, declared, operation, query=query))


async def _at_once(caller: Caller, declared: Declared, operation: Operation) -> None:
    replies = await asyncio.gather(*(_ask(caller, declared, operation) for _ in range(4)))
    for got in replies:
        _answered(got)


async def _live(caller: Caller, declared: Declared, operation: Operation) -> None:
    del declared, operation
    _answered(await caller.get("/health/live"))
