from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from gate_builders import World

from casemate.errors import Conflict, Invalid, NotFound, Refused, Tampered
from casemate.models.manifest import Manifest
from casemate.store.tables import models


def a_remote(**more: Any) -> Manifest:
    parts = {
        "name": "magistral",
        "version": "2509",
        "engine": "remote",
        "architecture": "Mistral, 24 billion parameters",
        "licence": "Apache-2.0",
        "origin": "Mistral AI, Paris",
        "intended_use": "Reasoning over documents.",
        "limits": "May be wrong.",
        "label": "unclassified",
        "context_length": 40_000,
        "address": "http://10.1.0.7:8000/v1",
        "upstream": "mistralai/Magistral-Small-2509",
    }
    return Manifest.new(**parts | more)


def declare(world: World, ceiling: str = "restricted") -> None:
    world.gate.perimeter.add(
        world.owner,
        name="rack",
        host="10.1.0.0/16",
        ports=[8000],
        jurisdiction="LU",
        ceiling=world.label(ceiling),
    )


def test_quote_is_known_and_approved_from_the_start_and_not_doubled(world: World) -> None:
    world.models.register_builtin()
    assert world.models.approved("quote").engine == "quote"
    [quote] = world.models.list(world.owner)
    assert (quote.state, quote.proposed_by) == ("approved", "installation")
    assert world.models.approved_digest("quote") == quote.digest


def test_a_remote_model_lives_from_proposed_to_withdrawn_and_is_recorded(world: World) -> None:
    declare(world)
    manifest = a_remote()
    assert world.models.propose(world.owner, manifest).state == "proposed"
    with pytest.raises(Refused, match="proposed, not approved"):
        world.models.approved("magistral")
    assert world.models.approve(world.admin(), "magistral").state == "approved"
    assert world.models.approved("magistral") == manifest
    assert world.models.withdraw(world.owner, "magistral").state == "withdrawn"
    with pytest.raises(Refused, match="withdrawn"):
        world.models.approved("magistral")
    acts = [entry for entry in world.ledger.entries if entry.get("model") == "magistral"]
    assert [entry["kind"] for entry in acts] == [
        "model.proposed",
        "model.approved",
        "model.withdrawn",
    ]
    assert {entry["manifest"] for entry in acts} == {manifest.digest()}


def test_an_approved_model_serves_the_use_cases_that_name_it(world: World) -> None:
    declare(world)
    world.models.propose(world.owner, a_remote())
    world.use_case("draft-letters", models=("quote", "magistral"))
    assert world.gate.admit(world.owner, use_case="draft-letters").model == "quote"
    with pytest.raises(Refused, match="not approved"):
        world.gate.admit(world.owner, use_case="draft-letters", model="magistral")
    world.models.approve(world.admin(), "magistral")
    admission = world.gate.admit(world.owner, use_case="draft-letters", model="magistral")
    assert admission.model_digest == a_remote().digest()


def test_who_is_alone_is_told_to_create_a_second_person(world: World) -> None:
    declare(world)
    world.models.propose(world.owner, a_remote())
    with pytest.raises(Refused, match="none yet") as caught:
        world.models.approve(world.owner, "magistral")
    assert "casemate user create" in caught.value.next
    world.admin()
    with pytest.raises(Refused, match="second person"):
        world.models.approve(world.owner, "magistral")


def test_an_address_outside_the_perimeter_is_refused_at_every_stage(world: World) -> None:
    with pytest.raises(Refused, match="outside the perimeter"):
        world.models.propose(world.owner, a_remote())
    declare(world)
    world.models.propose(world.owner, a_remote())
    world.gate.perimeter.remove(world.owner, "rack")
    admin = world.admin()
    with pytest.raises(Refused, match="outside the perimeter"):
        world.models.approve(admin, "magistral")
    declare(world)
    world.models.approve(admin, "magistral")
    world.gate.perimeter.remove(world.owner, "rack")
    with pytest.raises(Refused, match="outside the perimeter"):
        world.models.approved("magistral")


def test_a_model_whose_label_exceeds_its_place_is_refused(world: World) -> None:
    declare(world, "unclassified")
    with pytest.raises(Refused, match="may not go"):
        world.models.propose(world.owner, a_remote(label="restricted"))
    with pytest.raises(Invalid, match="geheim"):
        world.models.propose(world.owner, a_remote(label="geheim"))


def test_a_name_is_given_once(world: World) -> None:
    declare(world)
    world.models.propose(world.owner, a_remote())
    with pytest.raises(Conflict, match="already"):
        world.models.propose(world.owner, a_remote(version="2510"))


def test_states_do_not_jump(world: World) -> None:
    admin = world.admin()
    with pytest.raises(Conflict):
        world.models.approve(admin, "quote")
    world.models.withdraw(admin, "quote")
    with pytest.raises(Conflict):
        world.models.withdraw(admin, "quote")
    with pytest.raises(NotFound):
        world.models.approved("absent")


def test_users_see_models_and_decide_nothing(world: World) -> None:
    declare(world)
    bob = world.person("Bob")
    assert [model.id for model in world.models.list(bob)] == ["quote"]
    for act in (
        lambda: world.models.propose(bob, a_remote()),
        lambda: world.models.approve(bob, "quote"),
        lambda: world.models.withdraw(bob, "quote"),
    ):
        with pytest.raises(Refused):
            act()


def test_a_manifest_changed_in_the_database_is_found(world: World) -> None:
    with world.database.write() as connection:
        text = connection.execute(sa.select(models.c.manifest)).scalar_one()
        changed = json.dumps(json.loads(text) | {"limits": "None at all."})
        connection.execute(models.update().values(manifest=changed))
    with pytest.raises(Tampered, match="not the one that was approved"):
        world.models.approved("quote")


def test_a_model_is_at_least_as_high_as_all_it_was_made_from(world: World) -> None:
    declare(world, "secret")
    made_from = {"letters of the ministry": "restricted/alpha", "base": "unclassified"}
    for label in ("unclassified", "restricted", "secret"):
        with pytest.raises(Refused, match="letters of the ministry"):
            world.models.propose(world.owner, a_remote(label=label, made_from=made_from))
    with pytest.raises(Invalid, match="geheim"):
        world.models.propose(world.owner, a_remote(made_from={"base": "geheim"}))
    assert world.models.list(world.owner)[0].id == "quote"
    world.models.check_new("tuned", "restricted/alpha", made_from)


@pytest.mark.parametrize("made_from", [{"": "unclassified"}, {"a\nb": "x"}, {"base": ""}])
def test_what_a_model_was_made_from_has_a_name_and_a_label(made_from: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="made_from"):
        a_remote(made_from=made_from)
