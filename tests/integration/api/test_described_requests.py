"""Whatever is asked, the answer is one that the description has: each face, each operation.

A short, repeatable version of campaigns/schemathesis.py, by ourselves and in one process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from drawn_requests import Drawn, operations, requests
from house_builders import FEES, a_house
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from casemate.server import application

FACES = {"openai": "/v1", "mistral": "/mistral/v1", "platform": "/api"}
EXAMPLES = 4  # of each operation


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, dict[str, Any]]]:
    """A client with the owner's key, and names of what there is."""
    with a_house(tmp_path_factory.mktemp("described") / "data") as house:
        house.add("fees", fees=FEES)
        key = house.installation.gate.keys.create(house.owner, house.owner.principal.name)[1]
        (document,) = house.installation.library.documents(house.owner, "fees")
        collection = house.installation.library.collection(house.owner, "fees").id
        headers = {"Authorization": f"Bearer {key}"}
        with TestClient(application(house.installation), headers=headers) as client:
            said = client.post("/v1/responses", json={"model": "documents", "input": "Fees?"})
            talk = {"model": "documents", "inputs": "What is the dog tax?"}
            talked = client.post("/mistral/v1/conversations", json=talk).json()
            response = said.json()
            kept = [response["id"], response["casemate"]["run"], talked["conversation_id"]]
            collections, documents = [collection], [document.id]
            names = {
                "model": ["documents"],
                "endpoint": ["/v1/chat/completions"],
                "id": [*kept, *documents],
                "previous_response_id": kept[:1],
                "store": collections,
                "library": collections,
                "file": documents,
                "document": documents,
                "name": ["fees"],
                "use_case": ["documents"],
            }
            yield client, names


@pytest.mark.parametrize("face", FACES)
def test_every_answer_is_one_that_the_description_has(
    asked: tuple[TestClient, dict[str, Any]], face: str
) -> None:
    client, names = asked
    document = client.get(f"{FACES[face]}/openapi.json").json()
    statuses = [
        status
        for method, path in operations(document)
        for status in _tried(client, document, method, path, names)
    ]
    # Not all of it is refused at the door.
    assert len(statuses) >= 100
    assert statuses.count(200) >= len(statuses) / 20


def _tried(
    client: TestClient, document: dict[str, Any], method: str, path: str, names: dict[str, Any]
) -> list[int]:
    """Put some requests to one operation; what they were answered with."""
    statuses: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(document, method, path, names))
    def is_described(drawn: Drawn) -> None:
        statuses.append(_answered(client, document, path, drawn))

    is_described()
    return statuses


def _answered(client: TestClient, document: dict[str, Any], path: str, drawn: Drawn) -> int:
    """Ask, and compare the answer with what is described."""
    headers = {"Content-Type": drawn.media} if drawn.media else {}
    answer = client.request(drawn.method, drawn.path, content=drawn.content, headers=headers)
    said = (drawn, answer.status_code, answer.text[:500])
    assert answer.status_code < 500 or answer.status_code == 501, said
    described = document["paths"][path][drawn.method]["responses"].get(str(answer.status_code))
    assert described is not None, said
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rsplit("/", 1)[-1]]
    content = described.get("content", {})
    if not content:
        assert not answer.content, said
        return answer.status_code
    media = answer.headers["content-type"].partition(";")[0]
    assert media in content or "*/*" in content, said
    if media == "application/json" and "schema" in content.get(media, {}):
        schema = {**content[media]["schema"], "components": document["components"]}
        Draft202012Validator(schema).validate(json.loads(answer.content))
    return answer.status_code
