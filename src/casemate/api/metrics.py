"""Metrics for Prometheus: how much is asked and how it goes. Never who, never what.

Each application has its own registry, so two in one process do not share their counts.
"""

from __future__ import annotations

import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.registry import Collector
from starlette.types import Scope

from casemate.api.tracing import Tracing
from casemate.counts import Counts, Family, Sample, added
from casemate.reasoning.event import Admitted, Event, Finished
from casemate.reasoning.relay import Tell

KEY = "casemate.metrics"  # in the ASGI scope: the counts of the application
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# From an instant quotation to minutes of reasoning on a small machine.
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The counts of one application. ``clock`` is monotonic, in seconds.

    ``tracing``: makes spans of the runs that are counted, too.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        tracing: Tracing | None = None,
    ) -> None:
        self._clock = clock
        self._tracing = tracing
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, processor time, open files
        self._requests = Counter(
            "casemate_requests",
            "HTTP requests by address, method and status.",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._runs = Counter(
            "casemate_runs",
            "Runs by use case, model and outcome.",
            ["use_case", "model", "outcome"],
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "casemate_request_seconds",
            "Seconds from a request to the end of its response.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._seconds = Histogram(
            "casemate_run_seconds",
            "Seconds from a question to its last event.",
            ["use_case", "model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._ledger = Gauge(
            "casemate_ledger_entries", "Entries in the ledger.", registry=self.registry
        )
        self._documents = Gauge(
            "casemate_documents", "Documents in the library.", registry=self.registry
        )

    def requested(self, route: str, method: str, status: str, seconds: float) -> None:
        """Count one request. ``route`` is the template, never the address itself."""
        self._request_seconds.labels(route).observe(seconds)
        # An invented method must not make a new series.
        self._requests.labels(route, method if method in _METHODS else "other", status).inc()

    async def counted(self, run: Callable[[Tell], Awaitable[None]], tell: Tell) -> None:
        """Let ``run`` tell its events to ``tell``, and count it."""
        began = self._clock()
        trace = None if self._tracing is None else self._tracing.follow()
        admitted: Admitted | None = None
        outcome = "cancelled"

        async def seen(events: Sequence[Event]) -> None:
            nonlocal admitted, outcome
            first, last = events[0], events[-1]
            if isinstance(first, Admitted):
                admitted = first
            if isinstance(last, Finished):
                outcome = last.outcome
            if trace is not None:
                for event in events:
                    trace.tell(event)
            await tell(events)

        try:
            await run(seen)
        except BaseException as problem:
            if trace is not None:
                trace.fail(problem)
            if isinstance(problem, Exception):
                outcome = "failed"
            raise
        finally:
            if trace is not None:
                trace.end()
            self._ran(admitted, outcome, self._clock() - began)

    async def observed(self, events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
        """The same events, counted. Closing this closes ``events``."""
        if self._tracing is not None:
            events = self._tracing.observed(events)
        began = self._clock()
        admitted: Admitted | None = None
        outcome = "cancelled"
        try:
            async for event in events:
                if isinstance(event, Admitted):
                    admitted = event
                elif isinstance(event, Finished):
                    outcome = event.outcome
                yield event
        except Exception:
            outcome = "failed"
            raise
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
            self._ran(admitted, outcome, self._clock() - began)

    def _ran(self, admitted: Admitted | None, outcome: str, seconds: float) -> None:
        # A question that was not admitted is no run; the request counter has it.
        if admitted is not None:
            self._runs.labels(admitted.use_case, admitted.model, outcome).inc()
            self._seconds.labels(admitted.use_case, admitted.model).observe(seconds)

    def text(
        self,
        *,
        ledger_entries: int,
        documents: int,
        more: Iterable[Metric],
        elsewhere: Counts,
    ) -> bytes:
        """Everything in Prometheus' text format, with these gauges as they are now.

        ``elsewhere``: what other processes of the same server counted, to be added.
        """
        self._ledger.set(ledger_entries)
        self._documents.set(documents)
        here = (*self.registry.collect(), *more)
        if not elsewhere.families:
            return generate_latest(_Given(here))
        together = added([Counts(spoken(here)), elsewhere])
        return generate_latest(_Given(tuple(map(_metric, together.families))))


def spoken(metrics: Iterable[Metric]) -> tuple[Family, ...]:
    """Metrics, to be told to another process."""
    return tuple(
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            tuple(
                Sample(one.name, tuple(one.labels.items()), float(one.value))
                for one in metric.samples
            ),
        )
        for metric in metrics
    )


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.documentation, family.kind)
    for one in family.samples:
        metric.add_sample(one.name, dict(one.labels), one.value)
    return metric


@dataclass(frozen=True)
class _Given(Collector):
    metrics: tuple[Metric, ...]

    def collect(self) -> Iterator[Metric]:
        """See Collector."""
        yield from self.metrics


def metrics_of(scope: Scope) -> Metrics:
    """The counts of the application that serves ``scope``; counts nobody reads if it has none."""
    found = scope.get(KEY)
    return found if isinstance(found, Metrics) else Metrics()
