"""Documents: the collections one may read, adding to them, and one document with its passage."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from casemate.errors import CasemateError, TooLarge
from casemate.language.words import language_of
from casemate.web import errors
from casemate.web.forms import fields, opened
from casemate.web.front import Front, Reader
from casemate.web.leaf import open_at
from casemate.web.passage import Span

if TYPE_CHECKING:
    from casemate.library.document import Document

_SAMPLE = 4_000  # characters that tell a document's language


def routes(front: Front) -> list[BaseRoute]:
    """``/documents``, ``/collections``, and what hangs below one document."""
    desk = _Desk(front)
    return [
        Route("/documents", front.member(desk.shelves), methods=["GET"]),
        Route("/documents", front.member(desk.add), methods=["POST"]),
        Route("/collections", front.member(desk.create), methods=["POST"]),
        Route("/collections", front.member(desk.back), methods=["GET"]),
        Route("/documents/{id}", front.member(desk.one), methods=["GET"]),
        Route("/documents/{id}/original", front.member(desk.original), methods=["GET"]),
        Route("/documents/{id}/delete", front.member(desk.delete), methods=["POST"]),
    ]


class _Desk:
    def __init__(self, front: Front) -> None:
        self._front = front
        self._library = front.house.library
        self._settings = front.house.settings

    async def shelves(self, request: Request, reader: Reader) -> Response:
        return await self._page(reader)

    async def back(self, request: Request, reader: Reader) -> Response:
        return RedirectResponse("/documents", 303)

    async def create(self, request: Request, reader: Reader) -> Response:
        form = await fields(request)
        name = form.text("name").strip()
        if not name:
            return await self._page(
                reader, status=400, name_problem=reader.words("documents.name_empty")
            )
        try:
            await asyncio.to_thread(
                self._library.create_collection,
                reader.known,
                name,
                label=form.text("label") or None,
            )
        except CasemateError as error:
            told = errors.told(error, reader.words, "collection")
            return await self._page(
                reader,
                status=error.status,
                name=name,
                name_problem=f"{told['what']} {told['next']}".strip(),
                name_tongue=told["tongue"],
            )
        return RedirectResponse("/documents", 303)

    async def add(self, request: Request, reader: Reader) -> Response:
        most = self._settings.upload_mebibytes * 2**20
        added: list[str] = []
        problems: list[dict[str, Any]] = []
        try:
            # the limit is for one document; a few may come together
            async with opened(request, 4 * most + 2**20) as form:
                collection, sent = form.text("collection"), form.files("files")
                missing = {}
                if not sent:
                    missing["files_problem"] = reader.words("documents.files_empty")
                if not collection:
                    missing["into_problem"] = reader.words("documents.into_empty")
                if missing:
                    return await self._page(reader, status=400, into=collection, **missing)
                for file in sent:
                    try:
                        added.append(await self._one_file(file, collection, most, reader))
                    except CasemateError as error:
                        told = errors.told(error, reader.words, "file")
                        problems.append({"name": file.filename, **told, "status": error.status})
        except TooLarge as error:
            told = errors.told(error, reader.words, "files")
            problems.append({"name": "", **told, "status": 413})
        status = 200 if added or not problems else problems[0]["status"]
        return await self._page(reader, status=status, added=added, problems=problems)

    async def one(self, request: Request, reader: Reader) -> Response:
        id = request.path_params["id"]
        document, text = await asyncio.gather(
            asyncio.to_thread(self._library.document, reader.known, id),
            asyncio.to_thread(self._library.text, reader.known, id),
        )
        mark = _mark(request, len(text))
        sheets = open_at(document, text, mark, _number(request, "page"))
        return reader.page(
            "document.html",
            document=document,
            opened=sheets,
            marked=mark is not None,
            tongue=language_of(text[:_SAMPLE]),
            marking=self._front.marking(document.label, reader.words.language),
        )

    async def original(self, request: Request, reader: Reader) -> Response:
        id = request.path_params["id"]
        document = await asyncio.to_thread(self._library.document, reader.known, id)
        content = await asyncio.to_thread(self._library.original, reader.known, id)
        return Response(
            content,
            # always bytes to save: a document must never act as a page of ours
            media_type="application/octet-stream",
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{_file_name(document)}",
                "Content-Security-Policy": "default-src 'none'; sandbox",
            },
        )

    async def delete(self, request: Request, reader: Reader) -> Response:
        await fields(request)
        await asyncio.to_thread(self._library.delete, reader.known, request.path_params["id"])
        return RedirectResponse("/documents", 303)

    async def _one_file(self, file: UploadFile, collection: str, most: int, reader: Reader) -> str:
        if (file.size or 0) > most:
            raise TooLarge(
                f"The file is larger than {self._settings.upload_mebibytes} MiB.",
                "Split it, or ask the operator to raise the limit.",
            )
        # a browser sends a bare name; anything else would be a path of somebody's own making
        name = (file.filename or "").replace("\\", "/").rpartition("/")[2]
        content = await file.read()
        done = await asyncio.to_thread(self._library.add, reader.known, collection, name, content)
        return reader.words(f"documents.{done.outcome}", name=name)

    async def _page(self, reader: Reader, *, status: int = 200, **told: Any) -> Response:
        collections, documents = await asyncio.gather(
            asyncio.to_thread(self._library.collections, reader.known),
            asyncio.to_thread(self._library.documents, reader.known),
        )
        shelves = [
            (
                collection,
                self._front.marking(collection.label, reader.words.language),
                _of(documents, collection.name),
            )
            for collection in sorted(collections, key=lambda one: one.name.casefold())
        ]
        defaults = {
            "added": [],
            "problems": [],
            "name": "",
            "name_problem": "",
            "name_tongue": "",
            "files_problem": "",
            "into_problem": "",
            "into": "",
        }
        return reader.page(
            "documents.html",
            status=status,
            shelves=shelves,
            levels=self._levels(reader),
            most=self._settings.upload_mebibytes,
            **{**defaults, **told},
        )

    def _levels(self, reader: Reader) -> list[tuple[str, str, bool]]:
        """(label, its name, whether it is the usual one), as far as the reader's clearance."""
        home = self._front.house.gate.country.policy
        clearance = reader.known.principal.clearance
        language = reader.words.language
        return [
            (
                str(label),
                # Of other policies the marking, which names the policy where the name does not.
                level.names.get(language, level.id)
                if policy == home
                else f"{policy.id.upper()}: {level.marking.get(language, level.id)}",
                policy == home and level.id == policy.default,
            )
            for policy in home.scale.policies.values()
            for level in policy.levels
            if clearance.dominates(label := policy.parse(level.id))
        ]


def _of(documents: Sequence[Document], collection: str) -> list[Document]:
    found = [one for one in documents if one.collection == collection]
    return sorted(found, key=lambda one: one.name.casefold())


def _mark(request: Request, length: int) -> Span | None:
    start, end = _number(request, "start"), _number(request, "end")
    if start is None or end is None or not 0 <= start < end <= length:
        return None
    return Span("passage", start, end)


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _file_name(document: Document) -> str:
    return quote(document.name.replace("\\", "/").rpartition("/")[2], safe="")
