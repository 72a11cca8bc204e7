"""The auditor's commands, alone and beside a running server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pty
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from house_builders import (
    DOG_TAX,
    FEES,
    House,
    a_house,
    a_server,
    an_environment,
    casemate,
    command,
)

from casemate.cli.acts import Item, perform
from casemate.errors import NotFound, Refused
from casemate.ledger.log import Log
from casemate.ledger.merkle import leaf_hash
from casemate.ledger.note import Signer, Verifier
from casemate.ledger.proof import Checkpoint, Proof

ORIGIN = "casemate.example/log"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    data = tmp_path_factory.mktemp("ledger-commands") / "data"
    with a_house(data) as house:
        house.add("notes", fees=FEES)
        bob = house.person("bob")
        run = house.ask(DOG_TAX).run
        ids = {"run": run, "bob": bob.principal.pseudonym, "owner": house.owner.principal.name}
        ids["pseudonym"] = house.owner.principal.pseudonym
        return data, ids


def acted(house: House, name: str, **arguments: Any) -> list[Item]:
    async def follow() -> list[Item]:
        return [item async for item in perform(house.installation, name, arguments)]

    return asyncio.run(follow())


def on_a_terminal(*arguments: str, data: Path) -> tuple[int, bytes, bytes]:
    """Exit code, what went to standard output, and what the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(*arguments, data=data), stdout=subprocess.PIPE, stderr=theirs, env=an_environment()
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # what a terminal says at its end
        pass
    finally:
        os.close(ours)
    out, _ = process.communicate()
    return process.returncode, out, shown


# check


def test_a_check_shows_a_bar_on_a_terminal_and_nowhere_else(
    filled: tuple[Path, dict[str, str]],
) -> None:
    data, _ = filled
    code, out, shown = on_a_terminal("ledger", "check", data=data)
    assert (code, b"Checking" in shown, b"100%" in shown) == (0, True, True)
    assert out.endswith(b"every byte as signed.\n")
    quiet = casemate("ledger", "check", data=data).fine()
    assert quiet.err == ""
    assert quiet.out.encode() == out
    assert on_a_terminal("ledger", "check", "--json", data=data)[2] == b""


def test_a_check_shows_a_bar_beside_a_server_too(tmp_path: Path) -> None:
    with a_server(tmp_path / "data") as server:
        code, out, shown = on_a_terminal("ledger", "check", data=server.folder)
        assert (code, b"100%" in shown) == (0, True)
        found = casemate("ledger", "check", "--json", data=server.folder).fine().json
        assert out.decode().startswith(f"{found['entries']:,} entries of {found['origin']}")
        assert server.stop() == 0


def test_a_check_of_a_damaged_log_names_the_file(
    filled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(filled[0], data)
    bundles = (data / "ledger" / "tile" / "entries" / "000.p").iterdir()
    bundle = max(bundles, key=lambda path: int(path.name))
    raw = bundle.read_bytes()
    bundle.write_bytes(raw.replace(b"documents.added", b"documents.addeD"))
    for arguments in (("ledger", "check"), ("ledger", "check", "--json")):
        assert "tile/entries/000" in casemate(*arguments, data=data).refused()


# show


def test_an_entry_is_shown_with_bytes_and_proof_that_a_stranger_can_check(
    filled: tuple[Path, dict[str, str]],
) -> None:
    data, _ = filled
    raw = casemate("ledger", "show", "3", "--raw", data=data).fine().out.encode()
    text = casemate("ledger", "show", "3", "--proof", data=data).fine().out
    verifier = Verifier.parse(casemate("ledger", "key", data=data).fine().out.strip())
    proof = Proof.parse(text)
    assert proof.index == 3
    proof.verify(raw, Checkpoint.open(proof.checkpoint, verifier))
    whole = casemate("ledger", "show", "3", "--proof", "--raw", "--json", data=data).fine().json
    assert base64.b64decode(whole["bytes"]) == raw
    assert whole["proof"] == text
    assert whole["entry"] == json.loads(raw)
    assert whole["leaf"] == f"sha256:{leaf_hash(raw).hex()}"
    assert set(casemate("ledger", "show", "3", data=data).fine().json) == {"index", "entry", "leaf"}


def test_show_prints_one_thing_alone(filled: tuple[Path, dict[str, str]]) -> None:
    data, _ = filled
    assert casemate("ledger", "show", "3", "--proof", "--raw", data=data).code == 2
    for more in ((), ("--proof",), ("--raw",)):
        assert "no entry 99,999" in casemate("ledger", "show", "99999", *more, data=data).refused()


# search


def test_a_search_by_anything_finds_the_run(filled: tuple[Path, dict[str, str]]) -> None:
    data, ids = filled
    for asked in (
        ["--run", ids["run"]],
        ["--kind", "run"],
        ["--model", "quote", "--kind", "run"],
        ["--decision", "users-ask"],
        ["--decision", "allow"],
        ["--use-case", "documents", "--kind", "run"],
        ["--label", "unclassified", "--kind", "run"],
        ["--principal", ids["pseudonym"], "--kind", "run"],
        ["--principal", ids["owner"], "--kind", "run"],
        ["--kind", "run", "--since", "2000-01-01", "--until", "2999-12-31T23:59:59+02:00"],
        ["--kind", "run", "--since", "2000-01-01", "--thorough"],
    ):
        found = casemate("ledger", "search", *asked, "--json", data=data).fine().json
        kinds = [one["entry"]["kind"] for one in found]
        assert kinds == ["run.admitted", "run.finished"], asked
        assert [one["index"] for one in found] == sorted(one["index"] for one in found)
    answered = casemate("ledger", "search", "--outcome", "answered", "--json", data=data).fine()
    assert len(answered.json) == 1


def test_a_search_shows_pseudonyms_and_no_names(filled: tuple[Path, dict[str, str]]) -> None:
    data, ids = filled
    for arguments in (["--principal", "bob"], ["--principal", "bob", "--json"]):
        done = casemate("ledger", "search", *arguments, data=data).fine()
        assert "principal.created" in done.out
        assert "bob" not in done.out
    found = casemate("ledger", "search", "--principal", "bob", "--json", data=data).fine().json
    assert [one["entry"]["subject"] for one in found] == [ids["bob"]]


def test_a_limit_keeps_the_newest(filled: tuple[Path, dict[str, str]]) -> None:
    data, _ = filled
    everything = casemate("ledger", "search", "--json", data=data).fine().json
    assert casemate("ledger", "search", "--limit", "2", "--json", data=data).json == everything[-2:]
    assert casemate("ledger", "search", "--limit", "0", data=data).code == 2


def test_a_search_without_finds_is_an_empty_array(filled: tuple[Path, dict[str, str]]) -> None:
    data, _ = filled
    assert casemate("ledger", "search", "--until", "1999-01-01", "--json", data=data).json == []
    done = casemate("ledger", "search", "--until", "1999-01-01", data=data).fine()
    assert done.out == "No such entries.\n"


@pytest.mark.parametrize("verb", ["search", "export"])
@pytest.mark.parametrize("bounds", [("--since", "yesterday"), ("--until", "2026-02-30")])
def test_a_wrong_date_gets_a_plain_line(
    filled: tuple[Path, dict[str, str]], verb: str, bounds: tuple[str, str]
) -> None:
    line = casemate("ledger", verb, *bounds, data=filled[0]).refused()
    assert f"“{bounds[1]}” is neither a date nor a time." in line


def test_who_may_not_audit_finds_nothing_and_who_may_not_administer_no_names(
    tmp_path: Path,
) -> None:
    with a_house(tmp_path / "data") as house:
        bob = house.person("bob").principal
        house.person("ada", roles=("auditor",))
        house.person("adm", roles=("admin", "auditor"))
        for name, arguments in (
            ("ledger.check", {}),
            ("ledger.show", {"index": 0}),
            ("ledger.search", {"fields": {}}),
            ("ledger.export", {}),
            ("ledger.consistency", {"sizes": [0, 1]}),
        ):
            with pytest.raises(Refused):
                acted(house, name, principal="bob", **arguments)
            assert acted(house, name, principal="ada", **arguments)
        by_name: dict[str, Any] = {"fields": {"principal": "bob"}}
        for asked in (by_name, {"fields": {"principal": "nobody"}}):
            with pytest.raises(Refused):  # whether there is such a name is not told either
                acted(house, "ledger.search", principal="ada", **asked)
        assert acted(house, "ledger.search", principal="ada", fields={"principal": bob.pseudonym})
        assert acted(house, "ledger.search", principal="ada", fields={"principal": "ada"})
        assert acted(house, "ledger.search", principal="adm", **by_name)
        with pytest.raises(NotFound):
            acted(house, "ledger.search", principal="adm", fields={"principal": "nobody"})


# export


@pytest.mark.parametrize("format", ["jsonl", "ocsf", "cef"])
def test_an_export_goes_on_where_the_last_one_ended(
    filled: tuple[Path, dict[str, str]], format: str
) -> None:
    data, _ = filled
    export = ["ledger", "export", "--format", format]
    whole = casemate(*export, data=data).fine().out.splitlines()
    later = casemate(*export, "--from-index", "4", data=data).fine().out.splitlines()
    assert later == whole[4:]
    assert casemate(*export, "--from-index", str(len(whole)), data=data).fine().out == ""
    assert casemate(*export, "--until", "1999-01-01", data=data).fine().out == ""
    if format == "ocsf":
        assert json.loads(later[0])["metadata"]["sequence"] == 4
    if format == "cef":
        assert all(one.startswith("CEF:0|Casemate|Casemate|") for one in whole)
        assert " externalId=4 " in later[0]


def test_the_commands_say_the_same_beside_a_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with a_server(data) as server:
        casemate("collection", "create", "notes", data=data).fine()
        before = [casemate(*one, data=data).fine().out for one in _READING]
        assert server.stop() == 0
    assert [casemate(*one, data=data).fine().out for one in _READING] == before


_READING = (
    ("ledger", "checkpoint"),
    ("ledger", "show", "0", "--json", "--proof", "--raw"),
    ("ledger", "search", "--since", "2000-01-01", "--json"),
    ("ledger", "export", "--format", "ocsf"),
    ("ledger", "export", "--format", "cef"),
    ("ledger", "consistency", "--make", "1", "3"),
)


# consistency


@pytest.fixture
def grown(filled: tuple[Path, dict[str, str]], tmp_path: Path) -> dict[str, Path]:
    """A data folder that recorded more after its checkpoint was kept."""
    data = tmp_path / "data"
    shutil.copytree(filled[0], data)
    kept = {name: tmp_path / name for name in ("old", "new", "key", "proof")}
    kept["old"].write_text(casemate("ledger", "checkpoint", data=data).fine().out, encoding="utf-8")
    casemate("ask", DOG_TAX, data=data).fine()
    kept["new"].write_text(casemate("ledger", "checkpoint", data=data).fine().out, encoding="utf-8")
    kept["key"].write_text(casemate("ledger", "key", data=data).fine().out, encoding="utf-8")
    return {**kept, "data": data}


def test_a_log_that_only_grew_is_said_to(grown: dict[str, Path], tmp_path: Path) -> None:
    data, key = grown["data"], ("--key", grown["key"])
    consistency = ("ledger", "consistency")
    sizes = [grown[name].read_text(encoding="utf-8").splitlines()[1] for name in ("old", "new")]
    casemate(*consistency, "--make", *sizes, "--out", grown["proof"], data=data).fine()
    printed = casemate(*consistency, "--make", *sizes, data=data).fine().out
    assert grown["proof"].read_text(encoding="utf-8") == printed
    nowhere = tmp_path / "nowhere"
    for more, where in (
        ((), data),
        (("--from", data / "ledger"), nowhere),
        (("--proof", grown["proof"]), nowhere),
    ):
        given = (*consistency, grown["old"], grown["new"], *key, *more)
        assert "only grew" in casemate(*given, data=where).fine().out
        found = casemate(*given, "--json", data=where).fine().json
        assert found["consistent"] is True
        assert [str(found["old"]["size"]), str(found["new"]["size"])] == sizes
    assert not nowhere.exists()
    current = casemate(*consistency, grown["old"], "current", *key, data=data)
    assert "only grew" in current.fine().out


def test_one_checkpoint_held_twice_needs_no_log(grown: dict[str, Path], tmp_path: Path) -> None:
    given = ("ledger", "consistency", grown["old"], grown["old"], "--key", grown["key"])
    assert "are the same" in casemate(*given, data=tmp_path / "nowhere").fine().out
    assert not (tmp_path / "nowhere").exists()


def a_fork(folder: Path, shared: int, *then: bytes) -> Path:
    """A log's folder: entries that both have, and entries of its own; one key signs both."""
    with Log.open(folder, Signer.from_seed(ORIGIN, bytes(32))) as log:
        alike = [b"entry %d" % number for number in range(shared)]
        for waiting in [log.append(entry) for entry in (*alike, *then)]:
            waiting.result()
    return folder


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (2, 300)])
@pytest.mark.parametrize("asked", ["one", "other"])
def test_a_split_view_is_found(tmp_path: Path, sizes: tuple[int, int], asked: str) -> None:
    key = tmp_path / "key"
    key.write_text(Signer.from_seed(ORIGIN, bytes(32)).vkey + "\n", encoding="utf-8")
    one = a_fork(tmp_path / "one", 260, *[b"one %d" % n for n in range(sizes[0])])
    other = a_fork(tmp_path / "other", 260, *[b"other %d" % n for n in range(sizes[1])])
    held = [tmp_path / "held-one", tmp_path / "held-other"]
    for folder, name in zip((one, other), held, strict=True):
        shutil.copy(folder / "checkpoint", name)
    larger = other if asked == "other" or sizes[0] < sizes[1] else one
    given = ("ledger", "consistency", *held, "--key", key, "--from", larger)
    line = casemate(*given, data=tmp_path / "nowhere").refused()
    assert "This log has shown two histories" in line
    assert "held-one (26" in line
    assert f"held-other ({260 + sizes[1]}" in line
    found = casemate(*given, "--json", data=tmp_path / "nowhere")
    assert found.code == 1
    assert found.json["two_histories"] is True


def test_a_split_view_of_the_data_folders_own_log_is_found(
    grown: dict[str, Path], tmp_path: Path
) -> None:
    """The folder is put back to an older state, and then records something else."""
    data = tmp_path / "restored"
    shutil.copytree(grown["data"], data)
    key = ("--key", grown["key"])
    casemate("ask", "Who is the mayor?", data=data).fine()
    casemate("ask", "Who is the mayor?", data=grown["data"]).fine()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text(casemate("ledger", "checkpoint", data=data).fine().out, encoding="utf-8")
    given = ("ledger", "consistency", grown["new"], "current", *key)
    assert "only grew" in casemate(*given, data=grown["data"]).fine().out
    given = ("ledger", "consistency", elsewhere, "current", *key)
    assert "two histories" in casemate(*given, data=grown["data"]).refused()
    casemate("ask", "Who is the mayor?", data=grown["data"]).fine()
    assert "two histories" in casemate(*given, data=grown["data"]).refused()
    assert casemate(*given, "--json", data=grown["data"]).json["two_histories"] is True


def test_what_cannot_be_compared_gets_a_plain_line(grown: dict[str, Path], tmp_path: Path) -> None:
    data, old, new = grown["data"], grown["old"], grown["new"]
    other = tmp_path / "other-key"
    other.write_text(Signer.from_seed(ORIGIN, bytes(32)).vkey, encoding="utf-8")
    bad = tmp_path / "bad"
    bad.write_bytes(b"\xff")
    key = ("--key", grown["key"])
    for given, said in (
        ((old, new, "--key", other), "is no checkpoint of casemate.example/log"),
        ((old, new, "--key", bad), "is no verifying key"),
        ((bad, new, *key), "is no checkpoint of"),
        ((tmp_path / "absent", new, *key), "cannot be read"),
        ((new, old, *key), "counts more entries"),
        ((old, new, *key, "--proof", bad), "newline"),
        ((old, new, *key, "--from", tmp_path), "no checkpoint"),
        ((old, new, *key, "--from", "https://example.org/log"), "nothing is fetched"),
        (("--make", "5", "3"), "No consistency proof"),
        (("--make", "0", "99999"), "No consistency proof"),
        (("--make", "1", "2", "--out", tmp_path), "cannot be written"),
    ):
        assert said in casemate("ledger", "consistency", *given, data=data).refused()


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("old", "new"),
        ("old", "--key", "key"),
        ("-", "-", "--key", "key"),
        ("old", "new", "--key", "key", "--from", "x", "--proof", "y"),
        ("old", "--make", "1", "2"),
        ("--make", "1"),
    ],
)
def test_wrong_usage_is_said_to_be(tmp_path: Path, given: tuple[str, ...]) -> None:
    assert casemate("ledger", "consistency", *given, data=tmp_path / "data").code == 2


def test_a_checkpoint_can_come_over_standard_input(grown: dict[str, Path]) -> None:
    arguments = ("ledger", "consistency", grown["old"], "-", "--key", grown["key"])
    done = subprocess.run(
        command(*arguments, data=grown["data"]),
        input=grown["new"].read_bytes(),
        capture_output=True,
        env=an_environment(),
        check=False,
    )
    assert (done.returncode, b"only grew" in done.stdout) == (0, True)
