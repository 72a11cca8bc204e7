"""Connections that lead only where the perimeter looked.

A name may mean one address when it is checked and another a moment later (DNS rebinding). Here a
name means the addresses that were checked, and no other name means anything.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from casemate.gate.guard import Ways

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["Ways", "session"]


def session(
    ways: Ways,
    *,
    connect_seconds: float,
    silence_seconds: float,
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientSession:
    """A client that connects along ``ways`` only. Let no request of it follow redirects.

    A redirect to an address that is an IP needs no resolver, and so would not be checked.
    ``silence_seconds``: the longest wait between two pieces of a response.
    """
    import aiohttp  # a quarter of a second, and only who connects needs it

    return aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(resolver=_resolver(ways), ttl_dns_cache=0),
        trust_env=False,  # a proxy from the environment would lead outside
        timeout=aiohttp.ClientTimeout(
            total=None, connect=connect_seconds, sock_read=silence_seconds
        ),
    )


def _resolver(ways: Ways) -> AbstractResolver:
    """A resolver that knows only the addresses that the perimeter checked."""
    from aiohttp.abc import AbstractResolver

    class Resolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
        ) -> list[ResolveResult]:
            addresses = ways.to(host)
            if not addresses:
                raise OSError("not a checked address")
            return [
                {
                    "hostname": host,
                    "host": address,
                    "port": port,
                    "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                    "proto": 0,
                    "flags": socket.AI_NUMERICHOST,
                }
                for address in addresses
            ]

        async def close(self) -> None:
            return

    return Resolver()
