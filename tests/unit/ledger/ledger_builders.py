"""Builders for the ledger's tests: keys, entries, and one small run with its receipt."""

import contextlib
import hashlib
import os
from pathlib import Path

from casemate.ledger.log import Log
from casemate.ledger.note import Signer
from casemate.ledger.receipt import Opening, Receipt, canonical, commit
from casemate.ledger.record import Ledger

ORIGIN = "casemate.example/log"
TEXT = "Die Gebühr beträgt 12 €. 𝔖ie ist fällig."
DOCUMENT = "x" * 100 + "Artikel 3. Die Gebühr beträgt 12 €. 𝔖ie ist fällig am 1. Mai."


def a_signer(name: str = ORIGIN, seed: int = 1) -> Signer:
    return Signer.from_seed(name, bytes([seed]) * 32)


def a_nonce(number: int) -> bytes:
    return hashlib.sha256(b"nonce %d" % number).digest()


def an_answer(**changes: object) -> dict[str, object]:
    first, second = "Die Gebühr beträgt 12 €.", "𝔖ie ist fällig"
    content: dict[str, object] = {
        "text": TEXT,
        "citations": [
            {
                "source": 0,
                "start": DOCUMENT.index(quote),
                "end": DOCUMENT.index(quote) + len(quote),
                "quote": quote,
            }
            for quote in (first, second)
        ],
        "sentences": [
            {"start": 0, "end": 24, "citations": [0]},
            {"start": 25, "end": len(TEXT), "citations": [1]},
        ],
    }
    return content | changes


def some_sources(**changes: object) -> list[dict[str, object]]:
    source: dict[str, object] = {
        "document": "gebühren.pdf",
        "digest": "sha256:" + "0" * 64,
        "collection": "commune",
        "page": 2,
        "start": 100,
        "end": len(DOCUMENT),
        "label": "unclassified",
        "text": DOCUMENT[100:],
    }
    return [source | changes]


def a_head(kind: str, **changes: object) -> dict[str, object]:
    head: dict[str, object] = {
        "v": 1,
        "kind": kind,
        "time": "2026-11-24T22:10:03Z",
        "run": "r1",
        "tenant": "t1",
        "principal": "p1",
        "use_case": "documents",
        "label": "unclassified",
        "model": {"id": "quote", "digest": "sha256:" + "1" * 64},
        "policy": {"decision": "allow", "deciding": ["base"], "digest": "sha256:" + "2" * 64},
    }
    return head | changes


def record_run(
    ledger: Ledger,
    *,
    answer: object = None,
    sources: object = None,
    opened: tuple[str, ...] = ("question", "answer", "sources"),
    admitted_changes: dict[str, object] | None = None,
    finished_changes: dict[str, object] | None = None,
) -> Receipt:
    """Record a run in the two entries that every run has, and make its receipt."""
    contents = {
        "question": "Wat kascht et?",
        "answer": an_answer() if answer is None else answer,
        "steps": [{"kind": "search"}],
        "sources": some_sources() if sources is None else sources,
    }
    nonces = {name: a_nonce(number) for number, name in enumerate(contents)}
    commitments = {name: commit(nonces[name], contents[name]) for name in contents}
    admitted = ledger.record(
        a_head("run.admitted", question=commitments["question"]) | (admitted_changes or {})
    )
    finished = ledger.record(
        a_head(
            "run.finished",
            admitted={"index": admitted.index, "leaf": admitted.leaf},
            outcome="answered",
            answer=commitments["answer"],
            steps=commitments["steps"],
            sources=commitments["sources"],
        )
        | (finished_changes or {})
    )
    openings = [
        Opening("admitted" if name == "question" else "finished", name, nonces[name], content)
        for name, content in contents.items()
        if name in opened
    ]
    return ledger.receipt_for(admitted.index, finished.index, openings)


def a_receipt(folder: Path, **how: object) -> bytes:
    """The receipt of a run in a log of its own, which holds 3 entries more."""
    with Log.open(folder, a_signer()) as log:
        log.append(canonical({"v": 1, "kind": "start"})).result()
        receipt = record_run(Ledger(log), **how)  # type: ignore[arg-type]
        return receipt.encode()


def entries(count: int, start: int = 0) -> list[bytes]:
    return [b"entry %d" % number for number in range(start, start + count)]


def fill(log: Log, count: int) -> None:
    """Append the next entries, which must get the next indices."""
    start = log.size
    futures = [log.append(entry) for entry in entries(count, start)]
    assert [future.result() for future in futures] == list(range(start, start + count))


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a log in a folder, by its name; without journals, and what goes meanwhile."""
    found: dict[str, bytes] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.name.startswith("journal-"):
                continue
            with contextlib.suppress(FileNotFoundError):
                found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found
