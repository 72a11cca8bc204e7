"""Lines of batches, put as their owner would put them: the same path, without a connection."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from casemate.api import errors
from casemate.api.metrics import Metrics
from casemate.api.mistral import agents, fim, ocr
from casemate.api.mistral import chat as mistral_chat
from casemate.api.mistral import embeddings as mistral_embeddings
from casemate.api.mistral.batches import line as mistral_line
from casemate.api.openai import chat, completions, embeddings, responding
from casemate.api.openai.batches import line as openai_line
from casemate.api.resource import Face
from casemate.api.running import Desk, drained
from casemate.errors import Invalid
from casemate.reasoning.batch import Answered, Line

if TYPE_CHECKING:
    from casemate.gate.caller import Caller
    from casemate.gate.label import Label
    from casemate.installation import Installation

Put: TypeAlias = Callable[[Desk, Mapping[str, Any], dict[str, Any]], Awaitable["Told"]]
"""Puts one body: the desk, what is said about the batch, the body."""


@dataclass(frozen=True)
class Told:
    """What a line was answered with, and what of the run is to be kept with it."""

    shape: msgspec.Struct
    run: str | None = None
    use_case: str | None = None
    label: str | None = None


async def work(installation: Installation) -> None:
    """Work through everybody's batches until cancelled; runs in the background end then, too."""
    batching = _Batching(installation)
    try:
        await installation.batches.work(batching.answer, batching.read)
    finally:
        await installation.background.close()


async def work_through(installation: Installation) -> None:
    """Work through the batches that there are, until all have ended."""
    batching = _Batching(installation)
    await installation.batches.work_through(batching.answer, batching.read)


class _Batching:
    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._face = Face(installation, time.time)
        self._metrics = Metrics()  # nobody scrapes these: batches are counted with their runs

    async def answer(
        self, owner: Caller, facts: Mapping[str, Any], body: Mapping[str, Any], label: Label
    ) -> Answered:
        """See ``Batches.work``."""
        dialect, put = _ENDPOINTS[facts["dialect"], facts["endpoint"]]
        desk = Desk(self._face, owner, self._metrics, drained, str(label), "batch")
        try:
            told = await put(desk, facts, dict(body))
        except Exception as problem:
            told_so = dialect(errors.known(problem))
            return Answered(told_so.status_code, msgspec.json.decode(told_so.body))
        policy = self._installation.gate.country.policy
        return Answered(
            200,
            msgspec.to_builtins(told.shape),
            told.run,
            told.use_case,
            policy.parse(told.label) if told.label else None,
        )

    def read(self, facts: Mapping[str, Any], row: Mapping[str, Any]) -> Line:
        """See ``Batches.work``."""
        return _LINES[facts["dialect"]](facts, row)


def whole(body: dict[str, Any]) -> dict[str, Any]:
    """A body that asks for no stream, and not for later. Raises Invalid for one that does."""
    if body.get("stream"):
        raise Invalid("A batch streams nothing.", "Leave stream out.")
    if body.get("background"):
        raise Invalid("A batch is in the background as it is.", "Leave background out.")
    return body


async def _chat(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    wanted, asked = await chat.asking(desk, whole(body))
    shape = await chat.answered(desk, wanted, asked)
    return Told(shape, shape.casemate.run, shape.casemate.use_case, shape.casemate.label)


async def _completions(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    wanted, asked = await completions.asking(desk, whole(body))
    shape = await completions.answered(desk, wanted, asked)
    about = shape.casemate
    if isinstance(about, msgspec.UnsetType):
        return Told(shape)
    return Told(shape, about.run, about.use_case, about.label)


async def _responses(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    shape = await responding.answered(desk, await responding.asked_for(desk, whole(body)))
    about = shape.casemate
    return Told(shape) if about is None else Told(shape, about.run, about.use_case, about.label)


async def _embeddings(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    shape = await embeddings.answered(desk, body)
    return Told(shape, shape.run)


async def _mistral_chat(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    ask = agents.asking if "agent_id" in body else mistral_chat.asking
    if "agent_id" in body:
        body.pop("model", None)
    shape = await mistral_chat.answered(desk, *await ask(desk, whole(body)))
    return Told(shape, shape.id, shape.casemate.use_case, shape.casemate.label)


async def _fim(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    shape = await fim.answered(desk, *await fim.asking(desk, whole(body)))
    return Told(shape, shape.id, shape.casemate.use_case, shape.casemate.label)


async def _mistral_embeddings(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    shape = await mistral_embeddings.answered(desk, body)
    return Told(shape, shape.id)


async def _ocr(desk: Desk, facts: Mapping[str, Any], body: dict[str, Any]) -> Told:
    return Told(await ocr.answered(desk, body))


_ENDPOINTS: dict[tuple[str, str], tuple[errors.Dialect, Put]] = {
    ("openai", "/v1/chat/completions"): (errors.openai, _chat),
    ("openai", "/v1/completions"): (errors.openai, _completions),
    ("openai", "/v1/responses"): (errors.openai, _responses),
    ("openai", "/v1/embeddings"): (errors.openai, _embeddings),
    ("mistral", "/v1/chat/completions"): (errors.mistral, _mistral_chat),
    ("mistral", "/v1/fim/completions"): (errors.mistral, _fim),
    ("mistral", "/v1/embeddings"): (errors.mistral, _mistral_embeddings),
    ("mistral", "/v1/ocr"): (errors.mistral, _ocr),
}
_LINES: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Line]] = {
    "openai": openai_line,
    "mistral": mistral_line,
}
