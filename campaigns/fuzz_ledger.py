"""Fuzz everything in the ledger that reads what a stranger sends.

    python campaigns/fuzz_ledger.py [--seconds 600] [--seed 1] [--only TARGET]

Targets: a verifying key, a note, a checkpoint, a proof, a tile's address, a bundle, a receipt,
the check of a receipt, and the check of receipts whose log is the liar: strange entries, properly
signed. Of each, only the documented exception may leave, and what is accepted must be written
again as the same bytes. Prints executions for each target; exit 1, with the input, at a finding.

With atheris (its wheel holds libFuzzer) the search follows the coverage of casemate.ledger.
Without it the same checks get inputs that were changed blindly, and the output says so.
"""

from __future__ import annotations

import argparse
import base64
import copy
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None

if atheris is not None and "--target" in sys.argv:
    with atheris.instrument_imports(include=["casemate.ledger"]):
        import casemate.ledger.tile
        import casemate.ledger.verify  # noqa: F401  # instrumented with all that it imports

from casemate.ledger.merkle import inclusion_proof, leaf_hash, root_hash
from casemate.ledger.note import Note, NoteError, Signer, Verifier, open_note
from casemate.ledger.proof import Checkpoint, CheckpointError, Proof, ProofError
from casemate.ledger.receipt import (
    Opening,
    Receipt,
    ReceiptError,
    Recorded,
    canonical,
    commit,
    parse_canonical,
)
from casemate.ledger.tile import Tile, TileError, encode_bundle, parse_bundle
from casemate.ledger.verify import Unproven, verify

ORIGIN = "fuzz.example/log"
SIGNER = Signer.from_seed(ORIGIN, bytes(32))
DOCUMENT = "Article 3. The fee is 20 euros. 𝔈s ist am 1. Mai fällig."
QUOTE = "The fee is 20 euros."
TOKENS = (
    *("\n\n", "\u2014 ", "+", "=", "==", "index ", "extra ", "c2sp.org/tlog-proof@v1\n", "tile/"),
    *("entries/", "x000/", ".p/", "\\u0000", "\\ud800", "9007199254740993", "-0", "1e3", "NaN"),
    *('"admitted":', '"finished":', '"openings":[', '"content":', '"nonce":', "sha256:", "null"),
)


def a_run() -> dict[str, Any]:
    """One run, not yet committed to or signed: what is opened, and the two entries."""
    head = {"v": 1, "time": "2026-01-01T00:00:00Z", "run": "r", "tenant": "t", "principal": "p"}
    head |= {"use_case": "documents", "label": "unclassified"}
    start = DOCUMENT.index(QUOTE)
    citation = {"source": 0, "start": start, "end": start + len(QUOTE), "quote": QUOTE}
    return {
        "admitted": {**head, "kind": "run.admitted"},
        "finished": {**head, "kind": "run.finished", "outcome": "answered"},
        "question": {"text": "What is the fee?"},
        "answer": {
            "text": QUOTE,
            "citations": [citation],
            "sentences": [{"start": 0, "end": len(QUOTE), "citations": [0]}],
        },
        "sources": [{"document": "fees.md", "start": 0, "end": len(DOCUMENT), "text": DOCUMENT}],
    }


def a_receipt(run: dict[str, Any], index: int = 1) -> bytes:
    """The receipt of ``run``, whatever it holds, from a log that signs everything.

    Raises ReceiptError if something in it has no canonical form.
    """
    nonce = bytes(32)
    admitted, finished = run["admitted"], run["finished"]
    if isinstance(admitted, dict):
        admitted = {"question": commit(nonce, run["question"]), **admitted}
    first = canonical(admitted)
    if isinstance(finished, dict):
        bound = {"index": index, "leaf": f"sha256:{leaf_hash(first).hex()}"}
        opened = {name: commit(nonce, run[name]) for name in ("answer", "sources")}
        finished = {"admitted": bound, **opened, **finished}
    entries = [b"start", first, canonical(finished)]
    leaves = [leaf_hash(entry) for entry in entries]
    checkpoint = Checkpoint(ORIGIN, 3, root_hash(leaves)).sign([SIGNER])

    def recorded(place: int) -> Recorded:
        hashes = inclusion_proof(
            place, 3, lambda height, at: root_hash(leaves[at << height : (at + 1) << height])
        )
        return Recorded(entries[place], Proof(place, tuple(hashes), checkpoint).format())

    openings = [
        Opening("admitted" if name == "question" else "finished", name, nonce, run[name])
        for name in ("question", "answer", "sources")
    ]
    return Receipt(recorded(1), recorded(2), tuple(openings)).encode()


RECEIPT = a_receipt(a_run())
PROOF = Receipt.parse(RECEIPT).finished.proof


def as_text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def check_key(raw: bytes) -> None:
    try:
        found = Verifier.parse(as_text(raw))
    except NoteError:
        return
    assert found.vkey == as_text(raw)


def check_note(raw: bytes) -> None:
    try:
        found = Note.parse(raw)
    except NoteError:
        return
    assert found.encode() == raw
    try:
        opened = open_note(raw, [SIGNER.verifier])
    except NoteError:
        return
    assert opened.signatures
    assert opened.signatures[0] == SIGNER.signature(opened.text)


def check_checkpoint(raw: bytes) -> None:
    try:
        found = Checkpoint.parse(as_text(raw))
    except CheckpointError:
        return
    assert found.format() == as_text(raw)


def check_proof(raw: bytes) -> None:
    try:
        found = Proof.parse(as_text(raw))
    except ProofError:
        return
    assert found.format() == as_text(raw)


def check_tile(raw: bytes) -> None:
    try:
        found = Tile.parse(as_text(raw))
    except TileError:
        return
    assert found.path == as_text(raw)


def check_bundle(raw: bytes) -> None:
    width, bundle = (raw[0] + 1, raw[1:]) if raw else (1, b"")
    try:
        found = parse_bundle(bundle, width)
    except TileError:
        return
    assert len(found) == width
    assert encode_bundle(found) == bundle


def check_receipt(raw: bytes) -> None:
    try:
        assert canonical(parse_canonical(raw)) == raw
        found = Receipt.parse(raw)
    except ReceiptError:
        return
    assert found.encode() == raw


def check_verify(raw: bytes) -> None:
    try:
        verdict = verify(raw, SIGNER.vkey)
    except Unproven:
        return
    found, whole = Receipt.parse(raw), Receipt.parse(RECEIPT)
    assert found.encode() == raw
    assert (found.admitted.entry, found.finished.entry) == (
        whole.admitted.entry,
        whole.finished.entry,
    )
    assert verdict.not_proven


def check_liar(raw: bytes) -> None:
    """Receipts that a log of bad will signs: each must get a verdict or Unproven."""
    choose = Chooser(raw)
    run = a_run()
    for _ in range(1 + choose.below(4)):
        run = distort(run, choose)
    if not {"admitted", "finished", "question", "answer", "sources"} <= run.keys():
        return
    try:
        receipt = a_receipt(run, 1 + choose.below(2) * choose.below(3))
    except ReceiptError:
        return  # the liar cannot even write it down
    try:
        verdict = verify(receipt, SIGNER.vkey, choose.rest() if choose.below(8) == 0 else None)
    except Unproven:
        return
    canonical(verdict.facts)
    printed = [*verdict.proven, *verdict.not_proven]
    assert all(isinstance(line, str) and line.isprintable() for line in printed), printed


class Chooser:
    """Choices drawn from bytes; when they run out, always the first."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._place = 0

    def below(self, count: int) -> int:
        if self._place >= len(self._raw):
            return 0
        self._place += 1
        return self._raw[self._place - 1] % count

    def rest(self) -> bytes:
        taken, self._place = self._raw[self._place : self._place + 12], self._place + 12
        return taken


def distort(value: Any, choose: Chooser) -> Any:
    """``value`` with one place in it changed."""
    whole = {"": copy.deepcopy(value)}
    holder: Any = whole
    key: Any = ""
    while isinstance(holder[key], dict | list) and holder[key] and choose.below(5):
        holder = holder[key]
        key = (
            list(holder)[choose.below(len(holder))]
            if isinstance(holder, dict)
            else (choose.below(len(holder)))
        )
    if holder is whole:
        return value
    how, old = choose.below(12), holder[key]
    text = as_text(choose.rest())
    number = int.from_bytes(choose.rest()[:8], "big", signed=True)
    strange = (None, True, False, [], {}, "", text, number, -1, [old], {"text": old}, 1.5)
    if how == 0 and isinstance(holder, dict):
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        holder[text] = old
    elif how == 2 and isinstance(old, int):
        holder[key] = old + choose.below(3) - 1
    elif how == 3 and isinstance(old, str):
        holder[key] = old + text
    elif how == 4 and isinstance(holder, list):
        holder.append(copy.deepcopy(old))
    else:
        holder[key] = strange[choose.below(len(strange))]
    return whole[""]


TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "key": (check_key, (SIGNER.vkey.encode(),)),
    "note": (check_note, (Proof.parse(PROOF).checkpoint,)),
    "checkpoint": (check_checkpoint, (Checkpoint(ORIGIN, 3, bytes(32)).format().encode(),)),
    "proof": (
        check_proof,
        (PROOF.encode(), PROOF.replace("\nindex", "\nextra AAEC\nindex").encode()),
    ),
    "tile": (
        check_tile,
        tuple(path.encode() for path in ("tile/0/000", "tile/entries/x001/234.p/7")),
    ),
    "bundle": (check_bundle, (b"\x00" + encode_bundle([b"one"]), b"\x01\x00\x00\x00\x01a")),
    "receipt": (check_receipt, (RECEIPT, canonical({"a": [1, None, True, "é𝔈"]}))),
    "verify": (check_verify, (RECEIPT,)),
    "liar": (check_liar, (b"", bytes(range(64)), b"\x03\x01\x02\x04\x01\x0b\x05text\xff\xfe" * 6)),
}


def follow_coverage(name: str, seconds: int, seed: int, corpus: Path) -> None:
    """Run one target under libFuzzer; it ends the process itself."""
    check, seeds = TARGETS[name]
    for number, raw in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(raw)
    words = corpus.with_name("words")
    words.write_text(
        "".join(
            '"' + "".join(f"\\x{byte:02x}" for byte in token.encode()) + '"\n' for token in TOKENS
        )
    )
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-dict={words}", "-max_len=8192"]
    options += [f"-artifact_prefix={corpus.parent}/", "-timeout=20", "-rss_limit_mb=2048"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], check)
    atheris.Fuzz()


def change_blindly(name: str, seconds: int, seed: int) -> tuple[int, str]:
    """Executions of one target with inputs changed at random, and the finding or nothing."""
    check, seeds = TARGETS[name]
    draw = random.Random(f"{seed} {name}")
    runs, stop = 0, time.monotonic() + seconds
    while time.monotonic() < stop:
        raw = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 5)):
            start, length = draw.randint(0, len(raw)), draw.choice((0, 0, 1, 1, 4, 20))
            piece = bytes(raw[start : start + length])
            token = draw.choice(TOKENS).encode()
            put = draw.choice((b"", token, draw.randbytes(draw.randint(1, 4)), piece * 2))
            raw[start : start + length] = put
        try:
            check(bytes(raw))
        except Exception as problem:
            return runs, f"{problem!r} at {base64.b64encode(raw).decode()}"
        runs += 1
    return runs, ""


def watched(name: str, seconds: int, seed: int) -> tuple[int, str]:
    """Executions of one target in a process of its own, and the finding or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        told = subprocess.run(
            [
                *(sys.executable, __file__, "--target", name, "--seconds", str(seconds)),
                *("--seed", str(seed), "--corpus", str(corpus)),
            ],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        counts = re.findall(
            r"^(?:Done |#|stat::number_of_executed_units: )(\d+)", told.stderr, re.M
        )
        runs = max((int(count) for count in counts), default=0)
        found = [
            path
            for path in Path(folder).iterdir()
            if path.name.startswith(("crash", "timeout", "oom", "leak"))
        ]
        if told.returncode == 0 and not found and runs:
            return runs, ""
        inputs = [base64.b64encode(path.read_bytes()).decode() for path in found]
        return runs, json.dumps(inputs) + "\n" + (told.stdout + told.stderr)[-3000:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="in all (with --target: of one)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=TARGETS)
    parser.add_argument("--target", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.target:
        follow_coverage(chosen.target, chosen.seconds, chosen.seed, chosen.corpus)
        return 0
    names = [chosen.only] if chosen.only else list(TARGETS)
    share = max(1, chosen.seconds // len(names))
    way = "following coverage" if atheris else "changing blindly: atheris is not installed"
    print(f"{len(names)} targets, {share} seconds each, {way}", flush=True)
    search = watched if atheris else change_blindly
    total, findings = 0, 0
    for name in names:
        runs, finding = search(name, share, chosen.seed)
        total += runs
        findings += bool(finding)
        print(f"{name:12} {runs:>12,} executions  {finding or 'nothing found'}", flush=True)
    print(f"{'all':12} {total:>12,} executions  {findings} targets with findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
