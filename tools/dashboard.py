"""Writes docs/monitoring/dashboard.json, a Grafana dashboard over what ``/metrics`` gives.

Usage: python tools/dashboard.py     (a test fails while the file is not what this writes)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "docs" / "monitoring" / "dashboard.json"

# Row → panels: title, unit, then (query, legend)
ROWS: dict[str, list[tuple[str, str, list[tuple[str, str]]]]] = {
    "Questions": [
        (
            "Runs by outcome",
            "ops",
            [("sum by (outcome) (rate(casemate_runs_total[5m]))", "{{outcome}}")],
        ),
        (
            "Seconds to the last event, 95th percentile",
            "s",
            [
                (
                    "histogram_quantile(0.95, sum by (le, use_case) "
                    "(rate(casemate_run_seconds_bucket[5m])))",
                    "{{use_case}}",
                )
            ],
        ),
        (
            "Requests by status",
            "reqps",
            [("sum by (status) (rate(casemate_requests_total[5m]))", "{{status}}")],
        ),
        (
            "Seconds of a request, 95th percentile",
            "s",
            [
                (
                    "histogram_quantile(0.95, sum by (le, route) "
                    "(rate(casemate_request_seconds_bucket[5m])))",
                    "{{route}}",
                )
            ],
        ),
    ],
    "Queues": [
        (
            "Waiting and at work",
            "short",
            [
                ("sum by (model, priority) (casemate_waiting)", "{{model}} {{priority}} waiting"),
                ("sum by (model) (casemate_working)", "{{model}} at work"),
                ("casemate_slots", "{{model}} slots"),
            ],
        ),
        (
            "Seconds waited, 95th percentile",
            "s",
            [
                (
                    "histogram_quantile(0.95, sum by (le, model, priority) "
                    "(rate(casemate_wait_seconds_bucket[5m])))",
                    "{{model}} {{priority}}",
                )
            ],
        ),
        (
            "Refused and given up",
            "ops",
            [
                (
                    "sum by (of, measure) (rate(casemate_quota_refused_total[5m]))",
                    "{{of}} {{measure}}",
                ),
                ("sum by (model) (rate(casemate_queue_refused_total[5m]))", "{{model}} queue full"),
                ("rate(casemate_door_refused_total[5m])", "door"),
                ("sum by (model) (rate(casemate_given_up_total[5m]))", "{{model}} given up"),
            ],
        ),
        (
            "Waiting at the door and to search",
            "short",
            [("casemate_door_waiting", "door"), ("casemate_searches_waiting", "search")],
        ),
    ],
    "Models": [
        (
            "Tokens",
            "short",
            [("sum by (model, kind) (rate(casemate_tokens_total[5m]))", "{{model}} {{kind}}")],
        ),
        (
            "Seconds in a slot, median",
            "s",
            [
                (
                    "histogram_quantile(0.5, sum by (le, model) "
                    "(rate(casemate_turn_seconds_bucket[5m])))",
                    "{{model}}",
                )
            ],
        ),
        (
            "Failures of engines",
            "ops",
            [("sum by (model) (rate(casemate_engine_failures_total[5m]))", "{{model}}")],
        ),
        (
            "Exchanges under way with replicas",
            "short",
            [("casemate_replica_outstanding", "{{model}} {{replica}}")],
        ),
        (
            "Replicas that fail, and what was asked elsewhere",
            "short",
            [
                ('casemate_replica_state{state!="closed"} > 0', "{{model}} {{replica}} {{state}}"),
                (
                    "sum by (model, replica) (rate(casemate_replica_retries_total[5m]))",
                    "{{model}} {{replica}} elsewhere",
                ),
            ],
        ),
        (
            "Estimated GPU-seconds and watt-hours, a day",
            "short",
            [
                (
                    "sum by (use_case) (increase(casemate_estimated_gpu_seconds_total[1d]))",
                    "{{use_case}} GPU-seconds",
                ),
                (
                    "sum by (use_case) (increase(casemate_estimated_watt_hours_total[1d]))",
                    "{{use_case}} Wh",
                ),
            ],
        ),
    ],
    "House": [
        (
            "Seconds until an entry is durable, 99th percentile",
            "s",
            [
                (
                    "histogram_quantile(0.99, sum by (le) "
                    "(rate(casemate_ledger_append_seconds_bucket[5m])))",
                    "ledger",
                )
            ],
        ),
        (
            "Seconds of a search, 95th percentile",
            "s",
            [
                (
                    "histogram_quantile(0.95, sum by (le) "
                    "(rate(casemate_search_seconds_bucket[5m])))",
                    "search",
                )
            ],
        ),
        (
            "Entries and documents",
            "short",
            [("casemate_ledger_entries", "entries"), ("casemate_documents", "documents")],
        ),
        (
            "Memory, open files, room on the disk",
            "bytes",
            [
                ("process_resident_memory_bytes", "memory"),
                ("process_open_fds", "open files"),
                ("casemate_disk_free_bytes", "free room"),
            ],
        ),
    ],
}
_SOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row, those in ROWS.items():
        place = {"h": 1, "w": 24, "x": 0, "y": top}
        panels.append({"id": len(panels) + 1, "type": "row", "title": row, "gridPos": place})
        for number, (title, unit, queries) in enumerate(those):
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": title,
                    "datasource": _SOURCE,
                    "gridPos": {"h": 8, "w": 6, "x": 6 * number, "y": top + 1},
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                    "targets": [
                        {
                            "refId": chr(65 + index),
                            "datasource": _SOURCE,
                            "expr": query,
                            "legendFormat": legend,
                        }
                        for index, (query, legend) in enumerate(queries)
                    ],
                }
            )
        top += 9
    return {
        "title": "Casemate",
        "uid": "casemate",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"}
            ]
        },
        "panels": panels,
    }


def text() -> str:
    """The file's content."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
