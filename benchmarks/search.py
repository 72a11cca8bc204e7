"""Search: p50 and p95 of the whole way, index, rights in the query and re-check in the database."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from figures import line, timed
from prose import documents, questions

from casemate.installation import Installation
from casemate.library.importing import File


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [1_000, 10_000, 100_000]
    with tempfile.TemporaryDirectory() as folder, Installation.open(Path(folder) / "d") as house:
        caller = house.gate.owner()
        house.library.create_collection(caller, "load")
        texts = enumerate(documents(10**9))
        for size in sizes:
            begun = time.perf_counter()
            while house.library._importing.passages() < size:
                batch = [next(texts) for _ in range(256)]
                files = [File(f"{n}.txt", len(t), lambda t=t: t.encode()) for n, t in batch]  # type: ignore[misc]
                list(house.library.add_all(caller, "load", files))
            filled = time.perf_counter() - begun
            asked = iter(questions(400) * 2)
            found = timed(
                300, lambda asked=asked: house.library.search(caller, next(asked)), warm=20
            )
            passages = house.library._importing.passages()
            print(line(f"search, {passages:,} passages", found), f"  (filled in {filled:.0f} s)")


if __name__ == "__main__":
    main()
