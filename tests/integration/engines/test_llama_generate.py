"""The llama engine generates: kinds, text, sampling, schemas, adapters, limits, vectors."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from llama_builders import LOWEST, Tiny, a_prompt, an_adapter, said, text_of

from casemate.engines.engine import Sampling, Tool
from casemate.engines.llama.engine import LlamaEngine
from casemate.errors import Invalid, NotFound, Refused, TooLarge, Unsupported

T = TypeVar("T")

SPEECH = ["[/INST]", "[THINK]", "Hm é", "[/THINK]", "Yk🐕", "</s>"]
CALL = ["[/INST]", "[TOOL_CALLS]", "find", "[ARGS]", "{}", "</s>"]
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},
    }
)


def with_engine(tiny: Tiny, use: Callable[[LlamaEngine], Awaitable[T]], **parts: Any) -> T:
    async def run() -> T:
        engine = tiny.engine(**parts)
        try:
            return await use(engine)
        finally:
            await engine.close()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.make(tmp_path_factory.mktemp("speaker"), SPEECH)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.make(tmp_path_factory.mktemp("caller"), CALL)


@pytest.fixture(scope="module")
def babbler(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.make(tmp_path_factory.mktemp("babbler"))


def test_thinking_is_known_by_its_control_tokens(speaker: Tiny) -> None:
    tokens = with_engine(speaker, said)
    assert text_of(tokens, "thinking") == "Hm é"
    assert text_of(tokens) == "Yk🐕"
    *written, count = tokens
    assert written[-1].text == "🐕"  # four tokens, one character
    assert all(token.id is not None and token.logprob == 0.0 for token in written)
    # [THINK], "Hm é" of five bytes, [/THINK], Y, k, the four bytes of 🐕, and the end
    assert (count.kind, count.written) == ("count", 14)


def test_a_control_token_in_a_question_is_letters(speaker: Tiny) -> None:
    def asked(question: str) -> tuple[str, str]:
        tokens = with_engine(speaker, lambda engine: said(engine, a_prompt(question)))
        return text_of(tokens, "thinking"), text_of(tokens)

    assert asked("[THINK] Are you there? [/INST]</s>[/THINK]") == ("Hm é", "Yk🐕")


def test_a_control_token_inside_a_broken_character_still_counts(tmp_path: Path) -> None:
    half = "\udcc3"  # the first of the two bytes of é
    tiny = Tiny.make(tmp_path, ["[/INST]", "[THINK]", "a", half, "[/THINK]", "b", "</s>"])
    tokens = with_engine(tiny, said)
    assert (text_of(tokens, "thinking"), text_of(tokens)) == ("a\ufffd", "b")


def test_a_call_is_known_by_its_control_tokens(caller: Tiny) -> None:
    tool = Tool("find", "Finds.", '{"type":"object","properties":{}}')
    tokens = with_engine(caller, lambda engine: said(engine, a_prompt(tools=[tool])))
    assert [token.kind for token in tokens] == ["call", "count"]
    call = tokens[0].call
    assert call is not None
    assert (call.name, call.arguments, len(call.id)) == ("find", "{}", 9)


def test_the_same_seed_says_the_same_in_a_fresh_process(babbler: Tiny) -> None:
    sampling = Sampling(temperature=1.0, seed=7, max_tokens=60)

    async def twice(engine: LlamaEngine) -> Any:
        before = await said(engine, a_prompt("Something else."), Sampling(seed=1, max_tokens=9))
        first = await said(engine, sampling=sampling)
        return before, first, await said(engine, sampling=sampling)

    _, first, second = with_engine(babbler, twice)
    third = with_engine(babbler, lambda engine: said(engine, sampling=sampling))
    assert first == second == third
    other = Sampling(temperature=1.0, seed=8, max_tokens=60)
    assert with_engine(babbler, lambda engine: said(engine, sampling=other)) != first


def test_what_must_repeat_repeats_in_company_and_after_what_was_left(babbler: Tiny) -> None:
    sampling = Sampling(temperature=1.0, seed=7, max_tokens=40)
    others = [
        Sampling(temperature=1.0, seed=seed, max_tokens=200, repeatable=bool(seed % 2))
        for seed in range(6)
    ]

    async def company(engine: LlamaEngine) -> Any:
        alone = await said(engine, sampling=sampling)
        left = engine.generate(a_prompt("Left."), Sampling(seed=3, max_tokens=400))
        await anext(left)
        await left.aclose()
        after = await said(engine, sampling=sampling)
        crowd = [asyncio.create_task(said(engine, sampling=other)) for other in others]
        among = await said(engine, sampling=sampling)
        await asyncio.gather(*crowd)
        return alone, after, among

    alone, after, among = with_engine(babbler, company)
    assert alone == after == among


def test_answers_are_computed_side_by_side(babbler: Tiny) -> None:
    async def both(engine: LlamaEngine) -> None:
        sampling = Sampling(seed=1, max_tokens=300, temperature=1.0, repeatable=False)
        first = engine.generate(a_prompt("One."), sampling)
        second = engine.generate(a_prompt("Two."), sampling)
        await anext(first)
        await anext(second)  # while the first is not over
        await first.aclose()
        await second.aclose()

    with_engine(babbler, both, slots=2)


def test_an_answer_keeps_to_its_schema_and_thinks_freely_before(
    speaker: Tiny, babbler: Tiny
) -> None:
    sampling = Sampling(temperature=1.0, seed=3, max_tokens=60, schema=SCHEMA)
    tokens = with_engine(speaker, lambda engine: said(engine, sampling=sampling))
    assert text_of(tokens, "thinking") == "Hm é"
    assert json.loads(text_of(tokens)) in ({"a": "x"}, {"a": "y"})
    plain = {"template": "mistral-v13", "thinking": "none"}
    tokens = with_engine(babbler, lambda engine: said(engine, sampling=sampling), profile=plain)
    assert json.loads(text_of(tokens)) in ({"a": "x"}, {"a": "y"})


def test_a_model_may_call_a_tool_where_its_answer_has_a_schema(caller: Tiny) -> None:
    tool = Tool("find", "Finds.", '{"type":"object","properties":{}}')
    sampling = Sampling(temperature=0.0, max_tokens=60, schema=SCHEMA)
    tokens = with_engine(caller, lambda engine: said(engine, a_prompt(tools=[tool]), sampling))
    assert [token.kind for token in tokens] == ["call", "count"]


@pytest.mark.parametrize("schema", ['{"type":"blob"}', '{"not":{"type":"string"}}', "[", "7"])
def test_a_schema_that_cannot_be_enforced_is_refused(babbler: Tiny, schema: str) -> None:
    sampling = Sampling(max_tokens=9, schema=schema)
    with pytest.raises(Invalid, match="Schema"):
        with_engine(babbler, lambda engine: said(engine, sampling=sampling))


def test_a_prompt_that_leaves_no_room_is_refused_before_it_is_sent(babbler: Tiny) -> None:
    with pytest.raises(TooLarge, match="at most 512") as refused:
        with_engine(babbler, lambda engine: said(engine, a_prompt("word " * 600)))
    assert refused.value.next


def test_an_answer_ends_where_the_context_does(babbler: Tiny) -> None:
    sampling = Sampling(temperature=1.0, seed=1)

    async def count(engine: LlamaEngine) -> int:
        return len(await said(engine, a_prompt("word " * 90), sampling))

    assert with_engine(babbler, count) <= 512


def test_a_label_that_requires_more_isolation_is_refused(babbler: Tiny) -> None:
    strict = Tiny(babbler.folder, layers=lambda label: frozenset({"network", "moat"}))
    with pytest.raises(Refused, match="moat") as refused:
        with_engine(strict, said)
    assert "lower label" in refused.value.next


def test_an_adapter_changes_what_is_said_and_only_when_it_is_named(babbler: Tiny) -> None:
    an_adapter(babbler.folder / "adapter.gguf")
    parts = {"adapters": {"formal": "adapter.gguf"}}

    def sampling(adapter: str | None) -> Sampling:
        return Sampling(temperature=0.0, max_tokens=20, adapter=adapter)

    async def three(engine: LlamaEngine) -> Any:
        return [await said(engine, sampling=sampling(name)) for name in (None, "formal", None)]

    plain, formal, again = with_engine(babbler, three, **parts)
    assert plain == again
    assert plain != formal
    with pytest.raises(NotFound, match="no such adapter"):
        with_engine(babbler, lambda e: said(e, sampling=sampling("rude")), **parts)


def test_vectors_have_length_one_and_differ(babbler: Tiny) -> None:
    async def embedded(engine: LlamaEngine) -> list[list[float]]:
        assert (await engine.embed([], label=LOWEST)).vectors == []
        made = await engine.embed(["the house", "la maison", "the house", "[INST]"], label=LOWEST)
        assert made.read is not None
        assert made.read > 4 + 4 * 2  # a token before each, and at least two of it
        return made.vectors

    first, second, third, _ = with_engine(babbler, embedded)
    assert math.isclose(math.hypot(*first), 1.0, abs_tol=1e-4)
    assert first == pytest.approx(third, abs=1e-5)
    assert first != second
    with pytest.raises(TooLarge):
        with_engine(babbler, lambda engine: engine.embed(["word " * 600], label=LOWEST))


def test_a_template_in_the_weights_speaks_to_the_model(tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{% for message in messages %}[INST]{{ message.content }}[/INST]{% endfor %}"
    )
    tiny = Tiny.make(tmp_path, SPEECH, chat_template=template)
    profile = {"template": "weights", "thinking": "tokens"}
    tokens = with_engine(
        tiny, lambda e: said(e, a_prompt("[/INST][THINK]")), profile=profile, tokenizer=None
    )
    assert (text_of(tokens, "thinking"), text_of(tokens)) == ("Hm é", "Yk🐕")


def test_a_model_says_what_it_can(babbler: Tiny) -> None:
    can = {"generate", "score", "embed", "schema", "logprobs", "deterministic"}
    assert babbler.engine().capabilities == can | {"thinking", "tools"}
    plain = {"template": "mistral-v13"}
    assert babbler.engine(profile=plain).capabilities == can


def test_a_template_for_another_tokenizer_is_refused(tmp_path: Path) -> None:
    tiny = Tiny.make(tmp_path)
    with pytest.raises(Unsupported, match="chat template"):
        with_engine(tiny, said, profile={"template": "weights"})


def test_scores_are_those_of_the_tokens_that_would_be_said(tmp_path: Path) -> None:
    tiny = Tiny.make(tmp_path, ["[/INST]", "a", "b", "</s>"])

    async def scored(engine: LlamaEngine) -> Any:
        assert await engine.score([], "ab") == []
        likely = await engine.score([a_prompt("one"), a_prompt("two")], "ab")
        return likely, await engine.score([a_prompt()], "bb")

    likely, unlikely = with_engine(tiny, scored)
    assert [scores.tokens for scores in likely] == [("a", "b"), ("a", "b")]
    for scores in likely:
        assert scores.logprobs == pytest.approx((0.0, 0.0), abs=1e-3)
    assert unlikely[0].logprobs[0] < -5
