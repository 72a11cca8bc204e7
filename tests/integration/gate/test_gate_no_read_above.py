"""No policies, shipped or written by anybody, permit a read that labels forbid.

The label worlds are small and whole: three levels, one compartment or none, and every
releasability to two communities. First what the gate decides, for every action, role and thing;
then what an admission really lets through, with lying rows in the database beside the good ones.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from gate_builders import World, a_world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.errors import CasemateError, Refused
from casemate.gate.caller import Caller, Strength
from casemate.gate.country import Country
from casemate.gate.label import Label
from casemate.gate.policy import ACTIONS, Decision, PolicySet, Resource
from casemate.gate.principal import ROLES, Principal
from casemate.gate.right import judged as judged_by
from casemate.gate.usecase import UseCase
from casemate.store.tables import collections, principals

LU = Country.load("lu").policy
LABELS = [
    Label(LU, level, frozenset(compartments), release)
    for level in ("unclassified", "restricted", "secret")
    for compartments in ((), ("alpha",))
    for release in (None, frozenset({"LU"}), frozenset({"FR"}), frozenset({"LU", "FR"}))
]
SHIPPED = PolicySet.parse(
    {
        file.name: file.read_bytes()
        for file in resources.files("casemate.gate.policies").iterdir()
        if file.name.endswith(".cedar")
    }
)
EVERYTHING = PolicySet.parse({"a.cedar": b'@id("all") permit (principal, action, resource);'})
ROLE_SETS = [frozenset(ROLES), frozenset[str](), *(frozenset({role}) for role in ROLES)]
READERS = (None, (), ("u1",), ("u2",), ("role:user", "role:admin", "role:owner"))
THINGS = [
    *(Resource("Collection", "c1", "t1", "u1", readers) for readers in READERS),
    *(Resource(kind, "x1", "t1", "u1") for kind in ("Installation", "UseCase", "Model", "Run")),
]


def a_principal(roles: frozenset[str], clearance: Label, **more: object) -> Principal:
    values = {"tenant": "t1", "disabled": False} | more
    return Principal(
        "u1",
        str(values["tenant"]),
        "Anne",
        "person",
        roles,
        clearance,
        "p1",
        bool(values["disabled"]),
    )


def judged(*what: Any, **more: Any) -> Decision:
    """For who signed in as strongly as anybody can: no limit gives way to that either."""
    return judged_by(*what, strength=Strength("session", "high", True), **more)


@pytest.mark.parametrize("policies", [SHIPPED, EVERYTHING], ids=["shipped", "permit everything"])
def test_nothing_is_permitted_on_what_is_labelled_above_the_clearance(policies: PolicySet) -> None:
    forbidden = [
        pair for pair in itertools.product(LABELS, LABELS) if not pair[0].dominates(pair[1])
    ]
    assert len(forbidden) > len(LABELS)
    one_clearance, one_label = forbidden[0]
    for roles, action, thing in itertools.product(ROLE_SETS, sorted(ACTIONS), THINGS):
        who = a_principal(roles, one_clearance)
        assert not judged(policies, who, action, thing, [one_label]).allowed, (roles, action, thing)
    for clearance, label in forbidden:  # policies see no labels, so one thing stands for all
        who = a_principal(frozenset(ROLES), clearance)
        assert not judged(policies, who, "read", THINGS[0], [LU.lowest(), label]).allowed


@pytest.mark.parametrize("policies", [SHIPPED, EVERYTHING], ids=["shipped", "permit everything"])
def test_no_other_limit_can_be_permitted_away_either(policies: PolicySet) -> None:
    top = LABELS[-1].join(LABELS[16])
    for roles, action, thing in itertools.product(ROLE_SETS, sorted(ACTIONS), THINGS):
        for who in (
            a_principal(roles, top, tenant="t2"),
            a_principal(roles, top, disabled=True),
        ):
            assert not judged(policies, who, action, thing, []).allowed
        fine = a_principal(roles, top)
        if action in ("ask", "search"):
            assert not judged(policies, fine, action, thing, [], approved=False).allowed
        elif action != "read":
            assert not judged(policies, fine, action, thing, [], bound=True).allowed


def test_a_dominated_label_is_read_so_the_refusals_above_mean_something() -> None:
    who = a_principal(frozenset({"user"}), LU.parse("lu:secret/alpha//rel=LU"))
    assert judged(SHIPPED, who, "read", THINGS[0], [LU.parse("lu:restricted//rel=FR,LU")]).allowed


# The real way: a database, use cases, an admission


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, Label]]]:
    """A collection for every label and every kind of readers, and a use case for every ceiling."""
    with a_world(Path(tmp_path_factory.mktemp("full"))) as world:
        anne = world.owner.principal
        labels: dict[str, Label] = {}
        for number, (label, readers) in enumerate(
            itertools.product(LABELS, (None, json.dumps(["role:user"]), json.dumps([anne.id])))
        ):
            labels[world.collection(f"n{number}", str(label), readers=readers)] = label
        for number, ceiling in enumerate(LABELS):
            made = UseCase(
                id=f"up-to-{number}", tenant=anne.tenant, owner=anne.id, purpose="Tests.",
                legal_basis="None.", risk="minimal", models=("quote",), ceiling=ceiling,
                oversight="none", retention_days=183, state="approved", proposed_by=anne.id,
            )  # fmt: skip
            with world.database.write() as connection:
                world.gate.use_cases.insert(connection, None, made, ())
        yield world, labels


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    clearance=st.sampled_from(LABELS),
    ceiling=st.integers(0, len(LABELS) - 1),
    roles=st.sampled_from(ROLE_SETS),
    everything=st.booleans(),
    wanted=st.lists(st.integers(0, 3 * len(LABELS) - 1), max_size=2),
)
def test_an_admission_lets_nothing_through_above_clearance_or_ceiling(
    full: tuple[World, dict[str, Label]],
    clearance: Label,
    ceiling: int,
    roles: frozenset[str],
    everything: bool,
    wanted: list[int],
) -> None:
    world, labels = full
    gate = world.gate
    with world.database.write() as connection:
        connection.execute(
            principals.update()
            .where(principals.c.id == world.owner.principal.id)
            .values(clearance=str(clearance), roles=" ".join(sorted(roles)))
        )
    kept = gate.rights.policies
    gate.rights.policies = EVERYTHING if everything else kept
    admission = None
    try:
        names = [f"n{number}" for number in wanted]
        with suppress(CasemateError):
            admission = gate.admit(world.owner, use_case=f"up-to-{ceiling}", collections=names)
    finally:
        gate.rights.policies = kept
    if admission is None:
        # There is no right to ask, or a collection was named that is out of reach.
        assert wanted or not (everything or "user" in roles)
        return
    for id in admission.collections:
        assert clearance.dominates(labels[id])
        assert LABELS[ceiling].dominates(labels[id])
        assert admission.label.dominates(labels[id])
    readable = {
        reach.id for reach in gate.collections(Caller(admission.principal, None, "session"))
    }
    assert all(clearance.dominates(labels[id]) for id in readable)


@pytest.mark.parametrize(
    "lie",
    [
        {"label": "lu:everybody"},
        {"label": "eu:restricted"},
        {"label": ""},
        {"readers": "not JSON"},
        {"readers": '"role:user"'},
        {"readers": '{"role:user": 1}'},
        {"readers": '[["role:user"]]'},
        {"readers": "null"},
    ],
    ids=str,
)
def test_a_row_that_lies_hides_itself_and_nothing_else(world: World, lie: dict[str, str]) -> None:
    honest = world.collection("honest")
    lying = world.collection("lying")
    with world.database.write() as connection:
        connection.execute(collections.update().where(collections.c.id == lying).values(**lie))
    admission = world.gate.admit(world.owner, use_case=None)
    seen = lie.get("readers") == "null"  # which is how JSON says that the whole tenant reads
    assert set(admission.collections) == ({honest, lying} if seen else {honest})
    if not seen:
        with pytest.raises(CasemateError, match="no collection 'lying'"):
            world.gate.admit(world.owner, use_case=None, collections=["lying"])
        with pytest.raises(CasemateError, match="no such collection"):
            world.gate.require(world.owner, "add", resource=f"collection:{lying}")


@pytest.mark.parametrize("roles", ["", "root", "owner,admin", "OWNER", "user\x00owner"])
def test_roles_that_there_are_not_give_no_rights(world: World, roles: str) -> None:
    with world.database.write() as connection:
        connection.execute(principals.update().values(roles=roles))
    with pytest.raises(Refused):
        world.gate.admit(world.owner, use_case=None)
    with pytest.raises(Refused):
        world.gate.require(world.owner, "administer")


def test_policies_that_speak_of_groups_find_none_and_so_permit_nothing() -> None:
    circular = (
        b'@id("a") permit (principal in Principal::"u2", action, resource);\n'
        b'@id("b") permit (principal in Principal::"u1", action, resource) when '
        b'{ Principal::"u1" in Principal::"u2" };\n'
    )
    who = a_principal(frozenset(ROLES), LABELS[0])
    try:
        policies = PolicySet.parse({"circular.cedar": circular})
    except CasemateError:
        return  # refused when it is loaded is as good
    assert not judged(policies, who, "read", THINGS[0], []).allowed
