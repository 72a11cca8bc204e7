"""An empty bucket of a server that speaks Amazon's protocol and was not written by us."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Bucket(NamedTuple):
    """The address of a bucket, that of its server, and a perimeter file that declares it."""

    address: str
    endpoint: str
    perimeter: str


@contextmanager
def a_bucket() -> Iterator[Bucket]:
    """Start the server; the key is expected in the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    # what it holds outlives a server within one process
    urllib.request.urlopen(f"{endpoint}/moto-api/reset", b"").close()
    client = boto3.client("s3", region_name="us-east-1", endpoint_url=endpoint)
    client.create_bucket(Bucket="ministry")
    yield Bucket(
        "s3://ministry",
        endpoint,
        f'[[place]]\nname = "bucket"\nhost = "{host}"\nports = [{port}]\n'
        'jurisdiction = "LU"\nceiling = "lu:unclassified"\nbucket = "ministry"\n',
    )
    server.stop()
