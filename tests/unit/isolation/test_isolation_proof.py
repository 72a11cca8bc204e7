"""What counts as a refusal of the kernel, and what shows that it let something through."""

from __future__ import annotations

import errno
import os

import pytest

from casemate.isolation.proof import Attempt, _attempted


def answered(number: int) -> None:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("name", "number", "blocked"),
    [
        ("reading a file outside", errno.EACCES, True),
        ("reading a file outside", errno.ENOENT, False),  # it would have been opened
        ("TCP to 127.0.0.1", errno.ECONNREFUSED, False),  # it arrived
        ("TCP to 127.0.0.1", errno.EPERM, True),
        # A process that is there and is not found is hidden (proc(5), hidepid).
        ("reading the environment of the parent", errno.ENOENT, True),
        ("reading the environment of process 1", errno.ENOENT, True),
        ("opening the memory of the parent", errno.EINVAL, False),
    ],
)
def test_an_answer_is_judged_by_what_it_shows(name: str, number: int, blocked: bool) -> None:
    found = _attempted(name, lambda: answered(number))
    assert found == Attempt(name, blocked, errno.errorcode[number])


def test_what_succeeds_is_open() -> None:
    assert _attempted("anything", lambda: None) == Attempt("anything", False, "")
