"""What claims mean: nothing is given that a rule does not give, whatever the claims look like."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Refused
from casemate.gate.country import Country
from casemate.gate.entitlement import LEVELS, Entitlements, Rule, TenantRule
from casemate.gate.sign_in_refusal import Unassured, Unentitled

POLICY = Country.load("lu").policy
ROLES = {"clerks": frozenset({"user"}), "chiefs": frozenset({"user", "admin"})}
LABELS = {
    "restricted": POLICY.parse("restricted"),
    "secret": POLICY.parse("secret"),
    "alpha": POLICY.parse("unclassified/alpha"),
    "lu": POLICY.parse("unclassified//rel=LU"),
    "fr": POLICY.parse("unclassified//rel=FR"),
}


def rules(**more: Any) -> Entitlements:
    given_: dict[str, Any] = {
        "policy": POLICY,
        "person": ("name",),
        "tenant": TenantRule("", ("org",), {"Tax": "tax"}),
        "roles": Rule(("access", "roles"), ROLES),
        "clearance": Rule(("groups",), LABELS),
        "ceiling": None,
        "levels": {"1": "low", "2": "substantial", "3": "high"},
        "minimum": None,
    }
    return Entitlements(**(given_ | more))


def claims(**more: Any) -> dict[str, Any]:
    return {
        "name": "Claire",
        "org": "Tax",
        "access": {"roles": ["clerks"]},
        "groups": ["restricted"],
        **more,
    }


def test_each_value_gives_what_its_rule_says() -> None:
    found = rules().of(claims(), None)
    assert (found.name, found.tenant, found.roles) == ("Claire", "tax", frozenset({"user"}))
    assert (str(found.clearance), found.assurance) == ("lu:restricted", None)


def test_several_groups_give_their_roles_together() -> None:
    found = rules().of(claims(access={"roles": ["chiefs", "clerks", "others"]}), None)
    assert found.roles == {"user", "admin"}


@pytest.mark.parametrize(
    ("groups", "clearance"),
    [
        (["restricted", "secret"], "lu:secret"),
        (["secret", "alpha", "other"], "lu:secret/alpha"),
        ("secret", "lu:secret"),
        (["secret", "lu"], "lu:secret//rel=LU"),
    ],
)
def test_several_clearances_are_joined(groups: Any, clearance: str) -> None:
    assert str(rules().of(claims(groups=groups), None).clearance) == clearance


def test_two_nationalities_that_exclude_each_other_are_no_clearance() -> None:
    with pytest.raises(Unentitled, match="no meaning"):
        rules().of(claims(groups=["secret", "lu", "fr"]), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"org": None}, {"org": "Army"}, {"org": ["Tax", "Tax"]}, {"org": ""}, {"org": 1},
        {"access": None}, {"access": []}, {"access": {"roles": {"clerks": True}}},
        {"access": {"roles": [1]}}, {"groups": None}, {"groups": ["x"]}, {"groups": True},
        {"name": ""}, {"name": " "}, {"name": "x" * 65}, {"name": ["a", "b"]},
    ],
)  # fmt: skip
def test_what_is_missing_or_odd_denies(changes: dict[str, Any]) -> None:
    with pytest.raises(Unentitled):
        rules().of(claims(**changes), None)


def test_a_ceiling_only_lowers() -> None:
    bounded = rules(ceiling=POLICY.parse("restricted"))
    assert str(bounded.of(claims(groups=["secret", "alpha"]), None).clearance) == "lu:restricted"
    assert str(bounded.of(claims(groups=["alpha"]), None).clearance) == "lu:unclassified"


@pytest.mark.parametrize("minimum", LEVELS)
@pytest.mark.parametrize("acr", ["1", "2", "3", "4", None, 3, ["3"]])
def test_a_minimum_is_met_by_its_level_and_those_above(minimum: str, acr: Any) -> None:
    needed = LEVELS.index(minimum) + 1
    asked = rules(minimum=minimum)
    if isinstance(acr, str) and acr.isdecimal() and needed <= int(acr) <= 3:
        assert asked.of(claims(), acr).assurance == LEVELS[int(acr) - 1]
    else:
        with pytest.raises(Unassured):
            asked.of(claims(), acr)
    assert asked.acr_values == tuple("123"[needed - 1 :])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from([*ROLES]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["roles", "x"]), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(["name", "org", "access", "groups"]), ANYTHING),
    ANYTHING,
)
def test_claims_of_any_shape_give_what_a_rule_gives_or_are_refused(
    odd: dict[str, Any], acr: Any
) -> None:
    try:
        found = rules().of(claims() | odd, acr)
    except Refused:
        return
    assert found.roles <= {"user", "admin"}
    assert found.tenant == "tax"
    assert POLICY.parse("secret/alpha").dominates(found.clearance)
    assert found.assurance in (None, *LEVELS)
