"""What knows people keeps to one of three shapes; mypy holds that, as the assignments here say."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from casemate.gate import identity
from casemate.gate.certificate import Certificates, Presented
from casemate.gate.directory import Directory
from casemate.gate.key import Keys
from casemate.gate.local_account import LocalAccounts
from casemate.gate.oidc.sign_ins import SignIns
from casemate.gate.saml.sign_ins import SamlSignIns
from casemate.gate.session import Sessions

if TYPE_CHECKING:

    def _known(
        keys: Keys, sessions: Sessions, certificates: Certificates, local: LocalAccounts,
        directory: Directory, oidc: SignIns, saml: SamlSignIns,
    ) -> None:  # fmt: skip
        carried: list[identity.Identity[str]] = [keys, sessions]
        shown: identity.Identity[Presented] = certificates
        typed: list[identity.Accounts] = [local, directory]
        vouching: list[identity.Vouching] = [oidc, saml]
        del carried, shown, typed, vouching


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
