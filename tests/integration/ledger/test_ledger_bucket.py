"""An installation whose ledger lies in a bucket of a server that we did not write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from house_builders import DOG_TAX, FEES, House, a_house
from moto_bucket import Bucket

from casemate.errors import Invalid, Refused, Tampered
from casemate.ledger.log import Log
from casemate.ledger.note import Signer
from casemate.ledger.object_shelf import ObjectShelf
from casemate.ledger.verify import verify

SIGNER = Signer.from_seed("casemate.example/log", bytes(32))


@contextmanager
def a_house_with(bucket: Bucket, data: Path) -> Iterator[House]:
    data.mkdir(exist_ok=True)
    (data / "perimeter.toml").write_text(bucket.perimeter)
    place = f"{bucket.address}/ledger"
    with a_house(data, ledger=place, ledger_endpoint=bucket.endpoint) as house:
        yield house


def test_a_log_of_any_size_lives_in_a_bucket(bucket: Bucket) -> None:
    def shelf() -> ObjectShelf:
        return ObjectShelf.at(f"{bucket.address}/ledger", bucket.endpoint)

    with Log.open(shelf(), SIGNER) as log:
        for start in range(0, 700, 100):
            log.append_together([b"entry %d" % (start + one) for one in range(100)]).result()
    with Log.open(shelf(), SIGNER) as log:
        assert log.check() == 700
        assert log.entry(699) == b"entry 699"
        with Log.open(shelf(), SIGNER) as other:
            with pytest.raises(Tampered, match="somebody else"):
                log.append(b"fork").result()
            assert other.append(b"entry 700").result() == 700
            assert other.check() == 701


def test_an_installation_keeps_its_ledger_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    with a_house_with(bucket, tmp_path / "data") as house:
        house.add("notes", fees=FEES)
        run = house.ask(DOG_TAX).run
        receipt = house.installation.runs.receipt(house.owner, run)
        size = house.installation.log.size
    assert not (tmp_path / "data" / "ledger").exists()
    with a_house_with(bucket, tmp_path / "data") as house:
        assert house.installation.log.check() >= size
        verify(receipt, house.installation.log.vkey)


def test_a_bucket_that_no_place_declares_gets_nothing(bucket: Bucket, tmp_path: Path) -> None:
    for perimeter in ("", bucket.perimeter.replace("ministry", "other")):
        with (
            pytest.raises(Refused),
            a_house_with(bucket._replace(perimeter=perimeter), tmp_path / "data"),
        ):
            pass
    shelf = ObjectShelf.at(f"{bucket.address}/ledger", bucket.endpoint)
    assert list(shelf.names("")) == []


def test_a_second_installation_does_not_take_a_ledger_that_is_not_its_own(
    bucket: Bucket, tmp_path: Path
) -> None:
    with a_house_with(bucket, tmp_path / "one"):
        pass
    with pytest.raises(Invalid, match="belongs to"), a_house_with(bucket, tmp_path / "two"):
        pass
    with a_house_with(bucket, tmp_path / "one") as house:
        house.installation.log.check()


def test_a_ledger_that_is_not_where_it_was_is_not_begun_anew(
    bucket: Bucket, tmp_path: Path
) -> None:
    with a_house(tmp_path / "data") as house:
        house.add("notes", fees=FEES)
        house.ask(DOG_TAX)
    # the setting names another place
    with pytest.raises(Tampered, match="holds 0 entries"), a_house_with(bucket, tmp_path / "data"):
        pass
    with a_house(tmp_path / "data") as house:
        house.installation.log.check()
    # the folder is gone
    shutil.rmtree(tmp_path / "data" / "ledger")
    with pytest.raises(Tampered, match="holds 0 entries"), a_house(tmp_path / "data"):
        pass


def test_a_ledger_older_than_the_database_is_refused(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
    shutil.copytree(data / "ledger", backup)
    with a_house(data) as house:
        house.ask(DOG_TAX)
    shutil.rmtree(data / "ledger")
    shutil.copytree(backup, data / "ledger")
    with pytest.raises(Tampered, match="at least") as refusal, a_house(data):
        pass
    assert "same backup" in refusal.value.next
