from __future__ import annotations

import itertools

import argon2
import pytest

from casemate.errors import Invalid
from casemate.gate.password import Passwords, check_strength

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
GOOD = "seven tall herons by the Alzette"


def counting() -> Passwords:
    numbers = itertools.count()
    return Passwords(lambda size: next(numbers).to_bytes(size, "big"), CHEAP)


def test_a_password_opens_its_own_hash_only() -> None:
    passwords = counting()
    stored = passwords.hash(GOOD)
    assert stored.startswith("$argon2id$")
    assert passwords.verify(stored, GOOD)
    assert not passwords.verify(stored, GOOD + ".")
    assert not passwords.verify(passwords.hash("something else"), GOOD)


def test_two_hashes_of_one_password_differ() -> None:
    passwords = counting()
    assert passwords.hash(GOOD) != passwords.hash(GOOD)


def test_one_password_typed_on_two_keyboards_is_one() -> None:
    passwords = counting()
    assert passwords.verify(passwords.hash("Ecole e\u0301lémentaire"), "Ecole élémentaire")


def test_nothing_stored_never_opens_not_even_with_the_decoy() -> None:
    passwords = counting()
    assert not passwords.verify(None, GOOD)
    assert not passwords.verify(None, "nobody has this password")
    assert not passwords.verify("$argon2id$broken", GOOD)


def test_the_real_parameters_are_those_of_the_rfc() -> None:
    stored = Passwords(lambda size: bytes(size)).hash(GOOD)
    assert "$m=65536,t=3,p=4$" in stored


@pytest.mark.parametrize(
    "weak",
    [
        "too brief",
        "a" * 20,
        "abababababab",
        "123456789012",
        "abcdefghijklm",
        "password1234",
        "Passwort-2026",
        "Anne Schmit 1",
        "x" * 600,
    ],
)
def test_a_password_that_guessing_finds_first_is_refused(weak: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_strength(weak, "Anne Schmit")
    assert weak not in str(caught.value)
    assert caught.value.next


@pytest.mark.parametrize(
    "good", [GOOD, "Zwee Bieren an de Schiet", "k7#Wq9!vB2pL", "пароль из слов"]
)
def test_a_password_of_some_length_and_sense_is_accepted(good: str) -> None:
    check_strength(good, "Anne Schmit")
