"""Files, conversations, batches: their owner's alone, under a label, gone when they have to be."""

from __future__ import annotations

import asyncio
import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest
from house_builders import DOG_TAX, FEES, House, a_house

from casemate.api.batching import work_through
from casemate.errors import CasemateError, Conflict, Invalid, NotFound, Refused
from casemate.gate.caller import Caller
from casemate.reasoning.batch import Answered, Line

BODY = {"model": "documents", "messages": [{"role": "user", "content": DOG_TAX}]}
SECRET = b"a very particular secret"


def days_later(house: House, days: int) -> None:
    now = datetime.datetime.now(datetime.UTC)
    house.installation.gate.acts.clock = lambda: now + datetime.timedelta(days=days)


def a_line(row: Mapping[str, Any]) -> Line:
    return Line(row["custom_id"], row["body"])


def a_batch(house: House, owner: Caller, lines: int, label: str | None = None) -> Any:
    rows = [json.dumps({"custom_id": str(n), "body": BODY}) for n in range(lines)]
    content = "\n".join(rows).encode()
    level = house.label(label) if label else None
    sent = house.installation.files.add(owner, "lines", content, purpose="batch", label=level)
    facts = {"dialect": "openai", "endpoint": "/v1/chat/completions"}
    return house.installation.batches.create(owner, [sent.id], facts, hours=1, read=a_line)


def worked(house: House, owner: Caller, id: str) -> Any:
    """The batch, once it has been worked through by what the server does."""

    asyncio.run(work_through(house.installation))
    return house.installation.batches.get(owner, id)


def rows_of(house: House, owner: Caller, batch: Any, name: str = "output") -> list[dict[str, Any]]:
    content = house.installation.files.content(owner, batch.facts[name])
    return [json.loads(row) for row in content.splitlines()]


def test_a_file_is_sealed_and_nobody_elses(house: House) -> None:
    bob, eve = house.person("bob"), house.person("eve")
    files = house.installation.files
    made = files.add(bob, "notes.txt", SECRET, purpose="user_data")
    assert files.content(bob, made.id) == SECRET
    for act in (files.get, files.content, files.delete):
        with pytest.raises(NotFound):
            act(eve, made.id)
    assert not any(
        SECRET in path.read_bytes() for path in house.folder.rglob("*") if path.is_file()
    )
    kinds = [entry["kind"] for entry in house.entries()]
    assert kinds[-1] == "file.added"
    files.delete(bob, made.id)
    assert house.entries()[-1]["kind"] == "file.deleted"


def test_the_first_thing_that_somebody_keeps_needs_no_run_before_it(house: House) -> None:
    bob = house.person("bob")
    lowest = house.label("unclassified")
    made = house.installation.kept.add(bob, "agent", {"name": "Clerk"}, label=lowest)
    assert house.installation.kept.get(bob, "agent", made.id).facts == {"name": "Clerk"}


def test_a_file_above_ones_clearance_is_not_there(house: House) -> None:
    bob = house.person("bob", "restricted")
    made = house.installation.files.add(
        bob, "notes.txt", SECRET, purpose="user_data", label=house.label("restricted")
    )
    principals = house.installation.gate.principals
    house.clear_owner_for("restricted")
    principals.change(house.owner, "bob", clearance=house.label("unclassified"), roles=None)
    low = Caller(principals.named("bob"), None, "local")
    with pytest.raises(NotFound):
        house.installation.files.get(low, made.id)
    assert house.installation.files.list(low) == []
    with pytest.raises(Refused):
        house.installation.files.add(
            low, "more.txt", SECRET, purpose="user_data", label=house.label("restricted")
        )


def test_a_bound_key_sees_only_what_its_use_case_made(house: House) -> None:
    bob = house.person("bob")
    bound = Caller(bob.principal, "documents", "key")
    house.use_case("letters", "unclassified")
    other = Caller(bob.principal, "letters", "key")
    made = house.installation.files.add(bound, "notes.txt", SECRET, purpose="user_data")
    assert house.installation.files.get(bob, made.id).id == made.id
    with pytest.raises(NotFound):
        house.installation.files.get(other, made.id)


def test_a_batch_is_answered_under_its_owners_rights_and_recorded(house: House) -> None:
    house.add("notes", fees=FEES)
    bob = house.person("bob")
    batch = worked(house, bob, a_batch(house, bob, 3).id)
    assert (batch.state, batch.facts["counts"]) == (
        "completed",
        {"total": 3, "completed": 3, "failed": 0},
    )
    rows = rows_of(house, bob, batch)
    assert sorted(row["custom_id"] for row in rows) == ["0", "1", "2"]
    runs = {row["response"]["body"]["casemate"]["run"] for row in rows}
    admitted = [entry for entry in house.entries() if entry["kind"] == "run.admitted"]
    assert {entry["run"] for entry in admitted} == runs
    assert {entry["principal"] for entry in admitted} == {bob.principal.pseudonym}
    assert house.entries()[-1]["kind"] == "batch.ended"


def test_the_label_of_a_batch_is_that_of_its_file_at_least(house: House) -> None:
    house.clear_owner_for("restricted")
    house.use_case("inner", "restricted")
    owner = house.owner
    batch = a_batch(house, owner, 1, "restricted")
    done = worked(house, owner, batch.id)
    # The use case "documents" goes up to unclassified: a line that is restricted is refused there.
    (row,) = rows_of(house, owner, done, "errors")
    assert row["response"]["status_code"] == 403
    result = house.installation.files.get(owner, done.facts["errors"])
    assert str(result.label) == str(house.label("restricted"))


def test_a_batch_goes_on_after_a_restart_where_it_was(tmp_path: Any) -> None:
    put: list[str] = []

    async def answer(owner: Caller, facts: Any, body: Any, label: Any) -> Answered:
        number = len(put)
        put.append("asked")
        if number == 2:
            raise SystemExit  # the process ends in the middle of a line
        return Answered(200, {"n": number})

    with a_house(tmp_path / "data", batch_runs=1) as house:
        made = a_batch(house, house.owner, 5)

        async def once() -> None:
            await house.installation.batches.work_through(answer, lambda facts, row: a_line(row))

        with pytest.raises(SystemExit):
            asyncio.run(once())
        assert house.installation.batches.counts(house.owner, made)["completed"] == 2
    with a_house(tmp_path / "data") as house:
        house.add("notes", fees=FEES)
        batch = worked(house, house.owner, made.id)
        assert batch.facts["counts"] == {"total": 5, "completed": 5, "failed": 0}
        rows = rows_of(house, house.owner, batch)
        assert sorted(row["custom_id"] for row in rows) == ["0", "1", "2", "3", "4"]
        assert [row["response"]["body"] for row in rows[:2]] == [{"n": 0}, {"n": 1}]
        assert "40 euros" in str(rows[2]["response"]["body"]["choices"])


def test_a_cancelled_batch_keeps_what_was_answered(house: House) -> None:
    bob = house.person("bob")
    made = a_batch(house, bob, 3)
    house.installation.batches.cancel(bob, made.id)
    batch = worked(house, bob, made.id)
    assert batch.state == "cancelled"
    with pytest.raises(Conflict):
        house.installation.batches.cancel(bob, made.id)


def test_the_batch_of_somebody_shut_out_fails(house: House) -> None:
    bob = house.person("bob")
    made = a_batch(house, bob, 2)
    house.installation.gate.principals.disable(house.owner, "bob")

    asyncio.run(work_through(house.installation))
    (failed,) = house.installation.kept.waiting("batch", ("failed",))
    assert failed.id == made.id
    assert not [entry for entry in house.entries() if entry["kind"] == "run.admitted"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"custom_id": "1", "body": {}}\n' * 2])
def test_a_file_that_is_no_batch_is_refused(house: House, content: bytes) -> None:
    sent = house.installation.files.add(house.owner, "lines", content, purpose="batch")
    with pytest.raises(Invalid):
        house.installation.batches.create(
            house.owner, [sent.id], {"dialect": "openai"}, hours=1, read=a_line
        )


def a_kept_talk(house: House, caller: Caller) -> str:
    finished = house.ask(DOG_TAX, caller)
    house.installation.conversations.keep(
        caller,
        finished,
        "documents",
        house.label("unclassified"),
        [("user", DOG_TAX)],
        given=1,
        facts={},
    )
    return finished.run


def test_a_conversation_goes_with_its_run_when_retention_is_applied(house: House) -> None:
    house.add("notes", fees=FEES)
    bob = house.person("bob")
    run = a_kept_talk(house, bob)
    assert house.installation.conversations.exchange(bob, run).after[-1][0] == "assistant"
    days_later(house, 184)
    (done,) = house.installation.retention.run(house.owner)
    assert (done.runs, done.kept) == (1, 1)
    with pytest.raises(NotFound):
        house.installation.conversations.exchange(bob, run)


def test_a_legal_hold_keeps_the_conversation_too(house: House) -> None:
    house.add("notes", fees=FEES)
    bob = house.person("bob")
    run = a_kept_talk(house, bob)
    auditor = house.person("auditor", roles=("auditor",))
    house.installation.holds.place(auditor, "run", run, "A case.", "open")
    days_later(house, 184)
    (done,) = house.installation.retention.run(house.owner)
    assert (done.runs, done.kept, done.held) == (0, 0, 1)
    assert house.installation.conversations.exchange(bob, run).run == run


def test_who_is_forgotten_keeps_nothing(house: House) -> None:
    house.add("notes", fees=FEES)
    bob = house.person("bob")
    made = house.installation.files.add(bob, "notes.txt", SECRET, purpose="user_data")
    assert made.blob
    run = a_kept_talk(house, bob)
    done = house.installation.forgetting.forget(house.owner, "bob")
    assert done.counts["kept"] == 2
    with pytest.raises(NotFound):
        house.installation.blobs.get(made.blob)
    for act in (
        lambda: house.installation.conversations.exchange(bob, run),
        lambda: house.installation.files.add(bob, "more", SECRET, purpose="user_data"),
    ):
        with pytest.raises(CasemateError):
            act()
