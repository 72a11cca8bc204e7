from __future__ import annotations

import json
import re

import pytest
import sqlalchemy as sa
from gate_builders import World

from casemate.errors import Invalid, NotFound, Refused, Unauthenticated
from casemate.store.tables import keys


def test_a_key_is_recognised_by_its_form_and_opens_for_its_principal(world: World) -> None:
    id, text = world.gate.keys.create(world.owner, "Anne")
    assert re.fullmatch(r"cm_[a-z2-7]{10}_[A-Za-z0-9_-]{43}", text)
    assert text.split("_")[1] == id
    caller = world.gate.caller_from_authorization(f"Bearer {text}")
    assert (caller.principal.name, caller.via, caller.use_case) == ("Anne", "key", None)
    assert world.gate.caller_from_authorization(f"bearer  {text} ").principal == caller.principal


def test_the_secret_is_nowhere_but_with_its_holder(world: World) -> None:
    _, text = world.gate.keys.create(world.owner, "Anne")
    secret = text[-43:]
    with world.database.read() as connection:
        rows = str(connection.execute(sa.select(keys)).all())
    assert secret not in rows
    assert secret not in json.dumps(world.ledger.entries)
    assert secret not in repr(world.gate.keys.list(world.owner))


def test_unknown_wrong_expired_revoked_and_disabled_keys_get_one_answer(world: World) -> None:
    create, owner = world.gate.keys.create, world.owner
    world.person("Bob")
    _, good = create(owner, "Anne")
    _, expired = create(owner, "Anne", days=1)
    revoked_id, revoked = create(owner, "Anne")
    _, disabled = create(owner, "Bob")
    world.gate.keys.revoke(owner, revoked_id)
    world.gate.keys.revoke(owner, revoked_id)
    world.gate.principals.disable(owner, "Bob")
    world.watch.pass_by(days=1)
    answers = set()
    for text in (
        "",
        "cm_",
        "sk-something",
        "cm_aaaaaaaaaa_" + "A" * 43,
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        good + "A",
        good.upper(),
        good + "\n",
        "é" * 60,
        "\ud800",
        expired,
        revoked,
        disabled,
    ):
        with pytest.raises(Unauthenticated) as caught:
            world.gate.keys.caller(text)
        answers.add((caught.value.what, caught.value.next))
    assert len(answers) == 1
    assert world.gate.keys.caller(good)


@pytest.mark.parametrize("days", [0, -1, 100_000])
def test_a_key_with_an_absurd_life_is_refused(world: World, days: int) -> None:
    with pytest.raises(Invalid, match="days"):
        world.gate.keys.create(world.owner, "Anne", days=days)


def test_a_key_for_an_unknown_use_case_is_refused(world: World) -> None:
    with pytest.raises(NotFound, match="use case"):
        world.gate.keys.create(world.owner, "Anne", use_case="nothing")


def test_people_make_list_and_revoke_their_own_keys_only(world: World) -> None:
    bob = world.person("Bob")
    theirs, _ = world.gate.keys.create(world.owner, "Anne")
    mine, _ = world.gate.keys.create(bob, "Bob")
    assert [key.id for key in world.gate.keys.list(bob)] == [mine]
    assert {key.id for key in world.gate.keys.list(world.owner)} == {mine, theirs}
    with pytest.raises(Refused):
        world.gate.keys.revoke(bob, theirs)
    world.gate.keys.revoke(bob, mine)
    with pytest.raises(NotFound):
        world.gate.keys.revoke(bob, "absent")


@pytest.mark.parametrize("name", ["Bob", "admin", "Anne"])
def test_a_key_makes_no_keys_for_its_holder(world: World, name: str) -> None:
    world.person("Bob")
    world.admin()
    _, text = world.gate.keys.create(world.owner, name)
    with pytest.raises(Refused, match="own holder"):
        world.gate.keys.create(world.gate.keys.caller(text), name)


def test_when_a_key_was_used_last_is_kept_to_the_minute(world: World) -> None:
    id, text = world.gate.keys.create(world.owner, "Anne")

    def last() -> str | None:
        (key,) = [one for one in world.gate.keys.list(world.owner) if one.id == id]
        return key.last_used

    assert last() is None
    world.gate.keys.caller(text)
    first = last()
    assert first == world.gate.acts.now()
    world.watch.pass_by(seconds=59)
    world.gate.keys.caller(text)
    assert last() == first
    world.watch.pass_by(seconds=1)
    world.gate.keys.caller(text)
    assert last() == world.gate.acts.now()


def test_a_key_that_is_refused_counts_as_no_use(world: World) -> None:
    id, text = world.gate.keys.create(world.owner, "Anne")
    world.gate.keys.revoke(world.owner, id)
    for wrong in (text, f"cm_{id}_{'x' * 43}"):
        with pytest.raises(Unauthenticated):
            world.gate.keys.caller(wrong)
    (key,) = [one for one in world.gate.keys.list(world.owner) if one.id == id]
    assert key.last_used is None
