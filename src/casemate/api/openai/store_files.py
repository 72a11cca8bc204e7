"""``/v1/vector_stores/{id}/files``: the documents of a collection, and files that become some.

Who may read, add or delete is the library's to say, here as everywhere; what the caller may not
read is absent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai.collection import named
from casemate.api.openai.files import seconds
from casemate.api.openai.paging import cut
from casemate.api.openai.response import encode
from casemate.api.parameters import OPENAI_STORE_FILE
from casemate.api.resource import Face, json_response
from casemate.errors import CasemateError, NotFound

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection, Document
    from casemate.library.kept import Thing


class LastError(Struct, frozen=True, kw_only=True):
    """Why a file could not be read."""

    code: Literal["invalid_file"] = "invalid_file"
    message: str


class StoreFileShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "vector_store.file" object: a document of a collection."""

    id: str
    object: Literal["vector_store.file"] = "vector_store.file"
    created_at: int
    vector_store_id: str
    status: Literal["completed", "failed"]
    usage_bytes: int
    last_error: LastError | None = None
    attributes: dict[str, str]
    document: str | None

    @classmethod
    def of(cls, document: Document, store: str, id: str | None = None) -> StoreFileShape:
        """How a document is shown; ``id``: of the file that it was added from."""
        return cls(
            id=id or document.id,
            created_at=seconds(document.added),
            vector_store_id=store,
            status="completed",
            usage_bytes=document.size,
            attributes={},
            document=document.id,
        )


class StoreFileList(Struct, frozen=True, kw_only=True):
    """OpenAI's list of the files of a vector store."""

    object: Literal["list"] = "list"
    data: list[StoreFileShape]
    first_id: str | None
    last_id: str | None
    has_more: bool


class TextPart(Struct, frozen=True, kw_only=True):
    """Words."""

    type: Literal["text"] = "text"
    text: str


class ContentPage(Struct, frozen=True, kw_only=True):
    """The text of a document."""

    object: Literal["vector_store.file_content.page"] = "vector_store.file_content.page"
    data: list[TextPart]
    has_more: bool = False
    next_page: None = None


class DeletedShape(Struct, frozen=True, kw_only=True):
    """OpenAI's word that something is gone."""

    id: str
    object: str
    deleted: bool = True


class NewStoreFile(Struct, frozen=True):
    """A file to add."""

    file_id: str


async def files(face: Face, request: Request) -> Response:
    """The documents of a collection."""
    caller = await bearer(face.installation, request)
    within = await named(face, caller, request.path_params["store"])
    held = await asyncio.to_thread(face.installation.library.documents, caller, within.name)
    if request.query_params.get("filter") not in (None, "completed"):
        held = []
    page = cut(request, sorted(held, key=lambda one: (one.added, one.id)), lambda one: one.id)
    listed = StoreFileList(
        data=[StoreFileShape.of(one, within.id) for one in page.entries],
        first_id=page.first,
        last_id=page.last,
        has_more=page.more,
    )
    return json_response(encode(listed))


async def add(face: Face, request: Request) -> Response:
    """Add a file of the caller's to a collection, as a document."""
    caller = await bearer(face.installation, request)
    within = await named(face, caller, request.path_params["store"])
    body = await json_object(request)
    OPENAI_STORE_FILE.check(body)
    wanted = converted(body, NewStoreFile)
    shape = await asyncio.to_thread(take_in, face, caller, within, wanted.file_id)
    return json_response(encode(shape))


async def file(face: Face, request: Request) -> Response:
    """One document of a collection, by its id or that of the file it was added from."""
    _, within, found = await _held(face, request)
    shape = StoreFileShape.of(found, within.id, request.path_params["file"])
    return json_response(encode(shape))


async def file_content(face: Face, request: Request) -> Response:
    """The text of one document."""
    caller, _, found = await _held(face, request)
    text = await asyncio.to_thread(face.installation.library.text, caller, found.id)
    return json_response(encode(ContentPage(data=[TextPart(text=text)])))


async def remove(face: Face, request: Request) -> Response:
    """Remove a document from its collection, for good."""
    caller, _, found = await _held(face, request)
    await asyncio.to_thread(face.installation.library.delete, caller, found.id)
    shape = DeletedShape(id=request.path_params["file"], object="vector_store.file.deleted")
    return json_response(encode(shape))


def take_in(face: Face, caller: Caller, within: Collection, id: str) -> StoreFileShape:
    """Add a file to a collection. What cannot be read is said in the answer, as OpenAI does."""
    installation = face.installation
    thing = installation.files.get(caller, id)
    if not within.label.dominates(thing.label):
        raise InvalidParameter(
            "file_id",
            "The file's label is above that of the collection.",
            "Add it to a collection with its label.",
        )
    content = installation.files.content(caller, id)
    try:
        added = installation.library.add(caller, within.name, thing.facts["name"], content)
    except CasemateError as problem:
        if problem.status not in (400, 413, 415):
            raise
        return _failed(thing, within, str(problem))
    places: Mapping[str, Any] = thing.facts.get("documents", {})
    facts = {**thing.facts, "documents": {**places, within.id: added.document}}
    installation.kept.change(thing, facts=facts)
    document = installation.library.document(caller, str(added.document))
    return StoreFileShape.of(document, within.id, id)


def shown(
    face: Face, caller: Caller, within: Collection, id: str, why: str
) -> StoreFileShape | None:
    """How a file of the caller's stands in a collection; None if it is there no more.

    ``why`` it could not be read; empty if it was.
    """
    installation = face.installation
    try:
        thing = installation.files.get(caller, id)
        if why:
            return _failed(thing, within, why)
        document = thing.facts["documents"][within.id]
        return StoreFileShape.of(installation.library.document(caller, document), within.id, id)
    except (KeyError, NotFound):
        return None


def _failed(thing: Thing, within: Collection, why: str) -> StoreFileShape:
    return StoreFileShape(
        id=thing.id,
        created_at=seconds(thing.created),
        vector_store_id=within.id,
        status="failed",
        usage_bytes=0,
        last_error=LastError(message=why),
        attributes={},
        document=None,
    )


async def _held(face: Face, request: Request) -> tuple[Caller, Collection, Document]:
    caller = await bearer(face.installation, request)
    within = await named(face, caller, request.path_params["store"])
    id = request.path_params["file"]
    try:
        thing = await asyncio.to_thread(face.installation.files.get, caller, id)
        id = thing.facts.get("documents", {}).get(within.id, id)
    except NotFound:
        pass  # a document's own id
    found = await asyncio.to_thread(face.installation.library.document, caller, id)
    if found.collection != within.name:
        raise NotFound(
            "There is no such file in this vector store that you may read.",
            f"GET /v1/vector_stores/{within.id}/files lists them.",
        )
    return caller, within, found
