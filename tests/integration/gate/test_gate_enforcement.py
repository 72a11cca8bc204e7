"""Policies come into force by an owner or two persons; broken ones change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_builders import World, a_world

from casemate.errors import CasemateError, Conflict, Invalid, NotFound, Refused
from casemate.gate.admission import Gate
from casemate.gate.enforcement import Enforcement
from casemate.gate.policy import PolicySet

NO_ASKING = '@id("nobody-asks")\nforbid (principal, action == Action::"ask", resource);\n'
EXPECTED = """
[[expect]]
name = "Users ask"
decision = "allow"
action = "ask"
principal = { roles = ["user"] }
resource = { kind = "use_case" }
"""


@pytest.fixture
def policies(world: World, tmp_path: Path) -> Path:
    return tmp_path / "data" / "policies"


def shipped(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.cedar")}


def asks(gate: Gate, world: World) -> bool:
    try:
        return bool(gate.admit(world.owner, use_case=None))
    except Refused:
        return False


def second_owner(world: World):  # type: ignore[no-untyped-def]
    return world.person("second", roles=("owner", "user"))


def test_what_lies_in_the_folder_counts_once_an_owner_has_loaded_it(
    world: World, policies: Path
) -> None:
    before = world.gate.policies.digest
    (policies / "mine.cedar").write_text(NO_ASKING)
    assert asks(world.gate, world)
    assert world.gate.enforcement.load(world.owner) == (before, world.gate.policies.digest)
    assert not asks(world.gate, world)
    entry = next(one for one in world.ledger.entries if one["kind"] == "policies.loaded")
    assert (entry["before"], entry["after"]) == (before, world.gate.policies.digest)
    assert entry["actor"] == world.owner.principal.pseudonym
    size = len(world.ledger.entries)
    assert world.gate.enforcement.load(world.owner) == (entry["after"], entry["after"])
    assert len(world.ledger.entries) == size


@pytest.mark.parametrize(
    "broken",
    [
        "permit (principal, action, resource);",
        '@id("x") permit (principal, action, resource)',
        '@id("x") permit (principal, action == Action::"fly", resource);',
        '@id("x") permit (principal, action, resource) when { principal.salary > 3 };',
        '@id("users-ask") permit (principal, action, resource);',
        '@id("x") permit (principal == ?principal, action, resource);',
        "\ufeff@id(",
    ],
)
def test_a_broken_file_is_refused_by_name_and_what_was_in_force_stays(
    world: World, policies: Path, broken: str
) -> None:
    before, entries = world.gate.policies.digest, len(world.ledger.entries)
    (policies / "zz.cedar").write_text(broken)
    with pytest.raises(Invalid, match=r"zz\.cedar, line"):
        world.gate.enforcement.load(world.owner)
    assert world.gate.policies.digest == before
    assert asks(world.gate, world)
    assert len(world.ledger.entries) == entries


def test_a_set_that_fails_its_regression_file_is_not_loaded(world: World, policies: Path) -> None:
    (policies / "expected.toml").write_text(EXPECTED)
    (policies / "mine.cedar").write_text(NO_ASKING)
    with pytest.raises(Conflict, match=r"'Users ask': expected allow, but it is refuse"):
        world.gate.enforcement.load(world.owner)
    assert asks(world.gate, world)
    (policies / "mine.cedar").unlink()
    world.gate.enforcement.load(world.owner)


def test_administrators_load_and_approve_nothing_even_if_the_policies_say_so(
    world: World, policies: Path
) -> None:
    admin = world.admin()
    files = {**shipped(policies), "mine.cedar": NO_ASKING}
    proposed = world.gate.enforcement.propose(world.owner, files)
    everything = {"a.cedar": b'@id("all") permit (principal, action, resource);'}
    for generous in (None, PolicySet.parse(everything)):
        if generous is not None:
            world.gate.rights.policies = generous
        for act in (
            lambda: world.gate.enforcement.load(admin),
            lambda: world.gate.enforcement.approve(admin, proposed.digest),
        ):
            with pytest.raises(Refused, match="owners-change-policies"):
                act()


def test_an_administrator_proposes_and_an_owner_approves(world: World, policies: Path) -> None:
    admin, before = world.admin(), world.gate.policies.digest
    files = {**shipped(policies), "mine.cedar": NO_ASKING}
    del files["use.cedar"]
    files["own.cedar"] = shipped(policies)["use.cedar"]
    proposed = world.gate.enforcement.propose(admin, files)
    assert asks(world.gate, world)
    assert [one.state for one in world.gate.enforcement.sets(admin)] == ["in force", "proposed"]
    assert world.gate.enforcement.approve(world.owner, proposed.digest) == (before, proposed.digest)
    assert not asks(world.gate, world)
    assert shipped(policies) == files  # what a restart finds
    kinds = [(one["kind"], one.get("after")) for one in world.ledger.entries]
    assert ("policies.proposed", proposed.digest) in kinds
    assert ("policies.approved", proposed.digest) in kinds


def test_nobody_approves_their_own_proposal(world: World, policies: Path) -> None:
    files = {**shipped(policies), "mine.cedar": NO_ASKING}
    proposed = world.gate.enforcement.propose(world.owner, files)
    other = second_owner(world)
    with pytest.raises(Refused, match="second person"):
        world.gate.enforcement.approve(world.owner, proposed.digest)
    assert world.gate.enforcement.approve(other, proposed.digest)[1] == proposed.digest


def test_what_is_not_proposed_is_not_approved(world: World, policies: Path) -> None:
    files = {**shipped(policies), "mine.cedar": NO_ASKING}
    proposed = world.gate.enforcement.propose(world.admin(), files)
    newer = world.gate.enforcement.propose(world.owner, {**files, "more.cedar": NO_ASKING.replace("nobody", "none")})  # fmt: skip  # noqa: E501
    for digest in (proposed.digest, world.gate.policies.digest, "sha256:0", ""):
        with pytest.raises(NotFound):
            world.gate.enforcement.approve(world.owner, digest)
    world.gate.enforcement.withdraw(world.owner, newer.digest)
    with pytest.raises(NotFound):
        world.gate.enforcement.approve(second_owner(world), newer.digest)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no policies"),
        ({"../x.cedar": NO_ASKING}, "not the name"),
        ({"x.toml": NO_ASKING}, "not the name"),
        ({".cedar": NO_ASKING}, "not the name"),
        ({"x.cedar": "// " + "x" * 300_000}, "larger than"),
    ],
)
def test_what_cannot_be_a_policy_file_is_not_proposed(
    world: World, files: dict[str, str], message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        world.gate.enforcement.propose(world.owner, files)


def test_a_start_on_changed_files_is_recorded_as_nobodys_act(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        before = world.gate.policies.digest
        (tmp_path / "data" / "policies" / "mine.cedar").write_text(NO_ASKING)
        changed = PolicySet.load(tmp_path / "data" / "policies")
        world.gate.rights.renew = lambda: None
        world.gate.rights.policies = changed  # as a start finds them
        Enforcement(
            world.database, tmp_path / "data" / "policies", world.gate.country, world.gate.rights,
            world.gate.memory,
        ).start()  # fmt: skip
        entry = world.ledger.entries[-1]
        assert (entry["kind"], entry["actor"]) == ("policies.loaded", "installation")
        assert (entry["before"], entry["after"]) == (before, changed.digest)


def test_users_see_and_propose_no_policies(world: World) -> None:
    bob = world.person("Bob")
    for act in (
        lambda: world.gate.enforcement.sets(bob),
        lambda: world.gate.enforcement.propose(bob, {"x.cedar": NO_ASKING}),
    ):
        with pytest.raises(CasemateError, match="You may not"):
            act()
