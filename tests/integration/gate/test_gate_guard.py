"""What a guarded process may do, found out in one: a guard never leaves the process it is in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from casemate.gate import guard

GUARDED = Path(__file__).with_name("guarded_process.py")
# What has to go on working; everything else is refused.
DONE = {
    "along a way",
    "to our own socket",
    "a number is no name",
    "this Python, with our script",
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What became of each attempt, with listeners that would have taken it."""
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.setblocking(False)
    given = {
        "tcp": tcp.getsockname()[1],
        "udp": udp.getsockname()[1],
        "folder": str(tmp_path_factory.mktemp("guarded")),
    }
    proxy = {"HTTP_PROXY": f"http://127.0.0.1:{given['tcp']}"}
    done = subprocess.run(
        [sys.executable, GUARDED, json.dumps(given)],
        capture_output=True,
        text=True,
        env={**os.environ, **proxy},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    tcp.setblocking(False)
    found["arrived"] = 0
    with tcp, udp:
        while True:
            try:
                tcp.accept()[0].close()
            except BlockingIOError:
                break
            found["arrived"] += 1
        with pytest.raises(BlockingIOError):
            udp.recv(10)
    return found


def test_nothing_but_what_was_checked_is_reached(outcome: dict[str, Any]) -> None:
    wrong = {
        name: result
        for name, result in outcome["tried"].items()
        if result != ("done" if name in DONE else "refused")
    }
    assert not wrong


def test_only_the_way_that_was_checked_arrived(outcome: dict[str, Any]) -> None:
    assert outcome["arrived"] == 1


def test_every_refusal_is_counted_with_who_tried_and_no_address(outcome: dict[str, Any]) -> None:
    refused = sum(result == "refused" for result in outcome["tried"].values())
    assert refused <= outcome["refused"] == sum(count for *_, count in outcome["kinds"])
    kinds = {tuple(kind[:3]) for kind in outcome["kinds"]}
    assert ("TCP", "loopback", "aiohttp") in kinds
    assert ("UDP", "loopback", "__main__") in kinds
    assert ("name", "name", "__main__") in kinds
    assert "casemate-proof" not in str(kinds)
    assert "127.0.0.1" not in str(kinds)


def test_proxies_that_the_environment_names_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_standing", True)  # this process is not to be guarded
    environment = {
        "HTTP_PROXY": "http://evil.example:1",
        "https_proxy": "http://evil.example:1",
        "ALL_PROXY": "socks5://evil.example:1",
        "No_Proxy": "*",
        "LANG": "C",
    }
    guard.stand(environment)
    assert environment == {"LANG": "C"}
