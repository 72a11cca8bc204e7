"""A key bound to one use case, over HTTP: what it asks for beside that is not there for it."""

from __future__ import annotations

from pathlib import Path

from house_builders import DOG_TAX, FEES, PAYROLL, a_house, a_server


def test_a_bound_key_of_an_auditor_reads_its_use_case_and_nothing_else(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        house.add("staff", payroll=PAYROLL)
        gate, library = house.installation.gate, house.installation.library
        gate.use_cases.register(
            house.owner,
            "counter",
            purpose="To help the counter.",
            legal_basis="The commune's own tasks.",
            risk="minimal",
            models=("quote",),
            ceiling=house.label("unclassified"),
            oversight="after",
            retention_days=400,
            collections=[library.collection(house.owner, "notes").id],
            screening=gate.use_cases.not_prohibited("It judges nobody."),
        )
        gate.use_cases.approve(house.person("second", roles=("admin", "user")), "counter")
        house.person("bob", roles=("user", "auditor", "admin"))
        key = gate.keys.create(house.owner, "bob", use_case="counter")[1]
        free = gate.keys.create(house.owner, "bob")[1]
        (seen,) = library.documents(house.owner, "notes")
        (hidden,) = library.documents(house.owner, "staff")
        size = house.installation.log.size
    with a_server(data) as server:

        def get(path: str, with_key: str = key) -> int:
            return server.http("GET", path, key=with_key).status

        listed = server.http("GET", "/api/documents", key=key).json["documents"]
        assert [one["name"] for one in listed] == ["fees.md"]
        shelves = server.http("GET", "/api/collections", key=key).json["collections"]
        assert [one["name"] for one in shelves] == ["notes"]
        for path in ("", "/text", "/original"):
            assert get(f"/api/documents/{seen.id}{path}") == 200
            assert get(f"/api/documents/{hidden.id}{path}") == 404
            assert get(f"/api/documents/{hidden.id}{path}", free) == 200
        assert server.http("GET", "/api/search?q=salary", key=key).json["hits"] == []
        assert get("/api/search?q=salary&use_case=documents") == 403
        (use_case,) = server.http("GET", "/api/use-cases", key=key).json["use_cases"]
        assert (use_case["id"], use_case["collections"]) == ("counter", ["notes"])
        assert server.ask(DOG_TAX, key=key).json["outcome"] == "answered"
        for path in (f"/ledger/tile/entries/000.p/{size}", "/ledger/tile/0/000.p/1"):
            assert get(path) == 403
            assert get(path, free) in (200, 404)
        for method, path in (
            ("POST", "/api/collections/notes/documents?name=a.md"),
            ("DELETE", f"/api/documents/{seen.id}"),
        ):
            assert server.http(method, path, key=key, body=b"x").status == 403
