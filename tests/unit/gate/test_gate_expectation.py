from __future__ import annotations

from importlib import resources

import pytest

from casemate.errors import Invalid
from casemate.gate.country import Country
from casemate.gate.expectation import differences, expectations
from casemate.gate.policy import PolicySet

LU = Country.load("lu")
SHIPPED = PolicySet.parse(
    {
        file.name: file.read_bytes()
        for file in resources.files("casemate.gate.policies").iterdir()
        if file.name.endswith(".cedar")
    }
)
FILE = b"""
[[expect]]
name = "Users ask under approved use cases"
decision = "allow"
deciding = ["users-ask"]
action = "ask"
principal = { roles = ["user"] }
resource = { kind = "use_case" }

[[expect]]
name = "Nobody asks under a draft"
decision = "refuse"
deciding = ["use-case-must-be-approved"]
action = "ask"
approved = false
principal = { roles = ["user", "admin", "owner"] }
resource = { kind = "use_case" }

[[expect]]
name = "Auditors read no collections"
decision = "refuse"
deciding = []
action = "read"
principal = { roles = ["auditor"] }
resource = { kind = "collection" }

[[expect]]
name = "Nobody reads above their clearance"
decision = "refuse"
action = "read"
principal = { roles = ["user"], clearance = "restricted" }
resource = { kind = "collection", label = "secret" }

[[expect]]
name = "Readers read what is kept for them"
decision = "allow"
action = "read"
principal = { id = "anna", roles = ["user"], clearance = "secret" }
resource = { kind = "collection", label = "secret", readers = ["anna"] }

[[expect]]
name = "Another organisation's is not ours"
decision = "refuse"
action = "administer"
principal = { roles = ["owner"] }
resource = { kind = "model", tenant = "army" }

[[expect]]
name = "A bound key adds nothing"
decision = "refuse"
action = "add"
bound = true
principal = { roles = ["owner"], kind = "service" }
resource = { kind = "collection" }

[[expect]]
name = "Who is disabled sees nothing"
decision = "refuse"
action = "read"
principal = { roles = ["owner", "user"], disabled = true }
resource = { kind = "installation" }
"""


def test_the_shipped_policies_decide_as_is_expected_of_them() -> None:
    wanted = expectations(FILE)
    assert len(wanted) == 8
    assert list(differences(SHIPPED, wanted, LU)) == []


def test_each_difference_is_named_with_what_was_said_instead() -> None:
    everything = PolicySet.parse({"a.cedar": b'@id("all") permit (principal, action, resource);'})
    found = {one.name: one.what for one in differences(everything, expectations(FILE), LU)}
    assert found == {
        "Users ask under approved use cases": "allow as expected, but by all and not by users-ask",
        "Auditors read no collections": "expected refuse, but it is allow, by all",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expect"),
        (b"expect = []", "expects nothing"),
        (b"\xff", r"expected\.toml"),
        (b"[[expect]]", "name"),
        (FILE.replace(b'"ask"', b'"fly"'), "no known action"),
        (FILE.replace(b'"allow"', b'"maybe"'), r"expect\[\.\.\.\]\.decision|decision"),
        (FILE + b"\ncolour = 1\n", "colour"),
        (FILE.replace(b"roles =", b"role ="), "role"),
        (FILE.replace(b'"use_case"', b'"moon"'), "kind"),
    ],
)
def test_what_is_no_regression_file_is_refused_by_name(content: bytes, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        expectations(content)


def test_a_label_that_is_none_is_refused() -> None:
    wanted = expectations(FILE.replace(b'label = "secret"', b'label = "cosmic"'))
    with pytest.raises(Invalid, match="cosmic"):
        list(differences(SHIPPED, wanted, LU))
