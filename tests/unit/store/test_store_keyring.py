from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from casemate.errors import Invalid, NotFound, Tampered
from casemate.store.database import Database
from casemate.store.keyring import Keyring, master_key
from casemate.store.tables import data_keys

MASTER = bytes(range(32))


@pytest.fixture
def keyring(database: Database) -> Keyring:
    return Keyring(MASTER, database)


def test_what_was_sealed_opens_again(keyring: Keyring) -> None:
    sealed = keyring.seal("anne", b"a question", about="r1/question")
    assert keyring.open("anne", sealed, about="r1/question") == b"a question"


def test_nothing_of_the_content_shows_in_what_is_sealed(keyring: Keyring) -> None:
    assert b"question" not in keyring.seal("anne", b"a question", about="r1/question")


def test_sealing_the_same_twice_gives_different_bytes(keyring: Keyring) -> None:
    first, second = (keyring.seal("anne", b"x", about="a") for _ in range(2))
    assert first != second


def test_nonces_and_keys_come_from_the_random_source_that_is_given(database: Database) -> None:
    drawn: list[int] = []

    def random(size: int) -> bytes:
        drawn.append(size)
        return bytes([len(drawn)]) * size

    Keyring(MASTER, database, random=random).seal("anne", b"x", about="a")
    assert sorted(drawn) == [12, 12, 32]


def test_each_subject_has_a_key_of_its_own(keyring: Keyring) -> None:
    sealed = keyring.seal("anne", b"x", about="a")
    keyring.seal("bob", b"y", about="a")
    with pytest.raises(Tampered):
        keyring.open("bob", sealed, about="a")


def test_a_sealed_value_cannot_be_moved_to_another_place(keyring: Keyring) -> None:
    sealed = keyring.seal("anne", b"x", about="r1/question")
    with pytest.raises(Tampered, match="changed after it was sealed"):
        keyring.open("anne", sealed, about="r2/question")


def test_any_flipped_bit_of_a_sealed_value_is_noticed(keyring: Keyring) -> None:
    sealed = keyring.seal("anne", b"two", about="a")
    for place in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(Tampered):
            keyring.open("anne", bytes(changed), about="a")


@pytest.mark.parametrize("length", [0, 1, 11, 12, 27])
def test_a_sealed_value_that_was_cut_short_is_noticed(keyring: Keyring, length: int) -> None:
    sealed = keyring.seal("anne", b"two", about="a")
    with pytest.raises(Tampered):
        keyring.open("anne", sealed[:length], about="a")


def test_destroying_a_key_erases_what_it_sealed_and_nothing_else(keyring: Keyring) -> None:
    of_anne = keyring.seal("anne", b"x", about="a")
    of_bob = keyring.seal("bob", b"y", about="a")
    assert keyring.destroy("anne")
    with pytest.raises(NotFound, match="erased"):
        keyring.open("anne", of_anne, about="a")
    assert keyring.open("bob", of_bob, about="a") == b"y"
    assert not keyring.destroy("anne")


def test_a_key_made_after_erasure_does_not_bring_the_content_back(keyring: Keyring) -> None:
    sealed = keyring.seal("anne", b"x", about="a")
    keyring.destroy("anne")
    keyring.seal("anne", b"new", about="a")
    with pytest.raises(Tampered):
        keyring.open("anne", sealed, about="a")


def test_another_master_key_opens_nothing(database: Database) -> None:
    sealed = Keyring(MASTER, database).seal("anne", b"x", about="a")
    with pytest.raises(Tampered, match="master key"):
        Keyring(bytes(32), database).open("anne", sealed, about="a")


def test_a_wrapped_key_cannot_be_given_to_another_subject(database: Database) -> None:
    keyring = Keyring(MASTER, database)
    sealed = keyring.seal("anne", b"x", about="a")
    with database.write() as connection:
        connection.execute(sa.update(data_keys).values(subject="eve"))
    with pytest.raises(Tampered):
        keyring.open("eve", sealed, about="a")


@given(content=st.binary(max_size=200), about=st.text(max_size=40), subject=st.text(min_size=1))
def test_any_content_under_any_name_comes_back_as_it_was(
    content: bytes, about: str, subject: str
) -> None:
    keyring = Keyring(MASTER, _one_for_all())
    assert keyring.open(subject, keyring.seal(subject, content, about=about), about=about) == (
        content
    )


_kept: list[Database] = []


def _one_for_all() -> Database:
    if not _kept:
        path = Path(tempfile.mkdtemp()) / "keys.sqlite"
        engine = sa.create_engine(f"sqlite:///{path}")
        data_keys.create(engine)
        _kept.append(Database(engine))
    return _kept[0]


def test_a_key_that_was_retired_is_forgotten_where_it_was_unwrapped(
    keyring: Keyring, database: Database
) -> None:
    sealed = keyring.seal("anne", b"x", about="a")
    with database.write() as connection:
        keyring.retire(connection, "anne")
    with pytest.raises(NotFound):
        keyring.open("anne", sealed, about="a")
    with pytest.raises(NotFound):
        keyring.seal("anne", b"x", about="a")


def test_a_key_that_another_process_replaced_is_not_taken_from_memory(
    keyring: Keyring, database: Database
) -> None:
    first = keyring.seal("anne", b"x", about="a")
    with database.write() as connection:
        connection.execute(sa.delete(data_keys))
    Keyring(MASTER, database).seal("anne", b"y", about="a")
    with pytest.raises(Tampered):
        keyring.open("anne", first, about="a")
    assert keyring.open("anne", keyring.seal("anne", b"z", about="a"), about="a") == b"z"


# The master key


def test_a_first_start_makes_a_master_key_that_only_its_account_can_read(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    key = master_key(path, make=True)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert master_key(path, make=True) == key == master_key(path, make=False)


def test_a_missing_master_key_is_never_made_anew_for_a_folder_in_use(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="missing"):
        master_key(tmp_path / "master.key", make=False)
    assert not (tmp_path / "master.key").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o777])
def test_a_master_key_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    master_key(path, make=True)
    path.chmod(mode)
    with pytest.raises(Invalid, match="other accounts"):
        master_key(path, make=False)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_master_key_of_the_wrong_length_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(os.urandom(size))
    path.chmod(0o600)
    with pytest.raises(Invalid, match="damaged"):
        master_key(path, make=False)
