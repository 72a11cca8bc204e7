"""The command line: JSON that parses, exit codes, words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from house_builders import DOG_TAX, FEES, WASTE, a_house, casemate, some_papers


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    data = tmp_path_factory.mktemp("commands") / "data"
    with a_house(data) as house:
        added = house.add("notes", fees=FEES, waste=WASTE)
        run = house.ask(DOG_TAX).run
        house.key(house.owner.principal.name)
        return data, {"run": run, "document": str(added["fees.md"].document)}


READING: list[list[str]] = [
    ["collection", "list"],
    ["document", "list"],
    ["document", "show", "{document}"],
    ["search", "dog tax"],
    ["run", "list"],
    ["run", "show", "{run}"],
    ["explain", "{run}"],
    ["replay", "{run}"],
    ["ledger", "key"],
    ["ledger", "check"],
    ["ledger", "search", "--kind", "run.finished"],
    ["user", "list"],
    ["key", "list"],
    ["usecase", "list"],
    ["usecase", "show", "documents"],
    ["model", "list"],
    ["policy", "check"],
    ["perimeter", "list"],
    ["status"],
    ["settings"],
]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_every_reading_command_gives_json_and_text(
    filled: tuple[Path, dict[str, str]], arguments: list[str]
) -> None:
    data, ids = filled
    given = [one.format(**ids) for one in arguments]
    found = casemate(*given, "--json", data=data).fine()
    assert json.loads(found.out) not in (None, "")
    text = casemate(*given, data=data).fine().out
    assert text.strip()
    assert "Traceback" not in text


def test_asking_in_json_gives_the_last_event_whole(filled: tuple[Path, dict[str, str]]) -> None:
    data, _ = filled
    found = casemate("ask", DOG_TAX, "--json", data=data).fine().json
    assert found["outcome"] == "answered"
    for citation in found["answer"]["citations"]:
        source = found["answer"]["sources"][citation["source"]]
        begin = citation["start"] - source["start"]
        end = citation["end"] - source["start"]
        assert source["text"][begin:end] == citation["quote"]


def test_asking_in_words_shows_answer_citation_and_entry_on_lines_of_their_own(
    filled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    data, _ = filled
    files = ["--receipt", tmp_path / "r.json", "--answer", tmp_path / "a.txt"]
    lines = casemate("ask", DOG_TAX, *files, data=data).fine().out.splitlines()
    assert "The dog tax is 40 euros a year. [1]" in lines
    assert any(line.startswith("· searched for") for line in lines)
    assert any(line.startswith("  [1] fees.md: “The dog tax is 40 euros") for line in lines)
    assert any(line.startswith("Recorded as entry ") for line in lines)
    key = tmp_path / "key"
    key.write_text(casemate("ledger", "key", data=data).fine().out, encoding="utf-8")
    casemate("verify", tmp_path / "r.json", "--key", key, "--answer", tmp_path / "a.txt").fine()


def test_a_receipt_that_cannot_be_written_is_told(filled: tuple[Path, dict[str, str]]) -> None:
    data, _ = filled
    done = casemate("ask", DOG_TAX, "--receipt", "/nowhere/r.json", data=data)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1


def test_the_receipt_command_gives_what_ask_gives(
    filled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    data, ids = filled
    printed = casemate("run", "receipt", ids["run"], data=data).fine().out
    casemate("run", "receipt", ids["run"], "--output", tmp_path / "r.json", data=data).fine()
    assert (tmp_path / "r.json").read_text(encoding="utf-8") == printed


def test_the_ledger_is_exported_line_by_line_with_exact_bytes(
    filled: tuple[Path, dict[str, str]],
) -> None:
    import base64

    data, _ = filled
    lines = casemate("ledger", "export", data=data).fine().out.splitlines()
    for number, line in enumerate(lines):
        one = json.loads(line)
        assert one["index"] == number
        assert json.loads(base64.b64decode(one["bytes"])) == one["entry"]
    shown = casemate("ledger", "show", "0", data=data).fine().json
    assert shown["entry"] == json.loads(lines[0])["entry"]
    casemate("ledger", "show", "99999", data=data).refused()


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["ask"],
        ["add"],
        ["add", "x"],
        ["search", "x", "--limit", "0"],
        ["search", "x", "--limit", "many"],
        ["ledger", "show", "-1"],
        ["up", "--port", "70000"],
        ["usecase", "register", "x"],
        ["user", "change", "bob"],
        ["ask", "x", "--nonsense"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2(tmp_path: Path, arguments: list[str]) -> None:
    done = casemate(*arguments, data=tmp_path / "data")
    assert done.code == 2
    assert "Usage: " in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "show", "r_absent"],
        ["document", "show", "d_absent"],
        ["document", "delete", "d_absent"],
        ["usecase", "approve", "absent"],
        ["usecase", "suspend", "absent", "--reason", "It is late."],
        ["model", "approve", "absent"],
        ["model", "withdraw", "absent"],
        ["user", "disable", "absent"],
        ["user", "link", "absent"],
        ["user", "create", "x", "--clearance", "nonsense"],
        ["user", "list", "--principal", "absent"],
        ["key", "create", "--principal", "absent"],
        ["key", "revoke", "absent"],
        ["perimeter", "remove", "absent"],
        ["collection", "create", "a/b"],
        ["collection", "create", "x", "--label", "nonsense"],
        ["collection", "create", "x", "--label", "secret"],
        ["ask", DOG_TAX, "--use-case", "absent"],
        ["ask", DOG_TAX, "--model", "absent"],
        ["ask", DOG_TAX, "--principal", "absent"],
        ["run", "review", "r_absent", "approved", "--reason", "Fine."],
    ],
    ids=" ".join,
)
def test_what_is_refused_exits_1_with_one_line_and_a_next_step(
    filled: tuple[Path, dict[str, str]], arguments: list[str]
) -> None:
    done = casemate(*arguments, data=filled[0])
    if done.code == 2:  # an option that this command has not
        assert arguments[-2] == "--principal"
        return
    line = done.refused()
    assert line.count(". ") + line.endswith(".") >= 1


def test_a_replay_that_differs_exits_1(tmp_path: Path) -> None:
    papers, data = some_papers(tmp_path / "papers"), tmp_path / "data"
    casemate("add", papers, "--collection", "notes", data=data).fine()
    run = casemate("ask", DOG_TAX, "--json", data=data).fine().json["run"]
    casemate("replay", run, data=data).fine()
    (papers / "fees.md").write_text("# Other\n\nText.\n", encoding="utf-8")
    casemate("add", papers, "--collection", "notes", data=data).fine()
    for more in ([], ["--json"]):
        done = casemate("replay", run, *more, data=data)
        assert done.code == 1
        assert "fees.md was changed or removed" in done.out


def test_adding_again_says_what_changed(tmp_path: Path) -> None:
    papers, data = some_papers(tmp_path / "papers"), tmp_path / "data"
    (papers / "photo.xcf").write_bytes(b"x")
    (papers / ".hidden.md").write_text("x", encoding="utf-8")

    def added() -> list[str]:
        return casemate("add", papers, "--collection", "n", data=data).fine().out.splitlines()

    assert added() == ["n: 2 added.", "Passed over 1 files of kinds that are not read."]
    assert added()[0] == "n: 2 unchanged."
    (papers / "fees.md").write_text("# New\n\nText.\n", encoding="utf-8")
    (papers / "more.md").write_text("# More\n\nText.\n", encoding="utf-8")
    assert added()[0] == "n: 1 added, 1 replaced, 1 unchanged."


def test_globs_and_folders_keep_names_apart(tmp_path: Path) -> None:
    papers, data = tmp_path / "papers", tmp_path / "data"
    for place in ("a", "b/c"):
        (papers / place).mkdir(parents=True)
        (papers / place / "same.md").write_text(f"# {place}\n\nText.\n", encoding="utf-8")
    casemate("add", papers, "--collection", "n", data=data).fine()
    listed = casemate("document", "list", "--json", data=data).fine().json
    assert [one["name"] for one in listed] == ["a/same.md", "b/c/same.md"]
    casemate("add", papers / "*" / "*.md", "--collection", "g", data=data).fine()
    listed = casemate("document", "list", "--collection", "g", "--json", data=data).fine().json
    assert [one["name"] for one in listed] == ["same.md"]


def test_two_folders_given_at_once_lose_no_file_of_the_same_name(tmp_path: Path) -> None:
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "same.md").write_text(f"# {place}\n\nText.\n", encoding="utf-8")
    data = tmp_path / "data"
    casemate("add", tmp_path / "a", tmp_path / "b", "--collection", "n", data=data).fine()
    assert len(casemate("document", "list", "--json", data=data).fine().json) == 2


def test_a_reader_that_ends_early_ends_a_command_quietly(
    filled: tuple[Path, dict[str, str]],
) -> None:
    import subprocess

    from house_builders import an_environment, command

    process = subprocess.Popen(
        command("ledger", "export", data=filled[0]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=an_environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.wait()
    process.stderr.close()
    assert error == b""


def test_the_data_folder_comes_from_the_environment_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    casemate("collection", "create", "notes", env={"CASEMATE_DATA": str(data)}).fine()
    assert (data / "casemate.json").is_file()
    found: Any = casemate("status", "--json", data=data).fine().json
    assert found["documents"] == 0


def test_a_fault_of_ours_is_one_line_and_the_traceback_only_on_demand(
    filled: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import casemate.cli.line as line\n"
        "def broken(*a, **k):\n    raise ZeroDivisionError('secret words')\n"
        "line.act = broken\n",
        encoding="utf-8",
    )
    path = {"PYTHONPATH": str(tmp_path)}
    done = casemate("status", data=filled[0], env=path)
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert "ZeroDivisionError" in done.err
    assert "secret words" not in done.err
    done = casemate("status", data=filled[0], env={**path, "CASEMATE_TRACEBACK": "1"})
    assert "Traceback" in done.err
