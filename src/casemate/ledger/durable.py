"""Files that are either wholly there or not there, even when the power fails.

Each file is written under another name, synced, and renamed; then its folder is synced, because
a rename is not durable without it. Every function raises OSError as the system gave it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TEMPORARY = ".tmp"
_AT_ONCE = 4  # syncs under way together, which a journal makes durable in one go


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees all of it or what was there before.

    The folder must exist; sync it afterwards.
    """
    unnamed = temporary(path)
    try:
        descriptor = _written(unnamed, content)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(unnamed, path)
    except OSError:
        remove_files([unnamed])
        raise


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    _sync(path, os.O_RDONLY | os.O_NOFOLLOW)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


class DurableFolder:
    """A folder into which files are written durably, with the folders between."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._settled: set[Path] = set()
        self._syncing = ThreadPoolExecutor(_AT_ONCE, "sync")

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files (path relative to the folder, content); all are durable on return."""
        paths = {self._root / name: content for name, content in files.items()}
        folders = self._make_folders(paths)
        temporaries = [temporary(path) for path in paths]
        try:
            # A file's content is durable before its name: a name never leads to half a file.
            self._write_content(zip(temporaries, paths.values(), strict=True))
            for unnamed, path in zip(temporaries, paths, strict=True):
                os.replace(unnamed, path)
        except OSError:
            remove_files(temporaries)
            raise
        self._together(sync_folder, sorted(folders))
        if len(self._settled) > 1024:  # forgetting costs a few syncs, remembering all costs memory
            self._settled.clear()
        self._settled |= folders

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, and their folders where nothing is left; what cannot be removed stays."""
        paths = [self._root / name for name in names]
        remove_files(paths)
        for parent in {path.parent for path in paths}:
            self._settled.discard(parent)
            with contextlib.suppress(OSError):
                parent.rmdir()

    def discard(self, names: Iterable[str]) -> None:
        """As ``remove``, and what was removed does not come back after a power failure."""
        names = list(names)
        paths = [self._root / name for name in names]
        remove_files(paths)
        folders = {path.parent for path in paths if path.parent.is_dir()}
        # Before the folders go: one that came back would bring its files with it.
        self._together(sync_folder, sorted(folders))
        self.remove(names)

    def close(self) -> None:
        """End the threads that sync; nothing can be written afterwards."""
        self._syncing.shutdown()

    def _make_folders(self, paths: Iterable[Path]) -> set[Path]:
        """The folders whose names must be durable for ``paths`` to be found."""
        folders: set[Path] = set()
        for path in paths:
            if path.parent not in self._settled:
                # Any folder on the way may be new, or left by an attempt that failed before it
                # was synced: the name of each lives in the one above.
                folders.update(up for up in path.parents if up.is_relative_to(self._root))
                path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
        return folders

    def _write_content(self, files: Iterable[tuple[Path, bytes]]) -> None:
        descriptors: list[int] = []
        try:
            for path, content in files:
                descriptors.append(_written(path, content))
            self._together(os.fsync, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _together(self, sync: Callable[[T], None], targets: Sequence[T]) -> None:
        """Sync all of them, and raise what went wrong only when none is under way any more."""
        if len(targets) == 1:
            sync(targets[0])
            return
        under_way = [self._syncing.submit(sync, target) for target in targets]
        wait(under_way)
        for done in under_way:
            done.result()


def remove_files(paths: Iterable[Path]) -> None:
    """Remove files that nobody needs any more; what cannot be removed stays."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary(path: Path) -> Path:
    """The name under which a file is written before it is named ``path``."""
    return path.with_name(f".{path.name}{TEMPORARY}")


def _written(path: Path, content: bytes) -> int:
    """Write a file that may not be there yet; the open descriptor, to sync and close."""
    descriptor = os.open(
        path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
    )
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
