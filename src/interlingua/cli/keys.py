"""``interlingua keys``: the secrets that callers of a server present."""

import secrets
import sys
from pathlib import Path

import click
import msgspec

from interlingua.errors import ConfigError

from .whole_file import write_whole

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="Where the server keeps its key, if not where it does by itself.",
)

USE = """Put it where the server and its callers read it, never into a file that is shared:
  export INTERLINGUA_API_KEY='{key}'
A config names it as  keys = ["${{INTERLINGUA_API_KEY}}"]  under [server]."""


@click.group(epilog="\b\nExample:\n  export INTERLINGUA_API_KEY=$(interlingua keys new)")
def keys() -> None:
    """Make, show and replace the keys of a server.

    A server whose config names no keys generates one at its first start and keeps it in its
    data directory, readable by its owner alone.
    """


@keys.command(epilog="\b\nExample:\n  export INTERLINGUA_API_KEY=$(interlingua keys new)")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def new(as_json: bool) -> None:
    """Print a new random key of 256 bits. Nothing is kept of it."""
    key = generate()
    if as_json:
        click.echo(msgspec.json.encode({"key": key}).decode())
        return
    click.echo(key)
    if sys.stdout.isatty():
        click.echo(USE.format(key=key), err=True)


@keys.command(epilog='\b\nExample:\n  curl -H "api-key: $(interlingua keys show --yes)" …')
@_data_dir
@click.option("--yes", is_flag=True, help="Print the key although the output is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(data_dir: str | None, yes: bool, as_json: bool) -> None:
    """Print the generated key of this machine's server, and where it is kept."""
    path = kept_key(data_dir)
    key = _kept(path)
    if not (yes or sys.stdout.isatty()):
        raise click.UsageError(
            f"the key is in {path}; it is printed to a terminal only, or with --yes"
        )
    if as_json:
        click.echo(msgspec.json.encode({"path": str(path), "key": key}).decode())
        return
    click.echo(f"kept in {path}", err=True)
    click.echo(key)


@keys.command(epilog="\b\nExample:\n  interlingua keys rotate && interlingua keys show")
@_data_dir
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def rotate(data_dir: str | None, yes: bool, as_json: bool) -> int:
    """Replace the generated key of this machine's server.

    A server that is running takes the new key when it starts again; from then on callers
    with the old one are refused.
    """
    path = kept_key(data_dir)
    if not yes and path.exists() and not click.confirm(f"Replace the key in {path}?", err=True):
        return 1
    replace(path, generate())
    if as_json:
        click.echo(msgspec.json.encode({"path": str(path)}).decode())
        return 0
    click.echo(f"a new key is in {path}; start the server again to use it")
    return 0


def generate() -> str:
    """256 random bits as 43 characters that no shell, header or URL has to quote."""
    return secrets.token_urlsafe(32)


def kept_key(directory: str | None = None) -> Path:
    """Where the server with this data directory, or with its own choice, keeps its key."""
    from interlingua.config.load import data_dir

    return data_dir(directory) / "key"


def replace(path: Path, key: str) -> None:
    """Write the key for its owner alone; a reader sees the old one or the new one, whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, f"{key}\n".encode("ascii"), mode=0o600)


def _kept(path: Path) -> str:
    from interlingua.sdk.environment import read_kept_key

    key = read_kept_key(path)
    if key is None:
        raise ConfigError(
            f"there is no generated key in {path}: interlingua serve makes one at its first "
            "start, interlingua keys rotate makes one now"
        )
    return key
