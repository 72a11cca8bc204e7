"""Kill Casemate with signal 9 at random moments, start it again, and look for anything lost.

    python campaigns/kill.py [--rounds 50] [--seed 1]

Each round kills one `casemate add` and one `casemate ask`, then opens the folder and checks: it
recovers by itself; no document is half there; no answer was told without its entry in the ledger;
adding again completes. Prints one line for each round and the figures at the end; exit 1 if
anything was lost.

A moment is drawn by its seed: a share of the bytes that an undisturbed command writes to the
data folder, a share of what it prints, or a share of the time that it takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from casemate.installation import Installation
from casemate.library.parse import Reader
from casemate.library.passage import split
from casemate.store.blobs import digest_of

DOCUMENTS = 70  # more than one batch
QUESTION = "How much is the fee for service 7, and when is the deadline for service 7?"
RECORDED = re.compile(r"Recorded as entry ([\d,]+) of ")


def papers(folder: Path, year: int) -> dict[str, bytes]:
    """Documents that differ in every word that matters; their bytes by name."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for number in range(DOCUMENTS):
        text = f"# Service {number} in {year}\n\n" + "\n\n".join(
            f"## Part {part}\n\nThe fee for service {number} is {number * 7 + part} euros. "
            f"The deadline for service {number} is {1 + part} May. " + "More is said here. " * 20
            for part in range(2)
        )
        made[f"service-{number}.md"] = text.encode()
        (folder / f"service-{number}.md").write_bytes(text.encode())
    return made


@dataclass(frozen=True)
class Moment:
    """When to kill: at ``share`` of what an undisturbed run writes, prints, or takes."""

    kind: str  # disk | output | time
    share: float

    @classmethod
    def draw(cls, seed: str, kinds: tuple[str, ...]) -> Moment:
        drawn = random.Random(seed)
        return cls(drawn.choice(kinds), drawn.random())


@dataclass(frozen=True)
class Measure:
    """What an undisturbed command writes to disk, prints, and takes."""

    disk: int
    output: int
    seconds: float


@dataclass
class Killed:
    """A command after its moment: what it had printed, and whether it was faster than the kill."""

    out: str
    survived: bool


def size_of(folder: Path) -> int:
    """Bytes of every file below ``folder``, which changes while we look."""
    total = 0
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def command(data: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "casemate", *arguments, "--data", str(data)]


def environment() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("CASEMATE_")}
    return {**kept, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def measured(data: Path, arguments: list[str]) -> Measure:
    """Run a command undisturbed."""
    before, begun = size_of(data), time.monotonic()
    done = subprocess.run(
        command(data, *arguments), capture_output=True, env=environment(), check=True
    )
    return Measure(size_of(data) - before, len(done.stdout), time.monotonic() - begun)


def killed(data: Path, arguments: list[str], moment: Moment, whole: Measure) -> Killed:
    """Run a command and kill it at its moment."""
    before, begun = size_of(data), time.monotonic()
    process = subprocess.Popen(
        command(data, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    told = b""
    while process.poll() is None:
        told += process.stdout.read() or b""
        if (
            (moment.kind == "disk" and size_of(data) - before >= moment.share * whole.disk)
            or (moment.kind == "output" and len(told) >= max(1, moment.share * whole.output))
            or (moment.kind == "time" and time.monotonic() - begun >= moment.share * whole.seconds)
        ):
            process.kill()
            break
    code = process.wait()
    os.set_blocking(process.stdout.fileno(), True)
    told += process.stdout.read()
    process.stdout.close()
    return Killed(told.decode(errors="replace"), survived=code == 0)


@dataclass
class Found:
    """What is in a folder that was opened again."""

    lost: list[str] = field(default_factory=list)
    documents: int = 0
    failed_runs: int = 0
    orphans: int = 0


def check(
    data: Path, old: dict[str, bytes], new: dict[str, bytes], told: str = "", *, whole: bool = False
) -> Found:
    """Open the folder, as the next start does, and look at everything in it.

    old: the documents that were there; each must be, in this or its new version. With ``whole``,
    every new one must be. told: what a killed ``ask`` had printed.
    """
    found = Found()
    with Installation.open(data) as installation:
        owner = installation.gate.owner()
        with installation.database.read() as connection:
            state = Counter(
                connection.exec_driver_sql("SELECT state FROM documents").scalars().all()
            )
            cut_off = connection.exec_driver_sql(
                "SELECT count(*) FROM runs WHERE outcome IS NULL"
            ).scalar()
            passages = connection.exec_driver_sql(
                "SELECT document, start, end, text, page, heading FROM passages ORDER BY ordinal"
            ).all()
        if set(state) - {"ready"}:
            found.lost.append(f"documents left half-way: {dict(state)}")
        if cut_off:
            found.lost.append(f"{cut_off} runs left open")
        if installation.library._index.size() != len(passages):
            found.lost.append("the index does not hold every passage")
        installation.log.check()
        entries = [json.loads(raw) for _, raw in installation.log.entries()]
        recorded = {
            id
            for entry in entries
            if entry["kind"] == "documents.added"
            for id in entry["documents"]
        }
        names: dict[str, str] = {}
        digests = set()
        with Reader() as reader:
            for document in installation.library.documents(owner):
                content = installation.library.original(owner, document.id)
                text = installation.library.text(owner, document.id)
                digests |= {digest_of(content), digest_of(text.encode())}
                spans = [
                    (span.start, span.end, text[span.start : span.end], span.page, span.heading)
                    for span in split(reader.read(document.name, content))
                ]
                version = "new" if content == new.get(document.name) else "old"
                names[document.name] = version
                if version == "old" and content != old.get(document.name):
                    found.lost.append(f"{document.name}: its bytes are not those that were added")
                if [tuple(row)[1:] for row in passages if row[0] == document.id] != spans:
                    found.lost.append(f"{document.name}: its passages are not all there")
                if document.id not in recorded:
                    found.lost.append(f"{document.name}: readable without an entry")
                sampled = len(names) % 14 == 0  # a search for each would take most of the time
                if sampled and not any(
                    hit.passage.document == document.id
                    for hit in installation.library.search(
                        owner, document.name.replace("-", " ").removesuffix(".md"), limit=100
                    )
                ):
                    found.lost.append(f"{document.name}: not found by a search")
        found.documents = sum(version == "new" for version in names.values())
        if missing := set(new if whole else old) - set(names):
            found.lost.append(f"missing: {sorted(missing)}")
        if whole and "old" in names.values():
            found.lost.append("not every document was replaced")
        found.orphans = sum(
            1
            for path in (data / "blobs").rglob("*")
            if path.is_file() and f"sha256:{path.name}" not in digests
        )
        found.lost += _answers(installation, owner, entries, told)
        found.failed_runs = sum(
            run.outcome == "failed" for run in installation.runs.list(owner, limit=1000)
        )
    return found


def _answers(
    installation: Installation, owner: Any, entries: list[dict[str, Any]], told: str
) -> list[str]:
    """What was told of an answer and is not in the ledger."""
    from casemate.ledger.verify import verify

    lost = []
    admitted = [entry["run"] for entry in entries if entry["kind"] == "run.admitted"]
    finished = Counter(entry["run"] for entry in entries if entry["kind"] == "run.finished")
    known = {run.id for run in installation.runs.list(owner, limit=1000)}
    if told.strip() and not admitted:
        lost.append("something was told of a run that was never admitted")
    if not set(admitted) <= known:
        lost.append("the ledger holds a run that the database lost")
    if set(finished) != set(admitted):
        lost.append("a run was admitted and never finished")
    if any(count > 1 for count in finished.values()):
        lost.append("a run is finished twice in the ledger")
    if match := RECORDED.search(told):
        entry = entries[int(match.group(1).replace(",", ""))]
        if entry["kind"] != "run.finished" or entry["outcome"] == "failed":
            lost.append("an answer was called recorded and is not")
        else:
            verify(installation.runs.receipt(owner, entry["run"]), installation.log.vkey)
    return lost


def one_round(folder: Path, seed: str, kinds: tuple[str, ...], add: Measure, ask: Measure) -> Found:
    """Kill an ``add`` in a folder of its own, look, finish it, kill an ``ask``, look again."""
    data = folder / "data"
    adding = ["add", str(folder / "papers"), "--collection", "notes"]
    old: dict[str, bytes] = {}
    if random.Random(f"{seed} old").random() < 0.5:
        old = papers(folder / "papers", 2025)
        subprocess.run(command(data, *adding), capture_output=True, env=environment(), check=True)
    new = papers(folder / "papers", 2026)
    killed(data, adding, Moment.draw(f"{seed} add", kinds), add)
    found = check(data, old, new)
    subprocess.run(command(data, *adding), capture_output=True, env=environment(), check=True)
    again = check(data, new, new, whole=True)
    told = killed(data, ["ask", QUESTION], Moment.draw(f"{seed} ask", kinds), ask)
    after = check(data, new, new, told.out, whole=True)
    return Found(
        [*found.lost, *again.lost, *after.lost],
        found.documents,
        after.failed_runs,
        found.orphans + again.orphans + after.orphans,
    )


def undisturbed(folder: Path) -> tuple[Measure, Measure]:
    """What an ``add`` into a new folder and an ``ask`` write, print and take."""
    data = folder / "data"
    papers(folder / "papers", 2026)
    add = measured(data, ["add", str(folder / "papers"), "--collection", "notes"])
    return add, measured(data, ["ask", QUESTION])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=50)
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    lost = orphans = failed = 0
    with tempfile.TemporaryDirectory(prefix="casemate-kill-") as temporary:
        add, ask = undisturbed(Path(temporary) / "undisturbed")
        for number in range(chosen.rounds):
            seed = f"{chosen.seed}/{number}"
            found = one_round(
                Path(temporary) / str(number), seed, ("disk", "output", "time"), add, ask
            )
            lost, orphans = lost + bool(found.lost), orphans + found.orphans
            failed += found.failed_runs
            print(
                f"round {number + 1}: {found.documents} of {DOCUMENTS} documents were in, "
                f"{found.failed_runs} runs cut off and closed, {found.orphans} blobs left over"
                + "".join(f"; LOST: {one}" for one in found.lost),
                flush=True,
            )
    print(
        f"{chosen.rounds} rounds, {2 * chosen.rounds} kills: something lost in {lost}, "
        f"{failed} runs cut off and closed, {orphans} blobs left over."
    )
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
