"""Attempts to get out of this very process, by everything in it that knows how to connect."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator

from casemate.gate.connection import Ways, session
from casemate.oversight.listening import Listeners

_SECONDS = 2.0
_NAME = "casemate-proof.invalid"  # RFC 6761: no name server knows it
Attempt = Callable[[], object]

# One address in the ways that attackers write it, and addresses that nobody may declare.
ODD_ADDRESSES = (
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://localhost.:{port}/",
    "http://ｌocalhost:{port}/",
    "http://inside@127.0.0.1:{port}/",
    "http://169.254.169.254/",
    "http://[fd00:ec2::254]/",
)


def by_python(to: Listeners) -> Iterator[tuple[str, Attempt]]:
    """By Python's own sockets and by the libraries that use them."""
    for name, (address, port) in to.tcp.items():
        yield f"TCP to {name}", lambda a=address, p=port: _connect(a, p)  # type: ignore[misc]
    for name, (address, port) in to.udp.items():
        yield f"UDP to {name}", lambda a=address, p=port: _send(a, p)  # type: ignore[misc]
    here, port = to.tcp["this machine"]
    url = f"http://{here}:{port}/"
    yield "TCP to this machine, mapped into IPv6", lambda: _connect(f"::ffff:{here}", port)
    yield "urllib", lambda: urllib.request.urlopen(url, timeout=_SECONDS).close()
    yield "http.client", lambda: http.client.HTTPConnection(here, port, timeout=2).connect()
    yield "asyncio", lambda: asyncio.run(_asyncio(here, port))
    yield "aiohttp", lambda: asyncio.run(_aiohttp(url))
    yield "Casemate's own client", lambda: asyncio.run(_own_client(url))
    yield "Unix socket of another program", lambda: _unix(to.path)
    yield "abstract Unix socket", lambda: _unix(to.abstract)


def by_kind() -> Iterator[tuple[str, Attempt]]:
    """By sockets of other kinds, names and programs: done is out, wherever it would have led."""
    yield "looking up a name", lambda: socket.getaddrinfo(_NAME, 80)
    yield "raw socket", lambda: _open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    yield "packet socket", lambda: _open(socket.AF_PACKET, socket.SOCK_RAW, 0)
    yield "netlink socket", lambda: _open(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    yield (
        "socket to the host of a virtual machine",
        lambda: _open(getattr(socket, "AF_VSOCK", 40), socket.SOCK_STREAM, 0),
    )
    yield "starting a program", lambda: subprocess.run([sys.executable, "-c", ""], check=False)
    yield "starting a shell", lambda: os.system("true")  # noqa: S605, S607
    yield "a process of its own", _fork


def by_compiled_code(to: Listeners) -> Iterator[tuple[str, Attempt]]:
    """By a compiled library in this process, which Python's guard does not see."""
    here, port = to.tcp["this machine"]
    yield "the library for buckets", lambda: _bucket(f"http://{here}:{port}")


def _connect(address: str, port: int) -> None:
    socket.create_connection((address, port), _SECONDS).close()


def _send(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as opened:
        opened.sendto(b"casemate", (address, port))


def _unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(_SECONDS)
        opened.connect(path)


def _open(family: int, kind: int, protocol: int) -> None:
    socket.socket(family, kind, protocol).close()


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


async def _asyncio(address: str, port: int) -> None:
    _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), _SECONDS)
    writer.close()


async def _aiohttp(url: str) -> None:
    import aiohttp

    timeout = aiohttp.ClientTimeout(_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as client, client.get(url):
        return


async def _own_client(url: str) -> None:
    async with (
        session(Ways(), connect_seconds=_SECONDS, silence_seconds=_SECONDS) as client,
        client.get(url),
    ):
        return


def _bucket(endpoint: str) -> None:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        "casemate-proof",
        endpoint=endpoint,
        region="us-east-1",
        access_key_id="none",
        secret_access_key="none",  # noqa: S106 - it is none
        client_options={"allow_http": True, "timeout": "2s"},
        retry_config={"max_retries": 0},
    )
    obstore.get(store, "nothing")
