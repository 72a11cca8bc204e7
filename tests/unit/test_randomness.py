import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate import randomness
from casemate.randomness import random_bytes, random_hex


@given(st.integers(0, 10_000))
def test_there_are_as_many_as_were_asked_for(count):
    assert len(random_bytes(count)) == count
    assert len(random_hex(count % 100)) == 2 * (count % 100)


def test_none_is_given_twice():
    given_ = [random_bytes(16) for _ in range(5_000)]
    threads = [
        threading.Thread(target=lambda: given_.extend(random_bytes(16) for _ in range(2_000)))
        for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(set(given_)) == 13_000


def test_what_was_given_is_kept_nowhere():
    random_bytes(1)
    drawn = randomness._drawn.bytes
    first = random_bytes(32)
    assert first not in bytes(drawn)


def test_a_forked_process_does_not_give_what_its_parent_gives():
    random_bytes(1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, random_bytes(32))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 32) != random_bytes(32)
    os.close(reading)
    os.close(writing)


def test_they_come_from_the_system(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(randomness, "_drawn", randomness._Drawn())
    monkeypatch.setattr(os, "urandom", lambda count: b"\7" * count)
    assert random_bytes(12) == b"\7" * 12
    assert random_bytes(5_000) == b"\7" * 5_000
