"""The remote engine against a model server on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

import pytest
from model_server import DONE, ModelServer, a_chunk, a_script
from remote_builders import LOWEST, PROMPT, Everywhere, an_engine

from casemate.engines.engine import Sampling, Token
from casemate.errors import Invalid, Refused, Unavailable
from casemate.gate.label import Label
from casemate.gate.place import Place

NO_SAMPLING = Sampling()


def said(
    address: str,
    *,
    sampling: Sampling = NO_SAMPLING,
    perimeter: Any = None,
    key: str = "",
) -> list[Token]:
    async def follow() -> list[Token]:
        engine = an_engine(address, perimeter=perimeter, key=key)
        try:
            async with aclosing(engine.generate(PROMPT, sampling)) as tokens:
                return [token async for token in tokens]
        finally:
            await engine.close()

    return asyncio.run(follow())


def text_of(tokens: list[Token], kind: str = "text") -> str:
    return "".join(token.text for token in tokens if token.kind == kind)


def test_text_is_streamed_piece_by_piece(model_server: ModelServer) -> None:
    model_server.pieces = [a_script("The tax ", "is 40 ", "euros.")]
    tokens = said(model_server.address)
    assert [token.text for token in tokens] == ["The tax ", "is 40 ", "euros."]
    assert {token.kind for token in tokens} == {"text"}
    assert all(token.evidence is None for token in tokens)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_as_thinking(model_server: ModelServer, field: str) -> None:
    model_server.pieces = [a_script("40.", thinking=["Let me ", "see."], field=field)]
    tokens = said(model_server.address)
    assert text_of(tokens, "thinking") == "Let me see."
    assert text_of(tokens) == "40."


def test_what_is_sent_is_the_prompt_and_only_the_sampling_that_was_chosen(
    model_server: ModelServer,
) -> None:
    said(model_server.address)
    said(model_server.address, sampling=Sampling(0.0, 0.5, 7, 99), key="secret")
    plain, chosen = model_server.asked
    assert plain == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "How much?"},
        ],
    }
    assert {name: chosen[name] for name in set(chosen) - set(plain)} == {
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 7,
        "max_tokens": 99,
    }
    assert model_server.keys == [None, "Bearer secret"]


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_stream_cut_into_any_pieces_says_the_same(model_server: ModelServer, size: int) -> None:
    whole = a_script("Déi Tax ", "ass 40 €. 𝔖", thinking=["🐕"])
    model_server.pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    tokens = said(model_server.address)
    assert (text_of(tokens), text_of(tokens, "thinking")) == ("Déi Tax ass 40 €. 𝔖", "🐕")


@pytest.mark.parametrize(
    "pieces",
    [
        [b": a comment\n\n", a_script("Hi.")],
        [a_script("Hi.").replace(b"\n", b"\r\n")],
        [b"event: message\nid: 7\nretry: 9\n", a_script("Hi.")],
        [a_script("Hi.").replace(b"data: ", b"data:")],
        [a_chunk(content="Hi."), DONE, b"data: garbage after the end\n\n"],
        [a_chunk(content=None, reasoning_content=None), a_chunk(content="Hi."), DONE],
        [a_chunk(content="Hi.", unknown={"x": 1}), b'data: {"id":"x"}\n\n', DONE],
    ],
)
def test_harmless_differences_between_servers_are_taken(
    model_server: ModelServer, pieces: list[bytes]
) -> None:
    model_server.pieces = pieces
    assert text_of(said(model_server.address)) == "Hi."


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([], "middle of its answer"),
        ([a_chunk(content="Hi.")], "middle of its answer"),
        ([a_chunk(content="Hi."), b"data: [DONE"], "middle of its answer"),
        ([b"data: {not json}\n\n", DONE], "not a stream of events"),
        ([b'data: {"choices":7}\n\n', DONE], "not a stream of events"),
        ([b'data: {"choices":[{"delta":{"content":7}}]}\n\n', DONE], "not a stream of events"),
        ([b"data: \xff\xfe\n\n", DONE], "not a stream of events"),
        ([b"<html>502</html>"], "middle of its answer"),
        ([b"x" * (2 << 20)], "not a stream of events"),
        ([a_chunk(content="Hi."), b'data: {"error":{"message":"CUDA"}}\n\n', DONE], "an error"),
    ],
)
def test_a_broken_stream_is_an_error_and_not_a_short_answer(
    model_server: ModelServer, pieces: list[bytes], says: str
) -> None:
    model_server.pieces = pieces
    with pytest.raises(Unavailable, match=says) as refusal:
        said(model_server.address)
    assert refusal.value.next
    assert "CUDA" not in str(refusal.value)


def test_a_connection_that_breaks_in_the_middle_is_an_error(model_server: ModelServer) -> None:
    model_server.pieces = [a_chunk(content="Hi.")]
    model_server.cut = True
    with pytest.raises(Unavailable):
        said(model_server.address)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_question_that_the_server_does_not_take_is_invalid_and_says_so(
    model_server: ModelServer, status: int
) -> None:
    model_server.status = status
    model_server.pieces = [b'{"error":{"message":"a quotation of the question"}}']
    with pytest.raises(Invalid, match=str(status)) as refusal:
        said(model_server.address)
    assert "quotation" not in str(refusal.value)


@pytest.mark.parametrize("status", [204, 401, 404, 429, 500, 503])
def test_a_refusing_server_is_unavailable_with_its_status(
    model_server: ModelServer, status: int
) -> None:
    model_server.status = status
    model_server.pieces = []
    with pytest.raises(Unavailable, match=str(status)):
        said(model_server.address)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(model_server: ModelServer, status: int) -> None:
    model_server.status = status
    model_server.pieces = []
    model_server.headers = {
        "Location": f"http://127.0.0.1:{model_server.port}/elsewhere/chat/completions"
    }
    with pytest.raises(Unavailable, match=str(status)):
        said(model_server.address)
    assert len(model_server.asked) == 1


def test_an_alternative_service_is_not_taken(model_server: ModelServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        port = elsewhere.getsockname()[1]
        model_server.headers = {"Alt-Svc": f'http/1.1="127.0.0.1:{port}"; h2=":{port}"; ma=86400'}

        async def twice() -> None:
            engine = an_engine(model_server.address)
            for _ in range(2):
                async with aclosing(engine.generate(PROMPT, NO_SAMPLING)) as tokens:
                    assert [token async for token in tokens]
            await engine.close()

        asyncio.run(twice())
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert len(model_server.asked) == 2


def test_an_address_outside_the_perimeter_is_never_connected_to(model_server: ModelServer) -> None:
    class Nowhere(Everywhere):
        def declared(self, url: str, label: Label) -> Place:
            raise Refused("Outside.", "Declare it.")

    with pytest.raises(Refused):
        said(model_server.address, perimeter=Nowhere())
    assert model_server.asked == []


def test_the_perimeter_is_asked_again_for_another_label_and_whenever_it_has_changed(
    model_server: ModelServer,
) -> None:
    asked: list[Label] = []

    class Noted(Everywhere):
        def declared(self, url: str, label: Label) -> Place:
            asked.append(label)
            return super().declared(url, label)

    perimeter, higher = Noted(), LOWEST.policy.parse("restricted")
    place = perimeter.declared("", LOWEST)
    asked.clear()

    async def ask() -> None:
        engine = an_engine(model_server.address, perimeter=perimeter)
        for label, places in (
            (LOWEST, ()),
            (LOWEST, ()),
            (higher, ()),
            (higher, (place,)),
        ):
            perimeter.places = places
            assert len(await engine.embed(["x"], label=label)) == 1
        await engine.close()

    model_server.answers["/v1/embeddings"] = lambda body: {
        "data": [{"index": 0, "embedding": [1.0]}]
    }
    asyncio.run(ask())
    # once more for each of the two connections that were made
    assert [str(label) for label in asked] == [
        str(one) for one in (LOWEST, LOWEST, higher, higher, higher)
    ]


def test_only_the_addresses_that_the_perimeter_checked_are_connected_to(
    model_server: ModelServer,
) -> None:
    # The name means another place than the one that was checked: the check wins.
    port = urlsplit(model_server.address).port
    elsewhere = f"http://models.example:{port}/v1"
    assert text_of(said(elsewhere)) == "Hello."
    assert len(model_server.asked) == 1


def test_a_proxy_from_the_environment_is_not_used(
    model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert text_of(said(model_server.address)) == "Hello."


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unavailable, match="does not answer"):
            said(f"http://127.0.0.1:{port}/v1")


def test_a_reader_who_leaves_early_leaves_no_open_connection(model_server: ModelServer) -> None:
    model_server.pieces = [a_chunk(content=f"{number} ") for number in range(500)]

    async def leave() -> list[str]:
        engine = an_engine(model_server.address)
        found = []
        async with aclosing(engine.generate(PROMPT, Sampling())) as tokens:
            async for token in tokens:
                found.append(token.text)
                break
        await engine.close()
        await engine.close()
        return found

    assert asyncio.run(leave()) == ["0 "]


def test_it_says_what_servers_of_this_kind_can_do() -> None:
    engine = an_engine("http://127.0.0.1:1/v1")
    able = {"generate", "thinking", "tools", "choice", "schema", "logprobs", "score", "embed"}
    assert engine.capabilities == able


def test_the_parts_of_a_script_are_what_openai_compatible_servers_send() -> None:
    events = [one for one in a_script("x", thinking=["y"]).split(b"\n\n") if one]
    assert events[-1] == b"data: [DONE]"
    assert all(json.loads(one[6:]) for one in events[:-1])
