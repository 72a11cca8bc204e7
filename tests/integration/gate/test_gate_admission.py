from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager

import pytest
from gate_builders import World

from casemate.errors import CasemateError, Invalid, NotFound, Refused, Unauthenticated
from casemate.gate.budget import Use
from casemate.gate.caller import Caller
from casemate.gate.policy import PolicySet

ANOTHER = (
    "Ask under another use case with --use-case, or register one: `casemate usecase register`."
)


def refusal(call) -> tuple[type, str, str]:  # type: ignore[no-untyped-def]
    with pytest.raises(CasemateError) as caught:
        call()
    return type(caught.value), caught.value.what, caught.value.next


def test_a_first_start_lets_the_owner_ask_their_own_documents(world: World) -> None:
    notes = world.collection("notes")
    admission = world.gate.admit(world.owner, use_case=None)
    assert (admission.use_case.id, admission.model) == ("documents", "quote")
    assert admission.collections == (notes,)
    assert str(admission.label) == "lu:unclassified"
    assert admission.decision.allowed
    assert admission.decision.deciding == ("users-ask",)
    assert admission.model_digest.startswith("sha256:")


def test_a_first_start_that_was_interrupted_is_finished_and_not_doubled(world: World) -> None:
    before = world.ledger.kinds()
    again = world.gate.first_start("Someone else")
    assert again.principal == world.owner.principal
    assert world.ledger.kinds() == before


def test_a_first_start_records_tenant_owner_use_case_and_model(world: World) -> None:
    assert world.ledger.kinds() == [
        "tenant.created",
        "principal.created",
        "use_case.registered",
        "model.approved",
    ]


def test_a_hidden_and_an_absent_collection_give_the_same_bytes(world: World) -> None:
    world.use_case("office")
    bob = world.person("Bob", "restricted")
    world.collection("payroll", "secret")
    world.collection("board", readers=json.dumps(["role:auditor"]))
    answers = set()
    for name in ("payroll", "board", "absent"):
        kind, what, next = refusal(
            lambda name=name: world.gate.admit(bob, use_case="office", collections=[name])
        )
        answers.add((kind, what.replace(repr(name), "NAME"), next))
    assert answers == {
        (
            NotFound,
            "There is no collection NAME that you may read.",
            "`casemate collection list` shows those there are.",
        )
    }


def test_hidden_and_absent_leave_no_different_trace_in_the_ledger(world: World) -> None:
    bob = world.person("Bob")
    world.collection("payroll", "secret")
    before = len(world.ledger.entries)
    for name in ("payroll", "absent"):
        with pytest.raises(NotFound):
            world.gate.admit(bob, use_case=None, collections=[name])
    assert len(world.ledger.entries) == before


def test_another_tenants_use_case_and_an_absent_one_give_the_same_bytes(world: World) -> None:
    world.gate.principals.create_tenant(world.owner, "army")
    world.gate.principals.create(
        world.owner, "Sergeant", clearance=world.label("secret"), tenant="army"
    )
    sergeant = world.caller("Sergeant")
    hidden = refusal(lambda: world.gate.admit(sergeant, use_case="documents"))
    absent = refusal(lambda: world.gate.admit(sergeant, use_case="nothing"))
    assert hidden == absent
    assert hidden[0] is NotFound


def test_the_effective_label_is_the_clearance_under_the_ceiling(world: World) -> None:
    world.use_case("office", ceiling=world.label("restricted/alpha,beta"))
    bob = world.person("Bob", "secret/alpha")
    low, high = world.collection("low", "restricted"), world.collection("high", "confidential")
    alpha = world.collection("alpha", "restricted/alpha")
    world.collection("beta", "restricted/beta")
    admission = world.gate.admit(bob, use_case="office")
    assert str(admission.label) == "lu:restricted/alpha"
    assert set(admission.collections) == {low, alpha}
    assert high not in admission.collections


def test_readers_narrow_a_collection_to_people_and_roles(world: World) -> None:
    bob, eve = world.person("Bob"), world.person("Eve")
    audits = world.person("Carla", roles=("user", "auditor"))
    for_bob = world.collection("bob", readers=json.dumps([bob.principal.id]))
    for_role = world.collection("audit", readers=json.dumps(["role:auditor"]))

    def ids(caller: Caller) -> set[str]:
        return {reach.id for reach in world.gate.collections(caller)}

    assert ids(bob) == {for_bob}
    assert ids(eve) == set()
    assert ids(audits) == {for_role}


def test_a_use_case_with_collections_reaches_no_others(world: World) -> None:
    notes = world.collection("notes")
    world.collection("more")
    world.use_case("narrow", collections=[notes])
    assert world.gate.admit(world.owner, use_case="narrow").collections == (notes,)
    assert refusal(
        lambda: world.gate.admit(world.owner, use_case="narrow", collections=["more"])
    ) == (Refused, "Use case narrow does not use the collection more.", ANOTHER)


def test_a_collection_above_the_ceiling_is_refused_openly_to_who_may_read_it(world: World) -> None:
    bob = world.person("Bob", "secret")
    world.collection("geheim", "restricted")
    assert refusal(lambda: world.gate.admit(bob, use_case=None, collections=["geheim"])) == (
        Refused,
        "Use case documents goes up to lu:unclassified, but geheim is lu:restricted.",
        ANOTHER,
    )
    world.use_case("office", ceiling=world.label("restricted"))
    assert world.gate.admit(bob, use_case="office", collections=["geheim"]).collections


def test_what_stays_outside_a_use_case_is_said_whatever_else_keeps_it_out(world: World) -> None:
    bob, notes = world.person("Bob", "secret"), world.collection("notes")
    world.collection("geheim", "restricted")
    world.use_case("narrow", collections=[notes], ceiling=world.label("unclassified"))
    _, what, _ = refusal(
        lambda: world.gate.admit(bob, use_case="narrow", collections=["notes", "geheim"])
    )
    assert what == "Use case narrow does not use the collection geheim."


@pytest.mark.parametrize("use_case", [None, "narrow"])
def test_what_somebody_may_not_read_stays_absent_under_every_use_case(
    world: World, use_case: str | None
) -> None:
    bob = world.person("Bob", "restricted")
    world.use_case("narrow", collections=[world.collection("notes")])
    world.collection("payroll", "secret")
    world.collection("board", "restricted", readers=json.dumps(["role:auditor"]))
    world.collection("theirs", tenant=world.gate.principals.create_tenant(world.owner, "army"))
    found = {
        refusal(lambda name=name: world.gate.admit(bob, use_case=use_case, collections=[name]))
        for name in ("payroll", "board", "theirs", "absent")
    }
    assert {(kind, what.split("'")[0], next) for kind, what, next in found} == {
        (
            NotFound,
            "There is no collection ",
            "`casemate collection list` shows those there are.",
        )
    }
    assert len(found) == 4  # each says the name that was asked for


def test_a_disabled_label_check_in_policies_does_not_open_what_is_hidden(world: World) -> None:
    bob = world.person("Bob")
    world.collection("payroll", "secret")
    everything = b'@id("all") permit (principal, action, resource);'
    world.gate.rights.policies = PolicySet.parse({"all.cedar": everything})
    with pytest.raises(NotFound):
        world.gate.admit(bob, use_case=None, collections=["payroll"])


def test_a_draft_use_case_is_refused_with_what_to_do_and_recorded(world: World) -> None:
    world.use_case("draft", approve=False)
    kind, what, next = refusal(lambda: world.gate.admit(world.owner, use_case="draft"))
    assert kind is Refused
    assert what == "Use case draft is draft, not approved."
    assert "casemate usecase approve draft" in next
    entry = world.ledger.entries[-1]
    assert entry["kind"] == "refused"
    assert entry["policies"] == ["use-case-must-be-approved"]
    assert entry["policy_set"] == world.gate.policies.digest
    assert "Anne" not in json.dumps(world.ledger.entries)


def test_a_suspended_use_case_admits_nobody(world: World) -> None:
    world.gate.use_cases.suspend(world.owner, "documents", "For a test.")
    with pytest.raises(Refused, match="suspended"):
        world.gate.admit(world.owner, use_case=None)


def test_a_key_bound_to_one_use_case_refuses_every_other(world: World) -> None:
    world.use_case("office")
    _, text = world.gate.keys.create(world.owner, "Anne", use_case="office")
    caller = world.gate.caller_from_authorization(f"Bearer {text}")
    assert world.gate.admit(caller, use_case=None).use_case.id == "office"
    assert world.gate.admit(caller, use_case="office").use_case.id == "office"
    with pytest.raises(Refused, match="bound"):
        world.gate.admit(caller, use_case="documents")


def test_a_bound_key_of_the_owner_administers_nothing(world: World) -> None:
    _, text = world.gate.keys.create(world.owner, "Anne", use_case="documents")
    caller = world.gate.keys.caller(text)
    with pytest.raises(Refused, match="bound-key-only-asks"):
        world.gate.require(caller, "administer")
    with pytest.raises(Refused):
        world.gate.principals.create(caller, "Bob", clearance=world.label("unclassified"))


def test_a_model_outside_the_use_case_is_refused_without_saying_if_it_exists(world: World) -> None:
    kind, what, next = refusal(lambda: world.gate.admit(world.owner, use_case=None, model="gpt"))
    assert (kind, next) == (Refused, "It allows: quote.")
    assert "gpt" not in what


def test_a_withdrawn_model_is_refused(world: World) -> None:
    world.models.withdraw(world.owner, "quote")
    with pytest.raises(Refused, match="withdrawn"):
        world.gate.admit(world.owner, use_case=None)


def test_who_was_disabled_after_signing_in_is_not_admitted(world: World) -> None:
    bob = world.person("Bob")
    world.gate.admit(bob, use_case=None)
    world.gate.principals.disable(world.owner, "Bob")
    with pytest.raises(Unauthenticated):
        world.gate.admit(bob, use_case=None)
    with pytest.raises(Unauthenticated):
        world.gate.require(bob, "read")


def test_a_lowered_clearance_counts_from_the_next_question(world: World) -> None:
    world.use_case("office")
    bob = world.person("Bob", "secret")
    secret = world.collection("secret", "secret")
    assert secret in world.gate.admit(bob, use_case="office").collections
    world.gate.principals.change(world.owner, "Bob", clearance=world.label("unclassified"))
    assert secret not in world.gate.admit(bob, use_case="office").collections


def test_without_the_role_user_nobody_asks(world: World) -> None:
    auditor = world.person("Carla", roles=("auditor",))
    with pytest.raises(Refused, match="no policy allows it"):
        world.gate.admit(auditor, use_case=None)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "cm_x_y"])
def test_a_request_without_a_key_is_told_how_to_send_one(world: World, header: str | None) -> None:
    with pytest.raises(Unauthenticated, match="No API key was given"):
        world.gate.caller_from_authorization(header)


def test_require_tells_hidden_and_absent_collections_apart_from_nobody(world: World) -> None:
    bob = world.person("Bob")
    hidden = world.collection("payroll", "secret")
    for action in ("read", "add", "delete"):
        answers = {
            refusal(
                lambda id=id, action=action: world.gate.require(
                    bob, action, resource=f"collection:{id}"
                )
            )
            for id in (hidden, "absent")
        }
        assert len(answers) == 1


def test_require_says_openly_what_may_be_read_but_not_changed(world: World) -> None:
    bob, notes = world.person("Bob"), world.collection("notes")
    assert world.gate.require(bob, "read", resource=f"collection:{notes}").allowed
    with pytest.raises(Refused, match="add documents here"):
        world.gate.require(bob, "add", resource=f"collection:{notes}")


def test_who_owns_a_collection_adds_to_it(world: World) -> None:
    bob = world.person("Bob")
    mine = world.collection("mine", owner=bob.principal.id)
    decision = world.gate.require(bob, "add", resource=f"collection:{mine}")
    assert decision.deciding == ("owners-of-collections",)


def test_a_label_above_ones_clearance_is_refused_whatever_ones_role(world: World) -> None:
    with pytest.raises(Refused, match="label-must-be-dominated"):
        world.gate.require(world.owner, "add", label=world.label("secret"), resource="collection")


def test_the_ledger_is_for_auditors(world: World) -> None:
    assert world.gate.require(world.owner, "audit").allowed
    with pytest.raises(Refused):
        world.gate.require(world.person("Bob"), "audit")


def test_the_quota_of_runs_counts_per_principal_and_comes_back(world: World) -> None:
    budgets = world.gate.budgets

    def run(caller: Caller) -> AbstractAsyncContextManager[Use]:
        return budgets.run(world.gate.admit(caller, use_case=None).asker, Use())

    async def ask() -> None:
        async with run(anne), run(anne):
            with pytest.raises(CasemateError) as caught:
                async with run(anne):
                    pass
            assert caught.value.status == 429
            assert caught.value.next
            async with run(bob):
                pass
        async with run(anne):
            pass

    anne, bob = world.owner, world.person("Bob")
    asyncio.run(ask())


def test_labels_hold_even_under_policies_that_permit_everything(world: World) -> None:
    world.use_case("office", ceiling=world.label("restricted"))
    bob = world.person("Bob", "secret")
    open_one, secret = world.collection("open"), world.collection("secret", "secret")
    over, alpha = world.collection("over", "top-secret"), world.collection("a", "restricted/alpha")
    everything = b'@id("all") permit (principal, action, resource);'
    world.gate.rights.policies = PolicySet.parse({"all.cedar": everything})
    reachable = {reach.id for reach in world.gate.collections(bob)}
    assert reachable == {open_one, secret}
    assert world.gate.admit(bob, use_case="office").collections == (open_one,)
    assert over not in reachable
    assert alpha not in reachable


def test_a_run_asks_or_searches_and_nothing_else(world: World) -> None:
    assert world.gate.admit(world.owner, use_case=None, action="search")
    for action in ("read", "administer", "fly"):
        with pytest.raises(Invalid, match="ask or search"):
            world.gate.admit(world.owner, use_case=None, action=action)


def test_the_installation_has_no_parts_to_ask_for_by_id(world: World) -> None:
    with pytest.raises(NotFound):
        world.gate.require(world.owner, "administer", resource="installation:perimeter")


@pytest.mark.parametrize("odd", ["\ud800", "\x00", "x" * 100_000, "../documents", "documents\n"])
def test_odd_names_are_as_absent_as_any(world: World, odd: str) -> None:
    for call in (
        lambda: world.gate.admit(world.owner, use_case=odd),
        lambda: world.gate.admit(world.owner, use_case=None, collections=[odd]),
        lambda: world.gate.require(world.owner, "read", resource=f"collection:{odd}"),
        lambda: world.gate.principals.named(odd),
        lambda: world.models.approved(odd),
    ):
        with pytest.raises(NotFound):
            call()
    with pytest.raises(Unauthenticated):
        world.gate.sessions.sign_in(odd, "wrong wrong wrong")


def test_every_refusal_says_what_and_next(world: World) -> None:
    bob = world.person("Bob")
    for call in (
        lambda: world.gate.admit(bob, use_case="absent"),
        lambda: world.gate.admit(bob, use_case=None, collections=["absent"]),
        lambda: world.gate.admit(bob, use_case=None, model="absent"),
        lambda: world.gate.require(bob, "administer"),
        lambda: world.gate.require(bob, "fly"),
        lambda: world.gate.require(bob, "read", resource="moon"),
        lambda: world.gate.keys.caller("x"),
        lambda: world.gate.sessions.caller("x"),
    ):
        _, what, next = refusal(call)
        assert what.endswith((".", "?"))
        assert next.endswith((".", "`"))


def test_a_key_taken_back_while_its_request_came_in_admits_to_nothing(world: World) -> None:
    """A body takes its time: what opened the door may be gone when there is something to admit."""
    world.person("Bob")
    id, text = world.gate.keys.create(world.owner, "Bob")
    caller = world.gate.caller_from_authorization(f"Bearer {text}")
    assert world.gate.admit(caller, use_case="documents")
    world.gate.keys.revoke(world.owner, id)
    with pytest.raises(Refused, match="taken back"):
        world.gate.admit(caller, use_case="documents")
