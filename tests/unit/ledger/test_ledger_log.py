import os
import threading

import pytest
from ledger_builders import ORIGIN, a_signer, entries, files, fill

from casemate.errors import Invalid, NotFound, Tampered, TooLarge, Unavailable
from casemate.ledger import durable
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.log import Log
from casemate.ledger.merkle import leaf_hash, root_hash, verify_consistency
from casemate.ledger.proof import Proof
from casemate.ledger.tile import Tile, encode_bundle

SIGNER = a_signer()


def test_an_empty_folder_becomes_an_empty_log(tmp_path):
    with Log.open(tmp_path / "new" / "log", SIGNER) as log:
        assert log.size == 0
        assert Checkpoint.open(log.checkpoint(), SIGNER.verifier) == Checkpoint(
            ORIGIN, 0, root_hash(())
        )
        assert log.check() == 0
        assert list(log.entries()) == []
    assert list(files(tmp_path / "new" / "log")) == ["checkpoint"]


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 600])
def test_what_was_appended_is_there_after_opening_again(tmp_path, count):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, count)
        before = log.checkpoint()
    with Log.open(tmp_path, SIGNER) as log:
        assert log.checkpoint() == before
        assert log.size == count
        assert [entry for _, entry in log.entries()] == entries(count)
        assert list(log.entries(count - 1)) == [(count - 1, b"entry %d" % (count - 1))]
        assert log.entry(count - 1) == b"entry %d" % (count - 1)
        fill(log, 3)
        leaves = [leaf_hash(entry) for entry in entries(count + 3)]
        assert Checkpoint.open(log.checkpoint(), SIGNER.verifier).root == root_hash(leaves)
        assert log.check() == count + 3


def test_every_entry_is_proven_against_the_current_checkpoint(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 520)
        checkpoint = Checkpoint.open(log.checkpoint(), SIGNER.verifier)
        for index in (0, 1, 254, 255, 256, 300, 511, 512, 519):
            proof = Proof.parse(log.proof(index))
            assert proof.index == index
            assert proof.checkpoint == log.checkpoint()
            proof.verify(b"entry %d" % index, checkpoint)


def test_every_older_size_is_shown_to_be_a_beginning(tmp_path):
    leaves = [leaf_hash(entry) for entry in entries(520)]
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 520)
        for old, new in ((0, 520), (1, 520), (255, 256), (256, 300), (300, 512), (519, 520)):
            verify_consistency(
                old,
                new,
                log.consistency(old, new),
                root_hash(leaves[:old]),
                root_hash(leaves[:new]),
            )
        for old, new in ((2, 1), (-1, 5), (0, 521)):
            with pytest.raises(Invalid):
                log.consistency(old, new)


def test_what_does_not_exist_is_not_found(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 2)
        for index in (-1, 2):
            with pytest.raises(NotFound):
                log.entry(index)
            with pytest.raises(NotFound):
                log.proof(index)


def test_entries_of_any_allowed_length_are_taken_and_no_longer_ones(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        assert log.append(b"").result() == 0
        assert log.append(b"x" * 65_535).result() == 1
        with pytest.raises(TooLarge):
            log.append(b"x" * 65_536)
        assert log.check() == 2


def test_appends_from_many_threads_get_dense_unique_indices(tmp_path):
    found = []

    def append(worker):
        for number in range(100):
            entry = b"%d/%d" % (worker, number)
            found.append((log.append(entry).result(), entry))

    with Log.open(tmp_path, SIGNER) as log:
        threads = [threading.Thread(target=append, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == list(log.entries())
        assert log.check() == 800


def test_a_cancelled_entry_is_not_recorded(tmp_path, monkeypatch):
    gate = threading.Event()
    real = os.fsync
    monkeypatch.setattr(durable.os, "fsync", lambda fd: gate.wait(10) and real(fd))
    gate.set()
    with Log.open(tmp_path, SIGNER) as log:
        gate.clear()
        first = log.append(b"first")
        while not first.running():
            pass
        second, third = log.append(b"second"), log.append(b"third")
        assert second.cancel()
        gate.set()
        assert (first.result(), third.result()) == (0, 1)
        assert [entry for _, entry in log.entries()] == [b"first", b"third"]


def test_a_closed_log_records_what_waits_and_takes_no_more(tmp_path):
    log = Log.open(tmp_path, SIGNER)
    futures = [log.append(entry) for entry in entries(300)]
    log.close()
    log.close()
    assert [future.result(0) for future in futures] == list(range(300))
    with pytest.raises(Unavailable):
        log.append(b"late")


def test_a_released_file_is_never_written_again(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        seen = {}
        for step in (1, 3, 100, 151, 1, 40, 300):
            fill(log, step)
            now = files(tmp_path)
            now.pop("checkpoint")
            for name, content in seen.items():
                if name in now:
                    assert now[name] == content
                else:
                    assert ".p/" in name
                    assert Tile.parse(name).full.end <= log.size
            seen |= now
    # closed, it has tidied up
    assert not any("000.p/" in name for name in files(tmp_path) if "/1/" not in name)


def test_the_addresses_give_the_files_and_nothing_else(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 300)
        on_disk = files(tmp_path)
        for name, content in on_disk.items():
            assert log.resource(name) == content
        assert set(on_disk) >= {"tile/0/000", "tile/1/000.p/1", "tile/entries/001.p/44"}
        (tmp_path / "secret").write_text("x")
        (tmp_path / "tile" / "0" / "001.p" / "45").write_text("not released")
        for path in (
            "secret",
            "",
            "/checkpoint",
            "checkpoint/",
            "tile/../secret",
            "tile/0/../../secret",
            "../log/checkpoint",
            "tile/0/001.p/45",
            "tile/0/001",
            "tile/0/000.p/300",
            "tile/0/000.p/7",
            "tile/0",
            "tile/entries/000\0",
        ):
            assert log.resource(path) is None


def test_the_wrong_key_or_origin_is_refused(tmp_path):
    Log.open(tmp_path, SIGNER).close()
    for other in (a_signer(seed=2), a_signer("other.example")):
        with pytest.raises(Invalid):
            Log.open(tmp_path, other)


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear")
    with pytest.raises(Invalid, match="not empty"):
        Log.open(tmp_path, SIGNER)


@pytest.mark.parametrize("name", ["checkpoint", "tile/0/001.p/44", "tile/entries/001.p/44"])
@pytest.mark.parametrize("how", ["gone", "short", "flipped"])
def test_a_log_with_a_damaged_edge_does_not_open(tmp_path, name, how):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 300)
    path = tmp_path / name
    raw = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(raw[:-1] if how == "short" else raw[:-2] + bytes([raw[-2] ^ 1]) + raw[-1:])
    with pytest.raises(Tampered, match=name.split("/")[0]):
        Log.open(tmp_path, SIGNER)


def test_a_level_above_that_does_not_lead_to_the_root_is_noticed_at_the_start(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 300)
    path = tmp_path / "tile/1/000.p/1"
    path.write_bytes(bytes(32))
    with pytest.raises(Tampered, match="checkpoint"):
        Log.open(tmp_path, SIGNER)


def test_a_batch_is_one_commit(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 1)
        monkeypatch.setattr(durable.os, "fsync", lambda fd: (synced.append(fd), real(fd))[1])
        pending = [log.append(b"x") for _ in range(200)]
        assert max(future.result() for future in pending) == 200
    assert len(synced) < 200


def test_the_bundle_on_disk_is_the_one_of_the_specification(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 256)
    assert (tmp_path / "tile/entries/000").read_bytes() == encode_bundle(entries(256))
