"""What groups give: more groups never take a role away, and nothing is given that no rule names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid
from casemate.gate.country import Country
from casemate.gate.mapping import GIVEN, Grant, GroupGrant, Mapping, folded

LU = Country.load("lu")
NAMES = ("Registry", "AUDIT", "cn=x,ou=y", "Straße")
CLEARANCES = ("", "lu:unclassified", "lu:restricted/alpha", "lu:secret", "lu:secret//rel=LU")

rules = st.lists(
    st.builds(
        GroupGrant,
        name=st.sampled_from(NAMES),
        roles=st.lists(st.sampled_from(sorted(GIVEN)), max_size=2),
        clearance=st.sampled_from(CLEARANCES),
        tenant=st.sampled_from(["", "home", "elsewhere"]),
    ),
    max_size=6,
)
groups = st.frozensets(st.sampled_from(NAMES))


@given(rules, groups, groups)
def test_more_groups_give_more_roles_and_no_lower_clearance(
    said: list[GroupGrant], some: frozenset[str], more: frozenset[str]
) -> None:
    mapping = Mapping(said, None, LU)
    few, many = mapping.granted(some, "home"), mapping.granted(some | more, "home")
    assert few.roles <= many.roles
    if few.clearance is not None and many.clearance is not None:
        assert LU.policy.rank(few.clearance.level) <= LU.policy.rank(many.clearance.level)
        assert few.clearance.compartments <= many.clearance.compartments


@given(rules, groups)
def test_what_is_given_is_what_rules_of_ones_own_groups_and_tenant_say(
    said: list[GroupGrant], own: frozenset[str]
) -> None:
    granted = Mapping(said, None, LU).granted(own, "home")
    mine = {folded(name) for name in own}
    fitting = [one for one in said if folded(one.name) in mine and one.tenant in ("", "home")]
    assert granted.roles == {role for one in fitting for role in one.roles}
    assert (granted.clearance is None) == (not any(one.clearance for one in fitting))


def test_names_of_groups_know_no_case_and_no_space_around_them() -> None:
    mapping = Mapping([GroupGrant("Straße", ["user"], "lu:unclassified")], None, LU)
    assert mapping.granted([" STRASSE "], "home").roles == {"user"}


def test_nobody_has_anything_by_silence() -> None:
    granted = Mapping([], None, LU).granted(["Registry"], "home")
    assert (granted.roles, granted.clearance) == (frozenset(), None)
    everybody = Mapping([], Grant(["user"], "lu:unclassified"), LU).granted([], "home")
    assert everybody.roles == {"user"}


@pytest.mark.parametrize("role", ["owner", "provisioner", "king", ""])
def test_no_directory_makes_an_owner(role: str) -> None:
    with pytest.raises(Invalid, match=r"directory\.toml"):
        Mapping([GroupGrant("x", [role])], None, LU)
