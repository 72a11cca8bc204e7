"""Responses in the background: begun, left, found again, followed, cancelled."""

from __future__ import annotations

import openai
import pytest
from dialect_house import a_running_server, furnished
from upstream import Upstream

SLOWLY = {"model": "chat", "input": "Tell me slowly", "background": True}
ANSWER = "You asked: Tell me slowly One. Two. Three."


@pytest.fixture
def client(dialects):
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.key, max_retries=0) as client:
        yield client


@pytest.fixture
def held(dialects):
    """The model stops in the middle of an answer until it is told to go on."""
    upstream = dialects.upstream
    upstream.hold.clear()
    upstream.holding.clear()
    yield upstream
    upstream.hold.set()


def ended(client, id):
    """The response, once it has ended: its stream ends with it."""
    with client.responses.retrieve(id, stream=True) as events:
        for _ in events:
            pass
    return client.responses.retrieve(id)


def test_a_response_goes_on_without_whoever_asked_for_it(client, dialects, held):
    begun = client.responses.create(**SLOWLY)
    assert (begun.status, begun.background, begun.output) == ("in_progress", True, [])
    assert held.holding.wait(60)
    assert client.responses.retrieve(begun.id).status == "in_progress"
    held.hold.set()
    whole = ended(client, begun.id)
    assert (whole.status, whole.background, whole.output_text) == ("completed", True, ANSWER)
    assert whole.usage.output_tokens == 6
    assert client.responses.cancel(begun.id) == whole  # too late
    more = client.responses.create(model="chat", input="More", previous_response_id=begun.id)
    assert more.status == "completed"
    assert client.responses.delete(begun.id) is None
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(begun.id)


def test_a_stream_is_left_and_followed_from_where_it_was(client, held):
    first, last = [], None
    with client.responses.create(**SLOWLY, stream=True) as events:
        for event in events:
            first.append(event)
            if event.type == "response.output_text.delta":
                break
    id, last = first[0].response.id, first[-1].sequence_number
    assert [event.sequence_number for event in first] == list(range(last + 1))
    held.hold.set()
    with client.responses.retrieve(id, stream=True, starting_after=last) as events:
        rest = list(events)
    assert [event.sequence_number for event in rest] == list(range(last + 1, last + 1 + len(rest)))
    deltas = [one for one in (*first, *rest) if one.type == "response.output_text.delta"]
    assert "".join(event.delta for event in deltas) == ANSWER
    assert rest[-1].type == "response.completed"
    # Also once it has ended, and for as many readers as there are.
    with client.responses.retrieve(id, stream=True) as events:
        assert [event.type for event in events] == [one.type for one in (*first, *rest)]


def test_a_response_that_goes_on_is_cancelled(client, dialects, held):
    begun = client.responses.create(**SLOWLY)
    assert held.holding.wait(60)
    with pytest.raises(openai.ConflictError, match="goes on"):
        client.responses.delete(begun.id)
    cancelled = client.responses.cancel(begun.id)
    assert (cancelled.id, cancelled.status) == (begun.id, "cancelled")
    assert client.responses.retrieve(begun.id).status == "cancelled"
    assert client.responses.cancel(begun.id).status == "cancelled"
    client.responses.delete(begun.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(begun.id)


def test_nobody_else_sees_or_ends_it(client, dialects, held):
    begun = client.responses.create(**SLOWLY)
    with openai.OpenAI(base_url=dialects.openai, api_key=dialects.others_key) as other:
        for act in (
            other.responses.retrieve,
            other.responses.cancel,
            other.responses.delete,
            lambda id: list(other.responses.retrieve(id, stream=True)),
        ):
            with pytest.raises(openai.NotFoundError):
                act(begun.id)
    held.hold.set()
    assert ended(client, begun.id).status == "completed"


@pytest.mark.parametrize(
    ("more", "error", "param"),
    [
        ({"store": False}, openai.BadRequestError, "background"),
        ({"model": "nobody"}, openai.NotFoundError, "model"),
        ({"input": ""}, openai.BadRequestError, "input[0].content"),
        ({"text": {"format": {"type": "json_schema"}}}, openai.BadRequestError, "text.format"),
    ],
)
def test_what_is_refused_is_refused_at_once(client, more, error, param):
    with pytest.raises(error) as told:
        client.responses.create(**{**SLOWLY, **more})
    assert told.value.param == param


def test_an_answer_that_was_not_in_the_background_is_streamed_again_whole(client):
    said = client.responses.create(model="chat", input="Hello")
    with client.responses.retrieve(said.id, stream=True) as events:
        last = list(events)[-1]
    assert last.response.output_text == said.output_text
    with pytest.raises(openai.BadRequestError) as told:
        list(client.responses.retrieve(said.id, stream=True, starting_after=2))
    assert told.value.param == "starting_after"


def test_what_a_restart_ends_is_told_to_have_failed(tmp_path):
    with Upstream() as upstream:
        key, _ = furnished(tmp_path / "data", upstream)
        with a_running_server(tmp_path / "data") as url:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
            begun = client.responses.create(**SLOWLY)
            assert upstream.holding.wait(60)
        with a_running_server(tmp_path / "data") as url:
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
            found = client.responses.retrieve(begun.id)
            assert (found.status, found.error.code) == ("failed", "server_error")
            assert "stopped" in found.error.message
        upstream.hold.set()
