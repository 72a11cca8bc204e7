"""A disk that may lose power: calls go through and are noted, and what a cut may leave is built.

POSIX promises little, and this takes it at its word: what was written is there for good when its
file was synced, a name when its folder was. Until then each write and each change of a name may be
there after a cut or not, whatever their order, and a write may be torn between sectors. What a sync
of a file that failed was about is made durable by no later one.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

SECTOR = 512
FOLDER = -1  # where a name leads that leads to no file

Call = tuple[Any, ...]
"""What was done: its name, then what it was done to. Files are numbers, folders are paths."""

Write = tuple[int, bytes] | None
"""Bytes at a place, or None: cut to nothing."""


class Disk:
    """Notes in ``calls`` what this process does to files below ``root`` while it is entered.

    fails: asked at each call that may be refused, by its name.
    """

    def __init__(
        self, root: Path, chance: random.Random, fails: Callable[[str], bool] = lambda call: False
    ) -> None:
        self.calls: list[Call] = []
        self.fails = fails
        self.failed = 0
        self._root = f"{root}/"
        self._chance = chance
        self._lock = threading.RLock()  # one call after the other, so that their order is known
        self._opened: dict[int, int | str] = {}  # descriptor → file, or path of a folder
        self._ends: dict[int, int] = {}  # descriptor → where the next write goes
        self._files: dict[str, int] = {}
        self._count = 0
        self._real: dict[str, Callable[..., Any]] = {}
        for parent, folders, names in os.walk(root):
            self.calls += [("had_folder", parent, name) for name in folders]
            for name in names:
                content = Path(parent, name).read_bytes()
                self.calls.append(("had", parent, name, self._new(f"{parent}/{name}"), content))
        self.begun = len(self.calls)

    def __enter__(self) -> Self:
        followed: dict[str, Callable[..., Any]] = {
            "open": self._open,
            "close": self._close,
            "write": self._write,
            "pwrite": self._pwrite,
            "fsync": self._sync,
            "fdatasync": self._sync,
            "replace": self._replace,
            "unlink": self._unlink,
            "mkdir": self._mkdir,
            "rmdir": self._rmdir,
        }
        for name, ours in followed.items():
            self._real[name] = getattr(os, name)
            setattr(os, name, self._following(self._real[name], ours))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def say(self, *what: object) -> None:
        """Note what is known from here on."""
        with self._lock:
            self.calls.append(("said", *what))

    def _following(self, real: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            plain = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in given]
            with self._lock:
                of = plain[0]
                mine = of in self._opened if isinstance(of, int) else self._within(of)
                return (ours if mine else real)(*plain, **named)

        return call

    def _within(self, path: str) -> bool:
        return f"{path}/".startswith(self._root)

    def _new(self, path: str) -> int:
        self._count += 1
        self._files[path] = self._count
        return self._count

    def _may_fail(self, call: str) -> None:
        if self.fails(call):
            self.failed += 1
            code = self._chance.choice((errno.EIO, errno.ENOSPC))
            raise OSError(code, os.strerror(code))

    def _open(self, path: str, flags: int, mode: int = 0o777) -> int:
        fresh = bool(flags & os.O_CREAT) and path not in self._files
        if fresh:
            self._may_fail("open")
        descriptor: int = self._real["open"](path, flags, mode)
        if flags & os.O_DIRECTORY:
            self._opened[descriptor] = path
            return descriptor
        if fresh:
            self.calls.append(("named", *os.path.split(path), self._new(path)))
        elif flags & os.O_TRUNC:
            self.calls.append(("wrote", self._files[path], None))
        self._opened[descriptor], self._ends[descriptor] = self._files[path], 0
        return descriptor

    def _close(self, descriptor: int) -> None:
        del self._opened[descriptor]
        self._real["close"](descriptor)

    def _write(self, descriptor: int, content: bytes) -> int:
        self._may_fail("write")
        place = self._ends[descriptor]
        written: int = self._real["write"](descriptor, content)
        self.calls.append(("wrote", self._opened[descriptor], (place, bytes(content[:written]))))
        self._ends[descriptor] += written
        return written

    def _pwrite(self, descriptor: int, content: bytes, place: int) -> int:
        part = content
        if self._chance.random() < 0.1:  # as a signal may cut it
            part = content[: self._chance.randint(1, len(content))]
        written: int = self._real["pwrite"](descriptor, part, place)
        self.calls.append(("wrote", self._opened[descriptor], (place, bytes(part[:written]))))
        self._may_fail("pwrite")
        return written

    def _sync(self, descriptor: int) -> None:
        what = self._opened[descriptor]
        try:
            self._may_fail("sync")
        except OSError:
            self.calls.append(("gave_up", what))
            raise
        self.calls.append(("synced", what))

    def _replace(self, old: str, new: str) -> None:
        self._may_fail("replace")
        self._real["replace"](old, new)
        self._files[new] = self._files.pop(old)
        folder, name = os.path.split(old)
        self.calls.append(("renamed", folder, name, os.path.basename(new), self._files[new]))

    def _unlink(self, path: str) -> None:
        if path in self._files:
            self._may_fail("unlink")
        self._real["unlink"](path)
        del self._files[path]
        self.calls.append(("removed", *os.path.split(path)))

    def _mkdir(self, path: str, mode: int = 0o777) -> None:
        self._real["mkdir"](path, mode)
        self.calls.append(("named", *os.path.split(path), FOLDER))

    def _rmdir(self, path: str) -> None:
        self._real["rmdir"](path)
        self.calls.append(("removed", *os.path.split(path)))


@dataclass
class _File:
    durable: bytes = b""
    lost: list[Write] = field(default_factory=list)  # of a sync that failed: there, or not
    pending: list[Write] = field(default_factory=list)


@dataclass
class _Folder:
    durable: dict[str, int] = field(default_factory=dict)
    pending: list[tuple[str, str, int]] = field(default_factory=list)  # gone, come, file


class State:
    """What is on the disk after some of the calls, and what may be."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._folders: dict[str, _Folder] = {}

    def take(self, call: Call) -> None:
        """Take in the next call of a ``Disk``."""
        match call:
            case ("had_folder", parent, name):
                self._folder(parent).durable[name] = FOLDER
            case ("had", parent, name, number, content):
                self._folder(parent).durable[name] = number
                self._files[number] = _File(content)
            case ("named", parent, name, number):
                self._folder(parent).pending.append(("", name, number))
                self._files.setdefault(number, _File())
            case ("renamed", parent, old, new, number):
                self._folder(parent).pending.append((old, new, number))
            case ("removed", parent, name):
                self._folder(parent).pending.append((name, "", FOLDER))
            case ("wrote", number, write):
                self._files[number].pending.append(write)
            case ("synced", str(path)):
                folder = self._folder(path)
                folder.durable, folder.pending = _named(folder.durable, folder.pending), []
            case ("synced", number):
                file = self._files[number]
                file.durable, file.pending = _written(file.durable, file.pending), []
            case ("gave_up", int(number)):
                file = self._files[number]
                file.lost += file.pending
                file.pending = []

    def build(self, root: Path, target: Path, kept: float, chance: random.Random) -> None:
        """Make ``target`` as ``root`` may look after a cut now.

        kept: how likely each thing that was not synced is there.
        """
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        folder = self._folder(str(root))
        changes = [one for one in folder.pending if chance.random() < kept]
        for name, number in _named(folder.durable, changes).items():
            if number == FOLDER:
                self.build(root / name, target / name, kept, chance)
            else:
                (target / name).write_bytes(self._left(self._files[number], kept, chance))

    def _folder(self, path: str) -> _Folder:
        return self._folders.setdefault(path, _Folder())

    def _left(self, file: _File, kept: float, chance: random.Random) -> bytes:
        left: list[Write] = []
        for write in (*file.lost, *file.pending):
            if chance.random() < kept:
                left.append(write)
            elif write is not None and chance.random() < 0.3:
                place, content = write
                left += [
                    (place + start, content[start : start + SECTOR])
                    for start in range(0, len(content), SECTOR)
                    if chance.random() < 0.5
                ]
        return _written(file.durable, left)


def _written(content: bytes, writes: Sequence[Write]) -> bytes:
    if not writes:
        return content
    found = bytearray(content)
    for write in writes:
        if write is None:
            found.clear()
        else:
            place, new = write
            found += bytes(max(0, place - len(found)))
            found[place : place + len(new)] = new
    return bytes(found)


def _named(names: dict[str, int], changes: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    found = dict(names)
    for gone, come, number in changes:
        found.pop(gone, None)
        if come:
            found[come] = number
    return found
