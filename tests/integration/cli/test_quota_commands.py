"""Quotas on the command line and over HTTP: set, shown, hit, in each dialect's own shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house_builders import DOG_TAX, FEES, House, a_house, a_server, casemate

from casemate.cli.acts import perform
from casemate.errors import CasemateError, Refused


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path / "data") as made:
        made.person("Carol", roles=("admin", "user"))
        made.person("Bob")
        yield made


def acted(house: House, act: str, **arguments: Any) -> list[Any]:
    """What the command for ``act`` gets, whichever end of the line it runs at."""

    async def follow() -> list[Any]:
        return [item async for item in perform(house.installation, act, arguments)]

    return asyncio.run(follow())


def kinds(house: House, kind: str) -> list[Any]:
    return [entry for entry in house.entries() if entry["kind"] == kind]


DAILY = {"measure": "tokens", "amount": 100_000, "per": "day"}


def test_limits_are_set_shown_and_taken_away_on_the_command_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_house(data):
        pass
    each = ("--of", "principal:*")
    set_ = casemate("quota", "set", "tokens", "100000", "--per", "day", *each, data=data).fine()
    assert "limit    100000\n" in set_.out
    (own,) = casemate("quota", "show", "--json", data=data).fine().json
    assert (own["used"], own["left"], own["per"]) == (0, 100000, "day")
    casemate("quota", "remove", "tokens", "--per", "day", *each, data=data).fine()
    assert "No limits" in casemate("quota", "show", "--all", data=data).fine().out
    assert "--of" in casemate("quota", "set", "tokens", "5", data=data).err


def test_what_is_set_is_listed_for_administrators_and_told_to_whom_it_holds_for(
    house: House,
) -> None:
    acted(house, "quota.set", of="principal:*", principal="Carol", **DAILY)
    acted(house, "quota.set", of="use-case:documents", **DAILY)
    acted(house, "quota.set", of="tenant", measure="runs", amount=40)
    listed = [(one["of"].split(":")[0], one["limit"]) for one in acted(house, "quota.show", all=1)]
    assert listed == [("principal", 100_000), ("tenant", 40), ("use-case", 100_000)]
    own = {one["of"].split(":")[0]: one for one in acted(house, "quota.show", principal="Bob")}
    assert own["principal"]["of"] == "principal:Bob"
    assert own["principal"]["left"] == 100_000
    assert len(kinds(house, "quota.set")) == 3
    with pytest.raises(Refused):
        acted(house, "quota.show", all=1, principal="Bob")


def test_what_others_used_is_not_shown(house: House) -> None:
    acted(house, "quota.set", of="use-case:documents", **DAILY)
    acted(house, "quota.set", of="tenant", measure="requests", amount=9, per="month")
    house.add("notes", fees=FEES)
    house.ask(DOG_TAX)
    shown = acted(house, "quota.show", principal="Bob")
    assert [(one["used"], one["left"]) for one in shown] == [(None, None)] * 2


def test_whoever_sets_nonsense_is_told_what_to_give(house: House) -> None:
    def said(**more: Any) -> str:
        with pytest.raises(CasemateError) as caught:
            acted(house, "quota.set", **{"measure": "tokens", "amount": 5, **more})
        return str(caught.value)

    assert "needs a window" in said(of="tenant")
    assert "says nobody" in said(of="everybody", per="day")
    assert "nobody of that name" in said(of="principal:Zed", per="day")
    assert "owner alone" in said(of="tenant", per="day", principal="Carol")


def test_priorities_weights_and_capacity_are_acts_in_the_ledger(house: House) -> None:
    acted(house, "quota.priority", use_case="documents", priority="batch", principal="Carol")
    acted(house, "quota.priority", use_case="documents", priority="interactive")
    acted(house, "quota.weight", of="tenant", weight=3)
    declared = {"model": "quote", "slots": 2, "accelerators": 1, "watts": 350}
    acted(house, "quota.capacity", **declared)
    shares = {(one["weight"], one["priority"]) for one in acted(house, "quota.shares")}
    assert shares == {(3, None), (None, "interactive")}
    (model,) = acted(house, "quota.capacity")
    assert model == {**declared, "declared": True}
    before_and_after = [(one.get("before"), one["after"]) for one in kinds(house, "share.set")]
    assert before_and_after == [(None, "batch"), ("batch", "interactive"), (None, 3)]
    (entry,) = kinds(house, "capacity.declared")
    assert entry["after"] == {"slots": 2, "accelerators": 1, "watts": 350}
    standing = house.installation.gate.admit(house.owner, use_case=None).standing
    assert (standing.priority, standing.tenant_weight) == ("interactive", 3)


@pytest.mark.parametrize(
    ("act", "arguments"),
    [
        ("quota.priority", {"use_case": "documents", "priority": "interactive"}),
        ("quota.weight", {"of": "tenant", "weight": 3}),
        ("quota.capacity", {"model": "quote", "slots": 9, "accelerators": 0, "watts": 0}),
    ],
)
def test_what_touches_every_tenant_is_the_owners_to_set(
    house: House, act: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match=r"[Oo]wner|[Tt]enant"):
        acted(house, act, principal="Carol", **arguments)


def test_beyond_a_limit_each_dialect_says_so_in_its_own_shape(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        house.add("notes", fees=FEES)
        house.person("Bob")
        key = house.key("Bob")
        acted(house, "quota.set", of="principal:*", measure="requests", amount=1, per="month")
    chat = json.dumps({"model": "documents", "messages": [{"role": "user", "content": DOG_TAX}]})
    sent = {"Content-Type": "application/json"}
    with a_server(tmp_path / "data") as server:
        assert server.ask(DOG_TAX, key=key).status == 200
        own = server.http("GET", "/api/quota", key=key)
        assert own.status == 200
        (limit,) = own.json["limits"]
        assert (limit["of"], limit["limit"], limit["used"], limit["left"]) == ("principal", 1, 1, 0)
        assert 0 < limit["renews_seconds"] <= 31 * 86400
        refusals = {
            path: server.http("POST", path, key=key, body=chat.encode(), headers=sent)
            for path in ("/v1/chat/completions", "/mistral/v1/chat/completions")
        }
        refusals["/api/runs"] = server.ask(DOG_TAX, key=key)
    for refusal in refusals.values():
        assert refusal.status == 429
        assert int(refusal.headers["retry-after"]) > 60
        assert refusal.headers["x-should-retry"] == "false"
        assert b"Your limit, 1 requests a month, is used up" in refusal.body
        assert b"an administrator can raise it" in refusal.body
    assert refusals["/v1/chat/completions"].json["error"]["code"] == "rate_limit_exceeded"
    assert refusals["/mistral/v1/chat/completions"].json["object"] == "error"
    assert set(refusals["/api/runs"].json["error"]) == {"what", "next"}
