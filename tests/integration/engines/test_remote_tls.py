"""Model servers with certificates: verified, or not spoken to."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from certificate_builders import SERVER, Pair, a_certificate, an_authority
from cryptography import x509
from faulty_server import (
    EVENTS,
    FaultyServer,
    Script,
    a_chunk,
    a_stream,
    an_event,
    says,
    says_and_stalls,
)
from remote_builders import LOWEST, an_engine

from casemate.errors import Unavailable

HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("elsewhere.example")


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """The one authority that this process believes."""
    made = an_authority("Specimen", datetime.now(UTC))
    (tmp_path / "authority.pem").write_bytes(made.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return made


def a_context(folder: Path, authority: Pair, name: x509.GeneralName) -> ssl.SSLContext:
    made = a_certificate(authority, datetime.now(UTC), names=(name,), purpose=SERVER)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.write(folder / "server.pem"))
    return context


async def ask(server: FaultyServer, times: int = 1) -> bytes:
    engine = an_engine(server.address)
    try:
        for _ in range(times):
            async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
                given = await answer.whole(1 << 24)
        return given
    finally:
        await engine.close()


def test_a_server_whose_certificate_holds_is_asked_on_one_connection(
    tmp_path: Path, authority: Pair
) -> None:
    async def met() -> None:
        script: Script = says(a_stream(["word " * 100_000]))
        async with FaultyServer(script, a_context(tmp_path, authority, HERE)) as server:
            assert await ask(server, 3) == await ask(server)
            assert server.served == 2
            await server.settled()

    asyncio.run(met())


@pytest.mark.parametrize("flaw", ["another authority", "another name"])
def test_a_server_whose_certificate_does_not_hold_is_told_nothing(
    tmp_path: Path, authority: Pair, flaw: str
) -> None:
    async def met() -> None:
        signer = authority if flaw == "another name" else an_authority("Other", datetime.now(UTC))
        name = ELSEWHERE if flaw == "another name" else HERE
        script = says(a_stream(["word"]))
        async with FaultyServer(script, a_context(tmp_path, signer, name)) as server:
            with pytest.raises(Unavailable, match="cannot be verified"):
                await ask(server)
            assert server.heads == []

    asyncio.run(met())


def test_whoever_leaves_closes_a_connection_with_tls_at_once(
    tmp_path: Path, authority: Pair
) -> None:
    async def met() -> None:
        script = says_and_stalls(EVENTS, a_chunk(an_event(content="x")))
        async with FaultyServer(script, a_context(tmp_path, authority, HERE)) as server:
            engine = an_engine(server.address)
            async with engine.relay("/chat/completions", b"{}", LOWEST, stream=True) as answer:
                await anext(answer)
            await server.settled()
            await engine.close()

    asyncio.run(met())
