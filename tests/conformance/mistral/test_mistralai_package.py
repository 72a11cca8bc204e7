"""Mistral's own Python package, unchanged, against ``/mistral``."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, SDKError
from mistralai.client.models import (
    AssistantMessage,
    CompletionChunk,
    ReferenceChunk,
    TextChunk,
    ThinkChunk,
    UserMessage,
)

from casemate.api.mistral.chat import ChunkStream
from casemate.errors import Unavailable
from casemate.reasoning.event import Admitted, Request


@pytest.fixture
def client(mistral_server):
    with Mistral(api_key=mistral_server.key, server_url=mistral_server.url) as client:
        yield client


@pytest.fixture
def question(mistral_server):
    return [{"role": "user", "content": mistral_server.question}]


def pieces(content):
    """A content as typed chunks."""
    return [TextChunk(text=content)] if isinstance(content, str) else list(content or [])


def text_of(chunks):
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextChunk))


def thinking_of(chunks):
    thoughts = [chunk for chunk in chunks if isinstance(chunk, ThinkChunk)]
    return "".join(part.text for thought in thoughts for part in thought.thinking)


def references_of(chunks):
    return [chunk.reference_ids for chunk in chunks if isinstance(chunk, ReferenceChunk)]


def the_run(server, id):
    """A run as the platform's own API tells it."""
    address = server.url.removesuffix("/mistral") + f"/api/runs/{id}"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {server.key}"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def test_models_are_listed_with_what_they_can_do(client):
    cards = {card.id: card for card in client.models.list().data}
    assert cards["registers"].capabilities.reasoning
    assert not cards["documents"].capabilities.reasoning
    assert all(card.capabilities.completion_chat for card in cards.values())
    assert not any(card.capabilities.vision for card in cards.values())
    assert {card.type for card in cards.values()} == {"base"}


def test_every_listed_model_is_retrieved_by_its_id(client):
    for listed in client.models.list().data:
        assert client.models.retrieve(model_id=listed.id) == listed


def test_an_answer_has_thinking_text_and_references_as_typed_chunks(
    client, mistral_server, question
):
    said = client.chat.complete(model="registers", messages=question, random_seed=3)
    (choice,) = said.choices
    assert choice.finish_reason == "stop"
    kinds = [type(chunk) for chunk in choice.message.content]
    assert kinds[:3] == [ThinkChunk, TextChunk, ReferenceChunk]
    run = the_run(mistral_server, said.id)
    assert text_of(choice.message.content) == run["answer"]["text"]
    assert thinking_of(choice.message.content) == run["answer"]["thinking"]
    numbers = [number for ids in references_of(choice.message.content) for number in ids]
    assert set(numbers) == {one["number"] for one in run["answer"]["citations"]}
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens


def test_a_stream_goes_from_thinking_to_text_to_reference_and_adds_up(client, question):
    whole = client.chat.complete(model="registers", messages=question, random_seed=3)
    with client.chat.stream(model="registers", messages=question, random_seed=3) as stream:
        told = [event.data for event in stream]
    chunks = [chunk for one in told for chunk in pieces(one.choices[0].delta.content)]
    chunks = [chunk for chunk in chunks if chunk != TextChunk(text="")]
    content = whole.choices[0].message.content
    assert text_of(chunks) == text_of(content)
    assert thinking_of(chunks) == thinking_of(content)
    assert references_of(chunks) == references_of(content)
    kinds = list(dict.fromkeys(type(chunk) for chunk in chunks))
    assert kinds == [ThinkChunk, TextChunk, ReferenceChunk]
    assert [one.choices[0].finish_reason for one in told][-2:] == [None, "stop"]
    assert told[-1].usage.total_tokens == whole.usage.total_tokens
    assert {one.id for one in told} == {told[-1].id}


def test_the_last_chunk_says_where_the_references_lead(client, mistral_server, question):
    with client.chat.stream(model="registers", messages=question) as stream:
        *_, last = stream
    casemate = last.data.choices[0].delta.metadata["casemate"]
    assert casemate["run"] == last.data.id
    (reference,) = casemate["references"]
    for quotation in reference["quotations"]:
        start = quotation["start"] - reference["start"]
        assert reference["text"][start:].startswith(quotation["quote"])
    run = the_run(mistral_server, casemate["run"])
    assert casemate["receipt"] == run["receipt"]


def test_the_quoting_engine_answers_without_thinking(client, question):
    said = client.chat.complete(model="documents", messages=question)
    content = pieces(said.choices[0].message.content)
    assert text_of(content)
    assert not thinking_of(content)


def test_an_answer_at_its_bound_of_tokens_says_so(client, question):
    said = client.chat.complete(model="registers", messages=question, max_tokens=2)
    assert said.choices[0].finish_reason == "length"
    with client.chat.stream(model="registers", messages=question, max_tokens=2) as stream:
        assert [event.data.choices[0].finish_reason for event in stream][-1] == "length"


def test_the_asynchronous_client_asks_and_streams(mistral_server, question):
    async def scene():
        server = mistral_server
        async with Mistral(api_key=server.key, server_url=server.url) as client:
            whole = await client.chat.complete_async(model="registers", messages=question)
            stream = await client.chat.stream_async(model="registers", messages=question)
            async with stream:
                told = [event.data async for event in stream]
            return whole, told

    whole, told = asyncio.run(scene())
    assert references_of(whole.choices[0].message.content)
    assert told[-1].choices[0].finish_reason == "stop"


def test_an_answer_with_all_its_chunks_is_sent_back_in_the_next_turn(client, question):
    first = client.chat.complete(model="registers", messages=question).choices[0].message
    assert isinstance(first, AssistantMessage)
    turns = [*question, first, UserMessage(content=question[0]["content"])]
    second = client.chat.complete(model="registers", messages=turns)
    assert second.choices[0].message.content


def test_chunks_that_nobody_knows_may_come_back(client, question):
    parts = [{"type": "text", "text": "Good day."}, {"type": "a_later_kind", "of": 1}]
    answer = AssistantMessage.model_validate({"role": "assistant", "content": parts})
    turns = [*question, answer, *question]
    assert client.chat.complete(model="documents", messages=turns).choices


def test_a_stream_may_be_left_early(client, question):
    with client.chat.stream(model="registers", messages=question) as stream:
        next(iter(stream))
    assert client.models.list().data


def test_a_stream_that_breaks_off_ends_with_a_typed_chunk():
    stream = ChunkStream("registers", Request(question="x"), created=0, site="")
    stream.render(Admitted(run="r_1", use_case="registers", model="nano", entry=1))
    frame, done = stream.broken(Unavailable("The model stopped.", "Ask again.")).split(b"\n\n")[:2]
    chunk = CompletionChunk.model_validate_json(frame.removeprefix(b"data: "))
    assert (chunk.id, chunk.choices[0].finish_reason) == ("r_1", "error")
    told = {"what": "The model stopped.", "next": "Ask again."}
    assert chunk.choices[0].delta.metadata == {"error": told}
    assert done == b"data: [DONE]"


def test_what_does_no_harm_is_accepted(client, question):
    said = client.chat.complete(
        model="documents",
        messages=question,
        prompt_mode="reasoning",
        reasoning_effort="high",
        parallel_tool_calls=True,
        prediction={"type": "content", "content": "The fee"},
        prompt_cache_key="k",
        metadata={"a": "b"},
        response_format={"type": "text"},
        tool_choice="none",
        safe_prompt=False,
        presence_penalty=0,
        frequency_penalty=0,
        n=1,
    )
    assert said.choices


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("response_format", {"type": "json_object"}),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("tool_choice", "any"),
        ("temperature", 9.0),
        ("top_p", 0.0),
        ("max_tokens", 0),
        ("random_seed", -1),
        ("presence_penalty", 0.5),
        ("frequency_penalty", 0.5),
        ("safe_prompt", True),
        ("guardrails", [{"block_on_error": True}]),
        ("top_k", 5),
        ("logprobs", True),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_a_validation_error_that_names_it(
    client, question, name, value
):
    with pytest.raises(HTTPValidationError) as told:
        client.chat.complete(model="documents", messages=question, **{name: value})
    (detail,) = told.value.data.detail
    assert detail.loc == ["body", name]
    body = json.loads(told.value.body)
    assert body["what"]
    assert body["next"]


def test_a_picture_is_refused_by_name(client):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": "data:image/png;base64,AA=="},
    ]
    with pytest.raises(HTTPValidationError, match="image_url") as told:
        client.chat.complete(model="documents", messages=[{"role": "user", "content": parts}])
    assert told.value.data.detail[0].loc == ["body", "messages", 0, "content", 1]


def test_an_empty_question_is_a_validation_error_in_a_stream_too(client):
    with pytest.raises(HTTPValidationError):
        client.chat.stream(model="documents", messages=[{"role": "user", "content": ""}])


def test_a_bad_key_is_an_error_of_its_status(mistral_server):
    with (
        Mistral(api_key="cm_wrong", server_url=mistral_server.url) as client,
        pytest.raises(SDKError) as told,
    ):
        client.models.list()
    assert told.value.status_code == 401
    assert json.loads(told.value.body)["next"]


def test_an_unknown_model_is_not_found(client, question):
    for ask in (
        lambda: client.models.retrieve(model_id="mistral-none"),
        lambda: client.chat.complete(model="mistral-none", messages=question),
    ):
        with pytest.raises(SDKError) as told:
            ask()
        assert told.value.status_code == 404
        assert "/mistral/v1/models" in json.loads(told.value.body)["next"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.beta.libraries.update(library_id="lamps", name="Lamps"),
        lambda client: client.classifiers.moderate(model="documents", inputs="x"),
    ],
)
def test_what_is_not_offered_says_what_to_use_instead(client, ask):
    with pytest.raises(SDKError) as told:
        ask(client)
    assert told.value.status_code == 501
    body = json.loads(told.value.body)
    assert "not supported here" in body["what"]
    assert body["next"]


def test_a_library_is_a_collection_and_its_documents_can_be_asked(client, question):
    libraries = client.beta.libraries
    made = libraries.create(name="lamps")
    assert made.id in {one.id for one in libraries.list().data}
    content = b"# Lamps\n\nA lamp in the square costs 77 euros.\n"
    document = libraries.documents.upload(
        library_id=made.id, file={"file_name": "lamps.md", "content": content}
    )
    known = {"library_id": made.id, "document_id": document.id}
    assert libraries.documents.status(**known).process_status == "done"
    assert "77 euros" in libraries.documents.text_content(**known).text
    assert libraries.documents.get(**known) == document
    assert [one.id for one in libraries.documents.list(library_id=made.id).data] == [document.id]
    assert libraries.get(library_id=made.id).nb_documents == 1
    said = client.chat.complete(
        model="documents",
        messages=[{"role": "user", "content": "What does a lamp in the square cost?"}],
        tools=[{"type": "document_library", "library_ids": [made.id]}],
    )
    assert "77 euros" in text_of(pieces(said.choices[0].message.content))
    libraries.documents.delete(**known)
    with pytest.raises(SDKError) as told:
        libraries.documents.get(**known)
    assert told.value.status_code == 404
    libraries.delete(library_id=made.id)
    with pytest.raises(SDKError) as told:
        libraries.get(library_id=made.id)
    assert told.value.status_code == 404


def test_what_a_library_cannot_do_says_so(client):
    known = client.beta.libraries.list().data[0]
    with pytest.raises(HTTPValidationError) as told:
        client.beta.libraries.create(name="mine", owner_type="User")
    assert told.value.data.detail[0].loc == ["body", "owner_type"]
    with pytest.raises(SDKError) as told:
        client.beta.libraries.accesses.list(library_id=known.id)
    assert told.value.status_code == 501
    with pytest.raises(SDKError) as told:
        client.beta.libraries.delete(library_id=known.id)
    assert told.value.status_code == 409
    assert "Delete them first" in json.loads(told.value.body)["next"]


def test_a_library_that_one_may_not_read_is_not_there_in_any_way(client, mistral_server):
    (sealed,) = [one for one in client.beta.libraries.list().data if one.name == "sealed"]
    (document,) = client.beta.libraries.documents.list(library_id=sealed.id).data
    seal = [{"role": "user", "content": "What does the seal cost?"}]
    tools = [{"type": "document_library", "library_ids": [sealed.id]}]
    said = client.chat.complete(model="documents", messages=seal, tools=tools)
    assert "91 euros" in text_of(pieces(said.choices[0].message.content))
    with Mistral(api_key=mistral_server.readers_key, server_url=mistral_server.url) as reader:
        libraries = reader.beta.libraries
        listed = libraries.list().data
        assert listed
        assert sealed.id not in {one.id for one in listed}
        known = {"library_id": sealed.id, "document_id": document.id}
        elsewhere = {"library_id": listed[0].id, "document_id": document.id}
        file = {"file_name": "x.md", "content": b"x"}
        for attempt in (
            lambda: libraries.get(library_id=sealed.id),
            lambda: libraries.documents.list(library_id=sealed.id),
            lambda: libraries.documents.upload(library_id=sealed.id, file=file),
            lambda: libraries.documents.get(**known),
            lambda: libraries.documents.text_content(**known),
            lambda: libraries.documents.text_content(**elsewhere),
            lambda: libraries.documents.delete(**elsewhere),
            lambda: reader.chat.complete(model="documents", messages=seal, tools=tools),
        ):
            with pytest.raises(SDKError) as told:
                attempt()
            assert told.value.status_code == 404
        answer = reader.chat.complete(model="documents", messages=seal)
        assert "91 euros" not in text_of(pieces(answer.choices[0].message.content))
    assert client.beta.libraries.documents.get(**known) == document
