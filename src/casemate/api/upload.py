"""A document that is sent: one file in a form, within the size that the settings allow."""

from __future__ import annotations

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from casemate.api.body import MEBIBYTE
from casemate.api.errors import InvalidParameter
from casemate.errors import TooLarge
from casemate.settings import Settings


async def form_file(request: Request) -> tuple[str, bytes]:
    """Name and content of the part "file". Raises InvalidParameter if there is none."""
    name, content, _ = await form(request)
    return name, content


async def form(request: Request) -> tuple[str, bytes, dict[str, str]]:
    """Name and content of the part "file", and the other fields by name.

    Raises InvalidParameter if there is no file.
    """
    # Starlette keeps the part on disk while it arrives, so half a file costs no memory.
    try:
        async with request.form(max_files=1, max_fields=16) as sent:
            part = sent.get("file")
            if not isinstance(part, UploadFile):
                raise InvalidParameter("file", 'The form has no file in "file".', "Add it.")
            fields = {name: text for name, text in sent.items() if isinstance(text, str)}
            return part.filename or "", await part.read(), fields
    except (HTTPException, MultiPartException):
        what = "The form cannot be read."
        raise InvalidParameter("file", what, 'Send one file, as the part "file".') from None


def check_size(content: bytes, settings: Settings) -> None:
    """Raise TooLarge if a document is larger than the settings allow."""
    most = settings.upload_mebibytes
    if len(content) > most * MEBIBYTE:
        raise TooLarge(f"The document is larger than {most:,} MiB.", "Split it.")
