"""One server, one deployment of each provider's kind, and a network that can fail between."""

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import replace

from interlingua.backends.providers.registry import rows
from interlingua.gateway.circuit import Circuit
from interlingua.gateway.deployments import Deployment
from interlingua.server.app import App
from interlingua.server.build import build, plan
from interlingua.server.metering import recording
from interlingua.storage.spool import Spool
from interlingua.telemetry import Telemetry

from ..server.service import KEY, served
from ..support.fault_proxy import Fault, FaultProxy
from ..support.scripted_providers import Providers, config, wire

#: The longest silence of an upstream; what is slow in these tests is much faster.
SILENCE_S = 2.0
PROMPT = "alpha beta gamma delta epsilon"
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGMQ"
    "UDAAAACkAGE0Zn1yAAAAAElFTkSuQmCC"
)

_BODIES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "chat": ("/chat/completions", {"messages": [{"role": "user", "content": PROMPT}]}),
    "completion": ("/completions", {"prompt": PROMPT}),
    "embedding": ("/embeddings", {"input": [PROMPT]}),
    "image-embedding": ("/images/embeddings", {"input": [{"image": _PIXEL}]}),
}


def _kinds() -> dict[str, list[str]]:
    """By operation, a row of each wire that answers it: wires of one dialect are alike."""
    found: dict[str, dict[str, str]] = {name: {} for name in _BODIES}
    for row in rows():
        for model in wire(row).served(row):
            operation = {"chat-completion": "chat"}.get(model.type, model.type)
            found[operation].setdefault(row.dialect, row.name)
            if operation == "chat" and row.completes:
                found["completion"].setdefault(row.dialect, row.name)
    return {operation: list(by_dialect.values()) for operation, by_dialect in found.items()}


@dataclass(frozen=True, order=True)
class Call:
    """One operation of one provider; ``str`` of it names the test."""

    provider: str
    operation: str
    streamed: bool = False
    #: 0: the same answer each time, of models that choose.
    temperature: float | None = None

    def __str__(self) -> str:
        return f"{self.provider} {self.operation}{' streamed' * self.streamed}"

    @property
    def deployment(self) -> str:
        """As :func:`..support.scripted_providers.named`."""
        chats = self.operation in {"chat", "completion"}
        return self.provider if chats else f"{self.provider}.{self.operation}"

    @property
    def target(self) -> tuple[str, bytes]:
        path, body = _BODIES[self.operation]
        asked = {**body, "model": self.deployment, **({"stream": True} if self.streamed else {})}
        if self.temperature is not None:
            asked["temperature"] = self.temperature
        return path, json.dumps(asked).encode()


CALLS: tuple[Call, ...] = tuple(
    Call(provider, operation, streamed)
    for operation, providers in _kinds().items()
    for provider in providers
    for streamed in ((False, True) if operation in {"chat", "completion"} else (False,))
)


@dataclass(frozen=True)
class Outcome:
    """What a caller saw. ``whole``: the reply ended as HTTP says that it should."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool

    @property
    def id(self) -> str:
        return self.headers["x-request-id"]

    @property
    def events(self) -> list[str]:
        return [event[6:] for event in self.body.decode().split("\n\n") if event]

    @property
    def said(self) -> object:
        """What was answered, without what names the call."""
        if self.status != 200:
            return None
        if not self.headers["content-type"].startswith("text/event-stream"):
            return _anonymous(json.loads(self.body))
        return [e if e == "[DONE]" else _anonymous(json.loads(e)) for e in self.events]


def _anonymous(reply: dict[str, Any]) -> dict[str, Any]:
    """Without what is another call's: names, times, and what an engine remembered."""
    left = {name: value for name, value in reply.items() if name not in {"id", "created"}}
    if left.get("usage"):
        left["usage"] = {**left["usage"], "prompt_tokens_details": None}
    return left


class Network(Protocol):
    """What lies between the server and its backends."""

    @property
    def fault(self) -> Fault: ...
    @fault.setter
    def fault(self, fault: Fault) -> None: ...

    def cut(self) -> None:
        """End all connections there are, so that the next call makes one of its own."""
        ...


class Stand:
    """Calls the server through the network as it is."""

    def __init__(
        self, port: int, proxy: Network, deployments: Sequence[Deployment], usage: Path
    ) -> None:
        self.proxy = proxy
        self.port = port
        self._deployments = deployments
        self._usage = usage

    def all(self, fault: Fault, calls: Sequence[Call] = CALLS) -> dict[Call, Outcome]:
        """What each call comes to while the network has this fault; all run at once."""
        for deployment in self._deployments:  # earlier failures are other faults'
            deployment.circuit = Circuit(deployment.name)
        self.proxy.cut()
        self.proxy.fault = fault
        with ThreadPoolExecutor(len(calls)) as pool:
            return dict(zip(calls, pool.map(self.ask, calls), strict=True))

    def under_way(self) -> int:
        return sum(deployment.calls_under_way for deployment in self._deployments)

    def statuses(self) -> dict[str, list[int]]:
        """What usage was put down, by the call's id."""
        found: dict[str, list[int]] = {}
        for spool in self._usage.glob("*"):
            for line in spool.read_bytes().splitlines():
                record = json.loads(line)
                found.setdefault(record["id"], []).append(record["status"])
        return found

    def ask(self, call: Call) -> Outcome:
        """What the call comes to while the network is as it is."""
        path, body = call.target
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"api-key": KEY, "content-type": "application/json"}
        try:
            connection.request("POST", path, body, headers)
            reply = connection.getresponse()
            named = {name.lower(): value for name, value in reply.getheaders()}
            try:
                return Outcome(reply.status, named, reply.read(), whole=True)
            except http.client.IncompleteRead as error:
                return Outcome(reply.status, named, error.partial, whole=False)
        finally:
            connection.close()


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    """The server with the faulty network behind it, until the block ends."""
    names = {call.deployment for call in CALLS}
    with Providers() as providers, FaultProxy(providers.port) as proxy:
        every = config(proxy.url)
        chosen = tuple(
            replace(each, timeout_s=SILENCE_S) for each in every.deployment if each.name in names
        )
        settled = replace(every, deployment=chosen)
        gateway = build(plan(settled, folder), settled).gateway
        usage = folder / "usage"
        spool = Spool(usage)
        meter = recording(Telemetry(list), spool)
        with served(App(gateway, settled, [KEY], meter=meter)) as url:
            port = int(url.rpartition(":")[2])
            yield Stand(port, proxy, gateway.deployments, usage)
        spool.close()
