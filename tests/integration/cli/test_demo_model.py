"""The model that comes with Casemate: imported, approved, asked, scored and repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from house_builders import casemate

from casemate.ledger.verify import verify

QUESTION = "What is the fee for the {}?"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "data"
    shown = casemate("demo", "--model", "nano", "--data", str(folder)).fine().out
    assert "approved by a second" in shown
    assert "Verified:" in shown
    return folder


def asked(data: Path, question: str, *more: str) -> dict[str, object]:
    arguments = ["ask", question, "--use-case", "registers", "--json", *more]
    found: dict[str, object] = json.loads(casemate(*arguments, data=data).fine().out)
    return found


def a_question(data: Path) -> str:
    listed = json.loads(casemate("run", "list", "--json", data=data).fine().out)
    (answered, *_) = [one["question"] for one in listed if one["outcome"] == "answered"]
    return str(answered)


def test_thinking_is_visible_and_the_citation_stands_in_the_document(data: Path) -> None:
    finished = asked(data, a_question(data))
    answer = finished["answer"]
    assert answer["thinking"]  # type: ignore[index]
    (citation,) = answer["citations"]  # type: ignore[index]
    source = answer["sources"][citation["source"]]  # type: ignore[index]
    start = citation["start"] - source["start"]
    assert source["text"][start : start + len(citation["quote"])] == citation["quote"]
    assert [one["support"] for one in answer["sentences"]] == ["verbatim"]  # type: ignore[index]
    assert "think" in {one["kind"] for one in finished["steps"]}  # type: ignore[attr-defined]


def test_two_processes_with_one_seed_say_the_same_to_the_letter(data: Path) -> None:
    question = a_question(data)
    first, second = (asked(data, question, "--seed", "11")["answer"] for _ in range(2))
    assert first == second


def test_a_run_of_the_model_replays_and_its_receipt_holds(data: Path, tmp_path: Path) -> None:
    receipt, text = tmp_path / "r", tmp_path / "t"
    more = ("--receipt", str(receipt), "--answer", str(text))
    run = asked(data, a_question(data), *more)["run"]
    again = json.loads(casemate("replay", str(run), "--json", data=data).fine().out)
    assert again["same"], again["differences"]
    key = casemate("ledger", "key", data=data).fine().out.strip()
    assert verify(receipt.read_bytes(), key, text.read_bytes()).proven


def test_the_engine_proved_its_isolation_on_the_record(data: Path) -> None:
    started = casemate("ledger", "search", "--kind", "engine.started", "--json", data=data)
    entries = json.loads(started.fine().out)
    assert entries
    for one in entries:
        entry = one.get("entry", one)
        assert "network" in entry["layers"]
        assert not [name for name, came in entry["proof"].items() if came.startswith("open")]


def test_held_out_questions_are_answered_as_well_as_the_model_card_says(data: Path) -> None:
    arguments = ["demo", "--model", "nano", "--data", str(data), "--score", "--json"]
    found = json.loads(casemate(*arguments).fine().out)["scores"]["all"]
    assert found["questions"] >= 100
    assert found["verbatim"] == 1.0
    assert found["right"] >= 0.9
    assert found["silent_rightly"] >= 0.8


def test_a_data_folder_may_be_named_by_a_relative_path(data: Path) -> None:
    arguments = ("ask", a_question(data), "--use-case", "registers")
    done = casemate("--data", data.name, *arguments, cwd=data.parent)
    assert "[1]" in done.fine().out
