"""The comforts of OpenAI's package: typed answers, streams that add up, pages, polling, raw."""

from __future__ import annotations

import asyncio
import json
import time

import httpx2
import openai
import pytest
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "Hello"}]
ANSWER = "You asked: Hello One. Two. Three."


class Town(BaseModel):
    town: str


class Weather(BaseModel):
    """The weather of a town."""

    town: str


TOOLS = [openai.pydantic_function_tool(Weather), openai.pydantic_function_tool(Town)]
FUNCTIONS = [{"type": "function", **tool["function"]} for tool in TOOLS]


@pytest.fixture
def client(dialects):
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.key, max_retries=0) as client:
        yield client


def streamed(client, **more):
    """The kinds of events, and what they add up to."""
    with client.chat.completions.stream(model="chat", messages=HELLO, **more) as stream:
        kinds = [event.type for event in stream]
        return kinds, stream.get_final_completion()


def test_a_typed_answer_is_read_from_a_stream(client):
    kinds, whole = streamed(client, response_format=Town, stream_options={"include_usage": True})
    assert "content.done" in kinds
    assert whole.choices[0].message.parsed == Town(town="Fictionalville")
    assert whole.usage.completion_tokens == 5


def test_calls_of_several_tools_are_typed_whole_and_in_a_stream(client):
    parsed = client.chat.completions.parse(model="chat", messages=HELLO, tools=TOOLS)
    kinds, whole = streamed(client, tools=TOOLS)
    assert kinds.count("tool_calls.function.arguments.done") == 2
    for said in (parsed, whole):
        calls = said.choices[0].message.tool_calls
        assert [call.function.parsed_arguments for call in calls] == [
            Weather(town="Esch"),
            Town(town="Esch"),
        ]
        assert len({call.id for call in calls}) == 2


def test_every_result_of_several_calls_is_read(client, dialects):
    first = client.chat.completions.create(model="chat", messages=HELLO, tools=TOOLS)
    message = first.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} ☀"}
        for call in message.tool_calls
    ]
    said = client.chat.completions.create(
        model="chat", messages=[*HELLO, message, *results], tools=TOOLS
    )
    assert said.choices[0].message.content == "The tool says: Town ☀."
    sent = dialects.upstream.asked[-1]["messages"][-2:]
    assert [one["content"] for one in sent] == ["Weather ☀", "Town ☀"]


def test_choices_and_probabilities_add_up_in_streams(client):
    kinds, whole = streamed(client, n=3, seed=1)
    assert [choice.message.content for choice in whole.choices] == [ANSWER] * 3
    kinds, whole = streamed(client, logprobs=True, top_logprobs=1)
    assert "logprobs.content.delta" in kinds
    assert "".join(one.token for one in whole.choices[0].logprobs.content) == ANSWER


def test_a_response_calls_several_tools_and_goes_on_with_their_results(client):
    with client.responses.stream(model="chat", input="Hello", tools=FUNCTIONS) as stream:
        for _ in stream:
            pass
        first = stream.get_final_response()
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["Weather", "Town"]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": call.name}
        for call in calls
    ]
    for more in (
        {"previous_response_id": first.id, "input": results},
        {"store": False, "input": [*HELLO, *first.output, *results]},
    ):
        said = client.responses.create(model="chat", tools=FUNCTIONS, **more)
        assert said.output_text == "The tool says: Town."


def test_items_that_were_kept_are_named_instead_of_being_sent_again(client, dialects):
    first = client.responses.create(model="chat", input="Hello", tools=FUNCTIONS)
    results = [
        {"type": "function_call_output", "call_id": item.call_id, "output": item.name}
        for item in first.output
        if item.type == "function_call"
    ]
    named = [{"type": "item_reference", "id": item.id} for item in first.output]
    second = client.responses.create(
        model="chat", input=[*HELLO, *named, *results], tools=FUNCTIONS
    )
    assert second.output_text == "The tool says: Town."
    named = [{"type": "item_reference", "id": item.id} for item in second.output]
    client.responses.create(
        model="chat", input=[*HELLO, *named, {"role": "user", "content": "More?"}]
    )
    assert [one["content"] for one in dialects.upstream.asked[-1]["messages"]] == [
        "Hello",
        "The tool says: Town.",
        "More?",
    ]
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.others_key) as other:
        with pytest.raises(openai.BadRequestError) as told:
            other.responses.create(model="chat", input=[*HELLO, *named])
        assert told.value.param == "input[1].id"


def test_what_agents_ask_of_responses_does_no_harm(client):
    said = client.responses.create(
        model="chat",
        input=[{"role": "developer", "content": "Be brief."}, *HELLO],
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content"],
        text={"verbosity": "low"},
        truncation="auto",
        service_tier="auto",
        prompt_cache_key="k",
        safety_identifier="s",
        store=False,
    )
    assert said.output_text == ANSWER


def test_a_typed_response_is_read_from_a_stream(client):
    with client.responses.stream(model="chat", input="Hello", text_format=Town) as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_parsed == Town(town="Fictionalville")


def test_a_run_is_the_id_of_its_request_also_where_it_is_refused(client):
    raw = client.chat.completions.with_raw_response.create(model="chat", messages=HELLO)
    said = raw.parse()
    assert raw.headers["x-casemate-run"] == raw.request_id == said._request_id
    with client.chat.completions.with_streaming_response.create(
        model="chat", messages=HELLO, stream=True
    ) as response:
        assert response.request_id.startswith("r_")
        lines = list(response.iter_lines())
    assert lines[-2:] == ["data: [DONE]", ""]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/chat/completions", {"messages": HELLO}, "model"),
        ("/chat/completions", {"model": "chat"}, "messages"),
        ("/chat/completions", {"model": "chat", "messages": [{}]}, "messages[0].role"),
        ("/responses", {"model": "chat"}, "input"),
        ("/embeddings", {"model": "vectors"}, "input"),
        ("/vector_stores", {}, "name"),
    ],
)
def test_what_is_missing_is_named(dialects, path, body, param):
    headers = {"Authorization": f"Bearer {dialects.key}"}
    refused = httpx2.post(dialects.openai + path, json=body, headers=headers)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param
    assert "is missing" in refused.json()["error"]["message"]


def test_texts_of_every_script_come_back_as_they_were(client, dialects):
    text = "Lëtzebuerg 中文 עברית 😀👩‍👩‍👧 \u0000 \u2028 </s> [INST] \U0010ffff"
    said = client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": text}], stream=True
    )
    answer = "".join(chunk.choices[0].delta.content or "" for chunk in said)
    assert answer == f"You asked: {text} One. Two. Three."
    assert dialects.upstream.asked[-1]["messages"][-1]["content"] == text


def test_an_empty_message_beside_others_does_no_harm(client, dialects):
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        *HELLO,
    ]
    said = client.chat.completions.create(model="chat", messages=messages)
    assert said.choices[0].message.content == ANSWER


def test_lists_are_read_page_by_page(client):
    made = [
        client.files.create(file=(f"{n} Übersicht 😀.txt", b"x"), purpose="user_data").id
        for n in range(3)
    ]
    listed = [one.id for one in client.files.list(limit=1, purpose="user_data")]
    assert len(listed) == len(set(listed))
    assert listed[:3] == made[::-1]
    upwards = [one.id for one in client.files.list(limit=2, order="asc", purpose="user_data")]
    assert upwards == listed[::-1]
    assert client.files.list(after=made[1], limit=1).data[0].id == made[0]
    assert client.files.retrieve(made[0]).filename == "0 Übersicht 😀.txt"


def test_files_are_uploaded_waited_for_and_written(client, tmp_path):
    content = b"# Lamps\n\nA lamp costs 77 euros.\n" + b"x" * 3_000_000  # more than a JSON body
    kept = client.files.create(file=("lamps.md", content), purpose="assistants")
    assert client.files.wait_for_processing(kept.id).status == "processed"
    client.files.content(kept.id).write_to_file(tmp_path / "again.md")
    assert (tmp_path / "again.md").read_bytes() == content
    store = client.vector_stores.create(name=f"lamps {time.time_ns()}")
    stores, files = client.vector_stores, client.vector_stores.files
    one = files.upload_and_poll(vector_store_id=store.id, file=("a.md", b"# A\n\nAn owl is 1."))
    many = stores.file_batches.upload_and_poll(
        store.id, files=[("b.md", b"# B\n\nA cow is 2."), ("c.md", b"# C\n\nA dog is 3.")]
    )
    assert (one.status, many.status, many.file_counts.completed) == ("completed", "completed", 2)
    listed = [one.id for one in files.list(store.id, limit=1)]
    assert len(set(listed)) == 3


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/chat/completions", {"model": "chat", "messages": HELLO}),
        ("/v1/completions", {"model": "chat", "prompt": "Hello"}),
        ("/v1/responses", {"model": "chat", "input": "Hello"}),
        ("/v1/embeddings", {"model": "vectors", "input": "Hello"}),
    ],
)
def test_batches_of_every_kind_come_to_their_end(client, endpoint, body):
    row = {"custom_id": "one", "method": "POST", "url": endpoint, "body": body}
    sent = client.files.create(file=("b.jsonl", json.dumps(row).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=sent.id, endpoint=endpoint, completion_window="24h", metadata={"of": "7"}
    )
    while batch.status in ("validating", "in_progress", "finalizing"):
        batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.metadata) == ("completed", {"of": "7"})
    told = json.loads(client.files.content(batch.output_file_id).text)
    assert (told["custom_id"], told["response"]["status_code"]) == ("one", 200)
    assert told["response"]["body"]["usage"]["total_tokens"] > 0
    assert batch.id in [one.id for one in client.batches.list(limit=1)]


def test_the_asynchronous_client_streams_calls_parses_and_keeps_files(dialects):
    async def scene():
        async with openai.AsyncOpenAI(base_url=dialects.openai, api_key=dialects.key) as client:
            chats = client.chat.completions
            many = await asyncio.gather(
                *(chats.create(model="chat", messages=HELLO) for _ in range(8))
            )
            async with chats.stream(model="chat", messages=HELLO, tools=TOOLS) as stream:
                called = await stream.get_final_completion()
            parsed = await chats.parse(model="chat", messages=HELLO, response_format=Town)
            stream = await client.completions.create(model="chat", prompt="A", stream=True)
            continued = "".join([chunk.choices[0].text async for chunk in stream])
            background = await client.responses.create(model="chat", input="Hello", background=True)
            events = await client.responses.retrieve(background.id, stream=True)
            kinds = [event.type async for event in events]
            store = await client.vector_stores.create(name=f"later {time.time_ns()}")
            held = await client.vector_stores.files.upload_and_poll(
                vector_store_id=store.id, file=("a.md", b"# A\n\nAn owl is 1.")
            )
            models = [model.id async for model in client.models.list()]
            return many, called, parsed, continued, kinds, held, models

    many, called, parsed, continued, kinds, held, models = asyncio.run(scene())
    assert {one.choices[0].message.content for one in many} == {ANSWER}
    assert len(called.choices[0].message.tool_calls) == 2
    assert parsed.choices[0].message.parsed == Town(town="Fictionalville")
    assert continued == "You asked: A One. Two. Three."
    assert kinds[-1] == "response.completed"
    assert held.status == "completed"
    assert "chat" in models
