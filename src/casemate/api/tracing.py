"""Traces: where the time of a request went, for whoever runs the machine. Never what was asked.

OpenTelemetry; names of the GenAI semantic conventions (semantic-conventions 1.41, development) for
runs, models and tools. Needs the extra ``casemate[otel]``. Spans hold use case, model, run, counts
and outcomes; no question, answer, query, name or address of a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from starlette.types import Scope

from casemate import __version__
from casemate.api.handing import HandedOver
from casemate.errors import CasemateError, Unavailable, Unsupported
from casemate.gate.connection import Ways, session
from casemate.reasoning.event import Admitted, Event, Finished, StepFinished, StepStarted

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span

    from casemate.gate.label import Label
    from casemate.gate.perimeter import Perimeter
    from casemate.installation import Installation

_PROVIDER = "casemate"
# Kind of a step → operation and name of its span; others are spans of their kind.
_OPERATIONS = {
    "think": ("chat", "chat {model}"),
    "write": ("chat", "chat {model}"),
    "quote": ("chat", "chat {model}"),
    "search": ("execute_tool", "execute_tool search"),
    "tool": ("execute_tool", "execute_tool"),
}


def tracing_of(installation: Installation) -> Tracing | None:
    """The traces of an installation; None where no collector is set. Raises like ``exporter``."""
    endpoint = installation.settings.otlp_endpoint
    if not endpoint:
        return None
    gate = installation.gate
    collector = exporter(gate.perimeter, gate.country.policy.lowest(), endpoint)
    return Tracing(collector, installation.process)


class Tracing:
    """Makes spans of requests and runs. ``exporter``: where they go, in batches and in time.

    ``process``: its name, told with each span, where several serve.
    """

    def __init__(self, exporter: SpanExporter, process: str = "") -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        told = {"service.name": "casemate", "service.version": __version__}
        resource = Resource({**told, "service.instance.id": process} if process else told)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("casemate", __version__)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Callable[[str, int], None]]:
        """A span for one request; call what is given with its route and status."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, use_span
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        context = TraceContextTextMapPropagator().extract(headers)
        method = scope["method"]
        span = self._tracer.start_span(method, context, SpanKind.SERVER)

        def ended(route: str, status: int) -> None:
            span.update_name(f"{method} {route}")
            span.set_attributes({"http.request.method": method, "http.route": route})
            if status:
                span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))

        try:
            with use_span(span, record_exception=False):
                yield ended
        except HandedOver:
            raise  # whoever answers makes a span of it: this one never ends, so it is not sent
        except BaseException:
            span.end()
            raise
        span.end()

    async def observed(self, events: AsyncIterator[Event]) -> AsyncGenerator[Event, None]:
        """The same events, as spans: one of the run, and in it one of each step."""
        trace = self.follow()
        try:
            async for event in events:
                trace.tell(event)
                yield event
        except BaseException as problem:
            trace.fail(problem)
            raise
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
            trace.end()

    def follow(self) -> Trace:
        """The spans of a run that is about to begin."""
        return Trace(self._tracer)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class Trace:
    """The spans of one run, from its being admitted on: tell each event, then how it ended."""

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer
        self._run: _Run | None = None

    def tell(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, Admitted):
            self._run = _Run(self._tracer, event)
        elif self._run is not None:
            self._run.tell(event)

    def fail(self, problem: BaseException) -> None:
        """The run breaks off."""
        if self._run is not None:
            self._run.fail(problem)

    def end(self) -> None:
        """Close what is open."""
        if self._run is not None:
            self._run.end()


class _Run:
    """The spans of one run."""

    def __init__(self, tracer: Any, admitted: Admitted) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        self._model = admitted.model
        self._span: Span = tracer.start_span(
            f"invoke_agent {admitted.use_case}",
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": _PROVIDER,
                "gen_ai.agent.name": admitted.use_case,
                "gen_ai.request.model": admitted.model,
                "casemate.run": admitted.run,
            },
        )
        self._context = set_span_in_context(self._span)
        self._step: Span | None = None

    def tell(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, StepStarted):
            self._end_step()
            operation, name = _OPERATIONS.get(event.kind, ("", event.kind))
            attributes = {"casemate.step": event.kind}
            if operation:
                attributes |= {
                    "gen_ai.operation.name": operation,
                    "gen_ai.provider.name": _PROVIDER,
                }
            if operation == "chat":
                attributes["gen_ai.request.model"] = self._model
            if event.kind == "search":
                attributes["gen_ai.tool.name"] = "search"
            self._step = self._tracer.start_span(
                name.format(model=self._model), self._context, attributes=attributes
            )
        elif isinstance(event, StepFinished):
            if self._step is not None:
                self._step.set_attribute("casemate.count", event.step.count)
            self._end_step()
        elif isinstance(event, Finished):
            self._span.set_attributes(_finished(event))

    def fail(self, problem: BaseException) -> None:
        """The run breaks off. Only the kind of the problem is told: its text may hold content."""
        from opentelemetry.trace import Status, StatusCode

        kind = type(problem).__name__ if isinstance(problem, Exception) else "cancelled"
        for span in (self._step, self._span):
            if span is not None:
                span.set_attribute("error.type", kind)
                span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """Close what is open."""
        self._end_step()
        self._span.end()

    def _end_step(self) -> None:
        if self._step is not None:
            self._step.end()
            self._step = None


def exporter(perimeter: Perimeter, label: Label, endpoint: str) -> SpanExporter:
    """Sends spans to an OTLP collector over HTTP (``/v1/traces`` is added to ``endpoint``).

    Each time to a place inside the perimeter, and nowhere else. What cannot be sent is dropped:
    nobody waits for a trace. Raises Refused for an endpoint outside; Unsupported without the extra.
    """
    try:
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    except ModuleNotFoundError:
        raise Unsupported(
            "Traces need OpenTelemetry, which is not installed.",
            "Install it: `pip install 'casemate[otel]'`, or leave `otlp_endpoint` empty.",
        ) from None
    url = f"{endpoint.rstrip('/')}/v1/traces"
    perimeter.declared(url, label)
    ways = Ways()

    class Exporter(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                ways.allow(perimeter.route(url, label))  # each time: places are taken out, too
                status = asyncio.run(_posted(ways, url, encode_spans(spans).SerializeToString()))
            except (CasemateError, OSError, TimeoutError):
                return SpanExportResult.FAILURE
            return SpanExportResult.SUCCESS if status < 300 else SpanExportResult.FAILURE

    return Exporter()


async def _posted(ways: Ways, url: str, body: bytes) -> int:
    import aiohttp

    headers = {"content-type": "application/x-protobuf"}
    try:
        async with (
            session(ways, connect_seconds=2, silence_seconds=5, headers=headers) as client,
            client.post(url, data=body, allow_redirects=False) as response,
        ):
            return response.status
    except aiohttp.ClientError as problem:
        raise Unavailable("The collector does not answer.", "Look whether it runs.") from problem


def _finished(event: Finished) -> dict[str, Any]:
    told: dict[str, Any] = {
        "casemate.outcome": event.outcome,
        "casemate.sources": len(event.answer.sources),
        "casemate.citations": len(event.answer.citations),
    }
    counted = getattr(event, "counted", None)  # of an engine that counts
    for name, part in (("input", "read"), ("output", "written")):
        if (count := getattr(counted, part, None)) is not None:
            told[f"gen_ai.usage.{name}_tokens"] = count
    return told
