"""A small hub on loopback that speaks the Hugging Face API, or errs as a test tells it to."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = b"weights " * 40_000
SMALL = b'{"architectures": ["Tiny"]}\n'


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class HubServer:
    """One repository, ``maker/tiny``, with one branch ``main``."""

    files: dict[str, bytes] = field(
        default_factory=lambda: {"config.json": SMALL, "tiny.safetensors": LARGE}
    )
    large: frozenset[str] = frozenset({"tiny.safetensors"})
    commit: str = COMMIT
    listed: dict[str, Any] = field(default_factory=dict)  # path → what the list says instead
    cut: list[int] = field(default_factory=list)  # bytes after which the next responses break off
    statuses: list[int] = field(default_factory=list)  # what the next requests are answered with
    ranges: bool = True
    etag: str | None = '"one"'
    elsewhere: str = ""  # where files are redirected to, instead of being sent
    token: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_get("/api/models/maker/tiny/revision/{revision}", self._list)
        app.router.add_get("/maker/tiny/resolve/{commit}/{path:.+}", self._resolve)
        app.router.add_get("/stored/{path:.+}", self._send)
        runner = web.AppRunner(app, shutdown_timeout=1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    def _note(self, request: web.Request) -> web.Response | None:
        self.asked.append((request.path_qs, dict(request.headers)))
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return web.Response(status=status, headers={"Retry-After": "7"})
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        return None

    async def _list(self, request: web.Request) -> web.Response:
        if (refused := self._note(request)) is not None:
            return refused
        if request.match_info["revision"] not in ("main", self.commit):
            return web.Response(status=404)
        siblings = [{"rfilename": path, **self._about(path)} for path in self.files]
        about = {"id": "maker/tiny", "sha": self.commit, "siblings": siblings, "private": False}
        return web.json_response({**about, **self.listed.get("", {})})

    def _about(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        about: dict[str, Any] = {"size": len(content), "blobId": git_sha1(content)}
        if path in self.large:
            digest = hashlib.sha256(content).hexdigest()
            about["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            about["blobId"] = git_sha1(b"version https://git-lfs.github.com/spec/v1")
        return {**about, **self.listed.get(path, {})}

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        if self.elsewhere and request.match_info["path"] in self.large:
            if (refused := self._note(request)) is not None:
                return refused
            location = f"{self.elsewhere}/stored/{request.match_info['path']}?signed=%22a%2Fb%22"
            return web.Response(status=302, headers={"Location": location})
        return await self._send(request)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._note(request)) is not None:
            return refused
        content = self.files.get(request.match_info["path"])
        commit = request.match_info.get("commit", self.commit)
        if content is None or commit != self.commit:
            return web.Response(status=404)
        start = self._start(request)
        headers = {"Content-Length": str(len(content) - start)}
        if self.etag:
            headers["ETag"] = self.etag
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        body = content[start:]
        if self.cut and len(body) > self.cut[0]:
            await response.write(body[: self.cut.pop(0)])
            assert request.transport is not None
            await asyncio.sleep(0.05)  # so that the beginning arrives
            request.transport.abort()
            return response
        await response.write(body)
        await response.write_eof()
        return response

    def _start(self, request: web.Request) -> int:
        wanted = request.headers.get("Range", "")
        if not (self.ranges and wanted and request.headers.get("If-Range") == self.etag):
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))
