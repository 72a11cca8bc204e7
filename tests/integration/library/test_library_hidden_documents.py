"""What one may not see changes nothing, in a library large enough for statistics to matter."""

from __future__ import annotations

import random
from importlib import resources
from pathlib import Path

from house_builders import a_file, a_house

from casemate.lab import score

HIDDEN = 300


def a_page(dice: random.Random) -> str:
    words = ("".join(dice.choices("bcdfgmnxaeiou", k=7)) for _ in range(60))
    return f"# A page\n\n{' '.join(words)}.\n"


def test_hidden_documents_change_neither_hits_nor_scores_nor_answers(tmp_path: Path) -> None:
    demo = Path(str(resources.files("casemate.demo")))
    asked = score.questions((demo / "questions.toml").read_bytes())[::4]
    papers = [one for one in sorted((demo / "corpus").rglob("*")) if one.is_file()]
    dice = random.Random(1)
    with a_house(tmp_path / "data") as house:
        house.clear_owner_for("restricted")
        house.collection("open")
        house.collection("hidden", "restricted")
        library, bob = house.installation.library, house.person("bob")
        files = [a_file(one.name, one.read_bytes()) for one in papers]
        assert {one.outcome for one in library.add_all(house.owner, "open", files)} == {"added"}

        def told() -> list[object]:
            return [
                (
                    [(hit.passage.id, hit.score, hit.why) for hit in library.search(bob, one.text)],
                    house.ask(one.text, bob).answer.text,
                )
                for one in asked
            ]

        before = told()
        house.add("hidden", **{f"page{number}": a_page(dice) for number in range(HIDDEN)})
        assert told() == before
