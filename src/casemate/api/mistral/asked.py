"""What agents and conversations are set up with: a model, instructions, tools, and how to draw."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from casemate.api.body import converted
from casemate.api.calling import choice_of, schema_of
from casemate.api.conversation import question_of
from casemate.api.mistral.request import (
    MistralTopP,
    Seed,
    ToolShape,
    functions_of,
    libraries_of,
    untold_of,
)
from casemate.api.openai.models import Offer
from casemate.api.openai.request import Stop, Temperature, Tokens, stops
from casemate.api.parameters import MISTRAL_ARGUMENTS
from casemate.reasoning.conversation import Said
from casemate.reasoning.event import Event, Request
from casemate.settings import Settings


class Arguments(Struct, frozen=True, omit_defaults=True):
    """How to draw, and in which form to answer."""

    temperature: Temperature | None = None
    top_p: MistralTopP | None = None
    max_tokens: Tokens | None = None
    random_seed: Seed | None = None
    stop: Stop | None = None
    response_format: dict[str, Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    reasoning_effort: str | None = None


class SetUp(Struct, frozen=True, omit_defaults=True):
    """A model as somebody wants to ask it."""

    model: str
    instructions: str | None = None
    tools: Annotated[list[ToolShape], Meta(max_length=128)] = []
    completion_args: Arguments = Arguments()

    @property
    def libraries(self) -> list[str]:
        """Ids of the collections to search in; none: all that the use case has."""
        return libraries_of(self.tools)

    @property
    def untold(self) -> tuple[type[Event], ...]:
        """Events that nobody wants to be told of."""
        return untold_of(self.completion_args.reasoning_effort)

    def to_run(
        self,
        turns: list[Said],
        offer: Offer,
        collections: tuple[str, ...],
        settings: Settings,
        param: str = "inputs",
    ) -> Request:
        """The run that a conversation asks for. Raises InvalidParameter, TooLarge."""
        said: list[Said] = list(turns)
        if self.instructions:
            said.insert(0, ("system", self.instructions))
        question, history, since = question_of(said, settings, param)
        drawn = self.completion_args
        return Request(
            question=question,
            use_case=offer.use_case,
            model=offer.model,
            collections=collections,
            temperature=drawn.temperature,
            top_p=drawn.top_p,
            seed=drawn.random_seed,
            max_tokens=drawn.max_tokens,
            history=history,
            since=since,
            tools=functions_of(self.tools),
            choice=choice_of(drawn.tool_choice, "completion_args.tool_choice"),
            schema=schema_of(drawn.response_format, "completion_args.response_format"),
            stop=stops(drawn.stop),
        )


def arguments_of(value: object) -> Arguments:
    """The arguments in a body. Raises InvalidParameter, naming the one that is not honoured."""
    if value is None:
        return Arguments()
    if isinstance(value, dict):
        MISTRAL_ARGUMENTS.check(value)
    return converted({"completion_args": value}, _Holding).completion_args


class _Holding(msgspec.Struct, frozen=True):
    completion_args: Arguments
