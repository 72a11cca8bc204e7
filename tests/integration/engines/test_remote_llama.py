"""The remote engine against llama.cpp's own server, on a tiny model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import pytest
from llama_builders import Tiny
from llama_server import LlamaServer
from remote_builders import LOWEST, PROMPT, an_engine

from casemate.engines.engine import Sampling, Token
from casemate.engines.remote import RemoteEngine
from casemate.errors import Unsupported


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed")
    with LlamaServer(Tiny.make(tmp_path_factory.mktemp("served")).path) as served:
        yield served


async def said(engine: RemoteEngine, sampling: Sampling) -> list[Token]:
    async with aclosing(engine.generate(PROMPT, sampling)) as tokens:
        return [token async for token in tokens]


def test_it_streams_counts_and_is_cut_at_its_bound(server: LlamaServer) -> None:
    async def ask() -> None:
        engine = an_engine(server.address)
        for _ in range(3):
            tokens = await said(engine, Sampling(temperature=0.0, max_tokens=8))
            assert [token.kind for token in tokens].count("cut") == 1
            (counted,) = [token for token in tokens if token.kind == "count"]
            assert counted.written == 8
            assert "".join(token.text for token in tokens)
        assert engine.health()[0].failures == 0
        await engine.close()

    asyncio.run(ask())


def test_whoever_leaves_frees_the_one_slot_that_it_has(server: LlamaServer) -> None:
    async def ask() -> None:
        engine = an_engine(server.address)
        async with aclosing(engine.generate(PROMPT, Sampling(max_tokens=900))) as tokens:
            assert await anext(tokens)
        # It would otherwise wait for 900 tokens that nobody reads.
        assert await said(engine, Sampling(temperature=0.0, max_tokens=2))
        await engine.close()

    asyncio.run(ask())


def test_it_says_what_the_server_does_not_offer(server: LlamaServer) -> None:
    async def ask() -> None:
        engine = an_engine(server.address)
        with pytest.raises(Unsupported):
            await engine.score([PROMPT], "yes")
        with pytest.raises(Unsupported):
            await engine.embed(["x"], label=LOWEST)
        await engine.close()

    asyncio.run(ask())


def test_its_bytes_are_relayed(server: LlamaServer) -> None:
    body = b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":4,"stream":true}'

    async def ask() -> None:
        engine = an_engine(server.address, server.address)
        async with engine.relay("/chat/completions", body, LOWEST, stream=True) as answer:
            assert (answer.status, answer.content_type.partition(";")[0]) == (
                200,
                "text/event-stream",
            )
            content = await answer.whole(1 << 20)
        assert content.startswith(b"data: {")
        assert content.endswith(b"data: [DONE]\n\n")
        await engine.close()

    asyncio.run(ask())
