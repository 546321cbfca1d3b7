"""The scripted server and the spans' exporter, for every test of the clients."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def _load() -> ModuleType:
    name = "scripted_wire"
    if name not in sys.modules:
        path = Path(__file__).with_name(f"{name}.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


_scripted = _load()


@pytest.fixture
def wire() -> Iterator[object]:
    with _scripted.running_wire() as wire:
        yield wire


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    """Where spans end up. OpenTelemetry takes one provider a process, so it stays."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter
