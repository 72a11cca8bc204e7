"""Cosignatures: C2SP tlog-cosignature v1, Ed25519."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_builders import a_signer

from casemate.ledger.cosignature import CosignatureVerifier, Cosigner, checkpoint_in, cosigned
from casemate.ledger.note import Note, NoteError, Signature, Verifier
from casemate.ledger.proof import Checkpoint, CheckpointError

NOW = 1_790_000_000
TEXT = Checkpoint("casemate.example/log", 7, b"\7" * 32).format()


def a_cosigner(number: int = 1, name: str | None = None) -> Cosigner:
    return Cosigner.from_seed(name or f"witness.example/w{number}", bytes([100 + number]) * 32)


def a_note(*cosigners: Cosigner, text: str = TEXT) -> bytes:
    signatures = (a_signer().signature(text), *(one.cosign(text, NOW) for one in cosigners))
    return Note(text, signatures).encode()


@given(st.integers(1, 2**63 - 1))
def test_a_cosignature_says_its_time(time):
    cosigner = a_cosigner()
    assert cosigner.verifier.time_of(TEXT, cosigner.cosign(TEXT, time)) == time


def test_what_is_signed_is_a_header_a_time_and_the_text():
    cosigner = a_cosigner()
    value = cosigner.cosign(TEXT, NOW).value
    plain = Verifier(cosigner.name, cosigner.verifier.key)
    assert value[:8] == NOW.to_bytes(8, "big")
    assert plain.verifies(f"cosignature/v1\ntime {NOW}\n{TEXT}", value[8:])


def test_a_key_is_one_line_and_is_read_again():
    verifier = a_cosigner().verifier
    identity = hashlib.sha256(b"witness.example/w1\n\x04" + verifier.key).hexdigest()[:8]
    assert verifier.vkey.startswith(f"witness.example/w1+{identity}+B")
    assert CosignatureVerifier.parse(verifier.vkey) == verifier


def test_a_seed_never_shows():
    cosigner = Cosigner.generate("witness.example/new")
    assert cosigner.seed.hex() not in repr(cosigner)
    assert repr(cosigner.seed) not in repr(cosigner)


def test_every_changed_bit_of_a_key_is_refused():
    vkey = a_cosigner().vkey.encode()
    for place in range(len(vkey)):
        for bit in range(8):
            changed = bytearray(vkey)
            changed[place] ^= 1 << bit
            with pytest.raises((NoteError, UnicodeDecodeError)):
                CosignatureVerifier.parse(changed.decode())


@pytest.mark.parametrize("vkey", ["", "name", "a+00000000", a_signer().vkey])
def test_what_is_no_witness_key_is_refused(vkey):
    with pytest.raises(NoteError):
        CosignatureVerifier.parse(vkey)


def test_every_changed_bit_of_a_cosignature_is_refused():
    cosigner = a_cosigner()
    signature = cosigner.cosign(TEXT, NOW)
    for place in range(len(signature.value)):
        changed = bytearray(signature.value)
        changed[place] ^= 1
        with pytest.raises(NoteError):
            cosigner.verifier.time_of(TEXT, Signature(signature.name, signature.id, bytes(changed)))


@pytest.mark.parametrize("time", [-1, 0, 2**63])
def test_a_time_out_of_bounds_is_neither_signed_nor_read(time):
    cosigner = a_cosigner()
    with pytest.raises(NoteError, match="time"):
        cosigner.cosign(TEXT, time)
    if time >= 0:
        plain = a_signer(cosigner.name, 101).signature(f"cosignature/v1\ntime {time}\n{TEXT}")
        forged = time.to_bytes(8, "big") + plain.value
        with pytest.raises(NoteError, match="time"):
            cosigner.verifier.time_of(TEXT, Signature(cosigner.name, cosigner.verifier.id, forged))


@pytest.mark.parametrize("value", [b"", b"\0" * 71, b"\0" * 73])
def test_a_cosignature_of_another_length_is_refused(value):
    verifier = a_cosigner().verifier
    with pytest.raises(NoteError, match="length"):
        verifier.time_of(TEXT, Signature(verifier.name, verifier.id, value))


def test_only_checkpoints_are_cosigned():
    with pytest.raises(NoteError, match="only checkpoints"):
        a_cosigner().cosign("I owe you 5 francs.\n", NOW)


def test_the_witnesses_of_a_note_are_found_and_strangers_ignored():
    raw = a_note(a_cosigner(1), a_cosigner(2), a_cosigner(3))
    found = cosigned(raw, [a_cosigner(3).verifier, a_cosigner(1).verifier])
    assert found == ((a_cosigner(1).verifier, NOW), (a_cosigner(3).verifier, NOW))
    assert cosigned(a_note(), [a_cosigner().verifier]) == ()


def test_a_witness_that_signs_twice_counts_once_with_its_latest_time():
    lines = [a_cosigner().cosign(TEXT, NOW + seconds) for seconds in (0, 9, 5)]
    raw = Note(TEXT, (a_signer().signature(TEXT), *lines)).encode()
    assert cosigned(raw, [a_cosigner().verifier]) == ((a_cosigner().verifier, NOW + 9),)


def test_one_key_under_two_names_is_not_two_witnesses():
    twin = a_cosigner(1, "witness.example/twin")
    with pytest.raises(NoteError, match="same key"):
        cosigned(a_note(a_cosigner(1), twin), [a_cosigner(1).verifier, twin.verifier])


def test_a_known_witness_with_a_wrong_cosignature_makes_the_note_refused():
    other = TEXT.replace("\n7\n", "\n8\n")
    wrong = a_cosigner(2).cosign(other, NOW)
    raw = Note(TEXT, (a_cosigner(1).cosign(TEXT, NOW), wrong)).encode()
    with pytest.raises(NoteError, match="w2 is wrong"):
        cosigned(raw, [a_cosigner(1).verifier, a_cosigner(2).verifier])
    assert len(cosigned(raw, [a_cosigner(1).verifier])) == 1


def test_extension_lines_are_part_of_what_is_signed():
    text = TEXT + "an extension\n"
    signature = a_cosigner().cosign(text, NOW)
    assert a_cosigner().verifier.time_of(text, signature) == NOW
    with pytest.raises(NoteError):
        a_cosigner().verifier.time_of(TEXT, signature)
    assert checkpoint_in(text) == Checkpoint.parse(TEXT)


@pytest.mark.parametrize("text", ["", TEXT[:-1], TEXT + "\n", TEXT + "a\n\nb\n", TEXT + "a"])
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(CheckpointError):
        checkpoint_in(text)
