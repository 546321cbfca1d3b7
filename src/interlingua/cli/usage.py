"""``interlingua usage``: who called what, and how many tokens it took."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import msgspec

if TYPE_CHECKING:
    from interlingua.storage.ledger import Group, UsageRow

_GROUPS = ("day", "key", "deployment", "operation")
_COUNTS = ("calls", "completed", "errors", "cancelled", "prompt_tokens", "completion_tokens")


class _Groups(click.ParamType["list[Group]"]):
    name = "groups"

    def convert(  # type: ignore[explicit-override]  # typing.override comes with Python 3.12
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> "list[Group]":
        names = [name.strip() for name in value.split(",") if name.strip()]
        for name in names:
            if name not in _GROUPS:
                self.fail(f"{name!r} is none of {', '.join(_GROUPS)}.", param, ctx)
        return cast("list[Group]", list(dict.fromkeys(names)))


@click.command(
    epilog="\b\nExamples:\n"
    "  interlingua usage\n"
    "  interlingua usage --by key --since 2026-11-01\n"
    "  interlingua usage --by day,deployment --json"
)
@click.option(
    "--by",
    type=_Groups(),
    default="day,key,deployment",
    show_default=True,
    metavar="GROUPS",
    help=f"Add up by these, of {', '.join(_GROUPS)}; empty: all together.",
)
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="From this day on (UTC).")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Before this day (UTC).")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="The server's data directory, if not where it is by itself.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def usage(
    *,
    by: "list[Group]",
    since: datetime | None,
    until: datetime | None,
    data_dir: str | None,
    as_json: bool,
) -> None:
    """Say what the calls to this machine's server used.

    A call counts when its reply ends, whatever the server was doing since. Tokens are those
    of calls that were answered to the end. Keys show by the first digits of their SHA-256.
    """
    from interlingua.config.load import data_dir as found_dir
    from interlingua.storage.collector import places
    from interlingua.storage.ledger import Ledger

    file, spools = places(Path(found_dir(data_dir)))
    ledger = Ledger(file)
    try:
        ledger.collect(spools)
        rows = ledger.rows(by, since=_seconds(since, 0.0), until=_seconds(until, float("inf")))
    finally:
        ledger.close()
    if as_json:
        for row in rows:
            click.echo(msgspec.json.encode({**row.group, **_counts(row)}).decode())
    elif rows:
        _table(by, rows)
    else:
        click.echo(f"No calls are on record in {file}.", err=True)


def _seconds(day: datetime | None, otherwise: float) -> float:
    return otherwise if day is None else day.replace(tzinfo=UTC).timestamp()


def _counts(row: "UsageRow") -> dict[str, int]:
    return {name: getattr(row, name) for name in _COUNTS}


def _table(by: "list[Group]", rows: "list[UsageRow]") -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE, show_footer=len(rows) > 1)
    for position, group in enumerate(by):
        table.add_column(group, "all" if position == 0 else "", no_wrap=True)
    for name in _COUNTS:
        total = sum(getattr(row, name) for row in rows)
        heading = name.removesuffix("_tokens")
        table.add_column(heading, f"{total:,}", justify="right", no_wrap=True)
    for row in rows:
        counts = (f"{count:,}" for count in _counts(row).values())
        table.add_row(*(row.group[name] or "-" for name in by), *counts)
    # Into a pipe it goes whole, however wide.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
