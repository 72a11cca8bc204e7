"""The ledger changes its key while it works: the drill that an operator does, step by step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from house_builders import DOG_TAX, FEES, House, a_house, a_server, casemate

from casemate.errors import Conflict, Refused
from casemate.ledger.verify import Unproven, verify


def test_the_drill_with_receipts_from_before_during_and_after(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def a_receipt(house: House) -> bytes:
        run = house.ask(DOG_TAX).run
        return house.installation.runs.receipt(house.owner, run)

    with a_house(data) as house:
        house.add("notes", fees=FEES)
        rotation = house.installation.rotation
        old = rotation.keys().vkey
        before = a_receipt(house)
        with pytest.raises(Conflict, match="not changing"):
            rotation.finish(house.owner)
        new = rotation.begin(house.owner).next
        assert new is not None
        with pytest.raises(Conflict, match="already"):
            rotation.begin(house.owner)
        during = a_receipt(house)
    with a_house(data) as house:  # both sign after a start as well
        rotation = house.installation.rotation
        assert house.installation.log.vkeys == (old, new)
        assert rotation.finish(house.owner).retired == (old,)
        after = a_receipt(house)
    with a_house(data) as house:
        assert house.installation.log.vkeys == (new,)
        house.installation.log.check()
        # asked for again, a receipt from before is one of today
        kinds = [json.loads(entry)["kind"] for _, entry in house.installation.log.entries()]
    assert [kind for kind in kinds if kind.startswith("ledger.key")] == [
        "ledger.key_added",
        "ledger.key_retired",
    ]
    for receipt, holders in ((before, {old}), (during, {old, new}), (after, {new})):
        for key in (old, new):
            if key in holders:
                verify(receipt, key)
            else:
                with pytest.raises(Unproven):
                    verify(receipt, key)


def test_a_step_that_was_cut_off_is_made_whole_before_the_next(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        rotation, log = house.installation.rotation, house.installation.log
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(log, "sign_with", lambda signer, also=(): 1 / 0 if also else None)
            with pytest.raises(ZeroDivisionError):
                rotation.begin(house.owner)
        new = rotation.keys().next  # the file has it, the log does not sign with it yet
        assert new is not None
        assert new not in log.vkeys
        rotation.finish(house.owner)
    with a_house(tmp_path / "data") as house:
        assert house.installation.log.vkeys == (new,)


def test_a_change_can_be_given_up(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        rotation = house.installation.rotation
        old, new = rotation.keys().vkey, rotation.begin(house.owner).next
        keys = rotation.cancel(house.owner)
        assert (keys.vkey, keys.next, keys.retired) == (old, None, (new,))
        assert house.installation.log.vkeys == (old,)


def test_only_who_administers_changes_the_key(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        bob = house.person("bob")
        with pytest.raises(Refused):
            house.installation.rotation.begin(bob)
        assert house.installation.rotation.keys().next is None


def test_the_commands_do_it_beside_a_running_server_and_consistency_spans_both_keys(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with a_house(data):
        pass
    first = tmp_path / "first"
    with a_server(data):
        first.write_text(casemate("ledger", "checkpoint", data=data).out)
        begun = casemate("ledger", "rotate", "begin", data=data)
        assert "Both keys sign" in begun.err
        old, new = begun.out.splitlines()
        assert casemate("ledger", "key", data=data).out == begun.out
        finished = casemate("ledger", "rotate", "finish", data=data)
        assert finished.out.splitlines() == [new]
        shown = json.loads(casemate("ledger", "key", "--json", data=data).out)
        assert shown == {"vkey": new, "next": None, "retired": [old]}
        second = tmp_path / "second"
        second.write_text(casemate("ledger", "checkpoint", data=data).out)
        keys = tmp_path / "keys"
        keys.write_text(f"{old}\n{new}\n")
        compared = casemate(
            "ledger", "consistency", str(first), str(second), "--key", str(keys), data=data
        )
        assert compared.code == 0, compared.err
        again = casemate("ledger", "rotate", "finish", data=data)
        assert again.code == 1
        assert "not changing its key" in again.err
    assert "every byte as signed" in casemate("ledger", "check", data=data).out
