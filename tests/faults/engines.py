"""Engines of each kind, real ones, with a faulty line between them and the server."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from interlingua.backends.engines.linked import LinkedEngine
from interlingua.backends.engines.process import EngineProcess
from interlingua.config.schema import Config
from interlingua.server.app import App
from interlingua.server.build import build, plan
from interlingua.server.metering import recording
from interlingua.storage.spool import Spool
from interlingua.telemetry import Telemetry

from ..server.service import KEY, served
from ..support.fault_proxy import Fault, FaultProxy
from ..support.tiny_clip import build_tiny_clip
from ..support.tiny_phi3 import build_tiny_phi3
from ..support.tiny_sentence import build_tiny_sentence
from .stand import Call, Stand

#: The longest a call may take: an engine's silence has no limit of its own.
CALL_S = 2.0

CALLS: tuple[Call, ...] = (
    Call("llamacpp", "chat"),
    Call("llamacpp", "chat", streamed=True),
    Call("llamacpp", "completion", temperature=0),
    Call("llamacpp", "completion", streamed=True, temperature=0),
    Call("onnx", "embedding"),
    Call("onnx", "image-embedding"),
)


class Lines:
    """The lines to all engines, which fail together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fault = Fault()
        self._engines: dict[str, EngineProcess] = {}
        self._proxies: dict[str, FaultProxy] = {}
        self._ends = contextlib.ExitStack()

    @property
    def fault(self) -> Fault:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        for proxy in self._proxies.values():
            proxy.fault = fault

    def cut(self) -> None:
        for proxy in self._proxies.values():
            proxy.cut()

    def close(self) -> None:
        self._ends.close()

    def launch(
        self,
        name: str,
        *,
        program: str,
        settings: Mapping[str, object],
        fresh_connections: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> LinkedEngine:
        """As a worker has it, whose engines are another process's."""
        self._engines[name] = EngineProcess(
            name, program=program, settings=settings, environment=environment
        )
        return LinkedEngine(name, self._ask, fresh_connections=fresh_connections)

    async def _ask(self, what: str, given: object) -> object:
        if what == "gone":
            return False
        name = str(given)
        engine = self._engines[name]
        if what == "leave":
            await engine.close()
            return None
        await engine.open()
        child = await engine.ready()
        at = str(self._folder / f"{len(self._proxies)}.sock")
        proxy = self._ends.enter_context(FaultProxy(child.socket_path, at=at))
        proxy.fault = self._fault
        self._proxies[name] = proxy
        return {"socket_path": at, "headers": dict(child.headers)}


@contextlib.contextmanager
def standing(folder: Path) -> Iterator[Stand]:
    """The server with faulty lines to its engines, until the block ends."""
    phi3 = build_tiny_phi3(folder / "tiny.gguf")
    models: dict[str, tuple[Path, dict[str, object]]] = {
        "llamacpp": (phi3, {"slots": 4, "threads": 1}),
        "onnx.embedding": (build_tiny_sentence(folder / "sentence"), {}),
        "onnx.image-embedding": (build_tiny_clip(folder / "clip"), {}),
    }
    listed = [{"name": name, "model": str(at), **more} for name, (at, more) in models.items()]
    asked = {"deployment": listed, "server": {"call_timeout_s": CALL_S}}
    config = msgspec.convert(asked, Config)
    lines = Lines(folder)
    gateway = build(plan(config, folder), config, launch=lines.launch).gateway
    spool = Spool(folder / "usage")
    meter = recording(Telemetry(list), spool)
    try:
        with served(App(gateway, config, [KEY], meter=meter)) as url:
            port = int(url.rpartition(":")[2])
            yield Stand(port, lines, gateway.deployments, folder / "usage")
    finally:
        spool.close()
        lines.close()
