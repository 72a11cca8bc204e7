"""``/mistral/v1/fim/completions``: what stands between the begin of a text and its end.

For the models of use cases without documents whose manifests say that they fill in; recorded like
every run. Without a ``suffix`` the text is gone on with to its end.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp

from casemate.api.body import checked_question, checked_text, converted, json_object
from casemate.api.caller import bearer
from casemate.api.mistral import response as shapes
from casemate.api.mistral.chat import ChunkStream
from casemate.api.mistral.models import offered
from casemate.api.mistral.request import MistralTopP, Seed
from casemate.api.openai.request import Stop, Temperature, Tokens, stops
from casemate.api.parameters import MISTRAL_FIM
from casemate.api.resource import Face, json_response
from casemate.api.running import Desk, EventStream
from casemate.reasoning import event as run


class FillRequest(msgspec.Struct, frozen=True):
    """The parameters that have an effect."""

    model: str
    prompt: str
    suffix: str | None = None
    stream: bool | None = None
    temperature: Temperature | None = None
    top_p: MistralTopP | None = None
    max_tokens: Tokens | None = None
    random_seed: Seed | None = None
    stop: Stop | None = None


async def completions(face: Face, request: Request) -> ASGIApp:
    """Fill in, whole or as a stream."""
    caller = await bearer(face.installation, request)
    body = await json_object(request)
    desk = Desk.of(face, request, caller)
    wanted, asked = await asking(desk, body)
    if wanted.stream:
        stream = ChunkStream(wanted.model, asked, created=desk.created, site=desk.site)
        return EventStream(desk.events(asked), stream.render, stream.broken)
    return json_response(shapes.encode(await answered(desk, wanted, asked)))


async def asking(desk: Desk, body: dict[str, Any]) -> tuple[FillRequest, run.Request]:
    """What a body asks for. Raises InvalidParameter, UnknownModel, TooLarge."""
    MISTRAL_FIM.check(body)
    wanted = converted(body, FillRequest)
    offer = await offered(desk.face, desk.caller, wanted.model)
    settings, after = desk.face.settings, wanted.suffix or ""
    if not after:
        checked_question(wanted.prompt, settings, "prompt")
    return wanted, run.Request(
        question=checked_text(wanted.prompt, settings, "prompt"),
        suffix=checked_text(after, settings, "suffix"),
        use_case=offer.use_case,
        model=offer.model,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        seed=wanted.random_seed,
        max_tokens=wanted.max_tokens,
        stop=stops(wanted.stop),
    )


async def answered(desk: Desk, wanted: FillRequest, asked: run.Request) -> shapes.Completion:
    """The completion. Raises what the run raises."""
    created = desk.created
    admitted, finished = await desk.answer(asked)
    return shapes.completion(
        finished,
        use_case=admitted.use_case,
        asked=asked,
        model=wanted.model,
        created=created,
        site=desk.site,
    )
