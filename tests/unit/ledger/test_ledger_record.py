import asyncio

import pytest
from ledger_builders import a_signer, record_run

from casemate.errors import NotFound, TooLarge
from casemate.ledger.log import Log
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.receipt import ReceiptError, canonical
from casemate.ledger.record import Ledger
from casemate.ledger.verify import verify


@pytest.fixture
def ledger(tmp_path):
    with Log.open(tmp_path / "log", a_signer()) as log:
        yield Ledger(log)


def test_a_recorded_entry_is_canonical_and_durable(ledger):
    recorded = ledger.record({"b": 1, "a": "é"})
    assert recorded.index == 0
    assert recorded.entry == '{"a":"é","b":1}'.encode()
    assert recorded.leaf == "sha256:" + leaf_hash(recorded.entry).hex()
    assert ledger.log.entry(0) == recorded.entry


def test_many_entries_recorded_at_once_each_get_their_own_index(ledger):
    async def record_all():
        return await asyncio.gather(*(ledger.record_async({"n": n}) for n in range(100)))

    recorded = asyncio.run(record_all())
    assert sorted(one.index for one in recorded) == list(range(100))
    assert all(ledger.log.entry(one.index) == one.entry for one in recorded)
    assert [one.entry for one in recorded] == [canonical({"n": n}) for n in range(100)]


def test_an_entry_that_cannot_be_recorded_is_refused(ledger):
    with pytest.raises(ReceiptError):
        ledger.record({"a": 0.5})
    with pytest.raises(TooLarge):
        ledger.record({"a": "x" * 65_536})
    assert ledger.log.size == 0


def test_a_receipt_made_later_proves_the_run_in_the_larger_log(ledger):
    first = record_run(ledger)
    for number in range(300):
        ledger.log.append(b"%d" % number)
    ledger.record({"last": True})
    later = ledger.receipt_for(0, 1, first.openings)
    assert later != first
    assert verify(first.encode(), ledger.vkey).facts == verify(later.encode(), ledger.vkey).facts


def test_a_receipt_of_entries_that_do_not_exist_cannot_be_made(ledger):
    with pytest.raises(NotFound):
        ledger.receipt_for(0, 1, ())
