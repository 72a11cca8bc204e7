"""The leak campaign in small: nobody sees what is above them, and what is hidden is not there.

And the campaign itself: each planted leak is found.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from house_builders import a_house

from casemate.errors import NotFound
from casemate.gate.admission import Gate
from casemate.gate.key import Keys
from casemate.gate.label import Label, LabelPolicy
from casemate.gate.policy import PolicySet
from casemate.library.kept import Kept
from casemate.library.library import Library
from casemate.reasoning.record import Runs
from casemate.store.tables import documents

sys.path.append(str(Path(__file__).parents[3] / "campaigns"))

import leak
import leak_build
import leak_changes
import leak_crooked
import leak_keeping
import leak_pairs
import leak_past
import leak_reading
import leak_time
import leak_world
from leak_asker import Asker, Report, Stage

SIZES = leak_build.Sizes(tenants=2, people=12, shelves=6, papers=24)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[leak_world.World]:
    with a_house(tmp_path_factory.mktemp("leak") / "data") as house:
        yield leak_build.build(house.installation, SIZES, random.Random(7))


def called(world: leak_world.World, count: int, *surfaces: leak.Surface, **more: Any) -> Report:
    """What comes of calls on these surfaces, or on all, by several askers at once."""

    async def all_of_them() -> Report:
        async with leak.a_stage(world, wired=not surfaces) as stage:
            if surfaces:
                more["surfaces"] = surfaces
            report = await leak.calls(stage, random.Random(3), count, 600, **more)
            if not surfaces:
                ask = Asker(stage, random.Random(4))
                assert await leak_pairs.disappearance(ask, 6, 600)
            return report

    return asyncio.run(all_of_them())


def test_nobody_sees_what_is_above_them(world: leak_world.World) -> None:
    report = called(world, 150, changes=0.1)
    assert report.findings == []
    assert report.seen > 0
    assert {"search", "ask", "acts", "lists", "documents"} <= set(report.calls)
    assert set(report.ways) == {"inside", "wire", "act"}
    assert report.changes.total() > 0


def _found(world: leak_world.World, beginning: str, *surfaces: leak.Surface) -> None:
    """These calls find something that begins so."""
    for _ in range(20):
        report = called(world, 30, *surfaces, changes=0)
        if any(one.startswith(beginning) for one in report.findings):
            return
    raise AssertionError(f"nothing like {beginning!r} was found")


def test_a_label_that_hides_nothing_is_found(
    world: leak_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Label, "dominates", lambda self, other: True)
    monkeypatch.setattr(LabelPolicy, "readable", lambda self, text, clearance: True)
    rights = world.installation.gate.rights
    try:
        # What was judged before is forgotten with the policies it was judged by.
        rights.policies = PolicySet.parse(rights.policies.files)
        _found(world, "LEAK on lists", leak_reading.lists)
    finally:
        rights.policies = PolicySet.parse(rights.policies.files)


def test_a_search_that_forgets_rights_is_found(
    world: leak_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit: Callable[..., Any] = Gate.admit

    def generous(self: Gate, caller: Any, **asked: Any) -> Any:
        chief = world.home(next(p.tenant for p in world.people if p.id == caller.principal.id))[0]
        given = admit(self, world.caller(chief), **{**asked, "collections": ()})
        return replace(given, principal=caller.principal)

    monkeypatch.setattr(Gate, "admit", generous)
    _found(world, "LEAK on search", leak_reading.search)


def test_a_document_that_is_given_by_its_id_alone_is_found(
    world: leak_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(self: Library, caller: Any, id: str) -> Any:
        with self._database.read() as connection:
            found = connection.execute(sa.select(documents).where(documents.c.id == id)).first()
        if found is None:
            raise NotFound("There is no such document that you may read.", "List yours.")
        shelf = next(one for one in world.shelves if one.id == found.collection)
        owner = next(one for one in world.people if one.id == shelf.owner)
        return found, self.collection(world.caller(owner), shelf.name)

    monkeypatch.setattr(Library, "_row", row)
    _found(world, "LEAK on documents", leak_reading.documents)


def test_a_run_that_others_can_open_is_found(
    world: leak_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    get: Callable[..., Any] = Runs.get

    def any_of_them(self: Runs, caller: Any, id: str) -> Any:
        for person in world.people:
            try:
                return get(self, world.caller(person), id)
            except NotFound:
                continue
        raise NotFound("There is no such run that you may see.", "List yours.")

    monkeypatch.setattr(Runs, "get", any_of_them)
    _found(world, "runs: ", leak_reading.runs, leak_reading.question)


def test_a_file_that_others_can_open_is_found(
    world: leak_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    get: Callable[..., Any] = Kept.get

    def any_of_them(self: Kept, caller: Any, *asked: Any, **more: Any) -> Any:
        for person in world.people:
            try:
                return get(self, world.caller(person), *asked, **more)
            except NotFound:
                continue
        raise NotFound("There is no such thing.", "List yours.")

    monkeypatch.setattr(Kept, "get", any_of_them)
    _found(world, "kept: ", leak_keeping.kept, leak_keeping.upload)


def test_a_key_that_outlives_its_end_is_found(
    world: leak_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revoked() -> None:
        await leak_changes.revoke(Asker(Stage(world), random.Random(5)))

    asyncio.run(revoked())
    monkeypatch.setattr(Keys, "_ended", lambda self, held: False)
    _found(world, "dead: ", leak_crooked.dead)


def test_a_refusal_that_tells_the_hidden_from_the_absent_is_found(
    world: leak_world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    row: Callable[..., Any] = Library._row

    def telling(self: Library, caller: Any, id: str) -> Any:
        try:
            return row(self, caller, id)
        except NotFound as problem:
            there = any(one.id == id for one in world.papers)
            raise NotFound(f"{problem.what}{' ' if there else ''}", problem.next) from None

    monkeypatch.setattr(Library, "_row", telling)
    _found(world, "DIFFERENT for hidden and absent", leak_pairs.pair)


def test_the_rule_of_the_campaign_and_that_of_the_gate_are_one(world: leak_world.World) -> None:
    policy = world.installation.gate.country.policy
    dice = random.Random(11)
    for _ in range(2000):
        held, asked = leak_world.a_mark(dice, clearance=True), leak_world.a_mark(dice)
        assert held.covers(asked) == policy.parse(held.text).dominates(policy.parse(asked.text))


def test_what_was_before_counts_until_a_change_has_ended_and_what_failed_no_longer() -> None:
    fact = leak_past.Past("before")
    began = time.monotonic()
    with fact.becoming("after"):
        assert fact.now == "after"
        assert set(fact.since(time.monotonic())) == {"before", "after"}
        assert not fact.settled(time.monotonic())
    assert set(fact.since(began)) == {"before", "after"}
    assert list(fact.since(time.monotonic())) == ["after"]
    with pytest.raises(ValueError, match="no"), fact.becoming("never"):
        raise ValueError("no")
    assert fact.now == "after"
    assert set(fact.since(leak_past.EVER)) == {"before", "after", "never"}
    assert list(fact.since(time.monotonic())) == ["after"]


def test_times_that_differ_are_told_from_times_that_do_not() -> None:
    dice = random.Random(1)
    one, other = ([dice.gauss(5, 1) for _ in range(400)] for _ in range(2))
    same = leak_time.Compared(one, other)
    assert not same.tells
    assert same.p > 0.05
    shift = same.smallest_seconds
    later = leak_time.Compared([time + shift for time in other], other)
    assert later.a == pytest.approx(0.5 + later.smallest, abs=0.01)
    assert later.tells
    assert leak_time.Compared(other, later.hidden).a == pytest.approx(1 - later.a)


def test_the_figures_of_times_are_those_that_come_out_by_hand() -> None:
    # Ranks of the first: 1, 2, 4, 5, 8. U = 20 - 15 = 5 of 25; z = (12.5 - 5 - 0.5) / 4.787.
    found = leak_time.Compared([1, 2, 4, 5, 8], [3, 6, 7, 9, 10])
    assert found.a == pytest.approx(5 / 25)
    assert found.p == pytest.approx(0.1437, abs=1e-4)
    assert leak_time.Compared([1.0, 1.0], [1.0, 1.0]).p == 1.0
