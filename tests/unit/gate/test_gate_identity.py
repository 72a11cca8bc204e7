"""What knows people keeps to one of three shapes; mypy holds their types, in the source."""

from __future__ import annotations

import inspect

import pytest

from casemate.gate import identity
from casemate.gate.certificate import Certificates
from casemate.gate.directory import Directory
from casemate.gate.key import Keys
from casemate.gate.local_account import LocalAccounts
from casemate.gate.oidc.sign_ins import SignIns
from casemate.gate.saml.sign_ins import SamlSignIns
from casemate.gate.session import Sessions


@pytest.mark.parametrize(
    ("kind", "protocol"),
    [
        (Keys, identity.Identity), (Sessions, identity.Identity),
        (Certificates, identity.Identity), (LocalAccounts, identity.Accounts),
        (Directory, identity.Accounts), (SignIns, identity.Vouching),
        (SamlSignIns, identity.Vouching),
    ],
)  # fmt: skip
def test_every_way_of_knowing_people_has_the_shape_of_its_moment(
    kind: type, protocol: type
) -> None:
    wanted = {name for name, member in vars(protocol).items() if inspect.isfunction(member)}
    wanted -= {"__init__", "__subclasshook__", "_no_init_or_replace_init"}
    assert wanted
    for name in wanted:
        asked = list(inspect.signature(getattr(protocol, name)).parameters)
        given = list(inspect.signature(getattr(kind, name)).parameters)
        assert len(given) == len(asked), name
