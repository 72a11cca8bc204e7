"""Signed notes: text that carries signatures anyone can check.

Format: C2SP signed-note v1.0.0, Ed25519 keys (type 0x01) only.
Needs only ``cryptography``, so that the verifier can travel alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = b"\x01"
MAX_SIGNATURES = 100
_KEY_ID = re.compile(r"[0-9a-f]{8}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NOT_IN_NAME = re.compile(r"[\s\x00-\x1f+]")  # \s: every character that str.isspace() means
_LINE_START = "\u2014 "


class NoteError(ValueError):
    """A note or a key is malformed, or no signature on the note can be trusted."""


@dataclass(frozen=True)
class Verifier:
    """A public key that checks notes: a name and 32 bytes of Ed25519 public key.

    Raises NoteError if the name is empty, holds a space, a plus sign or a control character, or
    if the key has another length. Source: C2SP signed-note v1.0.0, "Verifier keys".
    """

    name: str
    key: bytes

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.key) != 32:
            raise NoteError("an Ed25519 public key has 32 bytes")

    @classmethod
    def parse(cls, vkey: str) -> Verifier:
        """Read one verifier key line: ``name+id+base64(type || key)``, with nothing around it.

        Raises NoteError if any part is malformed, the type is not Ed25519, or the id is not the
        one that belongs to name and key. Source: C2SP signed-note v1.0.0.
        """
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise NoteError("a verifier key is a name, an id and a key, joined by plus signs")
        name, key_id, material = parts
        if not _KEY_ID.fullmatch(key_id):
            raise NoteError("the id of a verifier key is 8 lower-case hexadecimal digits")
        raw = decode_base64(material)
        if raw[:1] != ED25519:
            raise NoteError("only verifier keys of type Ed25519 (1) are accepted")
        verifier = cls(name, raw[1:])
        if verifier.id.hex() != key_id:
            raise NoteError("the id of the verifier key does not belong to its name and key")
        return verifier

    @cached_property
    def id(self) -> bytes:
        """The key id: the first 4 bytes of SHA-256(name || newline || type || key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The key as one line of text, without a newline."""
        material = base64.b64encode(ED25519 + self.key).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` (64 bytes) was made over ``text`` with this key."""
        try:
            self._public.verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True

    @cached_property
    def _public(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.key)


@dataclass(frozen=True)
class Signer:
    """A private key that signs notes: a name and 32 bytes of Ed25519 seed (RFC 8032).

    Raises NoteError if the name is unusable or the seed has another length.
    """

    name: str
    seed: bytes = field(repr=False)  # a secret never appears in a log line or a traceback

    def __post_init__(self) -> None:
        _check_name(self.name)
        if len(self.seed) != 32:
            raise NoteError("an Ed25519 seed has 32 bytes")

    @classmethod
    def generate(cls, name: str) -> Signer:
        """Make a new key from the operating system's random source."""
        return cls(name, secrets.token_bytes(32))

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Signer:
        """Take a key that was made before. Raises NoteError if name or seed is unusable."""
        return cls(name, seed)

    @cached_property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self._private.public_key().public_bytes_raw())

    @property
    def vkey(self) -> str:
        """The public half as one verifier key line, without a newline."""
        return self.verifier.vkey

    def signature(self, text: str) -> Signature:
        """Sign ``text``."""
        return Signature(self.name, self.verifier.id, self._private.sign(text.encode()))

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True)
class Signature:
    """One signature line: the key's name, its 4-byte id, and what it signed with."""

    name: str
    id: bytes
    value: bytes

    def encode(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"{_LINE_START}{self.name} {base64.b64encode(self.id + self.value).decode()}\n"


@dataclass(frozen=True)
class Note:
    """A text (ending in a newline) and its signatures, in their order."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Note:
        """Read a note without judging its signatures: use ``open_note`` before trusting it.

        Raises NoteError if it is not exactly in the format. Source: C2SP signed-note v1.0.0.
        """
        try:
            content = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise NoteError("the note is not UTF-8") from None
        _check_lines(content)
        end = content.rfind("\n\n")
        if end < 0:
            raise NoteError("the note has no blank line before its signatures")
        text, lines = content[: end + 1], content[end + 2 :]
        if not lines:
            raise NoteError("the note has no signature")
        signatures = tuple(_signature(line) for line in lines.removesuffix("\n").split("\n"))
        if len(signatures) > MAX_SIGNATURES:
            raise NoteError(f"the note has more than {MAX_SIGNATURES} signatures")
        return cls(text, signatures)

    def encode(self) -> bytes:
        """The note as bytes: text, blank line, signature lines."""
        return (self.text + "\n" + "".join(one.encode() for one in self.signatures)).encode()


def sign(text: str, signers: Iterable[Signer]) -> bytes:
    """Make a note from ``text``, which must end in a newline, signed by each of ``signers``.

    Raises NoteError if the text cannot stand in a note or nobody signs.
    Source: C2SP signed-note v1.0.0.
    """
    _check_text(text)
    signatures = tuple(signer.signature(text) for signer in signers)
    if not signatures:
        raise NoteError("a note needs a signature")
    return Note(text, signatures).encode()


def open_note(raw: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Read a note and keep only the signatures that were checked with one of ``verifiers``.

    A key is known if name and id both match; signatures of unknown keys are ignored. Raises
    NoteError if the note is malformed, a known key's signature is wrong, or none is left.
    Source: C2SP signed-note v1.0.0.
    """
    return check_note(Note.parse(raw), verifiers)


def check_note(note: Note, verifiers: Iterable[Verifier]) -> Note:
    """As ``open_note``, of a note that was read already."""
    known = {(verifier.name, verifier.id): verifier for verifier in verifiers}
    verified: list[Signature] = []
    for signature in note.signatures:
        verifier = known.get((signature.name, signature.id))
        if verifier is None:
            continue
        if not verifier.verifies(note.text, signature.value):
            raise NoteError(f"the signature of {signature.name} is wrong")
        verified.append(signature)
    if not verified:
        raise NoteError("no signature was made with a known key")
    return Note(note.text, tuple(verified))


def decode_base64(text: str) -> bytes:
    """Bytes of standard base64 (RFC 4648, 4) in its one canonical spelling.

    Raises NoteError for any other spelling: spaces, missing padding, spare bits.
    """
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # also of what is not ASCII
        raise NoteError("malformed base64") from None
    # The decoder ignores spare bits in the last character; two spellings of one value would let
    # somebody change a file without changing what it says.
    if binascii.b2a_base64(raw, newline=False) != text.encode():
        raise NoteError("base64 that is not canonical")
    return raw


def _signature(line: str) -> Signature:
    if not line.startswith(_LINE_START):
        raise NoteError("a signature line begins with an em dash and a space")
    name, separator, value = line.removeprefix(_LINE_START).partition(" ")
    if not separator:
        raise NoteError("a signature line holds a name and a signature")
    _check_name(name)
    raw = decode_base64(value)
    if len(raw) < 5:
        raise NoteError("a signature is longer than its key id")
    return Signature(name, raw[:4], raw[4:])


def _check_text(text: str) -> None:
    _check_lines(text)
    _check_unicode(text)


def _check_lines(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteError("a note ends in a newline")
    if _CONTROL.search(text):
        raise NoteError("a note holds no control character but newline")


def _check_name(name: str) -> None:
    if not name:
        raise NoteError("a key needs a name")
    if _NOT_IN_NAME.search(name):
        raise NoteError("a key name holds no space, plus sign or control character")
    _check_unicode(name)


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise NoteError("the text cannot be written as UTF-8") from None
