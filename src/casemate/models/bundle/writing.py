"""Writing a bundle: sources are read once for their digests, and once more on their way into it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from casemate.errors import Conflict, Invalid, Refused, Unavailable
from casemate.gate.label import Label
from casemate.models.bundle import archive
from casemate.models.bundle import manifest as manifest_
from casemate.models.bundle.keys import SIGNATURES, SigningKey
from casemate.models.bundle.manifest import BundleManifest, Content


@dataclass(frozen=True)
class Source:
    """Something that goes into a bundle. ``pieces`` reads it from its beginning."""

    path: str
    kind: str
    label: Label
    licence: str
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True)
class Step:
    """How far it has come, in bytes; a source is read twice when it is written, once at arrival."""

    done: int
    total: int


def digested(source: Source) -> Content:
    """What a manifest says of ``source``. Raises Invalid for a path that cannot be in a bundle."""
    if not manifest_.is_path(source.path):
        raise Invalid(
            f"{source.path[:200]!a} cannot be the path of something in a bundle.", "Rename it."
        )
    hasher, size = hashlib.sha256(), 0
    for piece in source.pieces():
        hasher.update(piece)
        size += len(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    return Content(source.path, source.kind, size, digest, str(source.label), source.licence)


def write(
    out: Path,
    manifest: BundleManifest,
    sources: Iterable[Source],
    keys: Sequence[SigningKey],
) -> Iterator[Step]:
    """Write the bundle, signed, to ``out``: whole and durable, or not at all.

    Raises Conflict if ``out`` is there already or a source changed since it was digested,
    Unavailable if there is no room.
    """
    _check_free(out)
    raw = manifest.canonical()
    if len(raw) > manifest_.LONGEST:
        raise Invalid("There are too many things for one bundle.", "Make several.")
    temporary = out.with_name(out.name + ".part")
    total = sum(content.size for content in manifest.contents)
    done = 0
    try:
        with temporary.open("wb") as file:
            for name, body in (
                (manifest_.NAME, raw),
                *zip(SIGNATURES, _signatures(manifest, keys), strict=True),
            ):
                file.write(archive.header(name, len(body)) + body + archive.padding(len(body)))
            for content, source in zip(manifest.contents, sources, strict=True):
                file.write(archive.header(content.path, content.size))
                for piece in _unchanged(content, source):
                    file.write(piece)
                    done += len(piece)
                    yield Step(done, total)
                file.write(archive.padding(content.size))
            file.write(archive.END)
            file.flush()
            os.fsync(file.fileno())
        _check_free(out)  # again: writing took a while
        temporary.rename(out)
    except OSError as problem:
        raise Unavailable(
            f"The bundle cannot be written: {problem.strerror}.", "Choose another place or disk."
        ) from problem
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def signers(keys: Sequence[SigningKey]) -> list[SigningKey]:
    """The two keys in the order in which they sign. Raises Refused unless they are two."""
    if len({key.public for key in keys}) != 2 or len(keys) != 2:
        raise Refused(
            "A bundle is signed by two people, each with a key of their own.",
            "Give --key twice, with two different keys; `casemate bundle key` makes one.",
        )
    return sorted(keys, key=lambda key: key.public.fingerprint)


def _check_free(out: Path) -> None:
    if out.exists():
        raise Conflict(
            "There is a file of that name already.", "Choose another name for the bundle."
        )


def _signatures(manifest: BundleManifest, keys: Sequence[SigningKey]) -> list[bytes]:
    digest = manifest.digest()
    return [key.sign(digest).canonical() for key in signers(keys)]


def _unchanged(content: Content, source: Source) -> Iterator[bytes]:
    hasher, left = hashlib.sha256(), content.size
    for piece in source.pieces():
        hasher.update(piece)
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left or f"sha256:{hasher.hexdigest()}" != content.sha256:
        raise Conflict(f"{content.path!a} changed while the bundle was made.", "Make it again.")
