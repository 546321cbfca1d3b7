"""What the server measures, as Prometheus reads it.

Rules of this file:
- The one place that knows the library of metrics. Its registry is one server's own.
- A label's value comes from the config or from the code, never from a caller: how many
  series there are is known beforehand. No prompt, key or header comes here.
- A call costs some microseconds, a token nothing. Whatever can be looked up when somebody
  asks for the page is looked up then.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import msgspec
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from interlingua.types.models import Operation
from interlingua.types.usage import Usage

_Kind = TypeVar("_Kind", Counter, Histogram)
#: From an embedding of some milliseconds to a long answer of a large model.
_CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment as it is at this moment."""

    deployment: str
    state: str
    #: All that it may be in.
    states: tuple[str, ...]
    calls: int
    circuit: str
    #: All that it may be.
    circuits: tuple[str, ...]
    #: How often a call asked it again, and how often one went on to another.
    retries: int
    fallbacks: int
    #: Calls that a limit refused.
    limited: int = 0
    #: Resident memory of its engine's process; ``None``: it has none now, or none of its own.
    memory_bytes: int | None = None


class _Series(Generic[_Kind]):
    """A metric's children by their labels: the library's own look-up takes thrice as long."""

    def __init__(self, metric: _Kind) -> None:
        self._metric: _Kind = metric
        self._children: dict[tuple[str, ...], _Kind] = {}

    def of(self, *labels: str) -> _Kind:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child


class Telemetry:
    """Counts calls, and shows them together with what ``observe`` finds.

    Satisfies :class:`interlingua.gateway.meter.Meter`.
    """

    def __init__(self, observe: Callable[[], Iterable[Observed]]) -> None:
        # The moment a series began, as a series of its own: half as much again for nobody.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
        self._registry = CollectorRegistry(auto_describe=False)
        by_call = ("operation", "deployment")
        self.calls = _Series(
            Counter(
                "interlingua_calls",
                "Calls that ended, by status: 499 where the client left, and the failure's own "
                "status where a stream broke.",
                (*by_call, "status"),
                registry=self._registry,
            )
        )
        self.seconds = _Series(
            Histogram(
                "interlingua_call_seconds",
                "How long calls took, from the request's head to the end of the answer.",
                by_call,
                buckets=_CALL_S,
                registry=self._registry,
            )
        )
        self.first_token = _Series(
            Histogram(
                "interlingua_first_token_seconds",
                "How long it took until an answer's first token, loading and waiting included.",
                by_call,
                buckets=_FIRST_TOKEN_S,
                registry=self._registry,
            )
        )
        self.tokens = _Series(
            Counter(
                "interlingua_tokens",
                "Tokens of the calls that were answered to the end.",
                ("deployment", "kind"),
                registry=self._registry,
            )
        )
        self._registry.register(_Deployments(observe))

    def call(self, operation: Operation, call_id: str) -> "CallMeasure":
        """A call that has just come."""
        del call_id
        return CallMeasure(self, operation)

    def text(self) -> bytes:
        """The page as this process knows it."""
        return generate_latest(self._registry)

    async def page(self) -> tuple[str, bytes]:
        """Content type and body of ``GET /metrics``."""
        return CONTENT_TYPE_LATEST, self.text()


class SharedTelemetry(Telemetry):
    """One of several workers' telemetry: its page shows them all together."""

    def __init__(
        self,
        observe: Callable[[], Iterable[Observed]],
        texts: Callable[[], Awaitable[Sequence[bytes]]],
    ) -> None:
        """``texts``: the pages of all workers, and of whoever owns the engines."""
        super().__init__(observe)
        self._texts = texts

    async def page(self) -> tuple[str, bytes]:  # type: ignore[explicit-override]  # 3.12's
        return CONTENT_TYPE_LATEST, added_up(await self._texts())


def added_up(texts: Iterable[bytes]) -> bytes:
    """Pages as one: what has the same name and labels is added up."""
    families: dict[str, Metric] = {}
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            known = families.setdefault(family.name, family)
            for sample in family.samples:
                series = (sample.name, tuple(sample.labels.items()))
                if series not in sums and known is not family:
                    known.samples.append(sample)
                sums[series] = sums.get(series, 0.0) + sample.value
    for family in families.values():
        family.samples = [
            sample._replace(value=sums[sample.name, tuple(sample.labels.items())])
            for sample in family.samples
        ]
    return generate_latest(_Fixed(families.values()))


def memory_page(engines: Iterable[tuple[str, int]]) -> bytes:
    """The page of whoever owns the engines: deployments, and their engines' resident bytes."""
    family = _memory_family()
    for deployment, resident in engines:
        family.add_metric((deployment,), resident)
    return generate_latest(_Fixed([family]))


class _Fixed(Collector):
    """Families that are known already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:  # type: ignore[explicit-override]  # 3.12's
        return self._families


def _memory_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "interlingua_engine_resident_bytes",
        "Resident memory of the deployment's engine process, while there is one.",
        labels=("deployment",),
    )


class CallMeasure:
    """One call's figures, counted when it has ended."""

    def __init__(self, telemetry: Telemetry, operation: Operation) -> None:
        self._telemetry = telemetry
        self._operation = operation
        self._deployment = ""
        self._usage: Usage | None = None
        self._first: float | None = None
        self._came = time.perf_counter()

    def called_by(self, name: str) -> None:
        """No label: how many callers there are isn't known beforehand."""

    def routed(self, deployment: str) -> None:
        self._deployment = deployment

    def begun(self) -> None:
        self._first = time.perf_counter()

    def used(self, usage: Usage) -> None:
        self._usage = usage

    def ended(self, status: int) -> None:
        telemetry, labels = self._telemetry, (self._operation, self._deployment)
        telemetry.calls.of(*labels, str(status)).inc()
        telemetry.seconds.of(*labels).observe(time.perf_counter() - self._came)
        if self._first is not None:
            telemetry.first_token.of(*labels).observe(self._first - self._came)
        if self._usage is not None:
            tokens = telemetry.tokens.of
            tokens(self._deployment, "prompt").inc(self._usage.prompt_tokens)
            tokens(self._deployment, "completion").inc(self._usage.completion_tokens)


class _Deployments(Collector):
    """The gauges: read when the page is asked for, never kept."""

    def __init__(self, observe: Callable[[], Iterable[Observed]]) -> None:
        self._observe = observe

    def collect(self) -> Iterator[Metric]:  # type: ignore[explicit-override]  # 3.12's
        calls = GaugeMetricFamily(
            "interlingua_calls_under_way",
            "Calls that wait for their deployment or are being answered.",
            labels=("deployment",),
        )
        state = GaugeMetricFamily(
            "interlingua_deployment_state",
            "1 for the state that the deployment is in, 0 for the others.",
            labels=("deployment", "state"),
        )
        memory = _memory_family()
        circuit = GaugeMetricFamily(
            "interlingua_circuit_state",
            "1 for the state that the deployment's circuit is in, 0 for the others.",
            labels=("deployment", "state"),
        )
        retries = CounterMetricFamily(
            "interlingua_retries",
            "Calls that asked the deployment again, since its connection had failed.",
            labels=("deployment",),
        )
        fallbacks = CounterMetricFamily(
            "interlingua_fallbacks",
            "Calls that went on to another deployment, since this one had failed or rested.",
            labels=("deployment",),
        )
        limited = CounterMetricFamily(
            "interlingua_limited",
            "Calls that were refused at the deployment by its limit, or by their caller's.",
            labels=("deployment",),
        )
        for seen in self._observe():
            calls.add_metric((seen.deployment,), seen.calls)
            for name in seen.states:
                state.add_metric((seen.deployment, name), float(name == seen.state))
            for name in seen.circuits:
                circuit.add_metric((seen.deployment, name), float(name == seen.circuit))
            retries.add_metric((seen.deployment,), seen.retries)
            fallbacks.add_metric((seen.deployment,), seen.fallbacks)
            limited.add_metric((seen.deployment,), seen.limited)
            if seen.memory_bytes is not None:
                memory.add_metric((seen.deployment,), seen.memory_bytes)
        yield from (calls, state, circuit, retries, fallbacks, limited, memory)
