import random
import shutil

import pytest
from ledger_builders import a_signer

from casemate.errors import Tampered
from casemate.ledger.log import Log

SIGNER = a_signer()


def fill(log, *steps):
    """Append in batches, so that the partial tiles of each step stay on disk."""
    for step in steps:
        futures = [log.append(b"entry %d of a log" % (log.size + n)) for n in range(step)]
        assert all(future.result() is not None for future in futures)


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def flip(path, place, bit=0):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1 << bit
    path.write_bytes(bytes(raw))


def test_every_changed_byte_on_disk_is_found_and_its_file_named(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 1, 1, 2, 1)
        names = files(tmp_path)
        assert len([name for name in names if ".p/" in name]) >= 8
        for name in names:
            path = tmp_path / name
            raw = path.read_bytes()
            for place in range(len(raw)):
                flip(path, place, place % 8)
                with pytest.raises(Tampered) as caught:
                    log.check()
                assert name in caught.value.what
                path.write_bytes(raw)
        assert log.check() == 5


def test_changed_bytes_of_a_log_with_full_tiles_are_found_and_their_file_named(tmp_path):
    chance = random.Random(6962)
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 256, 200, 100, 44, 3)
        names = files(tmp_path)
        assert {"tile/0/000", "tile/0/001", "tile/1/000.p/2", "tile/entries/000"} <= set(names)
        for name in names:
            path = tmp_path / name
            raw = path.read_bytes()
            places = {0, 1, 2, len(raw) // 2, len(raw) - 1, *chance.choices(range(len(raw)), k=6)}
            for place in sorted(places & set(range(len(raw)))):
                flip(path, place, chance.randrange(8))
                with pytest.raises(Tampered) as caught:
                    log.check()
                assert name in caught.value.what
                path.write_bytes(raw)
        assert log.check() == 603


def test_a_damaged_bundle_is_named_with_its_entry(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 300)
        flip(tmp_path / "tile/entries/000", 2)
        with pytest.raises(Tampered, match=r"tile/entries/000 is damaged: entry 0 "):
            log.check()


def test_a_damaged_full_file_is_found_after_opening_again(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 600)
    flip(tmp_path / "tile/0/001", 77)
    with Log.open(tmp_path, SIGNER) as log:
        with pytest.raises(Tampered, match=r"tile/0/001 .*entries 256 to 511"):
            log.check()
        with pytest.raises(Tampered):
            log.proof(259)  # its sibling is the damaged hash of 258


@pytest.mark.parametrize("name", ["tile/0/000", "tile/entries/000", "tile/1/000.p/1", "checkpoint"])
def test_a_missing_file_is_named(tmp_path, name):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 300)
        (tmp_path / name).unlink()
        with pytest.raises(Tampered, match=f"{name} is missing"):
            log.check()


def test_two_files_exchanged_for_each_other_are_noticed(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 512)
        for kind in ("0", "entries"):
            first, second = (tmp_path / "tile" / kind / number for number in ("000", "001"))
            kept = first.read_bytes()
            shutil.copy(second, first)
            with pytest.raises(Tampered, match=f"tile/{kind}/000"):
                log.check()
            first.write_bytes(kept)
        assert log.check() == 512


def test_an_older_checkpoint_put_back_is_noticed(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 1)
        old = log.checkpoint()
        fill(log, 1)
        (tmp_path / "checkpoint").write_bytes(old)
        with pytest.raises(Tampered, match="checkpoint"):
            log.check()


def test_the_audit_tells_how_far_it_is(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 600)
        told: list[tuple[int, int]] = []
        assert log.check(lambda done, total: told.append((done, total))) == 600
        assert told == [(0, 600), (256, 600), (512, 600), (600, 600)]


def test_a_log_that_grows_while_it_is_checked_is_no_damaged_one(tmp_path):
    with Log.open(tmp_path, SIGNER) as log:
        fill(log, 100)
        grown = []

        def grow(done, total):
            if not grown:
                grown.append(True)
                fill(log, 300)
                log._tidying.submit(lambda: None).result()  # the partial tiles are gone

        assert log.check(grow) == 100
        assert log.check() == 400
