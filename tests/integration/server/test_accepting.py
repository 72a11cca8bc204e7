"""New clients go to the worker that has the fewest, and wait for nobody who does not take them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from casemate.server.accepting import Balance, Shared


class Office:
    """Two workers on one listening socket, in one process; a clock that stands still."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.now = 100.0
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._address = listener.getsockname()
        descriptor = Balance.made(2)
        self.balance = Balance(descriptor, 2)
        self.workers = []
        for number in (1, 2):
            mine = Balance(descriptor, 2)  # as in a process of its own
            one = Shared(os.dup(listener.fileno()), mine, number, lambda: self.now)
            one.setblocking(False)
            self.workers.append(stack.enter_context(one))
        os.close(descriptor)

    def knock(self, times: int = 1) -> None:
        for _ in range(times):
            self._stack.enter_context(socket.create_connection(self._address))

    def takes(self, number: int) -> bool:
        """Whether a worker accepts somebody in one turn of its event loop."""
        taken = False
        try:
            while True:
                connection, _ = self.workers[number - 1].accept()
                connection.close()
                assert not taken, "two in one turn"
                taken = True
        except BlockingIOError:
            return taken


@pytest.fixture
def office() -> Iterator[Office]:
    with ExitStack() as stack:
        yield Office(stack)


def test_a_burst_is_taken_one_in_a_turn_and_in_equal_parts(office: Office) -> None:
    office.balance.has(1, 0)
    office.balance.has(2, 0)
    office.knock(6)
    taken = {1: 0, 2: 0}
    for _ in range(6):
        for number in taken:
            taken[number] += office.takes(number)
    assert taken == {1: 3, 2: 3}
    assert not office.takes(1)


def test_who_has_more_leaves_it_to_who_has_fewer(office: Office) -> None:
    office.balance.has(1, 5)
    office.balance.has(2, 3)
    office.knock(4)
    assert not office.takes(1)
    assert office.takes(2)
    assert not office.takes(1)
    assert office.takes(2)
    assert office.takes(1)  # both have five now


def test_who_has_fewer_and_does_not_come_is_not_waited_for_long(office: Office) -> None:
    office.balance.has(1, 5)
    office.balance.has(2, 0)
    office.knock()
    assert not office.takes(1)
    office.now += 0.001
    assert not office.takes(1)
    office.now += 0.002
    assert office.takes(1)
    office.now += 1
    office.knock()
    assert not office.takes(1)  # another one is left to the other first, too


def test_a_worker_that_accepts_nobody_is_not_waited_for(office: Office) -> None:
    office.balance.has(1, 5)
    office.knock(2)
    assert office.takes(1)
    office.balance.has(2, 0)
    assert not office.takes(1)
    office.balance.leaves(2)
    assert office.takes(1)
