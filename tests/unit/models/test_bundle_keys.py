"""Keys that sign bundles."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from casemate.errors import Conflict, Invalid, NotFound, Refused, Tampered
from casemate.models.bundle.keys import BundleKey, SigningKey, make_key, read_public

DIGEST = "sha256:" + "7" * 64
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


def test_a_key_is_made_signs_and_is_verified(tmp_path: Path) -> None:
    made = make_key(tmp_path / "anna.pem")
    assert stat.S_IMODE((tmp_path / "anna.pem").stat().st_mode) == 0o600
    private = SigningKey.read(tmp_path / "anna.pem")
    assert private.public == made == read_public(tmp_path / "anna.pem.pub")
    private.sign(DIGEST).verify(DIGEST)
    with pytest.raises(Tampered):
        private.sign(DIGEST).verify("sha256:" + "8" * 64)


def test_a_signature_is_of_a_bundle_and_of_nothing_else() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    made = SigningKey(key).sign(DIGEST).signature
    assert made == key.sign(f"casemate-bundle/1\n{DIGEST}\n".encode())


def test_a_key_never_replaces_another(tmp_path: Path) -> None:
    make_key(tmp_path / "anna.pem")
    before = (tmp_path / "anna.pem").read_bytes()
    with pytest.raises(Conflict):
        make_key(tmp_path / "anna.pem")
    assert (tmp_path / "anna.pem").read_bytes() == before


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "anna.pem")
    (tmp_path / "anna.pem").chmod(0o640)
    with pytest.raises(Refused, match="other accounts"):
        SigningKey.read(tmp_path / "anna.pem")


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    ed = Ed25519PrivateKey.generate()
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    for content in (
        curve.private_bytes(PEM, PKCS8, serialization.NoEncryption()),
        ed.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret")),
        ed.public_key().public_bytes(PEM, public),
        b"",
        b"\xff" * 100,
    ):
        place = tmp_path / "key.pem"
        place.unlink(missing_ok=True)
        place.touch(0o600)
        place.write_bytes(content)
        with pytest.raises(Invalid):
            SigningKey.read(place)
    for content in (
        curve.public_key().public_bytes(PEM, public),
        ed.private_bytes(PEM, PKCS8, serialization.NoEncryption()),
        b"",
    ):
        with pytest.raises(Invalid):
            BundleKey.parse(content)
    with pytest.raises(NotFound):
        SigningKey.read(tmp_path / "none.pem")
