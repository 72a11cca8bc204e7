"""The numbers of system calls, against the kernel's own headers where they are installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from casemate.isolation.calls import MACHINES, numbers
from casemate.isolation.seccomp import _ALLOWED, _REFUSED

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
# The 64-bit names of calls that the generic table gives for both widths.
RENAMED = {"fstatat": "newfstatat"}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"{header} is not installed (Debian: linux-libc-dev)")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text())
    theirs = {RENAMED.get(name, name): int(number) for name, number in found}
    ours = numbers(machine)
    named = {name for each in MACHINES for name in numbers(each)}
    assert not (theirs.keys() & named) - ours.keys()
    shared = ours.keys() & theirs.keys()
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    # An older header lacks the newest calls, and no others.
    assert all(ours[name] >= 424 for name in ours.keys() - shared)


@pytest.mark.parametrize("machine", MACHINES)
def test_no_two_calls_have_one_number(machine: str) -> None:
    ours = list(numbers(machine).values())
    assert len(ours) == len(set(ours))


def test_an_unknown_processor_has_no_numbers() -> None:
    assert numbers("vax") == {}


def test_every_call_is_either_allowed_or_refused_but_those_with_hidden_flags() -> None:
    allowed, refused = _ALLOWED.split(), _REFUSED.split()
    assert len(allowed) == len(set(allowed))
    assert len(refused) == len(set(refused))
    assert not set(allowed) & set(refused)
    named = set(numbers("x86_64")) | set(numbers("aarch64"))
    assert named == {*allowed, *refused, "clone3", "openat2"}
