"""Signing in with a directory: a real slapd decides, and what it says is not taken on trust."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ldap3
import pytest
from gate_builders import PASSWORD, World, a_world
from slapd import BASE, SEARCHER, SEARCHING, Slapd, a_group, a_person, a_slapd

from casemate.errors import CasemateError, Invalid, NotFound, Refused, Unauthenticated, Unavailable
from casemate.gate.admission import LDAP_PASSWORD
from casemate.gate.directory import Refreshed
from casemate.store.tables import provisioned

RIGHT = "the right one for {}"
PEOPLE = "ou=people"
ENTRIES = (
    *(
        a_person(uid, RIGHT.format(uid), o="Example", employeeType="SECRET")
        for uid in ("anna", "bob", "kim")
    ),
    a_person("eve", RIGHT.format("eve"), o="Example"),
    a_person("far", RIGHT.format("far"), o="Unknown", employeeType="SECRET"),
    a_person("odd", RIGHT.format("odd"), o="Example", employeeType="COSMIC"),
    a_person("twin", RIGHT.format("twin")),
    a_person("twin", RIGHT.format("twin"), unit="more"),
    a_group("Registry", f"uid=anna,{PEOPLE}"),
    a_group("Inner", f"uid=bob,{PEOPLE}", f"uid=eve,{PEOPLE}", f"uid=far,{PEOPLE}"),
    a_group("Odd", f"uid=odd,{PEOPLE}"),
    # Staff holds Inner and itself, by way of Loop.
    a_group("Staff", "cn=Inner,ou=groups", "cn=Loop,ou=groups"),
    a_group("Loop", "cn=Staff,ou=groups", "cn=Loop,ou=groups"),
    *(
        a_group(f"Deep {depth}", f"cn=Deep {depth - 1},ou=groups" if depth else f"uid=kim,{PEOPLE}")
        for depth in range(8)
    ),
)
RULES = f"""
[[group]]
name = "registry"
roles = ["user"]
clearance = "lu:restricted"

[[group]]
name = "cn=Staff,ou=groups,{BASE}"
roles = ["auditor"]
clearance = "lu:unclassified"

[[group]]
name = "Odd"
roles = ["user"]

[[group]]
name = "Deep 7"
roles = ["admin"]
clearance = "lu:secret"
"""


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    with a_slapd(tmp_path_factory.mktemp("slapd"), *ENTRIES) as running:
        yield running


def said(slapd: Slapd, **more: object) -> str:
    """A directory.toml for this server."""
    values: dict[str, object] = {
        "servers": [f"ldaps://127.0.0.1:{slapd.tls_port}"],
        "ca": str(slapd.ca),
        "bind_dn": SEARCHER,
        "base": BASE,
        "filter": "(&(objectClass=person)(uid={name}))",
        "group_base": f"ou=groups,{BASE}",
        "group_filter": "(&(objectClass=groupOfNames)(member={dn}))",
        "tenant": "home",
        "seconds": 10,
    }
    values |= more
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
    return RULES + "\n[ldap]\n" + "\n".join(lines).replace(": ", " = ") + "\n"


@contextmanager
def a_ministry(folder: Path, slapd: Slapd, declare: bool = True, **more: object) -> Iterator[World]:
    with a_world(folder, said(slapd, **more)) as world:
        if declare:
            world.gate.perimeter.add(
                world.owner,
                name="directory",
                host="127.0.0.1",
                ports=(slapd.port, slapd.tls_port),
                jurisdiction="LU",
                ceiling=world.label("unclassified"),
            )
        yield world


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LDAP_PASSWORD, SEARCHING)


@pytest.fixture
def world(tmp_path: Path, slapd: Slapd) -> Iterator[World]:
    with a_ministry(tmp_path, slapd) as made:
        yield made


def enter(world: World, name: str, password: str | None = None) -> str:
    return world.gate.sessions.sign_in(name, RIGHT.format(name) if password is None else password)


def shut_out(world: World, name: str, password: str | None = None) -> str:
    with pytest.raises(Unauthenticated) as caught:
        enter(world, name, password)
    return str(caught.value)


def test_who_gives_the_right_password_becomes_a_principal_with_what_the_groups_give(
    world: World,
) -> None:
    caller = world.gate.sessions.caller(enter(world, "anna"))
    anna = caller.principal
    assert (anna.name, anna.kind, anna.roles) == ("anna", "person", {"user"})
    assert str(anna.clearance) == "lu:restricted"
    assert world.gate.sessions.caller(enter(world, "anna")).principal == anna
    kinds = world.ledger.kinds()
    assert kinds.count("principal.created") == 2
    assert world.ledger.entries[-1]["by"] == "directory"
    assert "anna" not in json.dumps(world.ledger.entries)


def test_names_are_the_directorys_and_not_what_was_typed(world: World) -> None:
    first = world.gate.sessions.caller(enter(world, "ANNA", RIGHT.format("anna"))).principal
    assert first.name == "anna"
    assert world.gate.sessions.caller(enter(world, "anna")).principal.id == first.id


def test_groups_within_groups_count_and_circles_end(world: World) -> None:
    bob = world.gate.sessions.caller(enter(world, "bob")).principal
    assert bob.roles == {"auditor"}


def test_groups_deeper_than_the_bound_do_not_count(tmp_path: Path, slapd: Slapd) -> None:
    with a_ministry(tmp_path / "a", slapd) as world:
        shut_out(world, "kim")
        assert world.ledger.entries[-1]["why"] == "no-right"
    with a_ministry(tmp_path / "b", slapd, nesting=8) as world:
        assert world.gate.sessions.caller(enter(world, "kim")).principal.roles == {"admin"}


def test_a_wrong_password_an_unknown_name_and_a_name_twice_get_one_answer(world: World) -> None:
    answers = {
        shut_out(world, "anna", "wrong"),
        shut_out(world, "nobody"),
        shut_out(world, "twin"),
        shut_out(world, "kim"),
        shut_out(world, "anna", ""),
        shut_out(world, "anna", "\x00"),
        shut_out(world, "", "x"),
        shut_out(world, "\ud800", "x"),
        shut_out(world, "x" * 300, "x"),
        shut_out(world, "anna", "x" * 600),
    }
    assert len(answers) == 1


@pytest.mark.parametrize(
    "name",
    ["*", "ann*", "anna)(uid=*", "*)(uid=anna))(|(uid=*", "anna\\2a", "an\x00na", "(", "\\", "|&"],
)
def test_a_name_that_would_be_a_filter_finds_nobody(world: World, name: str) -> None:
    shut_out(world, name, RIGHT.format("anna"))


def test_an_empty_password_never_reaches_the_directory(tmp_path: Path, slapd: Slapd) -> None:
    with a_ministry(tmp_path, slapd, declare=False) as world:
        directory = world.gate.sessions.directory
        assert directory is not None
        # Were it asked, the perimeter would refuse.
        assert directory.enter("anna", "") is None
        with pytest.raises(Refused, match="outside the perimeter"):
            directory.enter("anna", "x")


def test_who_was_made_here_is_not_taken_over(world: World) -> None:
    world.person("anna")
    shut_out(world, "anna")
    world.gate.principals.set_password(world.owner, "anna", PASSWORD)
    assert enter(world, "anna", PASSWORD)


def test_who_is_disabled_here_does_not_come_in(world: World) -> None:
    session = enter(world, "anna")
    world.gate.principals.disable(world.owner, "anna")
    with pytest.raises(Unauthenticated):
        world.gate.sessions.caller(session)
    shut_out(world, "anna")


def test_rights_are_those_of_the_last_sign_in(world: World) -> None:
    enter(world, "anna")
    world.gate.principals.change(
        world.owner, "anna", roles=("admin",), clearance=world.label("secret")
    )
    anna = world.gate.sessions.caller(enter(world, "anna")).principal
    assert (anna.roles, str(anna.clearance)) == ({"user"}, "lu:restricted")


def test_a_name_that_somebody_else_has_now_opens_nothing_of_who_had_it(world: World) -> None:
    enter(world, "anna")
    with world.database.write() as connection:
        kept = json.dumps({"unique": "00"})
        connection.execute(provisioned.update().values(attributes=kept))
    shut_out(world, "anna")
    assert world.ledger.entries[-1]["why"] == "another-person"


def test_asking_again_takes_rights_from_who_left_and_gives_them_back(
    tmp_path: Path,
) -> None:
    members = [f"uid={name},{PEOPLE}" for name in ("anna", "lou")]
    (tmp_path / "slapd").mkdir()
    with (
        a_slapd(
            tmp_path / "slapd",
            a_person("anna", RIGHT.format("anna")),
            a_person("lou", RIGHT.format("lou")),
            a_group("Registry", *members),
        ) as slapd,
        a_ministry(tmp_path / "world", slapd) as world,
    ):
        refresh = world.gate.refresh_directory
        assert refresh(world.owner) == Refreshed(0, 0, 0)
        anna, lou = enter(world, "anna"), enter(world, "lou")
        _, key = world.gate.keys.create(world.owner, "lou")
        assert refresh(world.owner) == Refreshed(2, 0, 0)
        registry = f"cn=Registry,ou=groups,{BASE}"
        left = {"member": [(ldap3.MODIFY_DELETE, [f"{members[1]},{BASE}"])]}
        back = {"member": [(ldap3.MODIFY_ADD, [f"{members[1]},{BASE}"])]}
        with slapd.changed() as directory:
            directory.modify(registry, left)
        assert refresh(world.owner) == Refreshed(2, 1, 1)
        assert world.gate.sessions.caller(anna).principal.roles == {"user"}
        with pytest.raises(Unauthenticated):
            world.gate.sessions.caller(lou)
        with pytest.raises(Refused):
            world.gate.admit(world.gate.keys.caller(key), use_case=None)
        with slapd.changed() as directory:
            directory.modify(registry, back)
            directory.delete(f"{members[0]},{BASE}")
        assert refresh() == Refreshed(2, 2, 1)
        assert world.gate.admit(world.gate.keys.caller(key), use_case=None)
        with pytest.raises(Unauthenticated):
            world.gate.sessions.caller(anna)
        changes = [one for one in world.ledger.entries if one["kind"] == "principal.changed"]
        assert [one["by"] for one in changes] == ["ldap"] * 3


def test_a_directory_that_is_silent_takes_nothing_from_anybody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = enter(world, "anna")
    world.gate.perimeter.remove(world.owner, "directory")
    with pytest.raises(CasemateError):
        world.gate.refresh_directory(world.owner)
    assert world.gate.sessions.caller(session).principal.roles == {"user"}


def test_only_who_administers_asks_again(world: World) -> None:
    with pytest.raises(Refused):
        world.gate.refresh_directory(world.person("Eve"))


def test_clearance_and_tenant_come_from_attributes_where_that_is_said(
    tmp_path: Path, slapd: Slapd
) -> None:
    more = {
        "tenant": None,
        "tenant_attribute": "o",
        "tenants": {"Example": "home"},
        "clearance_attribute": "employeeType",
        "clearances": {"secret": "lu:secret"},
    }
    with a_ministry(tmp_path, slapd, **more) as world:
        bob = world.gate.sessions.caller(enter(world, "bob")).principal
        assert str(bob.clearance) == "lu:secret"
        for name, why in (("eve", "no-right"), ("odd", "no-right"), ("far", "no-tenant")):
            shut_out(world, name)
            assert world.ledger.entries[-1]["why"] == why
            with pytest.raises(NotFound):
                world.gate.principals.named(name)


def test_a_role_without_a_clearance_lets_nobody_in(world: World) -> None:
    shut_out(world, "odd")


def test_start_tls_protects_a_server_that_begins_without(tmp_path: Path, slapd: Slapd) -> None:
    with a_ministry(tmp_path, slapd, servers=[f"ldap://127.0.0.1:{slapd.port}"]) as world:
        assert enter(world, "anna")


def test_without_tls_only_this_machine_is_asked_and_only_if_it_is_said(
    tmp_path: Path, slapd: Slapd
) -> None:
    bare = {"servers": [f"ldap://127.0.0.1:{slapd.port}"], "unprotected": "loopback", "ca": None}
    with a_ministry(tmp_path, slapd, **bare) as world:
        assert enter(world, "anna")


@pytest.mark.parametrize("scheme", ["ldap", "ldaps"])
def test_a_certificate_of_an_unknown_authority_or_for_another_name_is_refused(
    tmp_path: Path, slapd: Slapd, scheme: str
) -> None:
    port = slapd.port if scheme == "ldap" else slapd.tls_port
    with (
        a_ministry(tmp_path / "a", slapd, servers=[f"{scheme}://127.0.0.1:{port}"], ca=None) as one,
        pytest.raises(Unavailable),
    ):
        enter(one, "anna")
    with a_ministry(tmp_path / "b", slapd, servers=[f"{scheme}://localhost:{port}"]) as other:
        other.gate.perimeter.add(
            other.owner,
            name="by-name",
            host="localhost",
            ports=(port,),
            jurisdiction="LU",
            ceiling=other.label("unclassified"),
        )
        with pytest.raises(Unavailable):
            enter(other, "anna")


def test_the_next_server_is_asked_when_one_is_silent(tmp_path: Path, slapd: Slapd) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing
    with silent:
        port = silent.getsockname()[1]
        servers = [f"ldaps://127.0.0.1:{port}", f"ldaps://127.0.0.1:{slapd.tls_port}"]
        with a_ministry(tmp_path, slapd, servers=servers, seconds=1) as world:
            world.gate.perimeter.add(
                world.owner,
                name="silent",
                host="127.0.0.1",
                ports=(port,),
                jurisdiction="LU",
                ceiling=world.label("unclassified"),
            )
            assert enter(world, "anna")


def test_an_answer_that_is_none_is_no_right(tmp_path: Path, slapd: Slapd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nonsense:
        port = nonsense.getsockname()[1]

        def talk() -> None:
            while True:
                try:
                    peer, _ = nonsense.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(1024)
                    peer.sendall(b"\x30\x84\xff\xff\xff\xff" + b"A" * 64)

        threading.Thread(target=talk, daemon=True).start()
        more = {"servers": [f"ldap://127.0.0.1:{port}"], "unprotected": "loopback", "seconds": 1}
        with a_ministry(tmp_path, slapd, **more) as world:
            world.gate.perimeter.add(
                world.owner,
                name="nonsense",
                host="127.0.0.1",
                ports=(port,),
                jurisdiction="LU",
                ceiling=world.label("unclassified"),
            )
            with pytest.raises(Unavailable):
                enter(world, "anna")
        nonsense.shutdown(socket.SHUT_RDWR)


def test_a_search_account_with_a_wrong_password_opens_nothing(
    tmp_path: Path, slapd: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LDAP_PASSWORD, "wrong")
    with a_ministry(tmp_path, slapd) as world, pytest.raises(Unavailable):
        enter(world, "anna")


def test_a_directory_that_is_silent_keeps_nobody_out_who_has_a_password_here(
    tmp_path: Path, slapd: Slapd
) -> None:
    with a_ministry(tmp_path, slapd, servers=["ldaps://127.0.0.1:1"]) as world:
        world.gate.perimeter.add(
            world.owner,
            name="silent",
            host="127.0.0.1",
            ports=(1,),
            jurisdiction="LU",
            ceiling=world.label("unclassified"),
        )
        world.person("Kim")
        world.gate.principals.set_password(world.owner, "Kim", PASSWORD)
        assert enter(world, "Kim", PASSWORD)
        for name in ("Kim", "anna"):
            with pytest.raises(Unavailable):
                enter(world, name, "wrong")


@pytest.mark.parametrize(
    "more",
    [
        {"servers": []},
        {"servers": ["http://127.0.0.1"]},
        {"servers": ["ldaps://user@host"]},
        {"servers": ["ldaps://host/dc=x"]},
        {"servers": ["ldaps://host:0x1"]},
        {"filter": "(uid=*)"},
        {"filter": "(uid={name}"},
        {"filter": "(|(uid={name})(cn={name}))"},
        {"group_filter": "(member=*)"},
        {"group_base": None},
        {"unprotected": "yes"},
        {"seconds": 0},
        {"nesting": 21},
        {"tenant": None},
        {"tenant_attribute": "o", "tenants": {"x": "y"}},
        {"clearance_attribute": "employeeType"},
        {"clearance_attribute": "employeeType", "clearances": {"x": "lu:king"}},
        {"member_of": "member of"},
        {"unique": ""},
        {"bind_dn": None},
        {"ca": "/nowhere/ca.pem"},
    ],
)
def test_a_setting_that_is_wrong_is_refused_by_name(
    tmp_path: Path, slapd: Slapd, more: dict[str, object]
) -> None:
    with pytest.raises(Invalid, match=r"directory\.toml"), a_ministry(tmp_path, slapd, **more):
        pass


def test_errors_of_a_directory_hold_no_password_and_no_dn(
    tmp_path: Path, slapd: Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LDAP_PASSWORD, "a secret that is wrong")
    with a_ministry(tmp_path, slapd) as world, pytest.raises(CasemateError) as caught:
        enter(world, "anna")
    for secret in ("a secret", SEARCHER, "127.0.0.1", RIGHT.format("anna")):
        assert secret not in str(caught.value)
