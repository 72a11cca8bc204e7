"""Many receipts at once: files, and every ``*.json`` below folders, one outcome each.

Folders may be anybody's: links are not followed, only plain files of bounded size are opened, and
nothing is kept but counts, so that 100,000 receipts take the memory of one.
Standard library and ``verify`` only: part of the verifier.
"""

from __future__ import annotations

import multiprocessing
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from casemate.ledger.verify import Unproven, Verifying

LARGEST = 16 * 1024 * 1024
"""Bytes of the largest receipt that is read. One of a long answer takes some ten thousand."""

SUFFIX = ".json"
_ENOUGH = 2_000  # receipts, half a second of work: from here, starting processes pays
_SHARE = 100  # receipts that a process takes at a time


@dataclass(frozen=True)
class Outcome:
    """What became of one file. ``part`` and ``reason``: what failed; None where it is proven.

    part: as in ``Unproven``, or "file" for what could not be read at all.
    """

    path: Path
    part: str | None = None
    reason: str | None = None


def check(
    paths: Iterable[Path], verifying: Verifying, processes: int | None = None
) -> Iterator[Outcome]:
    """Check every receipt at or below ``paths``, in the order in which the folders give them.

    A file that is named is checked whatever its name is. What cannot be read is an outcome too:
    a folder that hides something is not proven. processes: how many share the work once there is
    enough of it; None for one on each processor that this process may use.
    """
    found = _receipts(paths)
    first = list(islice(found, _ENOUGH))
    workers = _processors() if processes is None else processes
    if len(first) < _ENOUGH or workers == 1:
        yield from (_outcome(one, verifying) for one in chain(first, found))
        return
    with multiprocessing.Pool(workers, _begin, (verifying,)) as pool:
        yield from pool.imap(_work, chain(first, found), _SHARE)


def count(paths: Iterable[Path]) -> int:
    """How many outcomes ``check`` will give; what changes meanwhile is not foreseen."""
    return sum(1 for _ in _receipts(paths))


def read(path: Path) -> bytes:
    """The bytes of a plain file. Raises Unproven("file") if it is none or above ``LARGEST``.

    Raises OSError if it cannot be opened or read.
    """
    # not blocking: opening a named pipe would otherwise wait for somebody to write into it
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(handle, "rb", buffering=0) as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise Unproven("file", "it is no plain file")
        # what is read is what room is made for: ask for the size, and look whether there is more
        content = file.read(min(state.st_size, LARGEST) + 1)
        if len(content) > state.st_size:
            content += file.read(LARGEST + 1 - len(content))
    if len(content) > LARGEST:
        raise Unproven("file", f"it is larger than {LARGEST:,} bytes")
    return content


def _outcome(found: Path | Outcome, verifying: Verifying) -> Outcome:
    if isinstance(found, Outcome):
        return found
    try:
        verifying.check(read(found))
    except Unproven as problem:
        return Outcome(found, problem.part, problem.reason)
    except OSError as problem:
        return Outcome(found, "file", _unread(problem))
    return Outcome(found)


_keys: list[Verifying] = []  # of a worker: a pool gives its workers nothing else to keep


def _begin(verifying: Verifying) -> None:
    _keys[:] = [verifying]


def _work(found: Path | Outcome) -> Outcome:
    return _outcome(found, _keys[0])


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not everywhere
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _receipts(paths: Iterable[Path]) -> Iterator[Path | Outcome]:
    for path in paths:
        if path.is_dir():
            yield from _below(path)
        else:
            yield path


def _below(folder: Path) -> Iterator[Path | Outcome]:
    waiting = [folder]
    while waiting:
        at = waiting.pop()
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif entry.is_symlink():
                        if entry.name.endswith(SUFFIX) or entry.is_dir():
                            yield Outcome(Path(entry.path), "file", "it is a link: not followed")
                    elif entry.name.endswith(SUFFIX):
                        yield Path(entry.path)
        except OSError as problem:
            yield Outcome(at, "file", _unread(problem))


def _unread(problem: OSError) -> str:
    return f"it cannot be read: {problem.strerror}"
