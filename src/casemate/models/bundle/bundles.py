"""Bundles of one installation: making them, believing keys, and letting one in.

Letting in goes quarantine → verify → promote, and the ledger holds each step: what arrived, that it
is whole and vouched for by two trusted people, and that it was handed on; or that it was refused.
Handing on is not putting into force: models and policies still wait for people to decide.
"""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from casemate.errors import CasemateError, Invalid, Refused, Tampered
from casemate.gate.acts import digest
from casemate.gate.policy import Resource
from casemate.ledger.receipt import canonical
from casemate.models.bundle import arrival
from casemate.models.bundle import manifest as manifest_
from casemate.models.bundle.arrival import Member, Outcome, Promote
from casemate.models.bundle.book import FILE, PROMOTED, Book, Entries, TrustedKey
from casemate.models.bundle.inventory import sbom
from casemate.models.bundle.keys import BundleKey, SigningKey
from casemate.models.bundle.manifest import FOLDERS, BundleManifest, Custody
from casemate.models.bundle.reading import Reader, Seal, unreadable
from casemate.models.bundle.writing import Source, Step, digested, signers, write
from casemate.store.folder import disk_problem

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label

INCOMING = "incoming"  # papers and proposals of bundles that came in, for people to look at


@dataclass(frozen=True)
class Made:
    """A bundle that was made."""

    manifest: BundleManifest
    digest: str


@dataclass(frozen=True)
class Received:
    """A bundle that was let in. ``folder``: its papers, inside the data folder."""

    manifest: BundleManifest
    digest: str
    signers: tuple[str, ...]  # names
    folder: str


class Bundles:
    """Makes and receives bundles; each act is recorded."""

    def __init__(
        self,
        data: Path,
        gate: Gate,
        entries: Entries,
        *,
        vkey: str,
        promote: Mapping[str, Promote],
    ) -> None:
        self._data = data
        self._gate = gate
        self._vkey = vkey  # of the ledger: its name is the origin of what is made here
        self._promote = promote
        self._book = Book(data / FILE, entries)
        self._changing = threading.Lock()

    # Whose keys count

    def trust(self, actor: Caller, name: str, key: BundleKey) -> TrustedKey:
        """Let the key of a person count. Raises Invalid, Refused, Conflict."""
        self._may(actor)
        with self._changing:
            self._book.check_new(name, key)
            self._record(actor, "bundle.key_trusted", key=key.fingerprint, name=digest(name))
            one = TrustedKey(name, key.raw, self._gate.acts.now())
            self._book.add(one)
        return one

    def distrust(self, actor: Caller, name: str) -> TrustedKey:
        """Let a key count no more, for bundles to come. Raises Refused, NotFound."""
        self._may(actor)
        with self._changing:
            one = self._book.one(name)
            self._record(
                actor, "bundle.key_removed", key=one.key.fingerprint, name=digest(one.name)
            )
            self._book.remove(name)
        return one

    def trusted(self, actor: Caller) -> list[TrustedKey]:
        """Whose keys count, by name. Raises Refused."""
        self._may(actor, "read")
        return self._book.trusted()

    # Making

    def make(
        self,
        actor: Caller,
        out: Path,
        sources: Sequence[Source],
        *,
        sequence: int,
        keys: Sequence[SigningKey],
        note: str,
        boms: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[Step | Made]:
        """Write a bundle to ``out``; how far it has come, and last what was made.

        Raises Refused if the caller may not see something of it or the keys are not two, Invalid,
        Conflict, Unavailable.
        """
        self._may(actor)
        ordered = signers(keys)
        if not sources:
            raise Invalid("There is nothing to put in.", "Name a model, documents or files.")
        label = sources[0].label
        for source in sources:
            label = label.join(source.label)
        self._may(actor, labels=(label,))
        now = self._gate.acts.now()
        fingerprints = tuple(key.public.fingerprint for key in ordered)
        manifest = BundleManifest(
            origin=self._vkey.partition("+")[0],
            sequence=sequence,
            made=now,
            label=str(label),
            contents=tuple(digested(source) for source in sources),
            signers=fingerprints,
            custody=tuple(Custody(now, "made", key, note) for key in fingerprints),
            sbom=sbom(),
            boms={name: dict(bom) for name, bom in boms.items()},
        ).checked()
        # Before the first byte is written: nothing leaves without a record.
        self._record(actor, "bundle.made", **self._facts(manifest), signers=list(fingerprints))
        yield from write(out, manifest, sources, ordered)
        yield Made(manifest, manifest.digest())

    # Letting in

    def receive(self, actor: Caller, place: Path) -> Iterator[Step | Outcome | Received]:
        """Let a bundle in; how far it has come, what became of its contents, and last itself.

        Raises Refused for keys that do not count, a label above the caller's clearance, and a
        sequence that is not above the last; Tampered for anything that is not as it was made;
        Invalid, NotFound, Unavailable, and what promoting raises. Then nothing stays of it but
        what is harmless: proposals that nobody approved, and documents that the same bundle finds
        unchanged the next time.
        """
        self._may(actor)
        facts: dict[str, object] = {}
        with _opened(place) as stream, self._changing:
            try:
                with arrival.quarantine(self._data) as folder:
                    yield from self._let_in(actor, Reader(stream), folder, facts)
            except (CasemateError, OSError) as problem:
                told = disk_problem(problem) if isinstance(problem, OSError) else problem
                with suppress(CasemateError):  # a full disk takes no entry either
                    reason = type(told).__name__.lower()
                    self._record(actor, "bundle.refused", **facts, reason=reason)
                if told is problem:
                    raise
                raise told from problem

    def recover(self) -> None:
        """Delete what an interrupted arrival left behind (at start)."""
        arrival.recover(self._data)

    def _let_in(
        self, actor: Caller, reader: Reader, folder: Path, facts: dict[str, object]
    ) -> Iterator[Step | Outcome | Received]:
        seal = reader.seal()
        facts["bundle"] = seal.digest
        self._record(actor, "bundle.quarantined", **facts)
        names = self._believed(seal)
        manifest = seal.open()
        facts.update(self._facts(manifest))
        self._may(actor, labels=(self._label(manifest),))
        self._check_sequence(manifest)
        arrival.check_room(folder, manifest)
        found: list[Member] = []
        for step in arrival.members(reader, manifest, folder):
            if isinstance(step, list):
                found = step
            else:
                yield step
        self._record(actor, "bundle.verified", **facts, signers=list(manifest.signers))
        waiting = []
        for kind in FOLDERS:
            own = [member for member in found if member.content.kind == kind]
            if own and kind in self._promote:
                yield from self._promote[kind](actor, own)
            else:
                waiting += own
        custody = [*map(msgspec.to_builtins, manifest.custody), self._received()]
        papers = folder / "papers"
        arrival.keep(papers, seal, canonical(custody), waiting)
        kept = self._put(papers, f"{manifest.sequence}-{seal.digest[7:23]}")
        for member in waiting:
            yield Outcome(member.content.kind, f"{kept}/{member.content.path}", "placed")
        self._record(actor, PROMOTED, **facts, custody=[digest(step) for step in custody])
        with suppress(CasemateError):  # the ledger holds it; the book only saves looking there
            self._book.catch_up()
        yield Received(manifest, seal.digest, names, kept)

    def _believed(self, seal: Seal) -> tuple[str, ...]:
        """Whose the two signatures are. Raises Refused for a key that does not count."""
        known = {one.key: one.name for one in self._book.trusted()}
        for signature in seal.signatures:
            if signature.key not in known:
                raise Refused(
                    f"The bundle is signed by a key that is not trusted here: "
                    f"{signature.key.fingerprint}.",
                    "If you know whose it is: `casemate bundle trust add NAME KEY.pub`.",
                )
        return tuple(sorted(known[signature.key] for signature in seal.signatures))

    def _label(self, manifest: BundleManifest) -> Label:
        """The label of a bundle. Raises Invalid; Tampered if it is not that of its contents."""
        policy = self._gate.country.policy
        joined = policy.parse(manifest.contents[0].label)
        for text in sorted({content.label for content in manifest.contents}):
            joined = joined.join(policy.parse(text))
        if str(joined) != manifest.label:
            raise Tampered("The label of the bundle is not that of its contents.", "Make it again.")
        return joined

    def _check_sequence(self, manifest: BundleManifest) -> None:
        last = self._book.last(manifest.origin)
        if last is not None and manifest.sequence <= last.sequence:
            raise Refused(
                f"Bundle {manifest.sequence} of {manifest.origin} is not newer than bundle "
                f"{last.sequence}, which came in before.",
                "Take the newest one; its maker gives it a higher --sequence.",
            )

    def _put(self, papers: Path, name: str) -> str:
        """Move papers and proposals to where people find them, inside the data folder."""
        kept = self._data / INCOMING / name
        kept.parent.mkdir(exist_ok=True, mode=0o700)
        shutil.rmtree(kept, ignore_errors=True)  # of an attempt that did not come to its end
        papers.rename(kept)
        arrival.sync(kept.parent)
        return f"{INCOMING}/{name}"

    def _received(self) -> dict[str, str]:
        """The step of custody that is made here."""
        key = manifest_.digest(self._vkey.encode())
        return {"time": self._gate.acts.now(), "act": "received", "key": key, "note": ""}

    def _facts(self, manifest: BundleManifest) -> dict[str, object]:
        """What the ledger says of a bundle: no name, no content."""
        return {
            "bundle": manifest.digest(),
            "origin": digest(manifest.origin),
            "sequence": manifest.sequence,
            "label": manifest.label,
        }

    def _may(
        self, actor: Caller, action: str = "administer", labels: tuple[Label, ...] = ()
    ) -> None:
        """Raise Refused, on record, unless the caller may do this with such information."""
        resource = Resource("Installation", "bundles", actor.principal.tenant)
        self._gate.rights.require(actor, action, resource, labels=labels)

    def _record(self, actor: Caller, kind: str, **facts: object) -> None:
        self._gate.acts.record(kind, actor.principal, **facts)


@contextmanager
def _opened(place: Path) -> Iterator[BinaryIO]:
    """A bundle to be read once: a file, or a pipe that somebody writes to."""
    try:
        kind = place.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise Invalid("This is neither a file nor a pipe.", "Give a bundle.")
        stream = place.open("rb")
    except OSError as problem:
        raise unreadable(problem) from problem
    with stream:
        yield stream
