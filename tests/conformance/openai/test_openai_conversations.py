"""Conversations that are kept here, and the responses that are part of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import openai
import pytest

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture
def client(dialects):
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.key, max_retries=0) as client:
        yield client


@pytest.fixture
def other(dialects):
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.others_key) as client:
        yield client


def asked_of(dialects):
    return [(one["role"], one["content"]) for one in dialects.upstream.asked[-1]["messages"]]


def kept_notes(dialects, conversation):
    query = "SELECT count(*) FROM kept WHERE kind = 'noted' AND parent = ?"
    with closing(sqlite3.connect(dialects.folder / "casemate.sqlite")) as database:
        return database.execute(query, [conversation]).fetchone()[0]


def test_a_response_is_asked_after_all_that_was_said_and_becomes_part_of_it(client, dialects):
    talk = client.conversations.create(
        items=[
            {"type": "message", "role": "user", "content": "Hello"},
            {"type": "message", "role": "assistant", "content": "Hi"},
        ],
        metadata={"about": "greetings"},
    )
    assert talk.metadata == {"about": "greetings"}
    first = client.responses.create(model="chat", input="How are you?", conversation=talk.id)
    assert first.conversation.id == talk.id
    assert asked_of(dialects) == [
        ("user", "Hello"),
        ("assistant", "Hi"),
        ("user", "How are you?"),
    ]
    with client.responses.create(
        model="chat", input="And now?", conversation={"id": talk.id}, stream=True
    ) as events:
        *_, last = events
    assert asked_of(dialects)[3:] == [("assistant", first.output_text), ("user", "And now?")]
    items = list(client.conversations.items.list(talk.id, order="asc", limit=2))
    said = ["Hello", "Hi", "How are you?", first.output_text, "And now?", last.response.output_text]
    assert [one.content[0].text for one in items if one.type == "message"] == said
    assert [one.type for one in items].count("reasoning") == 2
    assert len({one.id for one in items}) == len(items)
    assert client.conversations.items.retrieve(items[0].id, conversation_id=talk.id) == items[0]


def test_items_are_added_and_taken_out(client, dialects):
    talk = client.conversations.create()
    client.responses.create(model="chat", input="A secret", conversation=talk.id)
    added = client.conversations.items.create(
        talk.id, items=[{"type": "message", "role": "user", "content": "Another thing"}]
    )
    for item in client.conversations.items.list(talk.id):
        if item.id != added.data[0].id:
            client.conversations.items.delete(item.id, conversation_id=talk.id)
    client.responses.create(model="chat", input="And?", conversation=talk.id)
    assert asked_of(dialects) == [("user", "Another thing"), ("user", "And?")]
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve("msg_1", conversation_id=talk.id)
    assert kept_notes(dialects, talk.id) == 1
    client.conversations.items.delete(added.data[0].id, conversation_id=talk.id)
    assert kept_notes(dialects, talk.id) == 0  # erased, not hidden


def test_a_function_is_called_in_a_conversation_and_answered_in_the_next_response(client):
    talk = client.conversations.create()
    asked = client.responses.create(
        model="chat", input="The weather?", tools=[TOOL], conversation=talk.id
    )
    (call,) = [one for one in asked.output if one.type == "function_call"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    told = client.responses.create(model="chat", input=[result], tools=[TOOL], conversation=talk.id)
    assert told.output_text == "The tool says: sunny."


def test_a_conversation_is_said_something_else_about_and_erased(client, other):
    talk = client.conversations.create(metadata={"a": "1"})
    said = client.responses.create(model="chat", input="Hello", conversation=talk.id)
    changed = client.conversations.update(talk.id, metadata={"b": "2"})
    assert changed.metadata == client.conversations.retrieve(talk.id).metadata == {"b": "2"}
    for act in (
        lambda: other.conversations.retrieve(talk.id),
        lambda: other.conversations.delete(talk.id),
        lambda: other.responses.create(model="chat", input="Hello", conversation=talk.id),
    ):
        with pytest.raises(openai.NotFoundError):
            act()
    gone = client.conversations.delete(talk.id)
    assert (gone.id, gone.deleted) == (talk.id, True)
    for act in (
        lambda: client.conversations.retrieve(talk.id),
        lambda: client.responses.retrieve(said.id),
        lambda: client.responses.create(model="chat", input="Hello", conversation=talk.id),
    ):
        with pytest.raises(openai.NotFoundError):
            act()


def test_a_response_in_the_background_becomes_part_of_its_conversation(client, dialects):
    dialects.upstream.hold.set()
    talk = client.conversations.create()
    begun = client.responses.create(
        model="chat", input="Tell me slowly", conversation=talk.id, background=True
    )
    with client.responses.retrieve(begun.id, stream=True) as events:
        assert list(events)[-1].type == "response.completed"
    roles = [one.role for one in client.conversations.items.list(talk.id) if one.type == "message"]
    assert roles == ["assistant", "user"]


def test_a_conversation_and_a_response_before_are_one_too_many(client):
    with pytest.raises(openai.BadRequestError) as told:
        client.responses.create(
            model="chat", input="x", conversation="a", previous_response_id="resp_1"
        )
    assert told.value.param == "conversation"


def test_the_conversations_of_the_two_dialects_are_apart(client, dialects):
    from mistralai.client import Mistral, errors

    ours = client.conversations.create()
    with Mistral(server_url=dialects.mistral, api_key=dialects.key) as mistral:
        theirs = mistral.beta.conversations.start(model="chat", inputs="Hello").conversation_id
        assert ours.id not in [one.id for one in mistral.beta.conversations.list()]
        with pytest.raises(errors.SDKError):
            mistral.beta.conversations.get(conversation_id=ours.id)
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(theirs)


def test_what_was_said_beside_a_call_is_kept_with_it(client, dialects):
    talk = client.conversations.create()
    given = [
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": "I will look."},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]
    client.responses.create(model="chat", input=given, tools=[TOOL], conversation=talk.id)
    items = list(client.conversations.items.list(talk.id, order="asc"))
    assert [one.type for one in items[:4]] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
    ]
    assert items[1].content[0].text == "I will look."
    assert len({one.id for one in items}) == len(items)
    client.responses.create(model="chat", input="Thanks", conversation=talk.id)
    assert asked_of(dialects)[:3] == [
        ("user", "How is the weather?"),
        ("assistant", "I will look."),
        ("tool", "sunny"),
    ]
