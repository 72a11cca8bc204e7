from __future__ import annotations

import json

import pytest
from fake_installation import BOUND_KEY, QUOTE, SESSION, TEXT, a_run, fresh, replaced

from casemate import api
from casemate.api import openapi
from casemate.api.platform import OPERATIONS
from casemate.settings import Settings

ASK = {"question": "What is the fee?"}


def test_whoami_names_the_bearer_of_a_key(client):
    said = client.get("/api/whoami").json()
    assert said["name"] == "alice"
    assert said["via"] == "key"
    assert said["languages"] == ["lb", "fr", "de", "en"]


def test_without_key_or_session_there_is_401_with_a_next_step(stranger):
    response = stranger.get("/api/whoami")
    assert response.status_code == 401
    assert set(response.json()["error"]) == {"what", "next"}
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_session_cookie_reads(stranger):
    stranger.cookies.set("casemate_session", SESSION)
    assert stranger.get("/api/whoami").json()["via"] == "session"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"}, 403),
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_a_session_cookie_writes_only_from_the_same_origin(stranger, headers, status):
    stranger.cookies.set("casemate_session", SESSION)
    assert stranger.post("/api/runs", json=ASK, headers=headers).status_code == status


def test_a_key_needs_no_origin(client):
    assert client.post("/api/runs", json=ASK).status_code == 200


def test_an_answer_comes_with_its_citations_entries_and_receipt(client):
    response = client.post("/api/runs", json=ASK)
    said = response.json()
    assert response.headers["x-casemate-run"] == "r1"
    assert response.headers["cache-control"] == "no-store"
    assert said["answer"]["text"] == TEXT
    assert said["answer"]["citations"][0]["quote"] == QUOTE
    assert (said["admitted_entry"], said["finished_entry"]) == (5, 6)
    assert client.get(said["receipt"]).json() == {"v": 1}


def test_every_field_of_a_request_reaches_the_run(client, installation):
    body = {**ASK, "collections": ["town"], "seed": 7, "history": [["user", "Hello"]]}
    client.post("/api/runs", json=body)
    asked = installation.asked[0]
    assert asked.collections == ("town",)
    assert asked.seed == 7
    assert asked.history == (("user", "Hello"),)


def test_events_come_as_server_sent_events_in_order(client):
    response = client.post("/api/runs", json=ASK, headers={"Accept": "text/event-stream"})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-casemate-run"] == "r1"
    events = [frame.split("\n") for frame in response.text.strip().split("\n\n")]
    tags = [event.removeprefix("event: ") for event, _ in events]
    assert tags == [
        "admitted",
        "step_started",
        "step_finished",
        "cited",
        "text",
        "text",
        "finished",
    ]
    for tag, (_, data) in zip(tags, events, strict=True):
        assert json.loads(data.removeprefix("data: "))["type"] == tag


@pytest.mark.parametrize("status", [403, 404, 413, 429])
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_a_refusal_before_the_run_has_its_own_status(client, installation, status, accept):
    installation.script = [fresh(status)]
    response = client.post("/api/runs", json=ASK, headers={"Accept": accept})
    assert response.status_code == status
    assert response.json()["error"]["next"]
    assert "x-casemate-run" not in response.headers
    assert ("retry-after" in response.headers) == (status == 429)


def test_an_error_within_a_stream_is_an_event_and_the_end(client, installation):
    client.post("/api/runs", json=ASK)  # to see the usual events
    installation.script = [a_run(installation.asked[0])[0], fresh(403)]
    response = client.post("/api/runs", json=ASK, headers={"Accept": "text/event-stream"})
    last = response.text.strip().split("\n\n")[-1]
    assert last.startswith("event: error\ndata: ")
    assert json.loads(last.split("data: ")[1]) == {
        "what": "You may not ask this.",
        "next": "Ask the owner.",
    }


def test_an_error_after_admission_names_the_run(client, installation):
    client.post("/api/runs", json=ASK)
    installation.script = [a_run(installation.asked[0])[0], fresh(403)]
    response = client.post("/api/runs", json=ASK)
    assert response.status_code == 403
    assert response.headers["x-casemate-run"] == "r1"


def test_the_unforeseen_is_500_without_its_text(client, installation, caplog):
    installation.script = [ValueError("the prompt was: my secret")]
    response = client.post("/api/runs", json=ASK)
    assert response.status_code == 500
    assert response.json()["error"]["what"].startswith("Something went wrong")
    assert "secret" not in response.text + caplog.text
    assert "ValueError" in caplog.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"question": "  "}', 400),
        (b'{"question": ""}', 400),
        (b"{}", 400),
        (b'{"question": 5}', 400),
        (b'{"question": "a", "history": [["user"]]}', 400),
        (b'{"question": "\xff"}', 400),
        (rb'{"question": "\ud800 "}', 400),
        (b"[" * 100_000, 400),
        (b"not json", 400),
        (b"", 400),
        (b"[]", 400),
        (b'{"question": "' + b"a" * 1_000_001 + b'"}', 413),
        (b'{"question": "' + b"a" * 3_000_000 + b'"}', 413),
    ],
)
def test_a_bad_body_is_refused_with_a_sentence(client, installation, body, status):
    response = client.post("/api/runs", content=body)
    assert response.status_code == status
    assert response.json()["error"]["what"]
    assert installation.asked == []


def test_a_body_without_a_length_is_cut_off_at_the_limit(client):
    pieces = (b" " * 1_000_000 for _ in range(4))
    assert client.post("/api/runs", content=pieces).status_code == 413


def test_runs_are_listed_and_shown(client):
    listed = client.get("/api/runs?limit=1").json()
    assert [run["id"] for run in listed["runs"]] == ["r1"]
    assert client.get(f"/api/runs?before={listed['before']}").json() == {"runs": [], "before": None}
    shown = client.get("/api/runs/r1")
    assert shown.headers["x-casemate-run"] == "r1"
    assert shown.json()["answer"]["text"] == TEXT
    assert client.get("/api/runs/r1/explanation").json() == {"sentences": ["depends on 1"]}


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1e2", "²"])
def test_a_limit_out_of_bounds_is_refused(client, limit):
    assert client.get("/api/runs", params={"limit": limit}).status_code == 400


def test_a_receipt_is_offered_as_a_file(client):
    response = client.get("/api/runs/r1/receipt")
    assert response.headers["content-disposition"] == 'attachment; filename="r1.receipt.json"'
    assert client.get("/api/runs/none/receipt").status_code == 404


def test_collections_are_listed_and_made(client):
    listed = client.get("/api/collections").json()
    assert listed == {"collections": [{"id": "c1", "name": "town", "label": "U"}]}
    assert client.post("/api/collections", json={"name": "new"}).status_code == 201
    assert client.post("/api/collections", json={"name": "town"}).status_code == 409


def test_a_document_comes_in_as_a_form(client):
    response = client.post("/api/collections/town/documents", files={"file": ("é.txt", b"hello")})
    assert response.status_code == 201
    id = response.json()["document"]["id"]
    assert response.json()["document"]["name"] == "é.txt"
    assert client.get(f"/api/documents/{id}/original").content == b"hello"


def test_a_document_comes_in_as_bytes(client):
    response = client.post("/api/collections/town/documents?name=a.txt", content=b"hello")
    assert response.json()["outcome"] == "added"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({"content": b"hello"}, 400),
        ({"files": {"other": ("a.txt", b"hello")}}, 400),
        ({"files": [("file", ("a.txt", b"1")), ("file", ("b.txt", b"2"))]}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=a"}}, 400),
        ({"files": {"file": ("secret.pdf", b"hello")}}, 403),
    ],
)
def test_a_bad_upload_is_refused_with_a_sentence(client, arguments, status):
    response = client.post("/api/collections/town/documents", **arguments)
    assert response.status_code == status
    assert response.json()["error"]["what"]


def test_an_upload_above_the_limit_is_413(client, installation):
    installation.settings = replaced(Settings(), upload_mebibytes=1)
    big = b"x" * (1024 * 1024 + 1)
    url = "/api/collections/town/documents"
    assert client.post(url, files={"file": ("a.txt", big)}).status_code == 413
    assert client.post(url + "?name=a.txt", content=big).status_code == 413
    assert client.post(url + "?name=a.txt", content=big[1:]).status_code == 201


def test_documents_are_listed_read_and_deleted(client):
    assert [d["id"] for d in client.get("/api/documents?collection=town").json()["documents"]] == [
        "d1"
    ]
    assert client.get("/api/documents?collection=other").status_code == 404
    assert client.get("/api/documents/d1").json()["pages"] == [[0, 20]]
    assert client.get("/api/documents/d1/text").text == QUOTE
    assert client.delete("/api/documents/d1").status_code == 204
    assert client.get("/api/documents/d1").status_code == 404


def test_an_original_never_runs_as_a_page(client):
    headers = client.get("/api/documents/d1/original").headers
    assert headers["content-disposition"] == "attachment; filename*=UTF-8''fees.pdf"
    assert headers["content-security-policy"].startswith("sandbox")
    assert headers["x-content-type-options"] == "nosniff"


def test_search_gives_passages_with_their_reason(client):
    (hit,) = client.get("/api/search", params={"q": "fee", "collection": ["town"]}).json()["hits"]
    assert (hit["document"], hit["page"], hit["why"]) == ("d1", 2, ["fee"])
    assert client.get("/api/search?q=").status_code == 400
    assert client.get("/api/search").status_code == 400


def test_use_cases_and_models_are_listed(client, stranger):
    assert [u["id"] for u in client.get("/api/use-cases").json()["use_cases"]] == [
        "documents",
        "letters",
        "planned",
    ]
    bound = {"Authorization": f"Bearer {BOUND_KEY}"}
    assert len(stranger.get("/api/use-cases", headers=bound).json()["use_cases"]) == 1
    assert client.get("/api/models").json()["models"][0]["engine"] == "quote"
    assert stranger.get("/api/models").status_code == 401


def test_a_use_case_names_those_of_its_collections_that_the_asker_may_read(client):
    named = {u["id"]: u["collections"] for u in client.get("/api/use-cases").json()["use_cases"]}
    assert named == {"documents": None, "letters": ["town"], "planned": None}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/none", 404),
        ("GET", "/api", 404),
        ("GET", "/api/collections/", 404),
        ("PUT", "/api/collections", 405),
        ("DELETE", "/api/runs/r1", 405),
        ("GET", "/ledger/none", 404),
    ],
)
def test_an_unknown_address_answers_in_json(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"what", "next"}
    assert ("allow" in response.headers) == (status == 405)


def test_head_is_answered_like_get(client):
    assert client.head("/api/whoami").status_code == 200


def test_openapi_describes_every_route_and_no_other(installation, stranger):
    document = stranger.get("/api/openapi.json").json()
    described = {(method.upper(), path) for path, at in document["paths"].items() for method in at}
    routed = {
        (operation.method, openapi.template(operation.path))
        for route in api.routes(installation)
        if route.path.startswith("/api/")
        for operation in getattr(route.endpoint, "operations", ())
    }
    assert document["openapi"] == "3.1.0"
    assert described == routed
    assert described == {(o.method, openapi.template(o.path)) for o in OPERATIONS}


def test_every_reference_of_the_openapi_document_leads_somewhere(stranger):
    text = stranger.get("/api/openapi.json").text
    document = json.loads(text)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names
    assert names <= set(document["components"]["schemas"])
    ids = [at["operationId"] for path in document["paths"].values() for at in path.values()]
    assert len(ids) == len(set(ids))


def test_every_status_is_described_and_none_in_general(stranger):
    for path in ("/api", "/v1", "/mistral/v1"):
        document = stranger.get(f"{path}/openapi.json").json()
        for at in document["paths"].values():
            for operation in at.values():
                assert {"200", "201", "204"} & operation["responses"].keys()
                assert {"400", "401", "403"} <= operation["responses"].keys()
                assert "default" not in operation["responses"]
    assert "422" in document["paths"]["/mistral/v1/chat/completions"]["post"]["responses"]


def test_what_was_made_leads_to_what_can_be_done_with_it(stranger):
    document = stranger.get("/v1/openapi.json").json()
    ids = {at["operationId"] for path in document["paths"].values() for at in path.values()}
    made = document["paths"]["/v1/vector_stores/{store}/files"]["post"]["responses"]["200"]
    (file,) = [one for name, one in made["links"].items() if name == "file_content"]
    assert file == {
        "operationId": "file_content",
        "parameters": {"store": "$request.path.store", "file": "$response.body#/id"},
    }
    assert made["links"].keys() <= ids


def test_a_span_is_described_as_an_array_of_two_numbers(stranger):
    schemas = stranger.get("/api/openapi.json").json()["components"]["schemas"]
    span = {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}}
    assert schemas["DocumentShape"]["properties"]["pages"] == {"type": "array", "items": span}
