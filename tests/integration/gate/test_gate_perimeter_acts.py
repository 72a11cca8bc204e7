from __future__ import annotations

import pytest
from gate_builders import World

from casemate.errors import Conflict, Invalid, NotFound, Refused
from casemate.gate.connection import Ways
from casemate.gate.perimeter import Perimeter

PLACE = {"name": "rack", "host": "10.1.0.0/16", "ports": [8000], "jurisdiction": "LU"}


def test_a_place_added_by_the_owner_is_reached_recorded_and_still_there_after_a_restart(
    world: World,
) -> None:
    gate, low = world.gate, world.label("unclassified")
    gate.perimeter.add(world.owner, **PLACE, ceiling=world.label("restricted//rel=LU"))
    gate.perimeter.add(world.owner, name="s", host="/run/x.sock", jurisdiction="LU", ceiling=low)
    assert gate.perimeter.check("http://10.1.0.1:8000", low).name == "rack"
    again = Perimeter.load(gate.perimeter._path, gate.country)
    assert again.places == gate.perimeter.places
    entry = world.ledger.entries[-2]
    assert entry["kind"] == "perimeter.added"
    assert entry["actor"] == world.owner.principal.pseudonym
    assert "10.1" not in str(entry)


def test_a_place_removed_is_refused_at_once(world: World) -> None:
    gate, low = world.gate, world.label("unclassified")
    gate.perimeter.add(world.owner, **PLACE, ceiling=low)
    gate.perimeter.remove(world.owner, "rack")
    with pytest.raises(Refused):
        gate.perimeter.check("http://10.1.0.1:8000", low)
    with pytest.raises(NotFound):
        gate.perimeter.remove(world.owner, "rack")
    assert world.ledger.kinds()[-1] == "perimeter.removed"


def test_an_admin_who_is_not_the_owner_does_not_move_the_perimeter(world: World) -> None:
    with pytest.raises(Refused, match="owners-move-the-perimeter"):
        world.gate.perimeter.add(world.admin(), **PLACE, ceiling=world.label("unclassified"))
    assert world.gate.perimeter.places == ()
    assert world.ledger.kinds()[-1] == "refused"


def test_a_bad_place_changes_nothing(world: World) -> None:
    gate, low = world.gate, world.label("unclassified")
    gate.perimeter.add(world.owner, **PLACE, ceiling=low)
    before = gate.perimeter._path.read_bytes()
    with pytest.raises(Conflict):
        gate.perimeter.add(world.owner, **PLACE, ceiling=low)
    with pytest.raises(Invalid):
        gate.perimeter.add(world.owner, **PLACE | {"name": 'x"\n[[place]]'}, ceiling=low)
    assert gate.perimeter._path.read_bytes() == before


def test_what_the_ledger_cannot_hold_does_not_move_the_perimeter(world: World) -> None:
    world.ledger.broken = True
    with pytest.raises(OSError, match="no room"):
        world.gate.perimeter.add(world.owner, **PLACE, ceiling=world.label("unclassified"))
    assert world.gate.perimeter.places == ()
    assert not world.gate.perimeter._path.exists()


GOOD = """
[[place]]
name = "rack"
host = "10.1.0.0/16"
ports = [8000]
jurisdiction = "LU"
ceiling = "lu:restricted"
"""


def test_a_file_that_was_changed_by_hand_is_put_into_force_on_record(world: World) -> None:
    perimeter, low = world.gate.perimeter, world.label("unclassified")
    perimeter._path.write_text(GOOD)
    assert perimeter.edited
    with pytest.raises(Refused):
        perimeter.check("http://10.1.0.1:8000", low)
    before = perimeter.digest
    assert [place.name for place in perimeter.reload(world.owner)] == ["rack"]
    assert perimeter.check("http://10.1.0.1:8000", low).name == "rack"
    entry = world.ledger.entries[-1]
    assert entry["kind"] == "perimeter.changed"
    assert (entry["before"], entry["after"]) == (before, perimeter.digest)
    assert entry["actor"] == world.owner.principal.pseudonym


@pytest.mark.parametrize(
    ("bad", "wrong"),
    [
        (GOOD.replace("LU", "Luxembourg"), "Place 'rack': its jurisdiction"),
        (GOOD + GOOD, "two places called 'rack'"),
        (GOOD + "[[place]]\n", "not usable"),
        ("place = 7", "not usable"),
        ("\x00", "not usable"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_what_is_in_force_stays(
    world: World, bad: str, wrong: str
) -> None:
    perimeter, low = world.gate.perimeter, world.label("unclassified")
    perimeter.add(world.owner, **PLACE, ceiling=low)
    perimeter._path.write_text(bad)
    entries = len(world.ledger.entries)
    with pytest.raises(Invalid, match=wrong):
        perimeter.reload(world.owner)
    assert perimeter.check("http://10.1.0.1:8000", low).name == "rack"
    assert len(world.ledger.entries) == entries


def test_a_change_by_hand_is_not_overwritten_by_a_command(world: World) -> None:
    perimeter, low = world.gate.perimeter, world.label("unclassified")
    perimeter._path.write_text(GOOD)
    with pytest.raises(Conflict, match="changed by hand"):
        perimeter.add(world.owner, **PLACE | {"name": "other"}, ceiling=low)
    assert perimeter._path.read_text() == GOOD
    perimeter.reload(world.owner)
    perimeter.remove(world.owner, "rack")


def test_a_change_while_nothing_ran_is_recorded_at_the_next_start(world: World) -> None:
    gate = world.gate
    gate.perimeter.settle()
    assert "perimeter.changed" not in world.ledger.kinds()
    gate.perimeter._path.write_text(GOOD)
    again = Perimeter.load(gate.perimeter._path, gate.country, gate.rights)
    again.settle()
    entry = world.ledger.entries[-1]
    assert (entry["kind"], entry["actor"]) == ("perimeter.changed", "installation")
    assert entry["after"] == again.digest
    again.settle()
    assert world.ledger.kinds().count("perimeter.changed") == 1


def test_an_admin_who_is_not_the_owner_does_not_reload_it(world: World) -> None:
    world.gate.perimeter._path.write_text(GOOD)
    with pytest.raises(Refused, match="owners-move-the-perimeter"):
        world.gate.perimeter.reload(world.admin())
    assert world.gate.perimeter.places == ()


def test_a_way_ends_with_its_place(world: World) -> None:
    gate = world.gate
    gate.perimeter.add(world.owner, **PLACE, ceiling=world.label("unclassified"))
    ways = Ways()
    ways.allow(gate.perimeter.route("http://10.1.0.1:8000", world.label("unclassified")))
    assert ways.lead_to("10.1.0.1", 8000)
    gate.perimeter.remove(world.owner, "rack")
    assert not ways.lead_to("10.1.0.1", 8000)
