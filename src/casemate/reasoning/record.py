"""Records of runs: two ledger entries each, and the sealed content that they commit to.

Content is stored before its entry is written, so an entry never commits to something that is
lost. What the ledger holds of a run is pseudonymous metadata and commitments; the content lies
encrypted under the asker's data key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from casemate.at_hand import promptly
from casemate.errors import NotFound
from casemate.ledger.canonical import canonical
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.receipt import ENTRIES, Opening, commit_written
from casemate.reasoning import recorder
from casemate.reasoning.content import question_content
from casemate.reasoning.event import Answer, Request, Source, Step
from casemate.reasoning.recorder import Recorder, Records
from casemate.store.database import Database
from casemate.store.keyring import Keyring
from casemate.store.tables import openings, runs

if TYPE_CHECKING:
    from casemate.gate.admission import Admission
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label, LabelPolicy
    from casemate.ledger.record import Ledger, Recorded

_NONCE_BYTES = 32
_Entry = tuple[int, dict[str, Any], str]  # index, content, leaf hash


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is listed."""

    id: str
    use_case: str
    model: str
    label: str
    outcome: str | None
    question: str
    created: str
    ended: str | None
    admitted_entry: int | None
    finished_entry: int | None

    @property
    def entry(self) -> int | None:
        """The entry that closes the run, or the one that opened it."""
        return self.admitted_entry if self.finished_entry is None else self.finished_entry


class Run(Summary, frozen=True, kw_only=True):
    """A run with all that its asker may see of it."""

    answer: Answer | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Opened:
    """A run that was admitted: what its second entry has to repeat."""

    id: str
    head: Mapping[str, object]
    admitted: Recorded
    subject: str


@dataclass(frozen=True)
class _Begins:
    """A run that is about to be recorded."""

    id: str
    head: Mapping[str, object]
    subject: str
    record: recorder.Opening

    def opened(self, admitted: Recorded) -> Opened:
        """The run, once it is."""
        return Opened(self.id, self.head, admitted, self.subject)


def recorded(database: Database) -> int:
    """How many entries the ledger held at least when the newest run was recorded."""
    with database.read() as connection:
        found = connection.execute(
            sa.select(
                sa.func.max(runs.c.since),
                sa.func.max(runs.c.admitted) + 1,
                sa.func.max(runs.c.finished) + 1,
            )
        ).one()
    return max((one for one in found if one is not None), default=0)


class Runs:
    """Writes and reads records of runs."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        ledger: Ledger,
        policy: LabelPolicy,
        *,
        clock: Callable[[], str],
        new_id: Callable[[str], str],
        random: Callable[[int], bytes],
        recorder: Records | None = None,
    ) -> None:
        self._database = database
        self._keyring = keyring
        self._ledger = ledger
        self._policy = policy
        self._clock = clock
        self._new_id = new_id
        self._random = random
        # Another process may write what is recorded here.
        self._recorder = recorder or Recorder(database, keyring, ledger)

    # Writing

    @property
    def records(self) -> Records:
        """What writes records."""
        return self._recorder

    def open(
        self,
        admission: Admission,
        request: Request | Mapping[str, object],
        model_digest: str,
        label: Label,
    ) -> Opened:
        """Record that a question of this ``label`` was admitted; durable when it returns.

        ``request``: the question, or the content of what is asked where it is none.
        """
        begins = self._begins(admission, request, model_digest, label)
        return begins.opened(self._recorder.write(begins.record))

    async def open_soon(
        self, admission: Admission, request: Request, model_digest: str, label: Label
    ) -> Opened:
        """As ``open``, for a task; the record is made also if that is cancelled meanwhile.

        Then what was opened is closed as failed before CancelledError goes on.
        """
        begins = self._begins(admission, request, model_digest, label)
        if not self._recorder.seals:
            # A thread, where the asker's key has to be made: that waits for whoever writes.
            await promptly(begins.record.sealed)
        writing = self._recorder.write_soon(begins.record)
        try:
            return begins.opened(await asyncio.shield(writing))
        except asyncio.CancelledError:
            # In a task of its own, since whoever waits may be cancelled once more.
            closing = asyncio.ensure_future(self._close_opened(begins, writing, label))
            await asyncio.shield(closing)
            raise

    async def _close_opened(
        self, begins: _Begins, writing: Awaitable[Recorded], label: Label
    ) -> None:
        await self.close_soon(begins.opened(await writing), "failed", label, {})

    def close(
        self,
        opened: Opened,
        outcome: str,
        label: Label,
        contents: Mapping[str, object],
    ) -> Recorded:
        """Record how a run ended, with commitments to ``contents``; durable when it returns."""
        return self._recorder.write(self._ends(opened, outcome, label, contents))

    def close_soon(
        self, opened: Opened, outcome: str, label: Label, contents: Mapping[str, object]
    ) -> asyncio.Future[Recorded]:
        """As ``close``, for a task. Whoever stops waiting does not stop the writing."""
        return self._recorder.write_soon(self._ends(opened, outcome, label, contents))

    def settle(self) -> None:
        """Write what waits; nothing can be recorded any more."""
        self._recorder.close()

    def _begins(
        self,
        admission: Admission,
        request: Request | Mapping[str, object],
        model_digest: str,
        label: Label,
    ) -> _Begins:
        run, subject = self._new_id("r"), admission.principal.id
        now, written = self._clock(), str(label)
        head: dict[str, object] = {
            "v": 1,
            "run": run,
            "tenant": admission.tenant,
            "principal": admission.principal.pseudonym,
            "use_case": admission.use_case.id,
            "label": written,
            "model": {"id": admission.model, "digest": model_digest},
            "policy": {
                "decision": "allow",
                "deciding": list(admission.decision.deciding),
                "digest": admission.decision.digest,
            },
        }
        question = question_content(request) if isinstance(request, Request) else request

        def sealed() -> recorder.Sealed:
            rows, commitments = self._seal(run, subject, "admitted", {"question": question})
            return rows, canonical({**head, "kind": "run.admitted", "time": now, **commitments})

        row: dict[str, object] = {
            "id": run,
            "tenant": admission.tenant,
            "principal": subject,
            "use_case": admission.use_case.id,
            "model": admission.model,
            "label": written,
            "created": now,
        }
        return _Begins(run, head, subject, recorder.Opening(subject, row, sealed))

    def _ends(
        self, opened: Opened, outcome: str, label: Label, contents: Mapping[str, object]
    ) -> recorder.Ending:
        now, written = self._clock(), str(label)

        def sealed() -> recorder.Sealed:
            rows, commitments = self._seal(opened.id, opened.subject, "finished", contents)
            entry = {
                **opened.head,
                "kind": "run.finished",
                "time": now,
                "label": written,
                "outcome": outcome,
                "admitted": {"index": opened.admitted.index, "leaf": opened.admitted.leaf},
                **self._witnesses(),
                **commitments,
            }
            return rows, canonical(entry)

        risen = None if written == opened.head["label"] else written
        after: dict[str, object] = {
            "admitted": opened.admitted.index,
            "outcome": outcome,
            "label": written,
            "ended": now,
        }
        return recorder.Ending(opened.subject, opened.id, risen, after, sealed)

    def cut_off(self, opening: recorder.Opening, admitted: Recorded) -> asyncio.Future[Recorded]:
        """Record that a run which another process opened ends as failed; for a task."""
        entry = msgspec.json.decode(opening.entry)
        now, label = self._clock(), entry["label"]
        failed = canonical(_failed(entry, admitted.index, admitted.leaf, now))
        after: dict[str, object] = {
            "admitted": admitted.index,
            "outcome": "failed",
            "label": label,
            "ended": now,
        }
        return self._recorder.write_soon(
            recorder.Ending(opening.subject, entry["run"], None, after, lambda: ((), failed))
        )

    def _witnesses(self) -> dict[str, object]:
        """What the entry says of who is asked to cosign, so that a receipt says it."""
        witnesses = self._ledger.witnesses
        return {} if witnesses is None else {"witnesses": dict(witnesses.policy)}

    def recover(self) -> int:
        """Close runs that were cut off, as failed. Returns how many there were."""
        with self._database.read() as connection:
            cut_off = connection.execute(sa.select(runs).where(runs.c.outcome.is_(None))).all()
        entries = self._entries_of(cut_off)
        for row in cut_off:
            admitted, finished = (entries.get((row.id, f"run.{kind}")) for kind in ENTRIES)
            if admitted is not None and finished is None:
                index, entry, leaf = admitted
                ending = _failed(entry, index, leaf, self._clock())
                finished = self._ledger.record(ending).index, ending, ""
            with self._database.write() as connection:
                if finished is None or finished[1]["outcome"] == "failed":
                    # Content that no entry commits to was never an answer.
                    connection.execute(
                        sa.delete(openings).where(
                            openings.c.run == row.id, openings.c.entry == "finished"
                        )
                    )
                connection.execute(
                    sa.update(runs)
                    .where(runs.c.id == row.id)
                    .values(
                        outcome="failed" if finished is None else finished[1]["outcome"],
                        label=row.label if finished is None else finished[1]["label"],
                        admitted=None if admitted is None else admitted[0],
                        finished=None if finished is None else finished[0],
                        ended=self._clock(),
                    )
                )
        return len(cut_off)

    # Reading

    def list(self, caller: Caller, *, limit: int = 50, before: str | None = None) -> list[Summary]:
        """The caller's own runs, newest first, whose label the caller's clearance dominates."""
        query = (
            sa.select(runs)
            .where(*self._own(caller))
            .order_by(runs.c.since.desc(), runs.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            row = self._row(caller, before)
            query = query.where(sa.tuple_(runs.c.since, runs.c.id) < sa.tuple_(row.since, row.id))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [Summary(**self._summary(row)) for row in rows]

    def get(self, caller: Caller, id: str) -> Run:
        """One run. Raises NotFound if it is absent or hidden."""
        row = self._row(caller, id)
        contents = self.contents(caller, id)
        steps = contents.get("steps", {})
        return Run(
            **self._summary(row),
            answer=_answer(contents),
            steps=tuple(msgspec.convert(steps.get("steps", []), list[Step])),
        )

    def contents(self, caller: Caller, id: str) -> dict[str, Any]:
        """What a run's openings hold, by field. Raises NotFound if it is absent or hidden."""
        row = self._row(caller, id)
        return {opening.field: opening.content for opening in self._openings(row)}

    def receipt(self, caller: Caller, id: str) -> bytes:
        """The receipt file. Raises NotFound if there is none (yet)."""
        row = self._row(caller, id)
        if row.finished is None or row.admitted is None or row.outcome == "failed":
            raise NotFound(
                "This run has no receipt.", "Only a run that ended with an answer has one."
            )
        opened = self._openings(row)
        if not opened:
            raise NotFound(
                "The content of this run was erased, and with it what a receipt shows.",
                "A receipt that was kept still proves the run.",
            )
        return self._ledger.receipt_for(row.admitted, row.finished, opened).encode()

    def answers_of(self, principal: str, limit: int) -> Iterator[tuple[str, Label]]:
        """What runs of ``principal`` (an id) answered, newest first, each with its label.

        No rights asked: for who has to know how high words are. At most ``limit`` runs are looked
        at; erased ones are passed over.
        """
        query = (
            sa.select(runs.c.id, runs.c.label)
            .where(runs.c.principal == principal, runs.c.finished.is_not(None))
            .order_by(runs.c.since.desc(), runs.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            try:
                answer = self._open(row.id, "finished", "answer").content
            except NotFound:
                continue
            yield answer["text"], self._policy.parse(row.label)

    def collections_of(self, run: str) -> frozenset[str]:
        """Names of the collections that a run's sources came from; no rights asked.

        For who watches over holds. Empty if the run has no sources, or they were erased.
        """
        try:
            sources = self._open(run, "finished", "sources").content
        except NotFound:
            return frozenset()
        return frozenset(source["collection"] for source in sources)

    def _summary(self, row: sa.Row[tuple[Any, ...]]) -> dict[str, Any]:
        try:
            asked = self._open(row.id, "admitted", "question").content
            question = asked["text"] if "text" in asked else "\n".join(asked.get("texts", ()))
        except NotFound:
            question = ""
        return {
            "id": row.id,
            "use_case": row.use_case,
            "model": row.model,
            "label": row.label,
            "outcome": row.outcome,
            "question": question,
            "created": row.created,
            "ended": row.ended,
            "admitted_entry": row.admitted,
            "finished_entry": row.finished,
        }

    def _row(self, caller: Caller, id: str) -> sa.Row[tuple[Any, ...]]:
        query = sa.select(runs).where(runs.c.id == id, *self._own(caller))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(
                "There is no such run that you may see.", "List yours with `casemate run list`."
            )
        return row

    def _own(self, caller: Caller) -> Sequence[sa.ColumnElement[bool]]:
        """What holds for the runs a caller may see: in the query, so that counts hold no more."""
        with self._database.read() as connection:
            labels = connection.execute(
                sa.select(runs.c.label).where(runs.c.principal == caller.principal.id).distinct()
            ).scalars()
            readable = [
                text for text in labels if self._policy.readable(text, caller.principal.clearance)
            ]
        own = [runs.c.principal == caller.principal.id, runs.c.label.in_(readable)]
        if caller.use_case is not None:  # a key that is bound to one use case
            own.append(runs.c.use_case == caller.use_case)
        return own

    def _openings(self, row: sa.Row[tuple[Any, ...]]) -> tuple[Opening, ...]:
        query = sa.select(openings.c.entry, openings.c.field).where(openings.c.run == row.id)
        if row.finished is None:
            # No answer without a record: what no entry commits to yet is not shown.
            query = query.where(openings.c.entry == "admitted")
        with self._database.read() as connection:
            places = connection.execute(query).all()
        return tuple(self._open(row.id, place.entry, place.field) for place in places)

    def _open(self, run: str, entry: str, field: str) -> Opening:
        query = sa.select(openings).where(
            openings.c.run == run, openings.c.entry == entry, openings.c.field == field
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound("This run holds no such content.", "It ended before there was any.")
        plain = self._keyring.open(row.subject, row.sealed, about=f"{run}/{entry}/{field}")
        content = msgspec.json.decode(plain[_NONCE_BYTES:])
        return Opening(entry, field, plain[:_NONCE_BYTES], content)

    def _seal(
        self, run: str, subject: str, entry: str, contents: Mapping[str, object]
    ) -> tuple[Sequence[dict[str, object]], dict[str, str]]:
        """Rows of sealed ``contents``, and the commitment to each by field."""
        if not contents:
            return [], {}
        commitments, opened = {}, []
        for field, content in contents.items():
            nonce, written = self._random(_NONCE_BYTES), canonical(content)
            commitments[field] = commit_written(nonce, written)
            opened.append((nonce + written, f"{run}/{entry}/{field}"))
        rows: list[dict[str, object]] = [
            {"run": run, "entry": entry, "field": field, "subject": subject, "sealed": sealed}
            for field, sealed in zip(contents, self._keyring.seal_all(subject, opened), strict=True)
        ]
        return rows, commitments

    def _entries_of(
        self, cut_off: Sequence[sa.Row[tuple[Any, ...]]]
    ) -> dict[tuple[str, str], _Entry]:
        """The entries of runs that the database does not know the end of, by run and kind."""
        found: dict[tuple[str, str], _Entry] = {}
        wanted = {row.id for row in cut_off}
        if wanted:
            for index, raw in self._ledger.log.entries(min(row.since for row in cut_off)):
                entry = msgspec.json.decode(raw)
                if entry.get("run") in wanted:
                    leaf = f"sha256:{leaf_hash(raw).hex()}"
                    found[entry["run"], entry["kind"]] = (index, entry, leaf)
        return found


def _failed(admitted: Mapping[str, Any], index: int, leaf: str, now: str) -> dict[str, object]:
    """The second entry of a run that was cut off, after its first, ``admitted``."""
    head = {name: admitted[name] for name in admitted if name not in ("question", "kind")}
    return {
        **head,
        "kind": "run.finished",
        "time": now,
        "outcome": "failed",
        "admitted": {"index": index, "leaf": leaf},
    }


def answer_content(answer: Answer) -> dict[str, object]:
    """The answer as it is committed to."""
    calls = [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in answer.calls]
    return ({"calls": calls} if calls else {}) | {
        "text": answer.text,
        "language": answer.language,
        "citations": [
            {
                "number": one.number,
                "source": one.source,
                "start": one.start,
                "end": one.end,
                "quote": one.quote,
            }
            for one in answer.citations
        ],
        "sentences": [
            {
                "start": one.start,
                "end": one.end,
                "citations": list(one.citations),
                "support": one.support,
            }
            for one in answer.sentences
        ],
    }


def source_content(source: Source) -> dict[str, object]:
    """A source as it is committed to."""
    built: dict[str, object] = msgspec.to_builtins(source)
    return built


def _answer(contents: Mapping[str, Any]) -> Answer | None:
    if "answer" not in contents or "sources" not in contents:
        return None
    thinking = contents.get("steps", {}).get("thinking", "")
    return msgspec.convert(
        {**contents["answer"], "sources": contents["sources"], "thinking": thinking}, Answer
    )
