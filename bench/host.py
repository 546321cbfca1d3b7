"""The server under test, in a process of its own, which also tells how to reach its engine.

Run as ``python -m bench.host``; prints one line of JSON: ``url``, ``key``, and the chat
engine's ``socket`` and ``headers``, so that the same engine process can be driven directly.
"""

import json
import tempfile
from pathlib import Path

from interlingua.backends.engines.llamacpp import LlamaCpp
from interlingua.config import load
from interlingua.server.app import App
from interlingua.server.build import build, plan
from interlingua.server.live import Live
from interlingua.server.run import listen, server_of, url_of

#: Calls that the chat model works on at once, and the context of each.
SLOTS, CONTEXT = 16, 1024
CONFIG = f"""
[server]
port = 0

[[deployment]]
name = "smollm2"
model = "smollm2-135m-instruct"
context_length = {CONTEXT}
slots = {SLOTS}
"""
KEY = "a-key-for-the-benchmark"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "interlingua.toml"
        file.write_text(CONFIG)
        config = load.load(str(file))
        gateway = build(plan(config, load.data_dir(None)), config).gateway
        engine = gateway.deployments[0]
        backend = engine.backend
        assert isinstance(backend, LlamaCpp)
        with listen(config.server.host, 0) as listener:
            app = Live(App(gateway, config, [KEY]))
            open_gateway = gateway.open

            async def opened() -> None:
                await open_gateway()
                await engine.open()
                child = await backend.process.ready()
                print(
                    json.dumps(
                        {
                            "url": url_of(listener),
                            "key": KEY,
                            "socket": child.transport._socket_path,  # noqa: SLF001 - a look inside
                            "headers": dict(child.headers),
                        }
                    ),
                    flush=True,
                )

            gateway.open = opened  # type: ignore[method-assign]
            server_of(app, config.server, on_start=lambda: None).run(sockets=[listener])


if __name__ == "__main__":
    main()
