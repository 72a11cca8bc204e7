"""Cut the power under a writing ledger, between any two calls; look for anything lost or forked.

    python campaigns/power_cuts.py [--rounds 100] [--faulty 100] [--points 40] [--seed 1]

A round writes a log of some hundred entries, with small journals, so that each way of a batch is
gone; every call that changes the disk is noted. Then the disk is built as a cut after one of these
calls may leave it (campaigns/power_disk.py): with nothing that was not synced, with all of it, and
with some. Each is opened and asked: is every entry there that had been released; does the
checkpoint of then lead to what is there now; does every file prove the root, also after more was
recorded. Often the power is cut once more during that start. In a faulty round calls fail as well.
Prints the figures; exit 1 if anything was lost or forked, or a healthy log refused.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from power_disk import Disk, State

from casemate.errors import CasemateError, Unavailable
from casemate.ledger import journal, journal_shelf
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.journal_shelf import JournalShelf
from casemate.ledger.log import Log
from casemate.ledger.merkle import MerkleError, verify_consistency
from casemate.ledger.note import Signer

SIGNER = Signer.from_seed("casemate.example/cuts", bytes(range(32)))
GROUPS = 40
KEPT = (0.0, 1.0, 0.5, 0.9)  # how likely each thing that was not synced is there after a cut


@dataclass
class Released:
    """What somebody was told: entries by index, and the newest checkpoint."""

    entries: dict[int, bytes] = field(default_factory=dict)
    checkpoint: bytes = b""


@dataclass
class Found:
    """What a round found: problems, states that were opened, calls that were made to fail."""

    problems: list[str]
    states: int
    failed: int


def power_round(scratch: Path, seed: str, *, faulty: bool, points: int) -> Found:
    """Write a log in ``scratch``, and look what cuts at so many points of it leave."""
    chance = random.Random(seed)
    disk = Disk(scratch, chance)
    problems: list[str] = []
    with _small_journals(chance), disk:
        try:
            _write(scratch / "log", disk, chance, faulty)
        except CasemateError as problem:
            problems.append(f"while it was written: {problem.what}")
        states, released, found = State(), Released(), 0
        at = set(chance.sample(range(len(disk.calls)), min(points, len(disk.calls))))
        for number, call in enumerate(list(disk.calls)):
            _follow(call, states, released)
            if number not in at:
                continue
            for kept in KEPT:
                left = scratch.with_name("left")
                states.build(scratch, left, kept, chance)
                found += 1
                if problem := look(left, released, chance):
                    problems.append(f"{number} of {len(disk.calls)}, {kept} kept: {problem}")
    return Found(problems, found, disk.failed)


def _write(folder: Path, disk: Disk, chance: random.Random, faulty: bool) -> None:
    log = Log.open(JournalShelf(folder, chance.choice((0, 1, 3))), SIGNER)
    if faulty:
        disk.fails = _failing(chance)
    for _ in range(GROUPS):
        count = chance.choice((1, 1, 2, 5, 30, 260))
        most = chance.choice((40, 1200))
        group = [chance.randbytes(chance.randint(0, most)) for _ in range(count)]
        with contextlib.suppress(Unavailable):
            first = log.append_here(group)
            disk.say(dict(enumerate(group, first)), log.checkpoint())
        if chance.random() < 0.15:
            with contextlib.suppress(Unavailable):
                log._shelf.settle()
        if chance.random() < 0.1:
            time.sleep(0.003)  # so that the thread that settles has its turn
    if chance.random() < 0.5:  # else the refusals go on while it is closed
        disk.fails = lambda call: False
    log.close()


def look(left: Path, released: Released, chance: random.Random, again: bool = True) -> str:
    """Open what a cut left of a log: what is wrong with it, or nothing."""
    disk = Disk(left, chance)
    try:
        with disk, Log.open(JournalShelf(left / "log", patience=0), SIGNER) as log:
            if problem := _compare(log, released):
                return problem
            for count in (3, chance.choice((1, 300))):
                group = [b"after the cut"] * count
                first = log.append_here(group)
                disk.say(dict(enumerate(group, first)), log.checkpoint())
            log.check()
    except CasemateError as problem:
        return f"{type(problem).__name__}: {problem.what}"
    if not again or chance.random() < 0.6:
        return ""
    # The power fails once more, somewhere in what was just done.
    states = State()
    released = Released(dict(released.entries), released.checkpoint)
    for call in disk.calls[: chance.randint(disk.begun, len(disk.calls))]:
        _follow(call, states, released)
    target = left.with_name("left again")
    states.build(left, target, chance.choice(KEPT), chance)
    problem = look(target, released, chance, again=False)
    return problem and f"after a second cut: {problem}"


def _follow(call: tuple[object, ...], states: State, released: Released) -> None:
    match call:
        case ("said", dict(entries), bytes(checkpoint)):
            released.entries |= entries
            released.checkpoint = checkpoint
        case _:
            states.take(call)


def _compare(log: Log, released: Released) -> str:
    for index, entry in released.entries.items():
        if index >= log.size:
            return f"entry {index} was released and is gone"
        if log.entry(index) != entry:
            return f"entry {index} is not what was released"
    if not released.checkpoint:
        return ""
    old = Checkpoint.open(released.checkpoint, SIGNER.verifier)
    now = Checkpoint.open(log.checkpoint(), SIGNER.verifier)
    try:
        proof = log.consistency(old.size, now.size)
        verify_consistency(old.size, now.size, proof, old.root, now.root)
    except (CasemateError, MerkleError) as problem:
        return f"the checkpoint of {old.size} entries is of a fork: {problem}"
    return ""


class _failing:
    """Whether a call is to fail: now and then one, or some in a row."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._often = chance.choice((0.003, 0.01, 0.05))
        self._more = 0

    def __call__(self, call: str) -> bool:
        if self._more:
            self._more -= 1
            return True
        if self._chance.random() < self._often:
            self._more = self._chance.choice((0, 0, 1, 5))
            return True
        return False


@contextlib.contextmanager
def _small_journals(chance: random.Random) -> Iterator[None]:
    room, seconds = chance.choice((1 << 14, 1 << 16, 1 << 18)), chance.choice((0.001, 0.01, 3600))
    with (
        mock.patch.object(journal, "ROOM", room),
        mock.patch.object(journal_shelf, "_SETTLE_SECONDS", seconds),
    ):
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--faulty", type=int, default=100)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    found: list[Found] = []
    for number in range(wanted.rounds + wanted.faulty):
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder, "disk")
            scratch.mkdir()
            faulty, seed = number >= wanted.rounds, f"{wanted.seed}/{number}"
            found.append(power_round(scratch, seed, faulty=faulty, points=wanted.points))
        for problem in found[-1].problems:
            print(f"{number}: {problem}", flush=True)
    problems = sum(len(one.problems) for one in found)
    print(
        f"{len(found):,} rounds, {sum(one.failed for one in found):,} calls failed, "
        f"{sum(one.states for one in found):,} states after a cut opened, {problems} problems"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
