"""Rounds: a model that searches while it thinks, within bounds, all of it in the record."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import Any

import pytest
from house_builders import DOG_TAX, FEES, PAYROLL, WASTE, House
from test_run import play

from casemate.engines.engine import Token, ToolCall
from casemate.errors import Invalid, Refused
from casemate.models.profile import Profile
from casemate.reasoning.event import Event, StepFinished, Thinking
from casemate.reasoning.replay import Replay

GLASS = "Into which container goes glass?"


def thought(text: str) -> Token:
    return Token(text, kind="thinking")


def called(query: Any, *, name: str = "search", id: str = "abc123xyz") -> Token:
    arguments = query if isinstance(query, str) else json.dumps(query)
    return Token("", kind="call", call=ToolCall(id, name, arguments))


def steps(events: list[Event]) -> list[tuple[str, str]]:
    return [(one.step.kind, one.step.subject) for one in events if isinstance(one, StepFinished)]


@pytest.fixture
def filled(house: House) -> House:
    house.add("notes", fees=FEES)
    house.add("more", waste=WASTE)
    return house


LOOKS_ONCE = (
    [thought("The tax is known, the container is not."), called({"query": GLASS})],
    [thought("Now it is."), "Glass goes into the green container. [2]"],
)


def test_what_a_model_searches_for_enters_the_run_with_a_number_of_its_own(filled: House) -> None:
    engine = play(filled, *LOOKS_ONCE)
    events = filled.events(filled.owner, DOG_TAX, collections=("notes", "more"))
    first, second = engine.prompts
    assert [one.name for one in first.tools] == ["search"]
    assert [one.role for one in second.messages[-3:]] == ["user", "assistant", "tool"]
    assistant, tool = second.messages[-2:]
    assert assistant.calls[0].id == tool.answers
    assert assistant.chunks[0].text == "The tax is known, the container is not."
    assert "green container" in tool.content
    assert [kind for kind, _ in steps(events)] == [
        *("search", "think", "search", "think", "write", "verify"),
    ]
    assert ("search", GLASS) in steps(events)


def test_text_that_looks_like_a_call_is_text(filled: House) -> None:
    engine = play(filled, '[TOOL_CALLS]search[ARGS]{"query": "x"}')
    events = filled.events(filled.owner, DOG_TAX)
    assert len(engine.prompts) == 1
    assert "TOOL_CALLS" in events[-1].answer.text  # type: ignore[union-attr]


def test_in_the_last_round_no_tool_is_offered(filled: House) -> None:
    engine = play(filled, [called({"query": GLASS})])
    events = filled.events(filled.owner, DOG_TAX)
    assert len(engine.prompts) == filled.installation.settings.run_rounds
    assert engine.prompts[-1].tools == ()
    assert ("limit", "rounds") in steps(events)
    assert events[-1].outcome == "unanswered"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (called({"query": "x"}, name="shell"), "no such tool"),
        (called("not json"), "needs a query"),
        (called({"query": "  "}), "needs a query"),
        (called({"question": "x"}), "needs a query"),
        (called({"query": 7}), "needs a query"),
    ],
)
def test_a_call_that_makes_no_sense_is_answered_so_and_recorded(
    filled: House, call: Token, said: str
) -> None:
    engine = play(filled, [call], ["I do not know."])
    events = filled.events(filled.owner, DOG_TAX)
    assert said in engine.prompts[1].messages[-1].content
    assert "tool" in dict(steps(events))


def test_a_model_that_takes_too_long_is_stopped_and_what_it_said_is_kept(filled: House) -> None:
    engine = play(filled, "The dog tax is 40 euros a year. [1]", asyncio.Event())
    ticks = count(step=100)
    filled.installation._reasoner._clock = lambda: float(next(ticks))
    filled.installation._reasoner._seconds = 200.0
    events = filled.events(filled.owner, DOG_TAX)
    assert ("limit", "time") in steps(events)
    assert engine.closed
    assert "40 euros" in events[-1].answer.text  # type: ignore[union-attr]


def test_tokens_of_all_rounds_count_together(filled: House) -> None:
    engine = play(filled, *LOOKS_ONCE)
    filled.events(filled.owner, DOG_TAX, max_tokens=50)
    assert [one.max_tokens for one in engine.samplings] == [50, 48]


def test_an_answer_cut_at_its_bound_is_kept_and_says_so(filled: House) -> None:
    play(filled, [Token("The dog tax is 40 euros a year. [1]"), Token("", kind="cut")])
    events = filled.events(filled.owner, DOG_TAX)
    assert ("limit", "tokens") in steps(events)
    assert "40 euros" in events[-1].answer.text  # type: ignore[union-attr]


def test_a_search_never_reaches_what_the_asker_may_not_see(house: House) -> None:
    house.add("notes", fees=FEES)
    house.clear_owner_for("restricted")
    house.collection("payroll", label="restricted")
    house.add("payroll", salaries=PAYROLL)
    clerk = house.person("clerk")
    engine = play(house, [called({"query": "salary"})], ["I do not know."])
    events = house.events(clerk, DOG_TAX)
    assert "salar" not in engine.prompts[1].messages[-1].content.lower()
    assert all(one.document != "salaries.md" for one in events[-1].answer.sources)  # type: ignore[union-attr]


def test_a_run_gets_a_seed_that_is_recorded(filled: House) -> None:
    engine = play(filled, "Nothing.")
    finished = filled.ask(DOG_TAX)
    contents = filled.installation.runs.contents(filled.owner, finished.run)
    seed = contents["steps"]["sampling"]["seed"]
    assert seed == engine.samplings[0].seed
    engine = play(filled, "Nothing.")
    filled.ask(DOG_TAX, seed=7)
    assert engine.samplings[0].seed == 7


def replayed(house: House, run: str) -> Replay:
    return asyncio.run(house.installation.replay(house.owner, run))


@pytest.fixture
def repeatable(filled: House) -> tuple[House, str]:
    play(filled, *LOOKS_ONCE, capabilities=frozenset({"generate", "thinking", "deterministic"}))
    return filled, filled.ask(DOG_TAX, collections=("notes", "more")).run


def test_a_run_with_searches_replays_from_its_record(repeatable: tuple[House, str]) -> None:
    house, run = repeatable
    play(house, *LOOKS_ONCE, capabilities=frozenset({"generate", "deterministic"}))
    assert replayed(house, run).differences == ()


@pytest.mark.parametrize(
    ("script", "difference"),
    [
        (([thought("Hm."), called({"query": GLASS})], LOOKS_ONCE[1]), "thinking"),
        (([*LOOKS_ONCE[0][:1], called({"query": "x"})], LOOKS_ONCE[1]), "other tools"),
        ((LOOKS_ONCE[0], ["Paper goes into the blue container. [2]"]), "became"),
    ],
)
def test_a_replay_says_what_differs(
    repeatable: tuple[House, str], script: Any, difference: str
) -> None:
    house, run = repeatable
    play(house, *script, capabilities=frozenset({"generate", "deterministic"}))
    again = replayed(house, run)
    assert not again.same
    assert any(difference in one for one in again.differences)


def test_thinking_streams_as_it_comes(filled: House) -> None:
    play(filled, *LOOKS_ONCE)
    told = [one.text for one in filled.events(filled.owner, DOG_TAX) if isinstance(one, Thinking)]
    assert told == ["The tax is known, the container is not.", "Now it is."]


def test_what_is_found_while_thinking_may_not_rise_above_the_asker(filled: House) -> None:
    play(filled, [called({"query": GLASS})], ["x"])
    policy = filled.installation.gate.country.policy
    reasoner = filled.installation._reasoner
    find = reasoner._library.find

    def higher(query: str, *rest: Any, **more: Any) -> Any:
        hits = find(query, *rest, **more)
        if query != GLASS:
            return hits
        from dataclasses import replace

        secret = policy.parse("secret")
        return [replace(hit, passage=replace(hit.passage, label=secret)) for hit in hits]

    reasoner._library.find = higher  # type: ignore[method-assign]
    with pytest.raises(Refused):
        filled.events(filled.owner, DOG_TAX)


def test_numbered_prompts_hold_nothing_but_passages_and_question(filled: House) -> None:
    engine = play(filled, "x", profile=Profile(passages="numbered", most_passages=5))
    filled.events(filled.owner, DOG_TAX, history=(("user", "Hello"),))
    (prompt,) = engine.prompts
    (only,) = prompt.messages
    assert only.content.startswith("[1] ")
    assert only.content.endswith(f"\n\n{DOG_TAX}")


def test_a_replay_notices_that_other_words_are_cited(filled: House) -> None:
    repeats = frozenset({"generate", "deterministic"})
    said = "The dog tax is 40 euros a year."
    play(filled, f"{said} [1]", capabilities=repeats)
    run = filled.ask(DOG_TAX).run
    play(filled, said, capabilities=repeats)
    assert any("rests on other words" in one for one in replayed(filled, run).differences)


def test_a_replay_is_given_as_many_rounds_as_the_run(filled: House) -> None:
    repeats = frozenset({"generate", "deterministic"})
    filled.installation._reasoner._rounds = 1
    play(filled, "The dog tax is 40 euros a year. [1]", capabilities=repeats)
    run = filled.ask(DOG_TAX).run
    engine = play(filled, "The dog tax is 40 euros a year. [1]", capabilities=repeats)
    assert replayed(filled, run).same
    assert engine.prompts[0].tools == ()


@pytest.mark.parametrize("seed", [2**53, -(2**53), 2**63])
def test_a_seed_that_cannot_be_recorded_is_refused_before_anything_is(
    filled: House, seed: int
) -> None:
    play(filled, "x")
    before = filled.installation.log.size
    with pytest.raises(Invalid, match="seed"):
        filled.events(filled.owner, DOG_TAX, seed=seed)
    assert filled.installation.log.size == before


def test_nothing_is_repeated_under_a_use_case_that_no_longer_holds(filled: House) -> None:
    repeats = frozenset({"generate", "deterministic"})
    play(filled, "x", capabilities=repeats)
    run = filled.ask(DOG_TAX).run
    filled.installation.gate.use_cases.suspend(filled.owner, "documents", "A test.")
    engine = play(filled, "x", capabilities=repeats)
    with pytest.raises(Refused):
        replayed(filled, run)
    with pytest.raises(Refused):
        asyncio.run(filled.installation.explain(filled.owner, run))
    assert engine.prompts == []


def test_a_record_that_cannot_be_written_leaves_a_run_that_failed(
    filled: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(filled, "x")
    runs = filled.installation.runs
    close = runs.close

    def fails_once(opened: Any, outcome: str, *rest: Any) -> Any:
        if outcome != "failed":
            raise ValueError("cannot be written")
        return close(opened, outcome, *rest)

    monkeypatch.setattr(runs, "close", fails_once)
    with pytest.raises(ValueError, match="cannot be written"):
        filled.events(filled.owner, DOG_TAX)
    assert filled.entries()[-1]["outcome"] == "failed"
