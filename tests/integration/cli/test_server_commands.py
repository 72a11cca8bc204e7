"""Commands beside a running server, and the server itself."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from house_builders import DOG_TAX, Done, Server, a_server, casemate, some_papers

from casemate.cli.line import SOCKET

VARYING = {"id", "run", "created", "ended", "added", "time", "entry", "document", "document_id"}
VARYING |= {"admitted_entry", "finished_entry", "receipt", "vkey", "entries", "origin", "pseudonym"}
VARYING |= {"ledger_entries", "ledger_origin", "disk_free_gibibytes"}


def settled(value: Any) -> Any:
    """JSON without what differs from one installation to the next."""
    if isinstance(value, dict):
        return {k: settled(v) for k, v in value.items() if k not in VARYING}
    if isinstance(value, list):
        return [settled(one) for one in value]
    return value


def shape(done: Done) -> tuple[int, Any, str]:
    return done.code, settled(json.loads(done.out)) if done.out else None, done.err


def a_day(data: Path, papers: Path) -> list[tuple[int, Any, str]]:
    """What somebody does in a day."""
    acts: list[list[Any]] = [
        ["add", papers, "--collection", "notes", "--json"],
        ["add", papers, "--collection", "notes", "--json"],
        ["document", "list", "--json"],
        ["search", "glass container", "--json"],
        ["ask", DOG_TAX, "--json"],
        ["ask", ""],
        ["ask", DOG_TAX, "--collection", "nowhere"],
        ["run", "list", "--json"],
        ["ledger", "check", "--json"],
        ["user", "create", "bob", "--json"],
        ["document", "list", "--principal", "bob", "--json"],
        ["status", "--json"],
        ["document", "delete", "d_absent"],
    ]
    return [shape(casemate(*act, data=data)) for act in acts]


def test_commands_say_the_same_with_a_server_as_without(tmp_path: Path) -> None:
    papers = some_papers(tmp_path / "papers")
    alone, served = tmp_path / "alone", tmp_path / "served"
    for data in (alone, served):
        casemate("collection", "create", "empty", data=data).fine()
    with a_server(served):
        with_server = a_day(served, papers)
    for first, second in zip(a_day(alone, papers), with_server, strict=True):
        assert first == second


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with a_server(tmp_path / "data") as running:
        yield running


def test_a_server_is_ready_when_it_says_so(server: Server) -> None:
    assert server.said[0].startswith("Casemate is ready at http://127.0.0.1:")
    ready = server.http("GET", "/readyz")
    assert (ready.status, ready.body) == (200, b"ready\n")
    assert server.http("GET", "/healthz").status == 200


def test_the_printed_link_signs_in_once(server: Server) -> None:
    def opened(path: str) -> tuple[int, dict[str, str], bytes]:
        page = server.http("GET", path)
        if page.status == 200 and b"<form" in page.body:
            page = server.http(
                "POST",
                path,
                body=b"",
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Origin": f"http://127.0.0.1:{server.port}",
                    "Sec-Fetch-Site": "same-origin",
                },
            )
        return page.status, page.headers, page.body

    status, headers, _ = opened(server.link)
    assert status in (302, 303)
    cookie = headers["set-cookie"]
    assert cookie.startswith("casemate_session=")
    assert "HttpOnly" in cookie
    who = server.http("GET", "/api/whoami", headers={"Cookie": cookie.split(";")[0]})
    assert who.status == 200
    assert "owner" in who.json["roles"]
    status, headers, _ = opened(server.link)
    assert "set-cookie" not in headers
    assert status >= 400
    assert opened("/sign-in/" + "x" * 43)[0] == status


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_exits_0_and_leaves_no_socket(
    server: Server, by: signal.Signals
) -> None:
    assert (server.folder / SOCKET).exists()
    assert server.stop(by) == 0
    assert server.process.stderr is not None
    assert server.process.stderr.read() == ""
    assert not (server.folder / SOCKET).exists()
    casemate("status", data=server.folder).fine()


def test_a_server_that_was_killed_is_no_hindrance(server: Server) -> None:
    assert server.stop(signal.SIGKILL) == -9
    assert (server.folder / SOCKET).exists()
    casemate("status", data=server.folder).fine()
    with a_server(server.folder) as again:
        casemate("status", data=again.folder).fine()
        assert again.stop() == 0


def test_the_socket_is_for_its_own_account_alone(server: Server) -> None:
    assert (server.folder / SOCKET).stat().st_mode & 0o777 == 0o600
    assert server.folder.stat().st_mode & 0o777 == 0o700


def test_a_data_path_longer_than_a_sockets_address_works(tmp_path: Path) -> None:
    data = tmp_path / ("long-" * 20) / ("longer-" * 20) / "data"
    assert len(str(data)) > 200
    papers = some_papers(tmp_path / "papers")
    with a_server(data) as server:
        casemate("add", papers, "--collection", "notes", data=data).fine()
        assert "40 euros" in casemate("ask", DOG_TAX, data=data).fine().out
        assert server.stop() == 0


@pytest.mark.parametrize(
    "spoken",
    [
        b"",
        b"\n",
        b"hello\n",
        b"{}\n",
        b"[]\n",
        b'{"act":1}\n',
        b'{"act":"status","arguments":7}\n',
        b"\xff\xfe\n",
        b'{"act":"no.such","arguments":{}}\n',
    ],
)
def test_nonsense_on_the_socket_harms_nobody(server: Server, spoken: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        folder = os.open(server.folder, os.O_RDONLY)
        caller.connect(f"/proc/self/fd/{folder}/{SOCKET}")
        os.close(folder)
        caller.sendall(spoken)
        caller.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: caller.recv(4096), b""))
    assert answer == b"" or b'"error"' in answer
    casemate("status", data=server.folder).fine()
    assert server.stop() == 0
    assert server.process.stderr is not None
    assert "Traceback" not in server.process.stderr.read()


def test_a_folder_that_another_command_holds_is_refused(tmp_path: Path) -> None:
    from casemate.installation import Installation

    with Installation.open(tmp_path / "data"):
        for arguments in (("status",), ("ask", "x"), ("up", "--port", "0")):
            line = casemate(*arguments, data=tmp_path / "data").refused()
            assert "Another Casemate is using this data folder" in line
    casemate("status", data=tmp_path / "data").fine()


# Bad input over HTTP


def test_bad_questions_over_http_get_the_right_status(server: Server, tmp_path: Path) -> None:
    casemate("user", "create", "bob", data=server.folder).fine()
    key = casemate("key", "create", "--principal", "bob", "--json", data=server.folder).json["key"]
    for question, status in (("", 400), ("  ", 400), ("x" * 8_001, 413), ("x" * 1_000_000, 413)):
        answer = server.ask(question, key=key)
        assert (answer.status, set(answer.json["error"])) == (status, {"what", "next"})
    for body in (b"", b"{", b"[]", b'"x"', b'{"question":1}', b"\xff\xfe", b"{" * 5_000):
        answer = server.http("POST", "/api/runs", key=key, body=body)
        assert answer.status == 400, answer
        assert b"Traceback" not in answer.body
    big = server.http("POST", "/api/runs", key=key, body=b" " * (3 << 20))
    assert big.status == 413
    assert server.http("GET", "/api/runs", key=key).json["runs"] == []


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("a.xcf", b"x", 415),
        ("empty.md", b"", 400),
        ("binary.txt", b"\x00\x01\x02" * 100, 400),
        ("broken.pdf", b"%PDF-1.7\n", 400),
        ("broken.docx", b"PK\x03\x04" + b"x" * 50, 400),
        ("", b"text", 400),
    ],
)
def test_bad_files_over_http_get_the_right_status(
    server: Server, name: str, content: bytes, status: int
) -> None:
    owner = casemate("user", "list", "--json", data=server.folder).json[0]["name"]
    key = casemate("key", "create", "--principal", owner, "--json", data=server.folder).json["key"]
    casemate("collection", "create", "notes", data=server.folder).fine()
    answer = server.http(
        "POST", f"/api/collections/notes/documents?name={name}", key=key, body=content
    )
    assert (answer.status, set(answer.json["error"])) == (status, {"what", "next"})
    assert server.http("GET", "/api/documents", key=key).json["documents"] == []


@pytest.mark.parametrize("language", ["pt", "xx-XX", "EN"])
def test_a_language_that_is_not_spoken_here_is_no_fault_of_the_server(
    server: Server, language: str
) -> None:
    owner = casemate("user", "list", "--json", data=server.folder).json[0]["name"]
    key = casemate("key", "create", "--principal", owner, "--json", data=server.folder).json["key"]
    answer = server.ask(DOG_TAX, key=key, language=language)
    assert answer.status in (200, 400)
