"""A guarded process that tries to reach out; run by tests, since a guard never leaves again.

Argument: JSON with ``tcp`` and ``udp``, ports of listeners on 127.0.0.1 that nobody declared, and
``folder``, an empty folder. Prints JSON: attempt → "refused", "done", or another error.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from casemate.gate import guard
from casemate.gate.connection import session
from casemate.gate.country import Country
from casemate.gate.perimeter import Perimeter
from casemate.gate.refusal import refusals
from casemate.isolation import interpreter

PLACE = """
[[place]]
name = "here"
host = "localhost"
ports = [{port}]
jurisdiction = "LU"
ceiling = "lu:unclassified"
"""


def main() -> None:
    given = json.loads(sys.argv[1])
    guard.stand()
    tried = {name: _outcome(act) for name, act in _attempts(given).items()}
    print(json.dumps({"tried": tried, "refused": refusals.total, "kinds": _kinds()}))


def _outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except guard.Outside:
        return "refused"
    except Exception as problem:
        cause: BaseException | None = problem
        while cause is not None:
            inner = getattr(cause, "reason", None) or getattr(cause, "os_error", None)
            if isinstance(cause, guard.Outside) or isinstance(inner, guard.Outside):
                return "refused"
            cause = cause.__cause__ or cause.__context__
        return f"{type(problem).__name__}: {problem}"
    return "done"


def _kinds() -> list[list[Any]]:
    return [[one.way, one.reach, one.by, n] for one, n in refusals.take().items()]


def _attempts(given: dict[str, Any]) -> dict[str, Callable[[], object]]:
    tcp, udp, folder = given["tcp"], given["udp"], given["folder"]
    perimeter = _perimeter(Path(folder), tcp)

    def along_a_way() -> None:
        ways = guard.Ways()
        ways.allow(perimeter.route(f"http://localhost:{tcp}/", _label()))
        socket.create_connection(("127.0.0.1", tcp)).close()

    def along_a_way_to_another_port() -> None:
        ways = guard.Ways()
        ways.allow(perimeter.route(f"http://localhost:{tcp}/", _label()))
        socket.create_connection(("127.0.0.1", udp)).close()

    def along_a_way_that_is_closed() -> None:
        ways = guard.Ways()
        ways.allow(perimeter.route(f"http://localhost:{tcp}/", _label()))
        perimeter._places = ()
        try:
            socket.create_connection(("127.0.0.1", tcp)).close()
        finally:
            perimeter._places = Perimeter.load(perimeter._path, Country.load("lu")).places

    def to_our_own_socket() -> None:
        path = os.path.join(folder, "own.sock")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            ways = guard.Ways()
            ways.own(path)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)

    return {
        "along a way": along_a_way,
        "a way that was let go": lambda: socket.create_connection(("127.0.0.1", tcp)),
        "along a way to another port": along_a_way_to_another_port,
        "a way that was closed": along_a_way_that_is_closed,
        "to our own socket": to_our_own_socket,
        "TCP": lambda: socket.create_connection(("127.0.0.1", tcp)),
        "TCP without an exception": lambda: socket.socket().connect_ex(("127.0.0.1", tcp)),
        "TCP over IPv6": lambda: socket.socket(socket.AF_INET6).connect(("::1", tcp)),
        "TCP, mapped": lambda: socket.socket(socket.AF_INET6).connect(("::ffff:127.0.0.1", tcp)),
        "TCP to 0.0.0.0": lambda: socket.socket().connect(("0.0.0.0", tcp)),
        "TCP to a name": lambda: socket.socket().connect(("localhost", tcp)),
        "UDP": lambda: _udp().sendto(b"x", ("127.0.0.1", udp)),
        "UDP, connected": lambda: _udp().connect(("127.0.0.1", udp)),
        "UDP by sendmsg": lambda: _udp().sendmsg([b"x"], [], 0, ("127.0.0.1", udp)),
        "a name": lambda: socket.getaddrinfo("casemate-proof.invalid", 80),
        "a name, the old way": lambda: socket.gethostbyname("casemate-proof.invalid"),
        "a name, backwards": lambda: socket.gethostbyaddr("127.0.0.1"),
        "a name, by its number": lambda: socket.getnameinfo(("127.0.0.1", 80), 0),
        "a number is no name": lambda: socket.getaddrinfo("127.0.0.1", 80),
        "Unix socket": lambda: socket.socket(socket.AF_UNIX).connect(f"{folder}/x.sock"),
        "abstract Unix socket": lambda: socket.socket(socket.AF_UNIX).connect(b"\0casemate"),
        "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
        "packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "urllib": lambda: urllib.request.urlopen(f"http://127.0.0.1:{tcp}/", timeout=5),
        "asyncio": lambda: asyncio.run(_asyncio(tcp)),
        "aiohttp": lambda: asyncio.run(_aiohttp(tcp)),
        "our own client": lambda: asyncio.run(_own_client(tcp)),
        "a program": lambda: subprocess.run(["/bin/true"]),
        "a shell": lambda: os.system("true"),
        "a fork": _fork,
        "this Python, with any code": lambda: subprocess.run(
            [sys.executable, "-I", "-B", "-c", ""]
        ),
        "this Python, with our script": lambda: subprocess.run(
            [sys.executable, "-I", "-B", interpreter.__file__]
        ),
    }


def _label() -> Any:
    return Country.load("lu").policy.lowest()


def _perimeter(folder: Path, port: int) -> Perimeter:
    path = folder / "perimeter.toml"
    path.write_text(PLACE.format(port=port))
    # Asked as the program asks: by the resolver of the machine.
    return Perimeter.load(path, Country.load("lu"))


def _udp() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


async def _asyncio(port: int) -> None:
    await asyncio.open_connection("127.0.0.1", port)


async def _aiohttp(port: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as client:
        await client.get(f"http://127.0.0.1:{port}/", timeout=aiohttp.ClientTimeout(5))


async def _own_client(port: int) -> None:
    async with session(guard.Ways(), connect_seconds=5, silence_seconds=5) as client:
        await client.get(f"http://127.0.0.1:{port}/")


if __name__ == "__main__":
    main()
