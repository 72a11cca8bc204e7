"""Hubs: what a Hugging Face compatible hub, or a mirror of one, offers and sends.

``GET /api/models/{repo}/revision/{revision}?blobs=true`` lists the files of one commit with their
digests (SHA-256 of large files, the git blob's SHA-1 of small ones), and
``GET /{repo}/resolve/{commit}/{path}`` sends one, often by way of a redirect to where it is stored.
Ranges: RFC 9110, sections 13.1.5 and 14. Nothing is asked of a place outside the perimeter.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from casemate.errors import CasemateError, Invalid, NotFound, Refused, Tampered, Unavailable
from casemate.gate.connection import Ways, session
from casemate.models.formats import refuse_name

if TYPE_CHECKING:
    import aiohttp

    from casemate.gate.perimeter import Route

HUB = "https://huggingface.co"  # what --from means when it is left out; inside only if declared
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
_LONGEST_LISTING = 16 << 20
_MOST_FILES = 4096
_PIECE = 1 << 20
_REDIRECTS = 5
_TRIES = 6  # without getting on
_GETS_ON = 1 << 20  # bytes after which a new fault is counted from one again
_LONGEST_WAIT = 60.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_PART = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,200}"
_PATH = re.compile(rf"{_PART}(?:/{_PART}){{0,15}}")
_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_REVISION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,198}[A-Za-z0-9._-])?")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TELL = "Tell whoever runs this hub."


@dataclass(frozen=True)
class HubFile:
    """A file that a hub offers. ``digest``: "sha256:…", or "git-sha1:…" of its git blob."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """The files of one commit of a repository."""

    repo: str
    commit: str
    files: tuple[HubFile, ...]


class Arriving(Protocol):
    """What a download is written to; it may hold the beginning already."""

    @property
    def size(self) -> int:
        """How many bytes it holds."""

    @property
    def etag(self) -> str:
        """The strong validator of what it holds the beginning of, or ""."""

    def restart(self, etag: str) -> None:
        """Forget what it holds; what comes now has this validator."""

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""


class Hub:
    """One hub. ``route`` refuses an address outside the perimeter; see ``Perimeter.route``."""

    def __init__(
        self,
        address: str,
        route: Callable[[str], Route],
        *,
        token: str = "",
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.address = address.rstrip("/")
        self._route = route
        self._ways = Ways()
        self._token = token
        self._wait = wait
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._client = session(
            self._ways, connect_seconds=_CONNECT_SECONDS, silence_seconds=_SILENCE_SECONDS
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def listing(self, repo: str, revision: str) -> Listing:
        """The files of ``repo`` at a branch, tag or commit, with the commit that is.

        Raises Invalid for a name that is none or a listing that is not usable, Refused outside
        the perimeter or where the hub wants a token, NotFound, Unavailable.
        """
        for text, form, what in ((repo, _REPO, "repository"), (revision, _REVISION, "revision")):
            if not form.fullmatch(text) or ".." in text or "//" in text:
                raise Invalid(
                    f"{text[:100]!r} is not the name of a {what}.", "For instance: mistralai/NAME."
                )
        url = f"{self.address}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
        tries = 0
        while True:
            try:
                async with self._get(url, {}) as response:
                    _check_status(response.status, repo)
                    return _listing(await _bounded(response), repo, revision)
            except _Passing as problem:
                tries += 1
                await self._rest(tries, problem)

    async def fetch(
        self, listing: Listing, file: HubFile, into: Arriving
    ) -> AsyncGenerator[int, None]:
        """Write ``file`` to ``into``, going on where it stands; yields its size as it grows.

        What was written has the right length and is not yet compared with any digest. Raises
        like ``listing``; Tampered if the hub sends another length than it listed.
        """
        tries = 0
        while into.size < file.size or file.size == 0:
            before = into.size
            try:
                async with aclosing(self._fetch(listing, file, into)) as sizes:
                    async for size in sizes:
                        yield size
                return
            except _Passing as problem:
                tries = 1 if into.size - before >= _GETS_ON else tries + 1
                await self._rest(tries, problem)

    async def _fetch(
        self, listing: Listing, file: HubFile, into: Arriving
    ) -> AsyncGenerator[int, None]:
        headers = {}
        if into.size and into.etag:
            headers = {"range": f"bytes={into.size}-", "if-range": into.etag}
        url = f"{self.address}/{listing.repo}/resolve/{listing.commit}/{file.path}"
        async with self._get(url, headers) as response:
            await asyncio.to_thread(_begin, response, file, into)
            async for piece in response.content.iter_chunked(_PIECE):
                if into.size + len(piece) > file.size:
                    raise _other_length(file)
                await asyncio.to_thread(into.add, piece)
                yield into.size
        if into.size < file.size:
            raise _Passing("stopped in the middle of a file")

    @asynccontextmanager
    async def _get(
        self, url: str, headers: dict[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A response that is no redirect, of a place inside the perimeter."""
        import aiohttp
        from yarl import URL

        assert self._client is not None  # noqa: S101 - used outside its `async with`
        sent = {"accept-encoding": "identity", **headers}
        try:
            for _ in range(_REDIRECTS + 1):
                await self._allow(url)
                token = self._token and _origin(url) == _origin(self.address)
                async with self._client.get(
                    URL(url, encoded=True),  # a signed address is used as it was written
                    headers={**sent, "authorization": f"Bearer {self._token}"} if token else sent,
                    allow_redirects=False,
                ) as response:
                    if response.status not in (301, 302, 303, 307, 308):
                        if response.status in _PASSING:
                            after = response.headers.get("retry-after", "")
                            raise _Passing(f"answered with status {response.status}", after)
                        yield response
                        return
                    url = _target(url, response.headers.get("location", ""))
        except aiohttp.InvalidURL:  # a socket's address, for instance, that the perimeter knows
            raise Invalid("That is not the address of a hub.", "It begins with https://.") from None
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise _Passing("does not answer, or stopped answering") from problem
        raise Unavailable("The hub redirects in circles.", _TELL)

    async def _allow(self, url: str) -> None:
        own = _origin(url) == _origin(self.address)
        try:
            self._ways.allow(await asyncio.to_thread(self._route, url))
        except Refused as problem:
            if own:
                raise Refused(
                    f"The hub {self.address} cannot be used. {problem.what}",
                    "Declare it with `casemate perimeter add`, or name a mirror that lies inside "
                    "with --from.",
                ) from None
            raise Refused(
                f"The hub sends its files from {urlsplit(url).hostname}. {problem.what}",
                "Declare that place too with `casemate perimeter add`, or use a mirror that "
                "sends its files itself.",
            ) from None

    async def _rest(self, tries: int, problem: _Passing) -> None:
        """Wait before the next try. Raises Unavailable if there were enough."""
        if tries >= _TRIES:
            raise Unavailable(
                f"The hub {problem}.", "Run the same command again: it goes on where it stopped."
            ) from None
        spread = random.uniform(0.75, 1.25)  # so that many do not come back at one moment
        await self._wait(max(problem.after, min(2.0 ** (tries - 1), _LONGEST_WAIT) * spread))


class _Passing(Exception):
    """A fault that may be gone at the next try."""

    def __init__(self, what: str, after: str = "") -> None:
        super().__init__(what)
        self.after = min(float(after), _LONGEST_WAIT) if after.isdecimal() else 0.0


class _Lfs(msgspec.Struct):
    sha256: str
    size: int


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blobId: str | None = None  # the hub's own spelling
    lfs: _Lfs | None = None


class _Model(msgspec.Struct):
    sha: str
    siblings: list[_Sibling]


def _listing(content: bytes, repo: str, revision: str) -> Listing:
    try:
        model = msgspec.json.decode(content, type=_Model)
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise Invalid(f"The hub's list of files is not usable: {problem}.", _TELL) from None
    pinned = _COMMIT.fullmatch(revision) is not None
    if not _COMMIT.fullmatch(model.sha) or (pinned and model.sha != revision):
        raise Invalid("The hub does not say which commit it offers.", _TELL)
    if len(model.siblings) > _MOST_FILES:
        raise Invalid(f"The repository has more than {_MOST_FILES} files.", "Choose another one.")
    files = tuple(_file(one) for one in model.siblings if not one.rfilename.startswith(".git"))
    paths = {file.path for file in files}
    parents = {path[:at] for path in paths for at, one in enumerate(path) if one == "/"}
    if len(paths) != len(files) or paths & parents:
        raise Invalid("The hub lists two files at one place.", _TELL)
    return Listing(repo, model.sha, files)


def _file(sibling: _Sibling) -> HubFile:
    path = sibling.rfilename
    if not _PATH.fullmatch(path):
        raise Invalid(f"The hub lists {path[:80]!r}, which is not a plain relative path.", _TELL)
    if sibling.lfs is not None:
        size: int | None = sibling.lfs.size
        digest = f"sha256:{sibling.lfs.sha256}"
    else:
        size, digest = sibling.size, f"git-sha1:{sibling.blobId}"
    if (
        size is None
        or size < 0
        or not re.fullmatch(r"sha256:[0-9a-f]{64}|git-sha1:[0-9a-f]{40}", digest)
    ):
        raise Invalid(f"The hub gives no size or digest of {path}.", _TELL)
    return HubFile(path, size, digest)


def refuse_pickles(files: tuple[HubFile, ...]) -> None:
    """Raise Refused, naming them, if some of ``files`` are pickles by their names."""
    pickles = []
    for file in files:
        try:
            refuse_name(file.path)
        except Refused:
            pickles.append(file.path)
    if pickles:
        more = f" and {len(pickles) - 3} more" if len(pickles) > 3 else ""
        raise Refused(
            f"{', '.join(pickles[:3])}{more}: pickled weights, and opening one runs a program.",
            "Choose others, for instance --include '*.safetensors' --include '*.json'.",
        )


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_chunked(_PIECE):
        content += piece
        if len(content) > _LONGEST_LISTING:
            raise Invalid("The hub's list of files is too long.", _TELL)
    return bytes(content)


def _begin(response: aiohttp.ClientResponse, file: HubFile, into: Arriving) -> None:
    """Make ``into`` ready for the body of ``response``."""
    if into.size and response.status in (206, 416):
        whole = f"bytes {into.size}-{file.size - 1}/{file.size}"
        if response.status == 206 and response.headers.get("content-range") == whole:
            return
        into.restart("")  # what is kept is of no use to this server
        raise _Passing("does not go on where a file stopped")
    _check_status(response.status, file.path)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise Unavailable("The hub sends files in an encoding that was not asked for.", _TELL)
    if response.content_length not in (None, file.size):
        raise _other_length(file)
    etag = response.headers.get("etag", "")
    into.restart(etag if re.fullmatch(r'"[\x21\x23-\x7e]{1,500}"', etag) else "")


def _check_status(status: int, what: str) -> None:
    if status == 200:
        return
    if status in (401, 403):
        raise Refused(
            f"The hub does not give {what} to everyone (status {status}).",
            "Check the name; if it is right, put a token of yours in CASEMATE_HUB_TOKEN.",
        )
    if status == 404:
        raise NotFound(f"The hub has no {what} there.", "Check the name and the revision.")
    raise Unavailable(f"The hub answered with status {status}.", _TELL)


def _target(url: str, location: str) -> str:
    if not location:
        raise Unavailable("The hub redirects to nowhere.", _TELL)
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise Refused("The hub redirects from an encrypted address to a plain one.", _TELL)
    return target


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1  # the perimeter refuses it
    return parts.scheme, parts.hostname or "", port or {"http": 80, "https": 443}.get(parts.scheme)


def _other_length(file: HubFile) -> CasemateError:
    return Tampered(f"{file.path} has another length than the hub's list of files says.", _TELL)
