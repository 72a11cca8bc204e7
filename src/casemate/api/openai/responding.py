"""Responding: from what is wanted to the run, its events, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from casemate.api.openai.collection import names_of
from casemate.api.openai.given import ResponseRequest, turns_of
from casemate.api.openai.models import offered
from casemate.api.openai.output import Output, events_of
from casemate.api.openai.references import looked_up
from casemate.api.openai.responded import ResponseShape, ended, failure, id_of, run_of, shown
from casemate.api.openai.transcript import Transcript
from casemate.api.resource import Face
from casemate.api.running import Desk
from casemate.errors import CasemateError, NotFound
from casemate.reasoning import event as run
from casemate.reasoning.conversation import Exchange, Said

if TYPE_CHECKING:
    from casemate.gate.caller import Caller

RESULTS = "file_search_call.results"


@dataclass(frozen=True)
class Asking:
    """A response that is wanted: what is asked, after which turns; the last ``given`` are new."""

    wanted: ResponseRequest
    asked: run.Request
    turns: Sequence[Said]
    given: int
    created: int
    talk: Transcript | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What is needed to show the response again."""
        wanted = msgspec.structs.replace(self.wanted, input="-")
        return {"wanted": msgspec.to_builtins(wanted), "created": self.created}


async def asked_for(desk: Desk, body: dict[str, Any]) -> Asking:
    """What a body asks for. Raises InvalidParameter, UnknownModel, NotFound, TooLarge."""
    wanted = ResponseRequest.parse(body)
    offer = await offered(desk.face, desk.caller, wanted.model)
    items, labels = await looked_up(desk.face, desk.caller, wanted.given)
    given = turns_of(items)
    before: Sequence[Said] = ()
    talk = None
    if wanted.previous_response_id is not None:
        previous = await exchange(desk.face, desk.caller, wanted.previous_response_id)
        before = previous.after
        labels.append(str(previous.label))
    elif wanted.talk is not None:
        talk = await Transcript.of(desk.face, desk.caller, wanted.talk)
        before = talk.turns()
        labels.append(str(talk.thing.label))
    turns = [*before, *given]
    asked = wanted.to_run(
        turns,
        use_case=offer.use_case,
        model=offer.model,
        collections=await names_of(desk.face, desk.caller, wanted.stores),
        settings=desk.face.settings,
    )
    asked = desk.labelled(asked, *labels)
    return Asking(wanted, asked, turns, len(given), desk.created, talk)


async def answered(desk: Desk, asking: Asking) -> ResponseShape:
    """The response, kept if it is wanted. Raises what the run raises."""
    output = output_of(asking.wanted)
    told: list[run.Event] = []

    async def noted() -> AsyncGenerator[run.Event, None]:
        async with aclosing(desk.events(asking.asked)) as events:
            async for event in events:
                told.append(event)
                yield event

    admitted, finished = await desk.follow(noted())
    for event in told:
        output.tell(event)
    await keep(desk, asking, admitted, finished)
    return ended(
        asking.wanted,
        asking.asked,
        finished,
        created=asking.created,
        completed=desk.created,
        use_case=admitted.use_case,
        output=output.items,
    )


async def keep(desk: Desk, asking: Asking, admitted: run.Admitted, finished: run.Finished) -> None:
    """Keep the response, and in its conversation, if that is wanted."""
    if not asking.wanted.keeps and asking.talk is None:
        return
    installation = desk.face.installation
    label = installation.gate.country.policy.parse(finished.label)
    await asyncio.to_thread(
        installation.conversations.keep,
        desk.caller,
        finished,
        admitted.use_case,
        label,
        asking.turns,
        given=asking.given,
        facts=asking.facts,
        conversation=None if asking.talk is None else asking.talk.thing.id,
    )
    if asking.talk is not None:
        await asyncio.to_thread(installation.conversations.rise, asking.talk.thing, label)


async def exchange(face: Face, caller: Caller, id: str) -> Exchange:
    """The response with this id, as it was kept. Raises NotFound."""
    try:
        return await asyncio.to_thread(face.installation.conversations.exchange, caller, run_of(id))
    except NotFound:
        raise absent() from None


def absent() -> NotFound:
    """The one answer about a response that is not there, or not the asker's."""
    return NotFound(
        "There is no such response of yours.", "One that was asked for with store is kept."
    )


def again(found: Exchange, *, results: bool) -> ResponseShape:
    """A response as it was, from what was kept of it; with the ``results`` of its searches."""
    wanted = wanted_of(found.facts)
    output = Output(searching=wanted.searches, results=results)
    for event in events_of(found.finished):
        output.tell(event)
    texts = [turn.text if isinstance(turn, run.Turn) else turn[1] for turn in found.turns]
    return ended(
        wanted,
        run.Request(question=" ".join(texts)),
        found.finished,
        created=found.facts["created"],
        completed=int(ended_at(found)),
        use_case=found.use_case,
        output=output.items,
    )


def ended_at(found: Exchange) -> float:
    """When the run of a response that was kept ended, in seconds since 1970."""
    return datetime.fromisoformat(found.created).timestamp()


def wanted_of(facts: Any) -> ResponseRequest:
    """What was wanted, from what was kept."""
    return msgspec.convert(facts["wanted"], ResponseRequest)


def output_of(wanted: ResponseRequest) -> Output:
    """What follows the events of a run that is wanted so."""
    return Output(searching=wanted.searches, results=RESULTS in (wanted.include or ()))


class Rendering:
    """Renders the events of a run as those of a response, numbered from 0.

    ``completed``: when the run ended, in seconds since 1970, asked once it has. ``after``: number
    of the last event that the reader has.
    """

    def __init__(
        self,
        wanted: ResponseRequest,
        asked: run.Request,
        created: int,
        completed: Callable[[], float],
        after: int = -1,
    ) -> None:
        self._wanted = wanted
        self._asked = asked
        self._created = created
        self._completed = completed
        self._after = after
        self._output = output_of(wanted)
        self._id = ""
        self._use_case = ""
        self._number = 0

    def render(self, event: run.Event) -> bytes:
        """The events for one event of the run."""
        frames = b""
        if isinstance(event, run.Admitted):
            self._id, self._use_case = id_of(event.run), event.use_case
            started = self._shape("in_progress")
            frames += self._frame("response.created", {"response": started})
            frames += self._frame("response.in_progress", {"response": started})
        for kind, fields in self._output.tell(event):
            frames += self._frame(kind, fields)
        if isinstance(event, run.Finished):
            done = ended(
                self._wanted,
                self._asked,
                event,
                created=self._created,
                completed=int(self._completed()),
                use_case=self._use_case,
                output=self._output.items,
            )
            kind = "response.incomplete" if done.incomplete_details else "response.completed"
            frames += self._frame(kind, {"response": done})
        return frames

    def broken(self, problem: CasemateError) -> bytes:
        """The end of a stream whose run breaks off."""
        return self._frame("response.failed", {"response": self._shape("failed", problem)})

    def _shape(self, status: str, problem: CasemateError | None = None) -> ResponseShape:
        return shown(
            self._wanted,
            id=self._id,
            created=self._created,
            status=status,
            error=None if problem is None else failure(problem),
            output=[] if problem is None else self._output.items,
        )

    def _frame(self, kind: str, fields: dict[str, Any]) -> bytes:
        told = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        if told["sequence_number"] <= self._after:
            return b""
        return f"event: {kind}\ndata: ".encode() + msgspec.json.encode(told) + b"\n\n"


async def kept_stream(desk: Desk, asking: Asking) -> AsyncGenerator[run.Event, None]:
    """The events of the run; before the last one the response is kept."""
    admitted: run.Admitted | None = None
    async with aclosing(desk.events(asking.asked)) as events:
        async for event in events:
            if isinstance(event, run.Admitted):
                admitted = event
            elif isinstance(event, run.Finished) and admitted is not None:
                await keep(desk, asking, admitted, event)
            yield event
