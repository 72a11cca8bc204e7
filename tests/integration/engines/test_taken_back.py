"""What is taken back by another process ends what is open in this one."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from elsewhere import elsewhere
from house_builders import DOG_TAX, FEES, Server, a_house, a_server
from model_server import ModelServer, a_chunk
from test_remote_model import with_model


def prepared(data: Path, model_server: ModelServer) -> tuple[str, str]:
    """A house in which Bob may ask a model that never ends its answer; his key's id and text."""
    model_server.pieces = [a_chunk(reasoning_content="40 euros, says passage 1. ")]
    model_server.holds = True
    with a_house(data) as house:
        with_model(house, model_server, place="unclassified", ceiling="unclassified")
        house.add("notes", fees=FEES)
        house.person("Bob")
        return house.installation.gate.keys.create(house.owner, "Bob")


@contextmanager
def a_stream(server: Server, path: str, body: Any, **headers: str) -> Iterator[Iterator[str]]:
    """The lines of a response that goes on, once the model's first words have come."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        content = body if isinstance(body, str) else json.dumps(body)
        connection.request("POST", path, content.encode(), headers)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        lines = (raw.decode() for raw in response)
        for line in lines:
            if "40 euros" in line:
                break
        yield lines
    finally:
        connection.close()


def entries(data: Path, kind: str) -> list[dict[str, Any]]:
    """The entries of one kind, after the server has gone."""
    with a_house(data) as house:
        return [one for one in house.entries() if one["kind"] == kind]


CHAT = {"model": "write", "stream": True, "messages": [{"role": "user", "content": DOG_TAX}]}
ASKED = {"question": DOG_TAX, "use_case": "write"}
SURFACES = {
    "/api/runs": ASKED,
    "/v1/chat/completions": CHAT,
    "/mistral/v1/chat/completions": CHAT,
}


def asking(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}


def test_every_stream_of_somebody_disabled_elsewhere_ends_with_an_error_and_an_entry(
    tmp_path: Path, model_server: ModelServer
) -> None:
    data = tmp_path / "data"
    _, key = prepared(data, model_server)
    with a_server(data) as server, ExitStack() as streams:
        told = [
            streams.enter_context(a_stream(server, path, body, **asking(key)))
            for path, body in SURFACES.items()
        ]
        elsewhere(data, "disable", "Bob")
        for lines in told:
            rest = "".join(lines)
            assert "taken back" in rest
            assert "finished" not in rest
        assert server.http("GET", "/api/whoami", key=key).status == 401
    endings = {one["run"]: one for one in entries(data, "run.finished")}
    stopped = entries(data, "run.stopped")
    assert {one["run"] for one in stopped} == set(endings)
    assert len(stopped) == len(SURFACES)
    for one in stopped:
        assert endings[one["run"]]["outcome"] == "failed"
        assert endings[one["run"]]["principal"] == one["subject"]


def test_a_stream_ends_when_its_key_its_holders_role_or_its_use_case_goes_and_no_other_does(
    tmp_path: Path, model_server: ModelServer
) -> None:
    data = tmp_path / "data"
    id, key = prepared(data, model_server)
    with a_house(data) as house:
        others = []
        for name in ("Eve", "Kim"):
            house.person(name)
            others.append(house.key(name))
    with a_server(data) as server, ExitStack() as streams:
        bob, eve, kim = [
            streams.enter_context(a_stream(server, "/api/runs", ASKED, **asking(one)))
            for one in (key, *others)
        ]
        for lines, act, name in (
            (bob, "revoke", id), (eve, "lower", "Eve"), (kim, "suspend", "write"),
        ):  # fmt: skip
            elsewhere(data, act, name)
            assert "event: error" in "".join(lines)
    with a_house(data) as house:
        ended = [one["subject"] for one in house.entries() if one["kind"] == "run.stopped"]
        people = house.installation.gate.principals
        assert ended == [people.named(name).pseudonym for name in ("Bob", "Eve", "Kim")]


def test_a_page_that_is_being_told_ends_when_its_session_does(
    tmp_path: Path, model_server: ModelServer
) -> None:
    data = tmp_path / "data"
    prepared(data, model_server)
    with a_server(data) as server:
        signed_in = server.http("POST", server.link, headers={"Sec-Fetch-Site": "same-origin"})
        found = re.search(r"casemate_session=([^;]+)", signed_in.headers["set-cookie"])
        assert found
        headers = {
            "Cookie": f"casemate_session={found[1]}",
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "text/event-stream",
        }
        with a_stream(server, "/ask", urlencode(ASKED), **headers) as lines:
            elsewhere(data, "sign-out", found[1])
            assert "event: failed" in "".join(lines)
    assert len(entries(data, "run.stopped")) == 1
