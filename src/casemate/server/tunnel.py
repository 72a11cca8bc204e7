"""The tunnel: a request that a worker does not answer goes on to the owner, unchanged.

For each such request the worker makes a pair of connected sockets and hands the owner one of them
over a third, as a descriptor: there is no address that anybody else could come to, and so none
could say that they came with somebody's certificate. On the pair go the scope, then the messages of
ASGI (3.0), framed as in ``wire``. The worker reads from its client only what the owner asked for,
and the owner writes no faster than the client reads, so that neither holds more of a request or an
answer than one process would.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta
from starlette.types import ASGIApp, Receive, Scope, Send

from casemate.api.tls import PEER
from casemate.errors import Unavailable
from casemate.server.wire import Message, framed

_LARGEST = 1 << 20  # bytes of a message
_PIECE = 256 << 10  # of a body, in one message
_WATER = 256 << 10  # that may wait in a process; more waits with whoever sends it
_LENGTH = struct.Struct(">I")
_HANDED = b"r"  # what goes along with a descriptor

T = TypeVar("T")
Pair = tuple[bytes, bytes]
Port = Annotated[int, Meta(ge=0, le=65_535)]


class Begun(Message, frozen=True):
    """The scope of a request: see the ASGI specification of HTTP, 2.5.

    peer: where the connection comes from; client: whom a trusted proxy speaks for. shown: the
    client's certificates in PEM, None over plain HTTP.
    """

    version: str
    http_version: str
    method: str
    scheme: str
    path: str
    raw_path: bytes
    query_string: bytes
    root_path: str
    headers: list[Pair]
    client: tuple[str, int] | None
    server: tuple[str, int | None] | None
    peer: str
    shown: tuple[str, ...] | None

    @classmethod
    def of(cls, scope: Scope) -> Begun:
        """What the owner has to know of ``scope``."""
        tls = scope.get("extensions", {}).get("tls")
        return cls(
            scope["asgi"]["version"],
            scope["http_version"],
            scope["method"],
            scope["scheme"],
            scope["path"],
            scope["raw_path"],
            scope["query_string"],
            scope.get("root_path", ""),
            [(bytes(name), bytes(value)) for name, value in scope["headers"]],
            None if scope["client"] is None else tuple(scope["client"]),
            None if scope["server"] is None else tuple(scope["server"]),
            scope.get(PEER, ""),
            None if tls is None else tuple(tls["client_cert_chain"]),
        )

    def scope(self) -> dict[str, Any]:
        """The scope, as the owner's application is given it."""
        told: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.version, "spec_version": "2.3"},
            "http_version": self.http_version,
            "method": self.method,
            "scheme": self.scheme,
            "path": self.path,
            "raw_path": self.raw_path,
            "query_string": self.query_string,
            "root_path": self.root_path,
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
            "state": {},
            PEER: self.peer,
        }
        if self.shown is not None:
            told["extensions"] = {"tls": {"client_cert_chain": self.shown}}
        return told


class Part(Message, frozen=True):
    """Of the request's body."""

    body: bytes
    more: bool


class Gone(Message, frozen=True):
    """The client is gone, or was answered."""


class Ending(Message, frozen=True):
    """The worker stops: let what is open come to its end now."""


class Wanted(Message, frozen=True):
    """The owner waits for the next part of the request."""


class Started(Message, frozen=True):
    """Status and headers of the answer."""

    status: Annotated[int, Meta(ge=100, le=599)]
    headers: list[Pair]


class Answered(Message, frozen=True):
    """Of the answer's body."""

    body: bytes
    more: bool


_from_worker = msgspec.msgpack.Decoder(Begun | Part | Gone | Ending).decode
_from_owner = msgspec.msgpack.Decoder(Wanted | Started | Answered).decode


class Tunnel:
    """The worker's end: an ASGI application that passes requests on over the socket ``hand``."""

    def __init__(self, hand: socket.socket) -> None:
        hand.setblocking(False)
        self._hand = hand
        self._handing = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the owner answer. Raises Unavailable if it cannot be reached."""
        reader, writer = await self._connected()
        writer.write(framed(Begun.of(scope)))
        passing = asyncio.ensure_future(_passed(reader, writer, receive, send))
        try:
            await asyncio.shield(passing)
        except asyncio.CancelledError:
            # This process is to stop. The owner ends what is open, and says so to the client.
            writer.write(framed(Ending()))
            await passing
        finally:
            passing.cancel()
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            mine, theirs = socket.socketpair()
        except OSError:
            raise _unreached() from None
        with theirs:
            try:
                async with self._handing:
                    await self._hand_over(theirs)
                return await asyncio.open_connection(sock=mine, limit=_WATER)
            except BaseException as problem:
                mine.close()
                if isinstance(problem, OSError):
                    raise _unreached() from None
                raise

    async def _hand_over(self, theirs: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                socket.send_fds(self._hand, [_HANDED], [theirs.fileno()])
                return
            except BlockingIOError:
                room = asyncio.Event()
                loop.add_writer(self._hand, room.set)
                try:
                    await room.wait()
                finally:
                    loop.remove_writer(self._hand)


class Mouth:
    """The owner's end for one worker: takes what is handed over ``hand``, and lets ``app`` answer.

    ``close`` ends what is open; it is to be waited for.
    """

    def __init__(self, hand: socket.socket, app: ASGIApp) -> None:
        hand.setblocking(False)
        self._hand = hand
        self._app = app
        self._open: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(hand, self._take)

    async def close(self) -> None:
        """Take nothing more; what is open ends as for a client that went away."""
        if self._hand.fileno() >= 0:
            self._loop.remove_reader(self._hand)
            self._hand.close()
        if self._open:
            await asyncio.wait(set(self._open))

    def _take(self) -> None:
        while True:
            try:
                told, found, _, _ = socket.recv_fds(self._hand, 1, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError:
                told, found = b"", []
            if not told:
                self._loop.remove_reader(self._hand)
                return
            for descriptor in found:
                connection = socket.socket(fileno=descriptor)
                serving = self._loop.create_task(self._serve(connection))
                self._open.add(serving)
                serving.add_done_callback(self._open.discard)

    async def _serve(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=_WATER)
        writer.transport.set_write_buffer_limits(_WATER)
        try:
            begun = await _next(reader, _from_worker)
            if isinstance(begun, Begun):
                far = _Far(reader, writer)
                answering = asyncio.ensure_future(self._app(begun.scope(), far.receive, far.send))
                await far.attend(answering)
        except msgspec.MsgspecError:
            return  # nobody of ours speaks like this
        finally:
            writer.close()


class _Far:
    """One request's client, as the owner sees it through a worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked = False
        self._gone = False

    async def attend(self, answering: asyncio.Future[None]) -> None:
        """Pass on what the client sends until ``answering`` is over."""
        listening = asyncio.ensure_future(self._listen(answering.cancel))
        try:
            await asyncio.wait({answering})
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        if not answering.cancelled():
            answering.exception()  # the application has told it; nobody prints it

    async def receive(self) -> dict[str, Any]:
        """See ASGI."""
        if self._came.empty():
            if self._gone:
                return {"type": "http.disconnect"}
            if not self._asked:
                self._asked = True
                self._writer.write(_WANTED)
        return await self._came.get()

    async def send(self, message: Any) -> None:
        """See ASGI: what a client that is gone would be sent is dropped."""
        if self._writer.transport.is_closing():
            return
        if message["type"] == "http.response.start":
            headers = [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            self._writer.write(framed(Started(message["status"], headers)))
            return  # with the first of its body
        body, more = message.get("body", b""), message.get("more_body", False)
        while len(body) > _PIECE:
            await self._write(Answered(bytes(body[:_PIECE]), True))
            body = body[_PIECE:]
        await self._write(Answered(bytes(body), more))

    async def _write(self, message: Answered) -> None:
        self._writer.write(framed(message))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def _listen(self, end: Callable[[], bool]) -> None:
        try:
            while (message := await _next(self._reader, _from_worker)) is not None:
                match message:
                    case Part():
                        self._asked = False
                        came = {"type": "http.request", "body": message.body}
                        self._came.put_nowait({**came, "more_body": message.more})
                    case Ending():
                        end()
                    case _:
                        break
        except msgspec.MsgspecError:
            self._writer.transport.abort()
        self._gone = True
        self._came.put_nowait({"type": "http.disconnect"})


_WANTED = framed(Wanted())


async def _passed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receive: Receive, send: Send
) -> None:
    """Pass messages on, both ways, until the owner has no more."""
    reading: asyncio.Task[None] | None = None

    async def read() -> None:
        message = await receive()
        if message["type"] == "http.disconnect":
            writer.write(framed(Gone()))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        while len(body) > _PIECE:
            writer.write(framed(Part(bytes(body[:_PIECE]), True)))
            body = body[_PIECE:]
        writer.write(framed(Part(bytes(body), more)))

    try:
        while (message := await _next(reader, _from_owner)) is not None:
            match message:
                case Wanted():
                    reading = asyncio.ensure_future(read())
                case Started():
                    begun = {"type": "http.response.start", "status": message.status}
                    await send({**begun, "headers": message.headers})
                case Answered():
                    body = {"type": "http.response.body", "body": message.body}
                    await send({**body, "more_body": message.more})
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _next(reader: asyncio.StreamReader, decode: Callable[[bytes], T]) -> T | None:
    """The next message, None at the end. Raises MsgspecError for one that is none."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > _LARGEST:
            raise msgspec.DecodeError("too long")
        return decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _unreached() -> Unavailable:
    return Unavailable("There is no room for this request now.", "Try again in a moment.")
