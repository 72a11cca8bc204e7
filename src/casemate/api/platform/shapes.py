"""What ``/api`` takes and gives, as types: JSON and OpenAPI are both read off them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from casemate.oversight.applying import Change
from casemate.reasoning.event import Admitted, Answer, Finished, Step

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection, Document, Hit
    from casemate.reasoning.record import Run, Summary


class Who(Struct, frozen=True, kw_only=True):
    """The asker, as the gate knows them."""

    name: str
    kind: str
    roles: list[str]
    clearance: str
    use_case: str | None  # the only one this key may be used for
    via: str
    assurance: str | None  # eIDAS level of the means that a session was opened with, if known
    languages: list[str]

    @classmethod
    def of(cls, caller: Caller, languages: tuple[str, ...]) -> Who:
        """How ``caller`` is shown."""
        principal = caller.principal
        return cls(
            name=principal.name,
            kind=principal.kind,
            roles=sorted(principal.roles),
            clearance=str(principal.clearance),
            use_case=caller.use_case,
            via=caller.via,
            assurance=caller.assurance,
            languages=list(languages),
        )


class NewCollection(Struct, frozen=True, kw_only=True):
    """A collection to create; without a label it gets the lowest."""

    name: str
    label: str | None = None


class CollectionShape(Struct, frozen=True, kw_only=True):
    """A collection that the asker may read."""

    id: str
    name: str
    label: str

    @classmethod
    def of(cls, collection: Collection) -> CollectionShape:
        """How ``collection`` is shown."""
        return cls(id=collection.id, name=collection.name, label=str(collection.label))


class Collections(Struct, frozen=True):
    """Collections by name."""

    collections: list[CollectionShape]


class DocumentShape(Struct, frozen=True, kw_only=True):
    """A document. ``pages``: character spans into its text; empty where there are no pages."""

    id: str
    name: str
    collection: str
    label: str
    title: str | None
    media_type: str
    digest: str
    size: Annotated[int, Meta(description="Bytes of the original file.")]
    characters: Annotated[int, Meta(description="Code points of the extracted text.")]
    pages: list[tuple[int, int]]
    added: str

    @classmethod
    def of(cls, document: Document) -> DocumentShape:
        """How ``document`` is shown."""
        return cls(
            id=document.id,
            name=document.name,
            collection=document.collection,
            label=str(document.label),
            title=document.title,
            media_type=document.media_type,
            digest=document.digest,
            size=document.size,
            characters=document.characters,
            pages=list(document.pages),
            added=document.added,
        )


class Documents(Struct, frozen=True):
    """Documents by name."""

    documents: list[DocumentShape]


class AddedShape(Struct, frozen=True, kw_only=True):
    """What became of a file: added, replaced or unchanged."""

    outcome: str
    document: DocumentShape | None


class HitShape(Struct, frozen=True, kw_only=True):
    """A passage that a search found. ``score`` compares within one search only."""

    document: str
    document_name: str
    collection: str
    page: int | None
    start: int
    end: int
    heading: str
    label: str
    text: str
    score: float
    why: list[str]

    @classmethod
    def of(cls, hit: Hit) -> HitShape:
        """How ``hit`` is shown."""
        passage = hit.passage
        return cls(
            document=passage.document,
            document_name=passage.document_name,
            collection=passage.collection,
            page=passage.page,
            start=passage.start,
            end=passage.end,
            heading=passage.heading,
            label=str(passage.label),
            text=passage.text,
            score=hit.score,
            why=list(hit.why),
        )


class Hits(Struct, frozen=True):
    """Hits, best first."""

    hits: list[HitShape]


class RunAnswer(Struct, frozen=True, kw_only=True):
    """A run that has just ended. The entries are its places in the ledger."""

    id: str
    use_case: str
    model: str
    label: str
    outcome: str
    answer: Answer
    steps: tuple[Step, ...]
    admitted_entry: int
    finished_entry: int
    receipt: str

    @classmethod
    def of(cls, admitted: Admitted, finished: Finished) -> RunAnswer:
        """The run between these two events."""
        return cls(
            id=finished.run,
            use_case=admitted.use_case,
            model=admitted.model,
            label=finished.label,
            outcome=finished.outcome,
            answer=finished.answer,
            steps=finished.steps,
            admitted_entry=admitted.entry,
            finished_entry=finished.entry,
            receipt=f"/api/runs/{finished.run}/receipt",
        )


class RunSummaryShape(Struct, frozen=True, kw_only=True):
    """A run as it is listed. ``outcome`` is null while it runs."""

    id: str
    use_case: str
    model: str
    label: str
    outcome: str | None
    question: str | None
    created: str
    ended: str | None

    @classmethod
    def of(cls, run: Summary) -> RunSummaryShape:
        """How ``run`` is listed."""
        return cls(**_summary(run))


class Runs(Struct, frozen=True):
    """Runs, newest first. ``before``: the id to give for the next page, if there is one."""

    runs: list[RunSummaryShape]
    before: str | None


class RunShape(Struct, frozen=True, kw_only=True):
    """A run in full."""

    id: str
    use_case: str
    model: str
    label: str
    outcome: str | None
    question: str | None
    created: str
    ended: str | None
    answer: Answer | None
    steps: tuple[Step, ...]
    admitted_entry: int | None
    finished_entry: int | None
    receipt: str

    @classmethod
    def of(cls, run: Run) -> RunShape:
        """How ``run`` is shown."""
        return cls(
            **_summary(run),
            answer=run.answer,
            steps=run.steps,
            admitted_entry=run.admitted_entry,
            finished_entry=run.finished_entry,
            receipt=f"/api/runs/{run.id}/receipt",
        )


class UseCaseShape(Struct, frozen=True, kw_only=True):
    """A use case that the asker may use.

    ``collections`` are names of those that the asker may read; null if it names none itself and
    so has all of them.
    """

    id: str
    purpose: str
    state: str
    models: list[str]
    collections: list[str] | None
    ceiling: str
    oversight: str
    hours: str | None = None  # opening hours, or always


class UseCases(Struct, frozen=True):
    """Use cases by id."""

    use_cases: list[UseCaseShape]


class Reason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is decided."""

    reason: str


class Approval(Struct, frozen=True, forbid_unknown_fields=True):
    """An approval: why, and the version that was looked at."""

    reason: str = ""
    version: int | None = None


class Digest(Struct, frozen=True, forbid_unknown_fields=True):
    """Which set of policies is meant."""

    digest: str


class DecidedShape(Struct, frozen=True, kw_only=True):
    """What a use case, or a set of policies, is after a decision."""

    id: str
    state: str
    version: int | None
    pending: int | None
    before: str | None


class Applied(Struct, frozen=True):
    """What became of each item of a declaration, in its order."""

    changes: list[Change]


class PolicySetShape(Struct, frozen=True, kw_only=True):
    """A set of policy files."""

    digest: str
    state: str
    proposed: str
    files: dict[str, str]


class PolicySets(Struct, frozen=True):
    """The policies in force, and those proposed."""

    policies: list[PolicySetShape]


class ModelShape(Struct, frozen=True, kw_only=True):
    """A model of this installation."""

    id: str
    engine: str
    label: str
    state: str


class Models(Struct, frozen=True):
    """Models by id."""

    models: list[ModelShape]


class ProblemDetail(Struct, frozen=True):
    """The fact, and what to do next."""

    what: str
    next: str


class Problem(Struct, frozen=True):
    """How every error looks."""

    error: ProblemDetail


def encode(shape: Struct) -> bytes:
    """``shape`` as JSON."""
    return msgspec.json.encode(shape)


def _summary(run: Summary) -> dict[str, Any]:
    return {
        "id": run.id,
        "use_case": run.use_case,
        "model": run.model,
        "label": str(run.label),
        "outcome": run.outcome,
        "question": run.question,
        "created": run.created,
        "ended": run.ended,
    }
