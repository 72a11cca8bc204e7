from __future__ import annotations

import threading

import pytest

from casemate.errors import TooMany
from casemate.library.turns import Turns


def test_whoever_finds_the_line_full_is_told_at_once() -> None:
    turns = Turns(at_once=2, waiting=0)
    with turns.turn(), turns.turn():
        with pytest.raises(TooMany) as refusal, turns.turn():
            pass
        assert refusal.value.next
    with turns.turn():
        pass


def test_a_turn_comes_back_whatever_happens_in_it() -> None:
    turns = Turns(at_once=1, waiting=0)
    for _ in range(3):
        with pytest.raises(RuntimeError), turns.turn():
            raise RuntimeError


def test_no_more_than_allowed_are_at_it_at_a_time_and_all_get_their_turn() -> None:
    turns, counting = Turns(at_once=2, waiting=30), threading.Lock()
    now, most, done = 0, 0, 0

    def work() -> None:
        nonlocal now, most, done
        with turns.turn():
            with counting:
                now += 1
                most = max(most, now)
            with counting:
                now -= 1
                done += 1

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (now, done) == (0, 32)
    assert most <= 2
