"""A log in a bucket: the same log, and one history whatever dies or wakes in between."""

from datetime import timedelta

import msgspec
import obstore
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_builders import a_signer, entries, fill
from obstore.store import LocalStore, MemoryStore

from casemate.errors import Invalid, Tampered, Unavailable
from casemate.ledger.folder_shelf import FolderShelf
from casemate.ledger.log import Log
from casemate.ledger.object_shelf import ObjectShelf

SIGNER = a_signer()


class Died(Exception):
    """The process is gone: nothing after it runs."""


@pytest.fixture
def bucket():
    return MemoryStore()


@pytest.fixture
def mortal(monkeypatch):
    """``mortal(writes)``: the write after so many kills whoever makes it; None for never."""
    left: list[int | None] = [None]
    put, delete = obstore.put, obstore.delete

    def counted(real):
        def call(*arguments, **named):
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise Died
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(obstore, "put", counted(put))
    monkeypatch.setattr(obstore, "delete", counted(delete))

    def allow(writes: int | None) -> None:
        left[0] = writes

    return allow


def contents(store: MemoryStore) -> dict[str, bytes]:
    return {
        one["path"]: bytes(obstore.get(store, one["path"]).bytes())
        for page in obstore.list(store)
        for one in page
    }


def test_a_bucket_holds_what_a_folder_would(bucket, tmp_path):
    with Log.open(ObjectShelf(bucket), SIGNER) as log, Log.open(tmp_path, SIGNER) as other:
        for count in (1, 254, 3, 600):
            log.append_together(entries(count, log.size)).result()
            other.append_together(entries(count, other.size)).result()
        assert log.checkpoint() == other.checkpoint()
        assert log.check() == 858
        assert log.proof(300) == other.proof(300)
    folder = FolderShelf(tmp_path)
    own = {name: content for name, content in contents(bucket).items() if name != "lock"}
    assert own == {name: folder.read(name) for name in ["checkpoint", *folder.names()]}


def test_a_log_goes_on_where_it_stood(bucket):
    for _ in range(4):
        with Log.open(ObjectShelf(bucket), SIGNER) as log:
            fill(log, 200)
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        assert [entry for _, entry in log.entries()] == entries(800)
        assert log.check() == 800


def test_a_log_copied_from_a_folder_goes_on_in_a_bucket(bucket, tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 300)
    folder = FolderShelf(tmp_path)
    for name in ["checkpoint", *folder.names()]:
        obstore.put(bucket, name, folder.read(name))
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 10)
        assert log.check() == 310


def test_a_writer_that_was_replaced_can_decide_nothing_any_more(bucket):
    with Log.open(ObjectShelf(bucket), SIGNER) as first:
        fill(first, 3)
        with Log.open(ObjectShelf(bucket), SIGNER) as second:
            fill(second, 3)
            for _ in range(2):
                with pytest.raises(Tampered, match="somebody else"):
                    first.append(b"fork").result()
            fill(second, 300)
            assert second.check() == 306
            assert b"fork" not in [entry for _, entry in second.entries()]


@pytest.mark.parametrize("writes", range(14))
def test_a_writer_that_dies_at_any_write_loses_nothing_it_released(bucket, mortal, writes):
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 254)
        mortal(writes)
        died = isinstance(log.append_together([b"a", b"b", b"c"]).exception(), Died)
        mortal(None)
        with Log.open(ObjectShelf(bucket), SIGNER) as next_one:
            found = [entry for _, entry in next_one.entries()]
            assert found[:254] == entries(254)
            assert found[254:] in ([], [b"a", b"b", b"c"])  # all or none
            if not died:
                assert len(found) == 257
            next_one.append(b"d").result()
            assert next_one.check() == len(found) + 1
            # what was thought dead wakes, and can only repeat what was decided
            assert log.append(b"fork").exception() is not None
            assert next_one.check() == len(found) + 1
            next_one.append(b"e").result()
            assert next_one.check() == len(found) + 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 30)), max_size=6))
def test_any_sequence_of_deaths_leaves_one_history(steps):
    bucket = MemoryStore()
    released: list[bytes] = []
    put = obstore.put
    left = [0]

    def counted(*arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            raise Died
        return put(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(obstore, "put", counted)
        for number, (count, writes) in enumerate(steps):
            batch = [b"%d.%d" % (number, one) for one in range(count)]
            left[0] = 1_000_000
            with Log.open(ObjectShelf(bucket), SIGNER) as log:
                found = [entry for _, entry in log.entries()]
                assert found[: len(released)] == released
                released = found
                left[0] = writes
                if log.append_together(batch).exception() is None:
                    released = released + batch
                left[0] = 1_000_000
        left[0] = 1_000_000
        with Log.open(ObjectShelf(bucket), SIGNER) as log:
            assert [entry for _, entry in log.entries()][: len(released)] == released
            assert log.check() == log.size


def test_a_start_that_was_overtaken_removes_nothing_of_whoever_overtook_it(bucket, monkeypatch):
    with Log.open(ObjectShelf(bucket), SIGNER) as first:
        fill(first, 5)
    overtaking: list[Log] = []
    claim = ObjectShelf.claim

    def overtaken(self):
        standing = claim(self)
        if not overtaking:
            overtaking.append(None)  # the next claim is that of the other
            overtaking[0] = Log.open(ObjectShelf(bucket), SIGNER)
            fill(overtaking[0], 300)
        return standing

    monkeypatch.setattr(ObjectShelf, "claim", overtaken)
    with pytest.raises(Unavailable, match="somebody else"):
        Log.open(ObjectShelf(bucket), SIGNER)
    with overtaking[0] as other:
        assert other.check() == 305
        fill(other, 10)
        assert other.check() == 315


def test_an_answer_that_was_lost_is_found_to_have_been_ours(bucket, monkeypatch):
    put = obstore.put

    def lossy(store, name, content, **named):
        done = put(store, name, content, **named)
        if "mode" in named:
            # repeated by the client below us, which never saw the first answer
            return put(store, name, content, **named)
        return done

    monkeypatch.setattr(obstore, "put", lossy)
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 20)
        assert log.check() == 20


def test_a_bucket_that_fails_for_a_while_is_unavailable_and_nothing_is_lost(bucket, monkeypatch):
    put = obstore.put
    failing = [False]

    def call(*arguments, **named):
        if failing[0]:
            raise obstore.exceptions.GenericError("connection reset")
        return put(*arguments, **named)

    monkeypatch.setattr(obstore, "put", call)
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 5)
        failing[0] = True
        with pytest.raises(Unavailable, match="bucket"):
            log.append(b"x").result()
        failing[0] = False
        fill(log, 5)
        assert log.check() == 10


class Late:
    """A bucket whose next write of the lock is answered by an error, and arrives when told to."""

    def __init__(self, monkeypatch):
        self.under_way = None
        self.broken = False
        self._put = obstore.put
        self._delay = False
        monkeypatch.setattr(obstore, "put", self.put)

    def delay(self):
        self._delay = True

    def put(self, store, name, content, **named):
        if self.broken:
            raise obstore.exceptions.GenericError("connection reset")
        if self._delay and name == "lock":
            self._delay = False
            self.under_way = (store, name, content, named)
            raise obstore.exceptions.GenericError("timed out")
        return self._put(store, name, content, **named)

    def arrive(self):
        store, name, content, named = self.under_way
        self._put(store, name, content, **named)


def test_a_write_of_the_lock_that_arrives_too_late_decides_nothing(bucket, monkeypatch):
    late = Late(monkeypatch)
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 5)
        late.delay()
        with pytest.raises(Unavailable, match="bucket"):
            log.append(b"x").result()
        with pytest.raises(obstore.exceptions.PreconditionError):
            late.arrive()
        fill(log, 5)
        assert [entry for _, entry in log.entries()] == entries(10)
        assert not [name for name in contents(bucket) if name.startswith("staging/")]
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        assert log.check() == 10


def test_a_write_of_the_lock_that_arrives_while_the_bucket_is_away_is_carried_out(
    bucket, monkeypatch
):
    late = Late(monkeypatch)
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 5)
        put = late.put

        def cut_off(store, name, content, **named):
            try:
                return put(store, name, content, **named)
            finally:
                late.broken = late.broken or late.under_way is not None

        monkeypatch.setattr(obstore, "put", cut_off)
        late.delay()
        for _ in range(2):
            with pytest.raises(Unavailable, match="bucket"):
                log.append(b"x").result()
        late.broken = False
        monkeypatch.setattr(obstore, "put", put)
        late.arrive()
        assert log.size == 5
        assert log.append(b"y").result() == 6  # the batch was decided: it counts, once
        assert [entry for _, entry in log.entries(5)] == [b"x", b"y"]
        assert log.check() == 7


def test_batches_that_were_never_decided_are_swept_when_they_are_old(bucket, monkeypatch):
    Log.open(ObjectShelf(bucket), SIGNER).close()
    obstore.put(bucket, "staging/old", b"x")
    obstore.put(bucket, "staging/young", b"x")
    head = obstore.head

    def a_day_later(store, name):
        return head(store, name) | {
            "last_modified": head(store, "staging/old")["last_modified"]
            + timedelta(days=1, seconds=1)
        }

    Log.open(ObjectShelf(bucket), SIGNER).close()
    assert "staging/old" in contents(bucket)
    listing = obstore.list

    def listed(store, prefix=None):
        for page in listing(store, prefix=prefix):
            yield [
                one
                | {"last_modified": one["last_modified"] + timedelta(days="young" in one["path"])}
                for one in page
            ]

    monkeypatch.setattr(obstore, "head", a_day_later)
    monkeypatch.setattr(obstore, "list", listed)
    Log.open(ObjectShelf(bucket), SIGNER).close()
    assert "staging/old" not in contents(bucket)
    assert "staging/young" in contents(bucket)


def test_a_place_that_holds_something_else_is_left_alone(bucket):
    obstore.put(bucket, "holiday.jpg", b"x")
    with pytest.raises(Invalid, match="not empty"):
        Log.open(ObjectShelf(bucket), SIGNER)
    assert contents(bucket) == {"holiday.jpg": b"x"}


def test_a_log_without_its_checkpoint_is_not_begun_anew(bucket):
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 3)
    for name in ("checkpoint", "lock"):
        obstore.delete(bucket, name)
    with pytest.raises(Tampered, match="missing"):
        Log.open(ObjectShelf(bucket), SIGNER)


def test_a_damaged_lock_is_named(bucket):
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 3)
    obstore.put(bucket, "lock", b"{}")
    with pytest.raises(Tampered, match="lock"):
        Log.open(ObjectShelf(bucket), SIGNER)


def test_a_store_without_conditional_writes_is_refused(tmp_path):
    # a plain folder behind the same interface has no conditional replacement
    with (
        pytest.raises((Unavailable, Invalid)) as refusal,
        Log.open(ObjectShelf(LocalStore(str(tmp_path))), SIGNER) as log,
    ):
        log.append(b"x").result()
    assert refusal.value.next


@pytest.mark.parametrize("address", ["", "ledger", "file:///tmp/x", "https://example.org/x"])
def test_only_an_s3_address_is_a_bucket(address):
    with pytest.raises(Invalid, match="bucket"):
        ObjectShelf.at(address, "https://s3.example.lu")


def test_the_lock_says_who_writes_and_what_was_decided_and_no_more(bucket):
    with Log.open(ObjectShelf(bucket), SIGNER) as log:
        fill(log, 3)
    assert set(msgspec.json.decode(contents(bucket)["lock"])) == {"v", "writer", "staged"}
    assert not [name for name in contents(bucket) if name.startswith("staging/")]
