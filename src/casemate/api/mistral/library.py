"""A collection and its documents, in the words of Mistral's libraries.

Where Mistral's shape wants what is not kept here, it gets the nearest true value: a collection has
no date, so it began with its first document (1970 while it has none); who added a document is in
the ledger, under a pseudonym, and not in a list.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from casemate.api.mistral.paging import Pagination

if TYPE_CHECKING:
    from casemate.library.document import Collection, Document

_NO_DATE = "1970-01-01T00:00:00Z"


class NewLibrary(Struct, frozen=True):
    """A collection to make. A description is nowhere to be kept, and does no harm."""

    name: str
    description: str | None = None


class LibraryShape(Struct, frozen=True, kw_only=True):
    """Mistral's "Library"."""

    id: str
    name: str
    created_at: str
    updated_at: str
    owner_id: None = None
    owner_type: Literal["Workspace"] = "Workspace"
    total_size: int
    nb_documents: int
    chunk_size: None = None
    description: str

    @classmethod
    def of(cls, collection: Collection, held: Iterable[Document]) -> LibraryShape:
        """How ``collection`` is shown; ``held`` are documents that the caller may read."""
        own = [one for one in held if one.collection == collection.name]
        dates = sorted(one.added for one in own) or [_NO_DATE]
        return cls(
            id=collection.id,
            name=collection.name,
            created_at=dates[0],
            updated_at=dates[-1],
            total_size=sum(one.size for one in own),
            nb_documents=len(own),
            description=f"Label: {collection.label}",
        )


class Libraries(Struct, frozen=True, kw_only=True):
    """A page of libraries by name."""

    data: list[LibraryShape]
    pagination: Pagination
    next_page_token: str | None


class DocumentShape(Struct, frozen=True, kw_only=True):
    """Mistral's "Document". Those that are listed have been read."""

    id: str
    library_id: str
    name: str
    hash: str
    mime_type: str
    extension: str | None
    size: int
    created_at: str
    last_processed_at: str
    process_status: Literal["done"] = "done"
    processing_status: Literal["Completed"] = "Completed"
    uploaded_by_id: None = None
    uploaded_by_type: Literal["User"] = "User"
    tokens_processing_total: int = 0
    number_of_pages: int | None

    @classmethod
    def of(cls, document: Document, within: Collection) -> DocumentShape:
        """How ``document`` is shown."""
        return cls(
            id=document.id,
            library_id=within.id,
            name=document.name,
            hash=document.digest,
            mime_type=document.media_type,
            extension=PurePosixPath(document.name).suffix.removeprefix(".") or None,
            size=document.size,
            created_at=document.added,
            last_processed_at=document.added,
            number_of_pages=len(document.pages) or None,
        )


class Documents(Struct, frozen=True, kw_only=True):
    """A page of documents."""

    data: list[DocumentShape]
    pagination: Pagination


class StatusShape(Struct, frozen=True, kw_only=True):
    """Mistral's "ProcessingStatus"."""

    document_id: str
    process_status: Literal["done"] = "done"
    processing_status: Literal["Completed"] = "Completed"


class TextShape(Struct, frozen=True):
    """Mistral's "DocumentTextContent"."""

    text: str


def encode(shape: Struct) -> bytes:
    """``shape`` as JSON."""
    return msgspec.json.encode(shape)
