"""Kill a writing ledger, and make its system calls fail, again and again; look for anything lost.

    python campaigns/ledger_faults.py [--kills 1000] [--faults 1000] [--seed 1]

A kill is signal 9 while eight threads append. A fault is EIO, ENOSPC or signal 9 at the so-many-th
write, sync, rename or unlink of a run, injected by strace (Debian's package ``strace``). After
each round the log is opened again and asked: is every entry that was released there, at its index;
does every checkpoint that anybody saw lead to what is there now; does every file prove the root;
how long did the start take. Rounds share one log, which begins
anew above 256,000 entries. Prints the
figures; exit 1 if anything was lost or forked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import random
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from casemate.errors import CasemateError
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.log import Log
from casemate.ledger.merkle import MerkleError, verify_consistency
from casemate.ledger.note import Signer

SIGNER = Signer.from_seed("casemate.example/faults", bytes(range(32)))
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "unlink")
FAILURES = ("error=EIO", "error=ENOSPC", "signal=KILL")
ATTEMPTS = 40  # groups that a run with a fault appends


@dataclass
class Seen:
    """What a writer told before it ended: released entries and checkpoints."""

    entries: dict[int, str] = field(default_factory=dict)
    checkpoints: list[bytes] = field(default_factory=list)
    refused: int = 0

    def add(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "entry":
            index, _, digest = rest.partition(" ")
            self.entries[int(index)] = digest
        elif kind == "checkpoint":
            self.checkpoints.append(base64.b64decode(rest))
        elif kind == "refused":
            self.refused += 1


@dataclass
class Found:
    """What a round left: problems, entries released in it, seconds of the next start."""

    problems: list[str]
    released: int
    refused: int
    seconds: float


def write(folder: Path, told: socket.socket, seed: str, threads: int, attempts: int) -> None:
    """The writer: appends groups from several threads and tells what was released."""
    log = Log.open(folder, SIGNER)
    one_at_a_time = threading.Lock()

    def tell(*lines: str) -> None:
        with one_at_a_time:
            told.sendall("".join(f"{line}\n" for line in lines).encode())

    def append(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        for _ in range(attempts):
            group = [chance.randbytes(chance.randint(0, 1500)) for _ in range(_count(chance))]
            try:
                first = log.append_together(group).result()
            except CasemateError:
                tell("refused")
                continue
            released = (
                f"entry {index} {hashlib.sha256(entry).hexdigest()}"
                for index, entry in enumerate(group, first)
            )
            tell(*released, f"checkpoint {base64.b64encode(log.checkpoint()).decode()}")

    writers = [threading.Thread(target=append, args=(number,)) for number in range(threads)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    log.close()


def _count(chance: random.Random) -> int:
    return chance.choice((1, 1, 1, 2, 5, 40, 300))


def kill_round(folder: Path, seed: str) -> Found:
    """Kill a writer with eight threads after some tens or hundreds of releases."""
    chance = random.Random(seed)
    seen = Seen()
    enough = chance.randint(0, 120)
    with _writer(folder, seed, threads=8, attempts=100_000) as (process, lines):
        for line in lines:
            seen.add(line)
            if line.startswith("checkpoint") and (enough := enough - 1) < 0:
                break
        # not at the moment of a release, but anywhere in the batches that follow
        select.select([], [], [], chance.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        for line in lines:
            seen.add(line)
    return look(folder, seen)


def fault_round(folder: Path, call: str, failure: str, when: int, seed: str) -> Found:
    """Let one system call of a writer fail, the so-many-th, or kill it there."""
    seen = Seen()
    inject = f"inject={call}:{failure}:when={when}"
    strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject)
    with _writer(folder, seed, *strace, threads=2, attempts=ATTEMPTS) as (_, lines):
        for line in lines:
            seen.add(line)
    return look(folder, seen)


def look(folder: Path, seen: Seen) -> Found:
    """Open the log again and compare it with what was seen of it."""
    problems: list[str] = []
    begun = time.perf_counter()
    with Log.open(folder, SIGNER) as log:
        seconds = time.perf_counter() - begun
        log.append(b"the next one").result()
        for index, digest in seen.entries.items():
            if index >= log.size:
                problems.append(f"entry {index} was released and is gone")
            elif hashlib.sha256(log.entry(index)).hexdigest() != digest:
                problems.append(f"entry {index} is not what was released")
        now = Checkpoint.open(log.checkpoint(), SIGNER.verifier)
        for raw in seen.checkpoints[-1:] + seen.checkpoints[:1]:
            old = Checkpoint.open(raw, SIGNER.verifier)
            try:
                proof = log.consistency(old.size, now.size)
                verify_consistency(old.size, now.size, proof, old.root, now.root)
            except (CasemateError, MerkleError) as problem:
                problems.append(f"the checkpoint of {old.size} entries is of a fork: {problem}")
        try:
            log.check()
        except CasemateError as problem:
            problems.append(problem.what)
    return Found(problems, len(seen.entries), seen.refused, seconds)


class _writer:
    """A writer in a process of its own, and the lines that it tells until it ends."""

    def __init__(self, folder: Path, seed: str, *before: str, threads: int, attempts: int) -> None:
        ours, theirs = socket.socketpair()
        self._ours = ours
        arguments = (str(folder), str(theirs.fileno()), seed, str(threads), str(attempts))
        self._process = subprocess.Popen(
            [*before, sys.executable, "-B", __file__, "--write", *arguments],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.DEVNULL,
        )
        theirs.close()

    def __enter__(self) -> tuple[subprocess.Popen[bytes], Iterator[str]]:
        return self._process, self._lines()

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._process.kill()
        self._process.wait()

    def _lines(self) -> Iterator[str]:
        rest = b""
        while piece := self._ours.recv(1 << 16):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode()


def campaign(kills: int, faults: int, seed: int) -> int:
    """All rounds, with a line of figures for each kind of them. 1 if anything was lost."""
    chance = random.Random(seed)
    found: list[Found] = []
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "log"
        for number in range(kills + faults):
            if number < kills:
                kind = "kill"
                found.append(kill_round(folder, f"{seed}/{number}"))
            else:
                call, failure = chance.choice(CALLS), chance.choice(FAILURES)
                kind = f"{call} {failure}"
                when = chance.randint(1, 12 if call == "unlink" else 400)
                found.append(fault_round(folder, call, failure, when, f"{seed}/{number}"))
            kinds[kind] += 1
            for problem in found[-1].problems:
                print(f"{number}: {kind}: {problem}", flush=True)
            if (folder / "tile/0/x001").exists():  # above 256,000 entries
                shutil.rmtree(folder)
    return _report(found, kinds)


def _report(found: list[Found], kinds: Counter[str]) -> int:
    starts = sorted(one.seconds for one in found)
    problems = sum(len(one.problems) for one in found)
    print(
        f"{len(found):,} rounds: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    )
    print(
        f"{sum(one.released for one in found):,} entries released, "
        f"{sum(one.refused for one in found):,} groups refused, {problems} lost or forked"
    )
    print(
        f"start after it: median {statistics.median(starts) * 1000:.0f} ms, "
        f"slowest {starts[-1] * 1000:.0f} ms"
    )
    return 1 if problems else 0


def main() -> int:
    if sys.argv[1:2] == ["--write"]:
        folder, descriptor, seed, threads, attempts = sys.argv[2:]
        with socket.socket(fileno=int(descriptor)) as told:
            write(Path(folder), told, seed, int(threads), int(attempts))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    if wanted.faults and shutil.which("strace") is None:
        parser.error("strace is not installed; --faults 0 does without it")
    return campaign(wanted.kills, wanted.faults, wanted.seed)


if __name__ == "__main__":
    sys.exit(main())
