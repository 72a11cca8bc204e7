"""Forms: what a person sent, never more of it than was announced as the limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from casemate.errors import Invalid, TooLarge

SMALL = 64 * 1024  # bytes: a form of a few short fields


@dataclass(frozen=True)
class Fields:
    """The fields of a form."""

    form: FormData

    def text(self, name: str) -> str:
        """The text of a field; empty if it was not sent, or is a file."""
        value = self.form.get(name)
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> tuple[str, ...]:
        """Every text sent under one name."""
        return tuple(value for value in self.form.getlist(name) if isinstance(value, str))

    def files(self, name: str) -> list[UploadFile]:
        """Every file sent under one name. An empty choice is no file."""
        return [
            value
            for value in self.form.getlist(name)
            if isinstance(value, UploadFile) and value.filename
        ]


async def fields(request: Request, limit: int = SMALL) -> Fields:
    """The form of ``request``. Raises TooLarge above ``limit`` bytes, Invalid if malformed."""
    async with opened(request, limit) as form:
        return form


@asynccontextmanager
async def opened(request: Request, limit: int) -> AsyncIterator[Fields]:
    """As ``fields``, with files that are there to read until the end of the block."""
    bounded = Request(request.scope, _bounded(request.receive, limit))
    try:
        form = await bounded.form(max_files=1000, max_fields=2000, max_part_size=limit)
    except HTTPException as problem:  # Starlette's word for a malformed multipart body
        raise Invalid("The form could not be read.", str(problem.detail)) from None
    try:
        yield Fields(form)
    finally:
        await form.close()


def _bounded(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > limit:
                raise TooLarge(
                    f"More than {limit // 1_000:,} kB were sent.", "Send less at a time."
                )
        return message

    return bounded
