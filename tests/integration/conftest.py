"""What any of these tests may ask for: an opened installation, and a bucket."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_builders import House, a_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of a server that speaks Amazon's protocol and was not written by us.

    Its address; the credentials are in the environment.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, text in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, text)
    # what it holds outlives a server within one process
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", b"").close()
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="casemate")
    yield "s3://casemate"
    server.stop()
