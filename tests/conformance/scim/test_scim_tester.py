"""SCIM's own conformance checker and client, unchanged, against ``/scim/v2``."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server
from scim_service import Service


@pytest.fixture
def client(service: Service) -> Iterator[SyncSCIMClient]:
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx2.Client(base_url=f"{service.address}/scim/v2", headers=headers, timeout=60) as http:
        yield SyncSCIMClient(http)


def test_every_check_of_the_checker_passes(client: SyncSCIMClient) -> None:
    results = check_server(client)
    assert len(results) > 50
    failed = [
        f"{result.title}: {result.status.name}: {result.reason}"
        for result in results
        if result.status not in (Status.SUCCESS, Status.SKIPPED)
    ]
    assert not failed, "\n".join(failed)
