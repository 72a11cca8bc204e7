"""OpenAI's own Python package, unchanged, against ``/v1``."""

from __future__ import annotations

import asyncio

import httpx2
import openai
import pytest

QUESTION = [{"role": "user", "content": "What is the fee?"}]


@pytest.fixture
def client(server):
    base_url, key = server
    with openai.OpenAI(base_url=base_url, api_key=key) as client:
        yield client


def test_models_are_listed(client):
    models = client.models.list()
    assert "documents" in [model.id for model in models]
    assert {model.owned_by for model in models} == {"casemate"}


def test_every_listed_model_is_retrieved_by_its_id(client):
    for listed in client.models.list():
        assert client.models.retrieve(listed.id).id == listed.id


def test_a_chat_is_answered_with_citations_and_a_receipt(client):
    raw = client.chat.completions.with_raw_response.create(model="documents", messages=QUESTION)
    said = raw.parse()
    (choice,) = said.choices
    assert choice.finish_reason == "stop"
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.message.annotations
    for annotation in choice.message.annotations:
        cited = annotation.url_citation
        marker = choice.message.content[cited.start_index : cited.end_index]
        assert marker.startswith("[")
        assert cited.url.startswith("/documents/")
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens
    run = raw.headers["x-casemate-run"]
    assert said.casemate["run"] == run
    assert said.casemate["receipt"] == f"/api/runs/{run}/receipt"


def test_a_stream_adds_up_and_ends_with_usage(client):
    whole = client.chat.completions.create(model="documents", messages=QUESTION)
    stream = client.chat.completions.create(
        model="documents", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


def test_the_stream_helper_accumulates_a_completion(client):
    with client.chat.completions.stream(model="documents", messages=QUESTION) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"


def test_the_asynchronous_client_streams(server):
    async def scene():
        base_url, key = server
        async with openai.AsyncOpenAI(base_url=base_url, api_key=key) as client:
            stream = await client.chat.completions.create(
                model="documents", messages=QUESTION, stream=True
            )
            return [chunk async for chunk in stream]

    assert asyncio.run(scene())[-1].choices[0].finish_reason == "stop"


def test_a_stream_may_be_left_early(client):
    stream = client.chat.completions.create(model="documents", messages=QUESTION, stream=True)
    next(iter(stream))
    stream.close()
    assert client.models.list().data


def test_a_bad_key_is_an_authentication_error(server):
    base_url, _ = server
    with (
        openai.OpenAI(base_url=base_url, api_key="cm_wrong") as client,
        pytest.raises(openai.AuthenticationError) as told,
    ):
        client.models.list()
    assert told.value.code == "invalid_api_key"


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as told:
        client.models.retrieve("gpt-none")
    assert told.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError) as told:
        client.chat.completions.create(model="gpt-none", messages=QUESTION)
    assert (told.value.code, told.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 99),
        ("logprobs", True),
        ("response_format", {"type": "json_object"}),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("temperature", "hot"),
        ("stop", 7),
    ],
)
def test_a_bad_parameter_is_a_bad_request_that_names_it(client, name, value):
    with pytest.raises(openai.BadRequestError) as told:
        client.chat.completions.create(model="documents", messages=QUESTION, **{name: value})
    assert told.value.param == name
    assert told.value.message


def test_an_empty_question_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="documents", messages=[{"role": "user", "content": ""}]
        )


def test_what_is_not_offered_is_asked_for_once(server):
    base_url, key = server
    sent = []
    hooks = {"request": [sent.append]}
    with (
        httpx2.Client(event_hooks=hooks) as http,
        openai.OpenAI(base_url=base_url, api_key=key, http_client=http) as client,
        pytest.raises(openai.APIStatusError) as told,
    ):
        client.moderations.create(input="x")
    assert told.value.status_code == 501
    assert len(sent) == 1  # the package tries most of 5xx again
