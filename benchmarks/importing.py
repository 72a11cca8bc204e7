"""Importing: documents and passages per second, of the demo corpus and of plain text."""

from __future__ import annotations

import tempfile
import time
from importlib import resources
from pathlib import Path

from prose import documents

from casemate.installation import Installation
from casemate.library.importing import File

PLAIN = 500


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Installation.open(Path(folder) / "d") as house:
        caller = house.gate.owner()
        corpus = Path(str(resources.files("casemate.demo"))) / "corpus"
        mixed = [
            (path.relative_to(corpus).as_posix(), path.read_bytes())
            for path in sorted(corpus.rglob("*"))
            if path.is_file()
        ]
        measure(house, caller, "mixed formats (demo corpus)", mixed)
        plain = [(f"{n}.txt", text.encode()) for n, text in enumerate(documents(PLAIN))]
        measure(house, caller, "plain text, about 4,000 characters", plain)
        measure(house, caller, "the same again, unchanged", plain)


def measure(house: Installation, caller: object, name: str, files: list[tuple[str, bytes]]) -> None:
    collection = "plain" if files[0][0].endswith(".txt") else "mixed"
    known = {one.name for one in house.library.collections(caller)}  # type: ignore[arg-type]
    if collection not in known:
        house.library.create_collection(caller, collection)  # type: ignore[arg-type]
    before = house.library._importing.passages()
    begun = time.perf_counter()
    offered = [File(n, len(c), lambda c=c: c) for n, c in files]  # type: ignore[misc]
    done = list(house.library.add_all(caller, collection, offered))  # type: ignore[arg-type]
    seconds = time.perf_counter() - begun
    passages = house.library._importing.passages() - before
    print(
        f"{name:<44} {len(done) / seconds:9.0f} documents/s  {passages / seconds:9.0f} passages/s"
        f"   ({len(done)} documents, {seconds:.2f} s)"
    )


if __name__ == "__main__":
    main()
