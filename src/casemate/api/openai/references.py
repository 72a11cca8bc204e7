"""Items of earlier responses, named by their ids in place of being sent again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from casemate.api.errors import InvalidParameter
from casemate.api.openai.given import GivenItem, ResponseRequest
from casemate.api.openai.output import Item, Output, events_of
from casemate.api.resource import Face
from casemate.errors import NotFound

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.reasoning.conversation import Exchange

_ID = re.compile(r"(?:msg|rs|fc|fs)_(r_[0-9a-f]+)(?:_\d+)?")


async def looked_up(
    face: Face, caller: Caller, items: Sequence[GivenItem]
) -> tuple[list[GivenItem], list[str]]:
    """``items`` with what they refer to in place, and the labels of the runs that it is from.

    Raises InvalidParameter for an id of nothing that was kept for the caller.
    """
    found: list[GivenItem] = []
    labels: list[str] = []
    known: dict[str, dict[str, Item]] = {}
    for number, item in enumerate(items):
        if item.kind != "item_reference":
            found.append(item)
            continue
        place = _ID.fullmatch(item.id or "")
        run = "" if place is None else place[1]
        if run and run not in known:
            exchange = await _kept(face, caller, run)
            known[run] = {} if exchange is None else _items_of(exchange)
            labels += [] if exchange is None else [str(exchange.label)]
        named = known.get(run, {}).get(item.id or "")
        if named is None:
            raise InvalidParameter(
                f"input[{number}].id",
                "There is no such item of a response of yours.",
                "Send the item itself; those of responses with store are kept.",
            )
        found.append(msgspec.convert(msgspec.to_builtins(named), GivenItem))
    return found, labels


async def _kept(face: Face, caller: Caller, run: str) -> Exchange | None:
    conversations = face.installation.conversations
    try:
        return await asyncio.to_thread(conversations.exchange, caller, run)
    except NotFound:
        return None


def _items_of(exchange: Exchange) -> dict[str, Item]:
    """What a response gave, by id; nothing of what was asked elsewhere than at /v1/responses."""
    if "wanted" not in exchange.facts:
        return {}
    wanted = msgspec.convert(exchange.facts["wanted"], ResponseRequest)
    output = Output(searching=wanted.searches, results=False)
    for event in events_of(exchange.finished):
        output.tell(event)
    return {item.id: item for item in output.items}
