"""The rules for the kernel: accepted by nft and systemd, and really keeping what they should."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from casemate.gate.country import Country
from casemate.gate.perimeter import Perimeter
from casemate.gate.rules import Opening, nftables, systemd

LU = Country.load("lu")
NAMESPACE = Path(__file__).with_name("ruled_namespace.py")
PLACES = """
[[place]]
name = "rack"
host = "127.1.0.0/16"
ports = [8001, 8002]
jurisdiction = "LU"
ceiling = "lu:restricted"

[[place]]
name = "six"
host = "::1"
ports = [8001]
jurisdiction = "LU"
ceiling = "lu:restricted"

[[place]]
name = "resolver"
host = "127.3.0.53"
ports = [8053]
transports = ["tcp", "udp"]
jurisdiction = "LU"
ceiling = "lu:unclassified"

[[place]]
name = "named"
host = "llm.example.lu"
ports = [443]
jurisdiction = "LU"
ceiling = "lu:restricted"

[[place]]
name = "pinned"
host = "db.example.lu"
within = ["10.2.0.0/24", "2001:db8:2::/48"]
ports = [443]
jurisdiction = "LU"
ceiling = "lu:restricted"

[[place]]
name = "everything"
host = "0.0.0.0/0"
ports = [81]
jurisdiction = "LU"
ceiling = "lu:unclassified"

[[place]]
name = "engine"
host = "/run/docker.sock"
jurisdiction = "LU"
ceiling = "lu:restricted"
"""
TRIES = {
    "a place": ("tcp", "127.1.2.3", 8001),
    "its other port": ("tcp", "127.1.2.3", 8002),
    "a port that is not declared": ("tcp", "127.1.2.3", 8003),
    "an address that is not declared": ("tcp", "127.2.0.1", 8001),
    "this machine": ("tcp", "127.0.0.1", 8001),
    "a place, over IPv6": ("tcp6", "::1", 8001),
    "another port, over IPv6": ("tcp6", "::1", 8002),
    "a datagram to a place": ("udp", "127.3.0.53", 8053),
    "a datagram to a place for TCP": ("udp", "127.1.2.3", 8001),
    "a datagram elsewhere": ("udp", "127.0.0.1", 8053),
    "the metadata of the machine": ("tcp", "169.254.169.254", 81),
}
REACHED = {"a place", "its other port", "a place, over IPv6", "a datagram to a place"}


def the_openings(tmp_path: Path) -> tuple[list[Opening], str]:
    path = tmp_path / "perimeter.toml"
    path.write_text(PLACES)
    answers = ["10.9.9.9", "2001:db8::9"]
    perimeter = Perimeter.load(path, LU, resolve=lambda host, port: answers)
    openings = [
        Opening.of(place, () if place.within else perimeter.addresses(place))
        for place in perimeter.places
    ]
    return openings, perimeter.digest


def namespace() -> list[str]:
    """What starts a command in a network namespace of its own; skips where that is not given."""
    return ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]


def needs(program: str) -> None:
    if shutil.which(program) is None:
        if os.environ.get("REQUIRE_PEERS"):
            pytest.fail(f"{program} is missing, and REQUIRE_PEERS asks for it")
        pytest.skip(f"{program} is not installed")


def needs_nft() -> None:
    needs("nft")
    if subprocess.run([*namespace(), "nft", "list", "ruleset"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody load nftables rules, not even in a namespace")


def found_in_namespace(rules: str, account: int) -> dict[str, Any]:
    given = {"rules": rules, "account": account, "tries": TRIES}
    done = subprocess.run(
        [*namespace(), sys.executable, "-I", NAMESPACE, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_rules_keep_an_account_to_its_places_and_let_it_answer(tmp_path: Path) -> None:
    needs_nft()
    account = 65534 if os.getuid() == 0 else 0
    openings, digest = the_openings(tmp_path)
    free = found_in_namespace("", account)
    ruled = found_in_namespace(nftables(openings, str(account), digest), account)
    # What the rules stop would have been reached without them; metadata has no way from here.
    assert {name for name in TRIES if free[name] == "reached"} == set(TRIES) - {
        "the metadata of the machine"
    }
    assert {name for name in TRIES if ruled[name] == "reached"} == REACHED
    assert {ruled[name] for name in TRIES if name not in REACHED} <= {
        *("ECONNREFUSED", "EPERM", "EHOSTUNREACH", "ENETUNREACH")
    }
    if account:
        assert ruled["an answer to who called"] == "answer"


def test_rules_of_an_empty_perimeter_let_nothing_out(tmp_path: Path) -> None:
    needs_nft()
    account = 65534 if os.getuid() == 0 else 0
    ruled = found_in_namespace(nftables([], str(account), "sha256:0"), account)
    assert "reached" not in {ruled[name] for name in TRIES}


def test_nft_takes_the_rules_also_for_a_named_account(tmp_path: Path) -> None:
    needs_nft()
    openings, digest = the_openings(tmp_path)
    for account in ("root", "0", "1234"):
        done = subprocess.run(
            [*namespace(), "nft", "--check", "--file", "-"],
            input=nftables(openings, account, digest),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_names_stand_in_the_rules_as_what_they_mean_or_are_pinned_to(tmp_path: Path) -> None:
    openings, digest = the_openings(tmp_path)
    text = nftables(openings, "casemate", digest)
    lines = [line for line in text.splitlines() if not line.strip().startswith("#")]
    assert "\t\tip daddr { 10.9.9.9/32 } tcp dport { 443 } counter accept" in lines
    assert "\t\tip6 daddr { 2001:db8::9/128 } tcp dport { 443 } counter accept" in lines
    assert "\t\tip daddr { 10.2.0.0/24 } tcp dport { 443 } counter accept" in lines
    assert not any("example.lu" in line or "docker" in line for line in lines)


def test_special_addresses_are_refused_before_a_network_that_holds_them(tmp_path: Path) -> None:
    openings, digest = the_openings(tmp_path)
    text = nftables(openings, "0", digest)
    assert text.index("169.254.0.0/16") < text.index("{ 0.0.0.0/0 }")


def test_systemd_takes_the_drop_in_and_finds_the_unit_well_closed(tmp_path: Path) -> None:
    needs("systemd-analyze")
    openings, digest = the_openings(tmp_path)
    text = systemd(openings, digest, folder="/srv/casemate", called_by=[ip_network("10.7.0.0/16")])
    unit = tmp_path / "casemate.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nUser=daemon\n")
    (tmp_path / "casemate.service.d").mkdir()
    (tmp_path / "casemate.service.d" / "perimeter.conf").write_text(text)
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    for command in (
        ["verify", unit.name],
        ["security", "--offline=yes", "--threshold=30", "--no-pager", unit.name],
    ):
        done = subprocess.run(
            ["systemd-analyze", *command], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "perimeter.conf" not in done.stderr  # a line that is not understood is only told


def test_the_drop_in_opens_the_declared_networks_and_sockets_and_no_more(tmp_path: Path) -> None:
    openings, digest = the_openings(tmp_path)
    text = systemd(openings, digest, folder="/home/a b/c%d", called_by=[])
    allowed = {line.partition("=")[2] for line in text.splitlines() if "IPAddressAllow" in line}
    assert allowed == {
        *("127.0.0.1/32", "::1/128", "127.1.0.0/16", "127.3.0.53/32", "10.9.9.9/32"),
        *("2001:db8::9/128", "10.2.0.0/24", "2001:db8:2::/48", "0.0.0.0/0"),
    }
    (doors,) = (line for line in text.splitlines() if line.startswith("InaccessiblePaths="))
    assert "-/run/dbus" in doors
    assert "/run/docker.sock" not in doors  # it is declared
    assert 'ReadWritePaths="/home/a b/c%%d"' in text
    assert "ProtectHome=read-only" in text
