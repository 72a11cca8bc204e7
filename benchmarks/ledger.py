"""What the ledger costs: entries per second, latency, proofs, receipts, memory.

    python benchmarks/ledger.py [--entries 200000] [--largest 6] [--folder DIR]

Entries of 1 KB, durable before they are released; the disk's own fsync is measured beside it in
the same run, since it is the floor. --largest 7 grows a log to ten million entries for the memory
it takes (some 12 GB of disk). Quote medians and ratios.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path

from casemate.ledger.log import Log
from casemate.ledger.note import Signer
from casemate.ledger.receipt import Opening, commit
from casemate.ledger.record import Ledger
from casemate.ledger.verify import Verifying

SIGNER = Signer.from_seed("casemate.example/benchmark", bytes(range(32)))
KILOBYTE = 1024
PER_SECOND = 1000
RECEIPTS = 2000


def percentiles(name: str, seconds: list[float]) -> str:
    """p50, p95 and p99, in milliseconds."""
    ordered = sorted(seconds)
    p50, p95, p99 = (
        ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95, 0.99)
    )
    return (
        f"{name:<44} p50 {p50 * 1000:7.2f} ms   p95 {p95 * 1000:7.2f} ms   "
        f"p99 {p99 * 1000:7.2f} ms   n {len(ordered):,}"
    )


def throughput(folder: Path, count: int, group: int) -> None:
    """Entries per second, appended in groups as fast as back-pressure lets them in."""
    entry = os.urandom(KILOBYTE)
    with Log.open(folder / f"groups-of-{group}", SIGNER) as log:
        begun = time.perf_counter()
        last: Future[int] | None = None
        for _ in range(count // group):
            last = log.append_together([entry] * group) if group > 1 else log.append(entry)
        assert last is not None
        assert last.result() == count - group
        seconds = time.perf_counter() - begun
    print(f"{f'append, groups of {group}':<44} {count / seconds:9,.0f} entries/s   n {count:,}")


def latency(folder: Path, seconds: float) -> None:
    """How long an entry waits at 1,000 a second, and what the disk's fsync takes meanwhile."""
    entry = os.urandom(KILOBYTE)
    waited: list[float] = []
    syncs: list[float] = []
    with Log.open(folder / "latency", SIGNER) as log, open(folder / "probe", "wb") as probe:
        begun = time.perf_counter()
        number = 0
        while (now := time.perf_counter()) < begun + seconds:
            due = begun + number / PER_SECOND
            if now < due:
                time.sleep(due - now)
            future = log.append(entry)
            # from when it was due: an append that came late has waited as well
            future.add_done_callback(lambda _, due=due: waited.append(time.perf_counter() - due))
            number += 1
            if number % 200 == 0:
                syncs.append(_synced(probe.fileno()))
        future.result()
        alone = [_synced(probe.fileno()) for _ in range(200)]
    print(percentiles("fsync of 4 KB, alone", alone))
    print(percentiles("fsync of 4 KB, beside the log", syncs))
    print(percentiles(f"append at {PER_SECOND:,} entries/s", waited))
    ratio = statistics.median(waited) / statistics.median(alone)
    print(f"{'median wait / median fsync alone':<44} {ratio:9.2f}")


def _synced(descriptor: int) -> float:
    begun = time.perf_counter()
    os.pwrite(descriptor, bytes(4096), 0)
    os.fsync(descriptor)
    return time.perf_counter() - begun


def checking(folder: Path, count: int) -> None:
    """Entries per second of a check of the whole log."""
    with Log.open(folder / "groups-of-1000", SIGNER) as log:
        begun = time.perf_counter()
        assert log.check() == count
        print(
            f"{'check':<44} {count / (time.perf_counter() - begun):9,.0f} entries/s   n {count:,}"
        )


def verifying(folder: Path) -> None:
    """Receipts per second on one core: all against one checkpoint, and each against its own."""
    with Log.open(folder / "receipts", SIGNER) as log:
        ledger = Ledger(log)
        runs = [_recorded(ledger, number) for number in range(RECEIPTS)]
        shared = [ledger.receipt_for(*run).encode() for run in runs]
        own = []
        for run in runs:
            log.append(b"{}").result()
            own.append(ledger.receipt_for(*run).encode())
    for name, receipts in (("one checkpoint", shared), ("each its own checkpoint", own)):
        rates = []
        for _ in range(5):
            judge = Verifying(SIGNER.vkey)
            begun = time.process_time()
            for receipt in receipts:
                judge.check(receipt)
            rates.append(len(receipts) / (time.process_time() - begun))
        print(f"{f'verify, {name}':<44} {statistics.median(rates):9,.0f} receipts/s   n 5")


def _recorded(ledger: Ledger, number: int) -> tuple[int, int, list[Opening]]:
    text = f"The fee is {number} euros."
    quote = f"{number} euros"
    contents: dict[str, object] = {
        "question": "What is the fee?",
        "answer": {
            "text": text,
            "citations": [{"source": 0, "start": 11, "end": 11 + len(quote), "quote": quote}],
            "sentences": [{"start": 0, "end": len(text), "citations": [0]}],
        },
        "steps": [{"kind": "search"}],
        "sources": [
            {
                "document": "fees.pdf",
                "digest": "sha256:" + "0" * 64,
                "collection": "fees",
                "page": 1,
                "start": 0,
                "end": len(text),
                "label": "unclassified",
                "text": text,
            }
        ],
    }
    nonces = {name: os.urandom(32) for name in contents}
    held = {name: commit(nonces[name], contents[name]) for name in contents}
    head = {
        "v": 1,
        "time": "2026-11-24T22:10:03Z",
        "run": f"r{number}",
        "tenant": "t1",
        "principal": "p1",
        "use_case": "documents",
        "label": "unclassified",
        "model": {"id": "quote", "digest": "sha256:" + "1" * 64},
        "policy": {"decision": "allow", "deciding": ["base"], "digest": "sha256:" + "2" * 64},
    }
    admitted = ledger.record(head | {"kind": "run.admitted", "question": held["question"]})
    finished = ledger.record(
        head
        | {
            "kind": "run.finished",
            "admitted": {"index": admitted.index, "leaf": admitted.leaf},
            "outcome": "answered",
            **{name: held[name] for name in ("answer", "steps", "sources")},
        }
    )
    openings = [
        Opening("admitted" if name == "question" else "finished", name, nonces[name], content)
        for name, content in contents.items()
    ]
    return admitted.index, finished.index, openings


def memory(folder: Path, largest: int) -> None:
    """Resident memory of a process that grows a log to each power of ten from 10,000."""
    place = folder / "memory"
    for power in range(4, largest + 1):
        done = subprocess.run(
            [sys.executable, __file__, "--grow", str(place), str(10**power)],
            check=True,
            capture_output=True,
            text=True,
        )
        print(f"{f'memory, grown to 10^{power} entries':<44} {done.stdout.strip()}")


def grow(place: Path, wanted: int) -> None:
    """Grow a log and print what that took: mebibytes at the most, seconds of a start."""
    begun = time.perf_counter()
    with Log.open(place, SIGNER) as log:
        start = time.perf_counter() - begun
        entry = os.urandom(KILOBYTE)
        waiting: deque[Future[int]] = deque()
        for _ in range((wanted - log.size) // 1000):
            waiting.append(log.append_together([entry] * 1000))
            if len(waiting) > 8:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{most:9.0f} MiB at most   start before it {start * 1000:7.1f} ms")


def main() -> None:
    if sys.argv[1:2] == ["--grow"]:
        grow(Path(sys.argv[2]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--largest", type=int, default=6, help="power of ten, for memory")
    parser.add_argument("--folder", type=Path, help="where to write; a scratch folder otherwise")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=wanted.folder) as scratch:
        folder = Path(scratch)
        for group in (1, 100, 1000):
            throughput(folder, wanted.entries, group)
        checking(folder, wanted.entries)
        latency(folder, 10)
        verifying(folder)
        memory(folder, wanted.largest)


if __name__ == "__main__":
    main()
