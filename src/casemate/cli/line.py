"""The line to an installation: a running server's socket, or the data folder itself.

Messages are JSON, one a line: the request {"act", "arguments"}, then items, then {"done"} or
{"error"}. The socket lies in the data folder (mode 0600) and the server takes it only from its own
account.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from casemate import errors
from casemate.cli.acts import Item, perform
from casemate.errors import CasemateError, Unavailable
from casemate.gate.guard import Ways

if TYPE_CHECKING:
    from casemate.installation import Installation

SOCKET = "casemate.sock"
_LONGEST_LINE = 64 << 20


def act(
    path: Path, name: str, arguments: Mapping[str, Any], *, create: bool = False
) -> Iterator[Item]:
    """Perform an act on the data folder at ``path``, wherever it is open.

    Raises what the act raises. ``create`` allows to start a new data folder.
    """
    connection = _connect(path)
    if connection is None:
        from casemate.installation import Installation
        from casemate.store.folder import InUse

        try:
            installation = Installation.open(path, create=create)
        except InUse:
            # It may be a server that is just starting: its socket appears when it is ready.
            connection = _connect(path)
            if connection is None:
                raise
        else:
            with installation:
                yield from _here(installation, name, arguments)
            return
    with closing(connection):
        yield from _there(connection, name, arguments)


async def serve(installation: Installation) -> asyncio.Server:
    """Listen on the data folder's socket for commands of the same account."""
    folder = os.open(installation.folder.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        place = _short(folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(place)
        finally:
            os.umask(before)
    finally:
        os.close(folder)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer(installation, reader, writer)

    return await asyncio.start_unix_server(answer, sock=listener, limit=_LONGEST_LINE)


def _here(installation: Installation, name: str, arguments: Mapping[str, Any]) -> Iterator[Item]:
    with asyncio.Runner() as runner:
        items = perform(installation, name, arguments)
        try:
            while True:
                try:
                    item: Item = runner.run(anext(items))  # type: ignore[arg-type]
                except StopAsyncIteration:
                    return
                yield item
        finally:
            runner.run(items.aclose())  # type: ignore[attr-defined]
            runner.run(installation.engines.close())


def _there(connection: socket.socket, name: str, arguments: Mapping[str, Any]) -> Iterator[Item]:
    connection.sendall(_request(name, arguments))
    with connection.makefile("rb") as lines:
        for line in lines:
            message = msgspec.json.decode(line)
            if "done" in message:
                return
            if "error" in message:
                raise _error(message["error"])
            yield message["item"]
    raise Unavailable("The server stopped.", "Start it again with `casemate up`.")


async def _answer(
    installation: Installation, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        if _account(writer) != os.getuid():
            return
        request = json.loads(await reader.readline())
        items = perform(installation, str(request["act"]), dict(request["arguments"]))
        try:
            async for item in items:
                writer.write(msgspec.json.encode({"item": item}) + b"\n")
                await writer.drain()
            message: dict[str, object] = {"done": True}
        except CasemateError as problem:
            message = {
                "error": {
                    "kind": type(problem).__name__,
                    "what": problem.what,
                    "next": problem.next,
                }
            }
        except Exception as problem:
            # As `casemate` itself would say it, without a server.
            message = {
                "error": {
                    "kind": "CasemateError",
                    "what": f"Something went wrong inside ({type(problem).__name__}).",
                    "next": "Nothing recorded is lost.",
                }
            }
        finally:
            await items.aclose()  # type: ignore[attr-defined]
        writer.write(msgspec.json.encode(message) + b"\n")
        await writer.drain()
    except (ConnectionError, KeyError, TypeError, ValueError):
        return  # whoever called went away or does not speak this
    finally:
        writer.close()


def _request(name: str, arguments: Mapping[str, Any]) -> bytes:
    # The standard library's JSON, because a file name that is not UTF-8 holds lone surrogates.
    return json.dumps({"act": name, "arguments": dict(arguments)}).encode("ascii") + b"\n"


def _account(writer: asyncio.StreamWriter) -> int:
    """The account at the other end, as the kernel says (SO_PEERCRED: pid, uid, gid)."""
    peer = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(raw[4:8], "little")


def _connect(path: Path) -> socket.socket | None:
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        connection = socket.socket(socket.AF_UNIX)
        ways = Ways()
        try:
            ways.own(_short(folder))
            connection.connect(_short(folder))
        except OSError:
            connection.close()
            return None
        return connection
    finally:
        os.close(folder)


def _short(folder: int) -> str:
    # A socket's address holds 107 bytes; a data folder's path may be longer.
    return f"/proc/self/fd/{folder}/{SOCKET}"


def _error(message: Mapping[str, str]) -> CasemateError:
    kind = getattr(errors, message["kind"], CasemateError)
    if not (isinstance(kind, type) and issubclass(kind, CasemateError)):
        kind = CasemateError
    return kind(message["what"], message["next"])
