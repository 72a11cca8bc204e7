"""``/v1/conversations``: what was said so far, kept here, to be gone on with by responses.

A response that names one is asked after all that was said in it, and becomes part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from casemate.api.body import converted, json_object
from casemate.api.caller import bearer
from casemate.api.openai.files import seconds
from casemate.api.openai.given import GivenItem, turns_of
from casemate.api.openai.paging import cut
from casemate.api.openai.response import encode
from casemate.api.openai.transcript import DIALECT, Transcript, noted_items
from casemate.api.parameters import OPENAI_CONVERSATION
from casemate.api.resource import Face, json_response
from casemate.errors import NotFound
from casemate.reasoning.conversation import Noted

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.library.kept import Thing

Items = Annotated[list[GivenItem], Meta(max_length=20)]
Metadata = dict[str, Annotated[str, Meta(max_length=512)]]


class NewConversation(Struct, frozen=True):
    """A conversation to begin, with what was said before."""

    items: Items | None = None
    metadata: Metadata | None = None


class ConversationChange(Struct, frozen=True):
    """What is said about a conversation, in place of what was."""

    metadata: Metadata | None


class NewItems(Struct, frozen=True):
    """What is to be added."""

    items: Items


class ConversationShape(Struct, frozen=True, kw_only=True):
    """OpenAI's "conversation" object."""

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: dict[str, str]
    label: str

    @classmethod
    def of(cls, thing: Thing) -> ConversationShape:
        """How a conversation is shown."""
        return cls(
            id=thing.id,
            created_at=seconds(thing.created),
            metadata=thing.facts.get("metadata") or {},
            label=str(thing.label),
        )


class DeletedConversation(Struct, frozen=True, kw_only=True):
    """OpenAI's word that a conversation is gone."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


class ItemList(Struct, frozen=True, kw_only=True):
    """OpenAI's list of the items of a conversation."""

    object: Literal["list"] = "list"
    data: Sequence[dict[str, Any]]
    first_id: str
    last_id: str
    has_more: bool


async def create(face: Face, request: Request) -> Response:
    """Begin a conversation."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    OPENAI_CONVERSATION.check(body)
    wanted = converted(body, NewConversation)
    turns_of(wanted.items or [])  # what makes no sense leaves no conversation
    lowest = face.installation.gate.country.policy.lowest()
    facts = {"dialect": DIALECT, "metadata": wanted.metadata or {}}
    start = face.installation.conversations.start
    thing = await asyncio.to_thread(start, caller, facts, lowest)
    if wanted.items:
        await _add(face, caller, thing, wanted.items)
    return json_response(encode(ConversationShape.of(thing)))


async def conversation(face: Face, request: Request) -> Response:
    """What is said about one conversation."""
    _, talk = await _named(face, request)
    return json_response(encode(ConversationShape.of(talk.thing)))


async def update(face: Face, request: Request) -> Response:
    """Say something else about a conversation."""
    caller, talk = await _named(face, request)
    wanted = converted(await json_object(request), ConversationChange)
    facts = {**talk.thing.facts, "metadata": wanted.metadata or {}}
    conversations = face.installation.conversations
    await asyncio.to_thread(conversations.change, talk.thing, facts)
    return json_response(encode(ConversationShape.of((await _again(face, caller, talk)).thing)))


async def delete(face: Face, request: Request) -> Response:
    """Erase a conversation with all responses in it; their runs and the record of them stay."""
    caller, talk = await _named(face, request)
    await asyncio.to_thread(face.installation.conversations.delete, caller, talk.thing.id)
    return json_response(encode(DeletedConversation(id=talk.thing.id)))


async def items(face: Face, request: Request) -> Response:
    """What was said in a conversation, newest first."""
    _, talk = await _named(face, request)
    page = cut(request, talk.items, lambda item: str(item["id"]))
    return json_response(encode(_listed(page.entries, more=page.more)))


async def add_items(face: Face, request: Request) -> Response:
    """Add to a conversation what was said elsewhere."""
    caller, talk = await _named(face, request)
    wanted = converted(await json_object(request), NewItems)
    turns_of(wanted.items)
    added = await _add(face, caller, talk.thing, wanted.items)
    return json_response(encode(_listed(added, more=False)))


async def item(face: Face, request: Request) -> Response:
    """One item of a conversation."""
    _, talk = await _named(face, request)
    return json_response(msgspec.json.encode(_one(talk, request)))


async def remove_item(face: Face, request: Request) -> Response:
    """Take one item out of a conversation; the run that it is of stays as it was recorded."""
    caller, talk = await _named(face, request)
    gone = str(_one(talk, request)["id"])
    await asyncio.to_thread(_take_out, face, caller, talk.thing, gone)
    return json_response(encode(ConversationShape.of((await _again(face, caller, talk)).thing)))


async def _named(face: Face, request: Request) -> tuple[Caller, Transcript]:
    caller = await bearer(face.installation, request)
    return caller, await Transcript.of(face, caller, request.path_params["id"])


async def _again(face: Face, caller: Caller, talk: Transcript) -> Transcript:
    return await Transcript.of(face, caller, talk.thing.id)


async def _add(
    face: Face, caller: Caller, thing: Thing, given: list[GivenItem]
) -> list[dict[str, Any]]:
    turns = msgspec.to_builtins(turns_of(given))
    note = face.installation.conversations.note
    return noted_items(await asyncio.to_thread(note, caller, thing, {"turns": turns}))


def _take_out(face: Face, caller: Caller, thing: Thing, gone: str) -> None:
    """Show an item no more, and erase what nobody is shown any more."""
    conversations = face.installation.conversations
    removed = [*thing.facts.get("removed", ()), gone]
    conversations.change(thing, {**thing.facts, "removed": removed})
    for part in conversations.parts(caller, thing.id):
        if isinstance(part, Noted) and {one["id"] for one in noted_items(part)} <= set(removed):
            conversations.unnote(caller, part.id)


def _one(talk: Transcript, request: Request) -> dict[str, Any]:
    id = request.path_params["item"]
    for found in talk.items:
        if found["id"] == id:
            return found
    raise NotFound("There is no such item in this conversation.", "GET …/items lists its items.")


def _listed(entries: Sequence[dict[str, Any]], *, more: bool) -> ItemList:
    first, last = (entries[0]["id"], entries[-1]["id"]) if entries else ("", "")
    return ItemList(data=entries, first_id=first, last_id=last, has_more=more)
