"""``/v1/vector_stores/{id}/file_batches``: several files that are added to a collection together.

They are read one after the other, as if each had been added by itself; when the batch is there, all
of them have been.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter
from casemate.api.openai.collection import named
from casemate.api.openai.files import seconds
from casemate.api.openai.paging import cut
from casemate.api.openai.response import encode
from casemate.api.openai.store_files import (
    NewStoreFile,
    StoreFileList,
    StoreFileShape,
    shown,
    take_in,
)
from casemate.api.openai.stores import FileCounts
from casemate.api.parameters import OPENAI_FILE_BATCH
from casemate.api.resource import Face, json_response
from casemate.errors import NotFound

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection
    from casemate.library.kept import Thing

_KIND = "vsfb"
_MOST = 100


class NewFileBatch(Struct, frozen=True):
    """Files to add: by their ids, or each by itself."""

    file_ids: Annotated[list[str], Meta(min_length=1, max_length=_MOST)] | None = None
    files: Annotated[list[NewStoreFile], Meta(min_length=1, max_length=_MOST)] | None = None

    @property
    def ids(self) -> list[str]:
        """The files, each once. Raises InvalidParameter unless they are given in one way."""
        if (self.file_ids is None) == (self.files is None):
            raise InvalidParameter("file_ids", "Give file_ids or files.", "Give one of them.")
        return list(dict.fromkeys(self.file_ids or [one.file_id for one in self.files or ()]))


class FileBatchShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "vector_store.files_batch" object."""

    id: str
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    created_at: int
    vector_store_id: str
    status: Literal["completed"] = "completed"
    file_counts: FileCounts

    @classmethod
    def of(cls, thing: Thing) -> FileBatchShape:
        """How a batch is shown."""
        files: dict[str, str] = thing.facts["files"]  # → why it could not be read
        failed = sum(map(bool, files.values()))
        return cls(
            id=thing.id,
            created_at=seconds(thing.created),
            vector_store_id=thing.facts["store"],
            file_counts=FileCounts(completed=len(files) - failed, failed=failed, total=len(files)),
        )


async def create(face: Face, request: Request) -> Response:
    """Add several files of the caller's to a collection."""
    caller = await bearer(face.installation, request)
    within = await named(face, caller, request.path_params["store"])
    body = await json_object(request)
    OPENAI_FILE_BATCH.check(body)
    ids = converted(body, NewFileBatch).ids
    for id in ids:  # one that is not there leaves all others where they are
        await asyncio.to_thread(face.installation.files.get, caller, id)
    added = {id: await asyncio.to_thread(take_in, face, caller, within, id) for id in ids}
    why = {id: one.last_error.message if one.last_error else "" for id, one in added.items()}
    facts = {"store": within.id, "files": why}
    thing = await asyncio.to_thread(
        face.installation.kept.add, caller, _KIND, facts, label=within.label, state="completed"
    )
    return json_response(encode(FileBatchShape.of(thing)))


async def batch(face: Face, request: Request) -> Response:
    """One batch."""
    _, _, thing = await _held(face, request)
    return json_response(encode(FileBatchShape.of(thing)))


async def cancel(face: Face, request: Request) -> Response:
    """End a batch: it has ended by the time that it has an id."""
    _, _, thing = await _held(face, request)
    return json_response(encode(FileBatchShape.of(thing)))


async def files(face: Face, request: Request) -> Response:
    """The files of a batch that are still in the collection, or could not be read."""
    caller, within, thing = await _held(face, request)
    wanted = request.query_params.get("filter")
    found: list[StoreFileShape] = []
    for id, why in thing.facts["files"].items():
        if wanted in (None, "failed" if why else "completed"):
            one = await asyncio.to_thread(shown, face, caller, within, id, why)
            found += [] if one is None else [one]
    page = cut(request, found, lambda one: one.id)
    listed = StoreFileList(
        data=list(page.entries), first_id=page.first, last_id=page.last, has_more=page.more
    )
    return json_response(encode(listed))


async def _held(face: Face, request: Request) -> tuple[Caller, Collection, Thing]:
    caller = await bearer(face.installation, request)
    within = await named(face, caller, request.path_params["store"])
    get: Any = face.installation.kept.get
    absent = NotFound(
        "There is no such batch of yours for this vector store.",
        f"GET /v1/vector_stores/{within.id}/files lists its files.",
    )
    try:
        thing: Thing = await asyncio.to_thread(get, caller, _KIND, request.path_params["batch"])
    except NotFound:
        raise absent from None
    if thing.facts["store"] != within.id:
        raise absent
    return caller, within, thing
