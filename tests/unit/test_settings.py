from __future__ import annotations

import re
from pathlib import Path

import pytest

from casemate.errors import Invalid
from casemate.settings import VARIABLES, load


def test_a_variable_of_the_environment_sets_a_setting(tmp_path: Path) -> None:
    assert load(tmp_path, {"CASEMATE_PORT": "9000"}).port == 9000


@pytest.mark.parametrize(
    "name",
    [
        "CASEMATE_PROT",
        "CASEMATE_",
        "CASEMATE_port",
        "CASEMATE_REMOTE_KEY",
        "CASEMATE_REMOTE_KEY_",
        "CASEMATE_REMOTE_KEY_tiny",
        "CASEMATE_DATA_",
        "CASEMATE_TRACEBACKS",
    ],
)
def test_a_variable_that_nothing_reads_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        load(tmp_path, {name: "secret"})
    assert f"{name}." in refusal.value.what
    assert "secret" not in str(refusal.value)


def test_variables_that_are_no_settings_are_let_through(tmp_path: Path) -> None:
    names = [re.sub("<[A-Z]+>", "MISTRAL_SMALL_3_2", one.name) for one in VARIABLES]
    assert load(tmp_path, dict.fromkeys(names, "x")) == load(tmp_path, {})


def test_other_programs_variables_are_none_of_its_business(tmp_path: Path) -> None:
    assert load(tmp_path, {"PORT": "1", "MY_CASEMATE_PORT": "x"}) == load(tmp_path, {})


def test_settings_of_the_current_folder_are_not_those_of_a_new_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text("port = 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path / "data", {}).port == 8470
