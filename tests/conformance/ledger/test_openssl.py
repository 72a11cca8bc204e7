"""A checkpoint's signature in the eyes of OpenSSL: the key, the text and nothing of ours.

Format: C2SP signed-note v1.0.0: the signature is plain Ed25519 (RFC 8032) over the text up to and
with its last newline. ``openssl`` 3.0 or newer; where it is missing the tests are skipped, but
with REQUIRE_PEERS=1 they fail instead.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from casemate.ledger.log import Log
from casemate.ledger.note import Signer


@pytest.fixture(scope="module")
def openssl():
    found = shutil.which("openssl")
    if found is None:
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail("openssl is not installed")
        pytest.skip("openssl is not installed")
    return found


@pytest.fixture
def signed(tmp_path):
    """A checkpoint taken apart by hand into the files that OpenSSL reads."""
    with Log.open(tmp_path / "log", Signer.from_seed("casemate.example/log", bytes(32))) as log:
        log.append(b"one entry").result()
        vkey, checkpoint = log.vkey, log.checkpoint()
    text, _, line = checkpoint.decode().partition("\n\n")
    material = base64.b64decode(vkey.split("+", 2)[2])
    assert material[0] == 1
    key = Ed25519PublicKey.from_public_bytes(material[1:])
    (tmp_path / "key.pem").write_bytes(
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "text").write_text(text + "\n")
    (tmp_path / "signature").write_bytes(base64.b64decode(line.split(" ")[2])[4:])
    return tmp_path


def verify(openssl, folder):
    return subprocess.run(
        [
            *(openssl, "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem"),
            *("-rawin", "-sigfile", "signature", "-in", "text"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_openssl_accepts_the_signature_of_our_checkpoint(openssl, signed):
    done = verify(openssl, signed)
    assert (done.returncode, done.stdout) == (0, "Signature Verified Successfully\n")


@pytest.mark.parametrize(
    ("old", "new"), [("\n1\n", "\n2\n"), ("casemate", "casemata"), ("=\n", "="), ("=\n", "=\n\n")]
)
def test_openssl_refuses_it_over_another_text(openssl, signed, old, new):
    text = (signed / "text").read_text()
    assert old in text
    (signed / "text").write_text(text.replace(old, new))
    assert verify(openssl, signed).returncode == 1


@pytest.mark.parametrize("place", range(0, 64, 9))
def test_openssl_refuses_a_changed_signature(openssl, signed, place):
    raw = bytearray((signed / "signature").read_bytes())
    raw[place] ^= 1
    (signed / "signature").write_bytes(raw)
    assert verify(openssl, signed).returncode == 1


def test_openssl_refuses_it_under_another_key(openssl, signed):
    other = Signer.from_seed("casemate.example/log", bytes([1]) * 32).verifier.key
    (signed / "key.pem").write_bytes(
        Ed25519PublicKey.from_public_bytes(other).public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
    )
    assert verify(openssl, signed).returncode == 1
