"""Changes of who may know what, made in the leak campaign while calls are under way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from leak_asker import Asker
from leak_build import a_person, fill, readers_of
from leak_papers import Written
from leak_world import EVERYTHING, Mark, Paper, Person, Shelf, a_mark

from casemate.errors import CasemateError


class Unchanged(Exception):
    """The product did not do it, and may have good reasons."""


async def move(ask: Asker) -> None:
    """Somebody gets another clearance, over HTTP, from the chief of their tenant."""
    person = _somebody(ask)
    if person is None:
        return
    before, chief = person.clearance, ask.world.home(person.tenant)[0]
    with person.alone():
        await _clear(ask, chief, person, a_mark(ask.dice, clearance=True))
        if ask.dice.random() < 0.3:  # raised for a moment, then as before
            await _clear(ask, chief, person, EVERYTHING)
            await _clear(ask, chief, person, before)


async def _clear(ask: Asker, chief: Person, person: Person, mark: Mark) -> None:
    with person.standing.becoming(replace(person.standing.now, clearance=mark)):
        came = await ask.http(
            "changes", chief, "PUT", f"/api/principals/{person.name}", {"clearance": mark.text}
        )
        if came.status >= 400:  # a chief may not give, or take from, another community
            raise Unchanged


async def office(ask: Asker) -> None:
    """Somebody gets other roles."""
    person = _somebody(ask)
    if person is None:
        return
    roles = frozenset(ask.dice.choice((["user"], ["user"], ["auditor"], ["auditor", "user"])))
    chief = ask.world.home(person.tenant)[0]
    with person.alone(), person.standing.becoming(replace(person.standing.now, roles=roles)):
        came = await ask.http(
            "changes", chief, "PUT", f"/api/principals/{person.name}", {"roles": sorted(roles)}
        )
        if came.status >= 400:
            raise Unchanged


async def shut_out(ask: Asker) -> None:
    """Somebody is shut out, and another comes in their place."""
    person = _somebody(ask)
    if person is None:
        return
    world, chief = ask.world, ask.world.home(person.tenant)[0]
    body, gone = {"state": "disabled"}, replace(person.standing.now, active=False)
    with person.alone(), person.standing.becoming(gone):
        path = f"/api/principals/{person.name}"
        came = await ask.http("changes", chief, "PUT", path, body)
        if came.status >= 400:
            raise Unchanged
    world.people.remove(person)
    world.gone.append(person)
    mark, dice = a_mark(ask.dice, clearance=True), random.Random(ask.dice.random())
    new = await asyncio.to_thread(a_person, world, person.tenant, {"user"}, mark, dice)
    world.people.append(new)


async def revoke(ask: Asker) -> None:
    """Somebody's key ends, and they get another."""
    person = _somebody(ask)
    if person is None:
        return
    gate, old = ask.world.installation.gate, person.key

    def again() -> str:
        as_they = ask.world.caller(person)
        made = gate.keys.create(as_they, person.name)[1]
        gate.keys.revoke(as_they, old.split("_")[1])
        return made

    with person.alone():
        person.key = await asyncio.to_thread(again)
    person.dead.append(old)


async def readers(ask: Asker) -> None:
    """A collection is opened to its tenant, or closed to all but a few."""
    world = ask.world
    shelf = ask.dice.choice(world.shelves)
    if shelf.changing:
        return
    home = world.home(shelf.tenant)
    names = None
    if ask.dice.random() < 0.6:
        names = [one.name for one in ask.dice.sample(home, min(3, len(home)))]
    wanted = readers_of(world, shelf.tenant, names)
    owner = next(one for one in home if one.id == shelf.owner)
    with shelf.alone(), shelf.readers.becoming(wanted):
        came = await ask.http(
            "changes",
            owner,
            "PUT",
            f"/api/collections/{shelf.name}",
            {"readers": "everyone" if names is None else names},
        )
        if came.status >= 400:
            raise Unchanged


async def carry(ask: Asker) -> None:
    """A document goes to another collection of its tenant: deleted here, added there."""
    world = ask.world
    paper = ask.dice.choice(world.papers)
    others = [one for one in world.shelves_of(paper.shelf.tenant) if one is not paper.shelf]
    if not others or paper.changing:
        return
    to, paper.changing = ask.dice.choice(others), True
    chief = next(one for one in world.people if one.id == paper.shelf.owner)
    with ExitStack() as gone:
        for one in (paper.id, *paper.secrets):
            gone.enter_context((world.kept.get(one) or world.ids[one]).becoming(()))
        _take(world.papers, paper)
        _take(paper.shelf.papers, paper)
        delete = partial(world.installation.library.delete, world.caller(chief), paper.id)
        await _done(delete)
    with ExitStack() as come:
        for one in paper.secrets:
            come.enter_context(world.kept[one].becoming((to,)))
        await _done(lambda: _add(ask, to, paper))


def _add(ask: Asker, shelf: Shelf, paper: Paper) -> None:
    world = ask.world
    before = {one: world.kept[one] for one in paper.secrets}
    fill(world, shelf, [Written(paper.name, paper.topic, paper.secrets, paper.content)])
    world.kept.update(before)  # what was under way may have seen more


def _take(some: list[Paper], paper: Paper) -> None:
    if paper in some:
        some.remove(paper)


async def _done(work: Callable[[], None]) -> None:
    try:
        await asyncio.to_thread(work)
    except CasemateError as problem:
        raise Unchanged from problem


async def use_case(ask: Asker) -> None:
    """A use case is suspended, and approved again."""
    tenant = ask.dice.choice(list(ask.world.use_cases))
    use = ask.dice.choice(ask.world.use_cases[tenant])
    chief, second, *_ = ask.world.home(tenant)
    at = f"/api/use-cases/{use}"
    for person, verb in ((chief, "suspend"), (second, "approve")):
        came = await ask.http(
            "changes", person, "POST", f"{at}/{verb}", {"reason": "A campaign."}, by="session"
        )
        if came.status >= 400:
            ask.find(f"changes: {verb} of {use} gave {came.status}: {came.body[:200]!r}")


CHANGES: tuple[Callable[[Asker], Awaitable[None]], ...] = (
    *(move, move, move, readers, readers, carry, office, shut_out, revoke, use_case),
)


async def change(ask: Asker) -> None:
    """One change of any kind."""
    kind = ask.dice.choice(CHANGES)
    try:
        await kind(ask)
    except Unchanged:
        ask.report.changes["refused"] += 1
        return
    ask.report.changes[kind.__name__] += 1


def _somebody(ask: Asker) -> Person | None:
    """Somebody whom a change can be about: no administrator, and not in another change."""
    for _ in range(20):
        person = ask.dice.choice(ask.world.people)
        if "admin" not in person.roles and not person.changing:
            return person
    return None
