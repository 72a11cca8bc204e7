from __future__ import annotations

import pytest

from casemate.gate.memory import Memory


class Counted:
    """A number that tests set, and a reader that counts how often it is asked."""

    def __init__(self) -> None:
        self.changes = 0
        self.reads = 0

    def read(self) -> int:
        self.reads += 1
        return self.reads


def test_what_is_read_once_is_kept_until_something_changes() -> None:
    counted = Counted()
    memory = Memory(lambda: counted.changes)
    assert [memory.recall("a", counted.read) for _ in range(3)] == [1, 1, 1]
    counted.changes += 1
    assert memory.recall("a", counted.read) == 2


def test_a_change_while_it_is_read_makes_it_be_read_again() -> None:
    counted = Counted()
    memory = Memory(lambda: counted.changes)

    def read_late() -> int:
        counted.changes += 1  # another process, between the count and the read
        return counted.read()

    assert memory.recall("a", read_late) == 1
    assert memory.recall("a", counted.read) == 2


def test_what_could_not_be_read_is_not_kept() -> None:
    counted = Counted()
    memory = Memory(lambda: counted.changes)

    def fail() -> int:
        raise KeyError("absent")

    with pytest.raises(KeyError):
        memory.recall("a", fail)
    assert memory.recall("a", counted.read) == 1


def test_none_is_a_value_like_any_other() -> None:
    memory = Memory(lambda: 1)
    asked: list[None] = []
    for _ in range(2):
        memory.recall("a", lambda: asked.append(None))
    assert asked == [None]


def test_it_never_holds_more_than_it_may() -> None:
    memory = Memory(lambda: 1, most=3)
    for number in range(20):
        assert memory.recall(number, lambda number=number: number) == number
        assert len(memory._held[1]) <= 3
