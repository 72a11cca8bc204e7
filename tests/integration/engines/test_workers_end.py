"""Workers and their owner end: in order, or killed at any moment, and nothing is lost or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from house_builders import a_house, a_server, an_environment, casemate, command
from test_drain import until_closed
from worker_builders import (
    HoldingServer,
    a_stream,
    chat,
    children,
    furnished,
    only,
    outcomes,
    told,
    until_gone,
    workers,
)

from casemate.ledger.verify import verify


@pytest.fixture
def model() -> Iterator[HoldingServer]:
    with HoldingServer() as server:
        try:
            yield server
        finally:
            server.go.set()


def test_a_worker_that_is_killed_takes_its_own_streams_with_it_and_comes_back(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    with a_server(data, "--workers", "2") as server, ExitStack() as streams:
        first, second = workers(server)
        with only(first, server):
            lost = streams.enter_context(a_stream(server, key))
        with only(second, server):
            kept = streams.enter_context(a_stream(server, key))
        os.kill(first, signal.SIGKILL)
        assert b"[DONE]" not in told(lost)
        model.go.set()
        assert told(kept).endswith(b"data: [DONE]\n\n")
        assert chat(server, key).status == 200  # the other takes whoever comes
        until_gone(first)
        back = [pid for pid in workers(server) if pid != second]
        with only(back[0], server):
            again = chat(server, key)
        assert again.status == 200
        assert server.stop() == 0
        assert server.process.stderr is not None
        log = server.process.stderr.read()
        assert "worker 1 ended, signal 9" in log
        assert "worker 1 accepts clients again" in log
    with a_house(data) as house:
        ended = outcomes(house)
        assert ended.pop(lost.headers["x-casemate-run"]) == "failed"
        assert set(ended.values()) == {"unanswered"}
        assert len(ended) == 3
        # Closed by the owner when it happened, not by this start.
        kinds = [one["kind"] for one in house.entries() if one["kind"].startswith("run.")]
        assert kinds.count("run.admitted") == kinds.count("run.finished") == 4


def test_a_worker_that_is_stopped_alone_finishes_and_another_takes_its_place(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    with a_server(data, "--workers", "2") as server, ExitStack() as streams:
        first, second = workers(server)
        with only(first, server):
            stream = streams.enter_context(a_stream(server, key))
        os.kill(first, signal.SIGTERM)
        with only(second, server):
            model.go.set()
            assert chat(server, key).status == 200
        assert told(stream).endswith(b"data: [DONE]\n\n")
        until_gone(first)
        (new,) = [pid for pid in workers(server) if pid != second]
        with only(new, server):
            assert chat(server, key).status == 200
        assert server.stop() == 0
        assert server.process.stderr is not None
        assert "worker 1 ended, code 0; started again in 0 s" in server.process.stderr.read()
    with a_house(data) as house:
        assert set(outcomes(house).values()) == {"unanswered"}


def test_workers_do_not_outlive_an_owner_that_is_killed_and_nothing_answered_is_missing(
    tmp_path: Path, model: HoldingServer
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    with a_server(data, "--workers", "2") as server, ExitStack() as streams:
        pids = workers(server)
        open_ = []
        for pid in pids:
            with only(pid, server):
                open_.append(streams.enter_context(a_stream(server, key)))
        model.go.set()
        answered = [chat(server, key).headers["x-casemate-run"] for _ in range(4)]
        model.go.clear()
        held = streams.enter_context(a_stream(server, key))
        server.process.kill()
        server.process.wait()
        for pid in pids:
            until_gone(pid)
        assert b"[DONE]" not in told(held)
        answered += [
            stream.headers["x-casemate-run"] for stream in open_ if b"[DONE]" in told(stream)
        ]
    with a_house(data) as house:
        ended = outcomes(house)
        assert ended[held.headers["x-casemate-run"]] == "failed"
        for run in answered:
            assert ended[run] == "unanswered"
            receipt = house.installation.runs.receipt(house.owner, run)
            assert verify(receipt, house.installation.log.vkey).facts["outcome"] == "unanswered"
        assert None not in ended.values()
    model.go.set()
    with a_server(data, "--workers", "2") as server:
        assert chat(server, key).status == 200


@pytest.mark.parametrize("use_case", ["chat", "write"], ids=["relayed", "handed on"])
def test_workers_that_are_stopped_let_nobody_in_and_finish_what_was_begun(
    tmp_path: Path, model: HoldingServer, use_case: str
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    with a_house(data) as house:
        house.use_case("write", "unclassified", models=("tiny",))
    with a_server(data, "--workers", "2") as server:
        pids = workers(server)
        with a_stream(server, key, model=use_case) as stream:
            server.process.send_signal(signal.SIGTERM)
            until_closed(server.port)
            model.go.set()
            assert told(stream).endswith(b"data: [DONE]\n\n")
            assert server.process.wait(60) == 0
        for pid in pids:
            until_gone(pid)
    with a_house(data) as house:
        assert "failed" not in outcomes(house).values()


@pytest.mark.parametrize("use_case", ["chat", "write"], ids=["relayed", "handed on"])
def test_what_does_not_end_within_the_bound_is_told_so_by_every_process(
    tmp_path: Path, model: HoldingServer, use_case: str
) -> None:
    data = tmp_path / "data"
    key = furnished(data, model)
    with a_house(data) as house:
        house.use_case("write", "unclassified", models=("tiny",))
    (data / "settings.toml").write_text("drain_seconds = 1\nworkers = 2\n", encoding="utf-8")
    with a_server(data) as server, a_stream(server, key, model=use_case) as stream:
        assert server.stop() == 0
        said = told(stream)
        assert b"The server is being stopped." in said
    with a_house(data) as house:
        assert list(outcomes(house).values()) == ["failed"]


@pytest.mark.parametrize("number", ["0", "65", "many", "-1"])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path: Path, number: str) -> None:
    done = casemate("up", "--workers", number, data=tmp_path / "data")
    assert done.code == 2
    assert "--workers" in done.err
    assert not (tmp_path / "data").exists()


def test_a_worker_that_does_not_start_ends_the_server_with_one_clear_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data):
        pass
    with subprocess.Popen(
        command("up", "--port", "0", "--workers", "2", data=data),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=an_environment(),
    ) as server:
        while not (started := children(server.pid)):
            pass
        os.kill(started[0], signal.SIGKILL)
        out, log = server.communicate(timeout=60)
    assert server.returncode == 1
    assert out == b""
    assert log.splitlines()[-1] == (
        b"casemate: A worker process does not start. See the server's log."
    )
