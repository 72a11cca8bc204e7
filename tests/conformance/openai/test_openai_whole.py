"""OpenAI's own Python package, unchanged, against everything that ``/v1`` offers."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import time

import openai
import pytest
from openai.types.responses import ResponseCompletedEvent
from pydantic import BaseModel

QUESTION = [{"role": "user", "content": "What is the fee?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town.",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}},
            "required": ["town"],
        },
    },
}


class Town(BaseModel):
    town: str


@pytest.fixture
def client(dialects):
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.key, max_retries=0) as client:
        yield client


@pytest.fixture
def other(dialects):
    """Somebody else."""
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.others_key) as client:
        yield client


def said_by(client, **more):
    return client.chat.completions.create(
        **{"model": "chat", "messages": [{"role": "user", "content": "Hello"}], **more}
    )


# Chats


def test_an_alias_is_a_model_like_any_other(client):
    listed = {model.id: model for model in client.models.list()}
    assert listed["gpt-4o"].alias_of == "chat"
    assert client.models.retrieve("gpt-4o").id == "gpt-4o"
    said = said_by(client, model="gpt-4o")
    assert (said.model, said.casemate["use_case"]) == ("gpt-4o", "chat")


def test_a_model_without_documents_is_told_the_conversation_as_it_is(client, dialects):
    said = said_by(
        client,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hi. x[1] = 2"},
            {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
        ],
    )
    assert dialects.upstream.asked[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi. x[1] = 2"},
        {"role": "user", "content": "And now?"},
    ]
    message = said.choices[0].message
    assert message.content == "You asked: And now? One. Two. Three."
    assert message.reasoning == message.reasoning_content == "Let me see."
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (11, 6)
    assert said.usage.completion_tokens_details.reasoning_tokens == 2


def test_a_tool_is_called_and_its_result_is_read(client):
    messages = [{"role": "user", "content": "How is the weather?"}]
    first = said_by(client, messages=messages, tools=[WEATHER], tool_choice="auto")
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "weather",
        {"town": "Esch"},
    )
    messages += [
        choice.message,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = said_by(client, messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "The tool says: sunny."
    assert second.choices[0].finish_reason == "stop"


def test_a_tool_is_called_in_a_stream(client):
    with client.chat.completions.stream(
        model="chat",
        messages=[{"role": "user", "content": "How is the weather?"}],
        tools=[WEATHER],
    ) as stream:
        for _ in stream:
            pass
        (choice,) = stream.get_final_completion().choices
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"town": "Esch"}


def test_without_parallel_calls_one_tool_is_called(client):
    said = said_by(client, tools=[WEATHER], parallel_tool_calls=False)
    assert len(said.choices[0].message.tool_calls) == 1


def test_the_tool_that_has_to_be_called_reaches_the_model(client, dialects):
    named = {"type": "function", "function": {"name": "weather"}}
    said_by(client, tools=[WEATHER], tool_choice=named)
    assert dialects.upstream.asked[-1]["tool_choice"] == named
    said_by(client, tools=[WEATHER], tool_choice="none")
    assert "tools" not in dialects.upstream.asked[-1]


def test_a_schema_gives_a_typed_object(client, dialects):
    parsed = client.chat.completions.parse(
        model="chat", messages=[{"role": "user", "content": "Which town?"}], response_format=Town
    )
    assert parsed.choices[0].message.parsed == Town(town="Fictionalville")
    asked = dialects.upstream.asked[-1]["response_format"]["json_schema"]["schema"]
    assert asked["required"] == ["town"]


def test_several_answers_are_several_runs(client):
    said = said_by(client, n=3, seed=7)
    assert [choice.index for choice in said.choices] == [0, 1, 2]
    assert len(set(said.casemate["runs"])) == 3
    assert said.usage.completion_tokens == 18


def test_several_answers_come_in_a_stream_one_after_the_other(client):
    chunks = list(said_by(client, n=2, stream=True, stream_options={"include_usage": True}))
    texts = {0: "", 1: ""}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts[0] == texts[1] == "You asked: Hello One. Two. Three."
    assert chunks[-1].usage.completion_tokens == 12
    assert sum(1 for chunk in chunks for choice in chunk.choices if choice.finish_reason) == 2


def test_probabilities_are_given_token_by_token(client):
    said = said_by(client, logprobs=True, top_logprobs=2)
    content = said.choices[0].logprobs.content
    assert "".join(token.token for token in content) == said.choices[0].message.content
    assert content[0].logprob == -0.25
    assert [top.token for top in content[0].top_logprobs] == [content[0].token, "else"]
    assert bytes(content[0].bytes).decode() == content[0].token


@pytest.mark.parametrize(
    ("stop", "text"), [("Two", "You asked: Hello One. "), (["x", "ed: "], "You ask")]
)
def test_an_answer_ends_before_a_stop(client, stop, text):
    said = said_by(client, stop=stop)
    assert said.choices[0].message.content == text
    assert said.choices[0].finish_reason == "stop"
    streamed = "".join(
        chunk.choices[0].delta.content or "" for chunk in said_by(client, stop=stop, stream=True)
    )
    assert streamed == text


def test_an_answer_that_is_cut_says_so(client):
    said = said_by(client, max_completion_tokens=3)
    assert (said.choices[0].finish_reason, said.choices[0].message.content) == ("length", "You ")


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("tools", [WEATHER], "tools"),
        ("response_format", {"type": "json_object"}, "response_format"),
        ("logprobs", True, "logprobs"),
        ("n", 9, "n"),
        ("web_search_options", {}, None),
    ],
)
def test_what_a_use_case_cannot_do_is_refused_by_name(client, name, value, param):
    if param is None:
        assert said_by(client, model="documents", **{name: value}).choices
        return
    with pytest.raises(openai.BadRequestError) as told:
        said_by(client, model="documents", messages=QUESTION, **{name: value})
    assert told.value.param == param


def test_a_result_that_answers_no_call_is_a_bad_request(client):
    messages = [*QUESTION, {"role": "tool", "tool_call_id": "x", "content": "sunny"}]
    with pytest.raises(openai.BadRequestError):
        said_by(client, messages=messages)


# Completions


def test_prompts_are_continued(client):
    said = client.completions.create(model="chat", prompt=["A", "B"], echo=True, stop="One")
    assert [choice.text for choice in said.choices] == ["AYou asked: A ", "BYou asked: B "]
    stream = client.completions.create(model="chat", prompt="A", stream=True, logprobs=1)
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "You asked: A One. Two. Three."
    assert chunks[0].choices[0].logprobs.token_logprobs == [-0.25]


def test_what_stands_between_a_prompt_and_a_suffix_is_filled_in(client, dialects):
    said = client.completions.create(model="chat", prompt="1 + ", suffix=" = 3")
    assert said.choices[0].text == "<1 + | = 3>"
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (9, 11)
    with pytest.raises(openai.APIStatusError) as told:
        client.completions.create(model="documents", prompt="A", suffix="B")
    assert (told.value.status_code, told.value.param) == (501, "suffix")


# Responses


def test_a_response_is_found_again_and_gone_on_from(client, other):
    first = client.responses.create(
        model="chat", input="Hello", instructions="Be brief.", metadata={"case": "7"}
    )
    reasoning, message = first.output
    assert (reasoning.type, reasoning.content[0].text) == ("reasoning", "Let me see.")
    assert message.status == "completed"
    assert first.output_text == "You asked: Hello One. Two. Three."
    assert first.usage.output_tokens_details.reasoning_tokens == 2
    again = client.responses.retrieve(first.id)
    assert (again.output, again.metadata) == (first.output, {"case": "7"})
    (item,) = client.responses.input_items.list(first.id)
    assert item.content[0].text == "Hello"
    second = client.responses.create(model="chat", input="More?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    (given,) = client.responses.input_items.list(second.id)
    assert given.content[0].text == "More?"
    with pytest.raises(openai.NotFoundError):
        other.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError):
        other.responses.create(model="chat", input="More?", previous_response_id=first.id)
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_a_conversation_goes_on_with_all_that_was_said(client, dialects):
    first = client.responses.create(model="chat", input="Hello", instructions="Be brief.")
    client.responses.create(model="chat", input="More?", previous_response_id=first.id)
    assert [one["content"] for one in dialects.upstream.asked[-1]["messages"]] == [
        "Hello",
        "You asked: Hello One. Two. Three.",
        "More?",
    ]


def test_what_is_not_to_be_stored_is_not_found(client):
    said = client.responses.create(model="chat", input="Hello", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(said.id)


def test_a_search_in_files_gives_citations_of_files(client):
    (store,) = [one for one in client.vector_stores.list() if one.name == "fees"]
    said = client.responses.create(
        model="documents",
        input="What is the fee?",
        tools=[{"type": "file_search", "vector_store_ids": [store.id]}],
        include=["file_search_call.results"],
    )
    search, message = said.output
    assert (search.type, search.status) == ("file_search_call", "completed")
    assert search.queries
    assert search.results[0].filename == "fees.md"
    (part,) = message.content
    assert part.annotations
    for annotation in part.annotations:
        assert annotation.type == "file_citation"
        assert part.text[annotation.index :].startswith(" [")
        assert "12 euros" in client.files.content(annotation.file_id).text
        assert client.files.retrieve(annotation.file_id).filename == annotation.filename


def test_the_events_of_a_response_are_numbered_and_complete(client):
    with client.responses.stream(model="chat", input="Hello") as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert isinstance(events[-1], ResponseCompletedEvent) or kinds[-1] == "response.completed"
    numbers = [event.sequence_number for event in events]
    assert numbers == list(range(len(events)))
    assert (
        kinds.count("response.output_item.added") == kinds.count("response.output_item.done") == 2
    )
    thought = "".join(e.delta for e in events if e.type == "response.reasoning_text.delta")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert (thought, text) == ("Let me see.", final.output_text)
    assert client.responses.retrieve(final.id).output_text == text


def test_a_function_is_called_in_a_response_and_answered_in_the_next(client):
    tool = {"type": "function", **WEATHER["function"], "strict": False}
    with client.responses.stream(model="chat", input="Weather?", tools=[tool]) as stream:
        kinds = [event.type for event in stream]
        first = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"town": "Esch"}
    second = client.responses.create(
        model="chat",
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
        previous_response_id=first.id,
    )
    assert second.output_text == "The tool says: sunny."


def test_a_response_follows_a_schema(client):
    said = client.responses.parse(model="chat", input="Which town?", text_format=Town)
    assert said.output_parsed == Town(town="Fictionalville")


def test_a_response_that_is_cut_is_incomplete(client):
    said = client.responses.create(model="chat", input="Hello", max_output_tokens=3)
    assert (said.status, said.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_response_that_has_ended_cannot_be_cancelled(client):
    said = client.responses.create(model="chat", input="Hello")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(said.id)


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("tools", [{"type": "web_search"}], "tools[0]"),
        ("input", [{"role": "user", "content": [{"type": "input_image"}]}], "input[0].content[0]"),
        ("input", [{"type": "item_reference", "id": "x"}], "input[0].id"),
        ("input", [{"type": "item_reference", "id": "msg_r_00"}], "input[0].id"),
        ("input", [{"type": "computer_call", "id": "x"}], "input[0].type"),
    ],
)
def test_what_a_response_cannot_be_is_refused_by_name(client, name, value, param):
    with pytest.raises(openai.BadRequestError) as told:
        client.responses.create(**{"model": "chat", "input": "Hello", name: value})
    assert told.value.param == param


# Embeddings


def test_vectors_are_numbers_or_base64_and_have_a_run(client, dialects):
    raw = client.embeddings.with_raw_response.create(model="vectors", input=["a", "b"])
    made = raw.parse()
    assert raw.headers["x-casemate-run"] == made.run
    assert [one.index for one in made.data] == [0, 1]
    assert (made.usage.prompt_tokens, made.usage.total_tokens) == (2, 2)
    plain = client.embeddings.create(model="vectors", input="a", encoding_format="float")
    assert plain.data[0].embedding == made.data[0].embedding
    coded = client.embeddings.create(model="vectors", input="a", encoding_format="base64")
    packed = base64.b64decode(coded.data[0].embedding)
    assert list(struct.unpack(f"<{len(packed) // 4}f", packed)) == plain.data[0].embedding
    assert dialects.upstream.asked[-1]["input"] == ["a"]


@pytest.mark.parametrize(
    ("model", "more", "param"),
    [
        ("documents", {}, "model"),
        ("vectors", {"dimensions": 4}, "dimensions"),
        ("vectors", {"input": [1, 2, 3]}, "input"),
    ],
)
def test_vectors_that_cannot_be_made_are_refused_by_name(client, model, more, param):
    with pytest.raises(openai.BadRequestError) as told:
        client.embeddings.create(**{"model": model, "input": "a", **more})
    assert told.value.param == param


# Files and vector stores


def test_a_file_comes_back_as_it_was_sent_and_only_to_its_owner(client, other):
    made = client.files.create(file=("notes.txt", b"\x00\xffnotes"), purpose="user_data")
    assert (made.bytes, made.filename, made.status) == (7, "notes.txt", "processed")
    assert made.id in [one.id for one in client.files.list(purpose="user_data")]
    assert client.files.content(made.id).read() == b"\x00\xffnotes"
    for act in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            act(made.id)
    assert made.id not in [one.id for one in other.files.list()]
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(made.id)


def test_a_vector_store_is_a_collection(client):
    sent = client.files.create(
        file=("dogs.md", b"# Dogs\n\nThe dog tax is 40 euros a year."), purpose="assistants"
    )
    store = client.vector_stores.create(name=f"dogs {time.time_ns()}")
    held = client.vector_stores.files.create_and_poll(sent.id, vector_store_id=store.id)
    assert (held.status, held.last_error) == ("completed", None)
    assert client.vector_stores.retrieve(store.id).file_counts.completed == 1
    (listed,) = client.vector_stores.files.list(store.id)
    assert listed.id == held.document
    (text,) = client.vector_stores.files.content(held.id, vector_store_id=store.id)
    assert "40 euros" in text.text
    (hit,) = client.vector_stores.search(store.id, query="dog tax")
    assert (hit.filename, hit.file_id) == ("dogs.md", held.document)
    assert "40 euros" in hit.content[0].text
    with pytest.raises(openai.ConflictError, match="Delete them first"):
        client.vector_stores.delete(store.id)
    assert client.vector_stores.files.delete(held.id, vector_store_id=store.id).deleted
    assert list(client.vector_stores.files.list(store.id)) == []
    assert client.vector_stores.delete(store.id).deleted
    for act in (client.vector_stores.retrieve, client.vector_stores.delete):
        with pytest.raises(openai.NotFoundError):
            act(store.id)


def test_files_are_added_to_a_vector_store_together(client, other):
    store = client.vector_stores.create(name="together")
    files = [("a.md", b"# A\n\nOne is 1."), ("b.md", b"# B\n\nTwo is 2."), ("c.exe", b"\x00\x01")]
    sent = [client.files.create(file=one, purpose="assistants").id for one in files]
    batches = client.vector_stores.file_batches
    batch = batches.create_and_poll(store.id, file_ids=sent)
    counts = batch.file_counts
    assert (batch.status, counts.completed, counts.failed, counts.total) == ("completed", 2, 1, 3)
    listed = {one.id: one for one in batches.list_files(batch.id, vector_store_id=store.id)}
    assert listed.keys() == set(sent)
    assert listed[sent[2]].status == "failed"
    (failed,) = batches.list_files(batch.id, vector_store_id=store.id, filter="failed")
    assert failed.last_error == listed[sent[2]].last_error
    assert failed.last_error.message
    hits = client.vector_stores.search(store.id, query="How much is two?")
    assert "Two is 2." in hits.data[0].content[0].text
    assert batches.cancel(batch.id, vector_store_id=store.id) == batch
    with pytest.raises(openai.NotFoundError):
        other.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    with pytest.raises(openai.NotFoundError):
        batches.create(store.id, file_ids=["file_none"])
    with pytest.raises(openai.BadRequestError) as told:
        batches.create(store.id)
    assert told.value.param == "file_ids"


def test_a_file_that_cannot_be_read_says_why(client):
    store = client.vector_stores.create(name=f"broken {time.time_ns()}")
    sent = client.files.create(file=("broken.pdf", b"%PDF-nothing"), purpose="assistants")
    held = client.vector_stores.files.create(store.id, file_id=sent.id)
    assert held.status == "failed"
    assert held.last_error.message


# Batches


def a_batch(client, *lines):
    rows = [
        {"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}
        for id, body in lines
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    sent = client.files.create(file=("lines.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=sent.id, endpoint="/v1/chat/completions", completion_window="24h"
    )


def ended(client, id):
    for _ in range(600):
        batch = client.batches.retrieve(id)
        if batch.status not in ("in_progress", "cancelling"):
            return batch
        time.sleep(0.05)
    raise AssertionError(batch)


def test_a_batch_is_answered_line_by_line(client, other):
    made = a_batch(
        client,
        ("one", {"model": "chat", "messages": QUESTION}),
        ("two", {"model": "none", "messages": QUESTION}),
        ("three", {"model": "documents", "messages": QUESTION}),
    )
    batch = ended(client, made.id)
    counts = batch.request_counts
    assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 3, 2, 1)
    rows = [json.loads(row) for row in client.files.content(batch.output_file_id).text.splitlines()]
    by_id = {row["custom_id"]: row["response"] for row in rows}
    assert by_id["one"]["body"]["choices"][0]["message"]["content"].startswith("You asked: What is")
    assert "12 euros" in by_id["three"]["body"]["choices"][0]["message"]["content"]
    (failed,) = client.files.content(batch.error_file_id).text.splitlines()
    assert json.loads(failed)["error"]["code"] == "model_not_found"
    assert made.id in [one.id for one in client.batches.list()]
    with pytest.raises(openai.NotFoundError):
        other.batches.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        other.files.content(batch.output_file_id)


def test_a_batch_that_makes_no_sense_is_a_bad_request(client):
    body = {"model": "chat", "messages": QUESTION}
    with pytest.raises(openai.BadRequestError, match="stands twice"):
        a_batch(client, ("one", body), ("one", body))
    sent = client.files.create(file=("x.jsonl", b"no json"), purpose="batch")
    with pytest.raises(openai.BadRequestError, match="Line 1"):
        client.batches.create(
            input_file_id=sent.id, endpoint="/v1/chat/completions", completion_window="24h"
        )


# What is not offered


@pytest.mark.parametrize(
    "act",
    [
        lambda client: client.images.generate(prompt="x"),
        lambda client: client.audio.speech.create(model="x", voice="x", input="x"),
        lambda client: client.moderations.create(input="x"),
        lambda client: client.fine_tuning.jobs.list(),
        lambda client: client.uploads.create(bytes=1, filename="x", mime_type="x", purpose="batch"),
    ],
)
def test_what_is_not_offered_says_what_to_use(client, act):
    with pytest.raises(openai.APIStatusError, match="not supported here") as told:
        act(client)
    assert (told.value.status_code, told.value.code) == (501, "unsupported")


def test_the_asynchronous_client_does_the_same(dialects):
    async def scene():
        async with openai.AsyncOpenAI(base_url=dialects.openai, api_key=dialects.key) as client:
            said = await client.responses.create(model="chat", input="Hello")
            async with client.responses.stream(model="chat", input="Hello") as stream:
                kinds = [event.type async for event in stream]
            made = await client.embeddings.create(model="vectors", input="a")
            file = await client.files.create(file=("a.txt", b"a"), purpose="user_data")
            listed = [one.id async for one in client.files.list()]
            return said, kinds, made, file.id in listed

    said, kinds, made, found = asyncio.run(scene())
    assert said.output_text.startswith("You asked")
    assert kinds[-1] == "response.completed"
    assert len(made.data[0].embedding) == 8
    assert found
