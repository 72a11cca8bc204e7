"""Policies that came with a newer version: told to an older data folder, added by its owner."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from house_builders import House, a_house, casemate

from casemate import server
from casemate.errors import NotFound, Refused


def _without(data: Path, id: str) -> None:
    """A folder whose policies are from before this one was shipped."""
    (path,) = (
        one for one in (data / "policies").glob("*.cedar") if f'@id("{id}")' in one.read_text()
    )
    text, count = re.subn(rf'@id\("{id}"\).*?;\n', "", path.read_text(), flags=re.DOTALL)
    assert count == 1
    path.write_text(text)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    with a_house(tmp_path / "data") as house:
        assert house.installation.gate.policies.lacking() == ()
        service = ("provisioner",)
        house.person("directory", kind="service", roles=service)
    _without(tmp_path / "data", "services-provision")
    return tmp_path / "data"


def _may_provision(house: House) -> bool:
    from casemate.gate.caller import Caller
    from casemate.gate.right import installation

    gate = house.installation.gate
    service = Caller(gate.principals.named("directory"), None, "local")
    return gate.rights.decide(service, "provision", installation(service.principal)).allowed


def test_a_start_adds_nothing_and_says_what_is_missing(older: Path) -> None:
    with a_house(older) as house:
        assert [one.id for one in house.installation.gate.policies.lacking()] == [
            "services-provision"
        ]
        assert not _may_provision(house)
    checked = casemate("policy", "check", "--json", data=older).json
    assert [one.split(":")[0] for one in checked["shipped_but_missing"]] == ["services-provision"]


def test_a_server_that_starts_says_what_is_missing(older: Path) -> None:
    said: list[str] = []
    with a_house(older) as house:
        server._greet(house.installation, said.append)
    assert "Shipped policies that are not in force: services-provision." in said
    assert said[-1] == "Stop with Ctrl-C."


def test_its_owner_adopts_it_on_record_and_it_stays(older: Path) -> None:
    with a_house(older) as house:
        before, after = house.installation.gate.enforcement.adopt(
            house.owner, ["services-provision"]
        )
        entry = house.entries()[-1]
        assert (entry["kind"], entry["before"], entry["after"]) == (
            "policies.loaded",
            before,
            after,
        )
        assert entry["actor"] == house.owner.principal.pseudonym
        assert _may_provision(house)
        assert house.installation.gate.policies.lacking() == ()
    with a_house(older) as house:
        assert _may_provision(house)
        assert house.installation.gate.policies.digest == after


def test_a_file_that_is_gone_comes_back_with_what_was_adopted_alone(older: Path) -> None:
    (older / "policies" / "office.cedar").unlink()
    with a_house(older) as house:
        policies = house.installation.gate.policies
        assert len(policies.lacking()) > 1
        # Without the policy that lets owners approve, nobody adopts anything by command.
        with pytest.raises(Refused):
            house.installation.gate.enforcement.adopt(house.owner, ["services-provision"])


def test_only_what_is_missing_is_adopted_and_only_by_an_owner(older: Path) -> None:
    with a_house(older) as house:
        enforcement = house.installation.gate.enforcement
        with pytest.raises(NotFound, match="users-ask"):
            enforcement.adopt(house.owner, ["services-provision", "users-ask"])
        assert not _may_provision(house)
        chief = house.person("chief", roles=("admin", "user"))
        with pytest.raises(Refused):
            enforcement.adopt(chief, ["services-provision"])
        assert not _may_provision(house)
