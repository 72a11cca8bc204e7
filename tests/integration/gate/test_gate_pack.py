"""A country pack of one's own: checked as a whole, in force from the next start, never half."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest
from house_builders import FEES, House, a_house

from casemate.errors import Invalid, Refused

PACK = resources.files("casemate.countries").joinpath("lu", "pack.toml").read_text("utf-8")
SHORT = PACK.replace("label_review_years = 5", "").replace(
    "retention_floor_days = 183", "label_review_years = 2\nretention_floor_days = 183", 1
)
HOLE = PACK.replace('"eu:secret", ', "")


def test_a_pack_with_a_hole_is_refused_and_what_runs_stays(house: House) -> None:
    gate = house.installation.gate
    for broken, hole in (
        (HOLE, "'eu:secret' has no equivalent"),
        (PACK.replace('id = "lu"', 'id = "be"', 1), "calls itself 'be'"),
        (PACK.replace('id = "lu"', "", 1), "not usable|holes"),
        ("\udcff", "not usable"),
    ):
        with pytest.raises(Invalid, match=hole):
            gate.pack.use(house.owner, broken.encode("utf-8", "surrogateescape"))
    assert not (house.folder / "country.toml").exists()
    assert "country.changed" not in {one["kind"] for one in house.entries()}
    house.add("notes", fees=FEES)
    assert house.installation.library.search(house.owner, "dog tax")


def test_a_pack_is_in_force_from_the_next_start_and_on_record(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        house.collection("notes")
        house.installation.gate.pack.use(house.owner, SHORT.encode())
        assert house.installation.gate.country.label_review_years == 5
        assert house.entries()[-1]["kind"] == "country.changed"
    with a_house(tmp_path / "data") as house:
        assert house.installation.gate.country.label_review_years == 2
    (tmp_path / "data" / "country.toml").write_text(HOLE)
    with pytest.raises(Invalid, match="eu:secret"), a_house(tmp_path / "data"):
        pass


def test_a_pack_that_does_not_understand_what_is_stored_is_refused(house: House) -> None:
    house.clear_owner_for("nato:secret")
    without = PACK
    start, end = PACK.index('[[other]]\nid = "nato"'), PACK.index("[[authority]]")
    without = PACK[:start] + PACK[end:]
    for level in ("unclassified", "restricted", "confidential", "secret", "top-secret"):
        without = without.replace(f', "nato:{level}"', "")
    with pytest.raises(Invalid, match="does not understand nato:secret"):
        house.installation.gate.pack.check(without.encode())


def test_a_pack_lets_nobody_read_more(house: House) -> None:
    house.clear_owner_for("internal:strictly-confidential")
    house.collection("plan", "internal:strictly-confidential")
    house.person("bob", "internal:confidential")
    rungs = '  ["internal:confidential"],\n  ["internal:strictly-confidential"],\n'
    assert rungs in PACK
    moved = PACK.replace(rungs, '  ["internal:strictly-confidential"],\n').replace(
        '"lu:restricted", "eu', '"lu:restricted", "internal:x", "eu'
    )
    with pytest.raises(Invalid):
        house.installation.gate.pack.check(moved.encode())
    free = PACK.replace("binds = true # C-M", "binds = false # C-M")
    house.clear_owner_for("lu:secret+nato")
    house.collection("allied", "nato:secret")
    house.person("carla", "lu:secret")
    with pytest.raises(Invalid, match=r"\+nato"):
        house.installation.gate.pack.check(free.encode())
    low = PACK.replace(
        '  ["internal:internal"],\n  ["internal:confidential"],\n'
        '  ["internal:strictly-confidential"],\n'
        '  ["lu:restricted", "eu:restricted", "nato:restricted"],\n',
        '  ["lu:restricted", "eu:restricted", "nato:restricted"],\n'
        '  ["internal:internal"],\n  ["internal:confidential"],\n'
        '  ["internal:strictly-confidential"],\n',
    )
    assert low != PACK
    house.clear_owner_for("lu:top-secret+nato")
    house.collection("register", "restricted")
    with pytest.raises(Refused, match="internal:confidential could read lu:restricted"):
        house.installation.gate.pack.check(low.encode())


def test_only_the_owner_changes_what_labels_mean(house: House) -> None:
    admin = house.person("ada", roles=("admin", "user"))
    with pytest.raises(Refused, match="owner"):
        house.installation.gate.pack.use(admin, SHORT.encode())
    with pytest.raises(Refused):
        house.installation.gate.pack.use(house.person("bob"), SHORT.encode())
