"""Blobs in a bucket: they go to the declared bucket at the declared server, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bucket_server import BucketServer, a_bucket_server
from house_builders import FEES, House, a_house

from casemate.errors import Invalid, NotFound, Refused, Unavailable
from casemate.store.blobs import FolderBlobs, S3Blobs, digest_of

BUCKET = "s3://letters/blobs"
KEY = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    for name, text in KEY.items():
        monkeypatch.setenv(name, text)
    with a_bucket_server() as running:
        yield running


def a_place(server: BucketServer, **changes: object) -> str:
    """A perimeter file that declares the bucket."""
    values = {
        "name": '"letters"',
        "host": '"127.0.0.1"',
        "ports": f"[{server.port}]",
        "jurisdiction": '"LU"',
        "ceiling": '"lu:restricted"',
        "bucket": '"letters"',
        **changes,
    }
    return "[[place]]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())


def a_house_of(folder: Path, server: BucketServer, perimeter: str) -> House:
    folder.mkdir()
    (folder / "perimeter.toml").write_text(perimeter)
    return a_house(folder, blobs=BUCKET, blobs_endpoint=server.endpoint)  # type: ignore[return-value]


def test_blobs_in_a_bucket_behave_as_in_a_folder(server: BucketServer, tmp_path: Path) -> None:
    for blobs in (S3Blobs.at(BUCKET, server.endpoint, lambda: None), FolderBlobs(tmp_path)):
        digest = blobs.put(b"content")
        assert digest == digest_of(b"content") == blobs.put(b"content")
        assert blobs.get(digest) == b"content"
        blobs.delete(digest)
        blobs.delete(digest)
        with pytest.raises(NotFound):
            blobs.get(digest)


def test_an_installation_keeps_its_originals_in_a_declared_bucket(
    server: BucketServer, tmp_path: Path
) -> None:
    with a_house_of(tmp_path / "data", server, a_place(server)) as house:
        house.add("notes", fees=FEES)
        (document,) = house.installation.library.documents(house.owner)
        assert not (house.folder / "blobs").exists()
        assert house.installation.library.original(house.owner, document.id) == FEES.encode()
        assert FEES.encode() in server.objects.values()
        house.installation.library.delete(house.owner, document.id)
        with pytest.raises(NotFound):
            house.installation.blobs.get(document.digest)


@pytest.mark.parametrize(
    "changes",
    [
        {"bucket": '"other"'},
        {"ports": "[9]"},
        {"host": '"10.0.0.1"'},
        {"bucket": '""'},  # the server itself is declared, no bucket at it
    ],
)
def test_nothing_is_sent_to_a_bucket_that_is_not_declared(
    server: BucketServer, tmp_path: Path, changes: dict[str, object]
) -> None:
    with a_house_of(tmp_path / "data", server, a_place(server, **changes)) as house:
        with pytest.raises(Refused, match="outside the perimeter"):
            house.add("notes", fees=FEES)
        with pytest.raises(Refused, match="outside the perimeter"):
            house.installation.blobs.put(b"x")
    assert server.asked == []


def test_a_declared_bucket_is_no_way_for_anything_else(
    server: BucketServer, tmp_path: Path
) -> None:
    with (
        a_house_of(tmp_path / "data", server, a_place(server)) as house,
        pytest.raises(Refused, match="outside the perimeter"),
    ):
        house.installation.gate.perimeter.check(server.endpoint, house.label("unclassified"))


def test_a_collection_above_the_ceiling_of_the_bucket_cannot_be_made(
    server: BucketServer, tmp_path: Path
) -> None:
    with a_house_of(tmp_path / "data", server, a_place(server)) as house:
        house.clear_owner_for("secret")
        house.collection("letters", label="restricted")
        with pytest.raises(Refused, match="lu:secret may not go to place 'letters'"):
            house.collection("plans", label="secret")


def test_a_bucket_that_is_taken_out_of_the_perimeter_is_not_asked_any_more(
    server: BucketServer, tmp_path: Path
) -> None:
    with a_house_of(tmp_path / "data", server, a_place(server)) as house:
        digest = house.installation.blobs.put(b"content")
        house.installation.gate.perimeter.remove(house.owner, "letters")
        before = list(server.asked)
        for act in (house.installation.blobs.get, house.installation.blobs.delete):
            with pytest.raises(Refused):
                act(digest)
        assert server.asked == before


def test_what_the_environment_names_leads_no_blob_elsewhere(server: BucketServer) -> None:
    with a_bucket_server() as other:
        environment = {
            **KEY,
            "AWS_ENDPOINT_URL": other.endpoint,
            "AWS_ENDPOINT_URL_S3": other.endpoint,
            "AWS_REGION": "lu-1",
            "HTTP_PROXY": other.endpoint,
            "http_proxy": other.endpoint,
            "ALL_PROXY": other.endpoint,
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, text in environment.items():
                patch.setenv(name, text)
            blobs = S3Blobs.at(BUCKET, server.endpoint, lambda: None)
            blobs.put(b"content")
        assert other.asked == []
    assert len(server.asked) == 1


def test_without_a_key_the_metadata_service_is_not_asked_for_one(server: BucketServer) -> None:
    environment = {"AWS_METADATA_ENDPOINT": server.endpoint}
    with pytest.raises(Invalid, match="no key for the bucket"):
        S3Blobs.at(BUCKET, server.endpoint, lambda: None, environment)
    assert server.asked == []


@pytest.mark.parametrize(
    "endpoint", ["", "s3.example.lu", "ftp://s3", "https://a@b", "https://a/b", "https://a?b"]
)
def test_a_server_that_is_no_plain_address_is_refused(endpoint: str) -> None:
    with pytest.raises(Invalid, match="server"):
        S3Blobs.at(BUCKET, endpoint, lambda: None, dict(KEY))


def test_a_bucket_that_does_not_answer_is_unavailable() -> None:
    with a_bucket_server() as gone:
        endpoint = gone.endpoint
    blobs = S3Blobs.at(BUCKET, endpoint, lambda: None, dict(KEY))
    with pytest.raises(Unavailable):
        blobs.get(digest_of(b"content"))
