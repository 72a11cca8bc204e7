"""``/mistral/v1/ocr``: the text of documents that were born digital, page by page.

No model looks at pictures here: what a page says is what its file says. The file is read in a
confined process and not kept. It is work under a use case like any other: admitted, within its
quotas, in its turn, and ended when the right to it goes.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.errors import InvalidParameter, UnknownModel
from casemate.api.mistral.response import encode
from casemate.api.openai.models import offered
from casemate.api.parameters import MISTRAL_OCR
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, while_there
from casemate.api.upload import check_size

if TYPE_CHECKING:
    from casemate.gate.label import Label

_SENT = re.compile(r"data:([a-z0-9.+/-]{0,100});base64,", re.I)
_ENDINGS = {
    "application/pdf": ".pdf",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.oasis.opendocument.text": ".odt",
}
_KNOWN = ", ".join(_ENDINGS)
_ADD = "Send the file itself, as data:application/pdf;base64,…"


class Given(Struct, frozen=True):
    """A document: in an address of its own, or a file that was uploaded."""

    type: str = "document_url"
    document_url: str | None = None
    document_name: str | None = None
    file_id: str | None = None


class OCRRequest(Struct, frozen=True):
    """The parameters that have an effect. ``pages`` count from 0."""

    document: Given
    model: str | None = None
    pages: list[Annotated[int, Meta(ge=0)]] | str | None = None


class PageShape(Struct, frozen=True, kw_only=True):
    """A page, in Markdown."""

    index: int
    markdown: str
    images: list[Any] = []
    dimensions: None = None


class OCRUsage(Struct, frozen=True, kw_only=True):
    """How much was read."""

    pages_processed: int
    doc_size_bytes: int


class OCRShape(Struct, frozen=True, kw_only=True):
    """Mistral's answer."""

    pages: list[PageShape]
    model: Literal["casemate-reader"] = "casemate-reader"
    usage_info: OCRUsage


async def process(face: Face, request: Request) -> Response:
    """The text of one document."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    shape = await while_there(request, answered(Desk.of(face, request, caller), body))
    return json_response(encode(shape))


async def answered(desk: Desk, body: dict[str, Any]) -> OCRShape:
    """What a body asks for. Raises InvalidParameter, NotFound (file), Unreadable, TooLarge."""
    MISTRAL_OCR.check(body)
    wanted = converted(body, OCRRequest)
    name, content, label = await _sent(desk, wanted.document)
    check_size(content, desk.face.settings)
    read = await desk.face.installation.read(
        desk.caller,
        name,
        content,
        use_case=await _use_case(desk, wanted.model),
        label=label,
        priority=desk.priority,
    )
    whole = [read.text[page.start : page.end] for page in read.pages] or [read.text]
    chosen = _chosen(wanted.pages, len(whole))
    return OCRShape(
        pages=[PageShape(index=number, markdown=whole[number].strip()) for number in chosen],
        usage_info=OCRUsage(pages_processed=len(chosen), doc_size_bytes=len(content)),
    )


async def _use_case(desk: Desk, model: str | None) -> str | None:
    """The use case that ``model`` names; None for that of the key, else `documents`.

    Mistral's programs name a model of Mistral's here, and only one reads.
    """
    try:
        return None if model is None else (await offered(desk.face, desk.caller, model)).use_case
    except UnknownModel:
        return None


async def _sent(desk: Desk, given: Given) -> tuple[str, bytes, Label]:
    """Name, content and label of the document."""
    policy = desk.face.installation.gate.country.policy
    label = policy.parse(desk.label) if desk.label else policy.lowest()
    if given.type == "file" and given.file_id:
        files = desk.face.installation.files
        thing = await asyncio.to_thread(files.get, desk.caller, given.file_id)
        content = await asyncio.to_thread(files.content, desk.caller, given.file_id)
        return thing.facts["name"], content, label.join(thing.label)
    if given.type != "document_url" or given.document_url is None:
        raise InvalidParameter(
            "document", "Only documents with a text layer are read here, no pictures.", _ADD
        )
    begin = _SENT.match(given.document_url)
    if begin is None:
        raise InvalidParameter(
            "document.document_url", "Nothing here fetches from an address.", _ADD
        )
    try:
        content = base64.b64decode(given.document_url[begin.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameter(
            "document.document_url", "That is not Base64.", "Send the file in Base64."
        ) from None
    ending = _ENDINGS.get(begin.group(1).lower())
    if ending is None:
        raise InvalidParameter(
            "document.document_url", "Files of this type are not read.", f"Send {_KNOWN}."
        )
    return f"document{ending}", content, label


def _chosen(pages: list[int] | str | None, count: int) -> list[int]:
    """Numbers of the pages that are wanted: all, a list, or "0-2,5". Raises InvalidParameter."""
    if pages is None:
        return list(range(count))
    if isinstance(pages, str):
        found: list[int] = []
        for part in pages.split(","):
            span = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", part)
            if span is None:
                raise InvalidParameter("pages", "That is no list of pages.", 'Write "0-2,5".')
            first, last = int(span[1]), int(span[2] or span[1])
            found += range(first, min(last, count - 1) + 1)
        pages = found
    return [number for number in dict.fromkeys(pages) if number < count]
