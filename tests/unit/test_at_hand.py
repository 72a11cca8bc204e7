from __future__ import annotations

import asyncio
import threading

import pytest

from casemate.at_hand import NotAtHand, at_hand, look_again, once, one_turn, promptly, waits


def test_what_waits_for_nothing_is_done_where_it_is_asked_for() -> None:
    assert asyncio.run(promptly(threading.get_ident)) == threading.get_ident()


def test_what_waits_is_done_from_its_beginning_in_a_thread() -> None:
    began: list[int] = []

    def work() -> str:
        began.append(threading.get_ident())
        waits()
        return "done"

    assert asyncio.run(promptly(work)) == "done"
    here, elsewhere = began
    assert here == threading.get_ident() != elsewhere


def test_work_at_hand_inside_work_at_hand_may_not_wait_either() -> None:
    def inner() -> None:
        at_hand(lambda: None)
        waits()

    with pytest.raises(NotAtHand):
        at_hand(inner)
    waits()  # and afterwards everybody may


def test_a_look_counts_for_one_turn_of_the_event_loop() -> None:
    looks: list[int] = []

    def look() -> int:
        looks.append(len(looks))
        return len(looks)

    async def turns() -> tuple[int, int, int, int]:
        first, same = once("key", look), once("key", look)
        look_again()
        changed = once("key", look)
        await asyncio.sleep(0)
        return first, same, changed, once("key", look)

    assert asyncio.run(turns()) == (1, 1, 2, 3)


def test_outside_of_an_event_loop_each_look_is_a_look() -> None:
    found = iter(range(3))
    assert [once("key", lambda: next(found)) for _ in range(3)] == [0, 1, 2]


def test_a_block_of_a_thread_can_be_one_turn() -> None:
    looks: list[int] = []
    with one_turn():
        for _ in range(3):
            once("key", lambda: looks.append(1))
        assert len(looks) == 1
        look_again()
        once("key", lambda: looks.append(1))
    once("key", lambda: looks.append(1))
    assert len(looks) == 3
