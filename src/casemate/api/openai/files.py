"""``/v1/files``: what somebody sends to be worked on later, and what batches gave.

The documents that the caller may read are found here as well, by their ids: citations name them.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai.paging import cut
from casemate.api.openai.response import encode
from casemate.api.parameters import OPENAI_FILE
from casemate.api.resource import Face, json_response
from casemate.api.upload import check_size, form
from casemate.errors import NotFound
from casemate.library.files import PURPOSES

if TYPE_CHECKING:
    from casemate.library.document import Document
    from casemate.library.kept import Thing


class FileShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "file" object."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    label: str

    @classmethod
    def of(cls, thing: Thing) -> FileShape:
        """How a file is shown."""
        return cls(
            id=thing.id,
            bytes=thing.facts["size"],
            created_at=seconds(thing.created),
            filename=thing.facts["name"],
            purpose=thing.facts["purpose"],
            label=str(thing.label),
        )

    @classmethod
    def of_document(cls, document: Document) -> FileShape:
        """How a document is shown."""
        return cls(
            id=document.id,
            bytes=document.size,
            created_at=seconds(document.added),
            filename=document.name,
            purpose="assistants",
            label=str(document.label),
        )


class FileList(Struct, frozen=True, kw_only=True):
    """OpenAI's list of files."""

    object: Literal["list"] = "list"
    data: list[FileShape]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(Struct, frozen=True, kw_only=True):
    """OpenAI's word that a file is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


async def upload(face: Face, request: Request) -> Response:
    """Keep a file: a form with the parts "file" and "purpose"."""
    caller = await bearer(face.installation, request)
    name, content, fields = await form(request)
    OPENAI_FILE.check({name.partition("[")[0]: text for name, text in fields.items()})
    if fields.get("purpose") not in PURPOSES:
        raise InvalidParameter(
            "purpose", "There is no such purpose.", f"Use {', '.join(PURPOSES)}."
        )
    check_size(content, face.settings)
    label = fields.get("label")
    policy = face.installation.gate.country.policy if label else None
    made = await asyncio.to_thread(
        face.installation.files.add,
        caller,
        name,
        content,
        purpose=fields["purpose"],
        label=policy.parse(label) if policy is not None and label else None,
    )
    return json_response(encode(FileShape.of(made)))


async def files(face: Face, request: Request) -> Response:
    """The caller's files."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.files.list, caller)
    purpose = request.query_params.get("purpose")
    wanted = [one for one in found if purpose in (None, one.facts["purpose"])]
    page = cut(request, wanted, lambda one: one.id, default=10_000)
    listed = FileList(
        data=[FileShape.of(one) for one in page.entries],
        first_id=page.first,
        last_id=page.last,
        has_more=page.more,
    )
    return json_response(encode(listed))


async def file(face: Face, request: Request) -> Response:
    """What is said about one file."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    try:
        shape = FileShape.of(await asyncio.to_thread(face.installation.files.get, caller, id))
    except NotFound:
        document = await asyncio.to_thread(face.installation.library.document, caller, id)
        shape = FileShape.of_document(document)
    return json_response(encode(shape))


async def content(face: Face, request: Request) -> Response:
    """The bytes of one file, as they were sent."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    try:
        thing = await asyncio.to_thread(face.installation.files.get, caller, id)
        name = thing.facts["name"]
        sent = await asyncio.to_thread(face.installation.files.content, caller, id)
    except NotFound:
        document = await asyncio.to_thread(face.installation.library.document, caller, id)
        name = document.name
        sent = await asyncio.to_thread(face.installation.library.original, caller, id)
    return Response(
        sent,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"},
    )


async def delete(face: Face, request: Request) -> Response:
    """Erase one file for good."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    await asyncio.to_thread(face.installation.files.delete, caller, id)
    return json_response(encode(DeletedFile(id=id)))


def seconds(stamp: str) -> int:
    """A time as OpenAI writes it: seconds since 1970."""
    return int(datetime.fromisoformat(stamp).timestamp())
