"""Collections, documents and search under ``/api``."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import checked_query, decoded, whole_number
from casemate.api.caller import bearer_or_session
from casemate.api.errors import InvalidParameter
from casemate.api.platform.shapes import (
    AddedShape,
    Collections,
    CollectionShape,
    Documents,
    DocumentShape,
    Hits,
    HitShape,
    NewCollection,
    encode,
)
from casemate.api.resource import Face, json_response
from casemate.api.upload import check_size, form_file

MOST_HITS = 100


async def collections(face: Face, request: Request) -> Response:
    """The collections that the asker may read."""
    caller = await bearer_or_session(face.installation, request)
    found = await asyncio.to_thread(face.installation.library.collections, caller)
    return json_response(encode(Collections([CollectionShape.of(one) for one in found])))


async def create_collection(face: Face, request: Request) -> Response:
    """Create a collection."""
    caller = await bearer_or_session(face.installation, request)
    wanted = await decoded(request, NewCollection)
    made = await asyncio.to_thread(
        face.installation.library.create_collection, caller, wanted.name, label=wanted.label
    )
    return json_response(encode(CollectionShape.of(made)), 201)


async def documents(face: Face, request: Request) -> Response:
    """The documents that the asker may read, of one collection or of all."""
    caller = await bearer_or_session(face.installation, request)
    within = request.query_params.get("collection")
    found = await asyncio.to_thread(face.installation.library.documents, caller, within)
    return json_response(encode(Documents([DocumentShape.of(one) for one in found])))


async def add_document(face: Face, request: Request) -> Response:
    """Put one document in: a form with the part "file", or the bytes with ?name=."""
    caller = await bearer_or_session(face.installation, request)
    name, content = await _received(face, request)
    if not name.strip():
        raise InvalidParameter("name", "The document has no name.", "Give one, with its ending.")
    library = face.installation.library
    added = await asyncio.to_thread(library.add, caller, request.path_params["name"], name, content)
    shape = None
    if added.document is not None:
        made = await asyncio.to_thread(library.document, caller, added.document)
        shape = DocumentShape.of(made)
    status = 201 if added.outcome == "added" else 200
    return json_response(encode(AddedShape(outcome=added.outcome, document=shape)), status)


async def document(face: Face, request: Request) -> Response:
    """One document's description."""
    caller = await bearer_or_session(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.library.document, caller, id)
    return json_response(encode(DocumentShape.of(found)))


async def document_label(face: Face, request: Request) -> Response:
    """The document's label as STANAG 4774 XML, with its originator and dates."""
    caller = await bearer_or_session(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.labelled.document, caller, id)
    return Response(found.xml(), media_type="application/xml")


async def document_text(face: Face, request: Request) -> Response:
    """The extracted text, to which every span refers."""
    caller = await bearer_or_session(face.installation, request)
    id = request.path_params["id"]
    text = await asyncio.to_thread(face.installation.library.text, caller, id)
    return Response(text.encode(), media_type="text/plain; charset=utf-8")


async def document_original(face: Face, request: Request) -> Response:
    """The file as it was added."""
    caller = await bearer_or_session(face.installation, request)
    library, id = face.installation.library, request.path_params["id"]
    found = await asyncio.to_thread(library.document, caller, id)
    content = await asyncio.to_thread(library.original, caller, id)
    headers = {
        "Content-Type": found.media_type,
        # Somebody's HTML must never run as a page of this site.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return Response(content, headers=headers)


async def delete_document(face: Face, request: Request) -> Response:
    """Remove a document for good."""
    caller = await bearer_or_session(face.installation, request)
    id = request.path_params["id"]
    await asyncio.to_thread(face.installation.library.delete, caller, id)
    return Response(status_code=204)


async def search(face: Face, request: Request) -> Response:
    """Passages for a query, best first."""
    caller = await bearer_or_session(face.installation, request)
    query = checked_query(request.query_params.get("q", ""), face.settings, "q")
    limit = whole_number(request, "limit", 10, MOST_HITS)
    hits = await asyncio.to_thread(
        face.installation.library.search,
        caller,
        query,
        collections=tuple(request.query_params.getlist("collection")),
        use_case=request.query_params.get("use_case"),
        limit=limit,
    )
    return json_response(encode(Hits([HitShape.of(hit) for hit in hits])))


async def _received(face: Face, request: Request) -> tuple[str, bytes]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        name, content = await form_file(request)
    else:
        name, content = request.query_params.get("name", ""), await request.body()
    check_size(content, face.settings)
    return name, content
