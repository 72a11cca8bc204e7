"""A service's key for one use case: the same on every surface, and nothing beside it on any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from house_builders import (
    DOG_TAX,
    FEES,
    PAYROLL,
    Answer,
    House,
    Server,
    a_house,
    a_server,
    casemate,
)


def prepared(data: Path) -> dict[str, str]:
    """Two use cases with a collection each, a service with a key for the first; ids and keys."""
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        house.add("staff", payroll=PAYROLL)
        library, keys = house.installation.library, house.installation.gate.keys
        for use_case, collection in (("counter", "notes"), ("office", "staff")):
            _approved(house, use_case, library.collection(house.owner, collection).id)
        house.person("robot", kind="service", roles=("user", "admin", "auditor"))
        found = {"key": keys.create(house.owner, "robot", use_case="counter")[1]}
        found["free"] = keys.create(house.owner, "robot")[1]
        for name in ("notes", "staff"):
            found[name] = library.collection(house.owner, name).id
            (document,) = library.documents(house.owner, name)
            found[f"{name} document"] = document.id
        return found


def _approved(house: House, use_case: str, collection: str) -> None:
    cases = house.installation.gate.use_cases
    cases.register(
        house.owner,
        use_case,
        purpose="To help the counter.",
        legal_basis="The commune's own tasks.",
        risk="minimal",
        models=("quote",),
        ceiling=house.label("unclassified"),
        oversight="none",
        retention_days=400,
        collections=[collection],
        screening=cases.not_prohibited("It judges nobody."),
    )
    cases.approve(house.person(f"second {use_case}", roles=("admin", "user")), use_case)


def posted(server: Server, path: str, body: Any, key: str) -> Answer:
    headers = {"Content-Type": "application/json"}
    return server.http("POST", path, key=key, body=json.dumps(body).encode(), headers=headers)


def a_chat(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": DOG_TAX}]}


def test_a_services_key_asks_under_its_use_case_and_reaches_nothing_else_on_any_surface(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    known = prepared(data)
    key, free = known["key"], known["free"]
    with a_server(data) as server:

        def status(method: str, path: str, with_key: str = key) -> int:
            return server.http(method, path, key=with_key, body=b"{}").status

        for dialect in ("/v1", "/mistral/v1"):
            listed = server.http("GET", f"{dialect}/models", key=key).json["data"]
            assert [one["id"] for one in listed] == ["counter"]
            assert status("GET", f"{dialect}/models/office") == 404
            assert (
                posted(server, f"{dialect}/chat/completions", a_chat("counter"), key).status == 200
            )
            hidden = posted(server, f"{dialect}/chat/completions", a_chat("office"), key)
            absent = posted(server, f"{dialect}/chat/completions", a_chat("absent"), key)
            assert (hidden.status, hidden.body) == (absent.status, absent.body)
            assert hidden.status == 404
            assert (
                posted(server, f"{dialect}/chat/completions", a_chat("office"), free).status == 200
            )

        libraries = "/mistral/v1/libraries"
        shelves = server.http("GET", libraries, key=key).json["data"]
        assert [one["id"] for one in shelves] == [known["notes"]]
        for path in (
            f"{libraries}/{known['staff']}",
            f"{libraries}/{known['staff']}/documents",
            f"{libraries}/{known['staff']}/documents/{known['staff document']}/text_content",
        ):
            assert status("GET", path) == 404
            assert status("GET", path, free) == 200
        notes = f"{libraries}/{known['notes']}/documents/{known['notes document']}"
        assert status("GET", f"{notes}/text_content") == 200
        assert status("DELETE", notes) == 403
        assert posted(server, libraries, {"name": "more"}, key).status == 403
        chat = {**a_chat("counter"), "tools": [
            {"type": "document_library", "library_ids": [known["staff"]]}
        ]}  # fmt: skip
        assert posted(server, "/mistral/v1/chat/completions", chat, key).status == 404

        assert server.ask(DOG_TAX, key=key, use_case="office").status == 403
        assert server.ask(DOG_TAX, key=key).json["use_case"] == "counter"
        own = server.ask(DOG_TAX, key=free, use_case="office").json["id"]
        for path in (
            f"/api/runs/{own}",
            f"/api/runs/{own}/receipt",
            f"/api/runs/{own}/explanation",
        ):
            assert status("GET", path) == 404
            assert status("GET", path, free) in (200, 404)
        runs = server.http("GET", "/api/runs", key=key).json["runs"]
        assert {one["use_case"] for one in runs} == {"counter"}
        assert server.http("GET", "/api/search?q=salary", key=key).json["hits"] == []
        assert status("GET", f"/api/documents/{known['staff document']}") == 404
        assert status("GET", "/scim/v2/Users") == 403
        assert status("GET", "/ledger/tile/0/000.p/1") == 403
        who = server.http("GET", "/api/whoami", key=key).json
        assert (who["kind"], who["use_case"]) == ("service", "counter")

        # Over the socket, as the owner's commands see it: when it was used, and its end.
        listed = casemate("key", "list", "--json", data=data).fine().json
        (shown,) = [one for one in listed if one["use_case"] == "counter"]
        assert shown["last_used"]
        assert key not in json.dumps(listed)
        casemate(
            "usecase", "suspend", "counter", "--reason", "It is looked into.", data=data
        ).fine()
        assert server.ask(DOG_TAX, key=key).status == 403
        assert posted(server, "/v1/chat/completions", a_chat("counter"), key).status == 404
        assert server.http("GET", "/mistral/v1/libraries", key=key).json["data"] == []
        casemate("key", "revoke", shown["id"], data=data).fine()
        for path in ("/v1/models", "/mistral/v1/models", "/api/whoami", "/scim/v2/Users"):
            assert status("GET", path) == 401


def test_the_owner_acting_as_a_service_is_in_the_ledger(tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepared(data)
    casemate(
        "ask", DOG_TAX, "--principal", "robot", "--use-case", "counter", "--json", data=data
    ).fine()
    with a_house(data) as house:
        robot = house.installation.gate.principals.named("robot").pseudonym
        (entry,) = [one for one in house.entries() if one["kind"] == "acted.as"]
        assert entry["principal"] == robot
        assert house.entries()[-1]["principal"] == robot
