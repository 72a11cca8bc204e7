"""The circuit breaker of a replica, with a clock that stands where it is put."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.engines.remote.breaker import STATES, Breaker


def a_breaker() -> Breaker:
    return Breaker(draw=lambda: 1.0)  # the longest pauses


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = a_breaker()
    for _ in range(4):
        breaker.failed(0.0)
    breaker.succeeded()
    for _ in range(4):
        breaker.failed(0.0)
        assert breaker.state(0.0) == "closed"
    breaker.failed(0.0)
    assert breaker.state(0.0) == "open"


def test_one_failure_to_connect_opens_it() -> None:
    breaker = a_breaker()
    breaker.unreachable(5.0)
    assert (breaker.state(5.0), breaker.pause(5.0), breaker.is_due(5.0)) == ("open", 1.0, False)


def test_after_the_pause_one_trial_may_begin_and_no_second() -> None:
    breaker = a_breaker()
    breaker.unreachable(0.0)
    assert breaker.is_due(1.0)
    breaker.begin_trial()
    assert (breaker.state(9.0), breaker.is_due(9.0)) == ("half open", False)
    breaker.passed()
    assert breaker.state(9.0) == "closed"


def test_a_trial_that_was_given_up_lets_another_begin() -> None:
    breaker = a_breaker()
    breaker.unreachable(0.0)
    breaker.begin_trial()
    breaker.abandon()
    assert breaker.is_due(1.0)


@pytest.mark.parametrize(("draw", "first"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_pauses_double_up_to_a_bound_with_jitter(draw: float, first: float) -> None:
    breaker, now, pauses = Breaker(draw=lambda: draw), 0.0, []
    for _ in range(8):
        breaker.begin_trial()
        breaker.unreachable(now)
        pauses.append(breaker.pause(now))
        now += pauses[-1]
    assert pauses == [min(first * 2**count, first * 30) for count in range(8)]


def test_exchanges_that_began_before_it_opened_do_not_make_the_pause_longer() -> None:
    breaker = a_breaker()
    for _ in range(200):
        breaker.failed(0.0)
    assert breaker.pause(0.0) == 1.0


def test_an_answer_that_began_before_it_opened_does_not_close_it() -> None:
    breaker = a_breaker()
    breaker.unreachable(0.0)
    breaker.succeeded()
    assert breaker.state(0.0) == "open"


_STEPS = st.sampled_from(["failed", "unreachable", "succeeded", "trial", "passed", "abandon"])


@given(st.lists(st.tuples(_STEPS, st.floats(0, 60))), st.floats(0, 1))
def test_whatever_happens_its_pause_is_bounded_and_it_comes_back(
    steps: list[tuple[str, float]], draw: float
) -> None:
    breaker, now, trying = Breaker(draw=lambda: draw), 0.0, False
    for step, seconds in steps:
        now += seconds
        if step == "trial":
            if breaker.is_due(now):
                breaker.begin_trial()
                trying = True
        elif step in ("passed", "abandon"):
            if trying:
                getattr(breaker, step)()
                trying = False
        elif step == "succeeded":
            breaker.succeeded()
        else:
            getattr(breaker, step)(now)
            trying = trying and breaker.state(now) == "half open"
        assert breaker.state(now) in STATES
        assert 0.0 <= breaker.pause(now) <= 30.0
    if trying:
        breaker.abandon()
    assert breaker.is_closed or breaker.is_due(now + 30.0)
