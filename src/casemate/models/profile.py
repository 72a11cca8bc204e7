"""Profiles: how a model wants to be spoken to, as part of its manifest.

Template, thinking, sampling and what it makes of passages. Shares are in thousandths, because
canonical JSON (RFC 8785) of the ledger holds no fractions.

Those of known models are data: ``profiles/NAME.toml``, next to this module.
"""

from __future__ import annotations

import re
from importlib import resources

import msgspec

from casemate.errors import NotFound

TEMPLATES = ("weights", "mistral-v3", "mistral-v7", "mistral-v11", "mistral-v13")
THINKING = ("none", "tokens", "text")
PASSAGES = ("fenced", "numbered")
CHUNKS = ("text", "thinking")
_LONGEST_SYSTEM = 65_536  # characters
_BOUNDS = {
    "most_passages": (1, 100),
    "temperature_thousandths": (0, 5000),
    "top_p_thousandths": (1, 1000),
    "context_tokens": (256, 2**31),
    "answer_tokens": (1, 2**20),
}


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


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A profile that comes with Casemate, and what can be said of every model it is for."""

    title: str
    profile: Profile
    model: dict[str, str] = {}  # parts of a manifest, where its author says nothing else


def known_profiles() -> dict[str, Known]:
    """The profiles that come with Casemate, by name."""
    folder = resources.files("casemate.models").joinpath("profiles")
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".toml")), key=str)
    return {
        one.name.removesuffix(".toml"): msgspec.toml.decode(one.read_bytes(), type=Known)
        for one in files
    }


def known_profile(name: str) -> Known:
    """The profile of that name. Raises NotFound."""
    found = known_profiles().get(name)
    if found is None:
        raise NotFound(
            f"There is no profile {name[:80]!r}.", "`casemate model profiles` lists them."
        )
    return found


def wrong_profile(profile: Profile | None) -> str | None:
    """What is wrong with a profile, or None."""
    if profile is None:
        return None
    for part, allowed in (("template", TEMPLATES), ("thinking", THINKING), ("passages", PASSAGES)):
        if getattr(profile, part) not in allowed:
            return f"{part} of its profile is none of {', '.join(allowed)}"
    for part, (least, most) in _BOUNDS.items():
        value = getattr(profile, part)
        if value is not None and not least <= value <= most:
            return f"{part} of its profile is not between {least} and {most}"
    if any(chunk.kind not in CHUNKS for chunk in profile.system):
        return f"a chunk of its system prompt is none of {', '.join(CHUNKS)}"
    if sum(len(chunk.text) for chunk in profile.system) > _LONGEST_SYSTEM:
        return f"its system prompt is longer than {_LONGEST_SYSTEM} characters"
    return None


def system_chunks(text: str, thinking: str) -> tuple[SystemChunk, ...]:
    """A system prompt as its model's file holds it, in chunks.

    What stands between [THINK] and [/THINK] is a thinking chunk for a model with such tokens.
    """
    if thinking != "tokens":
        return (SystemChunk(text),) if text else ()
    pieces = re.split(r"\[THINK\](.*?)\[/THINK\]", text, flags=re.DOTALL)
    return tuple(
        SystemChunk(piece, CHUNKS[number % 2]) for number, piece in enumerate(pieces) if piece
    )
