"""Scores and vectors of a model server: what vLLM tells, and servers that tell less."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from model_server import ModelServer
from remote_builders import LOWEST, Everywhere, an_engine

from casemate.engines.engine import Message, Prompt, Scores, Tool
from casemate.engines.remote import RemoteEngine
from casemate.errors import CasemateError, Refused, Unavailable, Unsupported

SAID = "ab"


def a_prompt(text: str, **more: Any) -> Prompt:
    return Prompt(text, "en", LOWEST, (), (), (Message.of("user", text),), **more)


def tokenize(body: dict[str, Any]) -> Any:
    """A token for each letter; a chat begins with 1 and ends with 2."""
    if "messages" in body:
        text = "".join(message["content"] for message in body["messages"])
        tokens = [1, *map(ord, text), *([2] if body["add_generation_prompt"] else [])]
        return {"count": len(tokens), "max_model_len": 99, "tokens": tokens, "token_strs": None}
    assert body["add_special_tokens"] is False
    tokens = list(map(ord, body["prompt"]))
    return {"count": len(tokens), "tokens": tokens, "token_strs": list(body["prompt"])}


def complete(body: dict[str, Any]) -> Any:
    """The score of a token: minus its id and the prompt's length, in thousandths."""
    choices = []
    for index, prompt in enumerate(body["prompt"]):
        told = [{str(id): {"logprob": -(id + len(prompt)) / 1000, "rank": 1}} for id in prompt]
        for place in told:
            place["7"] = {"logprob": -0.5, "rank": 1}
        choices.append({"index": index, "text": "x", "prompt_logprobs": [None, *told[1:]]})
    return {"choices": choices[::-1], "usage": {}}


@pytest.fixture
def scoring(model_server: ModelServer) -> ModelServer:
    model_server.answers = {"/tokenize": tokenize, "/v1/completions": complete}
    return model_server


def asked(server: ModelServer, act: Callable[[RemoteEngine], Any]) -> Any:
    async def ask() -> Any:
        engine = an_engine(server.address, key="k")
        try:
            return await act(engine)
        finally:
            await engine.close()

    return asyncio.run(ask())


def scores(server: ModelServer, prompts: Sequence[Prompt], said: str = SAID) -> list[Scores]:
    found: list[Scores] = asked(server, lambda engine: engine.score(prompts, said))
    return found


def test_each_token_of_the_continuation_has_the_score_that_stands_in_its_place(
    scoring: ModelServer,
) -> None:
    short, long = scores(scoring, [a_prompt("x"), a_prompt("xyz")])
    assert short == Scores(("a", "b"), (-(97 + 5) / 1000, -(98 + 5) / 1000), "prompt logprobs")
    assert long == Scores(("a", "b"), (-(97 + 7) / 1000, -(98 + 7) / 1000), "prompt logprobs")


def test_equal_prompts_are_asked_once_and_all_together(scoring: ModelServer) -> None:
    prompts = [a_prompt(text) for text in ("x", "y", "x", "x")]
    found = scores(scoring, prompts)
    assert found[0] == found[2] == found[3]
    (body,) = [body for body in scoring.asked if "max_tokens" in body]
    assert [one[1] for one in body["prompt"]] == [ord("x"), ord("y")]
    assert "echo" not in body


def test_many_prompts_go_in_batches_and_keep_their_order(scoring: ModelServer) -> None:
    found = scores(scoring, [a_prompt("x" * size) for size in range(1, 71)])
    assert [one.logprobs[0] for one in found] == [-(97 + size + 4) / 1000 for size in range(1, 71)]
    assert scoring.paths.count("/v1/completions") == 3


def test_tools_are_part_of_what_is_scored(scoring: ModelServer) -> None:
    scores(scoring, [a_prompt("x", tools=(Tool("search", "Finds.", "{}"),))])
    (body,) = [body for body in scoring.asked if "messages" in body]
    assert body["tools"][0]["function"]["name"] == "search"


def test_nothing_to_score_needs_no_scores(scoring: ModelServer) -> None:
    assert scores(scoring, []) == []
    assert scoring.asked == []
    assert scores(scoring, [a_prompt("x")], "") == [Scores((), (), "prompt logprobs")]
    assert "/v1/completions" not in scoring.paths


def without_scores(body: dict[str, Any]) -> Any:
    return {"choices": [{"index": index} for index, _ in enumerate(body["prompt"])]}


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/tokenize": lambda body: 405},
        {"/tokenize": lambda body: {"tokens": []}},  # llama.cpp: knows no messages
        {"/tokenize": tokenize},
        {"/tokenize": tokenize, "/v1/completions": without_scores},
    ],
)
def test_a_server_without_scores_is_told_apart(
    model_server: ModelServer, answers: dict[str, Any]
) -> None:
    model_server.answers = answers
    with pytest.raises(Unsupported, match="no scores") as refused:
        scores(model_server, [a_prompt("x")])
    assert "vLLM" in refused.value.next


def changed(change: Callable[[list[Any]], object]) -> Callable[[dict[str, Any]], Any]:
    def answer(body: dict[str, Any]) -> Any:
        told = complete(body)
        change(told["choices"])
        return told

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda body: 500,
        lambda body: b"{not json",
        lambda body: b'{"choices":[{"index":0,"prompt_logprobs":[{"x":{}}]}]}',
        lambda body: {"choices": []},
        changed(lambda choices: choices.append(choices[0])),
        changed(lambda choices: choices[0].update(index=1)),
        changed(lambda choices: choices[0]["prompt_logprobs"].pop()),
        changed(lambda choices: choices[0]["prompt_logprobs"].append(None)),
        changed(lambda choices: choices[0]["prompt_logprobs"].__setitem__(-1, None)),
        changed(lambda choices: choices[0]["prompt_logprobs"].__setitem__(-1, {})),
        changed(lambda choices: choices[0]["prompt_logprobs"][-1].update({"98": {"logprob": "x"}})),
    ],
)
def test_scores_that_make_no_sense_are_not_taken(scoring: ModelServer, answer: Any) -> None:
    scoring.answers["/v1/completions"] = answer
    with pytest.raises(Unavailable):
        scores(scoring, [a_prompt("x")])


@pytest.mark.parametrize(
    "told", [{"count": 3, "tokens": [1]}, {"count": 0, "tokens": []}, {"count": 1, "tokens": ["x"]}]
)
def test_tokens_that_make_no_sense_are_not_taken(scoring: ModelServer, told: Any) -> None:
    scoring.answers["/tokenize"] = lambda body: told if "messages" in body else tokenize(body)
    with pytest.raises(Unavailable):
        scores(scoring, [a_prompt("x")])


def test_every_label_among_the_prompts_is_checked_before_anything_is_sent(
    scoring: ModelServer,
) -> None:
    class Nowhere(Everywhere):
        def declared(self, url: str, label: Any) -> Any:
            raise Refused("Outside the perimeter.")

    engine = an_engine(scoring.address, perimeter=Nowhere())
    with pytest.raises(Refused):
        asyncio.run(engine.score([a_prompt("x")], SAID))
    with pytest.raises(Refused):
        asyncio.run(engine.embed(["x"], label=LOWEST))
    assert scoring.asked == []


def embed(body: dict[str, Any]) -> Any:
    vectors = [
        {"index": index, "embedding": [len(text), 1.0]} for index, text in enumerate(body["input"])
    ]
    return {"data": vectors[::-1], "model": "tiny"}


def vectors(server: ModelServer, texts: Sequence[str]) -> Any:
    return asked(server, lambda engine: engine.embed(texts, label=LOWEST))


def test_vectors_come_in_the_order_of_their_texts(model_server: ModelServer) -> None:
    model_server.answers = {"/v1/embeddings": embed}
    texts = ["x" * size for size in range(70)]
    assert vectors(model_server, texts) == [[size, 1.0] for size in range(70)]
    assert len(model_server.asked) == 3
    assert set(model_server.keys) == {"Bearer k"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda body: 501, Unsupported),
        (lambda body: 503, Unavailable),
        (lambda body: {"data": []}, Unavailable),
        (lambda body: {"data": embed(body)["data"] * 2}, Unavailable),
        (lambda body: {"data": [{"index": 0, "embedding": []}]}, Unavailable),
        (lambda body: {"data": [{"index": 0, "embedding": "AAAA"}]}, Unavailable),
    ],
)
def test_vectors_that_make_no_sense_are_not_taken(
    model_server: ModelServer, answer: Any, error: type[CasemateError]
) -> None:
    model_server.answers = {"/v1/embeddings": answer}
    with pytest.raises(error):
        vectors(model_server, ["x"])
