"""Check a receipt with nothing but the log's verifying key: no server, no data, no trust.

    python -m casemate.ledger.verify RECEIPT… --key VKEYFILE [--answer FILE] [--json]

Imports only small files beside it, and of others only ``cryptography``, so that a stranger can
carry it away. Formats: C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0, tlog-proof,
tlog-cosignature v1; RFC 6962; RFC 8785.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from casemate.ledger.cosignature import CosignatureVerifier, cosigned
from casemate.ledger.merkle import MerkleError
from casemate.ledger.note import Note, NoteError, Verifier
from casemate.ledger.pair import PairError, check_pair, is_digest, parse_entry
from casemate.ledger.proof import Checkpoint, CheckpointError, Proof, ProofError
from casemate.ledger.quotation import QuotationError, Quotations, check_answer, check_quotations
from casemate.ledger.receipt import Receipt, ReceiptError, Recorded
from casemate.ledger.verdict import Opened, Seen, Verdict, told

__all__ = ["Unproven", "Verdict", "Verifying", "verify"]

_REMEMBERED = 256  # checkpoints, of some hundred bytes each


class Unproven(ValueError):
    """The receipt does not prove what it claims. ``part`` names what failed, ``reason`` why.

    part: "key", "receipt", "checkpoint signature", "witnesses", "inclusion of admitted",
    "inclusion of finished", "run", "opening of <field>", "answer" or "quotation".
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason


@dataclass(frozen=True)
class _Opened:
    """A checkpoint whose signature was checked, and who else signed it, with the times."""

    checkpoint: Checkpoint
    cosigned: Mapping[str, int]
    unknown: int


class Verifying:
    """The keys that somebody trusts, ready to check any number of receipts.

    A checkpoint that was found right is remembered by its bytes, so that its signatures are
    checked once for all receipts that carry it.
    """

    def __init__(self, vkey: str, witnesses: Sequence[str] = (), needed: int | None = None) -> None:
        """``vkey``: the log's verifying key, one line; while the log changes keys, both lines.

        witnesses: the same for each witness (type 0x04). needed: how many of them must have
        cosigned; None for all. Raises Unproven ("key" or "witnesses") if one is malformed, the
        lines of ``vkey`` are of several logs, or more are needed than were given.
        """
        try:
            self._log = tuple(Verifier.parse(line) for line in _lines(vkey))
        except NoteError as error:
            raise Unproven("key", str(error)) from None
        if len({verifier.name for verifier in self._log}) > 1:
            raise Unproven("key", "its lines are keys of different logs")
        try:
            self._witnesses = tuple(
                CosignatureVerifier.parse(line) for one in witnesses for line in _lines(one)
            )
        except NoteError as error:
            raise Unproven("witnesses", f"a witness's key: {error}") from None
        # counted by name: a witness that changes its key is still one witness
        self._names = tuple(dict.fromkeys(one.name for one in self._witnesses))
        self._needed = len(self._names) if needed is None else needed
        if not 0 <= self._needed <= len(self._names):
            raise Unproven("witnesses", "more are needed than were named")
        self._remembered: dict[bytes, _Opened] = {}
        self._given = (vkey, tuple(witnesses), needed)

    def __reduce__(self) -> tuple[type[Verifying], tuple[object, ...]]:
        # so that other processes can share the work: they begin with the same keys
        return type(self), self._given

    def verify(self, receipt: bytes, answer: bytes | None = None) -> Verdict:
        """Check one receipt, and an answer against it if there is one.

        answer: the bytes of a file that should be the answer, word for word. Raises Unproven,
        naming the part that fails.
        """
        return told(self.check(receipt, answer))

    def check(self, receipt: bytes, answer: bytes | None = None) -> Opened:
        """As ``verify``, without words: for many receipts, of which only the failing matter."""
        try:
            parsed = Receipt.parse(receipt)
        except ReceiptError as error:
            raise Unproven("receipt", str(error)) from None
        admitted_at, earlier = self._included("admitted", parsed.admitted)
        finished_at, later = self._included("finished", parsed.finished)
        try:
            admitted = parse_entry("admitted", parsed.admitted.entry)
            finished = parse_entry("finished", parsed.finished.entry)
            check_pair(admitted, finished, index=admitted_at.index, raw=parsed.admitted.entry)
        except PairError as error:
            raise Unproven("run", str(error)) from None
        if finished_at.index <= admitted_at.index:
            raise Unproven("run", "it finished before it was admitted")
        seen = self._seen(earlier, later)
        opened = _openings(parsed, {"admitted": admitted, "finished": finished})
        text = _answer(opened, answer)
        return Opened(
            origin=self._log[0].name,
            admitted=admitted,
            finished=finished,
            admitted_index=admitted_at.index,
            finished_index=finished_at.index,
            contents=opened,
            answer=text,
            compared=answer is not None,
            quotations=_quoted(opened),
            seen=seen,
        )

    def _included(self, name: str, recorded: Recorded) -> tuple[Proof, _Opened]:
        """One entry whose place in the log is proven."""
        try:
            proof = recorded.inclusion
        except ProofError as error:
            raise Unproven(f"inclusion of {name}", str(error)) from None
        opened = self._open(proof.checkpoint)
        try:
            proof.verify(recorded.entry, opened.checkpoint)
        except MerkleError as error:
            raise Unproven(f"inclusion of {name}", str(error)) from None
        return proof, opened

    def _open(self, note: bytes) -> _Opened:
        known = self._remembered.get(note)
        if known is not None:
            return known
        try:
            parsed = Note.parse(note)
            checkpoint = Checkpoint.opened(parsed, *self._log)
        except (NoteError, CheckpointError) as error:
            raise Unproven("checkpoint signature", str(error)) from None
        try:
            found = cosigned(note, self._witnesses) if self._witnesses else ()
        except NoteError as error:
            raise Unproven("witnesses", str(error)) from None
        times: dict[str, int] = {}
        for witness, time in found:
            times[witness.name] = max(time, times.get(witness.name, 0))
        keys = {(witness.name, witness.id) for witness in self._witnesses}
        # a line under the log's own name is the log's, with a key that was not given
        unknown = sum(
            one.name != checkpoint.origin and (one.name, one.id) not in keys
            for one in parsed.signatures
        )
        opened = _Opened(checkpoint, times, unknown)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[note] = opened
        return opened

    def _seen(self, admitted: _Opened, finished: _Opened) -> Seen:
        """Who cosigned this history: both of its checkpoints, where there are two."""
        times = {
            name: finished.cosigned[name]
            for name in self._names
            if name in finished.cosigned and name in admitted.cosigned
        }
        if len(times) < self._needed:
            raise Unproven(
                "witnesses",
                f"{len(times)} of the {len(self._names)} that were named cosigned this history, "
                f"and {self._needed} are needed",
            )
        return Seen(self._names, times, finished.unknown)


def verify(
    receipt: bytes,
    vkey: str,
    answer: bytes | None = None,
    witnesses: Sequence[str] = (),
    needed: int | None = None,
) -> Verdict:
    """Check a receipt against the log's verifying key, and an answer against the receipt.

    vkey, witnesses, needed: see ``Verifying``, which is faster for many receipts. answer: the
    bytes of a file that should be the answer, word for word. Raises Unproven, naming the part
    that fails.
    """
    return Verifying(vkey, witnesses, needed).verify(receipt, answer)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def _openings(
    receipt: Receipt, entries: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], Any]:
    opened: dict[tuple[str, str], Any] = {}
    for opening in receipt.openings:
        part = f"opening of {opening.field}"
        commitment = entries[opening.entry].get(opening.field)
        if not is_digest(commitment):
            raise Unproven(part, f"the {opening.entry} entry commits to no such field")
        if opening.commitment != commitment:
            raise Unproven(part, "the content is not what the entry committed to")
        opened[opening.entry, opening.field] = opening.content
    return opened


def _answer(opened: Mapping[tuple[str, str], Any], answer: bytes | None) -> str | None:
    text = None
    if ("finished", "answer") in opened:
        try:
            text = check_answer(opened["finished", "answer"])
        except QuotationError as error:
            raise Unproven("answer", str(error)) from None
    if answer is not None:
        if text is None:
            raise Unproven("answer", "the receipt holds no opening for the answer")
        if text.encode("utf-8") != answer:
            raise Unproven("answer", "the file differs from the answer that was recorded")
    return text


def _quoted(opened: Mapping[tuple[str, str], Any]) -> Quotations | None:
    if ("finished", "answer") not in opened or ("finished", "sources") not in opened:
        return None
    try:
        return check_quotations(opened["finished", "answer"], opened["finished", "sources"])
    except QuotationError as error:
        raise Unproven("quotation", str(error)) from None


if __name__ == "__main__":
    from casemate.ledger.command import main

    sys.exit(main())
