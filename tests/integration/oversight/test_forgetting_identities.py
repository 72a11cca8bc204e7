"""Forgetting a person leaves nothing by which a provider or a certificate would find them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from house_builders import House

from casemate.errors import Unauthenticated
from casemate.gate.federation import Assertion
from casemate.store.tables import certificates, federated


def said(house: House, name: str = "claire") -> Assertion:
    return Assertion(
        provider="ministry",
        issuer="https://login.example.lu",
        subject="248289761001",
        name=name,
        tenant="home",
        roles=frozenset({"user"}),
        clearance=house.label("unclassified"),
    )


def test_who_was_forgotten_comes_back_as_somebody_new(house: House) -> None:
    gate = house.installation.gate
    session = gate.federation.sign_in(said(house))
    before = gate.sessions.caller(session).principal
    house.installation.forgetting.forget(house.owner, "claire", basis="gdpr-17-1-a")
    with pytest.raises(Unauthenticated):
        gate.sessions.caller(session)
    with house.installation.database.read() as connection:
        assert connection.execute(sa.select(federated)).all() == []
    after = gate.sessions.caller(gate.federation.sign_in(said(house))).principal
    assert after.id != before.id
    assert after.pseudonym != before.pseudonym


def test_a_service_that_was_forgotten_has_no_certificate(house: House) -> None:
    gate = house.installation.gate
    house.person("robot", kind="service")
    gate.certificates.bind(house.owner, "robot", "thumbprint", "ab" * 32)
    house.installation.forgetting.forget(house.owner, "robot", basis="gdpr-17-1-a")
    with house.installation.database.read() as connection:
        assert connection.execute(sa.select(certificates)).all() == []
