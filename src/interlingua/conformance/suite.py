"""The cases that apply to a deployment, and their run."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator

import httpx2

from . import chat, completions, openai_routes, parameters, protocol, vectors
from .calls import Caller
from .case import Case, Deviation, Outcome
from .declared import Declared
from .samples import PARAMETERS


def cases(caller: Caller, declared: Declared) -> Iterator[Case]:
    """Every case of a deployment, those too that don't apply to it."""
    if not declared.operations:
        return
    yield from protocol.cases(caller, declared)
    if "chat_completions" in declared.operations:
        yield from chat.cases(caller, declared)
    if "completions" in declared.operations:
        yield from completions.cases(caller, declared)
    if "embeddings" in declared.operations:
        yield from vectors.cases(caller, declared, "embeddings")
    if "image_embeddings" in declared.operations:
        yield from vectors.cases(caller, declared, "image_embeddings")
    for operation in PARAMETERS:
        if operation in declared.operations:
            yield from parameters.cases(caller, declared, operation)
    yield from openai_routes.cases(caller, declared)


async def run(
    listed: Iterable[Case], deployment: str, *, at_once: int = 4
) -> AsyncIterator[Outcome]:
    """What came of each case, as they end; ``at_once`` of them run side by side."""
    places = asyncio.Semaphore(at_once)

    async def one(case: Case) -> Outcome:
        async with places:
            return await _outcome(case, deployment)

    tasks = [asyncio.create_task(one(case)) for case in listed]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _outcome(case: Case, deployment: str) -> Outcome:
    if case.skipped:
        return Outcome(
            deployment=deployment,
            area=case.area,
            case=case.name,
            state="skipped",
            why=case.skipped,
        )
    began = time.monotonic()
    why = ""
    try:
        await case.run()
    except Deviation as error:
        why = str(error)
    except httpx2.HTTPError as error:
        why = f"the exchange broke: {type(error).__name__}: {error}"
    return Outcome(
        deployment=deployment,
        area=case.area,
        case=case.name,
        state="fail" if why else "pass",
        why=why,
        seconds=round(time.monotonic() - began, 3),
    )
