"""Forgetting: a person's content is erased for good, and an entry proves that it was done.

The content goes with the keys that sealed it; the record of what happened stays. The entries of
the ledger hold a pseudonym and commitments, which nothing opens any more, and nobody's name:
that is how the right to erasure and the duty to keep logs stand together.

Sources: Regulation (EU) 2016/679 (GDPR), Article 17(1), and 17(3)(b) for what a law keeps;
Directive (EU) 2016/680, Article 16; Regulation (EU) 2024/1689 (AI Act), Articles 19(1), 26(6).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.errors import Conflict, Invalid, Refused, Unavailable
from casemate.gate.acts import digest
from casemate.oversight.hold import Holds
from casemate.store.database import Database
from casemate.store.keyring import Keyring
from casemate.store.tables import forgettings, openings, principals, reviews, runs

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.gate.principal import Principal
    from casemate.ledger.record import Ledger
    from casemate.library.library import Library

BASES: Mapping[str, str] = MappingProxyType(
    {
        "gdpr-17-1-a": "GDPR, Article 17(1)(a): the data are no longer needed",
        "gdpr-17-1-b": "GDPR, Article 17(1)(b): consent was withdrawn",
        "gdpr-17-1-c": "GDPR, Article 17(1)(c): the person objects",
        "gdpr-17-1-d": "GDPR, Article 17(1)(d): the data were processed unlawfully",
        "gdpr-17-1-e": "GDPR, Article 17(1)(e): a law asks for erasure",
        "led-16-2": "Directive (EU) 2016/680, Article 16(2)",
    }
)
"""Why somebody is forgotten. Codes, so that no personal words enter the ledger with a reason."""

_COMMITTED = ("question", "answer", "sources", "steps")
_FOLDINGS = 5  # of two seconds each, for readers to end


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """What forgetting somebody destroyed, or, before it is done, would destroy."""

    pseudonym: str
    basis: str
    counts: dict[str, int]  # keys, openings, reviews, collections, documents, blobs
    commitments: int  # in the ledger, that nothing opens any more
    digest: str  # of the sorted list of those commitments, as canonical JSON
    through: int  # the entries of the ledger that were looked at: those below this index
    # Documents in shared collections: id, name, collection; no names of what one may not read.
    remaining: Sequence[Mapping[str, str | None]]
    entry: int | None = None  # that proves it


@dataclass(frozen=True)
class _Trace:
    """What the ledger tells of a pseudonym."""

    commitments: list[str]
    documents: list[str]
    through: int
    proof: int | None  # index of an entry that proves a forgetting already


class Forgetting:
    """Forgets principals, in steps that a crash may interrupt anywhere.

    ``after`` hears the name of each step when it is done.
    """

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        gate: Gate,
        ledger: Ledger,
        library: Library,
        holds: Holds,
        *,
        after: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._gate = gate
        self._ledger = ledger
        self._library = library
        self._holds = holds
        self._after = after
        self._one = threading.Lock()

    def plan(self, caller: Caller, name: str, basis: str = "gdpr-17-1-a") -> Forgotten:
        """What would be destroyed. Raises what ``forget`` would refuse."""
        who = self._allowed(caller, name, basis)
        trace = self._trace(who.pseudonym)
        mine = openings.c.subject == who.id
        personal = self._library.personal(who.id)
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(openings).where(mine)
            count = int(connection.execute(query).scalar_one())
        counts = {"collections": len(personal), "openings": count}
        told = self._told(who.pseudonym, basis, counts, trace, [id for id, _ in personal])
        return self._as_seen_by(caller, told)

    def forget(self, caller: Caller, name: str, basis: str = "gdpr-17-1-a") -> Forgotten:
        """Erase all content of the principal called ``name``, and shut it out; for good.

        One that was begun is gone on with. Raises Invalid (basis), NotFound, Refused without the
        right, under a legal hold or while a law keeps content, Conflict if it is done already,
        Unavailable if somebody still reads what is to go: then call it again.
        """
        with self._one:
            who = self._allowed(caller, name, basis)
            with self._database.write() as connection:
                if _rows(connection, who.id).first() is None:
                    # Again, in the transaction that begins it: a hold may just have come.
                    self._check_holds(connection, who)
                    connection.execute(
                        forgettings.insert().values(
                            principal=who.id,
                            actor=caller.principal.pseudonym,
                            basis=basis,
                            intent=-1,
                            counts="{}",
                            begun=self._gate.acts.now(),
                        )
                    )
            return self._as_seen_by(caller, self._finish(who.id))

    def recover(self) -> int:
        """Finish what a crash cut off. Returns how many there were."""
        query = sa.select(forgettings.c.principal).where(forgettings.c.done.is_(None))
        with self._one, self._database.read() as connection:
            begun = list(connection.execute(query).scalars())
        for id in begun:
            with self._one:
                self._finish(id)
        return len(begun)

    # Whether

    def _allowed(self, caller: Caller, name: str, basis: str) -> Principal:
        if basis not in BASES:
            raise Invalid(
                f"There is no legal basis {basis[:40]!r}.", f"There are: {', '.join(BASES)}."
            )
        who = self._gate.principals.forgettable(caller, name)
        with self._database.read() as connection:
            row = _rows(connection, who.id).first()
            if row is not None and row.done is not None:
                raise Conflict("This person is forgotten already.", f"Entry {row.done} proves it.")
            if row is None:
                self._check_holds(connection, who)
                self._check_law(connection, who)
        return who

    def _check_holds(self, connection: sa.Connection, who: Principal) -> None:
        personal = [id for id, _ in self._library.personal(who.id)]
        against = self._holds.against(connection, who.id, personal)
        if against:
            raise Refused(
                f"A legal hold covers what is to be erased: {', '.join(against)} "
                "(GDPR, Article 17(3)(b) and (e)).",
                "Whoever may audit can lift it: `casemate hold lift ID --reason TEXT`.",
            )

    def _check_law(self, connection: sa.Connection, who: Principal) -> None:
        days = self._gate.country.keep_content_days
        query = (
            sa.select(sa.func.max(runs.c.created))
            .where(runs.c.principal == who.id)
            .where(sa.exists().where(openings.c.run == runs.c.id))
        )
        newest = connection.execute(query).scalar()
        if not days or newest is None:
            return
        free = datetime.fromisoformat(newest) + timedelta(days=days)
        if self._gate.acts.clock() < free:
            day = (free + timedelta(days=1)).date().isoformat()
            raise Refused(
                f"The law of {self._gate.country.name['en']} keeps content for {days} days "
                "(GDPR, Article 17(3)(b)).",
                f"This person can be forgotten from {day} on.",
            )

    # How: each step may be repeated, and the next begins only when it is durable

    def _finish(self, id: str) -> Forgotten:
        self._announce(id)
        self._shut_out(id)
        self._erase_documents(id)
        self._erase_content(id)
        self._rewrite(id)
        return self._prove(id)

    def _announce(self, id: str) -> None:
        """The intent, before anything is destroyed."""
        with self._database.read() as connection:
            row = _rows(connection, id).one()
        if row.intent < 0:
            intent = self._record("principal.forgetting", row)
            with self._database.write() as connection:
                connection.execute(_this(id).values(intent=intent))
        self._after("announced")

    def _shut_out(self, id: str) -> None:
        with self._database.write() as connection:
            self._gate.principals.shut_out(connection, id)
        self._after("shut out")

    def _erase_documents(self, id: str) -> None:
        # First the reasons of holds on the collections: afterwards nothing says whose they were.
        personal = [one for one, _ in self._library.personal(id)]
        with self._database.write() as connection:
            _note(connection, id, {"keys": self._holds.erase_about(connection, id, personal)})
        self._library.erase_personal(id, lambda connection, more: _note(connection, id, more))
        self._after("documents erased")

    def _erase_content(self, id: str) -> None:
        own = sa.select(runs.c.id).where(runs.c.principal == id)
        with self._database.write() as connection:
            keys = int(self._keyring.retire(connection, id))
            gone = connection.execute(sa.delete(openings).where(openings.c.subject == id)).rowcount
            # What the person wrote about others' runs, and what others wrote about theirs.
            words = (reviews.c.reviewer == id) | reviews.c.run.in_(own)
            said = connection.execute(
                reviews.update().where(words, reviews.c.reason != "").values(reason="")
            ).rowcount
            self._gate.principals.strip(connection, id)
            _note(connection, id, {"keys": keys, "openings": gone, "reviews": said})
        self._after("content erased")

    def _rewrite(self, id: str) -> None:
        clean = self._database.rewrite()
        for _ in range(_FOLDINGS):
            clean = clean or self._database.fold_in()
        if not clean:
            name = self._gate.principals.by_id(id).name
            raise Unavailable(
                "All is erased, but somebody still reads the database as it was.",
                f"Run `casemate forget {name}` to finish, or start again: it is finished then.",
            )
        self._after("rewritten")

    def _prove(self, id: str) -> Forgotten:
        with self._database.read() as connection:
            row = _rows(connection, id).one()
        trace = self._trace(row.pseudonym)
        counts = {**dict.fromkeys(_COUNTED, 0), **msgspec.json.decode(row.counts)}
        told = self._told(row.pseudonym, row.basis, counts, trace, [])
        entry = trace.proof
        if entry is None:
            entry = self._record(
                "principal.forgotten",
                row,
                intent=row.intent,
                destroyed=counts,
                commitments={
                    "count": told.commitments,
                    "digest": told.digest,
                    "through": told.through,
                },
            )
        with self._database.write() as connection:
            connection.execute(_this(id).values(done=entry))
        self._after("proven")
        return msgspec.structs.replace(told, entry=entry)

    def _record(self, kind: str, row: sa.Row[Any], **facts: object) -> int:
        entry: dict[str, object] = {
            "v": 1,
            "kind": kind,
            "time": self._gate.acts.now(),
            "actor": row.actor,
            "subject": row.pseudonym,
            "basis": row.basis,
        }
        return self._ledger.record(entry | facts).index

    def _trace(self, pseudonym: str) -> _Trace:
        commitments: list[str] = []
        added: list[str] = []
        proof, through = None, 0
        for index, raw in self._ledger.log.entries():
            through = index + 1
            if pseudonym.encode() not in raw:
                continue
            entry = msgspec.json.decode(raw)
            if entry.get("principal") == pseudonym and entry["kind"].startswith("run."):
                commitments += [entry[field] for field in _COMMITTED if field in entry]
            elif entry.get("actor") == pseudonym and entry["kind"] == "documents.added":
                added += entry["documents"]
            elif entry.get("subject") == pseudonym and entry["kind"] == "principal.forgotten":
                proof = index
        return _Trace(sorted(commitments), added, through, proof)

    def _as_seen_by(self, caller: Caller, told: Forgotten) -> Forgotten:
        """Without the names of documents and collections that ``caller`` may not read."""
        readable = {one.name for one in self._library.collections(caller)}
        return msgspec.structs.replace(
            told,
            remaining=[
                one if one["collection"] in readable else {**one, "name": None, "collection": None}
                for one in told.remaining
            ],
        )

    def _told(
        self,
        pseudonym: str,
        basis: str,
        counts: dict[str, int],
        trace: _Trace,
        personal: list[str],
    ) -> Forgotten:
        return Forgotten(
            pseudonym=pseudonym,
            basis=basis,
            counts=counts,
            commitments=len(trace.commitments),
            digest=digest(trace.commitments),
            through=trace.through,
            remaining=self._library.remaining(trace.documents, leaving_out=personal),
        )


_COUNTED = ("keys", "openings", "reviews", "collections", "documents", "blobs")


def _rows(connection: sa.Connection, id: str) -> sa.CursorResult[Any]:
    query = sa.select(forgettings, principals.c.pseudonym).join(
        principals, principals.c.id == forgettings.c.principal
    )
    return connection.execute(query.where(forgettings.c.principal == id))


def _this(id: str) -> sa.Update:
    return forgettings.update().where(forgettings.c.principal == id)


def _note(connection: sa.Connection, id: str, more: Mapping[str, int]) -> None:
    """Add to what was destroyed, in the transaction that destroys it."""
    counts: dict[str, int] = msgspec.json.decode(_rows(connection, id).one().counts)
    for name, number in more.items():
        counts[name] = counts.get(name, 0) + number
    connection.execute(_this(id).values(counts=msgspec.json.encode(counts).decode()))
