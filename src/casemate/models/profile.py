"""Profiles: how a model wants to be spoken to, as part of its manifest.

Template, thinking, sampling and what it makes of passages. Shares are in thousandths, because
canonical JSON (RFC 8785) of the ledger holds no fractions.
"""

from __future__ import annotations

import msgspec

TEMPLATES = ("weights", "mistral-v3", "mistral-v7", "mistral-v11", "mistral-v13")
THINKING = ("none", "tokens", "text")
PASSAGES = ("fenced", "numbered")


class SystemChunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a system prompt. ``kind``: text | thinking."""

    text: str
    kind: str = "text"


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model wants to be spoken to.

    ``template``: "weights" takes the chat template that lies in the weights, the others are
    Mistral's instruct templates of that version. ``thinking``: "tokens" between control tokens,
    "text" between <think> and </think>. ``passages``: "fenced" by a code drawn for each run, after
    instructions; "numbered" for models that were trained on nothing else.
    """

    template: str = "weights"
    thinking: str = "none"
    passages: str = "fenced"
    most_passages: int = 10  # for each part of a question
    system: tuple[SystemChunk, ...] = ()
    system_file: str | None = None  # file of the model that holds its system prompt
    temperature_thousandths: int | None = None
    top_p_thousandths: int | None = None
    context_tokens: int | None = None  # recommended, where it is less than the model can
    answer_tokens: int = 4096  # at most, thinking included, unless a request says less
    tools: bool = False  # knows how to call tools
