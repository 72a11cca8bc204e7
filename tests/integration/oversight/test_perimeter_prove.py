"""`casemate perimeter prove` says what stopped each way out, and is right about it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from house_builders import a_house, a_server, an_environment, casemate, command

NAMESPACE = Path(__file__).with_name("proved_namespace.py")
# What rules for addresses cannot close: they know no other kind of socket.
NOT_BY_ADDRESS = "socket to the host of a virtual machine"
PLACE = ("--port", "4433", "--jurisdiction", "LU", "--ceiling", "unclassified")


def outcomes(found: dict[str, Any], where: str) -> dict[str, tuple[str, str]]:
    return {
        way["way"]: (way["outcome"], way["layer"]) for way in found["ways"] if way["where"] == where
    }


def test_a_server_tries_to_get_out_and_its_report_is_in_the_ledger(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_server(data) as server:
        done = casemate("perimeter", "prove", "--json", data=data)
        server.stop()  # it tells the ledger of the last refusals as it ends
    found = done.json
    assert done.code == int(found["open"] > 0)
    # The guard and the checks of configuration stop everything by themselves …
    assert set(outcomes(found, "this process").values()) == {("stopped", "guard")}
    assert set(outcomes(found, "configuration").values()) == {("stopped", "configuration")}
    # … the processes that hold models and read documents are held by the kernel …
    for where in ("engine process", "reading process"):
        assert {outcome for outcome, _ in outcomes(found, where).values()} == {"stopped"}
    # … and compiled code is stopped by nothing but rules, of which there are none here.
    compiled = outcomes(found, "compiled code")
    assert compiled["the library for buckets"] == ("open", "")
    assert compiled["TCP to this machine"] == ("open", "")
    assert compiled["TCP to an address abroad"] == ("unproven", "")
    counted = {one: found[one] for one in ("stopped", "open", "unproven", "inside")}
    assert sum(counted.values()) == len(found["ways"])

    kept = (data / found["kept"]).read_bytes()
    assert found["report"] == "sha256:" + hashlib.sha256(kept).hexdigest()
    assert json.loads(kept)["ways"] == found["ways"]
    assert json.loads(kept)["guarded"] is True
    with a_house(data) as house:
        entries = house.entries()
    proved = entries[found["entry"]]
    assert (proved["kind"], proved["report"]) == ("perimeter.proved", found["report"])
    assert counted.items() <= proved.items()
    refused = [entry for entry in entries if entry["kind"] == "connection.refused"]
    assert 1 <= len(refused) <= 2
    assert sum(entry["attempts"] for entry in refused) >= len(outcomes(found, "this process"))
    assert "127.0.0.1" not in json.dumps(refused)
    assert "invalid" not in json.dumps(refused)


def test_under_the_rules_that_it_prints_nothing_gets_out(tmp_path: Path) -> None:
    if shutil.which("nft") is None:
        if os.environ.get("REQUIRE_PEERS"):
            pytest.fail("nft is missing, and REQUIRE_PEERS asks for it")
        pytest.skip("nft is not installed")
    data, rules = tmp_path / "data", tmp_path / "rules.nft"
    casemate("perimeter", "add", "rack", "--host", "127.8.0.0/16", *PLACE, data=data).fine()
    text = casemate(
        *("perimeter", "rules", "--format", "nftables", "--account", "0"), data=data
    ).fine()
    rules.write_text(text.out)
    unshare = ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]
    if subprocess.run([*unshare, "nft", "list", "ruleset"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody load nftables rules, not even in a namespace")
    done = subprocess.run(
        [
            *(*unshare, sys.executable, NAMESPACE, rules),
            *command("perimeter", "prove", "--json", data=data),
        ],
        capture_output=True,
        text=True,
        env=an_environment(),
    )
    found = json.loads(done.stdout)
    assert {way["way"] for way in found["ways"] if way["outcome"] == "open"} <= {NOT_BY_ADDRESS}
    assert done.returncode == int(found["open"] > 0)
    compiled = outcomes(found, "compiled code")
    for way in ("TCP to this machine", "UDP to this machine", "the library for buckets"):
        assert compiled[way] == ("stopped", "kernel")
    assert compiled["raw socket"] == compiled["packet socket"] == ("stopped", "kernel")


def test_what_it_says_to_people_names_what_is_open_and_what_closes_it(tmp_path: Path) -> None:
    done = casemate("perimeter", "prove", data=(data := tmp_path / "data"))
    assert done.code == 1  # there is no data folder yet
    casemate("perimeter", "add", "rack", "--host", "10.0.0.1", *PLACE, data=data).fine()
    done = casemate("perimeter", "prove", data=data)
    assert done.code == 1
    assert "casemate perimeter rules" in done.out
    assert "kept as proofs/" in done.out
