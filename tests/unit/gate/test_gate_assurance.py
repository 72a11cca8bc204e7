"""What policies can demand of how somebody signed in, by the example that is shipped."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from casemate.gate.caller import Strength
from casemate.gate.country import Country
from casemate.gate.expectation import differences, expectations
from casemate.gate.policy import PolicySet, Resource
from casemate.gate.principal import Principal
from casemate.gate.right import judged

COUNTRY = Country.load("lu")
FOLDER = resources.files("casemate.gate.policies")
SHIPPED = {one.name: one.read_bytes() for one in FOLDER.iterdir() if one.name.endswith(".cedar")}
EXAMPLE = SHIPPED["assurance.cedar"].decode()
WANTED = re.sub(r"(?m)^// (?=@|forbid|when|unless)", "", EXAMPLE).encode()
DEMANDING = PolicySet.parse(SHIPPED | {"assurance.cedar": WANTED})
TWO, SUBSTANTIAL = Strength("session", None, True), Strength("session", "substantial")
ONE, LOW, KEY = Strength("session"), Strength("session", "low"), Strength("key")
LOCAL, HIGH = Strength("local"), Strength("session", "high")


def allowed(policies: PolicySet, action: str, strength: Strength, kind: str = "person") -> bool:
    lowest = COUNTRY.policy.lowest()
    who = Principal("u1", "t1", "Anne", kind, frozenset({"admin", "user"}), lowest, "p1")
    what = Resource("UseCase", "fees", "t1")
    return judged(policies, who, action, what, [lowest], strength=strength).allowed


@pytest.mark.parametrize("strength", [ONE, LOW, TWO, SUBSTANTIAL, HIGH, KEY, LOCAL])
def test_as_it_is_shipped_nothing_is_demanded(strength: Strength) -> None:
    policies = PolicySet.parse(SHIPPED)
    assert allowed(policies, "ask", strength)
    assert allowed(policies, "administer", strength)
    assert not [id for id in policies.policies if id in EXAMPLE]


@pytest.mark.parametrize(
    ("strength", "administers", "asks"),
    [
        (ONE, False, False), (LOW, False, False), (TWO, True, False), (SUBSTANTIAL, True, True),
        (HIGH, True, True), (KEY, True, False), (LOCAL, True, True),
    ],
)  # fmt: skip
def test_without_the_slashes_it_demands_what_it_says(
    strength: Strength, administers: bool, asks: bool
) -> None:
    assert allowed(DEMANDING, "administer", strength) is administers
    assert allowed(DEMANDING, "ask", strength) is asks


def test_services_are_not_people() -> None:
    assert allowed(DEMANDING, "ask", KEY, kind="service")


def test_an_expectation_names_how_somebody_came_in() -> None:
    wanted = """
    [[expect]]
    name = "One factor administers nothing"
    decision = "refuse"
    deciding = ["administration-needs-two-factors"]
    action = "administer"
    principal = {{ roles = ["admin"] }}
    resource = {{ kind = "installation" }}
    {}
    """
    for more, fits in (("", True), ("second_factor = true", False), ('via = "key"', False)):
        found = list(differences(DEMANDING, expectations(wanted.format(more).encode()), COUNTRY))
        assert (not found) is fits
