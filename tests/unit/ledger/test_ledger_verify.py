import json
import re
import subprocess
import sys

import pytest
from ledger_builders import (
    ORIGIN,
    TEXT,
    a_receipt,
    a_signer,
    an_answer,
    record_run,
    some_sources,
)

from casemate.ledger.log import Log
from casemate.ledger.receipt import Opening, Receipt, Recorded, canonical
from casemate.ledger.record import Ledger
from casemate.ledger.verify import Unproven, main, verify

VKEY = a_signer().vkey
ANSWER = TEXT.encode()


@pytest.fixture(scope="module")
def receipt(tmp_path_factory):
    return a_receipt(tmp_path_factory.mktemp("log"))


def test_a_receipt_proves_answer_sources_question_use_case_and_place(receipt):
    verdict = verify(receipt, VKEY, ANSWER)
    assert verdict.proven == (
        "this answer, word for word, as in the file",
        "from this passage of this document: gebühren.pdf",
        "each of its 2 quotations verbatim at its place",
        "to this question, word for word",
        "under use case documents, at label unclassified",
        "with the outcome answered",
        "admitted earlier, as entry 1, at 2026-11-24T22:10:03Z",
        f"recorded as entry 2 of log {ORIGIN} at 2026-11-24T22:10:03Z",
    )
    assert verdict.facts["documents"] == ["gebühren.pdf"]
    assert verdict.facts["finished"] == {"index": 2, "time": "2026-11-24T22:10:03Z"}


def test_a_verdict_says_what_is_not_proven(receipt):
    told = "\n".join(verify(receipt, VKEY).not_proven)
    assert "that the documents are right" in told
    assert "committed to as steps: the receipt does not open it" in told
    assert "question" not in told
    assert "same history" in told


def test_a_receipt_without_openings_still_proves_the_record(tmp_path):
    verdict = verify(a_receipt(tmp_path, opened=()), VKEY)
    assert verdict.proven[0].startswith("under use case documents")
    assert len(verdict.not_proven) == 3 + 4


def test_the_key_may_end_in_one_newline_and_nothing_else(receipt):
    assert verify(receipt, VKEY + "\n")
    for bad in (VKEY + "\n\n", VKEY + "\r\n", VKEY + " ", "\n" + VKEY, ""):
        with pytest.raises(Unproven) as caught:
            verify(receipt, bad)
        assert caught.value.part == "key"


def test_every_changed_byte_of_a_receipt_is_noticed(receipt):
    for place in range(len(receipt)):
        changed = bytearray(receipt)
        changed[place] ^= 1 << (place % 7)  # stays ASCII where it was: the harder case
        with pytest.raises(Unproven):
            verify(bytes(changed), VKEY)


def test_two_bits_of_every_byte_of_a_small_receipt_are_noticed(tmp_path):
    small = a_receipt(tmp_path, opened=("question",))
    for place in range(len(small)):
        for bit in (0, 5):  # a neighbour in the alphabet; the other case of a letter
            changed = bytearray(small)
            changed[place] ^= 1 << bit
            with pytest.raises(Unproven):
                verify(bytes(changed), VKEY)


def test_every_missing_or_added_byte_of_a_receipt_is_noticed(receipt):
    for place in range(0, len(receipt), 7):
        for changed in (
            receipt[:place] + receipt[place + 1 :],
            receipt[:place] + b" " + receipt[place:],
            receipt[:place],
        ):
            with pytest.raises(Unproven):
                verify(changed, VKEY)


def test_every_changed_byte_of_the_key_is_noticed(receipt):
    vkey = (VKEY + "\n").encode()
    for place in range(len(vkey)):
        for bit in range(7):
            changed = bytearray(vkey)
            changed[place] ^= 1 << bit
            with pytest.raises(Unproven, match=r"^key"):
                verify(receipt, changed.decode())


def test_every_changed_byte_of_the_answer_is_noticed(receipt):
    for place in range(len(ANSWER)):
        for bit in range(8):
            changed = bytearray(ANSWER)
            changed[place] ^= 1 << bit
            with pytest.raises(Unproven, match=r"^answer"):
                verify(receipt, VKEY, bytes(changed))
    for changed in (b"", ANSWER + b"\n", ANSWER[:-1]):
        with pytest.raises(Unproven, match=r"^answer"):
            verify(receipt, VKEY, changed)


def test_an_empty_answer_is_compared_too(tmp_path):
    empty = an_answer(text="", citations=[], sentences=[])
    receipt = a_receipt(tmp_path, answer=empty)
    assert "without any quotation" in verify(receipt, VKEY, b"").proven
    with pytest.raises(Unproven, match=r"^answer"):
        verify(receipt, VKEY, b"x")


def test_an_answer_cannot_be_compared_with_a_receipt_that_does_not_open_it(tmp_path):
    with pytest.raises(Unproven, match=r"^answer: .*no opening"):
        verify(a_receipt(tmp_path, opened=("question",)), VKEY, ANSWER)


def test_the_key_of_another_log_proves_nothing(receipt):
    for other in (a_signer(seed=2), a_signer("other.example")):
        with pytest.raises(Unproven) as caught:
            verify(receipt, other.vkey)
        assert caught.value.part == "checkpoint signature"


def test_a_proof_of_another_entry_is_noticed(receipt):
    parsed = Receipt.parse(receipt)
    swapped = Receipt(
        Recorded(parsed.admitted.entry, parsed.finished.proof), parsed.finished, parsed.openings
    )
    with pytest.raises(Unproven) as caught:
        verify(swapped.encode(), VKEY)
    assert caught.value.part == "inclusion of admitted"
    swapped = Receipt(parsed.admitted, Recorded(b"{}", parsed.finished.proof))
    with pytest.raises(Unproven) as caught:
        verify(swapped.encode(), VKEY)
    assert caught.value.part == "inclusion of finished"


@pytest.mark.parametrize(
    ("side", "changes"),
    [
        ("admitted", {"run": "r2"}),
        ("admitted", {"principal": "p2"}),
        ("admitted", {"use_case": "other"}),
        ("admitted", {"tenant": "t2"}),
        ("admitted", {"kind": "run.finished"}),
        ("admitted", {"v": 2}),
        ("admitted", {"v": True}),
        ("admitted", {"time": "yesterday"}),
        ("admitted", {"label": None}),
        ("finished", {"kind": "run.admitted"}),
        ("finished", {"outcome": "perhaps"}),
        ("finished", {"outcome": ["answered"]}),
        ("finished", {"admitted": None}),
        ("finished", {"admitted": {"index": 1, "leaf": "sha256:" + "0" * 64}}),
        ("finished", {"admitted": {"index": True, "leaf": ""}}),
    ],
)
def test_entries_that_are_not_one_run_prove_nothing(tmp_path, side, changes):
    receipt = a_receipt(tmp_path, **{f"{side}_changes": changes})
    with pytest.raises(Unproven) as caught:
        verify(receipt, VKEY)
    assert caught.value.part == "run"


def test_a_run_with_another_runs_admission_proves_nothing(tmp_path):
    with Log.open(tmp_path, a_signer()) as log:
        first, second = (record_run(Ledger(log)) for _ in range(2))
        mixed = Ledger(log).receipt_for(0, 3, second.openings)
        turned = Ledger(log).receipt_for(1, 0, ())
    assert first != second
    for receipt in (mixed, turned):
        with pytest.raises(Unproven) as caught:
            verify(receipt.encode(), VKEY)
        assert caught.value.part == "run"


def test_an_opening_that_no_entry_committed_to_is_refused(receipt):
    parsed = Receipt.parse(receipt)
    nonce = parsed.openings[0].nonce
    for field, content in (
        ("question", "another question"),
        ("answer", "x"),
        ("nothing", "x"),
        ("run", "r1"),
        ("model", {}),
    ):
        forged = Receipt(
            parsed.admitted, parsed.finished, (Opening("admitted", field, nonce, content),)
        )
        with pytest.raises(Unproven) as caught:
            verify(forged.encode(), VKEY)
        assert caught.value.part == f"opening of {field}"


def a_citation(**changes):
    return [an_answer()["citations"][0] | changes]  # type: ignore[index]


@pytest.mark.parametrize(
    "how",
    [
        {"answer": an_answer(citations=a_citation(quote="Die Gebühr beträgt 13 €."))},
        {"answer": an_answer(citations=a_citation(start=112))},
        {"answer": an_answer(citations=a_citation(start=110))},
        {"answer": an_answer(citations=a_citation(start=135, end=111))},
        {"answer": an_answer(citations=a_citation(start=111, end=111, quote=""))},
        {"answer": an_answer(citations=a_citation(start=0, end=10, quote="x" * 10))},
        {"answer": an_answer(citations=a_citation(source=1))},
        {"answer": an_answer(citations=a_citation(source=-1))},
        {"answer": an_answer(citations=a_citation(source=False))},
        {"answer": an_answer(citations=[{}])},
        {"answer": an_answer(citations=["x"])},
        {"sources": some_sources(text="short")},
        {"sources": some_sources(start=-5)},
        {"sources": some_sources(start=101)},
        {"sources": some_sources(document=None)},
        {"sources": [None]},
        {"sources": {}},
    ],
)
def test_a_quotation_that_is_not_verbatim_at_its_place_is_refused(tmp_path, how):
    how.get("answer", {}).update(sentences=[])
    receipt = a_receipt(tmp_path, **how)
    with pytest.raises(Unproven) as caught:
        verify(receipt, VKEY)
    assert caught.value.part == "quotation"


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        {},
        an_answer(text=7),
        an_answer(citations={}),
        an_answer(sentences=[{"start": 0, "end": 10_000, "citations": []}]),
        an_answer(sentences=[{"start": 5, "end": 4, "citations": []}]),
        an_answer(sentences=[{"start": 0, "end": 4, "citations": [2]}]),
        an_answer(sentences=[{"start": 0, "end": 4, "citations": [True]}]),
        an_answer(sentences=[[]]),
    ],
)
def test_a_malformed_answer_is_refused(tmp_path, answer):
    with pytest.raises(Unproven) as caught:
        verify(a_receipt(tmp_path, answer=answer), VKEY)
    assert caught.value.part == "answer"


def test_names_cannot_steer_the_terminal_that_shows_them(tmp_path):
    receipt = a_receipt(tmp_path, sources=some_sources(document="a\x1b[2J\u202eb"))
    told = "\n".join(verify(receipt, VKEY).proven)
    assert "\x1b" not in told
    assert "\u202e" not in told


@pytest.fixture
def files(tmp_path, receipt):
    (tmp_path / "receipt").write_bytes(receipt)
    (tmp_path / "key").write_text(VKEY + "\n")
    (tmp_path / "answer").write_bytes(ANSWER)
    return tmp_path


def test_the_command_says_what_is_proven(files, capsys):
    command = [str(files / "receipt"), "--key", str(files / "key")]
    assert main([*command, "--answer", str(files / "answer")]) == 0
    told = capsys.readouterr().out
    assert "Proven:\n  this answer, word for word, as in the file\n" in told
    assert "Not proven:\n" in told
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["facts"]["origin"] == ORIGIN


def test_the_command_names_the_part_that_fails_in_one_line(files, capsys):
    command = [str(files / "receipt"), "--key", str(files / "key")]
    (files / "answer").write_bytes(ANSWER + b"!")
    assert main([*command, "--answer", str(files / "answer")]) == 1
    assert re.fullmatch(r"Not proven\. answer: [^\n]+\n", capsys.readouterr().err)
    (files / "key").write_bytes(b"\xff")
    assert main(command) == 1
    assert "key" in capsys.readouterr().err
    assert main([str(files / "absent"), "--key", str(files / "key")]) == 1
    assert "absent" in capsys.readouterr().err


def test_wrong_usage_of_the_command_exits_with_2(files, capsys):
    assert main([]) == 2
    assert main([str(files / "receipt")]) == 2
    assert main(["--help"]) == 0


def test_the_verifier_loads_nothing_else_of_the_platform():
    code = (
        "import sys, casemate.ledger.verify\n"
        "print(sorted(m for m in sys.modules if m.startswith('casemate')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = ("merkle", "note", "proof", "quotation", "receipt", "verify")
    expected = ["casemate", "casemate.ledger", *(f"casemate.ledger.{part}" for part in parts)]
    assert done.stdout.strip() == str(expected)


def test_a_receipt_that_is_json_but_not_canonical_is_refused(receipt):
    pretty = json.dumps(json.loads(receipt), indent=1).encode()
    with pytest.raises(Unproven, match=r"^receipt"):
        verify(pretty, VKEY)
    with pytest.raises(Unproven, match=r"^receipt"):
        verify(canonical([]), VKEY)
