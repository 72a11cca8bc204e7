"""The log: entries go in, nothing comes out, and each is durable before anybody relies on it.

One thread appends, in batches: it writes bundles and tiles, then replaces the signed checkpoint,
and only then tells the callers. What the checkpoint does not count was never released.
Formats: C2SP tlog-tiles v0.1.0, tlog-checkpoint v1.0.0, signed-note v1.0.0, tlog-proof.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from casemate.errors import CasemateError, Invalid, NotFound, Tampered, TooLarge, Unavailable
from casemate.ledger import shelf
from casemate.ledger.audit import audit
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.durable import DurableFolder, remove_files, replace_file, sync_folder
from casemate.ledger.edge import Edge
from casemate.ledger.merkle import MerkleError, consistency_proof, inclusion_proof, root_hash
from casemate.ledger.note import Signer
from casemate.ledger.proof import Proof
from casemate.ledger.tile import FULL, MAX_ENTRY, Tile, TileError

BATCH = 256  # entries in one commit: bounds what a crash can leave beyond the checkpoint
WAITING = 512  # entries that may wait; with 64 KiB each, at most 32 MiB of memory


@dataclass(frozen=True)
class _State:
    """What is released: readers take one of these and never see half a batch."""

    edge: Edge
    checkpoint: bytes


class Log:
    """An append-only log in one folder, with one signing key whose name is its origin.

    One process, one Log per folder. Every method may be called from any thread.
    """

    def __init__(self, folder: Path, signer: Signer, state: _State) -> None:
        self._folder = folder
        self._signer = signer
        self._state = state
        self._disk = DurableFolder(folder)
        self._releasing = threading.Lock()
        self._waiting: deque[tuple[bytes, Future[int]]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._broken: CasemateError | None = None
        self._sequencer = threading.Thread(target=self._sequence, name="ledger", daemon=True)
        self._sequencer.start()

    @classmethod
    def open(cls, folder: Path, signer: Signer) -> Log:
        """Open the log in ``folder``; an empty or missing folder becomes an empty log.

        The checkpoint is the authority: what lies on disk beyond it was never released and is
        removed. Raises Invalid if the log belongs to another key or origin, or the folder holds
        something else; Tampered, naming the file, if it is damaged; Unavailable if the disk
        refuses.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "checkpoint").exists():
                return cls(folder, signer, _State(*shelf.create(folder, signer)))
            raw = shelf.read_file(folder, "checkpoint")
            checkpoint = shelf.open_checkpoint(raw, signer)
            shelf.tidy(folder, checkpoint.size, BATCH)
            edge = shelf.read_edge(folder, checkpoint.size)
        except OSError as error:
            raise shelf.unavailable(error) from error
        if edge.root != checkpoint.root:
            raise Tampered(
                "checkpoint and the hash tiles at the end of the ledger disagree.", shelf.RESTORE
            )
        return cls(folder, signer, _State(edge, raw))

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def vkey(self) -> str:
        """The verifying key of this log, as one line of text."""
        return self._signer.vkey

    @property
    def size(self) -> int:
        """How many entries are released."""
        return self._state.edge.size

    def checkpoint(self) -> bytes:
        """The current signed checkpoint."""
        return self._state.checkpoint

    def append(self, entry: bytes) -> Future[int]:
        """Append one entry; the future gives its index once it is durable and released.

        Blocks while too many entries wait. The future fails with Unavailable if the disk takes
        no more; nothing is recorded then and the log goes on. Raises TooLarge above 65,535
        bytes; Unavailable if the log is closed.
        """
        if len(entry) > MAX_ENTRY:
            raise TooLarge(
                f"A ledger entry has at most {MAX_ENTRY:,} bytes, this one {len(entry):,}.",
                "Commit to long content instead of recording it.",
            )
        future: Future[int] = Future()
        with self._changed:
            while len(self._waiting) >= WAITING and not self._closed:
                self._changed.wait()
            if self._closed:
                raise Unavailable("The ledger is closed.", "Start again.")
            self._waiting.append((bytes(entry), future))
            self._changed.notify_all()
        return future

    def entry(self, index: int) -> bytes:
        """One entry. Raises NotFound if there is none; Tampered if its bundle is damaged."""
        edge = self._state.edge
        if not 0 <= index < edge.size:
            raise NotFound(f"The ledger has no entry {index:,}.", f"It holds {edge.size:,}.")
        return self._bundle(index // FULL, edge)[index % FULL]

    def entries(self, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """Every entry from ``start`` to the size at the time of the call, with its index.

        Raises Tampered if a bundle is damaged.
        """
        return self._walk(max(0, start), self._state.edge)

    def proof(self, index: int) -> str:
        """The tlog-proof text of one entry against the current checkpoint.

        Raises NotFound if there is no such entry; Tampered if the tiles on disk do not lead to
        the signed root. Source: C2SP tlog-proof.
        """
        return self.proofs(index)[0]

    def proofs(self, *indices: int, checkpoint: bytes | None = None) -> list[str]:
        """The tlog-proof texts of several entries, all against one checkpoint; as ``proof``.

        checkpoint: an older one that this log signed, such as one that witnesses cosigned.
        """
        state = self._state
        signed = state.checkpoint if checkpoint is None else checkpoint
        standing = shelf.open_checkpoint(signed, self._signer)
        size, root = standing.size, standing.root
        texts: list[str] = []
        for index in indices:
            if not 0 <= index < size:
                raise NotFound(f"The ledger has no entry {index:,}.", f"It holds {size:,}.")
            hashes = inclusion_proof(index, size, self._reader(state.edge))
            proof = Proof(index, tuple(hashes), signed)
            try:
                proof.verify(
                    self._bundle(index // FULL, state.edge)[index % FULL],
                    Checkpoint(self._signer.name, size, root),
                )
            except MerkleError as error:
                raise Tampered(
                    f"The files of the ledger do not prove entry {index:,}: {error}.",
                    "Run a check of the ledger to find the damaged file.",
                ) from None
            texts.append(proof.format())
        return texts

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Hashes that prove the log of ``new`` entries only appends to the one of ``old``.

        Raises Invalid unless 0 <= old <= new <= size; Tampered if a tile is damaged.
        Source: RFC 6962, 2.1.2.
        """
        edge = self._state.edge
        if not 0 <= old <= new <= edge.size:
            raise Invalid(
                f"No consistency proof leads from {old:,} to {new:,}.",
                f"The ledger holds {edge.size:,} entries.",
            )
        return consistency_proof(old, new, self._reader(edge))

    def resource(self, path: str) -> bytes | None:
        """The bytes behind one address of the static log, or None if there is nothing.

        path: "checkpoint", "tile/<level>/<index>[.p/<width>]" or "tile/entries/…", without a
        leading slash. Only released files are served, and nothing else can be reached.
        Raises Unavailable if the disk does not give it; Tampered if a released full tile is
        missing. Source: C2SP tlog-tiles v0.1.0.
        """
        if path == "checkpoint":
            return self._state.checkpoint
        try:
            tile = Tile.parse(path)
        except TileError:
            return None
        if tile.end > self._state.edge.size:
            return None
        try:
            return shelf.read_file(self._folder, tile.path)
        except Tampered:
            if tile.width == FULL:
                raise
            return None  # a partial may be gone since its tile is full

    def check(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Hash everything on disk again and compare it with the signed checkpoint.

        progress: called with (entries checked, entries in all). Returns the number of entries.
        Raises Tampered, naming the file and the entries, at the first difference.
        """
        with self._releasing:
            state = self._state
            raw = shelf.read_file(self._folder, "checkpoint")
        if (
            raw != state.checkpoint
            or shelf.open_checkpoint(raw, self._signer).root != state.edge.root
        ):
            raise Tampered("checkpoint is not the one that was signed last.", shelf.RESTORE)
        audit(self._folder, state.edge, progress or (lambda done, total: None))
        return state.edge.size

    def close(self) -> None:
        """Record what waits, then stop. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._sequencer.join()

    def _bundle(self, number: int, edge: Edge) -> tuple[bytes, ...]:
        if number == edge.size // FULL:
            return edge.bundle
        return shelf.read_entries(self._folder, Tile(None, number))

    def _walk(self, start: int, edge: Edge) -> Iterator[tuple[int, bytes]]:
        for number in range(start // FULL, -(-edge.size // FULL)):
            for index, entry in enumerate(self._bundle(number, edge), number * FULL):
                if index >= start:
                    yield index, entry

    def _reader(self, edge: Edge) -> Callable[[int, int], bytes]:
        tiles: dict[tuple[int, int], tuple[bytes, ...]] = {}

        def read(height: int, index: int) -> bytes:
            level, inside = divmod(height, 8)
            number, position = divmod(index << inside, FULL)
            if number == edge.size >> (8 * (level + 1)):
                hashes = edge.levels[level]
            elif (level, number) in tiles:
                hashes = tiles[level, number]
            else:
                hashes = shelf.read_hashes(self._folder, Tile(level, number))
                tiles[level, number] = hashes
            return root_hash(hashes[position : position + (1 << inside)])

        return read

    def _sequence(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                taken = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._changed.notify_all()
            batch = [one for one in taken if one[1].set_running_or_notify_cancel()]
            if not batch:
                continue
            first = self._state.edge.size
            try:
                self._commit([entry for entry, _ in batch])
            except OSError as error:
                for _, future in batch:
                    future.set_exception(shelf.unavailable(error))
            except Exception as error:
                # whoever waits must hear of it, and the next batch may well succeed
                for _, future in batch:
                    future.set_exception(error)
            else:
                for index, (_, future) in enumerate(batch, first):
                    future.set_result(index)

    def _commit(self, entries: list[bytes]) -> None:
        """Make one batch durable and release it, or raise and leave the log as it was."""
        if self._broken:
            raise self._broken
        old = self._state
        # A checkpoint that somebody else replaced means a second writer; signing on top of it
        # would fork the log, the one thing it must never do.
        if shelf.read_file(self._folder, "checkpoint") != old.checkpoint:
            self._broken = Tampered(
                "checkpoint was changed by somebody else.", "Stop every process on this ledger."
            )
            raise self._broken
        edge, tiles = old.edge.extend(entries)
        signed = Checkpoint(self._signer.name, edge.size, edge.root).sign([self._signer])
        new = _State(edge, signed)
        try:
            self._disk.write({tile.path: content for tile, content in tiles.items()})
        except OSError:
            remove_files(self._folder / tile.path for tile in tiles)
            raise
        with self._releasing:
            try:
                replace_file(self._folder / "checkpoint", signed)
            except OSError:
                self._settle(old, new)
                if self._state is old:
                    remove_files(self._folder / tile.path for tile in tiles)
                raise
            # From the rename on, readers may have seen the new checkpoint: it stands, even if
            # the sync below fails and the callers are told that nothing is certain.
            self._state = new
        sync_folder(self._folder)
        for tile in tiles:
            if tile.width == FULL:
                shelf.remove_outgrown(self._folder, tile)

    def _settle(self, old: _State, new: _State) -> None:
        """After a failed replacement: find out which checkpoint stands, or stop appending."""
        try:
            standing = (self._folder / "checkpoint").read_bytes()
        except OSError:
            standing = b""
        if standing == new.checkpoint:
            self._state = new
        elif standing != old.checkpoint:
            self._broken = Unavailable(
                "The ledger's disk failed while it released entries.",
                "Check the disk, then start again.",
            )
