from __future__ import annotations

import json

import pytest
from fake_installation import BOUND_KEY, KEY, QUOTE, SESSION, TEXT, a_run, fresh, replaced

from casemate.reasoning.event import Request

CHAT = "/v1/chat/completions"


def a_chat(**changes):
    return {
        "model": "documents",
        "messages": [{"role": "user", "content": "What is the fee?"}],
        **changes,
    }


def chunks(response):
    frames = response.text.strip().split("\n\n")
    return [frame.removeprefix("data: ") for frame in frames]


def test_use_cases_are_offered_as_models(client):
    ids = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert ids == ["documents", "letters", "letters/quote", "letters/org/large"]


def test_a_key_for_one_use_case_sees_only_that(stranger):
    bound = {"Authorization": f"Bearer {BOUND_KEY}"}
    ids = [model["id"] for model in stranger.get("/v1/models", headers=bound).json()["data"]]
    assert ids == ["letters", "letters/quote", "letters/org/large"]
    refused = stranger.post(CHAT, json=a_chat(), headers=bound)
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "model_not_found"


def test_one_model_is_found_by_its_id_with_slashes(client):
    response = client.get("/v1/models/letters%2Forg%2Flarge")
    assert response.json() == {
        "id": "letters/org/large",
        "object": "model",
        "created": 0,
        "owned_by": "casemate",
    }


def test_a_session_does_not_open_the_dialect_of_programs(stranger):
    stranger.cookies.set("casemate_session", SESSION)
    assert stranger.get("/v1/models").status_code == 401


def test_a_completion_has_text_annotations_and_casemate(client):
    response = client.post(CHAT, json=a_chat())
    said = response.json()
    assert response.headers["x-casemate-run"] == "r1"
    message = said["choices"][0]["message"]
    assert message["content"] == TEXT
    assert "reasoning" not in message
    first, second = (annotation["url_citation"] for annotation in message["annotations"])
    assert TEXT[first["start_index"] : first["end_index"]] == "[1]"
    assert first["url"] == "/documents/d1?start=100&end=120"
    assert first["title"] == "fees.pdf, page 2"
    assert second["title"] == "dues.md"
    assert said["casemate"]["citations"][0] == {
        "number": 1,
        "document": "d1",
        "page": 2,
        "start": 100,
        "end": 120,
        "quote": QUOTE,
    }
    assert said["casemate"]["receipt"] == "/api/runs/r1/receipt"
    assert said["casemate"]["outcome"] == "answered"
    assert said["usage"]["prompt_tokens"] == 4
    assert said["usage"]["completion_tokens"] == len(TEXT.split())


def test_links_begin_with_the_public_address_where_there_is_one(client, installation):
    installation.settings = replaced(installation.settings, public_url="https://ai.example/")
    message = client.post(CHAT, json=a_chat()).json()["choices"][0]["message"]
    url = message["annotations"][0]["url_citation"]["url"]
    assert url == "https://ai.example/documents/d1?start=100&end=120"


def test_the_last_user_message_is_the_question_and_the_rest_history(client, installation):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Good day"},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, a_part("the fee?")]},
    ]
    body = a_chat(model="letters/org/large", messages=messages, max_completion_tokens=5, seed=3)
    assert client.post(CHAT, json=body).status_code == 200
    asked = installation.asked[0]
    assert asked.question == "What is\nthe fee?"
    assert asked.history == (("system", "Be brief."), ("user", "Hello"), ("assistant", "Good day"))
    assert (asked.use_case, asked.model) == ("letters", "org/large")
    assert (asked.max_tokens, asked.seed) == (5, 3)


def a_part(text):
    return {"type": "text", "text": text}


def test_thinking_is_told_in_both_spellings(client, installation):
    installation.script = a_run(Request(question=""), thinking="Let me see.")
    message = client.post(CHAT, json=a_chat()).json()["choices"][0]["message"]
    assert message["reasoning"] == message["reasoning_content"] == "Let me see."
    deltas = [
        json.loads(chunk)["choices"][0]["delta"]
        for chunk in chunks(client.post(CHAT, json=a_chat(stream=True)))[:-1]
    ]
    assert {"reasoning": "Let me see.", "reasoning_content": "Let me see."} in deltas


def test_a_stream_adds_up_to_the_answer_and_ends_with_done(client):
    response = client.post(CHAT, json=a_chat(stream=True))
    assert response.headers["x-casemate-run"] == "r1"
    *told, done = chunks(response)
    told = [json.loads(chunk) for chunk in told]
    assert done == "[DONE]"
    assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in told) == TEXT
    assert told[-1]["choices"][0]["finish_reason"] == "stop"
    assert len(told[-1]["choices"][0]["delta"]["annotations"]) == 2
    assert told[-1]["casemate"]["run"] == "r1"
    assert {chunk["id"] for chunk in told} == {"chatcmpl-r1"}
    assert all("usage" not in chunk for chunk in told)


def test_a_stream_tells_its_usage_when_asked(client):
    body = a_chat(stream=True, stream_options={"include_usage": True})
    *told, last, _ = [chunk for chunk in chunks(client.post(CHAT, json=body))]
    assert all(json.loads(chunk)["usage"] is None for chunk in told)
    assert json.loads(last)["choices"] == []
    assert json.loads(last)["usage"]["total_tokens"] > 0


def test_a_text_that_came_only_at_the_end_is_still_told(client, installation):
    events = a_run(Request(question=""))
    installation.script = [events[0], events[-1]]
    *told, _ = chunks(client.post(CHAT, json=a_chat(stream=True)))
    assert json.loads(told[-1])["choices"][0]["delta"]["content"] == TEXT


@pytest.mark.parametrize(
    "harmless",
    [
        {"n": 1, "user": "u", "store": False, "metadata": {}, "service_tier": "auto"},
        {"tools": [], "tool_choice": "none", "response_format": {"type": "text"}},
        {"logprobs": False, "stop": None, "modalities": ["text"], "frequency_penalty": 0.5},
        {"temperature": 0, "top_p": 1, "something_new": {"a": 1}, "logit_bias": {}},
    ],
)
def test_harmless_parameters_are_accepted(client, harmless):
    assert client.post(CHAT, json=a_chat(**harmless)).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("audio", {"voice": "x", "format": "wav"}),
        ("modalities", ["text", "audio"]),
        ("web_search_options", {"search_context_size": "low"}),
        ("guided_json", {"type": "object"}),
    ],
)
def test_a_parameter_whose_neglect_would_deceive_is_refused_by_name(
    client, installation, name, value
):
    response = client.post(CHAT, json=a_chat(**{name: value}))
    error = response.json()["error"]
    assert response.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == name
    assert error["code"] == "unsupported_parameter"
    assert installation.asked == []


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "x"},
                    {"role": "assistant", "content": "The fee"},
                ]
            },
            "messages",
        ),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"model": None}, "model"),
    ],
)
def test_a_wrong_parameter_is_named(client, installation, changes, param):
    response = client.post(CHAT, json=a_chat(**changes))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert installation.asked == []


@pytest.mark.parametrize("status", [403, 404, 413, 429])
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_before_the_run_has_its_own_status(client, installation, status, stream):
    installation.script = [fresh(status)]
    response = client.post(CHAT, json=a_chat(stream=stream))
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert ("retry-after" in response.headers) == (status == 429)


def test_an_error_within_a_stream_is_told_and_ends_it(client, installation):
    installation.script = [a_run(Request(question=""))[0], fresh(403)]
    *_, last = chunks(client.post(CHAT, json=a_chat(stream=True)))
    assert json.loads(last)["error"]["type"] == "request_forbidden"


def test_a_bad_key_is_told_as_openai_does(stranger):
    response = stranger.get("/v1/models", headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_a_question_too_long_is_413(client):
    messages = [{"role": "user", "content": "a" * 1_000_001}]
    assert client.post(CHAT, json=a_chat(messages=messages)).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", CHAT, 405), ("POST", "/v1/nowhere", 404), ("POST", "/v1/moderations", 501)],
)
def test_an_unknown_address_answers_in_the_dialect(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_a_key_is_the_only_way_in(stranger):
    assert stranger.post(CHAT, json=a_chat()).status_code == 401
    assert KEY not in stranger.get("/v1/models").text
