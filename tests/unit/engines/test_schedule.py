"""The schedule: fair over any pattern of arrivals, and nobody starves."""

from __future__ import annotations

import heapq
from collections import defaultdict
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.engines.schedule import AGE, LATELY, PRIORITIES, Flow, Schedule, Ticket

A, B = Flow("a", "anna"), Flow("b", "bert")
BATCH = Flow("a", "archive", "batch")
QUESTION = Flow("b", "bert", "interactive")


def drained(schedule: Schedule) -> list[Ticket]:
    """The order of everybody who waits, each leaving at once."""
    order = []
    while (ticket := schedule.next()) is not None:
        order.append(ticket)
        schedule.leave(ticket)
    return order


def test_one_principals_questions_go_in_the_order_in_which_they_came() -> None:
    schedule = Schedule(1)
    tickets = [schedule.join(A, cost) for cost in (500, 1, 30)]
    assert drained(schedule) == tickets


def test_a_tenant_that_asks_once_goes_before_what_another_one_piled_up() -> None:
    schedule = Schedule(1)
    flood = [schedule.join(A, 100) for _ in range(1000)]
    working = schedule.next()
    assert working is flood[0]
    once = schedule.join(B, 100)
    schedule.leave(working)
    assert schedule.next() is once


def test_two_tenants_that_wait_get_tokens_in_proportion_to_their_weights() -> None:
    schedule = Schedule(1)
    heavy, light = Flow("a", "anna", tenant_weight=3), Flow("b", "bert")
    for _ in range(400):
        schedule.join(heavy, 100)
        schedule.join(light, 100)
    first = drained_up_to(schedule, 400)
    assert 297 <= sum(ticket.flow is heavy for ticket in first) <= 303


def drained_up_to(schedule: Schedule, count: int) -> list[Ticket]:
    order = []
    for _ in range(count):
        ticket = schedule.next()
        assert ticket is not None
        order.append(ticket)
        schedule.leave(ticket)
    return order


def test_colleagues_of_who_floods_share_their_tenants_part_with_them_fairly() -> None:
    schedule = Schedule(1)
    for _ in range(100):
        schedule.join(A, 100)
    colleague = [schedule.join(Flow("a", "carla"), 100) for _ in range(3)]
    order = drained(schedule)
    assert [order.index(one) for one in colleague] == [1, 3, 5]


def test_a_question_goes_before_batch_and_finds_a_slot_that_batch_may_not_have() -> None:
    schedule = Schedule(4)
    for _ in range(10):
        schedule.join(BATCH, 1000)
    at_work = [schedule.next() for _ in range(4)]
    assert at_work[-1] is None
    assert schedule.at_work("batch") == 3
    question = schedule.join(QUESTION, 10)
    assert schedule.next() is question


def test_a_tenant_that_floods_leaves_the_last_slot_to_who_was_there_lately() -> None:
    schedule = Schedule(4)
    once = schedule.join(B, 10)
    assert schedule.next() is once
    schedule.leave(once)
    flood = [schedule.join(A, 100) for _ in range(10)]
    assert [schedule.next() for _ in range(4)] == [*flood[:3], None]
    again = schedule.join(B, 10)
    assert schedule.next() is again
    schedule.leave(flood[0])  # what it had itself, it has again
    assert schedule.next() is flood[3]


def test_a_tenant_alone_has_every_slot_again_once_the_other_stays_away() -> None:
    schedule = Schedule(2)
    once = schedule.join(B, 10)
    schedule.leave(schedule.next() or once)
    for _ in range(LATELY + 2):
        schedule.join(A, 10)
    alone = 0
    while schedule.working < 2:
        working = schedule.next()
        assert working is not None
        if schedule.next() is None:
            alone += 1
            schedule.leave(working)
    assert alone == LATELY - 1


def test_of_two_slots_neither_tenant_waits_for_both() -> None:
    schedule = Schedule(2)
    for flow in (A, B) * 10:
        schedule.join(flow, 10)
    first, second = schedule.next(), schedule.next()
    assert first is not None
    assert second is not None
    assert {first.flow, second.flow} == {A, B}


def test_batch_has_the_only_slot_where_there_is_one() -> None:
    schedule = Schedule(1)
    ticket = schedule.join(BATCH, 10)
    assert schedule.next() is ticket


def test_a_flood_of_questions_leaves_batch_one_turn_in_sixteen() -> None:
    schedule = Schedule(1)
    batch = [schedule.join(BATCH, 10) for _ in range(3)]
    for _ in range(200):
        schedule.join(QUESTION, 10)
    order = drained(schedule)
    assert [order.index(one) for one in batch] == [AGE - 1, 2 * AGE - 1, 3 * AGE - 1]


def test_what_a_turn_really_cost_is_charged_afterwards() -> None:
    schedule = Schedule(1)
    for _ in range(4):
        schedule.join(A, 100)
        schedule.join(B, 100)
    first = schedule.next()
    assert first is not None
    assert first.flow is A
    schedule.leave(first, 301)
    assert [ticket.flow for ticket in drained(schedule)[:5]] == [B, B, B, B, A]


def test_who_leaves_while_waiting_is_not_served_and_holds_nobody_up() -> None:
    schedule = Schedule(1)
    gone, stays = schedule.join(A, 10), schedule.join(A, 10)
    schedule.leave(gone)
    assert len(schedule) == 1
    assert drained(schedule) == [stays]


def test_a_slot_is_free_as_soon_as_its_holder_leaves() -> None:
    schedule = Schedule(1)
    first, second = schedule.join(A, 10), schedule.join(A, 10)
    assert schedule.next() is first
    assert schedule.next() is None
    schedule.leave(first)
    assert schedule.next() is second


flows = st.builds(
    Flow,
    st.sampled_from("abc"),
    st.sampled_from(("anna", "bert")),
    st.sampled_from(PRIORITIES),
    st.integers(1, 4),
    st.integers(1, 4),
)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("join"), flows, st.integers(1, 4000)),
        st.tuples(st.just("end"), st.integers(0, 50), st.integers(1, 4000)),
        st.tuples(st.just("give up"), st.integers(0, 50), st.just(0)),
    ),
    max_size=120,
)


@given(acts, st.integers(1, 5))
def test_no_slot_is_idle_but_the_last_that_batch_or_one_tenant_may_not_have(
    what: list[tuple[str, object, int]], slots: int
) -> None:
    schedule = Schedule(slots)
    waiting: list[Ticket] = []
    working: list[Ticket] = []
    for kind, which, cost in what:
        if kind == "join":
            assert isinstance(which, Flow)
            waiting.append(schedule.join(which, cost))
        else:
            some = working if kind == "end" else waiting
            if some:
                assert isinstance(which, int)
                schedule.leave(some.pop(which % len(some)), cost if kind == "end" else None)
        while (ticket := schedule.next()) is not None:
            waiting.remove(ticket)
            working.append(ticket)
        assert schedule.working == len(working) <= slots
        assert len(schedule) == len(waiting)
        if waiting and len(working) < slots:
            assert len(working) == max(1, slots - 1)
            held = {one.flow.tenant for one in working}
            for one in waiting:
                assert one.flow.priority == "batch" or {one.flow.tenant} == held
    assert sorted(one.number for one in schedule.order(1000)) == sorted(
        one.number for one in waiting
    )


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=60),
    st.lists(st.integers(1, 1000), min_size=1, max_size=60),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_while_both_wait_two_tenants_differ_by_no_more_than_their_largest_questions(
    ours: list[int], theirs: list[int], our_weight: int, their_weight: int
) -> None:
    schedule = Schedule(1)
    us, them = (
        Flow("a", "anna", tenant_weight=our_weight),
        Flow("b", "b", tenant_weight=their_weight),
    )
    for cost in ours:
        schedule.join(us, cost)
    for cost in theirs:
        schedule.join(them, cost)
    bound = max(ours) / our_weight + max(theirs) / their_weight
    done: dict[Flow, float] = defaultdict(float)
    left = {us: len(ours), them: len(theirs)}
    while left[us] and left[them]:
        ticket = schedule.next()
        assert ticket is not None
        done[ticket.flow] += ticket.cost
        left[ticket.flow] -= 1
        schedule.leave(ticket)
        assert abs(done[us] / our_weight - done[them] / their_weight) <= bound + 1e-6


@given(
    st.lists(st.tuples(flows, st.integers(1, 4000)), max_size=60),
    st.sampled_from(PRIORITIES),
    st.randoms(use_true_random=False),
)
def test_whatever_else_arrives_a_newcomer_goes_in_a_bounded_number_of_turns(
    before: list[tuple[Flow, int]], priority: str, random: Random
) -> None:
    schedule = Schedule(1)
    for flow, cost in before:
        schedule.join(flow, cost)
    ticket = schedule.join(Flow("z", "zoé", priority), 100)
    tenants = 4  # each may be ahead by one turn of its line, and a line has one turn in AGE
    for _ in range(AGE * (tenants + 2)):
        taken = schedule.next()
        assert taken is not None
        schedule.leave(taken)
        if taken is ticket:
            return
        for _ in range(2):
            other = Flow(random.choice("abc"), random.choice("xy"), random.choice(PRIORITIES))
            schedule.join(other, random.randint(1, 4000))
    raise AssertionError("starved")


def simulated(
    arrivals: list[tuple[float, Flow, float]], slots: int, of: str
) -> tuple[list[float], float]:
    """Seconds from asking to the answer's end for tenant ``of``; a question takes its cost."""
    schedule, now = Schedule(slots), 0.0
    coming = sorted(((at, i) for i, (at, _, _) in enumerate(arrivals)), reverse=True)
    asked: dict[Ticket, float] = {}
    ends: list[tuple[float, int, Ticket]] = []
    took = []
    while coming or ends:
        if coming and (not ends or coming[-1][0] <= ends[0][0]):
            now, i = coming.pop()
            _, flow, cost = arrivals[i]
            asked[schedule.join(flow, cost)] = now
        else:
            now, _, ended = heapq.heappop(ends)
            schedule.leave(ended)
            if ended.flow.tenant == of:
                took.append(now - asked[ended])
        while (ticket := schedule.next()) is not None:
            heapq.heappush(ends, (now + ticket.cost, ticket.number, ticket))
    return sorted(took), now


def p95(values: list[float]) -> float:
    return values[min(len(values) - 1, int(0.95 * len(values)))]


@settings(max_examples=15)
@given(st.integers(0), st.integers(2, 8), st.sampled_from(PRIORITIES))
def test_a_flood_of_a_thousand_leaves_anothers_95th_percentile_within_twice_its_idle_one(
    seed: int, slots: int, priority: str
) -> None:
    """Questions of one second each, one after the other, and a thousand of at most a second."""
    at, own, random = 0.0, [], Random(seed)
    for _ in range(40):
        own.append((at, Flow("b", "bert", "interactive"), 1.0))
        at += 2.0 + random.random()
    idle, _ = simulated(own, slots, "b")
    flooding = [
        (0.0, Flow("a", f"p{random.randrange(50)}", priority), random.uniform(0.2, 1.0))
        for _ in range(1000)
    ]
    busy, over = simulated(flooding + own, slots, "b")
    assert over > 40  # the flood lasted all the while
    assert p95(busy) <= 2 * p95(idle)
