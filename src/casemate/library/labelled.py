"""Labelled: the label of a collection or document as it travels, and one that came from elsewhere.

A collection's label is given by who makes it, or taken from a STANAG 4774 label; then who gave it
there stays its originator.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from casemate.gate.acts import stamp
from casemate.gate.confidentiality import Confidentiality, Originator

if TYPE_CHECKING:
    from casemate.gate.admission import Gate
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection
    from casemate.library.library import Library


class Labelled:
    """Gives labels to take along, and takes in those that others gave. ``origin``: the ledger's."""

    def __init__(self, library: Library, gate: Gate, origin: str) -> None:
        self._library = library
        self._gate = gate
        self._origin = origin

    def collection(self, caller: Caller, name: str) -> Confidentiality:
        """The label of a collection. Raises NotFound if it is absent or hidden."""
        return self._of(self._library.collection(caller, name))

    def document(self, caller: Caller, id: str) -> Confidentiality:
        """The label of a document: its collection's, since it was added. Raises NotFound."""
        document = self._library.document(caller, id)
        label = self._of(self._library.collection(caller, document.collection))
        return replace(label, created=_moment(document.added))

    def adopt(
        self,
        caller: Caller,
        xml: bytes,
        name: str,
        readers: tuple[str, ...] | None = None,
    ) -> Collection:
        """Make a collection with the label that ``xml`` (STANAG 4774) holds.

        Raises Invalid, naming what is wrong in it, and what ``create_collection`` raises.
        """
        given = Confidentiality.parse(xml, self._gate.country.policy)
        return self._library.create_collection(
            caller,
            name,
            label=str(given.label),
            readers=readers,
            originator=None if given.originator is None else str(given.originator),
            review=None if given.review is None else stamp(given.review),
        )

    def _of(self, collection: Collection) -> Confidentiality:
        created = _moment(collection.created)
        if collection.originator is None:
            owner = self._gate.principals.by_id(collection.owner)
            originator = Originator(
                "uniformResourceIdentifier", f"casemate:{self._origin}/{owner.pseudonym}"
            )
        else:
            originator = Originator.parse(collection.originator)
        review = self._gate.country.review(created)
        if collection.review is not None:
            review = _moment(collection.review)
        return Confidentiality(collection.label, created, review, originator)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
