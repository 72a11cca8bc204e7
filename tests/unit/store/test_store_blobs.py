from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.errors import Invalid, NotFound, Tampered
from casemate.store.blobs import FolderBlobs, S3Blobs, digest_of

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def a_file_of(folder: Path, digest: str) -> Path:
    (found,) = folder.rglob(digest.removeprefix("sha256:"))
    return found


def test_a_blobs_name_is_the_digest_of_its_bytes(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    assert blobs.put(b"") == EMPTY == digest_of(b"")
    assert blobs.get(EMPTY) == b""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(content=st.binary(max_size=500))
def test_any_bytes_come_back_as_they_were(tmp_path: Path, content: bytes) -> None:
    blobs = FolderBlobs(tmp_path)
    assert blobs.get(blobs.put(content)) == content


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    assert blobs.put(b"twice") == blobs.put(b"twice")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_blob_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="gone"):
        FolderBlobs(tmp_path).get(EMPTY)


def test_deleted_bytes_are_gone_from_the_disk_and_deleting_again_is_no_error(
    tmp_path: Path,
) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = blobs.put(b"the secret")
    blobs.delete(digest)
    blobs.delete(digest)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_a_killed_put_left_goes_with_the_blob(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = blobs.put(b"the secret")
    whole = a_file_of(tmp_path, digest)
    for number in (1, 2):
        whole.with_name(f"{whole.name}#{number}").write_bytes(b"the sec")
    whole.unlink()
    blobs.delete(digest)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_changed_bytes_are_noticed_when_they_are_read(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = blobs.put(b"as it was")
    a_file_of(tmp_path, digest).write_bytes(b"as it is!")
    with pytest.raises(Tampered):
        blobs.get(digest)


def test_a_blob_that_was_cut_short_is_written_again(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = blobs.put(b"as it was")
    a_file_of(tmp_path, digest).write_bytes(b"as")
    assert blobs.put(b"as it was") == digest
    assert blobs.get(digest) == b"as it was"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "sha256:",
        EMPTY.removeprefix("sha256:"),
        EMPTY.upper(),
        EMPTY + "0",
        EMPTY.replace("sha256", "md5"),
        "sha256:" + "../" * 21 + "e",
    ],
)
def test_what_is_not_a_digest_reaches_no_file(tmp_path: Path, name: str) -> None:
    blobs = FolderBlobs(tmp_path)
    for act in (blobs.get, blobs.delete):
        with pytest.raises(Invalid, match="not a digest"):
            act(name)


@pytest.mark.parametrize("address", ["", "bucket", "https://bucket", "S3://bucket"])
def test_an_address_that_is_not_s3_is_refused(address: str) -> None:
    with pytest.raises(Invalid, match="s3://"):
        S3Blobs.at(address, "https://s3.example.lu", lambda: None, {})
