"""Files as Mistral's clients keep them: the same files as at ``/v1/files``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal

from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.mistral.narrowing import is_wanted, refused
from casemate.api.mistral.paging import page_of
from casemate.api.mistral.response import encode
from casemate.api.openai.files import content, seconds
from casemate.api.resource import Face, json_response
from casemate.api.upload import check_size, form
from casemate.library.files import RESULT

if TYPE_CHECKING:
    from casemate.library.kept import Thing

__all__ = ["FileShape", "Files", "Gone", "content", "delete", "file", "files", "upload"]

_PURPOSES = ("batch", "fine-tune", "ocr")


class FileShape(Struct, frozen=True, kw_only=True):
    """Mistral's "file" object."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    sample_type: Literal["batch_request", "batch_result", "instruct"]
    source: Literal["upload", "mistral"]
    deleted: bool | UnsetType = UNSET

    @classmethod
    def of(cls, thing: Thing, deleted: bool | UnsetType = UNSET) -> FileShape:
        """How a file is shown."""
        purpose = thing.facts["purpose"]
        result = purpose == RESULT
        return cls(
            id=thing.id,
            bytes=thing.facts["size"],
            created_at=seconds(thing.created),
            filename=thing.facts["name"],
            purpose="batch" if result else purpose,
            sample_type="batch_result"
            if result
            else ("batch_request" if purpose == "batch" else "instruct"),
            source="mistral" if result else "upload",
            deleted=deleted,
        )


class Files(Struct, frozen=True, kw_only=True):
    """Mistral's list of files."""

    object: Literal["list"] = "list"
    data: list[FileShape]
    total: int


class Gone(Struct, frozen=True, kw_only=True):
    """Mistral's word that something is gone."""

    id: str
    object: str
    deleted: bool = True


async def upload(face: Face, request: Request) -> Response:
    """Keep a file: a form with the parts "file" and "purpose"."""
    caller = await bearer(face.installation, request)
    name, sent, fields = await form(request)
    purpose = fields.get("purpose", "fine-tune")
    if purpose not in _PURPOSES:
        raise InvalidParameter("purpose", "There is no such purpose.", f"Use {_PURPOSES}.")
    # Whatever visibility is asked for, a file is its owner's alone.
    if fields.get("expiry"):
        what = "expiry is not supported here."
        raise InvalidParameter("expiry", what, "Delete the file when it is done with.")
    check_size(sent, face.settings)
    made = await asyncio.to_thread(face.installation.files.add, caller, name, sent, purpose=purpose)
    return json_response(encode(FileShape.of(made)))


async def files(face: Face, request: Request) -> Response:
    """The caller's files, newest first."""
    caller = await bearer(face.installation, request)
    found = await asyncio.to_thread(face.installation.files.list, caller)
    refused(request, "mimetypes", "Use search, for a part of the name.")
    asked = request.query_params
    shapes = [
        shape
        for shape in map(FileShape.of, reversed(found))
        if is_wanted(request, "purpose", shape.purpose)
        and asked.get("search", "").casefold() in shape.filename.casefold()
        and (not asked.getlist("source") or shape.source in asked.getlist("source"))
        and (not asked.getlist("sample_type") or shape.sample_type in asked.getlist("sample_type"))
    ]
    page = page_of(request, shapes)
    return json_response(encode(Files(data=list(page.entries), total=len(shapes))))


async def file(face: Face, request: Request) -> Response:
    """What is said about one file."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    found = await asyncio.to_thread(face.installation.files.get, caller, id)
    return json_response(encode(FileShape.of(found, deleted=False)))


async def delete(face: Face, request: Request) -> Response:
    """Erase one file for good."""
    caller = await bearer(face.installation, request)
    id = request.path_params["id"]
    await asyncio.to_thread(face.installation.files.delete, caller, id)
    return json_response(encode(Gone(id=id, object="file")))
