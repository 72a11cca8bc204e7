"""Cosigning: bringing a log's checkpoint to its witnesses, and keeping what they signed.

The client's side of C2SP tlog-witness, add-checkpoint (C2SP/C2SP, commit 5ba5ee8). The way to a
witness is given by the caller: no connection is made here.
"""

from __future__ import annotations

import re
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from casemate.errors import CasemateError, Invalid, Tampered
from casemate.ledger.cosignature import CosignatureVerifier, checkpoint_in, cosigned
from casemate.ledger.merkle import MerkleError, verify_consistency
from casemate.ledger.note import Note, NoteError, Signature
from casemate.ledger.proof import MAX_SIZE, Checkpoint, CheckpointError
from casemate.store.folder import disk_problem, write_durably

Post: TypeAlias = Callable[[str, bytes], tuple[int, bytes]]
"""``post(url, body)``: status and body; raises CasemateError or OSError if nobody answers."""

Consistency: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""``consistency(old, new)``: hashes that prove that the log only appended between the two."""

_AHEAD_SECONDS = 300  # how far a witness's clock may be before ours
_LONGEST_ANSWER = 1 << 16
_TRIES = 3  # somebody else may bring the same log forward between a 409 and our next request
_THREADS = 16
_NEWEST, _SIZES = "cosigned", "sizes.json"
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_REFUSALS = {
    400: "finds the request malformed",
    403: "does not trust the key of this log; give its operator the key",
    404: "does not follow this log; give its operator the key",
    413: "finds the request too large",
}


class SplitView(Tampered):
    """A witness saw another history of this log than the log has; ``witness`` is its name.

    proven: its signature shows it; otherwise it is only what the witness says.
    """

    def __init__(self, witness: str, fact: str, *, proven: bool = False) -> None:
        super().__init__(
            f"The histories of this ledger diverge: {witness} {fact}.",
            "Stop, keep the ledger as it is, and find out with the witness's operator whether the "
            "ledger was restored from a backup, copied, or changed.",
        )
        self.witness = witness
        self.proven = proven


@dataclass(frozen=True)
class WitnessAt:
    """A witness: the address before ``/add-checkpoint``, and its key. Raises Invalid."""

    url: str
    verifier: CosignatureVerifier

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound or "@" in parts.netloc or "?" in self.url or "#" in self.url:
            raise Invalid(
                f"The address of the witness {self.verifier.name} is not right.",
                "Give http:// or https://, a host, and the path before /add-checkpoint.",
            )

    @property
    def address(self) -> str:
        """Where checkpoints are submitted."""
        return f"{self.url.rstrip('/')}/add-checkpoint"


@dataclass(frozen=True)
class WitnessPolicy:
    """Which witnesses there are, how many must have signed, and what to do when they have not.

    failing: "open" goes on without them, "closed" does not. Raises Invalid unless there is a
    witness, each has its own name, key and address, and 1 <= needed <= their number.
    """

    witnesses: tuple[WitnessAt, ...]
    needed: int
    failing: Literal["open", "closed"]

    def __post_init__(self) -> None:
        count = len(self.witnesses)
        if not 1 <= self.needed <= count:
            raise Invalid(
                f"{self.needed} cosignatures are needed, of {count} witnesses.",
                "Need at least one, and no more than there are witnesses.",
            )
        if self.failing not in ("open", "closed"):
            raise Invalid("Witnesses fail open or closed.", "Choose one of the two.")
        for values in (
            {one.verifier.name for one in self.witnesses},
            {one.verifier.key for one in self.witnesses},
            {one.address for one in self.witnesses},
        ):
            if len(values) < count:
                raise Invalid(
                    "Two witnesses have the same name, key or address.", "List each one once."
                )

    @property
    def verifiers(self) -> tuple[CosignatureVerifier, ...]:
        """The witnesses' keys."""
        return tuple(one.verifier for one in self.witnesses)


@dataclass(frozen=True)
class Outcome:
    """What a submission led to: the note with its cosignatures, by whom, and what went wrong."""

    note: bytes
    cosigned: tuple[str, ...]
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Submitted:
    note: Note
    checkpoint: Checkpoint


class _Problem(Exception):
    """What is wrong with one witness, in words that follow its name."""


class Cosigning:
    """Keeps one log cosigned; any thread may call, one submission runs at a time.

    folder: remembers the newest checkpoint that enough witnesses signed, and how far each is;
    made if it is missing. clock: POSIX seconds. write: replaces a file durably.
    """

    def __init__(
        self,
        folder: Path,
        policy: WitnessPolicy,
        post: Post,
        consistency: Consistency,
        clock: Callable[[], float],
        write: Callable[[Path, bytes], None] = write_durably,
    ) -> None:
        self._folder = folder
        self._policy = policy
        self._post = post
        self._consistency = consistency
        self._clock = clock
        self._write = write
        self._one_at_a_time = threading.Lock()
        self._gathered: tuple[str, dict[str, Signature]] = ("", {})
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._newest = self._read_newest()
            self._sizes = self._read_sizes()
        except OSError as problem:
            raise disk_problem(problem) from problem

    def newest(self) -> bytes | None:
        """The newest checkpoint that enough of the witnesses signed, as a note; or None."""
        return self._newest

    def submit(self, checkpoint_note: bytes) -> Outcome:
        """Bring every witness to this signed checkpoint of the log, and keep what they sign.

        A witness that does not answer, or not rightly, is a problem in the outcome. Raises
        SplitView if a witness, or what witnesses signed earlier, shows another history; Invalid
        if the note holds no checkpoint; Unavailable if the disk refuses.
        """
        try:
            note = Note.parse(checkpoint_note)
            submitted = _Submitted(note, checkpoint_in(note.text))
        except (NoteError, CheckpointError) as error:
            raise Invalid(f"This is no checkpoint: {error}.", "Submit a signed one.") from None
        with self._one_at_a_time:
            self._check_against_newest(submitted.checkpoint)
            if self._gathered[0] != note.text:
                self._gathered = (note.text, self._signed_before(note.text))
            signatures = self._gathered[1]
            asked = [one for one in self._policy.witnesses if one.verifier.name not in signatures]
            problems, splits = self._ask(asked, submitted)
            self._remember_sizes()
            kept = self._kept(submitted, problems)  # what the others sign counts all the same
            if splits:
                raise splits[0]
            return kept

    def _signed_before(self, text: str) -> dict[str, Signature]:
        """The cosignatures on this very checkpoint that a start before this one had kept."""
        if self._newest is None or (kept := Note.parse(self._newest)).text != text:
            return {}
        known = {_key(one): one.name for one in self._policy.verifiers}
        found = [one for one in kept.signatures if (one.name, one.id) in known]
        return {one.name: one for one in found}

    def _ask(
        self, asked: Sequence[WitnessAt], submitted: _Submitted
    ) -> tuple[dict[str, str], list[SplitView]]:
        problems: dict[str, str] = {}
        splits: list[SplitView] = []

        def ask(witness: WitnessAt) -> None:
            name = witness.verifier.name
            try:
                self._gathered[1][name] = self._brought_up(witness, submitted)
            except SplitView as split:
                splits.append(split)
            except CasemateError as problem:
                problems[name] = f"{name}: {problem.what}"
            except _Problem as problem:
                problems[name] = f"{name} {problem}."
            except OSError:
                problems[name] = f"{name} does not answer."
            except Exception as problem:
                # One witness must never keep the others from signing.
                problems[name] = f"{name} could not be asked ({type(problem).__name__})."

        if asked:
            with ThreadPoolExecutor(min(len(asked), _THREADS), "witness") as threads:
                list(threads.map(ask, asked))
        return problems, splits

    def _brought_up(self, witness: WitnessAt, submitted: _Submitted) -> Signature:
        size = submitted.checkpoint.size
        vkey = witness.verifier.vkey
        old = min(self._sizes.get(vkey, 0), size)
        for _ in range(_TRIES):
            status, answer = self._post(witness.address, self._request(old, submitted))
            if len(answer) > _LONGEST_ANSWER:
                raise _Problem("answers at too great a length")
            if status == 200:
                signature = self._signature(witness.verifier, submitted.note.text, answer)
                self._sizes[vkey] = size
                return signature
            if status == 422 and old:
                # Our proof leads from our own tree of that size: the witness holds another.
                raise SplitView(
                    witness.verifier.name, f"holds another ledger of {old:,} entries than this one"
                )
            if status != 409:
                raise _Problem(_REFUSALS.get(status, f"answers with status {status}"))
            latest = _latest(answer)
            if latest > size:
                raise SplitView(
                    witness.verifier.name,
                    f"has signed for {latest:,} entries, but the ledger holds {size:,}",
                )
            self._sizes[vkey] = old = latest
        raise _Problem("names a new latest size each time")

    def _request(self, old: int, submitted: _Submitted) -> bytes:
        size = submitted.checkpoint.size
        proof = self._consistency(old, size) if 0 < old < size else ()
        lines = [f"old {old}", *(b64encode(one).decode() for one in proof)]
        return ("\n".join(lines) + "\n\n").encode() + submitted.note.encode()

    def _signature(self, verifier: CosignatureVerifier, text: str, answer: bytes) -> Signature:
        """The witness's cosignature in its answer; signatures of unknown keys are ignored."""
        try:
            note = Note.parse(text.encode() + b"\n" + answer)
            if note.text != text:  # an answer with a blank line would move where signatures begin
                raise _Problem("answers with more than signatures")
            own = [one for one in note.signatures if (one.name, one.id) == _key(verifier)]
            times = [verifier.time_of(text, one) for one in own]
        except NoteError as error:
            raise _Problem(f"answers with what is no cosignature: {error}") from None
        if not own:
            raise _Problem("answers without a cosignature of its known key")
        newest = max(times)
        if newest > self._clock() + _AHEAD_SECONDS:
            raise _Problem("signs with a time that lies ahead; its clock or ours is wrong")
        return own[times.index(newest)]

    def _check_against_newest(self, checkpoint: Checkpoint) -> None:
        """Raise SplitView unless the log still holds what its witnesses signed."""
        if self._newest is None:
            return
        signed = checkpoint_in(Note.parse(self._newest).text)
        if signed.origin != checkpoint.origin:
            return
        witness = cosigned(self._newest, self._policy.verifiers)[0][0].name
        if signed.size > checkpoint.size:
            raise SplitView(
                witness,
                f"has signed for {signed.size:,} entries, but the ledger holds {checkpoint.size:,}",
                proven=True,
            )
        proof: Sequence[bytes] = ()
        if 0 < signed.size < checkpoint.size:
            proof = self._consistency(signed.size, checkpoint.size)
        try:
            verify_consistency(signed.size, checkpoint.size, proof, signed.root, checkpoint.root)
        except MerkleError:
            raise SplitView(
                witness,
                f"has signed another ledger of {signed.size:,} entries than this one",
                proven=True,
            ) from None

    def _kept(self, submitted: _Submitted, problems: Mapping[str, str]) -> Outcome:
        signatures = self._gathered[1]
        names = tuple(one.name for one in self._policy.verifiers if one.name in signatures)
        known = {_key(one) for one in self._policy.verifiers}
        others = [one for one in submitted.note.signatures if (one.name, one.id) not in known]
        gathered = (signatures[name] for name in names)
        note = Note(submitted.note.text, (*others, *gathered)).encode()
        if len(names) >= self._policy.needed and note != self._newest:
            try:
                self._write(self._folder / _NEWEST, note)
            except OSError as problem:
                raise disk_problem(problem) from problem
            self._newest = note
        return Outcome(note, names, dict(problems))

    def _read_newest(self) -> bytes | None:
        """None too if it is damaged, or too few of today's witnesses signed it."""
        try:
            raw = (self._folder / _NEWEST).read_bytes()
            found = cosigned(raw, self._policy.verifiers)
        except (FileNotFoundError, NoteError):
            return None
        return raw if len(found) >= self._policy.needed else None

    def _read_sizes(self) -> dict[str, int]:
        """What is lost here a witness says again, with its first 409."""
        try:
            sizes = msgspec.json.decode((self._folder / _SIZES).read_bytes(), type=dict[str, int])
        except (FileNotFoundError, UnicodeDecodeError, msgspec.DecodeError):
            return {}
        return {vkey: size for vkey, size in sizes.items() if 0 <= size <= MAX_SIZE}

    def _remember_sizes(self) -> None:
        try:
            self._write(self._folder / _SIZES, msgspec.json.encode(self._sizes))
        except OSError as problem:
            raise disk_problem(problem) from problem


def _key(verifier: CosignatureVerifier) -> tuple[str, bytes]:
    return verifier.name, verifier.id


def _latest(answer: bytes) -> int:
    found = _SIZE.fullmatch(answer)
    if not found or int(found[1]) > MAX_SIZE:
        raise _Problem("answers 409 without its latest size")
    return int(found[1])
