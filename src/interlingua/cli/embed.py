"""``interlingua embed``: texts or images to vectors."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import click

from interlingua.types.embeddings import Embeddings
from interlingua.types.models import InputType
from interlingua.types.usage import Usage

from .connection import Connection, connects

if TYPE_CHECKING:
    from interlingua.sdk.arguments import EmbeddingsCall
    from interlingua.sdk.one_client import Client

#: Azure: EmbeddingsOptions.input, at most 1,024 entries.
MAX_BATCH = 1024
#: Half of what a server takes in one body unless it is told otherwise.
MAX_BATCH_BYTES = 16 * 1024 * 1024

Input = TypeVar("Input")
Encoding = Literal["float", "base64"]


@click.command(
    epilog="\b\nExamples:\n"
    '  interlingua embed "a text" "another one"\n'
    "  interlingua embed --file texts.txt --output vectors.npy\n"
    "  interlingua embed --model efficientnet-lite0 --images *.jpg -o images.npy"
)
@click.argument("inputs", nargs=-1, metavar="[TEXT]...")
@connects
@click.option(
    "--file",
    "-f",
    "source",
    type=click.File("rb"),
    metavar="FILE",
    help="Texts to embed, one a line; - reads stdin.",
)
@click.option("--images", is_flag=True, help="The arguments are image files.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="A .json or .npy file; else JSON goes to stdout.",
)
@click.option("--dimensions", type=click.IntRange(1, 65536), help="Length of the vectors.")
@click.option(
    "--input-type",
    type=click.Choice(["text", "query", "document"]),
    help="What the texts are, for models that tell these apart.",
)
@click.option(
    "--encoding-format",
    type=click.Choice(["float", "base64"]),
    help="How the vectors travel; what is written is the same.",
)
def embed(
    connection: Connection,
    inputs: tuple[str, ...],
    *,
    source: Iterable[bytes] | None,
    images: bool,
    output: Path | None,
    dimensions: int | None,
    input_type: InputType | None,
    encoding_format: Encoding | None,
) -> None:
    """Turn texts or images into vectors.

    The vectors come in the order of the texts (or files), as one JSON object
    {model, embeddings, usage} or as a NumPy array of one row each.
    """
    if output is not None and output.suffix not in {".json", ".npy"}:
        raise click.UsageError(f"--output {output}: its name must end in .json or .npy")
    shape: EmbeddingsCall = {
        "model": connection.model,
        "dimensions": dimensions,
        "encoding_format": encoding_format,
        "input_type": input_type,
    }
    if images:
        if source is not None or not inputs:
            raise click.UsageError("--images takes image files as arguments, and no --file")
        files = [Path(name) for name in inputs]
        run = _images(files, shape)
    else:
        run = _texts(_gather(inputs, source), shape)
    with connection.open() as client:
        embeddings = run(client)
    _write(embeddings, connection.model, output)


def _gather(inputs: tuple[str, ...], source: Iterable[bytes] | None) -> list[str]:
    """The texts of the arguments, or else of the file; empty lines are left out."""
    if inputs and source is not None:
        raise click.UsageError("give texts as arguments or by --file, not both")
    if source is None and not inputs and not sys.stdin.isatty():
        source = sys.stdin.buffer
    texts = list(inputs)
    try:
        for line in source or ():
            text = line.decode().strip()
            if text:
                texts.append(text)
        "".join(texts).encode()
    except UnicodeError as error:
        raise click.UsageError(f"the texts are not UTF-8: {error}") from error
    if not texts:
        raise click.UsageError("there is no text to embed")
    return texts


def _texts(texts: list[str], shape: "EmbeddingsCall") -> Callable[["Client"], Embeddings]:
    from .vectors import read

    def run(client: "Client") -> Embeddings:
        parts = []
        with _progress(len(texts), "texts") as advance:
            for batch in batches(texts, lambda text: len(text.encode())):
                parts.append(read(client.embed(batch, **shape), len(batch)))
                advance(len(batch))
        return join(parts)

    return run


def _images(files: list[Path], shape: "EmbeddingsCall") -> Callable[["Client"], Embeddings]:
    from .images import data_url
    from .vectors import read

    def run(client: "Client") -> Embeddings:
        parts = []
        with _progress(len(files), "images") as advance:
            # Base64 makes four characters of three bytes.
            for batch in batches(files, lambda file: file.stat().st_size * 4 // 3):
                inputs = [{"image": data_url(file)} for file in batch]
                parts.append(read(client.embed_images(inputs, **shape), len(batch)))
                advance(len(batch))
        return join(parts)

    return run


def batches(inputs: Sequence[Input], size_bytes: Callable[[Input], int]) -> Iterator[list[Input]]:
    """The inputs in order, as many at once as one call may carry; a huge one goes alone."""
    batch: list[Input] = []
    total = 0
    for item in inputs:
        size = size_bytes(item)
        if batch and (len(batch) == MAX_BATCH or total + size > MAX_BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch


def join(parts: Sequence[Embeddings]) -> Embeddings:
    prompt_tokens = sum(part.usage.prompt_tokens for part in parts)
    vectors = tuple(vector for part in parts for vector in part.vectors)
    return Embeddings(vectors=vectors, usage=Usage(prompt_tokens=prompt_tokens))


@contextmanager
def _progress(total: int, noun: str) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where someone watches and there is more than one call to wait for."""
    if not sys.stderr.isatty() or total <= 1:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TextColumn(noun))
    with Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(noun, total=total)
        yield lambda count: bar.advance(task, count)


def _write(embeddings: Embeddings, model: str | None, output: Path | None) -> None:
    from .vectors import as_json, as_npy
    from .whole_file import write_whole

    if output is None:
        click.echo(as_json(embeddings, model), nl=False)
        return
    npy = output.suffix == ".npy"
    write_whole(output, as_npy(embeddings.vectors) if npy else as_json(embeddings, model))
    click.echo(f"{len(embeddings.vectors)} vectors in {output}", err=True)
