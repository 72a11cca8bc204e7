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

from casemate.ledger.command import main
from casemate.ledger.cosignature import Cosigner
from casemate.ledger.log import Log
from casemate.ledger.note import Note, sign
from casemate.ledger.proof import Proof
from casemate.ledger.receipt import Opening, Receipt, Recorded, canonical
from casemate.ledger.record import Ledger
from casemate.ledger.verify import Unproven, Verifying, verify

VKEY = a_signer().vkey
ANSWER = TEXT.encode()
DIGEST = "sha256:" + "3" * 64


@pytest.fixture(scope="module")
def receipt(tmp_path_factory):
    return a_receipt(tmp_path_factory.mktemp("log"))


def test_a_receipt_proves_answer_sources_question_use_case_and_place(receipt):
    verdict = verify(receipt, VKEY, ANSWER)
    assert verdict.proven == (
        "this answer, word for word, as in the file",
        "from this passage of this document: gebühren.pdf",
        f"gebühren.pdf was the file with the digest sha256:{'0' * 64}",
        "each of its 2 quotations verbatim at its place",
        "to this question, word for word",
        "under use case documents, at label unclassified",
        f"with model quote, whose manifest has the digest sha256:{'1' * 64}",
        f"allowed by policy base, of the policies with the digest sha256:{'2' * 64}",
        "with the outcome answered",
        "admitted earlier, as entry 1, at 2026-11-24T22:10:03Z",
        f"recorded as entry 2 of log {ORIGIN} at 2026-11-24T22:10:03Z",
    )
    assert verdict.facts["documents"] == ["gebühren.pdf"]
    assert verdict.facts["files"] == [{"document": "gebühren.pdf", "digest": "sha256:" + "0" * 64}]
    assert verdict.facts["model"] == {"id": "quote", "digest": "sha256:" + "1" * 64}
    assert verdict.facts["policy"]["deciding"] == ["base"]
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
        ("admitted", {"model": "quote"}),
        ("finished", {"model": {"id": "quote", "digest": "sha256:1"}}),
        ("finished", {"model": {"id": "quote", "digest": "sha256:" + "1" * 64, "more": 1}}),
        ("finished", {"policy": {}}),
        ("finished", {"policy": {"decision": "deny", "deciding": [], "digest": DIGEST}}),
        ("finished", {"policy": {"decision": "allow", "deciding": [1], "digest": DIGEST}}),
        ("finished", {"policy": {"decision": "allow", "deciding": [], "digest": DIGEST[:-1]}}),
        ("finished", {"witnesses": None}),
        ("finished", {"witnesses": {"of": 3, "needed": 4, "failing": "open"}}),
        ("finished", {"witnesses": {"of": 3, "needed": -1, "failing": "open"}}),
        ("finished", {"witnesses": {"of": 101, "needed": 1, "failing": "open"}}),
        ("finished", {"witnesses": {"of": 3, "needed": True, "failing": "open"}}),
        ("finished", {"witnesses": {"of": 3, "needed": 2, "failing": "perhaps"}}),
        ("finished", {"witnesses": {"of": 3, "needed": 2}}),
        ("finished", {"witnesses": {"of": 3, "needed": 2, "failing": "open", "more": 1}}),
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
        {"sources": some_sources(digest="sha256:0")},
        {"sources": some_sources(digest=None)},
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
    (files / "key").write_text(VKEY)
    assert main([str(files / "absent"), "--key", str(files / "key")]) == 1
    assert "absent" in capsys.readouterr().err


def test_wrong_usage_of_the_command_exits_with_2(files, capsys):
    assert main([]) == 2
    answer = ["--answer", str(files / "answer")]
    assert main([str(files), "--key", str(files / "key"), *answer]) == 2
    assert main([str(files / "receipt")]) == 2
    assert main(["--help"]) == 0


def test_the_verifier_loads_nothing_else_of_the_platform():
    code = (
        "import sys, casemate.ledger.verify\n"
        "print(sorted(m for m in sys.modules if m.startswith('casemate')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = ("cosignature", "merkle", "note", "pair", "proof", "quotation", "receipt")
    parts += ("verdict", "verify")
    expected = ["casemate", "casemate.ledger", *(f"casemate.ledger.{part}" for part in parts)]
    assert done.stdout.strip() == str(expected)


def test_a_receipt_that_is_json_but_not_canonical_is_refused(receipt):
    pretty = json.dumps(json.loads(receipt), indent=1).encode()
    with pytest.raises(Unproven, match=r"^receipt"):
        verify(pretty, VKEY)
    with pytest.raises(Unproven, match=r"^receipt"):
        verify(canonical([]), VKEY)


# Who else saw it

WITNESSES = [Cosigner.from_seed(f"witness.example/{one}", bytes([one]) * 32) for one in (7, 8, 9)]
NAMED = [one.vkey for one in WITNESSES]


def cosigned(receipt, *, by, of=("admitted", "finished"), time=1_780_000_000):
    """The receipt with cosignatures on the checkpoints of these entries."""
    parsed = Receipt.parse(receipt)

    def changed(name):
        recorded = getattr(parsed, name)
        if name not in of:
            return recorded
        proof = Proof.parse(recorded.proof)
        note = Note.parse(proof.checkpoint)
        more = tuple(one.cosign(note.text, time) for one in by)
        noted = Note(note.text, (*note.signatures, *more)).encode()
        return Recorded(recorded.entry, Proof(proof.index, proof.hashes, noted).format())

    return Receipt(changed("admitted"), changed("finished"), parsed.openings).encode()


def test_a_verdict_names_the_witnesses_that_cosigned_and_when(receipt):
    two = cosigned(receipt, by=WITNESSES[:2])
    verdict = verify(two, VKEY, None, NAMED, 2)
    assert verdict.proven[-2:] == tuple(
        f"witness {one.name} cosigned this history at 2026-05-28T20:26:40Z" for one in WITNESSES[:2]
    )
    told = verdict.not_proven
    assert f"that witness {WITNESSES[2].name} saw this history: it did not cosign it" in told
    assert not any("same history" in one for one in told)
    assert [one["name"] for one in verdict.facts["witnesses"]["cosigned"]] == [
        one.name for one in WITNESSES[:2]
    ]


def test_with_fewer_witnesses_than_needed_nothing_is_proven(receipt):
    two = cosigned(receipt, by=WITNESSES[:2])
    for needed in (None, 3):
        with pytest.raises(Unproven) as caught:
            verify(two, VKEY, None, NAMED, needed)
        assert caught.value.part == "witnesses"
        assert "2 of the 3" in caught.value.reason
    assert verify(two, VKEY, None, NAMED[:2])
    assert "no witness cosigned" in verify(receipt, VKEY, None, NAMED, 0).not_proven[-1]


def test_more_witnesses_than_were_named_cannot_be_needed(receipt):
    for named, needed in (((), 1), (NAMED, 4), (NAMED, -1), (NAMED[:1] * 2, 2)):
        with pytest.raises(Unproven, match=r"^witnesses"):
            verify(receipt, VKEY, None, named, needed)


def test_cosignatures_of_keys_that_were_not_given_are_counted(receipt):
    two = cosigned(receipt, by=WITNESSES[:2])
    told = verify(two, VKEY).not_proven
    assert "no witness cosigned that this check knows" in told[-2]
    assert told[-1].startswith("what 2 other signatures on the checkpoint say")
    assert verify(two, VKEY, None, NAMED[:1]).not_proven[-1].startswith("what 1 other signature")


def test_a_witness_has_to_have_cosigned_both_checkpoints(receipt):
    for side in ("admitted", "finished"):
        with pytest.raises(Unproven, match=r"^witnesses"):
            verify(cosigned(receipt, by=WITNESSES, of=(side,)), VKEY, None, NAMED, 1)


def test_every_changed_byte_of_a_cosigned_receipt_is_noticed_by_who_knows_the_witness(receipt):
    one = cosigned(receipt, by=WITNESSES[:1])
    verifying = Verifying(VKEY, NAMED[:1])
    verifying.verify(one)
    for place in range(len(one)):
        changed = bytearray(one)
        changed[place] ^= 1 << (place % 7)
        with pytest.raises(Unproven):
            verifying.verify(bytes(changed))


def test_a_known_witness_with_a_wrong_cosignature_refuses_the_receipt(receipt):
    namesake = Cosigner.from_seed(WITNESSES[0].name, WITNESSES[1].seed)
    assert "1 other" in verify(cosigned(receipt, by=[namesake]), VKEY).not_proven[-1]
    other = cosigned(receipt, by=WITNESSES[:1]).decode()
    lines = [one for one in other.split("\\n") if WITNESSES[0].name in one]
    wrong = other.replace(lines[0][-20:], "A" * 17 + lines[0][-3:]).encode()
    with pytest.raises(Unproven, match=r"^(witnesses|receipt)"):
        verify(wrong, VKEY, None, NAMED, 0)


@pytest.mark.parametrize("key", ["", "x", VKEY, NAMED[0] + " ", NAMED[0] + "\n\n"])
def test_a_key_that_is_no_witness_key_is_refused(receipt, key):
    with pytest.raises(Unproven, match=r"^witnesses"):
        verify(receipt, VKEY, None, [key])


@pytest.mark.parametrize(
    ("failing", "words"), [("open", "gave receipts without"), ("closed", "gave no receipt without")]
)
def test_the_installations_own_rule_on_witnesses_is_said(tmp_path, failing, words):
    rule = {"of": 3, "needed": 2, "failing": failing}
    receipt = a_receipt(tmp_path, finished_changes={"witnesses": rule})
    verdict = verify(receipt, VKEY)
    said = f"this installation then asked for 2 of 3 witnesses, and {words} them"
    assert said in verdict.proven
    assert verdict.facts["witness_policy"] == rule


# While a log changes its key


def resigned(receipt, *signers):
    """The receipt with checkpoints that all of ``signers`` signed."""
    parsed = Receipt.parse(receipt)

    def changed(recorded):
        proof = Proof.parse(recorded.proof)
        noted = sign(Note.parse(proof.checkpoint).text, signers)
        return Recorded(recorded.entry, Proof(proof.index, proof.hashes, noted).format())

    return Receipt(changed(parsed.admitted), changed(parsed.finished), parsed.openings).encode()


OLD, NEW = a_signer(), a_signer(seed=2)


def test_either_key_of_a_log_that_changes_its_key_suffices(receipt):
    both = resigned(receipt, OLD, NEW)
    for vkey in (OLD.vkey, NEW.vkey, f"{OLD.vkey}\n{NEW.vkey}\n", f"{NEW.vkey}\n{OLD.vkey}"):
        verdict = verify(both, vkey)
        assert verdict.facts["witnesses"]["unknown"] == 0
    assert verify(resigned(receipt, NEW), f"{OLD.vkey}\n{NEW.vkey}")
    with pytest.raises(Unproven, match=r"^checkpoint signature"):
        verify(resigned(receipt, NEW), OLD.vkey)


def test_a_wrong_signature_of_a_key_that_is_known_refuses_even_beside_a_right_one(receipt):
    parsed = Receipt.parse(receipt)
    proof = Proof.parse(parsed.finished.proof)
    note = Note.parse(proof.checkpoint)
    wrong = NEW.signature("another text\n")
    noted = Note(note.text, (*note.signatures, wrong)).encode()
    mixed = Receipt(
        parsed.admitted,
        Recorded(parsed.finished.entry, Proof(proof.index, proof.hashes, noted).format()),
        parsed.openings,
    ).encode()
    assert verify(mixed, OLD.vkey)
    with pytest.raises(Unproven, match=r"^checkpoint signature"):
        verify(mixed, f"{OLD.vkey}\n{NEW.vkey}")


def test_the_keys_of_different_logs_are_no_key_of_one(receipt):
    with pytest.raises(Unproven, match=r"^key: .*different logs"):
        verify(receipt, f"{VKEY}\n{a_signer('other.example').vkey}")


def test_what_is_remembered_of_one_receipt_does_not_excuse_another(receipt):
    verifying = Verifying(VKEY)
    verifying.verify(receipt)
    for place in range(0, len(receipt), 3):
        changed = bytearray(receipt)
        changed[place] ^= 1
        with pytest.raises(Unproven):
            verifying.verify(bytes(changed))
    assert verifying.verify(receipt, ANSWER) == verify(receipt, VKEY, ANSWER)
