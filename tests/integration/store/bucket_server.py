"""A small server that speaks as much S3 as blobs need, on loopback."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class BucketServer:
    """``objects``: path → bytes. ``elsewhere``: if set, where every GET is redirected to."""

    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    elsewhere: str = ""
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def a_bucket_server() -> Iterator[BucketServer]:
    server = BucketServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self._note()
            server.objects[self.path] = self.rfile.read(int(self.headers["content-length"]))
            self._answer(200)

        def do_GET(self) -> None:
            self._note()
            if server.elsewhere:
                self._answer(307, location=server.elsewhere)
            elif self.path in server.objects:
                self._answer(200, server.objects[self.path])
            else:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

        def do_POST(self) -> None:
            """Deletion of many objects."""
            self._note()
            wanted = self.rfile.read(int(self.headers["content-length"])).decode()
            bucket = self.path.partition("?")[0].rstrip("/")
            keys = re.findall(r"<Key>([^<]+)</Key>", wanted)
            for key in keys:
                server.objects.pop(f"{bucket}/{key}", None)
            gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{gone}</DeleteResult>".encode())

        def _note(self) -> None:
            server.asked.append(f"{self.command} {self.path}")

        def _answer(self, status: int, body: bytes = b"", location: str = "") -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("etag", '"e"')
            self.send_header("last-modified", formatdate(0, usegmt=True))
            if location:
                self.send_header("location", location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.port = listening.server_address[1]
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield server
        listening.shutdown()
