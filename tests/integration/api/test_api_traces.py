"""Traces: spans of a real server at a collector inside the perimeter, without a word of content."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from house_builders import DOG_TAX, FEES, a_house, a_server, casemate
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from casemate.api.handing import HandedOver
from casemate.api.tracing import Tracing
from casemate.reasoning.event import Admitted

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes what OTLP over HTTP sends."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                collector.bodies.append(self.rfile.read(length))
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def spans(self) -> list[Any]:
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    serving = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        serving.join()
        made.server.server_close()


def furnished(data: Path, collector: Collector, *, declared: bool) -> str:
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        if declared:
            house.installation.gate.perimeter.add(
                house.owner,
                name="collector",
                host="127.0.0.1",
                ports=(collector.port,),
                jurisdiction="LU",
                ceiling=house.label("unclassified"),
            )
        key = house.key(house.owner.principal.name)
    endpoint = f'otlp_endpoint = "http://127.0.0.1:{collector.port}"\n'
    (data / "settings.toml").write_text(endpoint, encoding="utf-8")
    return key


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def test_a_run_is_a_tree_of_spans_with_the_names_that_tools_know(
    tmp_path: Path, collector: Collector
) -> None:
    key = furnished(tmp_path / "data", collector, declared=True)
    with a_server(tmp_path / "data") as server:
        sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "Content-Type": "application/json"}
        body = f'{{"question": "{DOG_TAX}"}}'.encode()
        asked = server.http("POST", "/api/runs", key=key, body=body, headers=sent)
        assert asked.status == 200
        assert server.stop() == 0
    spans = {span.name: span for span in collector.spans()}
    request = spans["POST /api/runs"]
    run, chat = spans["invoke_agent documents"], spans["chat quote"]
    search = spans["execute_tool search"]
    assert request.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == PARENT
    assert run.parent_span_id == request.span_id
    assert chat.parent_span_id == search.parent_span_id == run.span_id
    assert attributes(request)["http.response.status_code"] == 200
    assert attributes(run) == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": "casemate",
        "gen_ai.agent.name": "documents",
        "gen_ai.request.model": "quote",
        "casemate.run": asked.json["id"],
        "casemate.outcome": "answered",
        "casemate.sources": len(asked.json["answer"]["sources"]),
        "casemate.citations": len(asked.json["answer"]["citations"]),
    }
    assert attributes(chat)["gen_ai.operation.name"] == "chat"
    assert attributes(search)["gen_ai.tool.name"] == "search"
    everything = b"".join(collector.bodies)
    for secret in (b"dog", b"tax", b"euros", b"fees.md", key.encode(), b"127.0.0.1"):
        assert secret not in everything


def test_a_collector_outside_the_perimeter_is_refused_at_the_start(
    tmp_path: Path, collector: Collector
) -> None:
    furnished(tmp_path / "data", collector, declared=False)
    said = casemate("up", "--port", "0", data=tmp_path / "data").refused()
    assert "perimeter" in said
    assert not collector.bodies


def test_a_run_that_fails_says_so_by_the_kind_of_its_error_alone() -> None:
    import asyncio

    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    tracing = Tracing(kept)

    async def failing() -> Any:
        yield Admitted(run="run_1", use_case="documents", model="quote", entry=1)
        raise ValueError("What does the mayor earn?")

    async def follow() -> None:
        async for _ in tracing.observed(failing()):
            pass

    with pytest.raises(ValueError, match="mayor"):
        asyncio.run(follow())
    tracing.close()
    (span,) = kept.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert "mayor" not in span.to_json()


def test_where_several_processes_serve_each_span_names_its_own() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    for process in ("worker 2", ""):
        kept = InMemorySpanExporter()
        tracing = Tracing(kept, process)
        with tracing.request({"headers": [], "method": "GET"}) as ended:
            ended("/healthz", 200)
        tracing.close()
        (span,) = kept.get_finished_spans()
        assert span.resource.attributes.get("service.instance.id", "") == process


def test_a_request_that_another_process_answers_has_no_span_here() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    tracing = Tracing(kept)
    with pytest.raises(HandedOver), tracing.request({"headers": [], "method": "POST"}):
        raise HandedOver
    with pytest.raises(KeyError), tracing.request({"headers": [], "method": "GET"}):
        raise KeyError
    tracing.close()
    assert [one.name for one in kept.get_finished_spans()] == ["GET"]
