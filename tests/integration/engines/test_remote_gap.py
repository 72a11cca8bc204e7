"""The remote engine has a gap filled in by a server that takes a suffix."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest
from model_server import DONE, ModelServer
from remote_builders import LOWEST, an_engine

from casemate.engines.engine import Message, Prompt, Sampling, Token
from casemate.errors import Unavailable, Unsupported

BEGIN, END = "1 + ", " = 3"
GAP = Prompt(
    question=BEGIN,
    language="en",
    label=LOWEST,
    found=(),
    evidence=(),
    messages=(Message.of("user", BEGIN), Message.of("user", END)),
    suffix=END,
)


def a_stream(*texts: str, reason: str = "stop") -> bytes:
    """What vLLM and llama.cpp answer at ``…/completions``."""
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in texts
    ]
    events.append({"choices": [{"index": 0, "text": "", "finish_reason": reason}]})
    events.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}})
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + DONE


def filled(server: ModelServer) -> list[Token]:
    async def follow() -> list[Token]:
        engine = an_engine(server.address, fills=True)
        try:
            sampling = Sampling(temperature=0.5, max_tokens=9)
            async with aclosing(engine.generate(GAP, sampling)) as tokens:
                return [token async for token in tokens]
        finally:
            await engine.close()

    return asyncio.run(follow())


def test_begin_and_end_are_sent_as_they_are_and_the_middle_comes_back(
    model_server: ModelServer,
) -> None:
    model_server.answers = {"/v1/completions": lambda body: a_stream("2", " ")}
    *texts, count = filled(model_server)
    assert "".join(token.text for token in texts) == "2 "
    assert (count.read, count.written) == (5, 2)
    (asked,) = model_server.asked
    assert (asked["prompt"], asked["suffix"]) == (BEGIN, END)
    assert (asked["temperature"], asked["max_tokens"], asked["stream"]) == (0.5, 9, True)
    assert "messages" not in asked


def test_an_answer_at_its_bound_says_so(model_server: ModelServer) -> None:
    model_server.answers = {"/v1/completions": lambda body: a_stream("2", reason="length")}
    assert [token.kind for token in filled(model_server)] == ["text", "cut", "count"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda body: 400, Unsupported),
        (lambda body: 404, Unsupported),
        (lambda body: 501, Unsupported),
        (lambda body: 503, Unavailable),
        (lambda body: b"data: {}\n\n", Unavailable),
    ],
)
def test_a_server_that_cannot_is_told_from_one_that_is_away(
    model_server: ModelServer, answer: Any, error: type[Exception]
) -> None:
    model_server.answers = {"/v1/completions": answer}
    with pytest.raises(error):
        filled(model_server)
