"""A log's files in a folder, with a journal before them: a batch costs one sync and not five.

A batch is durable, and released, once it stands in a journal. Its files get their names a moment
later, several batches at once, durably as in any folder; then its journal is used again. There are
two journals: one is written to while what the other holds is put in its place. What a crash leaves
in them is put in its place by the next start. See docs/explanation/ledger-durability.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from casemate.errors import CasemateError, Tampered
from casemate.ledger import journal
from casemate.ledger.durable import remove_files, sync_folder, temporary
from casemate.ledger.folder_shelf import FolderShelf, unavailable
from casemate.ledger.journal import Journal, Piece, Record
from casemate.ledger.shelf import CHECKPOINT, RESTORE, SECOND_WRITER, STOP_OTHERS

PATIENCE = 8
"""Batches that go straight to their place before there are journals: a command has one or two."""

_SETTLE_SECONDS = 1.0  # after which what is in a journal is put in its place, at most
_NAMES = ("journal-0", "journal-1")

_Identity = tuple[int, int, int] | None


@dataclass
class _Batches:
    """What one journal holds: files of one batch or more, and the checkpoints around them."""

    standing: bytes
    checkpoint: bytes
    files: dict[str, bytes] = field(default_factory=dict)
    outgrown: list[str] = field(default_factory=list)
    tried: bool = False

    @property
    def waiting(self) -> bool:
        """Whether there is anything to put in its place: a checkpoint alone, if keys changed."""
        return self.checkpoint != self.standing


class JournalShelf:
    """See Shelf. Whoever opens the folder sees to it that one process does.

    patience: batches that go straight to their place, at the start and after the disk refused.
    """

    def __init__(self, folder: Path, patience: int = PATIENCE) -> None:
        self._folder = folder
        self._place = FolderShelf(folder)
        self._patience = self._direct = patience
        self._journals: list[Journal] = []  # the one that is written to is the last
        self._held = _Batches(b"", b"")
        self._moving: _Batches | None = None
        self._newest: dict[str, tuple[str, bytes]] = {}  # of each tile the widest partial version
        self._identity: _Identity = None
        self._in_doubt: Journal | FolderShelf | None = None  # what a commit that raised was about
        self._problem: Tampered | None = None
        self._closing = False
        self._settling = threading.Lock()  # around whatever is put in its place
        self._more = threading.Condition()  # around what is held
        self._thread: threading.Thread | None = None

    def claim(self) -> bytes | None:
        """See Shelf. What the journals hold is put in its place."""
        paths = [self._folder / name for name in _NAMES]
        try:
            records = [record for path in paths for record in journal.read(path)]
            if records and not (self._folder / CHECKPOINT).exists():
                raise Tampered("checkpoint is missing from the ledger.", RESTORE)
            standing = self._place.claim()
            if standing is None:
                return None
            files, newest = self._replayed(records, standing)
            if newest != standing:
                self._place.commit(files, standing, newest)
            remove_files([*paths, *map(temporary, paths)])
        except OSError as error:
            raise unavailable(error) from error
        self._held = _Batches(newest, newest)
        return newest

    def commit(self, files: Mapping[str, bytes], standing: bytes | None, checkpoint: bytes) -> None:
        """See Shelf."""
        if self._problem is not None:
            raise self._problem
        self._in_doubt = None
        if standing is None or not (self._journals or self._begin(standing)):
            self._commit_directly(files, standing, checkpoint)
            return
        pieces = tuple(self._piece(name, content) for name, content in files.items())
        record = Record(_digest(standing), pieces, checkpoint).encode()
        if len(record) > self._journals[-1].room:
            self.settle()
        if len(record) > self._journals[-1].room:
            self._commit_directly(files, standing, checkpoint)
            return
        with self._more:
            self._require_alone(standing)
            begun = self._in_doubt = self._journals[-1]
            try:
                begun.append(record)
            except OSError as error:
                raise unavailable(error) from error
            self._in_doubt = None
            first = not self._held.waiting
            self._hold(files, checkpoint)
            if first or self._pressing:
                self._more.notify_all()

    def standing_checkpoint(self) -> bytes:
        """See Shelf. A batch that is in doubt is taken out of the journal."""
        if self._in_doubt is self._place:
            standing = self._place.standing_checkpoint()
            self._held = _Batches(standing, standing)
        elif self._in_doubt is not None:
            self.settle()
            try:
                self._end_journals()
                # It must not come back after a power failure, when others have taken its place.
                sync_folder(self._folder)
            except OSError as error:
                raise unavailable(error) from error
            self._in_doubt = None
        return self._held.checkpoint

    def confirm(self, checkpoint: bytes) -> None:
        """See Shelf."""
        self._place.confirm(checkpoint)
        with self._more:
            self._identity = self._seen()
        self._in_doubt = None

    def settle(self) -> None:
        """See Shelf."""
        with self._settling:
            self._move()
            with self._more:
                if not self._held.waiting:
                    return
                self._moving = self._held
                self._held = _Batches(self._moving.checkpoint, self._moving.checkpoint)
                self._journals.reverse()
                self._journals[-1].restart()
            self._move()

    def read(self, name: str) -> bytes | None:
        """See Shelf. The checkpoint is the one in its place; the writer knows which stands."""
        # In this order: what is held is moving before it is held no more, and in its place then.
        for batches in (self._held, self._moving):
            if batches is not None and (content := batches.files.get(name)) is not None:
                return content
        return self._place.read(name)

    def names(self, below: str = "tile/") -> Iterator[str]:
        """See Shelf."""
        moving = () if self._moving is None else tuple(self._moving.files)
        held = {name for name in (*self._held.files, *moving) if name.startswith(below)}
        for name in self._place.names(below):
            held.discard(name)
            yield name
        yield from held

    def remove(self, names: Iterable[str]) -> None:
        """See Shelf."""
        self._place.remove(names)

    def outgrow(self, full: str) -> None:
        """See Shelf. A journal may build on them until the full one is in its place."""
        with self._more:
            for batches in (self._held, self._moving):
                if batches is not None and full in batches.files:
                    batches.outgrown.append(full)
                    return
        self._place.outgrow(full)

    def discard(self, names: Iterable[str]) -> None:
        """See Shelf."""
        self._place.discard(names)

    def close(self) -> None:
        """See Shelf. What the journals hold is put in its place, if the disk takes it."""
        with self._more:
            closed, self._closing = self._closing, True
            self._more.notify_all()
        if closed:  # somebody else may write here by now
            return
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(CasemateError, OSError):  # the next start does
            if self._in_doubt is None:
                self.settle()
                self._end_journals()
        for one in self._journals:
            one.close()
        self._place.close()

    # Writing

    def _begin(self, standing: bytes) -> bool:
        """Whether there are journals, made now if it is time for them.

        Raises Tampered if somebody else writes here.
        """
        if self._direct > 0:
            self._direct -= 1
            return False
        self._identity = self._seen()
        self._require_untouched(standing)
        try:
            for name in _NAMES:
                self._journals.append(Journal(self._folder / name))
            sync_folder(self._folder)
        except OSError:  # no room, for instance: then as before, and it is tried again
            with contextlib.suppress(OSError):  # nothing is in them
                self._end_journals()
            self._journals = []
            self._direct = self._patience
            return False
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="settling", daemon=True)
            self._thread.start()
        return True

    def _end_journals(self) -> None:
        """Remove the journals. Raises OSError while one of them stays."""
        for one in self._journals:
            one.remove()
        self._journals = []
        self._direct = self._patience

    def _commit_directly(
        self, files: Mapping[str, bytes], standing: bytes | None, checkpoint: bytes
    ) -> None:
        self._in_doubt = self._place
        self._place.commit(files, standing, checkpoint)
        self._in_doubt = None
        with self._more:
            self._identity = self._seen()
            self._held = _Batches(checkpoint, checkpoint)
            for name, content in files.items():
                self._remember(name, content)

    def _require_untouched(self, standing: bytes) -> None:
        """Raise Tampered if others wrote here while there were no journals of this writer's."""
        size = Record(b"", (), standing).size
        try:
            records = [one for name in _NAMES for one in journal.read(self._folder / name)]
        except OSError as error:
            raise unavailable(error) from error
        if self._place.read(CHECKPOINT) != standing or any(one.size > size for one in records):
            raise Tampered(SECOND_WRITER, STOP_OTHERS)

    def _require_alone(self, standing: bytes | None) -> None:
        """Raise Tampered if somebody else writes here: going on would make two histories."""
        alone = self._held.checkpoint == standing and self._journals[-1].ours
        # While files are moved the checkpoint changes, and whoever moves them compares it.
        if not alone or (self._moving is None and self._seen() != self._identity):
            raise Tampered(SECOND_WRITER, STOP_OTHERS)

    def _seen(self) -> _Identity:
        try:
            found = os.stat(self._folder / CHECKPOINT, follow_symlinks=False)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _piece(self, name: str, content: bytes) -> Piece:
        """A file as it is recorded: of a tile that grew, what is new."""
        of, begun = self._newest.get(_tile(name), ("", b""))
        if begun and content.startswith(begun):
            return Piece(name, of, len(begun), content[len(begun) :])
        return Piece(name, "", 0, content)

    def _hold(self, files: Mapping[str, bytes], checkpoint: bytes) -> None:
        held = self._held
        held.checkpoint = checkpoint
        for name, content in files.items():
            narrower, _ = self._newest.get(_tile(name), ("", b""))
            held.files[name] = content
            held.files.pop(narrower, None)
            self._remember(name, content)

    def _remember(self, name: str, content: bytes) -> None:
        """Remember what the next version of a tile will begin with."""
        tile = _tile(name)
        if tile == name:
            self._newest.pop(tile, None)
        else:
            self._newest[tile] = name, content

    # Putting in place

    def _move(self) -> None:
        """Put in its place what is moving. Raises Unavailable, to be tried again; Tampered."""
        moving = self._moving
        if moving is None:
            return
        try:
            again, moving.tried = moving.tried, True
            now = self._place.standing_checkpoint() if again else moving.standing
            if now == moving.checkpoint:
                self._place.confirm(now)
            else:
                self._place.commit(moving.files, moving.standing, moving.checkpoint)
        except Tampered as problem:
            self._problem = problem
            raise
        with self._more:
            self._identity = self._seen()
            self._moving = None
        for full in moving.outgrown:  # to which nothing is added from here on
            self._place.outgrow(full)

    def _run(self) -> None:
        while self._wait():
            try:
                self.settle()
            except Tampered:
                return
            except CasemateError:
                with self._more:
                    self._more.wait(_SETTLE_SECONDS)

    def _wait(self) -> bool:
        """Wait until something is to be put in its place; False once it is closed."""
        with self._more:
            self._more.wait_for(lambda: self._held.waiting or self._moving or self._closing)
            self._more.wait_for(lambda: self._moving or self._pressing, _SETTLE_SECONDS)
            return not self._closing

    @property
    def _pressing(self) -> bool:
        """Whether what is held should be put in its place without waiting for more."""
        full = bool(self._journals) and self._journals[-1].room < journal.ROOM // 2
        return self._closing or full

    # Starting

    def _replayed(
        self, records: Iterable[Record], standing: bytes
    ) -> tuple[dict[str, bytes], bytes]:
        """The files and the checkpoint to which the records lead from the ``standing`` one."""
        # Keys that were added and given up lead back to the same checkpoint: the way on counts.
        by_size = sorted(records, key=lambda record: record.size)
        following = {record.follows: record for record in by_size}
        files: dict[str, bytes] = {}
        newest, size = standing, Record(b"", (), standing).size
        while (record := following.pop(_digest(newest), None)) is not None:
            for piece in record.pieces:
                files[piece.name] = self._whole(piece, files)
                files.pop(piece.of, None)
            newest, size = record.checkpoint, record.size
        if any(record.size > size for record in following.values()):
            raise Tampered("The journal of the ledger lacks a batch.", RESTORE)
        return files, newest

    def _whole(self, piece: Piece, files: Mapping[str, bytes]) -> bytes:
        begun = b""
        if piece.of:
            begun = files.get(piece.of) or self._place.read(piece.of) or b""
        if len(begun) < piece.kept:
            raise Tampered(f"{piece.of} is missing from the ledger.", RESTORE)
        return begun[: piece.kept] + piece.content


def _tile(name: str) -> str:
    """The name of a tile at its full width."""
    return name.partition(".p/")[0]


def _digest(checkpoint: bytes) -> bytes:
    return hashlib.sha256(checkpoint).digest()
