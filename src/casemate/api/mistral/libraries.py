"""Collections as Mistral's libraries: list, make, and the documents in them.

Who may read, add or delete is the library's to say, here as everywhere; a document that the caller
may not read is absent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.mistral.library import (
    Documents,
    DocumentShape,
    Libraries,
    LibraryShape,
    NewLibrary,
    StatusShape,
    TextShape,
    encode,
)
from casemate.api.mistral.paging import InvalidQuery, page_of
from casemate.api.resource import Face, json_response
from casemate.api.upload import check_size, form_file
from casemate.errors import NotFound

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection, Document

_CODE = "unsupported_parameter"
_ORDERS: dict[str, Callable[[Document], Any]] = {
    "created_at": lambda document: (document.added, document.name),
    "name": lambda document: document.name,
    "size": lambda document: (document.size, document.name),
}


async def libraries(face: Face, request: Request) -> Response:
    """The collections that the caller may read."""
    caller = await bearer(face.installation, request)
    if request.query_params.get("filter_owned_by_me") not in (None, "false"):
        raise InvalidQuery(
            "filter_owned_by_me",
            "filter_owned_by_me is not supported here.",
            "Leave it out.",
            _CODE,
        )
    found = await asyncio.to_thread(face.installation.library.collections, caller)
    held = await asyncio.to_thread(face.installation.library.documents, caller)
    page = page_of(request, [one for one in found if _named_so(request, one.name)])
    shapes = [LibraryShape.of(one, held) for one in page.entries]
    listed = Libraries(data=shapes, pagination=page.pagination, next_page_token=page.next)
    return json_response(encode(listed))


async def create(face: Face, request: Request) -> Response:
    """Make a collection. It gets the lowest label; ``/api/collections`` takes another."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    for name, harmless in (("chunk_size", (None,)), ("owner_type", (None, "Workspace"))):
        if body.get(name) not in harmless:
            raise InvalidParameter(name, f"{name} is not supported here.", "Leave it out.", _CODE)
    wanted = converted(body, NewLibrary)
    library = face.installation.library
    made = await asyncio.to_thread(library.create_collection, caller, wanted.name)
    return json_response(encode(LibraryShape.of(made, [])), 201)


async def library(face: Face, request: Request) -> Response:
    """One collection."""
    caller = await bearer(face.installation, request)
    found = await collection(face, caller, request.path_params["library"])
    held = await asyncio.to_thread(face.installation.library.documents, caller, found.name)
    return json_response(encode(LibraryShape.of(found, held)))


async def remove(face: Face, request: Request) -> Response:
    """Remove an empty collection. Documents are not removed with it, each is an act of its own."""
    caller = await bearer(face.installation, request)
    found = await collection(face, caller, request.path_params["library"])
    await asyncio.to_thread(face.installation.library.remove_collection, caller, found.name)
    return Response(status_code=204)


async def documents(face: Face, request: Request) -> Response:
    """The documents of a collection."""
    caller = await bearer(face.installation, request)
    within = await collection(face, caller, request.path_params["library"])
    asked = request.query_params
    if asked.get("filters_attributes"):
        raise InvalidQuery(
            "filters_attributes", "Documents have no attributes here.", "Leave it out.", _CODE
        )
    order, direction = asked.get("sort_by", "created_at"), asked.get("sort_order", "desc")
    if order not in _ORDERS:
        raise InvalidQuery("sort_by", "There is no such order.", f"Use {', '.join(_ORDERS)}.")
    if direction not in ("asc", "desc"):
        raise InvalidQuery("sort_order", "There is no such order.", "Use asc or desc.")
    held = await asyncio.to_thread(face.installation.library.documents, caller, within.name)
    wanted = [one for one in held if _named_so(request, one.name)]
    page = page_of(request, sorted(wanted, key=_ORDERS[order], reverse=direction == "desc"))
    shapes = [DocumentShape.of(one, within) for one in page.entries]
    return json_response(encode(Documents(data=shapes, pagination=page.pagination)))


async def upload(face: Face, request: Request) -> Response:
    """Put one document in: a form with the part "file"."""
    caller = await bearer(face.installation, request)
    within = await collection(face, caller, request.path_params["library"])
    name, content = await form_file(request)
    if not name.strip():
        raise InvalidParameter("file", "The document has no name.", "Give one, with its ending.")
    check_size(content, face.settings)
    held = face.installation.library
    added = await asyncio.to_thread(held.add, caller, within.name, name, content)
    made = await asyncio.to_thread(held.document, caller, added.document or "")
    status = 201 if added.outcome == "added" else 200
    return json_response(encode(DocumentShape.of(made, within)), status)


async def document(face: Face, request: Request) -> Response:
    """One document's description."""
    _, found, within = await _document(face, request)
    return json_response(encode(DocumentShape.of(found, within)))


async def status(face: Face, request: Request) -> Response:
    """Whether a document has been read: those that are there have."""
    _, found, _ = await _document(face, request)
    return json_response(encode(StatusShape(document_id=found.id)))


async def text_content(face: Face, request: Request) -> Response:
    """The extracted text, to which every span refers."""
    for name in ("page_start", "page_end"):
        if request.query_params.get(name):
            raise InvalidQuery(
                name,
                f"{name} is not supported here.",
                "Take the whole text: GET /api/documents/{id} says where its pages begin.",
                _CODE,
            )
    caller, found, _ = await _document(face, request)
    text = await asyncio.to_thread(face.installation.library.text, caller, found.id)
    return json_response(encode(TextShape(text=text)))


async def delete(face: Face, request: Request) -> Response:
    """Remove a document for good."""
    caller, found, _ = await _document(face, request)
    await asyncio.to_thread(face.installation.library.delete, caller, found.id)
    return Response(status_code=204)


async def collection(face: Face, caller: Caller, id: str) -> Collection:
    """The collection with this id. Raises NotFound if it is absent or hidden."""
    for found in await asyncio.to_thread(face.installation.library.collections, caller):
        if found.id == id:
            return found
    raise NotFound(
        "There is no such library that you may read.", "GET /mistral/v1/libraries lists yours."
    )


async def _document(face: Face, request: Request) -> tuple[Caller, Document, Collection]:
    caller = await bearer(face.installation, request)
    within = await collection(face, caller, request.path_params["library"])
    id = request.path_params["document"]
    found = await asyncio.to_thread(face.installation.library.document, caller, id)
    if found.collection != within.name:
        raise NotFound(
            "There is no such document in this library that you may read.",
            f"GET /mistral/v1/libraries/{within.id}/documents lists them.",
        )
    return caller, found, within


def _named_so(request: Request, name: str) -> bool:
    return request.query_params.get("search", "").casefold() in name.casefold()
