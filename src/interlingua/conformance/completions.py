"""Text completions, whole and streamed."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from .calls import Caller, shaped
from .case import Case, expect
from .declared import Declared
from .samples import asking
from .shapes import Completion, events

_PATH = "/completions"


def cases(caller: Caller, declared: Declared) -> Iterator[Case]:
    """What must hold of a deployment that continues texts."""
    for name, run in (
        ("a whole answer has its exact shape", _whole),
        ("a stream has the shape of whole answers, and ends with [DONE]", _streamed),
        ("a whole answer is what its stream folds to", _folded),
        ("several prompts are as many choices", _several),
        ("max_tokens bounds completion_tokens", _bounded),
        ("a prompt that is missing or empty is 422", _empty),
    ):
        yield Case(area="completions", name=name, run=partial(run, caller, declared))


async def _ask(caller: Caller, declared: Declared, **fields: Any) -> Completion:
    body = declared.body({**asking("completions"), **fields})
    return (await caller.call(_PATH, body)).read(Completion)


async def _chunks(caller: Caller, declared: Declared, **fields: Any) -> list[Completion]:
    body = declared.body({**asking("completions"), **fields, "stream": True})
    got = await caller.call(_PATH, body)
    expect(got.status == 200, f"200 was due and came {got.told}")
    return [shaped(data, Completion) for data in events(got.body)]


async def _whole(caller: Caller, declared: Declared) -> None:
    answer = await _ask(caller, declared)
    expect(len(answer.choices) == 1, f"{len(answer.choices)} choices came for one prompt")
    expect(answer.choices[0].finish_reason, "a choice has no finish reason")
    expect(answer.usage is not None and answer.usage.prompt_tokens, f"it counted {answer.usage}")


async def _streamed(caller: Caller, declared: Declared) -> None:
    chunks = await _chunks(caller, declared)
    for chunk in chunks:
        same = (chunk.id, chunk.model, chunk.created)
        due = (chunks[0].id, chunks[0].model, chunks[0].created)
        expect(same == due, "id, model and created change within a stream")
        expect(chunk.choices, "a chunk came without choices, unasked")
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    expect(ends[-1] and not any(ends[:-1]), f"the finish reasons are {ends}")


async def _folded(caller: Caller, declared: Declared) -> None:
    whole = await _ask(caller, declared, **declared.steady())
    chunks = await _chunks(caller, declared, **declared.steady())
    text = "".join(choice.text for chunk in chunks for choice in chunk.choices)
    if declared.exact:
        expect(text == whole.choices[0].text, f"{text!r} isn't {whole.choices[0].text!r}")
        expect(chunks[-1].usage == whole.usage, f"{chunks[-1].usage} isn't {whole.usage}")


async def _several(caller: Caller, declared: Declared) -> None:
    answer = await _ask(caller, declared, prompt=["One, two,", "Red, green,"])
    places = sorted(choice.index for choice in answer.choices)
    expect(places == [0, 1], f"two prompts have the choices {places}")


async def _bounded(caller: Caller, declared: Declared) -> None:
    usage = (await _ask(caller, declared, max_tokens=2)).usage
    expect(usage is not None and usage.completion_tokens <= 2, f"max_tokens is 2, and {usage}")


async def _empty(caller: Caller, declared: Declared) -> None:
    bodies: tuple[dict[str, object], ...] = ({}, {"prompt": []}, {"prompt": {"text": "x"}})
    for fields in bodies:
        error = (await caller.call(_PATH, declared.body(fields))).error(422)
        expect(error.names("prompt"), f"{fields}: the error doesn't name prompt: {error}")
