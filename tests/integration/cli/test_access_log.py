"""The access log of a real server: each request, and nothing of who asked what."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from house_builders import DOG_TAX, FEES, a_house, a_server


def test_each_request_is_a_line_of_json_without_content_names_or_queries(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        house.person("Zacharias")
        key = house.key("Zacharias")
    (data / "settings.toml").write_text('log = "json"\naccess_log = true\n', encoding="utf-8")
    with a_server(data) as server:
        asked = server.ask(DOG_TAX, key=key)
        run = asked.json["id"]
        server.http("GET", f"/api/runs/{run}", key=key)
        server.http("GET", "/api/search?q=mayor%20salary", key=key)
        server.http("GET", "/nowhere/mayor?salary=1")
        server.http("PROPFIND", "/api/runs", key=key)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert server.process.stderr is not None
        said = server.process.stderr.read()
    lines = [json.loads(line) for line in said.splitlines()]
    requests = [(one["method"], one["route"], one["status"]) for one in lines]
    assert requests == [
        ("POST", "/api/runs", 200),
        ("GET", "/api/runs/{id}", 200),
        ("GET", "/api/search", 200),
        ("GET", "unmatched", 404),
        ("other", "/api/runs", 405),
    ]
    assert lines[0]["run"] == run
    assert all(one["milliseconds"] > 0 for one in lines)
    for secret in ("mayor", "salary", "dog", "Zacharias", key, "127.0.0.1"):
        assert secret not in said
