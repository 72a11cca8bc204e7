from __future__ import annotations

from typing import Any

import msgspec
import pytest

from casemate.errors import NotFound
from casemate.models.profile import (
    Profile,
    SystemChunk,
    known_profile,
    known_profiles,
    system_chunks,
    wrong_profile,
)


def test_every_profile_that_comes_along_is_right() -> None:
    known = known_profiles()
    assert set(known) == {
        "generic",
        "magistral-small-2506",
        "magistral-small-2507",
        "magistral-small-2509",
        "nano",
    }
    assert [wrong_profile(one.profile) for one in known.values()] == [None] * len(known)
    with pytest.raises(NotFound, match="no profile 'x'"):
        known_profile("x")


def test_how_magistral_wants_to_be_spoken_to() -> None:
    older, newer = (known_profile(f"magistral-small-{date}").profile for date in ("2506", "2507"))
    assert (older.template, older.thinking) == ("mistral-v11", "text")
    assert (newer.template, newer.thinking) == ("mistral-v13", "tokens")
    for profile in (older, newer):
        assert (profile.temperature_thousandths, profile.top_p_thousandths) == (700, 950)
        assert (profile.context_tokens, profile.tools) == (40_000, True)
        assert profile.system_file == "SYSTEM_PROMPT.txt"
        assert profile.system == ()  # it lies with the weights, not here


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"template": "alpaca"}, "template of its profile is none of"),
        ({"thinking": "loud"}, "thinking of its profile"),
        ({"passages": "shuffled"}, "passages of its profile"),
        ({"most_passages": 0}, "most_passages"),
        ({"most_passages": 101}, "most_passages"),
        ({"temperature_thousandths": -1}, "temperature_thousandths"),
        ({"top_p_thousandths": 1001}, "top_p_thousandths"),
        ({"context_tokens": 1}, "context_tokens"),
        ({"answer_tokens": 0}, "answer_tokens"),
        ({"system": (SystemChunk("x", "shout"),)}, "a chunk of its system prompt"),
        ({"system": (SystemChunk("x" * 70_000),)}, "system prompt is longer"),
    ],
)
def test_a_wrong_part_of_a_profile_is_named(more: dict[str, Any], wrong: str) -> None:
    profile = msgspec.structs.replace(Profile(), **more)
    assert wrong in (wrong_profile(profile) or "")


@pytest.mark.parametrize(
    ("text", "thinking", "chunks"),
    [
        ("", "tokens", []),
        ("Be short.", "tokens", [("text", "Be short.")]),
        (
            "First.[THINK]a\nb[/THINK]Then.\n",
            "tokens",
            [("text", "First."), ("thinking", "a\nb"), ("text", "Then.\n")],
        ),
        ("[THINK]a[/THINK][THINK]b[/THINK]", "tokens", [("thinking", "a"), ("thinking", "b")]),
        ("a[THINK]b", "tokens", [("text", "a[THINK]b")]),
        ("a[THINK]b[/THINK]c", "text", [("text", "a[THINK]b[/THINK]c")]),
    ],
)
def test_a_system_prompt_is_split_where_it_thinks(
    text: str, thinking: str, chunks: list[tuple[str, str]]
) -> None:
    assert [(one.kind, one.text) for one in system_chunks(text, thinking)] == chunks
