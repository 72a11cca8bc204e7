"""An installation: first start, next start, and one that was interrupted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from house_builders import DOG_TAX, FEES, House, a_house

from casemate.errors import Invalid, NotFound, Tampered
from casemate.installation import Installation


def test_a_first_start_makes_it_usable_and_nothing_more(house: House) -> None:
    (use_case,) = house.installation.gate.use_cases.list(house.owner)
    assert (use_case.id, use_case.state, use_case.models) == ("documents", "approved", ("quote",))
    assert str(use_case.ceiling) == "lu:unclassified"
    (model,) = house.installation.models.list(house.owner)
    assert (model.id, model.state) == ("quote", "approved")
    assert [one.name for one in house.installation.gate.principals.list(house.owner)] == [
        house.owner.principal.name
    ]
    assert house.installation.gate.perimeter.places == ()
    assert house.installation.library.collections(house.owner) == []


def test_secrets_lie_in_files_that_only_the_account_can_read(house: House) -> None:
    for name in ("master.key", "ledger.key", "casemate.json"):
        assert (house.folder / name).stat().st_mode & 0o077 == 0
    assert house.folder.stat().st_mode & 0o077 == 0


def test_the_signing_key_is_sealed(house: House) -> None:
    seed = house.installation.log._signers[0].seed
    for path in house.folder.rglob("*"):
        if path.is_file():
            assert seed not in path.read_bytes()


def test_the_ledger_key_stays_the_same(tmp_path: Path) -> None:
    with a_house(tmp_path / "data") as house:
        vkey = house.installation.log.vkey
    with a_house(tmp_path / "data") as house:
        assert house.installation.log.vkey == vkey


def test_the_origin_is_chosen_at_the_first_start_and_never_changes(tmp_path: Path) -> None:
    with a_house(tmp_path / "data", origin="log.example.lu/a") as house:
        assert house.installation.log.vkey.startswith("log.example.lu/a+")
    with pytest.raises(Invalid, match="cannot be changed"):
        Installation.open(tmp_path / "data", origin="log.example.lu/b")
    with a_house(tmp_path / "data") as house:
        assert house.installation.log.vkey.startswith("log.example.lu/a+")


def test_a_start_that_fails_gives_the_folder_back(tmp_path: Path) -> None:
    with a_house(tmp_path / "data"):
        pass
    (tmp_path / "data" / "policies").rename(tmp_path / "kept")
    (tmp_path / "data" / "policies").mkdir()
    (tmp_path / "data" / "policies" / "x.cedar").write_text("nonsense", encoding="utf-8")
    with pytest.raises(Invalid):
        Installation.open(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "policies")
    (tmp_path / "kept").rename(tmp_path / "data" / "policies")
    with a_house(tmp_path / "data") as house:
        assert house.owner


def test_a_first_start_cut_off_at_any_file_is_begun_again(tmp_path: Path) -> None:
    with a_house(tmp_path / "whole") as house:
        made = sorted(path.relative_to(house.folder) for path in house.folder.rglob("*"))
        names = [one for one in made if len(one.parts) == 1 and one.name != "casemate.json"]
    for count in range(1, len(names) + 1):
        cut = tmp_path / f"cut{count}"
        cut.mkdir()
        (cut / "lock").touch()
        for name in names[:count]:
            source = tmp_path / "whole" / name
            if not source.exists():
                continue
            if source.is_dir():
                shutil.copytree(source, cut / name)
            else:
                shutil.copy(source, cut / name)
        with a_house(cut) as house:
            house.add("notes", fees=FEES)
            assert house.ask(DOG_TAX).outcome == "answered"
            assert house.installation.log.check()


def test_a_master_key_of_another_installation_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with a_house(tmp_path / name):
            pass
    shutil.copy(tmp_path / "b" / "master.key", tmp_path / "a" / "master.key")
    with pytest.raises(Tampered, match="master key"):
        Installation.open(tmp_path / "a")


def test_an_original_that_was_changed_on_disk_is_noticed(house: House) -> None:
    house.add("notes", fees=FEES)
    (document,) = house.installation.library.documents(house.owner)
    (blob,) = (house.folder / "blobs").rglob(document.digest.removeprefix("sha256:"))
    blob.write_bytes(FEES.replace("40", "99").encode())
    with pytest.raises(Tampered):
        house.installation.library.original(house.owner, document.id)


def test_an_original_that_is_gone_is_told(house: House) -> None:
    house.add("notes", fees=FEES)
    (document,) = house.installation.library.documents(house.owner)
    house.installation.blobs.delete(document.digest)
    with pytest.raises(NotFound, match="gone"):
        house.installation.library.original(house.owner, document.id)


def test_no_file_is_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with a_house(tmp_path / "data"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
