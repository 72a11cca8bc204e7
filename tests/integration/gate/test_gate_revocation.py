"""Client certificates that their authority has taken back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from certificate_builders import Pair, a_certificate, a_list, an_authority
from gate_builders import Watch, World, a_world

from casemate.errors import Invalid, Unauthenticated
from casemate.gate.certificate import Presented, thumbprint_of

NOW = Watch().moment
ROOT = an_authority("Specimen Root", NOW)
MIDDLE = an_authority("Specimen Middle", NOW, ROOT)


@dataclass
class Office:
    """A world that asks for lists, and the file in which they lie."""

    world: World
    file: Path
    changes: int = field(default=0)

    def publish(self, *lists: bytes) -> None:
        self.file.write_bytes(b"".join(lists))
        self.changes += 1  # so that a change within one tick of the disk's clock shows, too
        os.utime(self.file, ns=(self.changes, self.changes))

    def comes(self, *pairs: Pair, by: Any = "proxy") -> str:
        shown = Presented.parse([pair.der for pair in pairs], by)
        return str(self.world.gate.certificates.caller(shown).principal.name)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    ca, crl = tmp_path / "clients.pem", tmp_path / "clients.crl"
    ca.write_bytes(ROOT.pem)
    crl.write_bytes(a_list(ROOT, NOW))
    with a_world(tmp_path, tls_client_ca=str(ca), tls_client_crl=str(crl)) as world:
        world.person("robot", kind="service")
        world.gate.certificates.bind(world.owner, "robot", "dns", "robot.example")
        yield Office(world, crl)


def test_a_certificate_that_was_revoked_opens_nothing_from_then_on(office: Office) -> None:
    mine, other = a_certificate(ROOT, NOW), a_certificate(ROOT, NOW)
    assert office.comes(mine) == "robot"
    office.publish(a_list(ROOT, NOW, mine))
    for by in ("proxy", "tls"):
        with pytest.raises(Unauthenticated, match="was revoked"):
            office.comes(mine, by=by)
        assert office.comes(other, by=by) == "robot"
    read = [one for one in office.world.ledger.entries if one["kind"] == "certificate.lists_read"]
    assert [one["number"] for one in read] == [1, 1]
    assert read[0]["lists"] != read[1]["lists"]


def test_a_binding_by_thumbprint_is_no_way_around(office: Office) -> None:
    mine = a_certificate(ROOT, NOW, names=())
    print_ = thumbprint_of(mine.certificate)
    office.world.gate.certificates.bind(office.world.owner, "robot", "thumbprint", print_)
    assert office.comes(mine) == "robot"
    office.publish(a_list(ROOT, NOW, mine))
    with pytest.raises(Unauthenticated, match="was revoked"):
        office.comes(mine)


FORGER = an_authority("Specimen Root", NOW)
USELESS = {
    "out of date since 2026-03-02": a_list(ROOT, NOW, days=0, since=-7),
    "from the future": a_list(ROOT, NOW, since=1),
    "not signed by its issuer": a_list(ROOT, NOW, key=FORGER.key),
    "partial or indirect": a_list(ROOT, NOW, partial=True),
    "there is none": a_list(MIDDLE, NOW),
}


@pytest.mark.parametrize("why", USELESS)
def test_a_list_that_says_nothing_refuses_with_what_to_do(office: Office, why: str) -> None:
    office.publish(USELESS[why])
    with pytest.raises(Unauthenticated, match=why) as caught:
        office.comes(a_certificate(ROOT, NOW))
    assert "tls_client_crl" in caught.value.next


def test_time_alone_ends_a_list(office: Office) -> None:
    mine = a_certificate(ROOT, NOW)
    office.world.watch.pass_by(days=6)
    assert office.comes(mine)
    office.world.watch.pass_by(days=1)
    with pytest.raises(Unauthenticated, match="out of date"):
        office.comes(mine)
    office.publish(a_list(ROOT, office.world.watch.moment))
    assert office.comes(mine)


def test_of_two_lists_of_one_authority_the_newer_counts(office: Office) -> None:
    mine = a_certificate(ROOT, NOW)
    office.publish(a_list(ROOT, NOW, mine), a_list(ROOT, NOW, since=-1))
    with pytest.raises(Unauthenticated, match="was revoked"):
        office.comes(mine)
    office.publish(a_list(ROOT, NOW), a_list(ROOT, NOW, mine, since=-1))
    assert office.comes(mine)


def test_every_authority_on_the_way_up_is_asked(office: Office) -> None:
    mine = a_certificate(MIDDLE, NOW)
    with pytest.raises(Unauthenticated, match="there is none"):
        office.comes(mine, MIDDLE)
    office.publish(a_list(ROOT, NOW), a_list(MIDDLE, NOW))
    assert office.comes(mine, MIDDLE) == "robot"
    office.publish(a_list(ROOT, NOW, MIDDLE), a_list(MIDDLE, NOW))
    with pytest.raises(Unauthenticated, match="was revoked"):
        office.comes(mine, MIDDLE)


@pytest.mark.parametrize("broken", [b"", b"nothing", a_list(ROOT, NOW)[:-40]])
def test_a_file_that_breaks_leaves_the_lists_of_before(office: Office, broken: bytes) -> None:
    mine, other = a_certificate(ROOT, NOW), a_certificate(ROOT, NOW)
    office.publish(a_list(ROOT, NOW, mine))
    with pytest.raises(Unauthenticated, match="was revoked"):
        office.comes(mine)
    office.publish(broken)
    with pytest.raises(Unauthenticated, match="was revoked"):
        office.comes(mine)
    assert office.comes(other) == "robot"
    with pytest.raises(Invalid, match=r"clients\.crl"):
        office.world.gate.certificates.lists(office.world.owner)


def test_what_no_authority_here_issued_is_a_matter_of_its_binding(office: Office) -> None:
    mine = a_certificate(None, NOW)
    print_ = thumbprint_of(mine.certificate)
    office.world.gate.certificates.bind(office.world.owner, "robot", "thumbprint", print_)
    assert office.comes(mine) == "robot"


def test_whoever_keeps_the_lists_sees_how_each_is(office: Office) -> None:
    mine = a_certificate(ROOT, NOW)
    office.publish(a_list(ROOT, NOW, mine), a_list(FORGER, NOW, days=-1, since=-7))
    good, bad = office.world.gate.certificates.lists(office.world.owner)
    assert (good.issuer, good.revoked, good.usable) == (
        "CN=Specimen Root,O=Specimens,C=LU",
        1,
        "yes",
    )
    assert good.until == "2026-03-09T09:00:00Z"
    assert bad.usable == "it is not signed by its issuer"


def test_a_file_without_lists_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "clients.pem").write_bytes(ROOT.pem)
    (tmp_path / "clients.crl").write_text("nothing")
    settings = {"tls_client_ca": "clients.pem", "tls_client_crl": "clients.crl"}
    absolute = {name: str(tmp_path / file) for name, file in settings.items()}
    with pytest.raises(Invalid, match=r"clients\.crl"), a_world(tmp_path, **absolute):
        pass
