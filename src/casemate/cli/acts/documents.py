"""Acts around documents: add, list, delete, collections."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casemate.cli.acts import Item, act
from casemate.errors import Invalid, NotFound, Refused, TooLarge
from casemate.library.document import Collection, Document
from casemate.library.importing import Added, File

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.installation import Installation


@act("add")
async def add(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Put files into a collection, making it if there is none; yield what became of each."""
    collection, label = arguments["collection"], arguments.get("label")
    try:
        known = installation.library.collection(caller, collection)
    except NotFound:
        installation.library.create_collection(caller, collection, label=label)
    else:
        # Else what was meant to be secret would lie among what everyone reads.
        if label and installation.gate.country.policy.parse(label) != known.label:
            raise Refused(
                f"The collection {collection} is {known.label}, not {label}.",
                "Choose another collection, or leave the label out.",
            )
    most = installation.settings.upload_mebibytes << 20
    files = (_file(path, name, most) for path, name in arguments["files"])
    added = installation.library.add_all(caller, collection, files)
    try:
        while (one := await asyncio.to_thread(_next, added)) is not None:
            yield {
                "name": one.name,
                "outcome": one.outcome,
                "document": one.document,
                "what": one.problem.what if one.problem else None,
                "next": one.problem.next if one.problem else None,
            }
    finally:
        await asyncio.to_thread(added.close)  # type: ignore[attr-defined]


@act("collection.list")
async def collection_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield the collections that the caller may read."""
    for collection in installation.library.collections(caller):
        yield _collection(collection)


@act("collection.create")
async def collection_create(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Make a collection."""
    readers = arguments.get("readers")
    yield _collection(
        installation.library.create_collection(
            caller,
            arguments["name"],
            label=arguments.get("label"),
            readers=None if readers is None else tuple(readers),
            review=arguments.get("review"),
        )
    )


@act("document.list")
async def document_list(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield documents."""
    for document in installation.library.documents(caller, arguments.get("collection")):
        yield _document(document)


@act("document.show")
async def document_show(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Yield one document with its text."""
    document = installation.library.document(caller, arguments["document"])
    yield {**_document(document), "text": installation.library.text(caller, document.id)}


@act("document.delete")
async def document_delete(
    installation: Installation, caller: Caller, arguments: Mapping[str, Any]
) -> AsyncIterator[Item]:
    """Remove one document for good."""
    document = installation.library.document(caller, arguments["document"])
    installation.library.delete(caller, document.id)
    yield {"id": document.id, "name": document.name, "state": "deleted"}


def _file(path: str, name: str, most: int) -> File:
    place = Path(path)
    try:
        size = place.stat().st_size
    except OSError:
        size = 0  # the read below says what is wrong
    return File(name, size, lambda: _read(place, name, most))


def _read(place: Path, name: str, most: int) -> bytes:
    """The bytes of a regular file, and never more than one above ``most`` of them."""
    try:
        _check_regular(place.stat(), name)  # opening a device may do something
        # What became a pipe since must not keep us waiting for somebody to write.
        with os.fdopen(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check_regular(os.fstat(file.fileno()), name)
            content = file.read(most + 1)
    except OSError as problem:
        raise NotFound(
            f"The file cannot be opened: {problem.strerror}.", "Check that it is there and yours."
        ) from problem
    if len(content) > most:
        raise TooLarge(
            f"It is larger than {most >> 20} MiB.",
            "Split it, or raise the setting upload_mebibytes.",
        )
    return content


def _check_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Invalid(f"{name} is not a regular file.", "Give files or folders.")


def _next(added: Iterator[Added]) -> Added | None:
    return next(added, None)


def _collection(collection: Collection) -> Item:
    return {
        "id": collection.id,
        "name": collection.name,
        "label": str(collection.label),
        "readers": None if collection.readers is None else list(collection.readers),
    }


def _document(document: Document) -> Item:
    return {
        "id": document.id,
        "name": document.name,
        "collection": document.collection,
        "label": str(document.label),
        "title": document.title,
        "media_type": document.media_type,
        "digest": document.digest,
        "size": document.size,
        "pages": len(document.pages) or None,
        "added": document.added,
    }
