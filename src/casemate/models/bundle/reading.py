"""Reading a bundle: once, from front to back, with every byte accounted for.

The manifest says what every later byte of the frame must be, so whatever was cut, altered, added,
left out or put in another order differs from what is expected at the place where it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from casemate.errors import CasemateError, Invalid, NotFound, Refused, Tampered
from casemate.models.bundle import archive
from casemate.models.bundle import manifest as manifest_
from casemate.models.bundle.keys import SIGNATURE_SIZE, SIGNATURES, Signature
from casemate.models.bundle.manifest import BundleManifest, Content

_PIECE = 1 << 20
_AGAIN = "Get the bundle again from who made it; do not use this one."


@dataclass(frozen=True)
class Seal:
    """The beginning of a bundle: the bytes of its manifest, and two signatures of just these.

    Whether anybody believes the two keys is another question, best asked before ``open``.
    """

    raw: bytes
    digest: str
    signatures: tuple[Signature, ...]

    def open(self) -> BundleManifest:
        """The manifest. Raises Invalid; Tampered if it names other keys than signed it."""
        manifest = BundleManifest.parse(self.raw)
        if tuple(one.key.fingerprint for one in self.signatures) != manifest.signers:
            raise Tampered("The bundle is signed by other keys than it names.", _AGAIN)
        return manifest


class Reader:
    """Reads one bundle from a stream that cannot be rewound."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def seal(self) -> Seal:
        """Read the manifest and its signatures.

        Raises Invalid if it is no bundle, Tampered if the signatures are not of this manifest,
        Refused if one key signed twice.
        """
        block = self._read(archive.BLOCK, "")
        try:
            size = archive.size_of(block)
        except ValueError:
            raise _no_bundle() from None
        if size > manifest_.LONGEST or block != archive.header(manifest_.NAME, size):
            raise _no_bundle()
        raw = self._body(size)
        digest = manifest_.digest(raw)
        signatures = []
        for name in SIGNATURES:
            self._expect(archive.header(name, SIGNATURE_SIZE), f"{name} is missing or altered")
            signatures.append(Signature.parse(self._body(SIGNATURE_SIZE)))
        if signatures[0].key == signatures[1].key:
            raise Refused(
                "Both signatures of the bundle are by one key.", "Two people sign, each with one."
            )
        for signature in signatures:
            signature.verify(digest)
        return Seal(raw, digest, tuple(signatures))

    def member(self, content: Content) -> Iterator[bytes]:
        """The pieces of the next member, which has to be ``content``.

        Raises Tampered at its end at the latest: believe nothing of it before.
        """
        self._expect(
            archive.header(content.path, content.size),
            f"where {content.path!a} belongs stands something else",
        )
        hasher = hashlib.sha256()
        left = content.size
        while left:
            piece = self._read(min(left, _PIECE), content.path)
            left -= len(piece)
            hasher.update(piece)
            yield piece
        if f"sha256:{hasher.hexdigest()}" != content.sha256:
            raise Tampered(f"Member {content.path!a} of the bundle was altered.", _AGAIN)
        self._expect(archive.padding(content.size), f"after {content.path!a} stands something")

    def end(self) -> None:
        """See that the bundle ends here. Raises Tampered."""
        self._expect(archive.END, "it holds more than its manifest names")
        if self._piece(1):
            raise Tampered("The bundle goes on after its end.", _AGAIN)

    def _body(self, size: int) -> bytes:
        body = self._read(size, "")
        self._expect(archive.padding(size), "its beginning was altered")
        return body

    def _expect(self, wanted: bytes, otherwise: str) -> None:
        if self._read(len(wanted), "") != wanted:
            raise Tampered(f"The bundle is not as it was made: {otherwise}.", _AGAIN)

    def _read(self, size: int, path: str) -> bytes:
        """Exactly ``size`` bytes; a pipe may give them in pieces."""
        parts = []
        while size:
            part = self._piece(size)
            if not part:
                where = f" in the middle of {path!a}" if path else ""
                raise Tampered(f"The bundle ends too early{where}.", "Copy it again, whole.")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _piece(self, most: int) -> bytes:
        try:
            return self._stream.read(most)
        except OSError as problem:
            raise unreadable(problem) from problem


def inspect(stream: BinaryIO) -> tuple[BundleManifest, Seal]:
    """Read a whole bundle and keep nothing. Raises like ``Reader``."""
    reader = Reader(stream)
    seal = reader.seal()
    manifest = seal.open()
    for content in manifest.contents:
        for _ in reader.member(content):
            pass
    reader.end()
    return manifest, seal


def unreadable(problem: OSError) -> CasemateError:
    """What an operating-system error on somebody's own file means to them."""
    return NotFound(
        f"The bundle cannot be read: {problem.strerror}.", "Check that it is there and yours."
    )


def _no_bundle() -> Invalid:
    return Invalid("This is not a bundle.", "Give a file that `casemate bundle make` made.")
