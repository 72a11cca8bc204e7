"""A run: from question to answer, and an entry whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from house_builders import DOG_TAX, FEES, PAYROLL, SALARY, WASTE, House, a_house

from casemate.engines.engine import Embeddings, Part, Prompt, Sampling, Scores, Token
from casemate.errors import (
    CasemateError,
    Invalid,
    NotFound,
    Tampered,
    TooLarge,
    TooMany,
    Unavailable,
    Unsupported,
)
from casemate.ledger.verify import verify
from casemate.models.profile import Profile
from casemate.reasoning.event import (
    Admitted,
    Cited,
    Finished,
    Request,
    StepFinished,
    StepStarted,
    Text,
    Thinking,
)


@dataclass
class ScriptedEngine:
    """Says what it is told to say; a script may hold exceptions to raise and events to wait for.

    A script of lists is said one list a round.
    """

    script: Sequence[Any]
    capabilities: frozenset[str] = frozenset({"generate", "thinking"})
    prompts: list[Prompt] = field(default_factory=list)
    closed: bool = False
    profile: Profile = field(default_factory=lambda: Profile(tools=True))
    samplings: list[Sampling] = field(default_factory=list)

    def plan(self, question: str) -> tuple[Part, ...]:
        return (Part(question, question),)

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Token, None]:
        script = self.script
        if script and isinstance(script[0], list):
            script = script[len(self.prompts) % len(script)]
        self.prompts.append(prompt)
        self.samplings.append(sampling)
        try:
            for one in script:
                if isinstance(one, BaseException):
                    raise one
                if isinstance(one, asyncio.Event):
                    await one.wait()
                else:
                    yield one if isinstance(one, Token) else Token(one)
        finally:
            self.closed = True

    async def score(self, prompts: Sequence[Prompt], continuation: str) -> list[Scores]:
        raise Unsupported("No.")

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        raise Unsupported("No.")

    async def close(self) -> None:
        pass


def play(house: House, *script: Any, **more: Any) -> ScriptedEngine:
    """Let the model ``quote`` be run by a scripted engine."""
    engine = ScriptedEngine(script, **more)
    manifest = house.installation.models.approved("quote")
    house.installation.engines._running[manifest.digest()] = engine  # type: ignore[assignment]
    return engine


@pytest.fixture
def filled(house: House) -> House:
    house.add("notes", fees=FEES, waste=WASTE)
    return house


def kinds(house: House, run: str) -> list[tuple[str, str | None]]:
    return [(entry["kind"], entry.get("outcome")) for entry in house.entries_of(run)]


# Order and proof


def test_events_come_in_their_fixed_order(filled: House) -> None:
    events = filled.events(filled.owner, DOG_TAX)
    assert isinstance(events[0], Admitted)
    assert isinstance(events[-1], Finished)
    assert [type(one) for one in events].count(Admitted) == 1
    assert [type(one) for one in events].count(Finished) == 1
    steps = [one for one in events if isinstance(one, StepStarted | StepFinished)]
    assert [one.number for one in steps] == sorted(one.number for one in steps)
    assert [type(one) for one in steps] == [StepStarted, StepFinished] * (len(steps) // 2)
    told = [one for one in events if isinstance(one, Cited | Text)]
    assert isinstance(told[0], Cited), "a citation comes before the text that refers to it"


def test_what_streamed_is_what_the_answer_holds(filled: House) -> None:
    events = filled.events(
        filled.owner, f"{DOG_TAX} Into which green container beside the town hall goes glass?"
    )
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert "".join(one.text for one in events if isinstance(one, Text)) == finished.answer.text
    cited = [one.citation for one in events if isinstance(one, Cited)]
    assert tuple(cited) == finished.answer.citations
    assert len({citation.source for citation in cited}) == 2


def test_every_citation_is_verbatim_in_the_document_and_numbered_from_1(filled: House) -> None:
    answer = filled.ask(
        f"{DOG_TAX} Into which green container beside the town hall goes glass?"
    ).answer
    texts = {
        one.id: filled.installation.library.text(filled.owner, one.id)
        for one in filled.installation.library.documents(filled.owner)
    }
    assert answer.citations
    for citation in answer.citations:
        document = answer.sources[citation.source].document_id
        assert texts[document][citation.start : citation.end] == citation.quote
        assert f"[{citation.number}]" in answer.text
    numbers = [citation.number for citation in answer.citations]
    assert sorted(set(numbers)) == list(range(1, len(set(numbers)) + 1))
    for sentence in answer.sentences:
        assert answer.text[sentence.start : sentence.end].strip()


def test_a_question_is_recorded_before_the_first_event_and_the_answer_before_the_last(
    filled: House,
) -> None:
    seen: list[tuple[type, list[tuple[str, str | None]]]] = []

    async def follow() -> None:
        request = Request(question=DOG_TAX)
        run = ""
        async with aclosing(filled.installation.ask(filled.owner, request)) as events:
            async for event in events:
                run = getattr(event, "run", run)
                seen.append((type(event), kinds(filled, run)))

    asyncio.run(follow())
    assert seen[0] == (Admitted, [("run.admitted", None)])
    assert all(entries == [("run.admitted", None)] for _, entries in seen[:-1])
    assert seen[-1] == (Finished, [("run.admitted", None), ("run.finished", "answered")])


def test_the_receipt_of_a_run_verifies_and_holds_question_and_answer(filled: House) -> None:
    finished = filled.ask(DOG_TAX)
    receipt = filled.installation.runs.receipt(filled.owner, finished.run)
    verdict = verify(receipt, filled.installation.log.vkey, finished.answer.text.encode())
    assert verdict.facts["run"] == finished.run
    assert verdict.facts["admitted"]["index"] < verdict.facts["finished"]["index"]
    assert verdict.facts["finished"]["index"] == finished.entry
    assert verdict.facts["answer"] == finished.answer.text


def test_the_ledger_holds_nothing_of_question_answer_or_names(filled: House) -> None:
    filled.ask(DOG_TAX)
    filled.ask("Who is Zebedee Quux?")
    everything = b"".join(raw for _, raw in filled.installation.log.entries())
    name = filled.owner.principal.name
    for text in ("dog tax", "40 euros", "Zebedee", "fees.md", "notes", f'"{name}"'):
        assert text.encode() not in everything


def test_a_question_that_nothing_answers_ends_as_unanswered_with_a_receipt(filled: House) -> None:
    finished = filled.ask("How heavy is a zeppelin?")
    assert finished.outcome == "unanswered"
    assert finished.answer.citations == ()
    assert "Nothing in these documents" in finished.answer.text
    assert verify(
        filled.installation.runs.receipt(filled.owner, finished.run), filled.installation.log.vkey
    )


def test_an_empty_library_answers_that_nothing_is_there(house: House) -> None:
    assert house.ask(DOG_TAX).outcome == "unanswered"


# Bad questions


@pytest.mark.parametrize(
    ("question", "kind"), [("", Invalid), (" \n", Invalid), ("x" * 8_001, TooLarge)]
)
def test_a_question_that_cannot_be_asked_leaves_no_trace(
    filled: House, question: str, kind: type[CasemateError]
) -> None:
    before = len(filled.entries())
    with pytest.raises(kind):
        filled.ask(question)
    assert len(filled.entries()) == before
    assert filled.installation.runs.list(filled.owner) == []


def test_who_has_too_many_runs_open_is_told_to_wait(tmp_path: Any) -> None:
    with a_house(tmp_path / "data", concurrent_runs=1) as house:
        house.add("notes", fees=FEES)

        async def twice() -> None:
            first = house.installation.ask(house.owner, Request(question=DOG_TAX))
            await anext(first)
            second = house.installation.ask(house.owner, Request(question=DOG_TAX))
            with pytest.raises(TooMany):
                await anext(second)
            await first.aclose()

        asyncio.run(twice())
        assert house.ask(DOG_TAX).outcome == "answered"


# Engines that fail


@pytest.mark.parametrize(
    "problem", [Unavailable("The model server stopped.", "Try again."), RuntimeError("a bug")]
)
@pytest.mark.parametrize("said", [[], ["The dog tax is 40 euros a year. [1] And "]])
def test_a_run_whose_engine_fails_ends_as_failed_and_raises(
    filled: House, problem: Exception, said: list[str]
) -> None:
    engine = play(filled, *said, problem)
    with pytest.raises(type(problem)):
        filled.ask(DOG_TAX)
    assert engine.closed
    (run,) = filled.installation.runs.list(filled.owner)
    assert run.outcome == "failed"
    assert kinds(filled, run.id) == [("run.admitted", None), ("run.finished", "failed")]
    with pytest.raises(NotFound, match="no receipt"):
        filled.installation.runs.receipt(filled.owner, run.id)


@pytest.mark.parametrize("after", [Admitted, StepStarted, Thinking, Text])
def test_a_reader_who_goes_away_leaves_an_entry_and_no_open_engine(
    filled: House, after: type
) -> None:
    engine = play(
        filled,
        Token("hm", kind="thinking"),
        "The dog tax is 40 euros a year. [1] One. Two. Three. ",
        asyncio.Event(),
    )

    async def leave() -> None:
        async with aclosing(
            filled.installation.ask(filled.owner, Request(question=DOG_TAX))
        ) as events:
            async for event in events:
                if isinstance(event, after):
                    break

    asyncio.run(leave())
    (run,) = filled.installation.runs.list(filled.owner)
    assert run.outcome == "failed"
    assert kinds(filled, run.id) == [("run.admitted", None), ("run.finished", "failed")]
    assert engine.closed or not engine.prompts


def test_a_reader_whose_task_is_cancelled_leaves_an_entry(filled: House) -> None:
    play(filled, "One. Two. Three. Four. ", asyncio.Event())

    async def follow(started: asyncio.Event) -> None:
        async with aclosing(
            filled.installation.ask(filled.owner, Request(question=DOG_TAX))
        ) as events:
            async for event in events:
                if isinstance(event, Text):
                    started.set()

    async def cancel() -> None:
        started = asyncio.Event()
        task = asyncio.create_task(follow(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    (run,) = filled.installation.runs.list(filled.owner)
    assert kinds(filled, run.id) == [("run.admitted", None), ("run.finished", "failed")]


def test_thinking_is_told_apart_and_kept_in_the_record(filled: House) -> None:
    play(
        filled,
        Token("Let me ", kind="thinking"),
        Token("see.", kind="thinking"),
        "“The dog tax is 40 euros a year” [1].",
    )
    events = filled.events(filled.owner, DOG_TAX)
    assert [one.text for one in events if isinstance(one, Thinking)] == ["Let me ", "see."]
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert "Let me" not in finished.answer.text
    kept = filled.installation.runs.get(filled.owner, finished.run)
    assert kept.answer is not None
    assert kept.answer.thinking == "Let me see."


def test_what_a_model_makes_up_is_shown_without_a_citation_and_is_no_answer(
    filled: House,
) -> None:
    play(filled, "“The dog tax is 99 euros a year” [1]. It is “payable in gold coins” [7].")
    finished = filled.ask(DOG_TAX)
    assert (finished.outcome, finished.answer.citations) == ("unanswered", ())
    assert "[" not in finished.answer.text


# Labels


def test_the_label_of_a_run_rises_to_the_join_of_what_entered_it(house: House) -> None:
    house.clear_owner_for("secret/alpha,beta")
    house.use_case("office", "secret/alpha,beta")
    for name, label, text in (
        ("open", "unclassified", FEES),
        ("alpha", "restricted/alpha", PAYROLL),
        ("beta", "secret/beta", "# Dogs\n\nThe dog tax of the mayor is a salary in beta."),
    ):
        house.collection(name, label)
        house.add(name, **{name: text})
    low = house.ask(DOG_TAX, use_case="office", collections=("open",))
    assert low.label == "lu:unclassified"
    high = house.ask(SALARY, use_case="office", collections=("alpha", "open"))
    assert high.label == "lu:restricted/alpha"
    both = house.ask("salary mayor dog tax", use_case="office")
    assert both.label == "lu:secret/alpha,beta"
    assert house.entries_of(both.run)[-1]["label"] == both.label
    assert house.entries_of(both.run)[0]["label"] == "lu:unclassified"


def test_a_model_above_the_askers_label_tells_nothing(filled: House) -> None:
    reasoner = filled.installation._reasoner
    admission = filled.installation.gate.admit(filled.owner, use_case=None)
    engine = ScriptedEngine(["The secret is out. One. Two. Three. "])
    told = []

    async def follow() -> None:
        request, digest = Request(question=DOG_TAX), "sha256:" + "0" * 64
        label = filled.label("secret")
        async for event in reasoner.run(admission, request, engine, digest, label):  # type: ignore[arg-type]
            told.append(event)

    with pytest.raises(CasemateError):
        asyncio.run(follow())
    assert [one for one in told if isinstance(one, Text | Thinking)] == []


# Record


def test_what_a_run_holds_lies_sealed_in_the_database(filled: House) -> None:
    filled.ask(DOG_TAX)
    with filled.installation.database.read() as connection:
        sealed = connection.execute(sa.text("SELECT sealed FROM openings")).scalars().all()
        everything = b"".join(
            str(tuple(row)).encode() for row in connection.execute(sa.text("SELECT * FROM runs"))
        )
    assert len(sealed) == 4
    for text in (b"dog tax", b"40 euros"):
        assert all(text not in one for one in sealed)
        assert text not in everything


def test_a_sealed_answer_that_was_moved_to_another_run_is_noticed(filled: House) -> None:
    first, second = filled.ask(DOG_TAX).run, filled.ask("Where does the glass go?").run
    with filled.installation.database.write() as connection:
        connection.execute(
            sa.text(
                "UPDATE openings SET sealed = (SELECT sealed FROM openings WHERE run = :a AND "
                "field = 'answer') WHERE run = :b AND field = 'answer'"
            ),
            {"a": first, "b": second},
        )
    with pytest.raises(Tampered):
        filled.installation.runs.get(filled.owner, second)


def test_another_principal_sees_nothing_of_a_run(filled: House) -> None:
    run, bob = filled.ask(DOG_TAX).run, filled.person("bob", roles=("owner", "admin", "user"))
    assert filled.installation.runs.list(bob) == []
    for act in (filled.installation.runs.get, filled.installation.runs.receipt):
        with pytest.raises(NotFound):
            act(bob, run)


def test_destroying_the_askers_key_erases_content_and_keeps_the_ledger_whole(
    filled: House,
) -> None:
    bob = filled.person("bob")
    of_bob, mine = filled.ask(DOG_TAX, bob).run, filled.ask(DOG_TAX).run
    filled.installation.keyring.destroy(bob.principal.id)
    with pytest.raises(NotFound):
        filled.installation.runs.get(bob, of_bob)
    (listed,) = filled.installation.runs.list(bob)
    assert (listed.id, listed.question) == (of_bob, "")
    assert filled.installation.log.check() == len(filled.entries())
    assert verify(
        filled.installation.runs.receipt(filled.owner, mine), filled.installation.log.vkey
    )


def test_runs_are_listed_newest_first_and_page_by_page(filled: House) -> None:
    asked = [filled.ask(f"Dog tax number {number}?").run for number in range(5)]
    runs = filled.installation.runs
    whole = [run.id for run in runs.list(filled.owner)]
    assert sorted(whole) == sorted(asked)
    first = runs.list(filled.owner, limit=2)
    rest = runs.list(filled.owner, limit=9, before=first[-1].id)
    assert [run.id for run in [*first, *rest]] == whole


def cut_off(house: House, **values: Any) -> None:
    assignments = ", ".join(f"{name} = :{name}" for name in values)
    with house.installation.database.write() as connection:
        connection.execute(sa.text(f"UPDATE runs SET {assignments}"), values)


@pytest.mark.parametrize("known", [True, False])
def test_a_run_that_was_cut_off_is_closed_as_failed_at_the_next_start(
    filled: House, known: bool
) -> None:
    runs = filled.installation.runs
    admission = filled.installation.gate.admit(filled.owner, use_case=None)
    request, digest = Request(question=DOG_TAX), "sha256:" + "0" * 64
    opened = runs.open(admission, request, digest, filled.label("unclassified"))
    if not known:  # cut off between the entry and the row that names it
        cut_off(filled, admitted=None)
    assert runs.recover() == 1
    assert runs.recover() == 0
    (run,) = runs.list(filled.owner)
    assert (run.outcome, run.admitted_entry) == ("failed", opened.admitted.index)
    assert kinds(filled, run.id) == [("run.admitted", None), ("run.finished", "failed")]
    assert filled.entries_of(run.id)[-1]["admitted"] == {
        "index": opened.admitted.index,
        "leaf": opened.admitted.leaf,
    }


def test_a_run_that_was_cut_off_before_its_entry_is_closed_without_one(filled: House) -> None:
    with filled.installation.database.write() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO runs (id, tenant, principal, use_case, model, label, since, created) "
                "VALUES ('r_x', :t, :p, 'documents', 'quote', 'lu:unclassified', 0, "
                "'2026-01-01T00:00:00Z')"
            ),
            {"t": filled.owner.principal.tenant, "p": filled.owner.principal.id},
        )
    assert filled.installation.runs.recover() == 1
    assert filled.entries_of("r_x") == []
    (run,) = filled.installation.runs.list(filled.owner)
    assert (run.outcome, run.question) == ("failed", "")


def test_a_run_that_many_entries_followed_is_still_found(filled: House) -> None:
    run = filled.ask(DOG_TAX).run
    for _ in range(5_000):
        filled.installation.log.append(b"{}")
    filled.installation.ledger.record({"v": 1})
    cut_off(filled, outcome=None, finished=None, ended=None)
    filled.installation.runs.recover()
    assert filled.installation.runs.receipt(filled.owner, run)


def test_an_answer_without_its_entry_is_never_shown(filled: House) -> None:
    run = filled.ask(DOG_TAX).run
    cut_off(filled, outcome=None, finished=None, ended=None)
    assert filled.installation.runs.get(filled.owner, run).answer is None
    filled.installation.runs.recover()
    assert filled.installation.runs.get(filled.owner, run).answer is not None


def test_a_run_whose_end_is_in_the_ledger_already_gets_no_second_one(filled: House) -> None:
    run = filled.ask(DOG_TAX).run
    cut_off(filled, outcome=None, finished=None, ended=None)  # killed before the row was written
    filled.installation.runs.recover()
    assert kinds(filled, run) == [("run.admitted", None), ("run.finished", "answered")]
    assert filled.installation.runs.receipt(filled.owner, run)


# Replay and explanation


def replayed(house: House, run: str) -> Any:
    return asyncio.run(house.installation.replay(house.owner, run))


def test_a_replay_is_the_same_character_for_character(filled: House) -> None:
    run = filled.ask(f"{DOG_TAX} Into which green container beside the town hall goes glass?").run
    found = replayed(filled, run)
    assert (found.same, found.differences) == (True, ())
    assert found.sentences >= 2


def test_a_replay_names_a_document_that_was_changed_or_removed_since(filled: House) -> None:
    run = filled.ask(DOG_TAX).run
    filled.add("notes", fees=FEES + "\nMore.\n")
    found = replayed(filled, run)
    assert not found.same
    assert any("fees.md was changed or removed" in one for one in found.differences)


def test_a_replay_with_an_engine_that_now_says_something_else_shows_both(filled: House) -> None:
    run = filled.ask(DOG_TAX).run
    play(filled, "It is free.", capabilities=frozenset({"generate", "deterministic"}))
    found = replayed(filled, run)
    assert not found.same
    assert any("became “It is free.”" in one for one in found.differences)


def test_an_engine_that_promises_nothing_is_not_replayed(filled: House) -> None:
    run = filled.ask(DOG_TAX).run
    play(filled, "x")
    with pytest.raises(Unsupported):
        replayed(filled, run)


def test_a_run_without_an_answer_has_neither_replay_nor_explanation(filled: House) -> None:
    play(filled, RuntimeError())
    with pytest.raises(RuntimeError):
        filled.ask(DOG_TAX)
    (run,) = filled.installation.runs.list(filled.owner)
    for act in (filled.installation.replay, filled.installation.explain):
        with pytest.raises(NotFound, match="no answer"):
            asyncio.run(act(filled.owner, run.id))  # type: ignore[arg-type]


def test_an_explanation_says_which_passage_each_sentence_needs(filled: House) -> None:
    run = filled.ask(f"{DOG_TAX} Into which green container beside the town hall goes glass?").run
    found = asyncio.run(filled.installation.explain(filled.owner, run))
    assert found.run == run
    rests = {one.text: one for one in found.sentences if one.cites}
    tax = next(one for text, one in rests.items() if "dog tax" in text)
    glass = next(one for text, one in rests.items() if "Glass" in text)
    assert (tax.cites, tax.gone_without) == (("fees.md",), ("fees.md",))
    assert (glass.cites, glass.gone_without) == (("waste.md",), ("waste.md",))
    assert tax.stays_alone
    assert (found.necessity, found.sufficiency) == (1.0, 1.0)
    assert found.ablations >= 2
    assert msgspec.json.encode(found)


def test_an_answer_without_citations_has_no_figures_of_faithfulness(filled: House) -> None:
    run = filled.ask("How heavy is a zeppelin?").run
    found = asyncio.run(filled.installation.explain(filled.owner, run))
    assert (found.necessity, found.sufficiency) == (None, None)


def test_two_starts_of_one_folder_see_the_same_runs(tmp_path: Any) -> None:
    with a_house(tmp_path / "data") as house:
        house.add("notes", fees=FEES)
        run = house.ask(DOG_TAX).run
        before = house.installation.runs.get(house.owner, run)
    with a_house(tmp_path / "data") as house:
        assert house.installation.runs.get(house.owner, run) == before
        assert replayed(house, run).same
