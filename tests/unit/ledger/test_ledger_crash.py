import errno
import os

import pytest
from ledger_builders import a_signer, files, fill

from casemate.errors import Tampered, Unavailable
from casemate.ledger import durable, folder_shelf
from casemate.ledger.checkpoint import Checkpoint
from casemate.ledger.log import Log
from casemate.ledger.note import Signer

SIGNER = a_signer()


def test_what_a_crash_left_beyond_the_checkpoint_is_forgotten(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 250)
        released = files(tmp_path)
        fill(log, 20)
    # the power failed just before the second checkpoint was replaced
    (tmp_path / "checkpoint").write_bytes(released["checkpoint"])
    for name, content in released.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    (tmp_path / ".checkpoint.tmp").write_bytes(b"half")
    (tmp_path / "tile/0/000.p/.251.tmp").write_bytes(b"half")
    with Log.open(tmp_path, SIGNER) as log:
        assert files(tmp_path) == released
        assert log.size == 250
        others = [log.append(b"other %d" % number) for number in range(20)]
        assert [future.result() for future in others] == list(range(250, 270))
        assert log.entry(260) == b"other 10"
        assert log.check() == 270


def test_a_crash_while_the_log_was_made_is_no_harm(tmp_path):
    (tmp_path / ".checkpoint.tmp").write_bytes(b"half")
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 1)
        assert log.check() == 1


def test_a_checkpoint_older_than_any_crash_explains_is_refused(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 10)
        old = log.checkpoint()
        fill(log, 4_500)  # one batch has at most 4,096
    (tmp_path / "checkpoint").write_bytes(old)
    before = files(tmp_path)
    with pytest.raises(Tampered, match="older"):
        Log.open(tmp_path, SIGNER)
    assert files(tmp_path) == before


def test_a_second_writer_is_noticed_before_the_history_forks(tmp_path):
    with Log.open(tmp_path, SIGNER) as first, Log.open(tmp_path, SIGNER) as second:
        fill(first, 1)
        with pytest.raises(Tampered, match="somebody else"):
            second.append(b"fork").result()
        with pytest.raises(Tampered, match="somebody else"):
            second.append(b"fork").result()
        fill(first, 1)
        assert first.check() == 2


def test_a_failure_that_nobody_foresaw_reaches_whoever_waits(tmp_path, monkeypatch):
    with Log.open(tmp_path, SIGNER) as log:
        with monkeypatch.context() as broken:
            broken.setattr(Checkpoint, "sign", lambda self, signers: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                log.append(b"x").result()
        fill(log, 2)
        assert log.check() == 2


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
def test_a_disk_that_fails_at_any_moment_loses_nothing(tmp_path, monkeypatch, code, call):
    real = getattr(os, call)
    left = [10_000]

    def failing(*arguments, **named):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 254)
        for allowed in range(12):
            recorded = log.size
            known = [entry for _, entry in log.entries()]
            with monkeypatch.context() as failure:
                failure.setattr(durable.os, call, failing)
                left[0] = allowed
                batch = [log.append(b"attempt %d" % allowed) for _ in range(1)]
                outcomes = [future.exception() for future in batch]
                left[0] = 10_000
            for outcome in outcomes:
                if outcome is not None:
                    assert isinstance(outcome, Unavailable)
                    assert outcome.next
                    if code in (errno.ENOSPC, errno.EDQUOT):
                        assert "no room left to record" in str(outcome)
            assert [entry for _, entry in log.entries()][:recorded] == known
            fill_one = log.append(b"after %d" % allowed)
            assert log.entry(fill_one.result()) == b"after %d" % allowed
            log.check()
        size = log.size
    with Log.open(tmp_path, SIGNER) as log:
        assert log.size == size
        assert log.check() == size


def test_a_disk_that_is_full_when_a_log_is_made_is_said_so(tmp_path, monkeypatch):
    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as failure:
        failure.setattr(durable.os, "fsync", full)
        with pytest.raises(Unavailable, match="no room"):
            Log.open(tmp_path, SIGNER)
    Log.open(tmp_path, SIGNER).close()


def test_a_checkpoint_that_nobody_can_read_back_stops_the_log(tmp_path, monkeypatch):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 1)

        def vanish(source, target):
            if str(target).endswith("checkpoint"):
                os.unlink(target)
                raise OSError(errno.EIO, "Input/output error")
            os.rename(source, target)

        with monkeypatch.context() as failure:
            failure.setattr(durable.os, "replace", vanish)
            with pytest.raises(Unavailable):
                log.append(b"x").result()
        for _ in range(2):
            with pytest.raises(Tampered, match="checkpoint is missing"):
                log.append(b"y").result()
        assert log.size == 1


def test_a_checkpoint_whose_name_is_not_durable_is_shown_to_nobody_before_it_is(
    tmp_path, monkeypatch
):
    """The folder's sync fails after the rename: a power failure could bring the old one back."""
    disk = Disk(tmp_path)
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 3)
        with monkeypatch.context() as failure:
            failure.setattr(folder_shelf, "sync_folder", disk.refuse)
            before = log.checkpoint()
            with pytest.raises(Unavailable):
                log.append(b"x").result()
            # it stands on the disk, and may be gone tomorrow
            assert (
                Checkpoint.open((tmp_path / "checkpoint").read_bytes(), SIGNER.verifier).size == 4
            )
            assert log.size == 3
            assert log.checkpoint() == log.resource("checkpoint") == before
            for attempt in (lambda: log.append(b"y").result(), log.check):
                with pytest.raises(Unavailable):
                    attempt()
            with pytest.raises(Unavailable):
                log.sign_with(SIGNER, [Signer.from_seed(SIGNER.name, bytes(range(1, 33)))])
        with monkeypatch.context() as watched:
            watched.setattr(folder_shelf, "sync_folder", disk.sync)
            assert log.append(b"y").result() == 4
        # the one that stood was written again and synced before the next was built on it
        assert disk.synced == [4, 5]
        assert [entry for _, entry in log.entries(3)] == [b"x", b"y"]
        assert log.check() == 5


def test_a_sync_that_fails_once_after_the_rename_is_made_good_before_anybody_hears(
    tmp_path, monkeypatch
):
    disk = Disk(tmp_path, failures=1)
    with Log.open(tmp_path, SIGNER) as log:
        monkeypatch.setattr(folder_shelf, "sync_folder", disk.sync)
        assert log.append(b"x").result() == 0
        assert disk.synced == [1]
        assert log.check() == 1


def test_a_closed_log_signs_nothing(tmp_path):
    log = Log.open(tmp_path, SIGNER)
    log.close()
    with pytest.raises(Unavailable, match="closed"):
        log.sign_with(SIGNER, [Signer.from_seed(SIGNER.name, bytes(range(1, 33)))])


class Disk:
    """Syncs of the ledger's folder: what stood when one succeeded; the first few fail."""

    def __init__(self, folder, failures=0):
        self.synced = []
        self._folder = folder
        self._failures = failures

    def refuse(self, path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def sync(self, path):
        if self._failures:
            self._failures -= 1
            self.refuse(path)
        raw = (self._folder / "checkpoint").read_bytes()
        self.synced.append(Checkpoint.open(raw, SIGNER.verifier).size)
