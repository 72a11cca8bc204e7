"""Reading a file for Mistral's programs is work like any other: use case, quota, turn, watch."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from house_builders import House, a_house, a_server, casemate

from casemate.errors import NotFound, Refused, TooMany
from casemate.gate.caller import Caller
from casemate.gate.limit import Limit
from casemate.library.library import Library

TEXT = b"# Fees\n\nThe dog tax is 40 euros a year.\n"


def read(house: House, caller: Caller, **more: Any) -> str:
    label = house.label(more.pop("label", "unclassified"))
    reading = house.installation.read(
        caller, "fees.md", TEXT, use_case=more.get("use_case"), label=label
    )
    return asyncio.run(reading).text


def test_a_file_is_read_only_under_an_approved_use_case(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        bob = house.person("Bob")
        assert "dog tax" in read(house, bob)
        house.use_case("counter", "unclassified")
        assert "dog tax" in read(house, bob, use_case="counter")
        house.installation.gate.use_cases.suspend(house.owner, "counter", "A test.")
        with pytest.raises(Refused, match="suspended"):
            read(house, bob, use_case="counter")
        with pytest.raises(NotFound):
            read(house, bob, use_case="nowhere")
        refused = house.entries()[-1]
        assert (refused["kind"], refused["action"]) == ("refused", "ask")


def test_a_file_above_what_the_use_case_may_hold_is_not_read(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        house.clear_owner_for("secret")
        house.use_case("counter", "restricted")
        bob = house.person("Bob", "secret")
        assert read(house, bob, use_case="counter", label="restricted")
        with pytest.raises(Refused, match="above"):
            read(house, bob, use_case="counter", label="secret")


def test_reading_counts_as_a_request_of_its_quota(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        bob = house.person("Bob")
        quotas = house.installation.gate.quotas
        limit = Limit.parse(
            *(bob.principal.tenant, "principal", bob.principal.id), "requests", "month", 2
        )
        quotas.put(house.owner, limit)
        for _ in range(2):
            read(house, bob)
        with pytest.raises(TooMany, match="requests"):
            read(house, bob)


def test_a_reading_ends_when_its_asker_is_shut_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    parse = Library.read

    def slowly(self: Library, name: str, content: bytes) -> Any:
        begun.set()
        go_on.wait(30)
        return parse(self, name, content)

    monkeypatch.setattr(Library, "read", slowly)
    with a_house(tmp_path / "data") as house:
        bob = house.person("Bob")

        async def shut_out() -> None:
            lowest = house.label("unclassified")
            reading = asyncio.ensure_future(
                house.installation.read(bob, "fees.md", TEXT, use_case=None, label=lowest)
            )
            await asyncio.to_thread(begun.wait, 30)
            await asyncio.to_thread(house.installation.gate.principals.disable, house.owner, "Bob")
            try:
                with pytest.raises(Refused, match="taken back"):
                    await reading
            finally:
                go_on.set()

        asyncio.run(shut_out())


def test_one_tenant_that_floods_with_files_leaves_others_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    parse = Library.read

    def slowly(self: Library, name: str, content: bytes) -> Any:
        go_on.wait(30)
        return parse(self, name, content)

    monkeypatch.setattr(Library, "read", slowly)
    with a_house(tmp_path / "data", concurrent_runs=100) as house:
        gate, lowest = house.installation.gate, house.label("unclassified")
        gate.principals.create_tenant(house.owner, "other")
        for name in ("chief", "second"):
            roles = ("admin", "user")
            gate.principals.create(house.owner, name, clearance=lowest, roles=roles, tenant="other")
        chief = Caller(gate.principals.named("chief"), None, "local")
        screening = gate.use_cases.not_prohibited("It judges nobody.")
        gate.use_cases.register(
            chief, "desk", purpose="Reading.", legal_basis="Its own tasks.", risk="minimal",
            models=("quote",), ceiling=lowest, oversight="none", retention_days=400,
            screening=screening,
        )  # fmt: skip
        gate.use_cases.approve(Caller(gate.principals.named("second"), None, "local"), "desk")

        async def flood() -> None:
            def one(caller: Caller, use_case: str) -> asyncio.Future[Any]:
                return asyncio.ensure_future(
                    house.installation.read(caller, "a.md", TEXT, use_case=use_case, label=lowest)
                )

            flooding = [one(house.owner, "documents") for _ in range(60)]
            done, waiting = await asyncio.wait(flooding, return_when=asyncio.FIRST_EXCEPTION)
            assert all(isinstance(some.exception(), TooMany) for some in done)
            other = one(chief, "desk")
            go_on.set()
            assert "dog tax" in (await other).text
            assert waiting
            await asyncio.gather(*flooding, return_exceptions=True)

        asyncio.run(flood())


def test_mistrals_address_says_why_it_does_not_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    url = "data:text/markdown;base64," + base64.b64encode(TEXT).decode()
    with a_house(data) as house:
        house.use_case("counter", "unclassified")
        house.person("Bob")
        key = house.installation.gate.keys.create(house.owner, "Bob", use_case="counter")[1]
    with a_server(data) as server:

        def ocr(model: str) -> Any:
            body = {"model": model, "document": {"type": "document_url", "document_url": url}}
            sent = json.dumps(body).encode()
            return server.http("POST", "/mistral/v1/ocr", key=key, body=sent)

        assert "dog tax" in ocr("mistral-ocr-latest").json["pages"][0]["markdown"]
        assert ocr("counter").status == 200
        casemate("usecase", "suspend", "counter", "--reason", "A test.", data=data)
        refused = ocr("mistral-ocr-latest")
        assert refused.status == 403
        assert b"suspended" in refused.body
