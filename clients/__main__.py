"""Run every client made for this API, unmodified, against a real server; print a table.

``make clients``, or ``python -m clients samples node --only stream`` for a part of it.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from tests.support.issuer import TENANT, Issuer, rsa_key

from . import environments, page, programs
from .outcomes import Outcome, line, summary
from .porting import port
from .samples import SAMPLES
from .serving import CONFIG, ECHO, ISSUER, SERVER, Server, complaints, scripted, serving
from .upstream import upstream

HERE = Path(__file__).parent
Run = Callable[["Stand", str], Iterator[Outcome]]


class Stand:
    """The servers of one run, started when first asked for."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._servers: dict[str, Server] = {}

    def server(self, kind: str = "service") -> Server:
        """The server of this kind: ``echo``, or one of ``serving.SERVER``."""
        if kind not in self._servers:
            config = ECHO if kind == "echo" else self._config(kind)
            started = serving(self.folder / kind, config, tls=kind == "tls")
            self._servers[kind] = self._stack.enter_context(started)
        return self._servers[kind]

    def _config(self, kind: str) -> str:
        behind = scripted(self._stack.enter_context(upstream()))
        config = CONFIG.format(server=SERVER[kind], scripted=behind)
        if kind == "tls":
            config += ISSUER.format(tenant=TENANT, authority=self.issuer.url)
        return config

    @cached_property
    def issuer(self) -> Issuer:
        """Who issues tokens, with a managed-identity endpoint beside it."""
        issuer = self._stack.enter_context(Issuer(rsa_key()))
        issuer.identity = lambda resource: issuer.entra(aud=resource, roles=["Chat.User"])
        return issuer

    def complaints(self) -> list[str]:
        found = (complaints(server) for server in self._servers.values())
        return [text for text in found if text]


def _samples(package: str, environment: str, *, ported: bool = False) -> Run:
    def run(stand: Stand, only: str) -> Iterator[Outcome]:
        interpreter = environments.python(environment)
        folder = environments.samples()
        if ported:
            folder = port(folder, environments.HOME / "ported-samples")
        samples = programs.Samples(package, interpreter, folder)
        yield from programs.run_samples(samples, stand.server(), wanted=only)
        if any(only in sample.name for sample in SAMPLES if sample.needs == "entra"):
            server, url = stand.server("tls"), stand.issuer.url
            yield from programs.run_entra_samples(samples, server, url, wanted=only)

    return run


def _python(environment: str, package: str, program: str, kind: str = "service") -> Run:
    def run(stand: Stand, only: str) -> Iterator[Outcome]:
        interpreter = environments.python(environment)
        version = environments.version(interpreter, package)
        server = stand.server(kind)
        command = [str(interpreter), str(HERE / "programs" / program)]
        given = {"URL": server.url, "KEY": server.key, "ONLY": only}
        if server.ca is not None:
            given["SSL_CERT_FILE"] = given["REQUESTS_CA_BUNDLE"] = str(server.ca)
        yield from programs.run_program(package, version, command, given, stand.folder)

    return run


def _node(package: str, program: str) -> Run:
    def run(stand: Stand, only: str) -> Iterator[Outcome]:
        folder = environments.node()
        version = environments.node_version(folder, package)
        server = stand.server()
        given = {"URL": server.url, "KEY": server.key, "ONLY": only}
        name = f"{package} (Node)"
        yield from programs.run_program(name, version, ["node", program], given, folder)

    return run


def _typescript(stand: Stand, only: str) -> Iterator[Outcome]:
    folder = environments.typescript()
    version = json.loads((folder / "package.json").read_text("utf-8"))["version"]
    server = stand.server("echo")
    given = {
        "INTERLINGUA_ENDPOINT": server.url,
        "INTERLINGUA_KEY": server.key,
        "DOCUMENT": str(environments.ROOT / "src/interlingua/server/openapi.json"),
        "URL": server.url,
        "KEY": server.key,
        "ONLY": only,
    }
    yield from programs.run_program(
        "interlingua (TypeScript)",
        version,
        ["node", "typescript.mjs"],
        given,
        folder,
        answered_by="echo",
    )


PARTS: dict[str, Run] = {
    "samples": _samples("azure-ai-inference", "azure"),
    "our-sdk": _samples("interlingua", "interlingua", ported=True),
    "azure-rest": _node("@azure-rest/ai-inference", "azure_rest.mjs"),
    "typescript": _typescript,
    "openai-python": _python("azure", "openai", "openai_python.py"),
    "openai-node": _node("openai", "openai.mjs"),
    "langchain": _python("langchain", "langchain-azure-ai", "langchain_azure.py"),
    "llamaindex": _python(
        "llamaindex", "llama-index-llms-azure-inference", "llamaindex.py", "documentation"
    ),
    "semantic-kernel": _python(
        "semantickernel", "semantic-kernel", "semantic_kernel_azure.py", "tls"
    ),
    "litellm": _python("litellm", "litellm", "lite_llm.py"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m clients", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all")
    parser.add_argument("--only", default="", help="just the cases with this in their name")
    parser.add_argument("--write", action="store_true", help="write their rows of the page")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if given.only and given.write:
        parser.error("--write takes whole clients: leave --only out")
    began = time.monotonic()
    outcomes, troubles = run(given.parts or list(PARTS), given.only)
    print("\n" + summary(outcomes))
    print(f"{time.monotonic() - began:.0f} s")
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    if given.write:
        page.write(outcomes)
    if troubles or not outcomes or any(outcome.state == "failed" for outcome in outcomes):
        sys.exit(1)


def run(parts: list[str], only: str) -> tuple[list[Outcome], list[str]]:
    """What came of the parts, and what else went wrong."""
    outcomes: list[Outcome] = []
    troubles: list[str] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stand = Stand(Path(folder), stack)
        for part in parts:
            try:
                for outcome in PARTS[part](stand, only):
                    outcomes.append(outcome)
                    print(line(outcome), flush=True)
            except environments.SetupFailed as error:
                troubles.append(f"{part}: {error}")
        troubles += stand.complaints()
    return outcomes, troubles


if __name__ == "__main__":
    main()
