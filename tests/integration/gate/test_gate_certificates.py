"""Services that come with a client certificate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificate_builders import SERVER, Pair, a_certificate, an_authority
from cryptography import x509
from gate_builders import Watch, World, a_world

from casemate.errors import Conflict, Invalid, NotFound, Refused, Unauthenticated
from casemate.gate.certificate import Presented, checked_value, thumbprint_of

NOW = Watch().moment
SUBJECT = "CN=robot.example,O=Specimens,C=LU"


@pytest.fixture(scope="module")
def authority() -> Pair:
    return an_authority("Specimen Root", NOW)


@pytest.fixture
def world(tmp_path: Path, authority: Pair) -> Iterator[World]:
    (tmp_path / "clients.pem").write_bytes(authority.pem)
    with a_world(tmp_path, tls_client_ca=str(tmp_path / "clients.pem")) as made:
        made.person("robot", kind="service")
        yield made


def bind(world: World, kind: str, value: str, name: str = "robot", **more: Any) -> str:
    return world.gate.certificates.bind(world.owner, name, kind, value, **more)


def comes(world: World, *pairs: Pair, by: Any = "proxy") -> Any:
    shown = Presented.parse([pair.der for pair in pairs], by)
    return world.gate.certificates.caller(shown)


def test_a_service_bound_to_a_thumbprint_is_known_by_it(world: World, authority: Pair) -> None:
    mine, other = a_certificate(authority, NOW), a_certificate(authority, NOW)
    bind(world, "thumbprint", thumbprint_of(mine.certificate))
    caller = comes(world, mine)
    assert (caller.principal.name, caller.via, caller.use_case) == ("robot", "certificate", None)
    with pytest.raises(Unauthenticated, match="nobody's here"):
        comes(world, other)
    assert world.ledger.kinds()[-1] == "certificate.bound"


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("subject", SUBJECT, None),
        ("dns", "ROBOT.example", x509.DNSName("robot.example")),
        ("uri", "spiffe://specimens.example/robot",
         x509.UniformResourceIdentifier("spiffe://specimens.example/robot")),
        ("email", "robot@specimens.example", x509.RFC822Name("robot@specimens.example")),
    ],
)  # fmt: skip
def test_a_service_bound_to_a_name_is_known_by_every_certificate_with_it(
    world: World, authority: Pair, kind: str, value: str, name: x509.GeneralName | None
) -> None:
    names = (name,) if name is not None else (x509.DNSName("any.example"),)
    bind(world, kind, value)
    for _ in range(2):
        assert comes(world, a_certificate(authority, NOW, names=names)).principal.name == "robot"
    other = a_certificate(
        authority, NOW, subject="CN=other", names=(x509.DNSName("robot.example.evil.example"),)
    )
    with pytest.raises(Unauthenticated, match="nobody's here"):
        comes(world, other)


def test_an_intermediate_authority_is_followed_to_one_that_is_trusted(
    world: World, authority: Pair
) -> None:
    middle = an_authority("Specimen Middle", NOW, authority)
    mine = a_certificate(middle, NOW)
    bind(world, "dns", "robot.example")
    assert comes(world, mine, middle).principal.name == "robot"
    with pytest.raises(Unauthenticated, match="trusted"):
        comes(world, mine)


def test_a_foreign_certificate_is_refused_by_name(world: World, authority: Pair) -> None:
    bind(world, "dns", "robot.example")
    foreign = an_authority("Specimen Root", NOW)  # the same name, another key
    for pairs in (
        (a_certificate(foreign, NOW),),
        (a_certificate(foreign, NOW), foreign),
        (a_certificate(None, NOW),),
        (a_certificate(authority, NOW, purpose=SERVER),),
        (a_certificate(a_certificate(authority, NOW), NOW), a_certificate(authority, NOW)),
    ):
        with pytest.raises(Unauthenticated, match="not issued, for clients, by an authority"):
            comes(world, *pairs)


def test_a_certificate_out_of_its_time_is_refused_by_name(world: World, authority: Pair) -> None:
    mine = a_certificate(authority, NOW, days=30)
    bind(world, "thumbprint", thumbprint_of(mine.certificate))
    assert comes(world, mine)
    world.watch.pass_by(days=30, seconds=1)
    for by in ("proxy", "tls"):
        with pytest.raises(Unauthenticated, match="has expired"):
            comes(world, mine, by=by)
    world.watch.pass_by(days=-60)
    with pytest.raises(Unauthenticated, match="not valid yet"):
        comes(world, mine)


def test_a_thumbprint_needs_no_authority_and_a_name_does(tmp_path: Path) -> None:
    with a_world(tmp_path) as world:
        world.person("robot", kind="service")
        with pytest.raises(Refused, match="authority"):
            bind(world, "dns", "robot.example")
        mine = a_certificate(None, NOW)
        bind(world, "thumbprint", thumbprint_of(mine.certificate))
        assert comes(world, mine).principal.name == "robot"


def test_a_certificate_that_names_two_services_is_neither(world: World, authority: Pair) -> None:
    world.person("other", kind="service")
    bind(world, "dns", "robot.example")
    bind(world, "uri", "urn:other", name="other")
    both = (x509.DNSName("robot.example"), x509.UniformResourceIdentifier("urn:other"))
    with pytest.raises(Unauthenticated, match="more than one"):
        comes(world, a_certificate(authority, NOW, names=both))


def test_a_binding_ends_at_once_and_with_its_service(world: World, authority: Pair) -> None:
    mine = a_certificate(authority, NOW)
    id = bind(world, "dns", "robot.example")
    assert comes(world, mine)
    for _ in range(2):
        world.gate.certificates.unbind(world.owner, id)
    with pytest.raises(Unauthenticated):
        comes(world, mine)
    again = bind(world, "dns", "robot.example")
    assert comes(world, mine)
    world.gate.principals.disable(world.owner, "robot")
    with pytest.raises(Unauthenticated):
        comes(world, mine)
    (newer, older) = sorted(world.gate.certificates.list(world.owner), key=lambda one: one.id == id)
    assert (newer.id, older.id) == (again, id)
    assert newer.revoked is not None
    assert older.revoked is not None


def test_a_binding_may_hold_for_one_use_case(world: World, authority: Pair) -> None:
    world.use_case("letters")
    bind(world, "dns", "robot.example", use_case="letters")
    assert comes(world, a_certificate(authority, NOW)).use_case == "letters"
    with pytest.raises(NotFound, match="use case"):
        bind(world, "dns", "second.example", use_case="none")


def test_who_comes_with_a_certificate_cannot_make_itself_a_key(
    world: World, authority: Pair
) -> None:
    bind(world, "dns", "robot.example")
    with pytest.raises(Refused, match="own holder"):
        world.gate.keys.create(comes(world, a_certificate(authority, NOW)), "robot")


def test_what_may_not_be_bound_is_refused(world: World) -> None:
    world.person("Bob")
    with pytest.raises(Refused, match="services"):
        bind(world, "dns", "bob.example", name="Bob")
    with pytest.raises(NotFound):
        bind(world, "dns", "x.example", name="nobody")
    with pytest.raises(Refused):
        world.gate.certificates.bind(world.caller("Bob"), "robot", "dns", "x.example")
    bind(world, "dns", "robot.example")
    with pytest.raises(Conflict, match="bound already"):
        bind(world, "dns", "Robot.Example")
    with pytest.raises(NotFound):
        world.gate.certificates.unbind(world.owner, "none")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("thumbprint", "ab"),
        ("thumbprint", "g" * 64),
        ("subject", ""),
        ("subject", "robot"),
        ("dns", "*.example"),
        ("dns", ""),
        ("dns", "a b"),
        ("uri", "x" * 256),
        ("serial", "1"),
    ],
)
def test_a_value_that_cannot_stand_in_a_certificate_is_refused(kind: str, value: str) -> None:
    with pytest.raises(Invalid):
        checked_value(kind, value)


def test_a_thumbprint_may_be_written_as_tools_print_it() -> None:
    assert checked_value("thumbprint", ":".join(["AB"] * 32)) == "ab" * 32


@pytest.mark.parametrize("der", [b"", b"x", b"0" * 5000])
def test_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(Unauthenticated, match="cannot be read"):
        Presented.parse([der], "proxy")


def test_authorities_that_cannot_be_read_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "clients.pem").write_text("nothing")
    with (
        pytest.raises(Invalid, match=r"clients\.pem"),
        a_world(tmp_path, tls_client_ca=str(tmp_path / "clients.pem")),
    ):
        pass
