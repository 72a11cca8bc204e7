"""The log: entries go in, nothing comes out, and each is durable before anybody relies on it.

One thread appends, in batches: it writes bundles and tiles, then replaces the signed checkpoint,
and only then tells the callers. What the checkpoint does not count was never released.
Formats: C2SP tlog-tiles v0.1.0, tlog-checkpoint v1.0.0, signed-note v1.0.0, tlog-proof.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from casemate.errors import CasemateError, Invalid, NotFound, Tampered, Unavailable
from casemate.ledger import shelf as shelf_
from casemate.ledger.audit import audit
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.edge import Edge
from casemate.ledger.journal_shelf import JournalShelf
from casemate.ledger.merkle import MerkleError, consistency_proof, inclusion_proof, root_hash
from casemate.ledger.note import Signer
from casemate.ledger.proof import Proof
from casemate.ledger.sequencer import BATCH, Sequencer, check_group
from casemate.ledger.shelf import CHECKPOINT, RESTORE, Shelf
from casemate.ledger.tile import FULL, Tile, TileError


@dataclass(frozen=True)
class _State:
    """What is released: readers take one of these and never see half a batch."""

    edge: Edge
    checkpoint: bytes


@dataclass(frozen=True)
class _Undecided:
    """What a failed commit wanted: the state, and the files that it may have left."""

    state: _State
    names: Sequence[str]


class Log:
    """An append-only log on one shelf, with a signing key whose name is its origin.

    One Log per shelf writes. Every method may be called from any thread.
    """

    def __init__(self, shelf: Shelf, signers: tuple[Signer, ...], state: _State) -> None:
        self._shelf = shelf
        self._signers = signers
        self._state = state
        self._undecided: _Undecided | None = None
        self._committing = threading.Lock()
        self._broken: CasemateError | None = None
        # Some hundred files each 256 entries: the next batch does not wait until they are gone.
        self._tidying = ThreadPoolExecutor(1, "tidying")
        self._sequencer = Sequencer(self._sequence)

    @classmethod
    def open(
        cls,
        place: Path | Shelf,
        signer: Signer,
        also: Sequence[Signer] = (),
        *,
        least: int = 0,
    ) -> Log:
        """Open the log in a folder or on another shelf; an empty place becomes an empty log.

        also: more keys that sign every checkpoint from now on, while the log changes its key.
        least: how many entries are known to have been released; a log that has fewer has lost
        some, and going on would make a second history of them. The checkpoint is the authority:
        what lies beyond it was never released and is removed.
        Raises Invalid if the log belongs to another key or origin, or the place holds something
        else; Tampered, naming the file, if it is damaged, or if it holds fewer entries than
        ``least``; Unavailable if the storage refuses.
        """
        shelf = JournalShelf(place) if isinstance(place, Path) else place
        signers = _signers(signer, also)
        raw = shelf.claim()
        size = 0 if raw is None else shelf_.open_checkpoint(raw, signers).size
        if size < least:
            raise Tampered(
                f"The ledger holds {size:,} entries, but at least {least:,} were recorded.",
                "Restore ledger and database from the same backup, or name the ledger's right "
                "place; then check it with its witnesses.",
            )
        if raw is None:
            edge = Edge()
            raw = Checkpoint(signer.name, 0, edge.root).sign(signers)
            shelf.commit({}, None, raw)
            return cls(shelf, signers, _State(edge, raw))
        checkpoint = shelf_.open_checkpoint(raw, signers)
        shelf_.tidy(shelf, checkpoint.size, BATCH)
        edge = shelf_.read_edge(shelf, checkpoint.size)
        if edge.root != checkpoint.root:
            raise Tampered(
                "checkpoint and the hash tiles at the end of the ledger disagree.", RESTORE
            )
        log = cls(shelf, signers, _State(edge, raw))
        try:
            log.sign_with(signer, also)
        except BaseException:
            log.close()
            raise
        return log

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
    def origin(self) -> str:
        """The name of this log, which is that of its keys."""
        return self._signers[0].name

    @property
    def vkey(self) -> str:
        """The verifying key of this log, as one line of text."""
        return self._signers[0].vkey

    @property
    def vkeys(self) -> tuple[str, ...]:
        """The verifying key of each key that signs now: more than one while the key changes."""
        return tuple(signer.vkey for signer in self._signers)

    @property
    def size(self) -> int:
        """How many entries are released."""
        return self._state.edge.size

    def checkpoint(self) -> bytes:
        """The current signed checkpoint."""
        return self._state.checkpoint

    def signed(self, note: bytes) -> bool:
        """Whether a key that signs now is named on this note; the signature is not checked."""
        return bool(shelf_.keys_on(note) & shelf_.keys_of(self._signers))

    def append(self, entry: bytes) -> Future[int]:
        """Append one entry; the future gives its index once it is durable and released.

        Blocks while too many bytes wait. The future fails with Unavailable if the storage takes
        no more; nothing is recorded then, or in a rare case the entry is recorded later though
        nobody was told, and the log goes on. Raises TooLarge above 65,535
        bytes; Unavailable if the log is closed.
        """
        return self._sequencer.append((entry,))

    def append_together(self, entries: Sequence[bytes]) -> Future[int]:
        """Append entries one behind the other, all or none; the index of the first, as ``append``.

        Raises TooLarge as well if they are more than 4,096, or than 8 MiB.
        """
        return self._sequencer.append(entries)

    def append_here(self, entries: Sequence[bytes]) -> int:
        """As ``append_together``, for a thread that has collected a batch: it writes it itself.

        Returns the index of the first once all are durable and released.
        """
        check_group(entries, sum(map(len, entries)))
        with self._committing:
            if self._sequencer.closed:
                raise Unavailable("The ledger is closed.", "Start again.")
            return self._commit(entries)

    def sign_with(self, signer: Signer, also: Sequence[Signer] = ()) -> None:
        """Let these keys sign from now on, the current checkpoint included.

        Raises Invalid if they do not have the name of this log; Unavailable if the storage takes
        no more: then the keys are as they were.
        """
        signers = _signers(signer, also)
        if signer.name != self.origin:
            raise Invalid(
                f"The ledger belongs to {self.origin}, not to {signer.name}.",
                "Make the new key with the name of the ledger.",
            )
        with self._committing:
            if self._sequencer.closed:
                raise Unavailable("The ledger is closed.", "Start again.")
            self._decide()
            before = self._signers
            if shelf_.keys_on(self._state.checkpoint) == shelf_.keys_of(signers):
                self._signers = signers
                return
            self._signers = signers
            try:
                self._commit(())
            except BaseException:
                self._signers = before
                raise

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
        standing = shelf_.open_checkpoint(signed, self._signers)
        texts: list[str] = []
        for index in indices:
            if not 0 <= index < standing.size:
                raise NotFound(
                    f"The ledger has no entry {index:,}.", f"It holds {standing.size:,}."
                )
            hashes = inclusion_proof(index, standing.size, self._reader(state.edge))
            proof = Proof(index, tuple(hashes), signed)
            try:
                proof.verify(self._bundle(index // FULL, state.edge)[index % FULL], standing)
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
        if tile.width < FULL:
            # Beyond the edge it may be gone, since its tile is full.
            return self._state.edge.partial(tile) or self._shelf.read(tile.path)
        return shelf_.read_file(self._shelf, tile.path)

    def check(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Hash everything on disk again and compare it with the signed checkpoint.

        progress: called with (entries checked, entries in all). Returns the number of entries.
        Raises Tampered, naming the file and the entries, at the first difference; Unavailable if
        the storage does not answer.
        """
        with self._committing:
            self._decide()
            self._shelf.settle()
            state = self._state
            raw = shelf_.read_file(self._shelf, CHECKPOINT)
        if (
            raw != state.checkpoint
            or shelf_.open_checkpoint(raw, self._signers).root != state.edge.root
        ):
            raise Tampered("checkpoint is not the one that was signed last.", RESTORE)
        audit(self._shelf, state.edge, progress or (lambda done, total: None))
        return state.edge.size

    def close(self) -> None:
        """Record what waits, then stop. May be called twice."""
        self._sequencer.close()
        self._tidying.shutdown()
        with self._committing:  # somebody may be appending in a thread of their own
            self._shelf.close()

    def _bundle(self, number: int, edge: Edge) -> tuple[bytes, ...]:
        if number == edge.size // FULL:
            return edge.bundle
        return shelf_.read_entries(self._shelf, Tile(None, number))

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
                hashes = shelf_.read_hashes(self._shelf, Tile(level, number))
                tiles[level, number] = hashes
            return root_hash(hashes[position : position + (1 << inside)])

        return read

    def _sequence(self, entries: Sequence[bytes]) -> int:
        """Commit a batch for the sequencer: the index of its first entry."""
        with self._committing:
            return self._commit(entries) if entries else self._state.edge.size

    def _commit(self, entries: Sequence[bytes]) -> int:
        """Make one batch durable and release it: the index of its first entry.

        Raises, and leaves the log as it was, if the storage does not take it.
        """
        if self._broken:
            raise self._broken
        self._decide()
        old = self._state
        edge, tiles = old.edge.extend(entries)
        signed = Checkpoint(self.origin, edge.size, edge.root).sign(self._signers)
        new = _State(edge, signed)
        try:
            self._shelf.commit(
                {tile.path: content for tile, content in tiles.items()}, old.checkpoint, signed
            )
            self._state = new
        except Tampered as error:
            self._broken = error
            raise
        except Exception:
            self._undecided = _Undecided(new, [tile.path for tile in tiles])
            with contextlib.suppress(CasemateError):  # whatever comes next tries again
                self._decide()
            if self._state is not new:
                raise
        for tile in tiles:
            # Of each level only the tile that was begun before has narrower versions.
            begun, width = divmod(old.edge.size >> (8 * (tile.level or 0)), FULL)
            if tile.width == FULL and width and tile.index == begun:
                with contextlib.suppress(RuntimeError):  # the interpreter ends: the next start does
                    self._tidying.submit(self._shelf.outgrow, tile.path)
        return old.edge.size

    def _decide(self) -> None:
        """Find out what became of a commit that failed, and make that durable.

        Nothing is built, signed or shown before. Raises Unavailable while the storage does not
        let it; Tampered, from then on always, if something else stands.
        """
        if self._undecided is None:
            return
        wanted = self._undecided
        try:
            standing = self._shelf.standing_checkpoint()
            if standing == wanted.state.checkpoint:
                self._shelf.confirm(standing)
                self._state = wanted.state
            elif standing == self._state.checkpoint:
                self._discard(wanted.names)
            else:
                raise Tampered(shelf_.SECOND_WRITER, shelf_.STOP_OTHERS)
        except Tampered as error:
            self._broken = error
            raise
        self._undecided = None

    def _discard(self, names: Sequence[str]) -> None:
        """Remove what was never released: later it would be taken for released."""
        self._shelf.discard(names)
        if any(self._shelf.read(name) is not None for name in names):
            raise Unavailable(
                "What was written beyond the ledger's checkpoint cannot be removed.",
                "Check the ledger's storage and ask again.",
            )


def _signers(signer: Signer, also: Sequence[Signer]) -> tuple[Signer, ...]:
    signers = (signer, *also)
    if any(one.name != signer.name for one in also):
        raise Invalid("The keys of one ledger have one name.", "Give each the ledger's name.")
    if len({one.seed for one in signers}) < len(signers):
        raise Invalid("A key of the ledger is given twice.", "Give each key once.")
    return signers
