"""Calls of the leak campaign: through the whole application, without a socket; and comparing."""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_CHANGING = ("date", "x-casemate-run")
RUN = re.compile(rb"r_[0-9a-f]{20}")


@dataclass(frozen=True)
class Came:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float

    def plain(self, *names: str) -> tuple[object, ...]:
        """What has to be the same whether something is hidden or absent, without its ``names``."""
        text = RUN.sub(b"RUN", self.body)
        headers = tuple(one for one in self.headers if one[0] not in _CHANGING)
        for name in names:
            text = text.replace(name.encode(), b"NAME")
            headers = tuple((key, value.replace(name, "NAME")) for key, value in headers)
        return self.status, headers, text


def settled(came: tuple[object, ...]) -> tuple[object, ...]:
    """Without what differs from one run to the next: ids, times, places in the ledger."""
    status, headers, body = came
    assert isinstance(body, bytes)
    text = re.sub(rb'"(created|admitted_entry|finished_entry|entry)":\s*\d+', rb'"\1":0', body)
    text = re.sub(rb"#[0-9a-f]{16}", b"#FENCE", text)
    return status, [one for one in headers if one[0] != "content-length"], text  # type: ignore[attr-defined]


async def through(app: Any, method: str, path: str, headers: dict[str, str], body: bytes) -> Came:
    """One request through the whole application, as the server would hand it over."""
    plain, _, query = path.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": unquote(plain), "raw_path": plain.encode("latin-1", "replace"),
        "query_string": query.encode("latin-1", "replace"), "root_path": "",
        "headers": [(key.encode(), value.encode("latin-1")) for key, value in headers.items()],
        "client": ("192.0.2.7", 50000), "server": ("casemate.example", 80), "state": {},
    }  # fmt: skip
    given = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if given:
            return given.pop()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    began = time.perf_counter()
    await app(scope, receive, send)
    took = time.perf_counter() - began
    start = sent[0]
    told = tuple(
        sorted((key.decode().lower(), value.decode("latin-1")) for key, value in start["headers"])
    )
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Came(start["status"], told, content, took)


def slower(times: list[tuple[float, float]], dice: random.Random, rounds: int = 2000) -> float:
    """How likely the medians differ so much by chance alone (a sign-flip test of the pairs)."""
    differences = [hidden - absent for hidden, absent in times]
    found = abs(statistics.median(differences))
    beyond = sum(
        abs(statistics.median([one if dice.random() < 0.5 else -one for one in differences]))
        >= found
        for _ in range(rounds)
    )
    return (beyond + 1) / (rounds + 1)
