"""The honest contract: each parameter is honoured, refused by name, dropped or passed through."""

from collections.abc import Iterator, Mapping
from functools import partial

from interlingua.types.models import Operation

from .calls import Caller, Got
from .case import Case, expect
from .declared import Declared
from .samples import EXTENSIONS, PARAMETERS, ROUTES, Sample, least

_CHANGES = "x-interlingua-changes"
#: Names that no model knows, one for each policy, so that an upstream can tell which came.
_REFUSED = "conformance_refused"
_DROPPED = "conformance_dropped"
_PASSED = "conformance_passed"
_LONG = [f"conformance_{number}" for number in range(65)]


def cases(caller: Caller, declared: Declared, operation: Operation) -> Iterator[Case]:
    """What must hold of the parameters of one operation."""
    short = operation.replace("_", " ")
    for sample in PARAMETERS[operation]:
        if sample.good is not None:
            yield Case(
                area="parameters",
                name=f"{short}: {sample.name} is honoured, or refused by name",
                run=partial(_known, caller, declared, operation, sample),
            )
        yield Case(
            area="parameters",
            name=f"{short}: a wrong {sample.name} is 422 and named",
            run=partial(_wrong, caller, declared, operation, sample),
        )
    for name, run in (
        ("without the header an unknown name is 400 and named", partial(_erred, headers={})),
        ("under error it is 400 and named", partial(_erred, headers=_policy("error"))),
        ("under drop it is left out", _dropped),
        ("under pass-through it goes on, or is refused by name", _passed),
        ("more names than a reply could list are 400", _too_many),
    ):
        skipped = "" if declared.ours or run is not _too_many else "a limit of this server's own"
        yield Case(
            area="extra parameters",
            name=f"{short}: {name}",
            run=partial(run, caller, declared, operation),
            skipped=skipped,
        )
    for name in sorted(declared.can.extensions or ()):
        if name in EXTENSIONS and EXTENSIONS[name] is not None:
            yield Case(
                area="extra parameters",
                name=f"{short}: {name}, which it lists, is taken under pass-through",
                run=partial(_listed, caller, declared, operation, name),
            )


def _policy(value: str) -> dict[str, str]:
    return {"extra-parameters": value}


async def _ask(
    caller: Caller,
    declared: Declared,
    operation: Operation,
    fields: Mapping[str, object],
    headers: Mapping[str, str] | None = None,
) -> Got:
    body = declared.body({**least(operation), **fields})
    return await caller.call(ROUTES[operation], body, headers=headers)


async def _known(caller: Caller, declared: Declared, operation: Operation, sample: Sample) -> None:
    got = await _ask(caller, declared, operation, {**sample.beside, sample.name: sample.good})
    able = declared.honours(sample.name)
    if all(declared.honours(name) is not False for name in sample.beside):
        neutral = sample.name in {"stream", "tool_choice", "encoding_format", "input_type"}
        neutral = neutral or sample.name == "response_format"
        if got.status == 200 and (able is not False or neutral):
            return
        expect(able is not True, f"it declares {sample.name}, and came {got.told}")
    error = got.error(422, 400) if able is None else got.error(422)
    named = [sample.name, *sample.beside]
    expect(any(map(error.names, named)), f"the error doesn't name {sample.name}: {error}")


async def _wrong(caller: Caller, declared: Declared, operation: Operation, sample: Sample) -> None:
    for value in sample.bad:
        fields = {**sample.beside, sample.name: value}
        error = (await _ask(caller, declared, operation, fields)).error(422)
        named = any(map(error.names, [sample.name, *sample.beside]))
        expect(named, f"{sample.name} = {value!r}: the error doesn't name it: {error}")


async def _erred(
    caller: Caller, declared: Declared, operation: Operation, headers: Mapping[str, str]
) -> None:
    got = await _ask(caller, declared, operation, {_REFUSED: 1}, headers)
    error = got.error(400)
    expect(error.names(_REFUSED), f"the error doesn't name it: {error}")


async def _dropped(caller: Caller, declared: Declared, operation: Operation) -> None:
    got = await _ask(caller, declared, operation, {_DROPPED: {"a": [1]}}, _policy("drop"))
    expect(got.status == 200, f"200 was due and came {got.told}")
    said = got.headers.get(_CHANGES)
    if said is not None or declared.ours:
        due = f'dropped=("{_DROPPED}")'
        expect(due in (said or ""), f"{_CHANGES} is {said!r}, not {due!r}")
    for name, value in (("a\r\nset-cookie: x", 1), ("ключ", None), ("", 0)):
        got = await _ask(caller, declared, operation, {name: value}, _policy("drop"))
        expect(got.status == 200, f"the name {name!r}: 200 was due and came {got.told}")
        expect("set-cookie" not in got.headers, "a name became a header")


async def _passed(caller: Caller, declared: Declared, operation: Operation) -> None:
    got = await _ask(caller, declared, operation, {_PASSED: 1}, _policy("pass-through"))
    if got.status == 200:
        expect(declared.can.passes_through is not False, "it went on, and nothing says so")
        return
    # An engine says 422; a provider refuses what it doesn't know as it does.
    error = got.error(422) if declared.can.passes_through is False else got.error(422, 400)
    expect(error.names(_PASSED), f"the error doesn't name it: {error}")


async def _too_many(caller: Caller, declared: Declared, operation: Operation) -> None:
    fields = dict.fromkeys(_LONG, 1)
    (await _ask(caller, declared, operation, fields, _policy("drop"))).error(400)


async def _listed(caller: Caller, declared: Declared, operation: Operation, name: str) -> None:
    value = EXTENSIONS[name]
    if operation == "completions" and name == "logprobs":
        value = 1
    fields: dict[str, object] = {name: value}
    got = await _ask(caller, declared, operation, fields, _policy("pass-through"))
    if got.status == 200:
        expect(_CHANGES not in got.headers, f"it is listed, and {got.headers.get(_CHANGES)}")
        return
    # A name may belong to the deployment's other operation.
    error = got.error(422)
    expect(error.names(name), f"the error doesn't name {name}: {error}")
