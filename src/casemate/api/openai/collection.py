"""The collections that vector stores stand for, by their ids."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from casemate.api.resource import Face
from casemate.errors import NotFound

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.document import Collection


async def named(face: Face, caller: Caller, id: str) -> Collection:
    """The collection with this id. Raises NotFound if it is absent or hidden."""
    for found in await asyncio.to_thread(face.installation.library.collections, caller):
        if found.id == id:
            return found
    raise NotFound(
        "There is no such vector store that you may read.", "GET /v1/vector_stores lists yours."
    )


async def names_of(face: Face, caller: Caller, ids: list[str]) -> tuple[str, ...]:
    """Names of the collections with these ids. Raises NotFound."""
    return tuple([(await named(face, caller, id)).name for id in ids])
