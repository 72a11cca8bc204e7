"""Builders for tests of models with files: folders of tiny models, keys, certificates."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from casemate.gate.caller import Caller
from casemate.models import weights
from casemate.models.importing import Order, bring_in
from casemate.models.registry import Model, Models
from casemate.models.signature import sign

PEM = serialization.Encoding.PEM

MANIFEST = """\
name = "tiny"
version = "1"
architecture = "Llama, a few hundred weights"
licence = "Apache-2.0"
origin = "Made for a test, https://example.org/tiny"
intended_use = "Tests."
limits = "Knows nothing."
label = "unclassified"
tokenizer = "tekken.json"
"""


@dataclass(frozen=True)
class Maker:
    """Somebody who signs models."""

    private: Path
    public: Path


def gguf(*, version: int = 3, tensors: int = 1, pairs: int = 1, filler: bytes = b"\0") -> bytes:
    """As much of a GGUF file as is looked at when it comes in."""
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + filler * 256


def safetensors(header: Any = None, content: bytes = bytes(8)) -> bytes:
    if header is None:
        header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def a_folder(folder: Path, manifest: str = MANIFEST, **files: bytes) -> Path:
    """A folder of a model; ``files`` by name, with “__” for the dot."""
    folder.mkdir(parents=True)
    tekken = json.dumps({"config": {"version": "v13"}, "vocab": []}).encode()
    content = {"tiny__gguf": gguf(), "tekken__json": tekken} | files
    for name, piece in content.items():
        (folder / name.replace("__", ".")).write_bytes(piece)
    (folder / "manifest.toml").write_text(manifest, encoding="utf-8")
    return folder


def a_key(folder: Path, name: str = "maker") -> tuple[Path, Path]:
    """A private key and its public one."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(
        key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def certificates(folder: Path, private: Path) -> tuple[Path, Path]:
    """A root certificate, and one for the key ``private`` that rests on it."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Root", root_key.public_key(), "Root", root_key, authority=True)
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    leaf = _certificate("Maker", key.public_key(), "Root", root_key, authority=False)
    places = folder / "root.pem", folder / "leaf.pem"
    for place, certificate in zip(places, (root, leaf), strict=True):
        place.write_bytes(certificate.public_bytes(PEM))
    return places


def _certificate(
    name: str, key: Any, issuer: str, issuer_key: Any, *, authority: bool
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    usage = {
        field: False
        for field in (
            "content_commitment key_encipherment data_encipherment key_agreement crl_sign "
            "encipher_only decipher_only"
        ).split()
    }
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1 if not authority else 2))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=authority, **usage), critical=True
        )
        .sign(issuer_key, hashes.SHA256())
    )


def digests(folder: Path) -> dict[str, str]:
    """Digests of what a signature of ``folder`` covers."""
    covered = {path: size for path, size in weights.survey(folder).items() if path != "model.sig"}
    *_, found = weights.digests(folder, covered)
    assert isinstance(found, dict)
    return found


def signed(folder: Path, private: Path, *chain: Path) -> Path:
    """Put a signature into the folder."""
    (folder / "model.sig").write_bytes(sign(digests(folder), folder.name, private, chain))
    return folder


def brought_in(models: Models, actor: Caller, folder: Path, **order: Any) -> Model:
    *_, model = bring_in(models, actor, Order(folder, **order))
    assert isinstance(model, Model)
    return model
