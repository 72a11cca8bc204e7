"""What the library holds: collections, documents, passages, and hits of a search."""

from __future__ import annotations

from dataclasses import dataclass

from casemate.gate.label import Label


@dataclass(frozen=True)
class Collection:
    """Documents that share one label and one access rule."""

    id: str
    tenant: str
    name: str
    label: Label
    owner: str
    readers: tuple[str, ...] | None  # names and "role:…"; None: the whole tenant
    created: str = ""  # UTC
    originator: str | None = None  # "kind:name" of who gave the label; None: its owner did
    review: str | None = None  # when the label is to be looked at again, UTC


@dataclass(frozen=True)
class Document:
    """One document as it is listed; its text comes from ``Library.text``."""

    id: str
    name: str
    collection: str  # name
    label: Label
    title: str | None
    media_type: str
    digest: str  # of the original file, "sha256:…"
    size: int  # bytes
    characters: int
    pages: tuple[tuple[int, int], ...]  # character spans, in order; empty without pages
    headings: tuple[tuple[int, int, int], ...]  # start, end, level
    added: str  # UTC


@dataclass(frozen=True)
class Passage:
    """A piece of a document: ``text`` is exactly the document's text from start to end."""

    id: int
    document: str  # id
    document_name: str
    document_digest: str
    collection: str  # name
    page: int | None  # from 1
    start: int  # characters (code points) into the document's extracted text
    end: int
    heading: str  # "Fees › Building permits"
    title: str  # the document's title, or ""
    label: Label
    text: str


@dataclass(frozen=True)
class Hit:
    """A passage that a search found, with the reason it ranks where it does."""

    passage: Passage
    score: float  # BM25 over character 4-grams; comparable within one search only
    why: tuple[str, ...]  # words of the query that occur in the passage, most telling first
