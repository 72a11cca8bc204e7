from __future__ import annotations

import time
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.errors import Invalid
from casemate.gate.country import Country
from casemate.gate.label import Label
from casemate.gate.policy import ACTIONS, Circumstances, PolicySet, Resource
from casemate.gate.principal import ROLES, Principal

LU = Country.load("lu").policy
SHIPPED = {
    file.name: file.read_bytes()
    for file in resources.files("casemate.gate.policies").iterdir()
    if file.name.endswith(".cedar")
}
POLICIES = PolicySet.parse(SHIPPED)
FINE = Circumstances(dominates=True)
GOOD = b'@id("one") permit (principal, action, resource);\n'

labels = st.builds(
    Label,
    st.just(LU),
    st.sampled_from([level.id for level in LU.levels]),
    st.frozensets(st.sampled_from(["alpha", "beta"])),
    st.none() | st.frozensets(st.sampled_from(["LU", "FR"])),
)
resources_of_tenant = st.builds(
    Resource,
    st.sampled_from(["Installation", "Collection", "UseCase", "Model", "Run"]),
    st.just("r1"),
    st.sampled_from(["t1", "t2"]),
    st.none() | st.sampled_from(["u1", "u2"]),
    st.none() | st.lists(st.sampled_from(["u1", "role:user", "role:admin"])).map(tuple),
)


def a_principal(
    *roles: str, tenant: str = "t1", disabled: bool = False, clearance: Label | None = None
) -> Principal:
    return Principal(
        "u1",
        tenant,
        "Anne",
        "person",
        frozenset(roles),
        clearance or LU.lowest(),
        "p1",
        disabled,
    )


roles = st.frozensets(st.sampled_from(sorted(ROLES)))
actions = st.sampled_from(sorted(ACTIONS))


@settings(max_examples=400, deadline=None)
@given(roles, actions, resources_of_tenant, labels, labels, st.booleans(), st.booleans())
def test_no_shipped_policy_permits_what_labels_forbid(
    roles: frozenset[str],
    action: str,
    resource: Resource,
    clearance: Label,
    label: Label,
    approved: bool,
    bound: bool,
) -> None:
    principal = a_principal(*roles, clearance=clearance)
    dominates = clearance.dominates(label)
    decision = POLICIES.decide(
        principal,
        action,
        resource,
        Circumstances(dominates=dominates, approved=approved, bound=bound),
    )
    if not dominates:
        assert not decision.allowed
    if resource.tenant != principal.tenant:
        assert not decision.allowed
    if bound and action not in ("ask", "search", "read"):
        assert not decision.allowed
    if action in ("ask", "search") and not approved:
        assert not decision.allowed
    assert decision.digest == POLICIES.digest
    assert not decision.allowed or decision.deciding


@settings(max_examples=100, deadline=None)
@given(roles, actions, resources_of_tenant)
def test_the_disabled_may_do_nothing(
    roles: frozenset[str], action: str, resource: Resource
) -> None:
    principal = a_principal(*roles, disabled=True)
    assert not POLICIES.decide(principal, action, resource, FINE).allowed


def test_what_no_policy_mentions_is_refused_and_nobody_decided_it() -> None:
    decision = PolicySet.parse(
        {"a.cedar": b'@id("x") permit (principal, action == Action::"ask", resource);'}
    ).decide(a_principal(*ROLES), "read", Resource("Run", "r", "t1"), FINE)
    assert (decision.allowed, decision.deciding) == (False, ())


def test_an_action_that_cedar_does_not_know_is_refused() -> None:
    anything = PolicySet.parse({"a.cedar": GOOD})
    for action in ("fly", "", 'read" == "', "ask\n"):
        assert not anything.decide(
            a_principal(*ROLES), action, Resource("Run", "r", "t1"), FINE
        ).allowed


def test_a_policy_that_fails_while_it_is_evaluated_refuses_instead_of_being_skipped() -> None:
    overflow = (
        b'@id("f") forbid (principal, action, resource)\n'
        b"when { 9223372036854775807 + 9223372036854775807 > 1 };"
    )
    decision = PolicySet.parse({"a.cedar": GOOD, "b.cedar": overflow}).decide(
        a_principal(*ROLES), "read", Resource("Run", "r", "t1"), FINE
    )
    assert not decision.allowed


def test_deciding_policies_are_named_by_their_ids() -> None:
    decision = POLICIES.decide(
        a_principal("user", tenant="t2", disabled=True),
        "read",
        Resource("Collection", "c", "t1"),
        Circumstances(dominates=False),
    )
    assert decision.deciding == (
        "disabled-does-nothing",
        "label-must-be-dominated",
        "tenants-stay-apart",
    )


def test_only_owners_move_the_perimeter() -> None:
    perimeter = Resource("Installation", "perimeter", "t1")
    assert POLICIES.decide(a_principal("owner"), "administer", perimeter, FINE).allowed
    assert not POLICIES.decide(a_principal("admin"), "administer", perimeter, FINE).allowed


def test_the_digest_depends_on_names_and_contents_only() -> None:
    assert PolicySet.parse(dict(reversed(SHIPPED.items()))).digest == POLICIES.digest
    assert PolicySet.parse({"a.cedar": GOOD}).digest != PolicySet.parse({"b.cedar": GOOD}).digest
    assert (
        PolicySet.parse({"a.cedar": GOOD}).digest
        != PolicySet.parse({"a.cedar": GOOD + b"\n"}).digest
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n// fine\n\npermit (principal, action, resource);", r"x\.cedar, line 4: .*no @id"),
        (b'@id("") permit (principal, action, resource);', "line 1: .*no @id"),
        (GOOD + b'\n@id("two")\npermit (principal, acton, resource);', "line 3: "),
        (GOOD + b'@id("two")\npermit (principal, action, resource)', "line 2: .*semicolon"),
        (GOOD + b'@id("two)\npermit (principal);', "line 2: a string is not closed"),
        (GOOD + GOOD, r"x\.cedar, line 2: policy 'one' is already in x\.cedar, line 1"),
        (
            GOOD + b'@id("two") permit (principal, action, resource) when { principal.age > 3 };',
            "line 2: policy 'two': .*age",
        ),
        (
            GOOD + b'@id("two") permit (principal, action == Action::"fly", resource);',
            "line 2: policy 'two'",
        ),
        (
            GOOD + b'@id("two") permit (principal == ?principal, action, resource);',
            "line 2: .*plain",
        ),
        (GOOD + b"\n\xff\n", "line 3: this is not UTF-8"),
        (b"", "no policies"),
        (b"// only a comment; nothing else\n", "no policies"),
    ],
)
def test_a_broken_policy_file_is_refused_by_file_and_line(content: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message) as caught:
        PolicySet.parse({"x.cedar": content})
    assert caught.value.next


def test_one_id_in_two_files_is_refused_by_both_places() -> None:
    with pytest.raises(Invalid, match=r"b\.cedar, line 1: .* a\.cedar, line 1"):
        PolicySet.parse({"a.cedar": GOOD, "b.cedar": GOOD})


def test_semicolons_in_strings_and_comments_end_no_policy() -> None:
    tricky = (
        b'@id("a;b") // a comment; with "quotes\n'
        b'permit (principal, action, resource) when { principal.kind == "a\\";//" };'
    )
    assert PolicySet.parse({"x.cedar": tricky}).digest


def test_a_remembered_decision_costs_microseconds() -> None:
    principal, run = a_principal("user"), Resource("Run", "r", "t1", "u1")
    POLICIES.decide(principal, "read", run, FINE)
    start = time.perf_counter()
    for _ in range(1000):
        POLICIES.decide(principal, "read", run, FINE)
    assert (time.perf_counter() - start) / 1000 < 250e-6


def test_what_one_set_decided_is_never_said_by_another() -> None:
    strict = PolicySet.parse({"a.cedar": b'@id("none") forbid (principal, action, resource);'})
    anything = PolicySet.parse({"a.cedar": GOOD})
    who, thing = a_principal("user"), Resource("Model", "m1", "t1")
    for _ in range(2):
        for policies, allowed in ((anything, True), (strict, False), (POLICIES, True)):
            decision = policies.decide(who, "read", thing, FINE)
            assert (decision.allowed, decision.digest) == (allowed, policies.digest)


def test_a_decision_depends_on_all_that_it_was_made_of() -> None:
    thing = Resource("Collection", "c1", "t1", "u2", ("u1",))
    assert POLICIES.decide(a_principal("user"), "read", thing, FINE).allowed
    for who, other, circumstances in (
        (a_principal("auditor"), thing, FINE),
        (a_principal("user", tenant="t2"), thing, FINE),
        (a_principal("user", disabled=True), thing, FINE),
        (a_principal("user"), Resource("Collection", "c1", "t1", "u2", ()), FINE),
        (a_principal("user"), Resource("Collection", "c1", "t2", "u2", ("u1",)), FINE),
        (a_principal("user"), thing, Circumstances(dominates=False)),
    ):
        assert not POLICIES.decide(who, "read", other, circumstances).allowed


def test_no_more_decisions_are_remembered_than_a_bound() -> None:
    policies = PolicySet.parse({"a.cedar": GOOD})
    assert policies._decide.cache_info().maxsize == 8192


def test_every_shipped_policy_says_in_words_what_it_does() -> None:
    for policy in POLICIES.policies.values():
        assert policy.says.endswith("."), policy.id
        assert policy.place.startswith(tuple(SHIPPED))
