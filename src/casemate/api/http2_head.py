"""The head of a request over HTTP/2: its fields, read strictly, as ASGI has them.

RFC 9113, sections 8.1.1 to 8.3; RFC 8441 (extended CONNECT) and RFC 9110, 9.3.6 (CONNECT) are not
offered. A field that HTTP/1.1 could take for two, or for the end of a request, is refused: what is
read here may be written down by others as HTTP/1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from casemate.api.bounds import LARGE_HEADERS, LONG_ADDRESS, Bounds, Unfit

Field = tuple[bytes, bytes]

# What belongs to one connection: asked with these a request is malformed, and none is answered.
HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")  # of a field
UNPRINTABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # in the value of a field

MALFORMED = Unfit(400, "The request is malformed.", "Send it as RFC 9113, section 8, has it.")
_CONNECT = Unfit(501, "This server is no tunnel.", "Ask it with another method than CONNECT.")

_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ADDRESS = re.compile(rb"/[!-\"$-~]*")  # visible, and without a fragment
_LENGTH = re.compile(rb"[0-9]{1,18}")
_AUTHORITY = re.compile(rb"[!-\"$-.0-9:;=A-Z\[\]_a-z~]+")


@dataclass(frozen=True, slots=True)
class Head:
    """What is asked. ``headers``: as ASGI has them, with ``host`` first and one ``cookie``.

    length: bytes that its body is said to have, None if that is not said.
    """

    method: str
    raw_path: bytes
    query: bytes
    headers: list[Field]
    expects: bool  # to be told to go on before it sends its body
    length: int | None

    @classmethod
    def parse(cls, fields: Iterable[Field], bounds: Bounds) -> Head:
        """Raises Unfit: malformed, an address or headers beyond ``bounds``, or CONNECT."""
        pseudo: dict[bytes, bytes] = {}
        headers: list[Field] = []
        cookies: list[bytes] = []
        size, expects = 0, False
        for name, value in fields:
            size += len(name) + len(value)
            if name.startswith(b":"):
                if headers or cookies or name in pseudo or name not in _PSEUDO:
                    raise MALFORMED
                pseudo[name] = value
                continue
            check(name, value)
            if name == b"cookie":
                cookies.append(value)
                continue
            if name == b"expect" and value.lower() == b"100-continue":
                expects = True
            headers.append((name, value))
        if cookies:  # which may come in crumbs: section 8.2.3
            headers.append((b"cookie", b"; ".join(cookies)))
        path, query = _address(pseudo, bounds)
        _name_host(pseudo.get(b":authority"), headers)
        if size > bounds.header_bytes or len(headers) > bounds.headers:
            raise LARGE_HEADERS
        method = pseudo[b":method"].decode("ascii")
        return cls(method, path, query, headers, expects, _length(headers))

    @property
    def path(self) -> str:
        """The path with its escapes read."""
        path = self.raw_path.decode("ascii")
        return unquote(path) if "%" in path else path


def check(name: bytes, value: bytes) -> None:
    """One field of a request or a trailer, by itself. Raises Unfit if it is malformed."""
    if NAME.fullmatch(name) is None or name in HOP_BY_HOP:
        raise MALFORMED
    if UNPRINTABLE.search(value) is not None or value.strip(b" \t") != value:
        raise MALFORMED
    if name == b"te" and value.lower() != b"trailers":
        raise MALFORMED


def dialect_path(fields: Iterable[Field]) -> str:
    """The path as far as it can be told, so that a refusal is in the dialect of its address."""
    for name, value in fields:
        if name == b":path":
            return value.split(b"?")[0].decode("ascii", "replace")
    return "/"


def _address(pseudo: dict[bytes, bytes], bounds: Bounds) -> tuple[bytes, bytes]:
    """Path and query."""
    method = pseudo.get(b":method", b"")
    if _TOKEN.fullmatch(method) is None:
        raise MALFORMED
    if method == b"CONNECT":
        if pseudo.keys() == {b":method", b":authority"}:
            raise _CONNECT
        raise MALFORMED
    address = pseudo.get(b":path", b"")
    if len(address) > bounds.address_bytes:
        raise LONG_ADDRESS
    whole = address == b"*" and method == b"OPTIONS"
    if not whole and _ADDRESS.fullmatch(address) is None:
        raise MALFORMED
    if pseudo.get(b":scheme", b"").lower() not in (b"http", b"https"):
        raise MALFORMED
    path, _, query = address.partition(b"?")
    return path, query


def _length(headers: list[Field]) -> int | None:
    said = [value for name, value in headers if name == b"content-length"]
    if len(said) > 1 or (said and _LENGTH.fullmatch(said[0]) is None):
        raise MALFORMED
    return int(said[0]) if said else None


def _name_host(authority: bytes | None, headers: list[Field]) -> None:
    """Have one ``host``, the first of ``headers``: the authority, unless they contradict it."""
    hosts = [value for name, value in headers if name == b"host"]
    host = hosts[0] if authority is None and hosts else authority
    if host is None or len(hosts) > 1 or (hosts and hosts[0] != host):
        raise MALFORMED
    if _AUTHORITY.fullmatch(host) is None:
        raise MALFORMED
    if hosts:
        headers.remove((b"host", host))
    headers.insert(0, (b"host", host))
