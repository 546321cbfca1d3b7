"""Running the conformance suite against a server of this process, on a real port."""

import asyncio
from collections.abc import Callable, Sequence

from interlingua.conformance.calls import Caller, calling
from interlingua.conformance.case import Case, Outcome
from interlingua.conformance.declared import Declared
from interlingua.conformance.suite import cases, run
from interlingua.gateway.deployments import Deployment

from ..server.service import KEY

Select = Callable[[Case], bool]


def declared_by(deployment: Deployment, **fields: object) -> Declared:
    """What a deployment of this process declares, without asking it."""
    can = deployment.capabilities
    return Declared(
        name=deployment.name,
        operations=can.operations or frozenset(),
        can=can,
        ours=True,
        has_openai=True,
        **fields,  # type: ignore[arg-type]  # a test's choice
    )


def outcomes(
    url: str, declared: Declared, *, only: Select = lambda case: True, at_once: int = 8
) -> list[Outcome]:
    """What came of the suite's cases."""

    async def all_of_them() -> list[Outcome]:
        async with calling(url, KEY, timeout_s=60) as caller:
            listed = [case for case in _cases(caller, declared) if only(case)]
            return [outcome async for outcome in run(listed, declared.name, at_once=at_once)]

    return asyncio.run(all_of_them())


def _cases(caller: Caller, declared: Declared) -> list[Case]:
    return list(cases(caller, declared))


def assert_conforms(found: Sequence[Outcome], *, at_least: int) -> None:
    failed = [f"{each.area}: {each.case}: {each.why}" for each in found if each.state == "fail"]
    assert not failed, "\n".join(failed)
    assert sum(each.state == "pass" for each in found) >= at_least
