"""A server of one's own for as long as a chat lasts: one model, a free port, a random key."""

import json
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import msgspec

from interlingua.errors import Unavailable
from interlingua.sdk.environment import API_KEY, with_key

from .connection import Connection
from .keys import generate
from .screen import note

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
#: As much of what a server said as tells why it didn't start.
MAX_TOLD_LINES = 8

CONFIG = """[server]
host = "127.0.0.1"
port = 0
keys = ["${{{variable}}}"]
drain_timeout_s = 1.0

[[deployment]]
name = {name}
model = {model}
compute = "managed"
"""


class _Serving(msgspec.Struct, frozen=True):
    """What ``interlingua serve --json`` prints, as far as it matters here."""

    url: str


@contextmanager
def local_server(model: str, connection: Connection) -> Iterator[Connection]:
    """A connection to a server that runs ``model``, a catalog's name or a path, until it's left.

    Raises:
        Unavailable: the server didn't start, with what it said.
    """
    path = _path(model)
    if path is None:
        _pull(model)
    name = deployment_name(path.stem if path else model)
    key = generate()
    with TemporaryDirectory(prefix="interlingua-") as directory:
        config = Path(directory) / "interlingua.toml"
        text = CONFIG.format(
            variable=API_KEY, name=_quoted(name), model=_quoted(str(path or model))
        )
        config.write_text(text, "utf-8")
        note(f"starting {name}")
        with _server(config, key) as url:
            yield msgspec.structs.replace(
                connection, endpoint=url, key=key, model=connection.model or name
            )


def deployment_name(model: str) -> str:
    """A name that a config accepts, as near to the model's as may be."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rpartition("/")[2]).lstrip("._-")[:64]
    return name or "local"


@contextmanager
def _server(config: Path, key: str) -> Iterator[str]:
    """The address of a server: out of reach of this terminal's Ctrl-C, never outliving us."""
    log = config.with_name("server.log")
    command = [sys.executable, "-m", "interlingua.cli.tethered"]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [*command, "serve", "--config", str(config), "--json"],
            env=with_key(key),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield _started(process, log)
        finally:
            _stop(process)


def _started(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the server prints, once it answers there."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    line = process.stdout.readline() if ready else b""
    try:
        url = msgspec.json.decode(line, type=_Serving).url
        httpx2.get(f"{url}/health/live", trust_env=False, timeout=START_TIMEOUT_S)
    except (msgspec.DecodeError, httpx2.TransportError) as error:
        lines = log.read_text("utf-8", errors="replace").strip().splitlines()
        told = "\n".join(lines[-MAX_TOLD_LINES:]).removeprefix("Error: ")
        said = told or f"it said nothing in {START_TIMEOUT_S:.0f} s"
        raise Unavailable(f"the server didn't start: {said}") from error
    return url


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _path(model: str) -> Path | None:
    """The file or directory that is meant; ``None``: a name of the catalog."""
    from interlingua.catalog.catalog import find

    path = Path(model).expanduser()
    return path.resolve() if find(model) is None and path.exists() else None


def _pull(model: str) -> None:
    """Fetch a model of the catalog now, where its progress can be seen."""
    from interlingua.catalog.catalog import find
    from interlingua.catalog.store import Store
    from interlingua.config.load import data_dir

    card = find(model)
    if card is None or not card.files or Store(data_dir(None)).get(card) is not None:
        return
    command = [sys.executable, "-m", "interlingua", "models", "pull", card.name]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise Unavailable(f"{card.name} isn't on this machine and couldn't be pulled")


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, as long as nothing is escaped as surrogates.
    return json.dumps(text, ensure_ascii=False)
