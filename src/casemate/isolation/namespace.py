"""A network of its own, and therefore none: namespaces that hold nothing.

A new network namespace has only a loopback interface, and that is down: no address can be
reached, not even 127.0.0.1, nor any abstract Unix socket of the outside. With it go System V IPC
and the host name. root makes the namespaces directly; an ordinary user makes them inside a new
user namespace, in which user and group keep their numbers, so that files stay as readable as
before. Once all capabilities are dropped there is no way back.

There is no new process namespace: it would only hold children, which are refused anyway, and a
process that has asked for one can no longer start threads.

Source: unshare(2), network_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import os
from errno import EINVAL, ENOSPC, ENOSYS, EPERM, EUSERS

from casemate.isolation.kernel import Call, Missing, call

_NEW_UTS = 0x04000000
_NEW_IPC = 0x08000000
_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000

# The most first; a kernel built without IPC namespaces still gives the network.
_WAYS = (
    _NEW_NETWORK | _NEW_IPC | _NEW_UTS,
    _NEW_NETWORK,
    _NEW_USER | _NEW_NETWORK | _NEW_IPC | _NEW_UTS,
    _NEW_USER | _NEW_NETWORK,
)


def leave_network(kernel: Call = call) -> None:
    """Move this thread, and threads that it starts, into an empty network for good.

    Raises Missing if the kernel refuses.
    """
    user, group = os.geteuid(), os.getegid()
    refusal: OSError | None = None
    for way in _WAYS:
        try:
            kernel("unshare", way)
        except OSError as error:
            refusal = error
            continue
        if way & _NEW_USER:
            _keep_owner(user, group)
        return
    raise Missing(_reason(refusal)) from refusal


def _keep_owner(user: int, group: int) -> None:
    """Map user and group to themselves: files this process makes still have an owner."""
    for file, text in (
        ("setgroups", "deny"),  # the kernel wants this before an ordinary user maps a group
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        try:
            with open(f"/proc/self/{file}", "w") as opened:
                opened.write(text)
        except OSError:
            # Reading goes on as before, since the kernel compares the real numbers; only making
            # files would fail, and the network is left in any case.
            continue


def _reason(error: OSError | None) -> str:
    number = error.errno if error else None
    if number == EPERM:
        return (
            "the kernel forbids this account a network namespace (a container's rules, AppArmor, "
            "or unprivileged user namespaces being switched off)"
        )
    if number in (ENOSPC, EUSERS):
        return "no more namespaces are allowed here (user.max_net_namespaces)"
    if number in (ENOSYS, EINVAL):
        return "this kernel has no network namespaces, or none for a process with threads"
    return f"the kernel refused a network namespace ({error.strerror if error else 'no reason'})"
