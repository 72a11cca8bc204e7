"""A log's files in a folder of this machine.

Tiles are written, synced, and named; then the checkpoint is replaced. Why each sync is there:
docs/explanation/ledger-durability.md.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from casemate.errors import Invalid, Tampered, Unavailable
from casemate.ledger.durable import (
    TEMPORARY,
    DurableFolder,
    remove_files,
    replace_file,
    sync_file,
    sync_folder,
)
from casemate.ledger.shelf import CHECKPOINT, RESTORE, SECOND_WRITER, STOP_OTHERS

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FolderShelf:
    """See Shelf. Whoever opens the folder sees to it that one process does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checkpoint = folder / CHECKPOINT
        self._disk = DurableFolder(folder)

    def claim(self) -> bytes | None:
        """See Shelf. Files that were never given their names are removed."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not self._checkpoint.exists():
                self._check_empty()
                return None
            remove_files(self._unnamed())
            # Whoever wrote it may have been killed before it was durable, and from here on others
            # rely on it.
            sync_file(self._checkpoint)
            sync_folder(self._folder)
            return self.standing_checkpoint()
        except OSError as error:
            raise unavailable(error) from error

    def commit(self, files: Mapping[str, bytes], standing: bytes | None, checkpoint: bytes) -> None:
        """See Shelf."""
        # A checkpoint that somebody else replaced means a second writer; signing on top of it
        # would fork the log, the one thing it must never do.
        if self.read(CHECKPOINT) != standing:
            raise Tampered(SECOND_WRITER, STOP_OTHERS)
        try:
            self._disk.write(files)
            replace_file(self._checkpoint, checkpoint)
            # From the rename on other processes may have seen the new checkpoint: if a sync below
            # fails, it stands, and is confirmed before anything is built on it.
            sync_folder(self._folder)
            if standing is None:
                sync_folder(self._folder.parent)
        except OSError as error:
            raise unavailable(error) from error

    def standing_checkpoint(self) -> bytes:
        """See Shelf."""
        raw = self.read(CHECKPOINT)
        if raw is None:
            raise Tampered("checkpoint is missing from the ledger.", RESTORE)
        return raw

    def confirm(self, checkpoint: bytes) -> None:
        """See Shelf. A new file and a new name: pages of a failed sync may pass for clean."""
        if self.standing_checkpoint() != checkpoint:
            raise Tampered(SECOND_WRITER, STOP_OTHERS)
        try:
            replace_file(self._checkpoint, checkpoint)
            sync_folder(self._folder)
        except OSError as error:
            raise unavailable(error) from error

    def read(self, name: str) -> bytes | None:
        """See Shelf."""
        try:
            return (self._folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(
                f"{name} of the ledger cannot be read: {error.strerror}.", "Check the disk."
            ) from error

    def names(self, below: str = "tile/") -> Iterator[str]:
        """See Shelf."""
        for path in self._files(below):
            yield path.relative_to(self._folder).as_posix()

    def settle(self) -> None:
        """See Shelf. Nothing: it lies there when it is committed."""

    def remove(self, names: Iterable[str]) -> None:
        """See Shelf."""
        self._disk.remove(names)

    def outgrow(self, full: str) -> None:
        """See Shelf."""
        self.remove(list(self.names(f"{full}.p/")))

    def discard(self, names: Iterable[str]) -> None:
        """See Shelf."""
        try:
            self._disk.discard(names)
        except OSError as error:
            raise unavailable(error) from error

    def close(self) -> None:
        """See Shelf."""
        self._disk.close()

    def _files(self, below: str) -> Iterator[Path]:
        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # outgrown while we looked
                raise unavailable(error) from error

        for parent, _, files in os.walk(self._folder / below, onerror=refuse):
            for file in files:
                yield Path(parent, file)

    def _unnamed(self) -> list[Path]:
        found = [path for path in self._files("tile") if path.name.endswith(TEMPORARY)]
        return [*found, self._checkpoint.with_name(f".{CHECKPOINT}{TEMPORARY}")]

    def _check_empty(self) -> None:
        strange = {path.name for path in self._folder.iterdir()} - {f".{CHECKPOINT}{TEMPORARY}"}
        if "tile" in strange:
            raise Tampered("checkpoint is missing from the ledger.", RESTORE)
        if strange:
            raise Invalid("The folder is not empty and is no ledger.", "Choose an empty folder.")


def unavailable(error: OSError) -> Unavailable:
    """What to tell whoever waits for an entry that the disk did not take."""
    if error.errno in _NO_ROOM:
        return Unavailable(
            "There is no room left to record in the ledger.",
            "Free space on the disk of the data folder and ask again; nothing was lost.",
        )
    reason = "it is read-only" if error.errno == errno.EROFS else error.strerror or "input/output"
    return Unavailable(
        f"The ledger's disk does not take what must be recorded: {reason}.",
        "Check the disk of the data folder and ask again; nothing was lost.",
    )
