from __future__ import annotations

import json

import pytest
from gate_builders import PASSWORD, World

from casemate.errors import Conflict, Invalid, NotFound, Refused, Unauthenticated
from casemate.store.tables import principals


def test_the_ledger_knows_pseudonyms_and_digests_and_never_a_name(world: World) -> None:
    world.gate.principals.create(
        world.owner, "Zoé Weber", clearance=world.label("secret/alpha//rel=LU")
    )
    world.gate.principals.set_password(world.owner, "Zoé Weber", PASSWORD)
    world.gate.principals.change(world.owner, "Zoé Weber", roles=("user", "auditor"))
    world.gate.principals.disable(world.owner, "Zoé Weber")
    assert world.ledger.kinds()[-4:] == [
        "principal.created",
        "principal.password_set",
        "principal.changed",
        "principal.disabled",
    ]
    zoe = world.gate.principals.named("Zoé Weber")
    text = json.dumps(world.ledger.entries, ensure_ascii=False)
    for hidden in ("Zoé", "Anne", PASSWORD, "alpha", zoe.id, world.owner.principal.id):
        assert hidden not in text
    changed = world.ledger.entries[-2]
    assert changed["subject"] == zoe.pseudonym
    assert changed["actor"] == world.owner.principal.pseudonym
    assert changed["before"] != changed["after"]
    assert changed["time"] == "2026-03-02T09:00:00Z"


def test_what_the_ledger_cannot_hold_does_not_happen(world: World) -> None:
    world.ledger.broken = True
    with pytest.raises(OSError, match="no room"):
        world.person("Bob")
    world.ledger.broken = False
    with pytest.raises(NotFound):
        world.gate.principals.named("Bob")


@pytest.mark.parametrize("name", ["", " ", "a" * 65, "a\nb", "a\x00b", " a", "a ", "a\u202eb"])
def test_what_cannot_be_a_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(Invalid, match="name"):
        world.person(name)


def test_a_name_typed_decomposed_is_the_same_name(world: World) -> None:
    world.person("Zoe\u0301")
    assert world.gate.principals.named("Zoé").name == "Zoé"
    with pytest.raises(Conflict):
        world.person("Zoé")


def test_a_name_taken_elsewhere_is_refused_in_the_same_words(world: World) -> None:
    world.gate.principals.create_tenant(world.owner, "army")
    low = world.label("unclassified")
    world.gate.principals.create(world.owner, "Sergeant", clearance=low, tenant="army")
    world.person("Bob")
    messages = set()
    for name in ("Sergeant", "Bob"):
        with pytest.raises(Conflict) as caught:
            world.person(name)
        messages.add(str(caught.value))
    assert len(messages) == 1


@pytest.mark.parametrize("more", [{"roles": ()}, {"roles": ("king",)}, {"kind": "robot"}])
def test_unknown_roles_and_kinds_are_refused_with_those_there_are(
    world: World, more: dict[str, object]
) -> None:
    with pytest.raises(Invalid) as caught:
        world.person("Bob", **more)
    assert "user" in caught.value.next or "person" in caught.value.next


def test_users_administer_nobody(world: World) -> None:
    bob = world.person("Bob")
    low = world.label("unclassified")
    for act in (
        lambda: world.gate.principals.create(bob, "Eve", clearance=low),
        lambda: world.gate.principals.change(bob, "Bob", roles=("admin",)),
        lambda: world.gate.principals.disable(bob, "Anne"),
        lambda: world.gate.principals.set_password(bob, "Anne", PASSWORD),
        lambda: world.gate.principals.list(bob),
        lambda: world.gate.keys.create(bob, "Anne"),
        lambda: world.gate.sessions.link_for(world.owner.principal, actor=bob),
    ):
        with pytest.raises(Refused):
            act()
    assert world.ledger.kinds()[-1] == "refused"


def test_an_admin_gives_no_more_than_it_has_and_makes_no_owner(world: World) -> None:
    admin = world.admin(clearance="restricted")
    with pytest.raises(Refused, match="rights that you do not have"):
        world.gate.principals.create(admin, "Eve", clearance=world.label("secret"))
    with pytest.raises(Refused, match="rights that you do not have"):
        world.gate.principals.create(
            admin, "Eve", clearance=world.label("restricted"), roles=("owner",)
        )
    world.gate.principals.create(admin, "Eve", clearance=world.label("restricted"))
    with pytest.raises(Refused, match="rights that you do not have"):
        world.gate.principals.change(admin, "Eve", clearance=world.label("secret"))


def test_an_admin_gets_no_way_in_as_somebody_with_more_rights(world: World) -> None:
    admin = world.admin(clearance="restricted")
    general = world.person("General", "secret")
    for act in (
        lambda: world.gate.principals.set_password(admin, "General", PASSWORD),
        lambda: world.gate.keys.create(admin, "General"),
        lambda: world.gate.sessions.link_for(general.principal, actor=admin),
        lambda: world.gate.principals.set_password(admin, "Anne", PASSWORD),
        lambda: world.gate.principals.disable(admin, "Anne"),
    ):
        with pytest.raises(Refused, match="above-yours"):
            act()


def test_nobody_but_the_owner_changes_their_own_rights(world: World) -> None:
    admin = world.admin()
    with pytest.raises(Refused, match="owner"):
        world.gate.principals.change(admin, "admin", roles=("admin", "user", "auditor"))
    high = world.label("secret//rel=LU")
    changed = world.gate.principals.change(world.owner, "Anne", clearance=high)
    assert changed.clearance == high
    assert world.ledger.kinds()[-1] == "principal.changed"
    with pytest.raises(Refused, match="give up"):
        world.gate.principals.change(world.owner, "Anne", roles=("user",))
    with pytest.raises(Refused, match="yourself"):
        world.gate.principals.disable(world.owner, "Anne")


def test_a_clearance_releasable_to_nobody_is_refused(world: World) -> None:
    with pytest.raises(Invalid, match="nobody"):
        world.person("Bob", "secret//rel=none")


def test_another_tenants_people_do_not_exist_for_an_admin(world: World) -> None:
    world.gate.principals.create_tenant(world.owner, "army")
    low = world.label("unclassified")
    world.gate.principals.create(
        world.owner, "Colonel", clearance=low, roles=("admin",), tenant="army"
    )
    colonel = world.caller("Colonel")
    world.person("Bob")
    answers = set()
    for name in ("Bob", "Nobody"):
        with pytest.raises(NotFound) as caught:
            world.gate.principals.disable(colonel, name)
        answers.add(str(caught.value))
    assert len(answers) == 1
    assert [one.name for one in world.gate.principals.list(colonel)] == ["Colonel"]
    with pytest.raises(Refused):
        world.gate.principals.create(colonel, "Spy", clearance=low, tenant="home")
    with pytest.raises(Refused):
        world.gate.principals.create_tenant(colonel, "navy")


def test_a_disabled_principals_key_link_and_session_are_refused_at_once(world: World) -> None:
    bob = world.person("Bob")
    gate = world.gate
    gate.principals.set_password(world.owner, "Bob", PASSWORD)
    _, key = gate.keys.create(world.owner, "Bob")
    session = gate.sessions.redeem(gate.sessions.link_for(bob.principal))
    link = gate.sessions.link_for(bob.principal)
    assert gate.keys.caller(key).principal.name == "Bob"
    assert gate.sessions.caller(session).principal.name == "Bob"
    gate.principals.disable(world.owner, "Bob")
    for attempt in (
        lambda: gate.keys.caller(key),
        lambda: gate.sessions.caller(session),
        lambda: gate.sessions.redeem(link),
        lambda: gate.sessions.sign_in("Bob", PASSWORD),
    ):
        with pytest.raises(Unauthenticated):
            attempt()
    assert gate.keys.list(world.owner)[0].revoked
    for refused in (
        lambda: gate.keys.create(world.owner, "Bob"),
        lambda: gate.sessions.link_for(gate.principals.named("Bob")),
    ):
        with pytest.raises(Refused):
            refused()


def test_local_commands_act_as_the_first_owner(world: World) -> None:
    caller = world.gate.owner()
    assert (caller.principal.name, caller.via, caller.use_case) == ("Anne", "local", None)


def test_disabled_is_checked_on_every_use_and_not_only_when_it_happens(world: World) -> None:
    bob, gate = world.person("Bob"), world.gate
    _, key = gate.keys.create(world.owner, "Bob")
    session = gate.sessions.redeem(gate.sessions.link_for(bob.principal))
    link = gate.sessions.link_for(bob.principal)
    # As if a key or session had been made in the very moment of the disabling.
    with world.database.write() as connection:
        connection.execute(
            principals.update()
            .where(principals.c.name == "Bob")
            .values(disabled="2026-03-02T09:00:00Z")
        )
    for attempt in (
        lambda: gate.keys.caller(key),
        lambda: gate.sessions.caller(session),
        lambda: gate.sessions.redeem(link),
    ):
        with pytest.raises(Unauthenticated):
            attempt()
