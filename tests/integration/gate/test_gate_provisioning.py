"""What a directory's program may do to people, and what it may not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_builders import PASSWORD, World, a_world

from casemate.errors import CasemateError, Conflict, Invalid, NotFound, Refused, Unauthenticated
from casemate.gate.caller import Caller
from casemate.gate.principal import Principal
from casemate.gate.provisioning import Changed, Person

DIRECTORY = """
[everybody]
clearance = "lu:unclassified"

[[group]]
name = "Registry"
roles = ["user"]
clearance = "lu:restricted"

[[group]]
name = "Audit"
roles = ["auditor"]

[[group]]
name = "Cleared"
clearance = "lu:secret/alpha"

[[group]]
name = "Abroad"
tenant = "elsewhere"
roles = ["admin"]
clearance = "lu:secret"
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path, DIRECTORY) as made:
        yield made


def service(world: World, clearance: str = "secret/alpha", **more: str) -> Caller:
    """A service account that may provision, by its key."""
    name = more.get("name", "directory")
    world.gate.principals.create(
        world.owner,
        name,
        kind="service",
        roles=("provisioner",),
        clearance=world.label(clearance),
        tenant=more.get("tenant"),
    )
    return Caller(world.gate.principals.named(name), None, "key")


def added(world: World, actor: Caller, name: str = "Bob", **said: str) -> Person:
    return world.gate.people.add(actor, name, said, active=True)


def changed(world: World, actor: Caller, person: Person, **more: object) -> Person:
    values = {"name": person.name, "attributes": person.attributes, "active": person.active}
    values |= more
    return world.gate.people.change(actor, person.id, **values)  # type: ignore[arg-type]


def principal(world: World, name: str = "Bob") -> Principal:
    return world.gate.principals.named(name)


@pytest.mark.parametrize("role", ["owner", "admin", "auditor", "user"])
def test_only_a_service_with_the_role_provisions(world: World, role: str) -> None:
    actor = world.person("somebody", "secret", roles=(role,))
    person = world.person("a person", "secret", roles=("provisioner",))
    for who in (actor, person):
        with pytest.raises(Refused):
            added(world, who)
        with pytest.raises(Refused):
            world.gate.groups.list(who)
    assert "refused" in world.ledger.kinds()


def test_a_key_bound_to_a_use_case_provisions_nothing(world: World) -> None:
    actor = service(world)
    bound = Caller(actor.principal, "documents", "key")
    with pytest.raises(Refused, match="bound-key-only-asks"):
        added(world, bound)


def test_somebody_new_has_no_role_until_a_group_gives_one(world: World) -> None:
    actor = service(world)
    added(world, actor)
    assert principal(world).roles == frozenset()
    with pytest.raises(Refused):
        world.gate.admit(world.caller("Bob"), use_case=None)


def test_groups_give_roles_and_clearance_at_once_and_take_them_back(world: World) -> None:
    actor = service(world)
    bob = added(world, actor)
    registry = world.gate.groups.add(actor, "registry", {}, [bob.id])
    assert principal(world).roles == {"user"}
    assert str(principal(world).clearance) == "lu:restricted"
    audit = world.gate.groups.add(actor, "Audit", {}, [bob.id])
    cleared = world.gate.groups.add(actor, "Cleared", {}, [bob.id])
    assert principal(world).roles == {"user", "auditor"}
    assert str(principal(world).clearance) == "lu:secret/alpha"
    world.gate.groups.remove(actor, cleared.id)
    assert str(principal(world).clearance) == "lu:restricted"
    world.gate.groups.change(actor, registry.id, "nothing known", {}, [bob.id])
    assert principal(world).roles == {"auditor"}
    world.gate.groups.change(actor, audit.id, "Audit", {}, [])
    assert principal(world).roles == frozenset()
    assert str(principal(world).clearance) == "lu:unclassified"


def test_a_group_that_means_something_in_another_tenant_means_nothing_here(world: World) -> None:
    world.gate.principals.create_tenant(world.owner, "elsewhere")
    here, there = service(world), service(world, name="other directory", tenant="elsewhere")
    for actor, name, roles in ((here, "Bob", set()), (there, "Eve", {"admin"})):
        person = added(world, actor, name)
        world.gate.groups.add(actor, "Abroad", {}, [person.id])
        assert principal(world, name).roles == roles


def test_a_role_without_a_clearance_opens_nothing(tmp_path: Path) -> None:
    with a_world(tmp_path, '[[group]]\nname = "Registry"\nroles = ["user", "admin"]\n') as world:
        actor = service(world)
        bob = added(world, actor)
        world.gate.groups.add(actor, "Registry", {}, [bob.id])
        assert principal(world).roles == frozenset()


def test_a_service_gives_no_clearance_above_its_own(world: World) -> None:
    actor = service(world, "restricted")
    bob = added(world, actor)
    with pytest.raises(Refused, match="above"):
        world.gate.groups.add(actor, "Cleared", {}, [bob.id])
    assert world.gate.groups.list(actor) == (0, [])
    assert str(principal(world).clearance) == "lu:unclassified"


def test_who_is_deactivated_loses_sessions_keys_and_links_at_once(world: World) -> None:
    actor = service(world)
    bob = added(world, actor)
    session = world.gate.sessions.redeem(world.gate.sessions.link_for(principal(world)))
    link = world.gate.sessions.link_for(principal(world))
    _, key = world.gate.keys.create(world.owner, "Bob")
    assert changed(world, actor, bob, active=False).active is False
    for wrong in (
        lambda: world.gate.sessions.caller(session),
        lambda: world.gate.sessions.redeem(link),
        lambda: world.gate.keys.caller(key),
    ):
        with pytest.raises(Unauthenticated):
            wrong()
    back = changed(world, actor, bob, active=True)
    assert back.active is True
    for wrong in (
        lambda: world.gate.sessions.caller(session),
        lambda: world.gate.keys.caller(key),
    ):
        with pytest.raises(Unauthenticated):
            wrong()
    assert world.gate.sessions.link_for(principal(world))


def test_whom_somebody_here_disabled_the_directory_does_not_let_in_again(world: World) -> None:
    actor = service(world)
    bob = added(world, actor)
    world.gate.principals.disable(world.owner, "Bob")
    assert world.gate.people.get(actor, bob.id).active is False
    for active in (True, False, True):
        assert changed(world, actor, bob, active=active).active is False
    assert principal(world).disabled


def test_silence_lets_nobody_in_again(world: World) -> None:
    actor = service(world)
    bob = added(world, actor)
    changed(world, actor, bob, active=False)
    assert changed(world, actor, bob, active=None).active is None
    assert principal(world).disabled
    changed(world, actor, bob, active=True)
    assert not principal(world).disabled


def test_people_who_were_made_here_are_out_of_a_directorys_reach(world: World) -> None:
    actor = service(world)
    world.person("Kim")
    assert world.gate.people.list(actor) == (0, [])
    with pytest.raises(Conflict):
        added(world, actor, "Kim")
    for id in (principal(world, "Kim").id, principal(world, "Anne").id):
        with pytest.raises(NotFound):
            world.gate.people.remove(actor, id)
        with pytest.raises(Invalid):
            world.gate.groups.add(actor, "Registry", {}, [id])
    bob = added(world, actor)
    with pytest.raises(Conflict):
        changed(world, actor, bob, name="Anne")


def test_tenants_do_not_see_each_others_people_and_groups(world: World) -> None:
    world.gate.principals.create_tenant(world.owner, "elsewhere")
    here, there = service(world), service(world, name="other directory", tenant="elsewhere")
    bob = added(world, here)
    group = world.gate.groups.add(here, "Registry", {}, [bob.id])
    assert world.gate.people.list(there) == (0, [])
    assert world.gate.groups.list(there) == (0, [])
    answers = set()
    for id in (bob.id, "absent"):
        with pytest.raises(NotFound) as caught:
            world.gate.people.get(there, id)
        answers.add(str(caught.value))
    for id in (group.id, "absent"):
        with pytest.raises(NotFound):
            world.gate.groups.get(there, id)
    with pytest.raises(Invalid):
        world.gate.groups.add(there, "Registry", {}, [bob.id])
    assert len(answers) == 1


def test_who_is_removed_is_shut_out_keeps_what_they_did_and_gives_the_name_back(
    world: World,
) -> None:
    actor = service(world)
    bob = added(world, actor)
    before = principal(world)
    world.gate.principals.set_password(world.owner, "Bob", PASSWORD)
    world.gate.people.remove(actor, bob.id)
    with pytest.raises(NotFound):
        world.gate.people.get(actor, bob.id)
    with pytest.raises(Unauthenticated):
        world.gate.sessions.sign_in("Bob", PASSWORD)
    gone = world.gate.principals.by_id(before.id)
    assert gone.disabled
    assert gone.name.startswith("Bob (removed ")
    again = added(world, actor)
    assert again.id != bob.id
    assert principal(world).id != before.id


def test_names_differ_by_more_than_their_case(world: World) -> None:
    actor = service(world)
    bob = added(world, actor)
    with pytest.raises(Conflict):
        added(world, actor, "BOB")
    assert world.gate.people.list(actor, name="bOb") == (1, [bob])
    assert changed(world, actor, bob, name="BOB").name == "BOB"


def test_a_change_of_another_version_is_refused(world: World) -> None:
    actor = service(world)
    bob = added(world, actor)
    changed(world, actor, bob, version=bob.version)
    with pytest.raises(Changed):
        changed(world, actor, bob, version=bob.version)
    with pytest.raises(Changed):
        world.gate.people.remove(actor, bob.id, version=bob.version)


def test_every_change_is_an_entry_with_who_and_digests_and_without_names(world: World) -> None:
    actor = service(world)
    size = len(world.ledger.entries)
    bob = added(world, actor, displayName="Bob Weber")
    group = world.gate.groups.add(actor, "Registry", {}, [bob.id])
    bob = world.gate.people.get(actor, bob.id)
    bob = changed(world, actor, bob, attributes={"displayName": "Robert Weber"})
    changed(world, actor, bob, active=False)
    changed(world, actor, bob, active=True)
    world.gate.groups.remove(actor, group.id)
    world.gate.people.remove(actor, bob.id)
    entries = world.ledger.entries[size:]
    assert [entry["kind"] for entry in entries] == [
        *("principal.created", "group.created", "principal.changed", "principal.changed"),
        *("principal.disabled", "principal.enabled"),
        *("group.removed", "principal.changed", "principal.removed"),
    ]
    assert {entry["actor"] for entry in entries} == {actor.principal.pseudonym}
    for entry in entries:
        created, removed = "created" in entry["kind"], entry["kind"] == "group.removed"
        assert created or entry["before"].startswith("sha256:")
        assert removed or entry["after"].startswith("sha256:")
        assert removed or entry["after"] != entry.get("before")
    written = json.dumps(entries)
    for secret in ("Bob", "Weber", "Registry", bob.id, group.id):
        assert secret not in written


def test_a_change_that_the_ledger_does_not_hold_did_not_happen(world: World) -> None:
    actor = service(world)
    bob = added(world, actor)
    world.ledger.broken = True
    with pytest.raises(OSError, match="no room"):
        changed(world, actor, bob, active=False)
    world.ledger.broken = False
    assert not principal(world).disabled


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "\x00"])
def test_what_cannot_be_a_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(CasemateError):
        added(world, service(world), name)


def test_forgetting_leaves_nothing_of_what_a_directory_said(world: World) -> None:
    actor = service(world)
    bob = added(world, actor, displayName="Bob Weber")
    world.gate.groups.add(actor, "Registry", {}, [bob.id])
    with world.database.write() as connection:
        world.gate.principals.strip(connection, principal(world).id)
    assert world.gate.people.list(actor) == (0, [])


@pytest.mark.parametrize(
    "content",
    [
        "[[group]]\nname = 'x'\nroles = ['owner']\n",
        "[[group]]\nname = 'x'\nroles = ['provisioner']\n",
        "[[group]]\nname = 'x'\nroles = ['king']\n",
        "[[group]]\nname = ''\n",
        "[[group]]\nname = 'x'\nclearance = 'moon:secret'\n",
        "[[group]]\nname = 'x'\nclearance = 'lu:secret//rel=none'\n",
        "[[group]]\nname = 'x'\nrole = ['user']\n",
        "[everybody]\nclearance = 'top'\n",
        "nonsense",
        "[[group]]\n",
    ],
)
def test_a_directory_file_with_a_mistake_is_refused_by_name(tmp_path: Path, content: str) -> None:
    with pytest.raises(Invalid, match=r"directory\.toml"), a_world(tmp_path, content):
        pass


def test_clearances_that_exclude_each_other_make_none(tmp_path: Path) -> None:
    content = "".join(
        f"[[group]]\nname = '{name}'\nroles = ['user']\nclearance = 'lu:secret//rel={name}'\n"
        for name in ("LU", "BE")
    )
    with a_world(tmp_path, content) as world:
        actor = service(world, "secret//rel=LU")
        bob = added(world, actor)
        world.gate.groups.add(actor, "LU", {}, [bob.id])
        assert principal(world).roles == {"user"}
        world.gate.groups.add(actor, "BE", {}, [bob.id])
        assert principal(world).roles == frozenset()
