"""Buckets: opened at one named server, with a key, and with nothing that the environment adds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from obstore.store import S3Store

from casemate.errors import Invalid

_BUCKET = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9._/-]*))?")
# The library that talks to buckets obeys what it finds there: proxies, and servers of its own.
_OBEYED = re.compile(r"(?i)AWS_.*|(?:HTTPS?|ALL|NO)_PROXY")


def open_bucket(
    address: str, endpoint: str, environment: MutableMapping[str, str] = os.environ
) -> S3Store:
    """Open ``s3://bucket/prefix`` at the server ``endpoint``, an http or https address.

    Of ``environment`` the key (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN)
    and AWS_REGION count and nothing else: without a key the library would ask the machine's
    metadata service for one, and another variable could name another server or a proxy.
    Raises Invalid if an address is not one or the key is missing.
    """
    bucket, prefix = bucket_of(address)
    if not re.fullmatch(r"https?://[^\s/?#@]+/?", endpoint):
        raise Invalid(
            "The address of the bucket's server is not right.",
            "Give https://, a host, and its port if it is not 443.",
        )
    key = _key(environment)
    region = environment.get("AWS_REGION", "us-east-1")
    with _without(environment):
        return S3Store(
            bucket,
            prefix=prefix or None,
            endpoint=endpoint.rstrip("/"),
            region=region,
            client_options={"allow_http": endpoint.startswith("http://")},
            **key,  # type: ignore[arg-type]
        )


def bucket_of(address: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``. Raises Invalid."""
    found = _BUCKET.fullmatch(address)
    if found is None:
        raise Invalid(
            "That is not the address of a bucket.",
            "Leave it empty for the data folder, or give s3://bucket/prefix.",
        )
    return found[1], found[2] or ""


def _key(environment: Mapping[str, str]) -> dict[str, str]:
    names = {
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "session_token": "AWS_SESSION_TOKEN",
    }
    key = {name: environment[given] for name, given in names.items() if environment.get(given)}
    if not {"access_key_id", "secret_access_key"} <= set(key):
        raise Invalid(
            "There is no key for the bucket.",
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment.",
        )
    return key


@contextmanager
def _without(environment: MutableMapping[str, str]) -> Iterator[None]:
    """The environment without what the library obeys, while it is set up."""
    taken = {name: text for name, text in environment.items() if _OBEYED.fullmatch(name)}
    for name in taken:
        del environment[name]
    try:
        yield
    finally:
        environment.update(taken)
