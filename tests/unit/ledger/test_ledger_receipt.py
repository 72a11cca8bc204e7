import json
from http import HTTPStatus

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from ledger_builders import a_nonce, a_receipt

from casemate.ledger.canonical import canonical as written
from casemate.ledger.proof import Proof
from casemate.ledger.receipt import (
    Opening,
    Receipt,
    ReceiptError,
    Recorded,
    canonical,
    commit,
    parse_canonical,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(JSON)
def test_canonical_json_is_what_another_implementation_makes_of_it(value):
    raw = canonical(value)
    assert raw == written(value) == rfc8785.dumps(value)
    assert parse_canonical(raw) == value


def test_keys_are_sorted_by_utf16_code_units():
    for make in (canonical, written):
        assert make({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        2**53,
        -(2**53),
        {1: 2},
        {None: 2},
        "\ud800",
        {"\udc00": 1},
        b"bytes",
        {1},
        {"deep": [{"er": 0.5}]},
    ],
)
def test_what_has_no_canonical_form_is_refused(value):
    for make in (canonical, written):
        with pytest.raises(ReceiptError):
            make(value)


def test_a_tuple_is_written_as_a_list():
    for make in (canonical, written):
        assert make({"a": (1, (2,))}) == b'{"a":[1,[2]]}'


def test_text_and_numbers_of_a_kind_of_their_own_are_written_as_what_they_are():
    class Name(str):
        __slots__ = ()

    for make in (canonical, written):
        assert make({"a": [Name("é"), HTTPStatus.OK]}) == '{"a":["é",200]}'.encode()


def test_nesting_without_end_is_refused():
    value: list = []
    for _ in range(100_000):
        value = [value]
    for make in (canonical, written):
        with pytest.raises(ReceiptError, match="deep"):
            make(value)
    with pytest.raises(ReceiptError):
        parse_canonical(b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" 1",
        b"1\n",
        b"01",
        b"-0",
        b"1.0",
        b"1e3",
        b"NaN",
        b"-Infinity",
        b"9007199254740992",
        b"9" * 5000,
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b'"\\u0061"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\\ud800"',
        b'"\x7f\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf1",
        '"a"'.encode("utf-16"),
        b"[1,]",
        b"true false",
    ],
)
def test_json_in_any_other_spelling_is_refused(raw):
    with pytest.raises(ReceiptError):
        parse_canonical(raw)


def test_a_commitment_depends_on_nonce_and_content():
    made = {commit(a_nonce(n), content) for n in (1, 2) for content in ("a", "b", ["a"], None)}
    assert len(made) == 8
    assert all(one.startswith("sha256:") and len(one) == 71 for one in made)
    with pytest.raises(ReceiptError):
        commit(b"short", "a")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return a_receipt(tmp_path_factory.mktemp("log"))


def test_a_receipt_survives_being_written_and_read(raw):
    receipt = Receipt.parse(raw)
    assert receipt.encode() == raw
    assert not raw.endswith(b"\n")
    assert [one.field for one in receipt.openings] == ["question", "answer", "sources"]


def test_openings_take_their_one_order_whoever_makes_the_receipt(raw):
    receipt = Receipt.parse(raw)
    turned = Receipt(receipt.admitted, receipt.finished, receipt.openings[::-1])
    assert turned.encode() == raw
    value = json.loads(raw)
    value["openings"].reverse()
    with pytest.raises(ReceiptError, match="order"):
        Receipt.parse(canonical(value))


def change(raw, edit):
    value = json.loads(raw)
    edit(value)
    return canonical(value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda r: r.update(v=2),
        lambda r: r.update(v=True),
        lambda r: r.update(v="1"),
        lambda r: r.update(kind="other"),
        lambda r: r.update(extra=1),
        lambda r: r.pop("openings"),
        lambda r: r.update(openings={}),
        lambda r: r.update(admitted=[]),
        lambda r: r["admitted"].update(extra=1),
        lambda r: r["admitted"].update(entry=7),
        lambda r: r["admitted"].update(entry="AB=="),
        lambda r: r["admitted"].update(proof="nothing"),
        lambda r: r["openings"].append(r["openings"][0]),
        lambda r: r["openings"][0].update(entry="other"),
        lambda r: r["openings"][0].update(nonce="AAAA"),
        lambda r: r["openings"][0].update(extra=1),
        lambda r: r["openings"][0].pop("content"),
        lambda r: r["openings"].append(None),
    ],
)
def test_a_receipt_with_anything_missing_or_unknown_is_refused(raw, edit):
    with pytest.raises(ReceiptError):
        Receipt.parse(change(raw, edit))


def test_a_receipt_carries_no_data_that_nothing_authenticates(raw):
    receipt = Receipt.parse(raw)
    proof = Proof.parse(receipt.admitted.proof)
    extra = Proof(proof.index, proof.hashes, proof.checkpoint, b"smuggled").format()
    smuggling = Receipt(Recorded(receipt.admitted.entry, extra), receipt.finished)
    with pytest.raises(ReceiptError, match="extra"):
        Receipt.parse(smuggling.encode())


def test_a_receipt_with_impossible_openings_cannot_be_made(raw):
    receipt = Receipt.parse(raw)
    one = receipt.openings[0]
    for openings in (
        (one, one),
        (Opening("other", "question", one.nonce, ""),),
        (Opening("admitted", "question", b"", ""),),
    ):
        with pytest.raises(ReceiptError):
            Receipt(receipt.admitted, receipt.finished, openings)
