"""The command that pulls, from outside."""

from __future__ import annotations

from pathlib import Path

from house_builders import casemate
from hub_server import COMMIT, HubServer


def test_the_command_pulls_and_the_ledger_holds_that_it_did(tmp_path: Path) -> None:
    with HubServer(token="hf_secret") as hub_server:
        data = tmp_path / "data"
        data.mkdir()
        (data / "perimeter.toml").write_text(
            f'[[place]]\nname = "hub"\nhost = "127.0.0.1"\nports = [{hub_server.port}]\n'
            'jurisdiction = "LU"\nceiling = "lu:unclassified"\n'
        )
        casemate("collection", "create", "notes", data=data).fine()
        out = ("--out", tmp_path / "tiny", "--json")
        ask = ("model", "pull", "maker/tiny", "--from", hub_server.address, *out)
        assert "CASEMATE_HUB_TOKEN" in casemate(*ask, data=data).refused()
        done = casemate(*ask, data=data, env={"CASEMATE_HUB_TOKEN": "hf_secret"}).fine()
        assert done.json["commit"] == COMMIT
        assert "hf_secret" not in done.out
        entries = casemate("ledger", "search", "--kind", "model.pulled", "--json", data=data)
        assert done.json["record"] in entries.fine().out
