"""Files that are either wholly there or not there, even when the power fails.

Each file is written under another name, synced, and renamed; then its folder is synced, because
a rename is not durable without it. Every function raises OSError as the system gave it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

TEMPORARY = ".tmp"


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader sees all of it or what was there before.

    The folder must exist; sync it afterwards.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
        )
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except OSError:
        remove_files([temporary])
        raise


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DurableFolder:
    """A folder into which files are written durably, with the folders between."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._settled: set[Path] = set()

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files (path relative to the folder, content); all are durable on return."""
        folders: set[Path] = set()
        for name, content in files.items():
            path = self._root / name
            if path.parent not in self._settled:
                # Any folder on the way may be new, or left by an attempt that failed before it
                # was synced: the name of each lives in the one above.
                folders.update(up for up in path.parents if up.is_relative_to(self._root))
                path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
            replace_file(path, content)
        for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
            sync_folder(folder)
        if len(self._settled) > 1024:  # forgetting costs a few syncs, remembering all costs memory
            self._settled.clear()
        self._settled |= folders


def remove_files(paths: Iterable[Path]) -> None:
    """Remove files that nobody needs any more; what cannot be removed stays."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()
