"""Documents in a bundle: how a collection is put in, and how it is added where it comes out.

They lie under ``documents/COLLECTION/``. Where they come out, a collection of that name has to have
their label; if there is none it is made, and its maker says who may read it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from casemate.errors import Invalid, NotFound, Refused
from casemate.gate.confidentiality import Originator
from casemate.library.importing import File
from casemate.models.bundle.arrival import Member, Outcome
from casemate.models.bundle.writing import Source

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.document import Document
    from casemate.library.library import Library


class DocumentsInBundles:
    """Puts documents into bundles and adds those that come out."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def out(self, actor: Caller, collection: str) -> list[Source]:
        """Every document of a collection that ``actor`` may read. Raises NotFound, Invalid."""
        found = self._library.documents(actor, collection)
        if not found:
            raise Invalid(f"The collection {collection} is empty.", "Choose another one.")
        return [self._source(actor, document) for document in found]

    def promote(self, actor: Caller, members: Sequence[Member]) -> Iterator[Outcome]:
        """Add what came out of a bundle. Raises Refused, Invalid, and what the library raises."""
        collections: dict[str, list[Member]] = defaultdict(list)
        for member in members:
            _, name, _ = _parts(member)
            collections[name].append(member)
        for name, own in collections.items():
            self._prepare(actor, name, own)
        for name, own in collections.items():
            for added in self._library.add_all(actor, name, map(_file, own)):
                problem = added.problem
                yield Outcome(
                    "document",
                    f"{name}/{added.name}",
                    added.outcome,
                    problem.what if problem else None,
                    problem.next if problem else None,
                )

    def _prepare(self, actor: Caller, name: str, members: Sequence[Member]) -> None:
        """See that there is a collection with the label of ``members``."""
        label, *others = sorted({member.content.label for member in members})
        if others:
            raise Invalid(
                f"The bundle gives documents of the collection {name} different labels.",
                "Have it made again, with a collection for each label.",
            )
        try:
            known = self._library.collection(actor, name)
        except NotFound:
            self._library.create_collection(actor, name, label=label)
            return
        if str(known.label) != label:
            raise Refused(
                f"The collection {name} is {known.label} here and {label} in the bundle.",
                "Have the bundle made with another name for it.",
            )

    def _source(self, actor: Caller, document: Document) -> Source:
        return Source(
            f"documents/{document.collection}/{document.name}",
            "document",
            document.label,
            "",
            lambda: iter([self._library.original(actor, document.id)]),
        )


def _parts(member: Member) -> tuple[str, str, str]:
    parts = member.content.path.split("/", 2)
    if len(parts) != 3:
        raise Invalid("The bundle holds a document of no collection.", "Have it made again.")
    return parts[0], parts[1], parts[2]


def _file(member: Member) -> File:
    # What came in a bundle was labelled where the bundle was made, and is lowered only there.
    originator = Originator(
        "uniformResourceIdentifier", "casemate:" + " ".join(member.origin.split())
    )
    size, read = member.content.size, member.place.read_bytes
    return File(_parts(member)[2], size, read, str(originator))
