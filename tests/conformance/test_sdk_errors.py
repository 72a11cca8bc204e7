"""What goes wrong reaches the callers of both packages as the class that they catch.

In an installation of its own: a model server that has failed is left alone for a while.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from aiohttp import web
from dialect_house import Dialects, a_running_server, furnished
from mistralai.client import Mistral, errors
from mistralai.client.utils import BackoffStrategy, RetryConfig
from upstream import Upstream, breaking_off, refusing

HELLO = [{"role": "user", "content": "Hello"}]
SLOWLY = [{"role": "user", "content": "Tell me slowly"}]
LIMITS = "concurrent_runs = 2\nremote_first_token_seconds = 2\nremote_between_tokens_seconds = 20\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors") / "data"
    with Upstream() as upstream:
        key, others_key = furnished(folder, upstream)
        settings = folder / "settings.toml"
        settings.write_text(LIMITS + settings.read_text())
        with a_running_server(folder) as url:
            yield Dialects(url, key, others_key, folder, upstream)


@pytest.fixture
def client(house):
    with openai.OpenAI(base_url=house.openai, api_key=house.key, max_retries=0) as client:
        yield client


@pytest.fixture
def mistral(house):
    with Mistral(server_url=house.mistral, api_key=house.key) as client:
        yield client


@pytest.fixture
def held(house):
    """The model stops in the middle of a slow answer until it is told to go on."""
    house.upstream.hold.clear()
    house.upstream.holding.clear()
    yield house.upstream
    house.upstream.hold.set()


def chat(client, **more):
    return client.chat.completions.create(**{"model": "chat", "messages": HELLO, **more})


def of_somebody_else(house):
    return openai.OpenAI(base_url=house.openai, api_key=house.others_key, max_retries=0)


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        (
            lambda client: chat(client.with_options(api_key="cm_wrong")),
            openai.AuthenticationError,
            "invalid_api_key",
        ),
        (lambda client: chat(client, model="none"), openai.NotFoundError, "model_not_found"),
        (
            lambda client: client.vector_stores.create(name="fees"),
            openai.ConflictError,
            "conflict",
        ),
        (lambda client: chat(client, n=99), openai.BadRequestError, "invalid_value"),
    ],
)
def test_a_refusal_is_of_the_class_that_openais_package_has_for_it(client, act, kind, code):
    with pytest.raises(kind) as told:
        act(client)
    assert told.value.code == code


def test_what_one_may_not_do_is_denied(house, mistral):
    with of_somebody_else(house) as client, pytest.raises(openai.PermissionDeniedError) as told:
        client.vector_stores.create(name="mine")
    assert told.value.code == "permission_denied"
    with Mistral(server_url=house.mistral, api_key=house.others_key) as client:
        with pytest.raises(errors.SDKError) as refused:
            client.beta.libraries.create(name="mine")
        assert refused.value.status_code == 403


@pytest.mark.parametrize(
    ("model", "length", "most"), [("documents", 8_001, "8,000"), ("chat", 1_000_001, "1,000,000")]
)
def test_what_is_too_long_says_how_long_it_may_be(client, mistral, model, length, most):
    long = [{"role": "user", "content": "a" * length}]
    with pytest.raises(openai.APIStatusError, match=most) as told:
        chat(client, model=model, messages=long)
    assert told.value.status_code == 413
    with pytest.raises(errors.SDKError, match=most) as refused:
        mistral.chat.complete(model=model, messages=long)
    assert refused.value.status_code == 413


def test_a_model_alone_takes_more_than_a_question(client, house):
    text = "Zwölf Euro. 😀 " * 10_000
    said = chat(client, messages=[{"role": "user", "content": text}])
    assert house.upstream.asked[-1]["messages"][-1]["content"] == text
    assert said.choices[0].message.content.startswith("You asked: Zwölf Euro. 😀 ")


def test_more_runs_than_one_may_have_open_are_a_rate_limit_that_the_package_waits_out(client, held):
    first, second = (chat(client, messages=SLOWLY, stream=True) for _ in range(2))
    with pytest.raises(openai.RateLimitError) as told:
        chat(client)
    assert told.value.response.headers["retry-after"] == "1"
    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(chat, client.with_options(max_retries=9))
        held.hold.set()
        for stream in (first, second):
            assert [chunk for chunk in stream][-1].choices[0].finish_reason == "stop"
        assert waiting.result().choices[0].finish_reason == "stop"


def test_a_server_that_is_busy_for_a_moment_is_asked_again_by_the_packages(house, client, mistral):
    upstream = house.upstream
    upstream.next.append(refusing(503, retry_after="1"))
    with pytest.raises(openai.InternalServerError) as told:
        chat(client)
    assert (told.value.status_code, told.value.code) == (503, "unavailable")
    assert int(told.value.response.headers["retry-after"]) >= 1
    assert chat(client.with_options(max_retries=5)).choices
    upstream.next.append(refusing(429, retry_after="1"))
    patience = RetryConfig("backoff", BackoffStrategy(100, 2_000, 1.5, 20_000), True)
    assert mistral.chat.complete(model="chat", messages=HELLO, retries=patience).choices


def test_a_server_that_does_not_answer_in_time_is_not_asked_again(house, client, held):
    async def silent(request):
        await asyncio.to_thread(held.hold.wait)
        return web.Response()

    house.upstream.next.append(silent)
    before = len(house.upstream.asked)
    with pytest.raises(openai.InternalServerError) as told:
        chat(client.with_options(max_retries=5))
    assert (told.value.status_code, told.value.code) == (504, "timeout")
    assert len(house.upstream.asked) == before + 1


def test_whoever_gives_up_waiting_ends_the_run(house, client, held):
    with pytest.raises(openai.APITimeoutError):
        chat(client, messages=SLOWLY, stream=False, timeout=3.0)
    address = urllib.request.Request(
        f"{house.url}/api/runs?limit=1", headers={"Authorization": f"Bearer {house.key}"}
    )
    outcome = None
    while outcome is None:
        with urllib.request.urlopen(address) as answer:
            outcome = json.load(answer)["runs"][0]["outcome"]
    assert outcome == "failed"


def test_a_stream_that_breaks_off_is_an_error_of_both_packages(house, client, mistral):
    house.upstream.next.append(breaking_off)
    words = []

    def read():
        for chunk in chat(client, stream=True):
            words.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError, match="model server") as told:
        read()
    assert "".join(words) == "Two words "
    assert told.value.code == "bad_gateway"
    house.upstream.next.append(breaking_off)
    with mistral.chat.stream(model="chat", messages=HELLO) as stream:
        *_, last = stream
    (choice,) = last.data.choices
    assert choice.finish_reason == "error"
    assert "model server" in choice.delta.metadata["error"]["what"]
    house.upstream.next.append(breaking_off)
    with mistral.beta.conversations.start_stream(model="chat", inputs="Hello") as stream:
        *_, last = stream
    assert (last.event, last.data.code) == ("conversation.response.error", 502)
    house.upstream.next.append(breaking_off)
    with client.responses.create(model="chat", input="Hello", stream=True) as stream:
        *_, last = stream
    assert last.type == "response.failed"
    assert "model server" in last.response.error.message
