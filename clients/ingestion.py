"""A local ingestion endpoint of Azure Monitor: takes telemetry and keeps it."""

import contextlib
import gzip
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import msgspec

from .upstream import local_server


class Ingestion(msgspec.Struct, frozen=True):
    """Where telemetry goes, and what came."""

    url: str
    envelopes: list[dict[str, Any]]

    @property
    def environment(self) -> dict[str, str]:
        """What makes Azure Monitor's exporter send here, and nowhere else."""
        key = "00000000-0000-0000-0000-000000000001"
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": (
                f"InstrumentationKey={key};IngestionEndpoint={self.url}/;LiveEndpoint={self.url}/"
            ),
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel",
            # Its own default keeps some spans only, by chance.
            "OTEL_TRACES_SAMPLER": "always_on",
        }

    def spans(self) -> list[dict[str, Any]]:
        """The data of what arrived as dependencies and requests, which spans are sent as."""
        kinds = {"RemoteDependencyData", "RequestData"}
        data = [envelope["data"] for envelope in self.envelopes if "data" in envelope]
        return [item["baseData"] for item in data if item["baseType"] in kinds]


@contextlib.contextmanager
def ingestion() -> Iterator[Ingestion]:
    """A running one."""
    envelopes: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["content-encoding"] == "gzip":
                body = gzip.decompress(body)
            sent = json.loads(body) if "/track" in self.path else []
            envelopes.extend(sent)
            reply = {"itemsReceived": len(sent), "itemsAccepted": len(sent), "errors": []}
            answer = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(  # type: ignore[explicit-override]  # typing.override comes with 3.12
            self, format: str, *args: object
        ) -> None:
            """Say nothing."""

    with local_server(Handler) as url:
        yield Ingestion(url, envelopes)
