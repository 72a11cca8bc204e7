"""``/v1/vector_stores``: collections, the documents in them, and search.

Who may read, add or delete is the library's to say, here as everywhere; what the caller may not
read is absent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import checked_question, converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai.files import seconds
from casemate.api.openai.paging import cut
from casemate.api.openai.response import encode
from casemate.api.parameters import OPENAI_STORE, OPENAI_STORE_FILE, OPENAI_STORE_SEARCH
from casemate.api.resource import Face, json_response
from casemate.errors import CasemateError, NotFound

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection, Document, Hit

_NO_DATE = 0  # a collection has none; it began with its first document


class FileCounts(Struct, frozen=True, kw_only=True):
    """Documents by how far they are read: those that are there have been."""

    in_progress: int = 0
    completed: int
    failed: int = 0
    cancelled: int = 0
    total: int


class StoreShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "vector_store" object."""

    id: str
    object: Literal["vector_store"] = "vector_store"
    created_at: int
    last_active_at: int
    name: str
    status: Literal["completed"] = "completed"
    usage_bytes: int
    file_counts: FileCounts
    metadata: dict[str, str]
    label: str

    @classmethod
    def of(cls, collection: Collection, held: list[Document]) -> StoreShape:
        """How a collection is shown; ``held`` are documents that the caller may read."""
        own = [one for one in held if one.collection == collection.name]
        dates = sorted(seconds(one.added) for one in own) or [_NO_DATE]
        return cls(
            id=collection.id,
            created_at=dates[0],
            last_active_at=dates[-1],
            name=collection.name,
            usage_bytes=sum(one.size for one in own),
            file_counts=FileCounts(completed=len(own), total=len(own)),
            metadata={},
            label=str(collection.label),
        )


class StoreList(Struct, frozen=True, kw_only=True):
    """OpenAI's list of vector stores."""

    object: Literal["list"] = "list"
    data: list[StoreShape]
    first_id: str | None
    last_id: str | None
    has_more: bool


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


class HitShape(Struct, frozen=True, kw_only=True):
    """A passage that was found. ``score`` compares within one search only."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, str]
    content: list[TextPart]
    page: int | None
    start: int
    end: int

    @classmethod
    def of(cls, hit: Hit) -> HitShape:
        """How a passage is shown."""
        passage = hit.passage
        return cls(
            file_id=passage.document,
            filename=passage.document_name,
            score=hit.score,
            attributes={},
            content=[TextPart(text=passage.text)],
            page=passage.page,
            start=passage.start,
            end=passage.end,
        )


class HitPage(Struct, frozen=True, kw_only=True):
    """OpenAI's page of search results."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[HitShape]
    has_more: bool = False
    next_page: None = None


class DeletedShape(Struct, frozen=True, kw_only=True):
    """OpenAI's word that something is gone."""

    id: str
    object: str
    deleted: bool = True


class NewStore(Struct, frozen=True):
    """A collection to make, and files to add to it."""

    name: str
    file_ids: list[str] = []


class NewStoreFile(Struct, frozen=True):
    """A file to add."""

    file_id: str


class StoreSearch(Struct, frozen=True):
    """What to look for."""

    query: str | Annotated[list[str], Meta(min_length=1, max_length=8)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = 10


async def stores(face: Face, request: Request) -> Response:
    """The collections that the caller may read."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.library.collections, caller)
    held = await asyncio.to_thread(face.installation.library.documents, caller)
    page = cut(request, found, lambda one: one.id)
    listed = StoreList(
        data=[StoreShape.of(one, held) for one in page.entries],
        first_id=page.first,
        last_id=page.last,
        has_more=page.more,
    )
    return json_response(encode(listed))


async def create(face: Face, request: Request) -> Response:
    """Make a collection. It gets the lowest label; ``/api/collections`` takes another."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    OPENAI_STORE.check(body)
    wanted = converted(body, NewStore)
    library = face.installation.library
    for id in wanted.file_ids:
        await asyncio.to_thread(face.installation.files.get, caller, id)
    made = await asyncio.to_thread(library.create_collection, caller, wanted.name)
    for id in wanted.file_ids:
        await asyncio.to_thread(_take_in, face, caller, made, id)
    held = await asyncio.to_thread(library.documents, caller, made.name)
    return json_response(encode(StoreShape.of(made, held)))


async def store(face: Face, request: Request) -> Response:
    """One collection."""
    caller = await bearer(face.installation, request)
    found = await named(face, caller, request.path_params["store"])
    held = await asyncio.to_thread(face.installation.library.documents, caller, found.name)
    return json_response(encode(StoreShape.of(found, held)))


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
    shape = await asyncio.to_thread(_take_in, face, caller, within, wanted.file_id)
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


async def search(face: Face, request: Request) -> Response:
    """Passages for one question, or for several together."""
    caller = await bearer(face.installation, request)
    within = await named(face, caller, request.path_params["store"])
    body = await json_object(request)
    OPENAI_STORE_SEARCH.check(body)
    wanted = converted(body, StoreSearch)
    queries = [wanted.query] if isinstance(wanted.query, str) else wanted.query
    found: dict[tuple[str, int], Hit] = {}
    for query in queries:
        checked_question(query, face.settings, "query")
        hits = await asyncio.to_thread(
            face.installation.library.search,
            caller,
            query,
            collections=(within.name,),
            limit=wanted.max_num_results,
        )
        for hit in hits:
            found.setdefault((hit.passage.document, hit.passage.start), hit)
    best = sorted(found.values(), key=lambda hit: -hit.score)[: wanted.max_num_results]
    shape = HitPage(search_query=queries, data=[HitShape.of(hit) for hit in best])
    return json_response(encode(shape))


async def named(face: Face, caller: Caller, id: str) -> Collection:
    """The collection with this id. Raises NotFound if it is absent or hidden."""
    for found in await asyncio.to_thread(face.installation.library.collections, caller):
        if found.id == id:
            return found
    raise NotFound(
        "There is no such vector store that you may read.", "GET /v1/vector_stores lists yours."
    )


async def names_of(face: Face, caller: Caller, ids: list[str]) -> tuple[str, ...]:
    """Names of the collections with these ids. Raises NotFound."""
    return tuple([(await named(face, caller, id)).name for id in ids])


def _take_in(face: Face, caller: Caller, within: Collection, id: str) -> StoreFileShape:
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
        return StoreFileShape(
            id=id,
            created_at=seconds(thing.created),
            vector_store_id=within.id,
            status="failed",
            usage_bytes=0,
            last_error=LastError(message=str(problem)),
            attributes={},
            document=None,
        )
    places: Mapping[str, Any] = thing.facts.get("documents", {})
    facts = {**thing.facts, "documents": {**places, within.id: added.document}}
    installation.kept.change(thing, facts=facts)
    document = installation.library.document(caller, str(added.document))
    return StoreFileShape.of(document, within.id, id)


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
