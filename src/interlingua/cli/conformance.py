"""``interlingua check --conformance``: whether a server keeps to this API, case by case."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click
import msgspec

from interlingua.conformance.calls import calling
from interlingua.conformance.case import Deviation, Outcome
from interlingua.conformance.declared import discover
from interlingua.conformance.suite import cases, run
from interlingua.errors import ConfigError
from interlingua.sdk.environment import access
from interlingua.sdk.trust import context_for

from .keys import kept_key


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says."""

    url: str
    key: str | None
    deployment: str | None
    timeout_s: float
    as_json: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The one JSON object."""

    server: str
    conforms: bool
    passed: int
    failed: int
    skipped: int
    cases: tuple[Outcome, ...]


def check_server(asked: Asked) -> int:
    """Run the suite, tell what came of it; the exit code.

    Raises:
        ConfigError: nothing of this API is at the address.
    """
    outcomes = asyncio.run(_outcomes(asked))
    counted = Counter(outcome.state for outcome in outcomes)
    if asked.as_json:
        report = Report(
            server=asked.url,
            conforms=not counted["fail"],
            passed=counted["pass"],
            failed=counted["fail"],
            skipped=counted["skipped"],
            cases=tuple(outcomes),
        )
        click.echo(msgspec.json.encode(report).decode())
    else:
        _print(outcomes)
        click.echo(
            f"\n{counted['pass']} passed, {counted['fail']} failed, {counted['skipped']} skipped"
        )
    return 1 if counted["fail"] else 0


async def _outcomes(asked: Asked) -> list[Outcome]:
    given = access(asked.url, asked.key, kept_key=kept_key())
    kept_ca: Path = kept_key().with_name("tls") / "ca.pem"
    trust = context_for(given.endpoint, None, kept_ca=kept_ca)
    url = given.endpoint.rstrip("/")
    outcomes = []
    try:
        async with calling(url, given.key, timeout_s=asked.timeout_s, trust=trust) as caller:
            for declared in await discover(caller, asked.deployment):
                listed = list(cases(caller, declared))
                place = {(case.area, case.name): n for n, case in enumerate(listed)}
                found = []
                async for outcome in run(listed, declared.name or "-"):
                    found.append(outcome)
                    _progress(declared.name, len(found), len(listed))
                found.sort(key=lambda each: place[each.area, each.case])
                outcomes += found
    except Deviation as error:
        raise ConfigError(f"{url}: {error}") from error
    return outcomes


def _progress(deployment: str, done: int, of: int) -> None:
    """A line that counts, on a terminal."""
    if sys.stderr.isatty():
        end = "\r\x1b[K" if done == of else ""
        click.echo(f"\r\x1b[K{deployment}: {done} of {of} cases{end}", nl=False, err=True)


def _print(outcomes: Sequence[Outcome]) -> None:
    for deployment, theirs in groupby(outcomes, key=lambda each: each.deployment):
        click.echo(f"deployment {deployment}\n")
        width = 8 + max(len(each.case) for each in outcomes)
        listed = list(theirs)
        for area in dict.fromkeys(each.area for each in listed):
            click.echo(f"  {area}")
            for each in (each for each in listed if each.area == area):
                why = f"  {each.why}" if each.why else ""
                click.echo(f"    {each.case:<{width - 8}}  {each.state:<7}{why}".rstrip())
        click.echo()
