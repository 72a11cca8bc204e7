"""Signatures of models: who vouches for every byte of the files, checked offline.

Format: OpenSSF Model Signing v1.0 (a Sigstore bundle with a DSSE envelope around an in-toto
statement of every file's SHA-256), by ``model-signing``, with an elliptic-curve key (P-256, P-384,
P-521) or a certificate that leads to a trusted one. Nothing is asked of Sigstore's services.

A signature names its files; none may be missing, altered or added. What it would have ignored (its
field ``ignore_paths``) is not ignored here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from casemate.errors import Invalid, Refused, Tampered, TooLarge, Unsupported

if TYPE_CHECKING:
    from model_signing import hashing

LONGEST = 8 << 20  # bytes of a signature; about 150 for each file
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_PEM = serialization.Encoding.PEM
_INFO = serialization.PublicFormat.SubjectPublicKeyInfo
_SIGN_AGAIN = "Sign the model again with `casemate model sign`."
_KEYS = "Make one with `openssl ecparam -name prime256v1 -genkey -noout`."


class Signer(msgspec.Struct, frozen=True):
    """Whose signatures count: a public key, or a certificate that signers' certificates lead to."""

    name: str
    kind: str  # key | certificate
    pem: str
    fingerprint: str  # "sha256:…" of the key's SubjectPublicKeyInfo or of the certificate, DER

    @classmethod
    def parse(cls, name: str, pem: bytes) -> Signer:
        """A signer from the PEM text of a key or a certificate. Raises Invalid."""
        try:
            if b"-----BEGIN CERTIFICATE-----" in pem:
                certificate = x509.load_pem_x509_certificate(pem)
                text = certificate.public_bytes(_PEM).decode()
                der = certificate.public_bytes(serialization.Encoding.DER)
                return cls(name, "certificate", text, _fingerprint(der))
            if b"PRIVATE KEY-----" in pem:
                raise Invalid(
                    "This is a private key; a public one is needed.",
                    "`openssl pkey -in KEY.pem -pubout -out PUB.pem` makes it.",
                )
            key = serialization.load_pem_public_key(pem)
        except ValueError:
            raise Invalid("This is neither a public key nor a certificate in PEM.", _KEYS) from None
        _check_curve(key)
        text = key.public_bytes(_PEM, _INFO).decode()
        der = key.public_bytes(serialization.Encoding.DER, _INFO)
        return cls(name, "key", text, _fingerprint(der))


def sign(digests: Mapping[str, str], name: str, key: Path, certificates: Sequence[Path]) -> bytes:
    """The signature of files by their digests ("sha256:…").

    certificates: that of ``key`` first, then those that lead up to one that others trust; none:
    the key alone. Raises Invalid for a key that cannot sign, Unsupported without model-signing.
    """
    signing = _library().signing
    config = signing.Config().set_hashing_config(_known(digests, name))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "signature"
        try:
            _check_private(key)
            if certificates:
                config.use_certificate_signer(
                    private_key=key,
                    signing_certificate=certificates[0],
                    certificate_chain=certificates[1:] or certificates[:1],
                )
            else:
                config.use_elliptic_key_signer(private_key=key)
            config.sign(Path(name), target)
        except OSError as problem:
            raise Invalid(f"A key cannot be read: {problem.strerror}.", "Check it.") from problem
        except (ValueError, TypeError) as problem:
            raise Invalid("This key and these certificates cannot sign.", _KEYS) from problem
        return target.read_bytes()


def verify(signature: bytes, digests: Mapping[str, str], signers: Iterable[Signer]) -> Signer:
    """Which of ``signers`` signed exactly these files.

    Raises Invalid if it is no such signature, Refused if nobody of ``signers`` made it, Tampered
    if the files are not those it was made for, Unsupported without model-signing.
    """
    if len(signature) > LONGEST:
        raise TooLarge("The signature is larger than any.", "Check that it is the right file.")
    material, signed = _opened(signature)
    chained = "x509CertificateChain" in material
    hint = str((material.get("publicKey") or {}).get("hint"))
    library = _library()
    for signer in signers:
        if chained == (signer.kind == "certificate") and (chained or _hint(signer) == hint):
            known = _known(digests, "model")
            problem = _verify(library, signature, signer, known)
            if known.asked:  # only after the signature itself was found to be right
                _check_files(signed, digests)
                if problem is None:
                    return signer
            if not chained:
                raise Refused("The signature is not that of its key.", _SIGN_AGAIN) from problem
    raise Refused(
        "The model is signed by a certificate that leads to none that is trusted here."
        if chained
        else "The model is signed by a key that is not trusted here.",
        "`casemate model trust list` shows whom this installation believes.",
    )


def _verify(library: Any, signature: bytes, signer: Signer, known: Any) -> Exception | None:
    """What model-signing says of a signature and one signer: None, or its complaint."""
    config = library.verifying.Config().set_hashing_config(known)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "signature").write_bytes(signature)
        pem = Path(folder) / "signer.pem"
        pem.write_text(signer.pem)
        try:
            if signer.kind == "certificate":
                config.use_certificate_verifier(certificate_chain=[pem])
            else:
                config.use_elliptic_key_verifier(public_key=pem)
            config.verify(Path(folder), Path(folder) / "signature")
        except Exception as problem:  # its parsers raise what they please on hostile input
            return problem
    return None


def _opened(signature: bytes) -> tuple[Mapping[str, Any], dict[str, str]]:
    """The verification material of a bundle and the digests it speaks of, nothing checked yet."""
    try:
        bundle = json.loads(signature)
        envelope = bundle["dsseEnvelope"]
        if len(envelope["signatures"]) != 1:
            raise ValueError
        statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
        predicate = statement["predicate"]
        how = predicate["serialization"]
        if (how["method"], how["hash_type"]) != ("files", "sha256"):
            raise ValueError
        named = [(one["name"], one["algorithm"], one["digest"]) for one in predicate["resources"]]
        signed = {str(path): f"{algorithm}:{digest}" for path, algorithm, digest in named}
        if len(signed) != len(named):
            raise ValueError
        return dict(bundle["verificationMaterial"]), signed
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise Invalid(
            "This is no signature of a model: one of OpenSSF Model Signing, SHA-256 by file.",
            _SIGN_AGAIN,
        ) from None


def _check_files(signed: Mapping[str, str], digests: Mapping[str, str]) -> None:
    for path in sorted({*signed, *digests}):
        if signed.get(path) == digests.get(path):
            continue
        what = "was altered after it was signed"
        if path not in signed:
            what = "is not covered by the signature"
        elif path not in digests:
            what = "is signed but missing"
        raise Tampered(f"{path[:200]} {what}.", "Get the model again from who signed it.")


def _known(digests: Mapping[str, str], name: str) -> Any:
    """Digests that are known already, given to model-signing in place of reading the files."""
    from model_signing import hashing, manifest
    from model_signing._hashing.hashing import Digest

    class Known(hashing.Config):  # type: ignore[misc,unused-ignore]
        asked: bool = False

        def hash(self, model_path: hashing.PathLike, *, files_to_hash: object = None) -> Any:
            self.asked = True
            items = [
                manifest.FileManifestItem(
                    path=Path(path),
                    digest=Digest("sha256", bytes.fromhex(digest.removeprefix("sha256:"))),
                )
                for path, digest in digests.items()
            ]
            how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
            return manifest.Manifest(name, items, manifest.SerializationType.from_args(how))

    made: Any = Known
    return made()


def _library() -> Any:
    try:
        import model_signing.signing
        import model_signing.verifying
    except ImportError as problem:
        raise Unsupported(
            "Checking who signed a model needs a package that is not installed.",
            "Install it with `pip install 'casemate[llama]'`.",
        ) from problem
    return model_signing


def _hint(signer: Signer) -> str:
    return hashlib.sha256(signer.pem.encode()).hexdigest()


def _fingerprint(der: bytes) -> str:
    return "sha256:" + hashlib.sha256(der).hexdigest()


def _check_curve(key: object) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise Invalid("Only elliptic-curve keys (P-256, P-384, P-521) sign models here.", _KEYS)


def _check_private(key: Path) -> None:
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except TypeError:
        raise Invalid(
            "The private key is protected by a passphrase.",
            "Give it without one: `openssl pkey -in KEY.pem -out PLAIN.pem`, then delete that.",
        ) from None
    except ValueError:
        raise Invalid("This is no private key in PEM.", _KEYS) from None
    _check_curve(private.public_key())
