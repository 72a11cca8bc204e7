"""The book of bundles: whose keys count here, and which bundle of each origin came last.

It lies in ``bundles.json`` in the data folder. That an older bundle never comes in after a newer
one rests on the ledger too: what was promoted after the entry that the book knows last is looked
up there, so a book that was lost or put back to an older state lets nothing older in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from casemate.errors import Conflict, Invalid, NotFound
from casemate.gate.acts import digest
from casemate.models.bundle.keys import BundleKey
from casemate.models.manifest import is_name
from casemate.store.folder import disk_problem, write_durably

FILE = "bundles.json"
PROMOTED = "bundle.promoted"
_MARK = PROMOTED.encode()

Entries = Callable[[int], Iterator[tuple[int, bytes]]]  # of the ledger, from an index on


class TrustedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key that counts, and the name of the person whose it is."""

    name: str
    raw: bytes
    since: str

    @property
    def key(self) -> BundleKey:
        """The key itself."""
        return BundleKey(self.raw)


class Last(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last bundle of an origin that was promoted."""

    sequence: int
    manifest: str  # digest


class _Pages(msgspec.Struct, forbid_unknown_fields=True):
    trusted: list[TrustedKey] = []
    origins: dict[str, Last] = {}  # by the digest of the origin's name
    entry: int = 0  # of the ledger; everything before it is in ``origins``
    v: int = 1


class Book:
    """Reads and writes ``bundles.json``; nobody is asked for rights here."""

    def __init__(self, path: Path, entries: Entries) -> None:
        self._path = path
        self._entries = entries

    def trusted(self) -> list[TrustedKey]:
        """The keys that count, by name."""
        return sorted(self._read().trusted, key=lambda one: one.name)

    def check_new(self, name: str, key: BundleKey) -> None:
        """Raise Invalid or Conflict unless ``key`` can be added as ``name``."""
        if not is_name(name):
            raise Invalid(
                "This cannot be the name of a key.",
                "Give lower-case letters, digits, dots and hyphens, at most 64.",
            )
        for one in self._read().trusted:
            if name == one.name or key == one.key:
                raise Conflict(
                    f"{one.name} is trusted already{'' if name == one.name else ' with this key'}.",
                    "`casemate bundle trust list` shows whose keys count.",
                )

    def add(self, one: TrustedKey) -> None:
        """Let a key count. Raises like ``check_new``."""
        self.check_new(one.name, one.key)
        pages = self._read()
        pages.trusted.append(one)
        self._write(pages)

    def one(self, name: str) -> TrustedKey:
        """The key of that name. Raises NotFound."""
        for one in self._read().trusted:
            if one.name == name:
                return one
        raise NotFound(
            "There is no trusted key of that name.", "`casemate bundle trust list` shows them."
        )

    def remove(self, name: str) -> None:
        """Let a key count no more. Raises NotFound."""
        gone = self.one(name)
        pages = self._read()
        pages.trusted.remove(gone)
        self._write(pages)

    def last(self, origin: str) -> Last | None:
        """The last bundle that came in from ``origin``."""
        pages = self._read()
        self._catch_up(pages)
        return pages.origins.get(digest(origin))

    def catch_up(self) -> None:
        """Write down what the ledger has promoted since."""
        pages = self._read()
        self._catch_up(pages)
        self._write(pages)

    def _catch_up(self, pages: _Pages) -> None:
        for index, raw in self._entries(pages.entry):
            pages.entry = index + 1
            if _MARK not in raw:  # most entries are of runs
                continue
            found = msgspec.json.decode(raw)
            if found["kind"] == PROMOTED:
                known = pages.origins.get(found["origin"])
                if known is None or found["sequence"] > known.sequence:
                    pages.origins[found["origin"]] = Last(found["sequence"], found["bundle"])

    def _read(self) -> _Pages:
        try:
            pages = msgspec.json.decode(self._path.read_bytes(), type=_Pages)
        except FileNotFoundError:
            return _Pages()
        except OSError as problem:
            raise disk_problem(problem) from problem
        except msgspec.DecodeError as problem:
            raise _damaged(str(problem)) from None
        if pages.v != 1 or not all(len(one.raw) == 32 for one in pages.trusted):
            raise _damaged("of another version, or a key is none")
        return pages

    def _write(self, pages: _Pages) -> None:
        try:
            write_durably(self._path, msgspec.json.encode(pages))
        except OSError as problem:
            raise disk_problem(problem) from problem


def _damaged(how: str) -> Invalid:
    return Invalid(
        f"{FILE} in the data folder is damaged: {how}.",
        "Restore it from a backup; without it no key is trusted.",
    )
