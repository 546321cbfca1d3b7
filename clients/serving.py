"""The servers that the clients are pointed at: the real one, and what stands around it."""

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from interlingua.config.load import data_dir

#: Lines of ``[server]``: how it spells a model's type, and TLS.
SERVER = {
    "service": "",
    "documentation": 'model_type = "documentation"',
    "tls": 'tls = "dev"',
}
#: Who issues the tokens that the server with TLS takes besides keys.
ISSUER = """
[[issuer]]
tenant = "{tenant}"
authority = "{authority}"
roles = {{ "Chat.User" = ["chat_completions", "info"] }}
"""
#: The packaged models; a small model's answer may go on until its context is full, so that is
#: kept short. One thread, since several wait for each other where something else runs too.
#: ``{scripted}`` is the deployments with a scripted upstream, if any.
CONFIG = """
[server]
port = 0
keys = ["${{CLIENTS_KEY}}"]
{server}

[[deployment]]
name = "smollm2"
model = "smollm2-135m-instruct"
slots = 2
threads = 1
context_length = 1024

[[deployment]]
name = "minilm"
model = "all-minilm-l6-v2"

[[deployment]]
name = "efficientnet"
model = "efficientnet-lite0"
{scripted}"""


#: For a client whose own tests want a model that repeats what it is told.
ECHO = """
[server]
port = 0
keys = ["${CLIENTS_KEY}"]

[[deployment]]
name = "echo"
model = "echo"
"""


class Server(msgspec.Struct, frozen=True):
    """A running server: ``url`` without a trailing slash, and the key that opens it."""

    url: str
    key: str
    log: Path
    #: The authority of its certificate, where it speaks TLS.
    ca: Path | None = None


_SCRIPTED = """
[[deployment]]
name = "{name}"
aliases = [{aliases}]
provider = "{provider}"
base_url = "{url}"
model = "scripted"
type = "{type}"
key = "${{UPSTREAM_KEY}}"
"""
#: The deployments behind which the scripted upstream stands. The Azure Monitor sample names
#: its model.
_ROLES = (
    ("scripted", "openai", "chat-completion", "gpt-4o-mini"),
    ("scripted-texts", "azure", "embedding", ""),
    ("scripted-images", "azure", "image-embedding", ""),
)


def scripted(url: str) -> str:
    """The part of a config with the upstream at ``url`` behind it."""
    return "".join(
        _SCRIPTED.format(
            name=name,
            provider=provider,
            url=url,
            type=kind,
            aliases=quoted(alias) if alias else "",
        )
        for name, provider, kind, alias in _ROLES
    )


@contextlib.contextmanager
def serving(folder: Path, config: str, *, tls: bool = False) -> Iterator[Server]:
    """Run ``interlingua serve`` with this config until the block ends.

    The models are the user's, and whatever else is kept is in ``folder``.
    """
    key = secrets.token_urlsafe(24)
    data = folder / "data"
    data.mkdir(parents=True)
    (data / "models").symlink_to(data_dir(None) / "models")
    (folder / "interlingua.toml").write_text(config, "utf-8")
    log = folder / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "interlingua", "serve", "--config", "interlingua.toml"],
            cwd=folder,
            env={
                **os.environ,
                "CLIENTS_KEY": key,
                "UPSTREAM_KEY": "none",
                "INTERLINGUA_DATA_DIR": str(data),
            },
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            found = re.search(rb"https?://127\.0\.0\.1:\d+", line)
            if found:
                ca = data / "tls" / "ca.pem" if tls else None
                yield Server(found[0].decode(), key, log, ca)
                break
        else:
            raise RuntimeError(f"the server did not start: {log.read_text('utf-8')}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        process.stdout.close()
        process.wait(timeout=60)


def complaints(server: Server) -> str:
    """What must not be in a server's log after the clients were there."""
    logged = server.log.read_text("utf-8")
    if "Traceback" in logged:
        return "the server logged a traceback:\n" + logged
    return "the server logged its key" if server.key in logged else ""


def quoted(text: str) -> str:
    """``text`` as a TOML string."""
    return json.dumps(text)
