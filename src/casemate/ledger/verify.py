"""Check a receipt with nothing but the log's verifying key: no server, no data, no trust.

    python -m casemate.ledger.verify RECEIPT --key VKEYFILE [--answer FILE] [--json]

Imports only ``note``, ``merkle``, ``proof``, ``receipt`` and ``quotation``, and of others only
``cryptography``, so that a stranger can carry it away. Formats: C2SP signed-note v1.0.0,
tlog-checkpoint v1.0.0, tlog-proof; RFC 6962; RFC 8785.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from casemate.ledger.merkle import MerkleError, leaf_hash
from casemate.ledger.note import NoteError, Verifier
from casemate.ledger.proof import Checkpoint, CheckpointError, Proof, ProofError
from casemate.ledger.quotation import QuotationError, check_answer, check_quotations
from casemate.ledger.receipt import (
    VERSION,
    Receipt,
    ReceiptError,
    Recorded,
    commit,
    parse_canonical,
)

_COMMITMENT = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z")
_HEAD = ("time", "run", "tenant", "principal", "use_case", "label")
_SAME = ("run", "tenant", "principal", "use_case")
_OUTCOMES = ("answered", "unanswered", "failed", "refused")


class Unproven(ValueError):
    """The receipt does not prove what it claims. ``part`` names what failed, ``reason`` why.

    part: "key", "receipt", "checkpoint signature", "inclusion of admitted", "inclusion of
    finished", "run", "opening of <field>", "answer" or "quotation".
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
        self.reason = reason


@dataclass(frozen=True)
class Verdict:
    """What a receipt proves and what it cannot, in plain words, and the facts behind them."""

    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    facts: dict[str, Any]


def verify(receipt: bytes, vkey: str, answer: bytes | None = None) -> Verdict:
    """Check a receipt against the log's verifying key, and an answer against the receipt.

    vkey: one verifier key line, with at most one newline behind it. answer: the bytes of a file
    that should be the answer, word for word. Raises Unproven, naming the part that fails.
    """
    try:
        verifier = Verifier.parse(vkey.removesuffix("\n"))
    except NoteError as error:
        raise Unproven("key", str(error)) from None
    try:
        parsed = Receipt.parse(receipt)
    except ReceiptError as error:
        raise Unproven("receipt", str(error)) from None
    admitted_at, admitted = _entry("admitted", parsed.admitted, verifier)
    finished_at, finished = _entry("finished", parsed.finished, verifier)
    _one_run(admitted, finished, admitted_at.index, parsed.admitted.entry)
    if finished_at.index <= admitted_at.index:
        raise Unproven("run", "it finished before it was admitted")
    opened = _openings(parsed, {"admitted": admitted, "finished": finished})
    text = _answer(opened, answer)
    facts: dict[str, Any] = {
        "origin": verifier.name,
        "run": finished["run"],
        "use_case": finished["use_case"],
        "label": finished["label"],
        "outcome": finished["outcome"],
        "admitted": {"index": admitted_at.index, "time": admitted["time"]},
        "finished": {"index": finished_at.index, "time": finished["time"]},
        "opened": sorted(".".join(place) for place in opened),
        "answer_compared": answer is not None,
    }
    proven: list[str] = []
    if text is not None:
        proven.append(
            "this answer, word for word" + (", as in the file" if answer is not None else "")
        )
        facts["answer"] = text
    if ("finished", "answer") in opened and ("finished", "sources") in opened:
        proven += _quoted(opened, facts)
    if ("admitted", "question") in opened or ("finished", "question") in opened:
        proven.append("to this question, word for word")
        question = opened.get(("admitted", "question"))
        if isinstance(question, dict) and isinstance(question.get("text"), str):
            facts["question"] = question["text"]
    number, origin = f"{finished_at.index:,}", _plain(verifier.name)
    proven += [
        f"under use case {_plain(finished['use_case'])}, at label {_plain(finished['label'])}",
        f"with the outcome {_plain(finished['outcome'])}",
        f"admitted earlier, as entry {admitted_at.index:,}, at {admitted['time']}",
        f"recorded as entry {number} of log {origin} at {finished['time']}",
    ]
    not_proven = _closed(opened, {"admitted": admitted, "finished": finished})
    not_proven += [
        "that the documents are right, or that the answer is",
        "that the times are right: they are the log's own clock",
        "that the log shows everyone the same history: no witness cosigned that this check knows",
    ]
    return Verdict(tuple(proven), tuple(not_proven), facts)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns 0 if the receipt is proven, 1 if not, 2 on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="casemate.ledger.verify", description="Check a receipt, offline."
    )
    parser.add_argument("receipt", metavar="RECEIPT", type=Path, help="the receipt file")
    parser.add_argument(
        "--key", required=True, type=Path, metavar="VKEYFILE", help="the log's verifying key"
    )
    parser.add_argument("--answer", type=Path, metavar="FILE", help="the answer's text")
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    try:
        chosen = parser.parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    try:
        key = _read(chosen.key)
        receipt = _read(chosen.receipt)
        answer = _read(chosen.answer) if chosen.answer else None
        verdict = verify(receipt, _vkey(key), answer)
    except Unproven as error:
        _say(f"Not proven. {error}", sys.stderr)
        return 1
    except OSError as error:
        _say(f"Cannot read {error.filename}: {error.strerror}", sys.stderr)
        return 1
    if chosen.json:
        _say(json.dumps(vars(verdict), ensure_ascii=True, indent=2), sys.stdout)
        return 0
    proven = "".join(f"\n  {line}" for line in verdict.proven)
    not_proven = "".join(f"\n  {line}" for line in verdict.not_proven)
    _say(f"Proven:{proven}\nNot proven:{not_proven}", sys.stdout)
    return 0


def _say(text: str, stream: TextIO) -> None:
    # a terminal that cannot show a letter gets its number instead of a traceback
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _vkey(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Unproven("key", "the key file is not UTF-8") from None


def _entry(name: str, recorded: Recorded, verifier: Verifier) -> tuple[Proof, Mapping[str, Any]]:
    """One entry whose place in the log is proven."""
    inclusion = f"inclusion of {name}"
    try:
        proof = Proof.parse(recorded.proof)
        checkpoint = Checkpoint.open(proof.checkpoint, verifier)
        proof.verify(recorded.entry, checkpoint)
    except (NoteError, CheckpointError) as error:
        raise Unproven("checkpoint signature", str(error)) from None
    except (ProofError, MerkleError) as error:
        raise Unproven(inclusion, str(error)) from None
    try:
        entry = parse_canonical(recorded.entry)
    except ReceiptError as error:
        raise Unproven("run", f"the {name} entry is {error}") from None
    if not isinstance(entry, dict):
        raise Unproven("run", f"the {name} entry is no object")
    if type(entry.get("v")) is not int or entry["v"] != VERSION:
        raise Unproven("run", f"the version of the {name} entry is not {VERSION}")
    if entry.get("kind") != f"run.{name}":
        raise Unproven("run", f"the {name} entry is of another kind")
    for field in _HEAD:
        if not isinstance(entry.get(field), str):
            raise Unproven("run", f"the {name} entry has no {field}")
    if not _TIME.fullmatch(str(entry["time"])):
        raise Unproven("run", f"the time of the {name} entry is not written as UTC")
    return proof, entry


def _one_run(
    admitted: Mapping[str, Any], finished: Mapping[str, Any], index: int, entry: bytes
) -> None:
    for field in _SAME:
        if admitted[field] != finished[field]:
            raise Unproven("run", f"the two entries differ in {field}")
    if finished.get("outcome") not in _OUTCOMES:
        raise Unproven("run", "the finished entry has no known outcome")
    expected = {"index": index, "leaf": f"sha256:{leaf_hash(entry).hex()}"}
    found = finished.get("admitted")
    if found != expected or type(found["index"]) is not int:
        raise Unproven("run", "the finished entry belongs to another admitted entry")


def _openings(
    receipt: Receipt, entries: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[str, str], Any]:
    opened: dict[tuple[str, str], Any] = {}
    for opening in receipt.openings:
        part = f"opening of {opening.field}"
        commitment = entries[opening.entry].get(opening.field)
        if not _is_commitment(commitment):
            raise Unproven(part, f"the {opening.entry} entry commits to no such field")
        if commit(opening.nonce, opening.content) != commitment:
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


def _quoted(opened: Mapping[tuple[str, str], Any], facts: dict[str, Any]) -> list[str]:
    try:
        found = check_quotations(opened["finished", "answer"], opened["finished", "sources"])
    except QuotationError as error:
        raise Unproven("quotation", str(error)) from None
    facts |= {
        "citations": found.count,
        "passages": len(found.passages),
        "documents": list(found.documents),
    }
    if not found.count:
        return ["without any quotation"]
    passages = _counted(len(found.passages), "this passage", "these {} passages")
    documents = _counted(len(found.documents), "this document", "these {} documents")
    named = ", ".join(_plain(name) for name in found.documents)
    quotations = _counted(found.count, "its quotation", "each of its {} quotations")
    return [f"from {passages} of {documents}: {named}", f"{quotations} verbatim at its place"]


def _closed(
    opened: Mapping[tuple[str, str], Any], entries: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    known = {entries[name][field] for name, field in opened}
    return [
        f"what the {name} entry committed to as {_plain(field)}: the receipt does not open it"
        for name, entry in entries.items()
        for field, value in sorted(entry.items())
        if _is_commitment(value) and value not in known
    ]


def _is_commitment(value: object) -> bool:
    return isinstance(value, str) and _COMMITMENT.fullmatch(value) is not None


def _counted(count: int, one: str, many: str) -> str:
    return one if count == 1 else many.format(f"{count:,}")


def _plain(text: str) -> str:
    """Text without characters that would steer a terminal."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


if __name__ == "__main__":
    sys.exit(main())
