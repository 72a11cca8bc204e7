"""A directory on loopback: OpenLDAP's slapd, with a temporary tree and certificates of its own."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ldap3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BASE = "dc=example,dc=org"
ROOT, ROOTING = f"cn=root,{BASE}", "changes-everything"
SEARCHER, SEARCHING = f"cn=searcher,{BASE}", "who searches, finds"

_TREE = f"""
dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: {SEARCHER}
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: searcher
userPassword: {SEARCHING}

dn: ou=people,{BASE}
objectClass: organizationalUnit
ou: people

dn: ou=more,{BASE}
objectClass: organizationalUnit
ou: more

dn: ou=groups,{BASE}
objectClass: organizationalUnit
ou: groups

dn: ou=elsewhere,{BASE}
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://127.0.0.1:9/ou=elsewhere,{BASE}
"""
_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
suffix "{base}"
directory {folder}/db
maxsize 16777216
rootdn "{root}"
rootpw {rooting}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{searcher}" read by * none
"""


@dataclass(frozen=True)
class Slapd:
    """A running server: its ports, with and without TLS from the start, and its authority."""

    port: int
    tls_port: int
    ca: Path

    @contextmanager
    def changed(self) -> Iterator[ldap3.Connection]:
        """A connection that may change everything, without TLS."""
        server = ldap3.Server("127.0.0.1", port=self.port, get_info=ldap3.NONE)
        with ldap3.Connection(server, ROOT, ROOTING, raise_exceptions=True) as connection:
            yield connection


def a_person(uid: str, password: str, unit: str = "people", **more: str) -> str:
    said = "".join(f"{name}: {value}\n" for name, value in more.items())
    rdn = f"cn={uid}" if unit == "more" else f"uid={uid}"
    return (
        f"\ndn: {rdn},ou={unit},{BASE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\n"
        f"sn: {uid}\nuserPassword: {password}\n{said}"
    )


def a_group(name: str, *members: str) -> str:
    listed = "".join(f"member: {member},{BASE}\n" for member in members)
    return f"\ndn: cn={name},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {name}\n{listed}"


@contextmanager
def a_slapd(folder: Path, *entries: str) -> Iterator[Slapd]:
    """A directory that holds the entries; it ends with the block."""
    program = shutil.which("slapd") or shutil.which("slapd", path="/usr/sbin")
    if program is None:
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail("slapd is not there (Debian's slapd)")
        pytest.skip("no slapd here (Debian's slapd)")
    (folder / "db").mkdir()
    _certify(folder)
    config, tree = folder / "slapd.conf", folder / "tree.ldif"
    config.write_text(
        _CONFIG.format(folder=folder, base=BASE, searcher=SEARCHER, root=ROOT, rooting=ROOTING)
    )
    tree.write_text(_TREE + "".join(entries))
    subprocess.run(
        [program, "-T", "add", "-f", config, "-l", tree], check=True, capture_output=True
    )
    port, tls_port = _free_ports(2)
    urls = f"ldap://127.0.0.1:{port}/ ldaps://127.0.0.1:{tls_port}/"
    process = subprocess.Popen(
        [program, "-d", "256", "-f", config, "-h", urls], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "slapd starting" in line:
            break
    else:
        pytest.fail("".join(said))
    draining = threading.Thread(target=process.stderr.read, daemon=True)
    draining.start()
    try:
        yield Slapd(port, tls_port, folder / "ca.pem")
    finally:
        process.terminate()
        process.wait(30)
        draining.join(30)
        process.stderr.close()


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def _certify(folder: Path) -> None:
    """An authority, and a certificate for 127.0.0.1 and no other name."""
    now = datetime.datetime.now(datetime.UTC)

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def begun(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(named("tests"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    authority, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root = begun(named("tests"), authority.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    leaf = begun(named("directory"), server.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
        critical=False,
    )
    for name, builder in (("ca", root), ("server", leaf)):
        made = builder.sign(authority, hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
