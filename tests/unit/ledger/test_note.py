import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_builders import ORIGIN, a_signer

from casemate.ledger.note import (
    Note,
    NoteError,
    Signature,
    Signer,
    Verifier,
    decode_base64,
    open_note,
    sign,
)

TEXT = "first line\n\nsecond line\n"


def test_a_signed_text_opens_with_its_key():
    signer = a_signer()
    note = open_note(sign(TEXT, [signer]), [signer.verifier])
    assert note.text == TEXT
    assert [one.name for one in note.signatures] == [ORIGIN]


def test_a_key_survives_being_written_and_read():
    signer = Signer.generate(ORIGIN)
    assert Verifier.parse(signer.vkey) == signer.verifier
    assert Signer.from_seed(ORIGIN, signer.seed).vkey == signer.vkey


def test_a_seed_never_shows_in_the_representation():
    signer = Signer.generate(ORIGIN)
    assert repr(signer.seed) not in repr(signer)
    assert signer.seed.hex() not in repr(signer)


def test_every_changed_byte_of_a_verifier_key_is_refused():
    vkey = a_signer().vkey.encode()
    for place in range(len(vkey)):
        for bit in range(8):
            changed = bytearray(vkey)
            changed[place] ^= 1 << bit
            with pytest.raises((NoteError, UnicodeDecodeError)):
                Verifier.parse(changed.decode())


@pytest.mark.parametrize(
    "change",
    [
        lambda key: "",
        lambda key: "name",
        lambda key: "+".join(key.split("+", 2)[:2]),
        lambda key: key + "\n",
        lambda key: " " + key,
        lambda key: key + "=",
        lambda key: key.replace(key.split("+", 2)[1], key.split("+", 2)[1].upper()),
        lambda key: key.replace(key.split("+", 2)[1], "0" + key.split("+", 2)[1]),
        lambda key: "+" + key.split("+", 1)[1],
        lambda key: "a b+" + key.split("+", 1)[1],
    ],
)
def test_a_verifier_key_in_any_other_spelling_is_refused(change):
    signer = next(
        one
        for one in (a_signer(seed=n) for n in range(9))
        if any(map(str.isalpha, one.vkey[21:29]))
    )
    with pytest.raises(NoteError):
        Verifier.parse(change(signer.vkey))


@pytest.mark.parametrize("kind", [0, 2, 4, 255])
def test_a_key_of_another_type_is_refused(kind):
    import hashlib

    material = bytes([kind]) + a_signer().verifier.key
    identity = hashlib.sha256(ORIGIN.encode() + b"\n" + material).digest()[:4].hex()
    with pytest.raises(NoteError, match="type"):
        Verifier.parse(f"{ORIGIN}+{identity}+{base64.b64encode(material).decode()}")


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "a\x01b", "\ud800"]
)
def test_a_name_that_cannot_stand_in_a_note_is_refused(name):
    with pytest.raises(NoteError):
        Signer.generate(name)


def test_keys_of_another_length_are_refused():
    with pytest.raises(NoteError):
        Verifier(ORIGIN, b"\0" * 31)
    with pytest.raises(NoteError):
        Signer.from_seed(ORIGIN, b"\0" * 33)


def test_signatures_of_unknown_keys_are_ignored_even_with_a_known_name_or_id():
    known, stranger, namesake = a_signer(), a_signer("other.example", 2), a_signer(seed=3)
    raw = sign(TEXT, [stranger, namesake, known])
    note = open_note(raw, [known.verifier])
    assert [one.id for one in note.signatures] == [known.verifier.id]
    parsed = Note.parse(raw)
    same_id = Signature("other.example", known.verifier.id, b"\0" * 64)
    mixed = Note(parsed.text, (same_id, *parsed.signatures)).encode()
    assert len(open_note(mixed, [known.verifier]).signatures) == 1


def test_a_note_without_a_known_signature_is_refused():
    with pytest.raises(NoteError, match="known key"):
        open_note(sign(TEXT, [a_signer()]), [a_signer(seed=2).verifier])


def test_one_wrong_signature_of_a_known_key_refuses_the_whole_note():
    signer, other = a_signer(), a_signer("other.example", 2)
    good = Note.parse(sign(TEXT, [signer, other]))
    wrong = Signature(other.name, other.verifier.id, b"\0" * 64)
    raw = Note(good.text, (good.signatures[0], wrong)).encode()
    assert open_note(raw, [signer.verifier])
    with pytest.raises(NoteError, match="wrong"):
        open_note(raw, [signer.verifier, other.verifier])


def test_every_changed_byte_of_a_note_is_noticed():
    signer = a_signer()
    raw = sign(TEXT, [signer])
    for place in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            with pytest.raises(NoteError):
                open_note(bytes(changed), [signer.verifier])


def test_the_text_ends_at_the_last_blank_line():
    assert Note.parse(sign("a\n\nb\n\n", [a_signer()])).text == "a\n\nb\n\n"


GOOD = sign("text\n", [a_signer()])
LINE = GOOD.split(b"\n\n")[1]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text\n",
        b"text\n\n",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD + b"x",
        GOOD.replace(b"text", b"te\rxt"),
        GOOD.replace(b"text", b"te\x00xt"),
        GOOD.replace(b"text", b"te\xffxt"),
        GOOD.replace("— ".encode(), b"- "),
        GOOD.replace("— ".encode(), "—  ".encode()),
        GOOD.replace(b"=\n", b"\n"),
        GOOD.replace(b"\n\n", b"\n"),
        b"\n" + LINE,
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name\n".encode(),
        b"text\n\n" + LINE * 101,
    ],
)
def test_a_malformed_note_is_refused(raw):
    with pytest.raises(NoteError):
        open_note(raw, [a_signer().verifier])


def test_many_signatures_are_accepted():
    assert len(Note.parse(b"text\n\n" + LINE * 100).signatures) == 100


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "\ud800\n"])
def test_a_text_that_cannot_be_a_note_is_not_signed(text):
    with pytest.raises(NoteError):
        sign(text, [a_signer()])


def test_a_note_needs_a_signer():
    with pytest.raises(NoteError):
        sign(TEXT, [])


@given(st.binary(max_size=80))
def test_base64_has_one_spelling(raw):
    text = base64.b64encode(raw).decode()
    assert decode_base64(text) == raw
    for other in (text + "=", text + "\n", " " + text, text.rstrip("=") + "é"):
        with pytest.raises(NoteError):
            decode_base64(other)


def test_spare_bits_in_base64_are_refused():
    assert decode_base64("AA==") == b"\0"
    with pytest.raises(NoteError, match="canonical"):
        decode_base64("AB==")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(lambda text: text + "\n"))
def test_whatever_is_signed_opens_again(text):
    assert open_note(sign(text, [a_signer()]), [a_signer().verifier]).text == text
