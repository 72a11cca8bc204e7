"""Layers that a kernel does not give, with a kernel that only pretends."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from casemate.isolation import landlock, namespace, privileges
from casemate.isolation.kernel import Missing, call


def refusing(number: int) -> Callable[..., int]:
    def kernel(name: str, *arguments: object) -> int:
        raise OSError(number, os.strerror(number), name)

    return kernel


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EPERM, "forbids this account"),
        (errno.ENOSPC, "user.max_net_namespaces"),
        (errno.EUSERS, "user.max_net_namespaces"),
        (errno.EINVAL, "has no network namespaces"),
        (errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_refused_network_namespace_is_missing_with_the_reason(number: int, reason: str) -> None:
    with pytest.raises(Missing, match=reason):
        namespace.leave_network(refusing(number))


def test_a_user_namespace_is_asked_for_only_after_the_direct_way() -> None:
    asked: list[int] = []

    def kernel(name: str, flags: int) -> int:
        asked.append(flags)
        raise PermissionError(errno.EPERM, "no")

    with pytest.raises(Missing):
        namespace.leave_network(kernel)
    of_users = [bool(flags & 0x10000000) for flags in asked]
    assert of_users == sorted(of_users)
    assert set(of_users) == {False, True}
    assert all(flags & 0x40000000 for flags in asked)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSYS, "Linux 5.13"),
        (errno.EOPNOTSUPP, "switched off"),
        (errno.EPERM, "Operation not permitted"),
    ],
)
def test_a_kernel_without_landlock_is_missing_with_the_reason(number: int, reason: str) -> None:
    with pytest.raises(Missing, match=reason):
        landlock.reach_only(read=("/",), execute=(), write=(), kernel=refusing(number))


class Recorder:
    """A kernel with some version of Landlock; notes what it is told."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.attributes: tuple[int, ...] = ()
        self.rules: list[tuple[int, bool]] = []
        self.restricted = False

    def __call__(self, name: str, *arguments: object) -> int:
        if name == "landlock_create_ruleset":
            told = arguments[0]
            if told is None:
                return self.version
            assert isinstance(told, bytes)
            self.attributes = struct.unpack(f"={len(told) // 8}Q", told)
            return os.open(os.devnull, os.O_RDONLY)
        if name == "landlock_add_rule":
            rule = arguments[2]
            assert isinstance(rule, bytes)
            rights, opened = struct.unpack("=Qi", rule)
            self.rules.append((rights, stat.S_ISDIR(os.fstat(opened).st_mode)))
            return 0
        assert name == "landlock_restrict_self"
        self.restricted = True
        return 0


@pytest.mark.parametrize(
    ("version", "attributes"),
    [
        (1, (0x1FFF,)),
        (2, (0x3FFF,)),
        (3, (0x7FFF,)),
        (4, (0x7FFF, 3)),
        (5, (0xFFFF, 3)),
        (6, (0xFFFF, 3, 3)),
        (7, (0xFFFF, 3, 3)),
        (9, (0xFFFF, 3, 3)),
    ],
)
def test_everything_that_a_version_can_refuse_is_refused(
    version: int, attributes: tuple[int, ...]
) -> None:
    kernel = Recorder(version)
    landlock.reach_only(read=(), execute=(), write=(), kernel=kernel)
    assert kernel.attributes == attributes
    assert kernel.restricted


@pytest.mark.parametrize("version", [1, 2, 3, 7])
def test_no_rule_gives_more_than_the_version_knows_or_than_a_file_can_have(
    version: int, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    both = (str(tmp_path), str(file))
    kernel = Recorder(version)
    landlock.reach_only(read=both, execute=both, write=both, kernel=kernel)
    assert len(kernel.rules) == 6
    for rights, of_folder in kernel.rules:
        assert rights & ~kernel.attributes[0] == 0
        if not of_folder:
            assert rights & ~(0x7 | 1 << 14) == 0
    read, execute, write = (rights for rights, of_folder in kernel.rules if of_folder)
    assert read == 0b1100
    assert execute == 0b1101
    making_folders_links_or_devices = 1 << 6 | 1 << 7 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13
    assert write & (1 | making_folders_links_or_devices) == 0


def test_a_path_that_is_not_there_is_given_to_nobody(tmp_path: Path) -> None:
    kernel = Recorder(7)
    landlock.reach_only(read=(str(tmp_path / "x"),), execute=(), write=(), kernel=kernel)
    assert kernel.rules == []
    assert kernel.restricted


def test_privileges_that_the_kernel_keeps_are_missing_with_the_reason() -> None:
    with pytest.raises(Missing, match="no_new_privs"):
        privileges.gain_none(refusing(errno.EINVAL))
    with pytest.raises(Missing, match="did not keep"):
        privileges.gain_none(lambda name, *arguments: 0)
    with pytest.raises(Missing, match="drop privileges"):
        privileges.drop_all((), refusing(errno.EPERM))
    with pytest.raises(Missing, match="parent-death"):
        privileges.die_with_parent(os.getppid(), refusing(errno.EINVAL))


def test_a_call_that_nobody_knows_is_answered_as_by_an_older_kernel() -> None:
    with pytest.raises(OSError, match="implemented") as refusal:
        call("no_such_call")
    assert refusal.value.errno == errno.ENOSYS
