"""Who works for a client is told when it goes away."""

from __future__ import annotations

from casemate.api.departure import Departure


def test_everybody_who_waits_is_told_once_however_often_it_is_said() -> None:
    departure, told = Departure(), []
    departure.when(lambda: told.append("one"))
    departure.when(lambda: told.append("other"))
    departure.depart()
    departure.depart()
    assert told == ["one", "other"]


def test_who_comes_too_late_is_told_at_once_and_who_went_before_is_not() -> None:
    departure, told = Departure(), []
    forget = departure.when(lambda: told.append("went"))
    forget()
    departure.depart()
    assert told == []
    departure.when(lambda: told.append("late"))
    assert told == ["late"]
