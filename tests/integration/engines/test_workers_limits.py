"""Rights, places and limits hold in every worker: from the next request on, and in what is open."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from elsewhere import elsewhere
from house_builders import Server, a_house, a_server, casemate
from model_server import ModelServer, a_script
from worker_builders import (
    HoldingServer,
    a_stream,
    chat,
    furnished,
    only,
    told,
    until_gone,
    workers,
)


@pytest.fixture
def model() -> Iterator[HoldingServer]:
    with HoldingServer() as server:
        try:
            yield server
        finally:
            server.go.set()


def in_each(server: Server, key: str, **more: Any) -> list[int]:
    """The status that each worker answers a chat with."""
    found = []
    for pid in workers(server):
        with only(pid, server):
            found.append(chat(server, key, **more).status)
    return found


def test_what_is_taken_back_ends_what_is_open_and_what_comes_in_every_worker(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    owners = furnished(data, model)
    with a_house(data) as house:
        house.person("Bob")
        house.person("Eve")
        id, bobs = house.installation.gate.keys.create(house.owner, "Bob")
        eves = house.key("Eve")
        names = {
            name: house.installation.gate.principals.named(name).pseudonym
            for name in ("Bob", "Eve")
        }
    with a_server(data, "--workers", "2") as server, ExitStack() as streams:
        bob, eve, kept = [], [], []
        for pid in workers(server):
            with only(pid, server):
                for key, found in ((bobs, bob), (eves, eve), (owners, kept)):
                    found.append(streams.enter_context(a_stream(server, key)))
        casemate("key", "revoke", id, data=data).fine()  # in the owner
        assert in_each(server, bobs) == [401, 401]
        elsewhere(data, "lower", "Eve")  # in a process of its own
        assert in_each(server, eves) == [403, 403]
        for stream in (*bob, *eve):
            rest = told(stream)
            assert b"[DONE]" not in rest
            assert b'"error"' in rest
        model.go.set()
        for stream in kept:
            assert told(stream).endswith(b"data: [DONE]\n\n")
        casemate("model", "withdraw", "tiny", data=data).fine()
        assert in_each(server, owners) == [403, 403]
        assert server.stop() == 0
    with a_house(data) as house:
        stopped = [one for one in house.entries() if one["kind"] == "run.stopped"]
        assert sorted(one["subject"] for one in stopped) == sorted([*names.values()] * 2)
        refused = [one["actor"] for one in house.entries() if one["kind"] == "refused"]
        # Twice because her streams went on, and twice because she asked.
        assert refused.count(names["Eve"]) == 4


def test_other_places_are_in_force_in_every_worker_once_it_is_confirmed(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    model.go.set()
    with a_server(data, "--workers", "2") as server:
        assert in_each(server, key) == [200, 200]
        casemate("perimeter", "remove", "models", data=data).fine()
        assert in_each(server, key) == [403, 403]
        os.kill(workers(server)[0], signal.SIGKILL)  # who comes back knows it, too
        casemate(
            *("perimeter", "add", "models", "--host", "127.0.0.1", "--port", str(model.port)),
            *("--jurisdiction", "LU", "--ceiling", "unclassified"),
            data=data,
        ).fine()
        assert in_each(server, key) == [200, 200]


def test_limits_are_those_of_the_server_however_many_processes_serve(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    with a_house(data) as house:
        house.installation.gate.capacities.declare(
            house.owner, "tiny", slots=1, accelerators=0, watts=0
        )
        house.person("Bob")
        bobs = house.key("Bob")
    settings = "concurrent_runs = 2\n"
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    limit = ("quota", "set", "requests", "3", "--of", "principal:Bob", "--per", "day")
    casemate(*limit, data=data).fine()
    with a_server(data, "--workers", "2") as server, ExitStack() as streams:
        first, second = workers(server)
        with only(first, server):
            streams.enter_context(a_stream(server, key))
        with only(second, server):
            waiting = streams.enter_context(a_stream(server, key, begun=b"data: "))
        (tiny,) = [one for one in status(data)["models"] if one["model"] == "tiny"]
        assert (tiny["slots"], tiny["working"], tiny["waiting"]) == (1, 1, 1)
        assert tiny["replicas"][0]["outstanding"] == 1
        assert in_each(server, key) == [429, 429]
        model.go.set()
        assert told(waiting).endswith(b"data: [DONE]\n\n")
        found = [code for _ in range(2) for code in in_each(server, bobs)]
        assert found == [200, 200, 200, 429]
        with only(first, server):
            refused = chat(server, bobs)
        assert "limit" in refused.json["error"]["message"]


def status(data: Path) -> Any:
    return casemate("status", "--json", data=data).fine().json


def test_metrics_are_of_all_processes_and_do_not_shrink_when_one_dies(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ModelServer() as model:
        model.pieces = [a_script("It is ", "40 euros.")]
        key = furnished(data, model)
        with a_server(data, "--workers", "2") as server:
            for _ in range(2):
                assert in_each(server, key) == [200, 200]
            before = counted(server)
            assert before[RUNS] == 4
            first = workers(server)[0]
            os.kill(first, signal.SIGKILL)
            until_gone(first)
            workers(server)
            after = counted(server)
            assert after[RUNS] == 4
            assert in_each(server, key) == [200, 200]
            assert counted(server)[RUNS] == 6
            tokens = re.compile(r"casemate_tokens_total|casemate_request_seconds_count")
            assert any(tokens.match(name) for name in after)
            for name, value in before.items():
                if tokens.match(name):
                    assert after[name] >= value


RUNS = 'casemate_runs_total{model="tiny",outcome="unanswered",use_case="chat"}'


def counted(server: Server) -> dict[str, float]:
    """Samples by name and labels."""
    text = server.http("GET", "/metrics").body.decode()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("casemate_"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found
