"""Opening the gate of a data folder: what is wrong there is said by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_builders import ListLedger, Watch

from casemate.errors import Invalid
from casemate.gate.admission import Gate
from casemate.gate.policy import PolicySet
from casemate.settings import Settings
from casemate.store.database import Database
from casemate.store.folder import DataFolder


def opened(folder: Path, **settings: object) -> Gate:
    with DataFolder.open(folder) as data:
        database = Database.open(data.database)
        try:
            return Gate.open(
                data,
                database,
                ListLedger(),
                Settings(**settings),  # type: ignore[arg-type]
                clock=Watch(),
            )
        finally:
            data.finish_creation()
            database.close()


def test_a_fresh_folder_gets_the_shipped_policies_and_an_old_one_keeps_its_own(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    shipped = opened(folder).policies.digest
    assert {path.name for path in (folder / "policies").iterdir()} == {
        "assurance.cedar",
        "limits.cedar",
        "office.cedar",
        "use.cedar",
    }
    assert opened(folder).policies.digest == shipped
    mine = folder / "policies" / "mine.cedar"
    mine.write_text('@id("mine")\nforbid (principal, action == Action::"add", resource);\n')
    assert opened(folder).policies.digest != shipped
    (folder / "policies" / "use.cedar").unlink()
    assert PolicySet.load(folder / "policies").digest == opened(folder).policies.digest


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("policies/bad.cedar", "\npermit (principal, action, resource);", r"bad\.cedar, line 2"),
        ("policies/bad.cedar", '@id("users-ask") permit (principal, action, resource);',
         r"use\.cedar, line 3: policy 'users-ask' is already in bad\.cedar, line 1"),
        ("perimeter.toml", "[[place]\n", r"perimeter\.toml"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_by_name(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    folder = tmp_path / "data"
    opened(folder)
    (folder / file).write_text(content)
    with pytest.raises(Invalid, match=message):
        opened(folder)


def test_an_unknown_country_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="country pack"):
        opened(tmp_path / "data", country="xx")


def test_a_policy_folder_that_was_emptied_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    opened(folder)
    for path in (folder / "policies").iterdir():
        path.unlink()
    with pytest.raises(Invalid, match="no policies"):
        opened(folder)
