"""Another process on the same database: does what it is told on standard input, a line each."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from casemate.gate.acts import Acts
from casemate.gate.admission import Gate
from casemate.gate.country import Country
from casemate.gate.perimeter import Perimeter
from casemate.gate.policy import PolicySet
from casemate.gate.right import Rights
from casemate.settings import Settings
from casemate.store.database import Database


class Nowhere:
    index = 0

    def record(self, entry: object) -> Nowhere:
        return self


def main() -> None:
    folder = Path(sys.argv[1])
    database, country = Database.open(folder / "casemate.sqlite"), Country.load("lu")
    acts = Acts(Nowhere(), lambda: datetime.now(UTC))
    rights = Rights(PolicySet.load(folder / "policies"), acts)
    places = Perimeter.load(folder / "perimeter.toml", country, rights)
    gate = Gate(database, country, rights, places, Settings(), folder / "policies")
    gate.enforcement.start()
    owner = gate.owner()
    for line in sys.stdin:
        act, *words = line.split()
        if act == "revoke":
            gate.keys.revoke(owner, words[0])
        elif act == "disable":
            gate.principals.disable(owner, words[0])
        elif act == "clear":
            gate.principals.change(owner, words[0], clearance=country.policy.parse(words[1]))
        elif act == "suspend":
            gate.use_cases.suspend(owner, words[0], "A test.")
        elif act == "load":
            gate.enforcement.load(owner)
        print("done", flush=True)
    database.close()


if __name__ == "__main__":
    main()
