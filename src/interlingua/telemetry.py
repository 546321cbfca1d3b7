"""What the server measures, as Prometheus reads it.

Rules of this file:
- The one place that knows the library of metrics. Its registry is one server's own.
- A label's value comes from the config or from the code, never from a caller: how many
  series there are is known beforehand. No prompt, key or header comes here.
- A call costs some microseconds, a token nothing. Whatever can be looked up when somebody
  asks for the page is looked up then.
"""

import asyncio
import contextlib
import math
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from interlingua.types.models import Operation
from interlingua.types.usage import Usage

#: From an embedding of some milliseconds to a long answer of a large model.
_CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

#: From a loop at rest to one that calls have to wait for.
_LAG_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
#: How often it is looked: what holds the loop up for longer is always seen.
_LOOK_EVERY_S = 0.1


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


class Records(Protocol):
    """Where usage is put down, as :class:`interlingua.storage.spool.Spool` does it."""

    lost: int

    @property
    def waiting(self) -> int:
        """Calls whose usage couldn't be put down yet."""


class Measured(Protocol):
    """A call that has ended, as :class:`interlingua.gateway.meter.CallMeter` knows it."""

    operation: Operation
    deployment: str
    status: int
    usage: Usage
    came_s: float
    began_s: float | None
    took_s: float

    @property
    def answered(self) -> bool: ...


class _Durations:
    """A histogram's counts: the library's own, made for many threads, take five times as long."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        #: By the first bound that isn't less; the last: beyond all.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus has them."""
        names = [floatToGoString(b) for b in (*self.bounds, math.inf)]  # type: ignore[no-untyped-call]  # it has no annotations
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class _Tally:
    """What is counted of the calls of one operation at one deployment."""

    __slots__ = ("completion_tokens", "first_token", "prompt_tokens", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.seconds = _Durations(_CALL_S)
        self.first_token: _Durations | None = None
        self.prompt_tokens = 0
        self.completion_tokens: int | None = None

    def add(self, call: Measured) -> None:
        """One call more."""
        self.statuses[call.status] = self.statuses.get(call.status, 0) + 1
        self.seconds.observe(call.took_s)
        if call.began_s is not None:
            if self.first_token is None:
                self.first_token = _Durations(_FIRST_TOKEN_S)
            self.first_token.observe(call.began_s - call.came_s)
        if call.answered:
            self.prompt_tokens += call.usage.prompt_tokens
            self.completion_tokens = (self.completion_tokens or 0) + call.usage.completion_tokens


class Telemetry:
    """Counts calls, and shows them together with what ``observe`` finds.

    Satisfies :class:`interlingua.gateway.meter.Meter`.
    """

    def __init__(self, observe: Callable[[], Iterable[Observed]]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._tallies: dict[tuple[Operation, str], _Tally] = {}
        self._registry.register(_Calls(self._tallies))
        self._lag = _Durations(_LAG_S)
        self._registry.register(_Loop(self._lag))
        self._registry.register(_Deployments(observe))

    def ended(self, call: Measured) -> None:
        """Count a call."""
        where = (call.operation, call.deployment)
        tally = self._tallies.get(where)
        if tally is None:
            tally = self._tallies[where] = _Tally()
        tally.add(call)

    def watch_usage(self, records: Records) -> None:
        """Show what of the usage couldn't be put down."""
        self._registry.register(_Usage(records))

    @contextlib.contextmanager
    def watching_loop(self) -> Iterator[None]:
        """Look ten times a second how late the running loop is, until the block ends."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def look(due: float) -> None:
            nonlocal timer
            now = loop.time()
            self._lag.observe(max(0.0, now - due))
            timer = loop.call_at(now + _LOOK_EVERY_S, look, now + _LOOK_EVERY_S)

        due = loop.time() + _LOOK_EVERY_S
        timer = loop.call_at(due, look, due)
        try:
            yield
        finally:
            timer.cancel()

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


class _Calls(Collector):
    """What calls did, as the library's own families."""

    def __init__(self, tallies: Mapping[tuple[Operation, str], _Tally]) -> None:
        self._tallies = tallies

    def collect(self) -> Iterator[Metric]:  # type: ignore[explicit-override]  # 3.12's
        by_call = ("operation", "deployment")
        calls = CounterMetricFamily(
            "interlingua_calls",
            "Calls that ended, by status: 499 where the client left, and the failure's own "
            "status where a stream broke.",
            labels=(*by_call, "status"),
        )
        seconds = HistogramMetricFamily(
            "interlingua_call_seconds",
            "How long calls took, from the request's head to the end of the answer.",
            labels=by_call,
        )
        first_token = HistogramMetricFamily(
            "interlingua_first_token_seconds",
            "How long it took until a streamed answer's first token, loading and waiting included.",
            labels=by_call,
        )
        tokens = CounterMetricFamily(
            "interlingua_tokens",
            "Tokens of the calls that were answered to the end.",
            labels=("deployment", "kind"),
        )
        used: dict[tuple[str, str], int] = {}
        for labels, tally in self._tallies.items():
            for status, count in tally.statuses.items():
                calls.add_metric((*labels, str(status)), count)
            seconds.add_metric(labels, tally.seconds.buckets(), tally.seconds.total)
            if tally.first_token is not None:
                first_token.add_metric(labels, tally.first_token.buckets(), tally.first_token.total)
            if tally.completion_tokens is not None:
                deployment = labels[1]
                for kind, count in (
                    ("prompt", tally.prompt_tokens),
                    ("completion", tally.completion_tokens),
                ):
                    used[deployment, kind] = used.get((deployment, kind), 0) + count
        for which, count in used.items():
            tokens.add_metric(which, count)
        yield from (calls, seconds, first_token, tokens)


class _Loop(Collector):
    """How late the event loop was."""

    def __init__(self, lag: _Durations) -> None:
        self._lag = lag

    def collect(self) -> Iterator[Metric]:  # type: ignore[explicit-override]  # 3.12's
        lag = HistogramMetricFamily(
            "interlingua_loop_lag_seconds",
            "How late a server process got to what was due, looked at ten times a second.",
        )
        lag.add_metric((), self._lag.buckets(), self._lag.total)
        yield lag


class _Usage(Collector):
    """What isn't on record yet, or never will be."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def collect(self) -> Iterator[Metric]:  # type: ignore[explicit-override]  # 3.12's
        waiting = GaugeMetricFamily(
            "interlingua_usage_waiting",
            "Calls whose usage couldn't be put down yet, as on a full disk; it is in memory.",
        )
        waiting.add_metric((), self._records.waiting)
        lost = CounterMetricFamily(
            "interlingua_usage_lost",
            "Calls whose usage is lost, since too many were waiting to be put down.",
        )
        lost.add_metric((), self._records.lost)
        yield from (waiting, lost)


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
