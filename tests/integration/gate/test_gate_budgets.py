"""Budgets: limits hold over processes, windows and crashes, and say nothing of others' use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from gate_builders import World

from casemate.errors import Invalid, NotFound, Refused, TooMany
from casemate.gate.budget import Asker, Budgets, Use
from casemate.gate.caller import Caller
from casemate.gate.lease import LEASE_SECONDS
from casemate.gate.limit import EVERY, Limit
from casemate.gate.quota import Quotas
from casemate.store.tables import quota_leases, quota_uses


def limit(
    world: World, kind: str, name: str, amount: float, measure: str, window: str = ""
) -> Limit:
    tenant, target = world.gate.quotas.target(world.owner, kind, name)
    made = Limit.parse(tenant, kind, target, measure, window, amount)
    world.gate.quotas.put(world.owner, made)
    return made


def asker(caller: Caller, use_case: str = "documents") -> Asker:
    return Asker(caller.principal.tenant, caller.principal.id, use_case)


def process(world: World, name: str) -> Budgets:
    """Another process on the same database."""
    gate = world.gate
    quotas = Quotas(world.database, gate.rights, gate.principals, gate.use_cases, lambda: 0.0)
    return Budgets(world.database, quotas, concurrent=100, holder=name, clock=world.watch)


def ask(budgets: Budgets, who: Asker, estimate: Use | None = None, tokens: int = 0) -> None:
    """One run, from its reservation to its settlement."""

    async def run() -> None:
        async with budgets.run(who, estimate or Use()) as used:
            used.tokens += tokens

    asyncio.run(run())


def refused(budgets: Budgets, who: Asker, estimate: Use | None = None) -> TooMany:
    with pytest.raises(TooMany) as caught:
        ask(budgets, who, estimate)
    return caught.value


def together(act: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(act())  # type: ignore[arg-type]


def test_requests_are_refused_from_the_limit_on_until_the_window_is_over(world: World) -> None:
    limit(world, "principal", "Anne", 3, "requests", "minute")
    world.watch.pass_by(seconds=18)
    budgets, anne = world.gate.budgets, asker(world.owner)
    for _ in range(3):
        ask(budgets, anne)
    refusal = refused(budgets, anne)
    assert refusal.retry_after == 42
    assert refusal.what == (
        "Your limit, 3 requests a minute, is used up or too little is left for this question."
    )
    assert refusal.next == "It begins anew in 42 seconds; an administrator can raise it."
    world.watch.pass_by(seconds=42)
    ask(budgets, anne)


@pytest.mark.parametrize(
    ("window", "wait"), [("minute", 60), ("day", 15 * 3600), ("month", 29 * 86400 + 15 * 3600)]
)
def test_a_window_is_one_of_the_calendar_in_utc(world: World, window: str, wait: int) -> None:
    limit(world, "principal", "Anne", 1, "requests", window)  # it is the 2nd of March, 9:00
    ask(world.gate.budgets, asker(world.owner))
    assert refused(world.gate.budgets, asker(world.owner)).retry_after == wait


def test_an_estimate_is_reserved_and_what_was_really_used_is_what_counts(world: World) -> None:
    limit(world, "principal", "Anne", 1000, "tokens", "day")
    budgets, anne = world.gate.budgets, asker(world.owner)
    for _ in range(4):
        ask(budgets, anne, Use(tokens=800), tokens=50)
    assert "too little is left" in refused(budgets, anne, Use(tokens=801)).what
    ask(budgets, anne, Use(tokens=800), tokens=50)


def test_a_question_that_is_larger_than_the_limit_is_told_so(world: World) -> None:
    limit(world, "principal", "Anne", 1000, "tokens", "day")
    refusal = refused(world.gate.budgets, asker(world.owner), Use(tokens=1001))
    assert "less than this question may need" in refusal.what


def test_what_open_runs_reserved_is_not_given_twice(world: World) -> None:
    limit(world, "use_case", "documents", 1000, "tokens", "day")
    budgets, bob = world.gate.budgets, asker(world.person("Bob"))

    async def act() -> None:
        async with budgets.run(bob, Use(tokens=600)):
            with pytest.raises(TooMany, match="The limit of the use case documents, 1,000 tokens"):
                async with budgets.run(asker(world.owner), Use(tokens=600)):
                    pass
        async with budgets.run(bob, Use(tokens=600)):
            pass

    together(act)


def test_a_run_that_fails_or_is_cancelled_is_settled_with_what_it_used(world: World) -> None:
    limit(world, "principal", "Anne", 100, "tokens", "day")
    budgets, anne = world.gate.budgets, asker(world.owner)

    async def act() -> None:
        begun = asyncio.Event()

        async def fail() -> None:
            async with budgets.run(anne, Use(tokens=90)) as used:
                used.tokens += 10
                raise OSError("gone")

        async def stay() -> None:
            async with budgets.run(anne, Use(tokens=90)) as used:
                used.tokens += 10
                begun.set()
                await asyncio.Event().wait()

        with pytest.raises(OSError, match="gone"):
            await fail()
        staying = asyncio.create_task(stay())
        await begun.wait()
        staying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staying

    (one,) = world.gate.quotas.limits(world.owner)
    together(act)
    assert budgets.used([one]) == [20]
    ask(budgets, anne, Use(tokens=80))
    refused(budgets, anne, Use(tokens=81))


def test_who_goes_away_while_the_database_is_asked_holds_nothing(world: World) -> None:
    one = limit(world, "principal", "Anne", 1, "runs")
    budgets, anne = world.gate.budgets, asker(world.owner)

    async def act() -> None:
        async def run() -> None:
            async with budgets.run(anne, Use()):
                raise AssertionError

        going = asyncio.create_task(run())
        await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    together(act)
    budgets.report()
    assert budgets.used([one]) == [0]
    ask(budgets, anne)


def test_open_runs_are_counted_over_all_processes(world: World) -> None:
    limit(world, "tenant", "", 2, "runs")
    here, there = process(world, "here"), process(world, "there")
    bob = asker(world.person("Bob"))

    async def act() -> None:
        async with here.run(bob, Use()), there.run(asker(world.owner), Use()):
            for budgets in (here, there):
                with pytest.raises(TooMany, match="your organisation, 2 runs open at one time"):
                    async with budgets.run(bob, Use()):
                        pass
        here.report()
        async with there.run(bob, Use()), there.run(bob, Use()):
            pass

    together(act)
    here.close()
    there.close()


def test_several_processes_never_use_more_than_the_limit_together(world: World) -> None:
    one = limit(world, "principal", EVERY, 1000, "requests", "day")
    processes = [process(world, f"p{i}") for i in range(4)]
    anne, done = asker(world.owner), 0
    for number in range(1400):
        try:
            ask(processes[number * number % 4], anne)
            done += 1
        except TooMany:
            continue
    for each in processes:
        each.close()
    # What a process holds and does not use is at most a 32nd.
    assert 1000 - 4 * 1000 // 32 <= done <= 1000
    ours = replace(one, target=anne.principal)
    assert process(world, "later").used([ours]) == [done]


def test_what_a_process_that_died_held_comes_back_when_its_lease_ends(world: World) -> None:
    limit(world, "principal", "Anne", 1, "runs")
    dead, alive, anne = process(world, "dead"), process(world, "alive"), asker(world.owner)

    async def act() -> None:
        async with AsyncExitStack() as open_:
            await open_.enter_async_context(dead.run(anne, Use()))
            with pytest.raises(TooMany):
                async with alive.run(anne, Use()):
                    pass
            world.watch.pass_by(seconds=LEASE_SECONDS + 1)
            async with alive.run(anne, Use()):
                pass

    together(act)


def test_a_limit_on_open_runs_goes_before_the_setting_for_all(world: World) -> None:
    limit(world, "principal", "Anne", 3, "runs")  # the setting allows two
    anne, bob = asker(world.owner), asker(world.person("Bob"))

    async def opened(who: Asker) -> int:
        async with AsyncExitStack() as open_:
            for count in range(10):
                try:
                    await open_.enter_async_context(world.gate.budgets.run(who, Use()))
                except TooMany:
                    return count
        return 10

    async def act() -> None:
        assert await opened(anne) == 3
        assert await opened(bob) == 2

    together(act)


def test_a_limit_by_name_goes_before_the_one_for_everybody(world: World) -> None:
    bob = world.person("Bob")
    limit(world, "principal", EVERY, 1, "requests", "day")
    limit(world, "principal", "Bob", 2, "requests", "day")
    budgets = world.gate.budgets
    ask(budgets, asker(world.owner))
    refused(budgets, asker(world.owner))
    ask(budgets, asker(bob))
    ask(budgets, asker(bob))
    assert "2 requests a day" in refused(budgets, asker(bob)).what


def test_a_limit_that_is_lowered_holds_at_once_and_one_that_is_raised_too(world: World) -> None:
    anne, budgets = asker(world.owner), world.gate.budgets
    limit(world, "principal", "Anne", 6400, "requests", "day")
    ask(budgets, anne)
    limit(world, "principal", "Anne", 1, "requests", "day")
    refused(budgets, anne)
    limit(world, "principal", "Anne", 2, "requests", "day")
    ask(budgets, anne)
    refused(budgets, anne)


def test_gpu_seconds_and_energy_are_limits_too_and_are_called_estimates(world: World) -> None:
    limit(world, "principal", "Anne", 1.5, "gpu_seconds", "day")
    refusal = refused(world.gate.budgets, asker(world.owner), Use(gpu_seconds=1501))
    assert "1.5 estimated GPU-seconds a day" in refusal.what
    ask(world.gate.budgets, asker(world.owner), Use(gpu_seconds=1500))
    limit(world, "tenant", "", 0.5, "watt_hours", "month")
    refusal = refused(world.gate.budgets, asker(world.owner), Use(watt_hours=1801))
    assert "0.5 estimated watt-hours a month" in refusal.what


def test_a_budget_in_use_asks_the_database_once_for_many_runs(world: World) -> None:
    limit(world, "principal", "Anne", 32_000, "requests", "day")
    budgets = world.gate.budgets
    writes = 0
    write = world.database.write

    def counted():  # type: ignore[no-untyped-def]
        nonlocal writes
        writes += 1
        return write()

    world.database.write = counted  # type: ignore[method-assign]
    for _ in range(1000):
        ask(budgets, asker(world.owner))
    assert writes <= 2


def test_counts_of_windows_that_are_long_over_are_dropped(world: World) -> None:
    limit(world, "principal", "Anne", 10, "requests", "minute")
    budgets = world.gate.budgets
    ask(budgets, asker(world.owner))
    budgets.report()
    world.watch.pass_by(hours=2)
    ask(budgets, asker(world.owner))
    budgets.report()
    budgets.report()
    with world.database.read() as connection:
        assert len(connection.execute(quota_uses.select()).all()) == 1
        assert not connection.execute(quota_leases.select()).all()


# Setting limits


def test_every_change_of_a_limit_is_in_the_ledger_with_before_and_after(world: World) -> None:
    bob = world.person("Bob")
    limit(world, "principal", "Bob", 10, "requests", "day")
    limit(world, "principal", "Bob", 10, "requests", "day")  # said again: no entry
    made = limit(world, "principal", "Bob", 5, "requests", "day")
    world.gate.quotas.remove(world.owner, made)
    entries = [one for one in world.ledger.entries if one["kind"].startswith("quota.")]
    facts = {"of": "principal", "target": bob.principal.pseudonym}
    assert [(one["kind"], one.get("before"), one.get("after")) for one in entries] == [
        ("quota.set", None, 10),
        ("quota.set", 10, 5),
        ("quota.removed", 5, None),
    ]
    assert all(facts.items() <= one.items() for one in entries)
    assert "Bob" not in str(entries)
    with pytest.raises(NotFound):
        world.gate.quotas.remove(world.owner, made)


def test_who_may_not_administer_sets_no_limits_and_an_admin_none_for_the_tenant(
    world: World,
) -> None:
    admin, bob = world.admin(), world.person("Bob")
    quotas = world.gate.quotas
    home = world.owner.principal.tenant
    made = Limit.parse(home, "principal", bob.principal.id, "tokens", "day", 10)
    with pytest.raises(Refused):
        quotas.put(bob, made)
    quotas.put(admin, made)
    with pytest.raises(Refused, match="owner alone"):
        quotas.put(admin, Limit.parse(home, "tenant", home, "tokens", "day", 10))
    with pytest.raises(Refused):
        quotas.limits(bob)


def test_an_admin_does_not_reach_into_another_tenant(world: World) -> None:
    world.gate.principals.create_tenant(world.owner, "school")
    world.person("Sam", tenant="school")
    for actor in (world.admin(), world.owner):
        with pytest.raises(NotFound):
            world.gate.quotas.target(actor, "principal", "Sam")
    tenant, target = world.gate.quotas.target(world.owner, "tenant", "school")
    assert tenant == target != world.owner.principal.tenant


def test_an_id_of_another_tenant_is_of_no_use_to_who_has_it(world: World) -> None:
    """Names are looked up at home; what is set does not rely on that alone."""
    school = world.gate.principals.create_tenant(world.owner, "school")
    sam = world.person("Sam", tenant="school").principal.id
    for actor in (world.admin(), world.owner):
        limit = Limit.parse(school, "principal", sam, "tokens", "day", 1)
        with pytest.raises(NotFound):
            world.gate.quotas.put(actor, limit)
        with pytest.raises(NotFound):
            world.gate.quotas.remove(actor, limit)
        with pytest.raises(NotFound):
            world.gate.shares.weigh(actor, school, "principal", sam, 2)
    with pytest.raises(NotFound):
        world.gate.shares.prioritise(world.caller("admin"), school, "documents", "batch")
    # Nobody in the school could give the highest: it goes before every tenant's.
    world.gate.shares.prioritise(world.owner, school, "documents", "interactive")
    world.gate.quotas.put(world.owner, Limit.parse(school, "tenant", school, "tokens", "day", 1))
    world.gate.shares.weigh(world.owner, school, "tenant", school, 2)


@pytest.mark.parametrize(
    ("measure", "window", "amount"),
    [
        ("tokens", "", 1),
        ("tokens", "week", 1),
        ("runs", "day", 1),
        ("requests", "day", -1),
        ("requests", "day", 1.5),
        ("requests", "day", float("nan")),
        ("tokens", "day", float("inf")),
        ("words", "day", 1),
    ],
)
def test_a_limit_that_means_nothing_is_refused(measure: str, window: str, amount: float) -> None:
    with pytest.raises(Invalid):
        Limit.parse("t", "principal", "*", measure, window, amount)
