"""Mistral's own Python package, unchanged, against everything else that ``/mistral/v1`` offers."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time

import pytest
from mistralai.client import Mistral, errors, models
from reportlab.pdfgen.canvas import Canvas

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def client(dialects):
    with Mistral(server_url=dialects.mistral, api_key=dialects.key) as client:
        yield client


@pytest.fixture
def other(dialects):
    """Somebody else."""
    with Mistral(server_url=dialects.mistral, api_key=dialects.others_key) as client:
        yield client


def text_of(content):
    if isinstance(content, str):
        return content
    return "".join(chunk.text for chunk in content if isinstance(chunk, models.TextChunk))


# Chats with tools


def test_a_tool_is_called_and_its_result_is_read(client):
    first = client.chat.complete(model="chat", messages=HELLO, tools=[WEATHER], tool_choice="any")
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert json.loads(call.function.arguments) == {"town": "Esch"}
    second = client.chat.complete(
        model="chat",
        messages=[
            *HELLO,
            choice.message,
            {"role": "tool", "tool_call_id": call.id, "name": "weather", "content": "sunny"},
        ],
        tools=[WEATHER],
    )
    assert text_of(second.choices[0].message.content) == "The tool says: sunny."


def test_a_tool_is_called_in_a_stream(client):
    with client.chat.stream(model="chat", messages=HELLO, tools=[WEATHER]) as stream:
        deltas = [event.data.choices[0] for event in stream]
    (call,) = [one for choice in deltas for one in choice.delta.tool_calls or ()]
    assert call.function.name == "weather"
    assert deltas[-1].finish_reason == "tool_calls"


def test_a_schema_and_a_stop_are_followed(client):
    schema = {"type": "object", "properties": {"town": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "town", "schema": schema}}
    said = client.chat.complete(model="chat", messages=HELLO, response_format=wanted)
    assert json.loads(text_of(said.choices[0].message.content)) == {"town": "Fictionalville"}
    said = client.chat.complete(model="chat", messages=HELLO, stop=" Two")
    assert text_of(said.choices[0].message.content) == "You asked: Hello One."


def test_an_alias_is_listed_with_its_model(client):
    cards = {card.id: card for card in client.models.list().data}
    assert cards["chat"].aliases == ["gpt-4o", "mistral-small-latest", "code"]
    assert cards["mistral-small-latest"].capabilities.function_calling


# Embeddings


def test_vectors_are_made_of_texts(client):
    made = client.embeddings.create(model="vectors", inputs=["a", "b"])
    assert [(one.index, len(one.embedding)) for one in made.data] == [(0, 8), (1, 8)]
    with pytest.raises(errors.HTTPValidationError) as told:
        client.embeddings.create(model="vectors", inputs="a", output_dimension=4)
    assert "output_dimension" in told.value.body
    with pytest.raises(errors.HTTPValidationError):
        client.embeddings.create(model="documents", inputs="a")


# Agents


def test_an_agent_is_made_asked_changed_and_erased(client, other, dialects):
    made = client.beta.agents.create(
        model="chat",
        name="Clerk",
        instructions="Be brief.",
        completion_args={"stop": "Two", "temperature": 0.1},
        tools=[],
    )
    assert (made.name, made.version) == ("Clerk", 0)
    said = client.agents.complete(agent_id=made.id, messages=HELLO)
    assert text_of(said.choices[0].message.content) == "You asked: Hello One. "
    asked = dialects.upstream.asked[-1]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert asked["temperature"] == 0.1
    with client.agents.stream(agent_id=made.id, messages=HELLO) as stream:
        told = "".join(text_of(event.data.choices[0].delta.content or "") for event in stream)
    assert told == "You asked: Hello One. "
    changed = client.beta.agents.update(agent_id=made.id, instructions="Be long.")
    assert (changed.instructions, changed.version, changed.name) == ("Be long.", 1, "Clerk")
    assert made.id in [one.id for one in client.beta.agents.list()]
    for act in (other.beta.agents.get, other.beta.agents.delete):
        with pytest.raises(errors.SDKError) as refused:
            act(agent_id=made.id)
        assert refused.value.status_code == 404
    client.beta.agents.delete(agent_id=made.id)
    with pytest.raises(errors.SDKError):
        client.beta.agents.get(agent_id=made.id)


# Conversations


def test_a_conversation_is_gone_on_with_and_read_back(client, other, dialects):
    first = client.beta.conversations.start(
        model="chat", inputs="Hello", instructions="Be brief.", name="A talk"
    )
    (output,) = first.outputs
    assert isinstance(output, models.MessageOutputEntry)
    assert isinstance(output.content[0], models.ThinkChunk)
    assert text_of(output.content) == "You asked: Hello One. Two. Three."
    assert first.usage.completion_tokens == 6
    id = first.conversation_id
    client.beta.conversations.append(conversation_id=id, inputs="More?")
    assert [one["content"] for one in dialects.upstream.asked[-1]["messages"]] == [
        "Be brief.",
        "Hello",
        "You asked: Hello One. Two. Three.",
        "More?",
    ]
    told = client.beta.conversations.get_history(conversation_id=id)
    assert [entry.type for entry in told.entries] == ["message.input", "message.output"] * 2
    messages = client.beta.conversations.get_messages(conversation_id=id).messages
    assert [text_of(one.content) for one in messages][2] == "More?"
    found = client.beta.conversations.get(conversation_id=id)
    assert (found.name, found.model, found.instructions) == ("A talk", "chat", "Be brief.")
    assert id in [one.id for one in client.beta.conversations.list()]
    for act in (
        other.beta.conversations.get,
        other.beta.conversations.get_history,
        other.beta.conversations.delete,
    ):
        with pytest.raises(errors.SDKError) as refused:
            act(conversation_id=id)
        assert refused.value.status_code == 404
    client.beta.conversations.delete(conversation_id=id)
    with pytest.raises(errors.SDKError):
        client.beta.conversations.get(conversation_id=id)


def test_a_conversation_begins_again_from_an_entry(client, dialects):
    first = client.beta.conversations.start(model="chat", inputs="Hello")
    client.beta.conversations.append(conversation_id=first.conversation_id, inputs="More?")
    entry = client.beta.conversations.get_history(conversation_id=first.conversation_id).entries[1]
    again = client.beta.conversations.restart(
        conversation_id=first.conversation_id, from_entry_id=entry.id, inputs="Else?"
    )
    assert again.conversation_id != first.conversation_id
    assert [one["content"] for one in dialects.upstream.asked[-1]["messages"]] == [
        "Hello",
        "You asked: Hello One. Two. Three.",
        "Else?",
    ]
    told = client.beta.conversations.get_history(conversation_id=again.conversation_id)
    assert [entry.type for entry in told.entries] == ["message.input"] * 3 + ["message.output"]


def test_the_events_of_a_conversation_are_typed(client):
    with client.beta.conversations.start_stream(model="write", inputs="What is the fee?") as told:
        events = [event.data for event in told]
    assert isinstance(events[0], models.ResponseStartedEvent)
    assert isinstance(events[-1], models.ResponseDoneEvent)
    assert all(isinstance(one, models.MessageOutputEvent) for one in events[1:-1])
    id = events[0].conversation_id
    with client.beta.conversations.append_stream(conversation_id=id, inputs="And?") as told:
        assert [event.event for event in told][-1] == "conversation.response.done"


def test_citations_in_a_conversation_are_references_to_documents(client):
    said = client.beta.conversations.start(model="documents", inputs="What is the fee?")
    (output,) = said.outputs
    references = [one for one in output.content if isinstance(one, models.ToolReferenceChunk)]
    assert references
    assert references[0].title == "fees.md"
    assert "12 euros" in references[0].description
    # What came back is sent back as it is.
    again = client.beta.conversations.start(
        model="documents",
        inputs=[
            {"type": "message.input", "role": "user", "content": "Hello"},
            output,
            {"type": "message.input", "role": "user", "content": "What is the fee?"},
        ],
    )
    assert again.outputs


def test_a_function_is_called_in_a_conversation(client):
    first = client.beta.conversations.start(model="chat", inputs="Weather?", tools=[WEATHER])
    (call,) = first.outputs
    assert isinstance(call, models.FunctionCallEntry)
    second = client.beta.conversations.append(
        conversation_id=first.conversation_id,
        inputs=[{"type": "function.result", "tool_call_id": call.tool_call_id, "result": "sunny"}],
    )
    assert text_of(second.outputs[0].content) == "The tool says: sunny."


def test_an_agent_talks(client):
    made = client.beta.agents.create(model="chat", name="Clerk", instructions="Be brief.")
    said = client.beta.conversations.start(agent_id=made.id, inputs="Hello")
    assert said.outputs[0].agent_id == made.id
    found = client.beta.conversations.get(conversation_id=said.conversation_id)
    assert isinstance(found, models.AgentConversation)


def test_a_conversation_that_is_refused_leaves_nothing(client):
    before = len(client.beta.conversations.list())
    with pytest.raises(errors.HTTPValidationError):
        client.beta.conversations.start(model="documents", inputs="x", tools=[WEATHER])
    with pytest.raises(errors.HTTPValidationError):
        client.beta.conversations.start(model="chat", inputs="x", tools=[{"type": "web_search"}])
    assert len(client.beta.conversations.list()) == before


# Responses


def test_a_response_is_created(client):
    said = (
        client.beta.responses.create(model="chat", input="Hello")
        if hasattr(client.beta, "responses")
        else client.responses.create(model="chat", input="Hello")
    )
    assert said.id.startswith("resp_")
    assert said.output[-1].content[0].text == "You asked: Hello One. Two. Three."


# Files and reading


def a_pdf(*pages):
    buffer = io.BytesIO()
    canvas = Canvas(buffer)
    for words in pages:
        canvas.drawString(72, 720, words)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def test_a_file_is_kept_for_its_owner(client, other):
    made = client.files.upload(
        file={"file_name": "a.pdf", "content": a_pdf("Hello")}, purpose="ocr"
    )
    assert (made.purpose, made.source, made.sample_type) == ("ocr", "upload", "instruct")
    assert client.files.retrieve(file_id=made.id).deleted is False
    assert client.files.download(file_id=made.id).read().startswith(b"%PDF")
    assert made.id in [one.id for one in client.files.list(purpose="ocr").data]
    with pytest.raises(errors.SDKError):
        other.files.retrieve(file_id=made.id)
    assert client.files.delete(file_id=made.id).deleted


def test_a_document_that_was_born_digital_is_read_page_by_page(client):
    pdf = a_pdf("The fee is 12 euros.", "Children pay nothing.", "The end.")
    address = "data:application/pdf;base64," + base64.b64encode(pdf).decode()
    read = client.ocr.process(
        model="mistral-ocr-latest",
        document={"type": "document_url", "document_url": address},
        pages=[0, 1],
    )
    assert [page.index for page in read.pages] == [0, 1]
    assert read.pages[1].markdown == "Children pay nothing."
    assert read.usage_info.pages_processed == 2
    sent = client.files.upload(file={"file_name": "a.pdf", "content": pdf}, purpose="ocr")
    again = client.ocr.process(
        model="mistral-ocr-latest", document={"type": "file", "file_id": sent.id}
    )
    assert len(again.pages) == 3


@pytest.mark.parametrize(
    "document",
    [
        {"type": "document_url", "document_url": "https://example.org/a.pdf"},
        {"type": "document_url", "document_url": "data:application/pdf;base64,???"},
        {"type": "image_url", "image_url": "data:image/png;base64,AAAA"},
    ],
)
def test_what_cannot_be_read_is_refused(client, document):
    with pytest.raises(errors.HTTPValidationError):
        client.ocr.process(model="x", document=document)


# Batches


def ended(client, id):
    for _ in range(600):
        job = client.batch.jobs.get(job_id=id, inline=True)
        if job.status not in ("QUEUED", "RUNNING", "CANCELLATION_REQUESTED"):
            return job
        time.sleep(0.05)
    raise AssertionError(job)


def test_a_job_is_answered_line_by_line(client, other):
    made = client.batch.jobs.create(
        endpoint="/v1/chat/completions",
        model="chat",
        requests=[
            {"custom_id": "one", "body": {"messages": HELLO}},
            {"custom_id": "two", "body": {"messages": []}},
        ],
        metadata={"case": "7"},
    )
    job = ended(client, made.id)
    assert (job.status, job.succeeded_requests, job.failed_requests) == ("SUCCESS", 1, 1)
    (row,) = job.outputs
    assert row["custom_id"] == "one"
    message = row["response"]["body"]["choices"][0]["message"]
    assert message["content"][-1]["text"] == "You asked: Hello One. Two. Three."
    (failed,) = client.files.download(file_id=job.error_file).read().splitlines()
    assert json.loads(failed)["response"]["status_code"] == 422
    assert made.id in [one.id for one in client.batch.jobs.list().data]
    with pytest.raises(errors.SDKError):
        other.batch.jobs.get(job_id=made.id)
    assert client.batch.jobs.delete(job_id=made.id).deleted


def test_a_job_over_a_file_with_an_agent(client):
    agent = client.beta.agents.create(model="chat", name="Clerk", completion_args={"stop": "One"})
    line = json.dumps({"custom_id": "1", "body": {"messages": HELLO}}).encode()
    sent = client.files.upload(file={"file_name": "l.jsonl", "content": line}, purpose="batch")
    made = client.batch.jobs.create(
        endpoint="/v1/chat/completions", input_files=[sent.id], agent_id=agent.id
    )
    (row,) = ended(client, made.id).outputs
    assert text_of_json(row) == "You asked: Hello "


def text_of_json(row):
    content = row["response"]["body"]["choices"][0]["message"]["content"]
    return "".join(chunk["text"] for chunk in content if chunk["type"] == "text")


def test_a_gap_is_filled_in_whole_and_as_a_stream(client, dialects):
    gap = {"model": "chat", "prompt": "def add(a, b):\n", "suffix": "return total"}
    said = client.fim.complete(**gap, stop="u")
    assert text_of(said.choices[0].message.content) == "<b):\n|ret"
    asked = dialects.upstream.asked[-1]
    assert (asked["prompt"], asked["suffix"]) == (gap["prompt"], gap["suffix"])
    with client.fim.stream(**gap) as stream:
        chunks = [event.data for event in stream]
    told = [chunk.choices[0].delta.content for chunk in chunks]
    assert "".join(one for one in told if isinstance(one, str)) == "<b):\n|retu>"
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (9, 11)
    cards = {card.id: card.capabilities.completion_fim for card in client.models.list().data}
    assert (cards["chat"], cards["write"], cards["documents"]) == (True, False, False)


@pytest.mark.parametrize("model", ["documents", "write"])
def test_a_gap_that_nothing_can_fill_in_says_what_can(client, model):
    with pytest.raises(errors.SDKError) as told:
        client.fim.complete(model=model, prompt="a", suffix="b")
    assert told.value.status_code == 501
    assert "Choose" in json.loads(told.value.body)["next"]


def test_the_asynchronous_client_does_the_same(dialects):
    async def scene():
        async with Mistral(server_url=dialects.mistral, api_key=dialects.key) as client:
            said = await client.beta.conversations.start_async(model="chat", inputs="Hello")
            stream = await client.beta.conversations.append_stream_async(
                conversation_id=said.conversation_id, inputs="More?"
            )
            kinds = [event.event async for event in stream]
            made = await client.embeddings.create_async(model="vectors", inputs="a")
            return said, kinds, made

    said, kinds, made = asyncio.run(scene())
    assert said.outputs
    assert kinds[0] == "conversation.response.started"
    assert kinds[-1] == "conversation.response.done"
    assert len(made.data) == 1
