from __future__ import annotations

import pytest
from gate_builders import World

from casemate.errors import Conflict, Invalid, NotFound, Refused
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
