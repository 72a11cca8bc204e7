"""What a scoring process answers on its Unix socket: ``/score``, ``/tokenize``, ``/detokenize``.

The last two are asked and answered as by llama.cpp's own server. While scores are computed, blanks
are sent, which JSON may begin with: they tell whoever waits that it is at work. Whoever leaves ends
the work for good.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

from casemate.engines.llama.forward import Forward, GivenUp

_LOOK_SECONDS = 0.05  # between two looks at whether anybody still waits
_SIGN_SECONDS = 20.0  # between two signs of being at work


def serve(forward: Forward, path: str) -> UnixStreamServer:
    """Answer on the socket ``path``, in threads, until this process ends."""
    server = _Server(path, _Answering)
    server.forward, server.one_at_a_time = forward, threading.Lock()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    forward: Forward
    one_at_a_time: threading.Lock

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: there is nobody to say it to."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    _looked = _signed = 0.0

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what is asked is nobody else's."""

    def do_POST(self) -> None:
        """Answer; 400 for what makes no sense, 404 for anything else."""
        self.close_connection = True
        answer = {"/score": self._score, "/tokenize": self._tokenize}.get(self.path)
        if self.path == "/detokenize":
            answer = self._detokenize
        if answer is None:
            self._say(404, {})
            return
        try:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length))
            answer(body)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._say(400, {})

    def _tokenize(self, body: dict[str, Any]) -> None:
        content, whole = body["content"], body["add_special"]
        ids: list[int] = []
        for piece in content if isinstance(content, list) else [content]:
            if isinstance(piece, str):
                ids += self.server.forward.encode(piece, special=body["parse_special"], whole=whole)
            else:
                ids += self._ids([piece])
            whole = False  # what stands around a text stands before its first piece
        self._say(200, {"tokens": ids})

    def _detokenize(self, body: dict[str, Any]) -> None:
        self._say(200, {"content": self.server.forward.decode(self._ids(body["tokens"]))})

    def _score(self, body: dict[str, Any]) -> None:
        continuation = self._ids(body["continuation"])
        prompts = [self._ids(prompt) for prompt in body["prompts"]]
        room = self.server.forward.room - len(continuation)
        if not continuation or not all(0 < len(prompt) <= room for prompt in prompts):
            raise ValueError
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            with self.server.one_at_a_time:
                found = self.server.forward.scores(prompts, continuation, self._left)
            self._chunk(json.dumps({"logprobs": found}).encode())
            self._chunk(b"")
        except (GivenUp, ArithmeticError, OSError):
            return  # the answer breaks off, from which whoever waits sees that there is none

    def _ids(self, given: Any) -> list[int]:
        count = self.server.forward.tokens
        if not isinstance(given, list) or not all(
            type(id) is int and 0 <= id < count for id in given
        ):
            raise ValueError
        return given

    def _left(self) -> bool:
        """Whether nobody waits any more; a sign of being at work if somebody does."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        self._signed = self._signed or now
        try:
            if now - self._signed >= _SIGN_SECONDS:
                self._signed = now
                self._chunk(b" ")
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _chunk(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        written = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)
