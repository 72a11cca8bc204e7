"""Isolation of a process that runs what is not trusted: five layers, taken on once and for good.

Each layer closes ways out by itself, and most ways are closed by two, so that one that a kernel
does not give leaves no hole alone. The order inside ``isolate`` is fixed by the kernel: the
descriptors and the environment first (they need /proc), then the network (user and group are
mapped while /proc/self still belongs to the account), then the limits, no new privileges, the
files, the capabilities, and last the system calls, which refuse all of the former.

The order in the process: ``isolate`` is its first act, before anything is imported but the
standard library, and before any thread is started, since most layers hold for the calling thread
and for those it starts. Modules, shared libraries and the model are loaded afterwards, through
the paths in ``Wants.read``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from casemate.isolation import landlock, limits, namespace, privileges, seccomp
from casemate.isolation.kernel import Call, Missing, call, threads

LAYERS = ("network", "files", "syscalls", "limits", "privileges")

# These hold for one thread and those that it starts; the others for the process.
_OF_THREADS = ("network", "files", "privileges")


@dataclass(frozen=True)
class Wants:
    """What a process keeps. A path that does not exist when isolation begins is not given later.

    read: files and folders it may read. Its own shared libraries need no more than that.
    execute: files it may also start; of no use while system calls are filtered.
    write: folders in which it may make and remove sockets and (empty) files, or single files.
    memory_bytes: address space, None for as much as there is.
    keep: descriptors that stay open. A file among them cannot grow any more; a pipe can be
    written to.
    processes: most processes and threads of the account, None to leave that. 0 for a process
    without threads; the filter of system calls refuses processes in any case.
    dies_with_parent: ends when the *thread* that started it ends. Start the process from a
    thread that lives as long as it should, or set False and end with the pipe to the parent.
    """

    read: tuple[str, ...]
    execute: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    memory_bytes: int | None = None
    open_files: int = 256
    keep: tuple[int, ...] = (0, 1, 2)
    processes: int | None = None
    dies_with_parent: bool = True


@dataclass(frozen=True)
class Isolation:
    """What was achieved. layers: those in force; missing: the others, each with the reason."""

    layers: tuple[str, ...]
    missing: dict[str, str]


def isolate(wants: Wants, kernel: Call = call) -> Isolation:
    """Give up all but ``wants``, in this process and for good. Call it once.

    Never raises for a layer that the kernel does not give: that one is in ``missing``, and
    whoever relies on it decides. Also empties the environment.
    """
    parent = os.getppid()
    missing: dict[str, str] = {}

    def attempt(layer: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Missing as reason:
            missing.setdefault(layer, str(reason))

    attempt("limits", lambda: limits.close_others(wants.keep))
    limits.clear_environment()
    running = threads()
    if running > 1:
        for layer in _OF_THREADS:
            missing[layer] = f"the process already ran {running} threads, and not all are inside"
    attempt("network", lambda: namespace.leave_network(kernel))
    attempt("limits", lambda: _limit(wants))
    attempt("privileges", lambda: privileges.gain_none(kernel))
    attempt("files", lambda: _reach_only(wants, kernel))
    attempt("privileges", lambda: privileges.drop_all((*wants.read, *wants.execute), kernel))
    if wants.dies_with_parent:
        attempt("privileges", lambda: privileges.die_with_parent(parent, kernel))
    attempt("syscalls", lambda: seccomp.allow_only(kernel))
    return Isolation(tuple(layer for layer in LAYERS if layer not in missing), missing)


def _limit(wants: Wants) -> None:
    limits.limit(
        open_files=wants.open_files, memory_bytes=wants.memory_bytes, processes=wants.processes
    )


def _reach_only(wants: Wants, kernel: Call) -> None:
    landlock.reach_only(read=wants.read, execute=wants.execute, write=wants.write, kernel=kernel)
