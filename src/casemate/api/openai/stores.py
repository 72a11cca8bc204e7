"""``/v1/vector_stores``: collections, and search in them.

Who may read or make one is the library's to say, here as everywhere; what the caller may not read
is absent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import checked_query, converted, json_object
from casemate.api.caller import bearer
from casemate.api.openai.collection import named
from casemate.api.openai.files import seconds
from casemate.api.openai.paging import cut
from casemate.api.openai.response import encode
from casemate.api.openai.store_files import TextPart, take_in
from casemate.api.parameters import OPENAI_STORE, OPENAI_STORE_SEARCH
from casemate.api.resource import Face, json_response

if TYPE_CHECKING:
    from casemate.library.document import Collection, Document, Hit

_MOST_HITS = 10  # where nobody says how many
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


class StoreGone(Struct, frozen=True, kw_only=True):
    """OpenAI's word that a vector store is gone."""

    id: str
    object: Literal["vector_store.deleted"] = "vector_store.deleted"
    deleted: bool = True


class NewStore(Struct, frozen=True):
    """A collection to make, and files to add to it."""

    name: str
    file_ids: list[str] | None = None


class StoreSearch(Struct, frozen=True):
    """What to look for."""

    query: str | Annotated[list[str], Meta(min_length=1, max_length=8)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | None = None


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
    for id in wanted.file_ids or ():
        await asyncio.to_thread(face.installation.files.get, caller, id)
    made = await asyncio.to_thread(library.create_collection, caller, wanted.name)
    for id in wanted.file_ids or ():
        await asyncio.to_thread(take_in, face, caller, made, id)
    held = await asyncio.to_thread(library.documents, caller, made.name)
    return json_response(encode(StoreShape.of(made, held)))


async def store(face: Face, request: Request) -> Response:
    """One collection."""
    caller = await bearer(face.installation, request)
    found = await named(face, caller, request.path_params["store"])
    held = await asyncio.to_thread(face.installation.library.documents, caller, found.name)
    return json_response(encode(StoreShape.of(found, held)))


async def delete(face: Face, request: Request) -> Response:
    """Remove an empty collection. Documents are not removed with it, each is an act of its own."""
    caller = await bearer(face.installation, request)
    found = await named(face, caller, request.path_params["store"])
    await asyncio.to_thread(face.installation.library.remove_collection, caller, found.name)
    return json_response(encode(StoreGone(id=found.id)))


async def search(face: Face, request: Request) -> Response:
    """Passages for one question, or for several together."""
    caller = await bearer(face.installation, request)
    within = await named(face, caller, request.path_params["store"])
    body = await json_object(request)
    OPENAI_STORE_SEARCH.check(body)
    wanted = converted(body, StoreSearch)
    most = wanted.max_num_results or _MOST_HITS
    queries = [wanted.query] if isinstance(wanted.query, str) else wanted.query
    found: dict[tuple[str, int], Hit] = {}
    for query in queries:
        checked_query(query, face.settings, "query")
        hits = await asyncio.to_thread(
            face.installation.library.search,
            caller,
            query,
            collections=(within.name,),
            limit=most,
        )
        for hit in hits:
            found.setdefault((hit.passage.document, hit.passage.start), hit)
    best = sorted(found.values(), key=lambda hit: -hit.score)[:most]
    shape = HitPage(search_query=queries, data=[HitShape.of(hit) for hit in best])
    return json_response(encode(shape))
