"""The comforts of Mistral's package: typed answers, pages, narrowed lists, asynchronous calls."""

from __future__ import annotations

import asyncio
import io
import time
from datetime import UTC, datetime, timedelta

import pytest
from mistralai.client import Mistral, errors, models
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "Hello"}]
ANSWER = "You asked: Hello One. Two. Three."
TOWN = {"type": "object", "properties": {"town": {"type": "string"}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": TOWN}}
    for name in ("weather", "population")
]


class Town(BaseModel):
    town: str


@pytest.fixture
def client(dialects):
    with Mistral(server_url=dialects.mistral, api_key=dialects.key) as client:
        yield client


def text_of(content):
    if isinstance(content, str):
        return content
    return "".join(chunk.text for chunk in content if isinstance(chunk, models.TextChunk))


def test_a_typed_answer_is_parsed_whole_and_in_a_stream(client):
    said = client.chat.parse(model="chat", messages=HELLO, response_format=Town)
    assert said.choices[0].message.parsed == Town(town="Fictionalville")
    with client.chat.parse_stream(model="chat", messages=HELLO, response_format=Town) as stream:
        text = "".join(text_of(event.data.choices[0].delta.content) for event in stream)
    assert Town.model_validate_json(text) == Town(town="Fictionalville")


def test_several_tools_are_called_at_once_unless_it_is_forbidden(client):
    agent = client.beta.agents.create(model="chat", name="Clerk", tools=TOOLS)
    for ask in (
        lambda **more: client.chat.complete(model="chat", messages=HELLO, tools=TOOLS, **more),
        lambda **more: client.agents.complete(agent_id=agent.id, messages=HELLO, **more),
    ):
        for more, names in (
            ({}, ["weather", "population"]),
            ({"parallel_tool_calls": False}, ["weather"]),
        ):
            calls = ask(**more).choices[0].message.tool_calls
            assert [call.function.name for call in calls] == names
    with client.beta.conversations.start_stream(agent_id=agent.id, inputs="Hello") as stream:
        calls = [one.data for one in stream if one.event == "function.call.delta"]
    assert [call.name for call in calls] == ["weather", "population"]
    assert len({call.tool_call_id for call in calls}) == 2


def test_without_effort_no_thinking_is_told_and_a_content_is_plain(client):
    none = {"reasoning_effort": "none"}
    said = client.chat.complete(model="chat", messages=HELLO, **none)
    assert said.choices[0].message.content == ANSWER
    assert said.usage.completion_tokens == 6  # it thought all the same, and that is counted
    with client.chat.stream(model="chat", messages=HELLO, **none) as stream:
        contents = [event.data.choices[0].delta.content for event in stream]
    assert all(isinstance(one, str) for one in contents)
    assert "".join(contents) == ANSWER
    agent = client.beta.agents.create(model="chat", name="Clerk", completion_args=none)
    told = client.agents.complete(agent_id=agent.id, messages=HELLO)
    assert told.choices[0].message.content == ANSWER
    talk = client.beta.conversations.start(agent_id=agent.id, inputs="Hello")
    assert talk.outputs[0].content == ANSWER
    history = client.beta.conversations.get_history(conversation_id=talk.conversation_id)
    assert history.entries[-1].content == ANSWER
    with client.beta.conversations.append_stream(
        conversation_id=talk.conversation_id, inputs="Hello"
    ) as stream:
        parts = [one.data.content for one in stream if one.event == "message.output.delta"]
    assert "".join(parts) == ANSWER
    high = client.chat.complete(model="chat", messages=HELLO, reasoning_effort="high")
    assert isinstance(high.choices[0].message.content[0], models.ThinkChunk)


def test_agents_come_in_pages_and_narrowed(client):
    mark = f"n{time.time_ns()}"
    made = [
        client.beta.agents.create(
            model="chat", name=f"{mark} {n}", metadata={"of": mark, "n": n}
        ).id
        for n in range(3)
    ]
    found, page = [], client.beta.agents.list_pages(search=mark, page_size=2)
    while page is not None:
        found += [one.id for one in page.result.data]
        page = page.next()
    assert sorted(found) == sorted(made)
    by = client.beta.agents.list_pages
    assert [one.id for one in by(metadata={"of": mark, "n": 1}).result.data] == [made[1]]
    assert [one.id for one in by(name=f"{mark} 2").result.data] == [made[2]]
    assert [one.id for one in by(id=made[0]).result.data] == [made[0]]
    assert not by(search=mark, deployment_chat=True).result.data
    assert not by(search=mark, sources=["playground"]).result.data


def test_a_version_of_an_agent_that_is_not_kept_is_not_there(client):
    made = client.beta.agents.create(model="chat", name="Clerk")
    client.beta.agents.update(agent_id=made.id, instructions="Be long.")
    assert client.beta.agents.get(agent_id=made.id, agent_version="1").version == 1
    with pytest.raises(errors.SDKError) as told:
        client.beta.agents.get(agent_id=made.id, agent_version="0")
    assert told.value.status_code == 404


def test_conversations_and_jobs_are_narrowed(client):
    mark = f"n{time.time_ns()}"
    talk = client.beta.conversations.start(model="chat", inputs="Hello", metadata={"of": mark})
    found = client.beta.conversations.list(metadata={"of": mark})
    assert [one.id for one in found] == [talk.conversation_id]
    jobs = [
        client.batch.jobs.create(
            endpoint="/v1/chat/completions",
            model="chat",
            requests=[{"custom_id": "1", "body": {"messages": HELLO}}],
            metadata={"of": mark, "n": str(n)},
        ).id
        for n in range(2)
    ]
    by = client.batch.jobs.list
    assert [one.id for one in by(metadata={"of": mark}, order_by="created").data] == jobs
    assert [one.id for one in by(metadata={"of": mark, "n": "1"}).data] == jobs[1:]
    past, future = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    assert len(by(metadata={"of": mark}, created_after=past).data) == 2
    assert not by(created_after=future).data
    assert not by(metadata={"of": mark}, model="write").data


def test_a_list_is_not_narrowed_by_what_is_not_known(client):
    with pytest.raises(errors.SDKError, match="mimetypes") as told:
        client.files.list(mimetypes=["text/plain"])
    assert told.value.status_code == 422


def test_vectors_that_the_package_cannot_read_are_refused(client):
    with pytest.raises(errors.HTTPValidationError) as told:
        client.embeddings.create(model="vectors", inputs="a", encoding_format="base64")
    assert told.value.data.detail[0].loc == ["body", "encoding_format"]
    assert client.embeddings.create(model="vectors", inputs="a", encoding_format="float").data


def test_the_asynchronous_client_does_the_same(dialects):
    async def scene():
        async with Mistral(server_url=dialects.mistral, api_key=dialects.key) as client:
            many = await asyncio.gather(
                *(client.chat.complete_async(model="chat", messages=HELLO) for _ in range(8))
            )
            talks = client.beta.conversations
            agent = await client.beta.agents.create_async(model="chat", name="Clerk")
            talk = await talks.start_async(agent_id=agent.id, inputs="Hello")
            stream = await talks.append_stream_async(
                conversation_id=talk.conversation_id, inputs="More"
            )
            async with stream:
                kinds = [event.event async for event in stream]
            history = await talks.get_history_async(conversation_id=talk.conversation_id)
            again = await talks.restart_async(
                conversation_id=talk.conversation_id,
                from_entry_id=history.entries[0].id,
                inputs="Else",
            )
            stream = await client.agents.stream_async(agent_id=agent.id, messages=HELLO)
            async with stream:
                said = [event.data.choices[0].delta.content async for event in stream]
            filled = await client.fim.complete_async(model="chat", prompt="1 + ", suffix=" = 3")
            vectors = await client.embeddings.create_async(model="vectors", inputs=["a", "b"])
            file = await client.files.upload_async(
                file={"file_name": "ä.txt", "content": io.BytesIO(b"x" * 3_000_000)}, purpose="ocr"
            )
            stream = await client.files.download_async(file_id=file.id)
            length = len(await stream.aread())
            library = await client.beta.libraries.create_async(name=f"later {time.time_ns()}")
            document = await client.beta.libraries.documents.upload_async(
                library_id=library.id, file={"file_name": "a.md", "content": b"# A\n\nAn owl is 1."}
            )
            listed = await client.beta.libraries.documents.list_async(library_id=library.id)
            return (many, kinds, history, again, said, filled, vectors, file, length,
                    document.id in [one.id for one in listed.data])  # fmt: skip

    many, kinds, history, again, said, filled, vectors, file, length, found = asyncio.run(scene())
    assert {text_of(one.choices[0].message.content) for one in many} == {ANSWER}
    assert kinds[-1] == "conversation.response.done"
    assert len(history.entries) == 4
    assert text_of(again.outputs[0].content) == "You asked: Else One. Two. Three."
    assert "".join(text_of(one) for one in said if one) == ANSWER
    assert filled.choices[0].message.content == "<1 + | = 3>"
    assert len(vectors.data) == 2
    assert (file.filename, length) == ("ä.txt", 3_000_000)
    assert found
